"""The clock-driven engine: every neuron is updated at every step, in PyTorch.

Dense tensor operations, on the device that holds the network; the cost does not
depend on how many spikes there are (chapter 8 counts what that wastes).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from snnlib.engines import Run, StepOutput
from snnlib.spiking.network import SpikingNetwork


def run(snn: SpikingNetwork, images: Tensor, *, steps: int, encoder, index: Tensor) -> Run:
    """Simulate a batch of images from cleared potentials, step by step.

    Parameters
    ----------
    snn : SpikingNetwork
        Left with cleared potentials.
    images : Tensor [N, C, H, W]
    steps : int
        At least 1.
    encoder : PoissonEncoder or ConstantEncoder
    index : Tensor [N]
        Place of each image in its data set; its random spikes depend on it.

    Yields
    ------
    StepOutput
        One a step.  A mask [N] of images that is sent back drops the others.

    Raises
    ------
    ValueError
        If ``steps`` is beyond what even float64 holds exactly.
    """
    snn = snn.exact_for(steps)
    stream, fan_outs = encoder.stream(images, index), snn.fan_outs()
    counts = torch.zeros(len(images), 1, device=images.device)
    current = None
    snn.reset()
    try:
        for step in range(steps):
            with exact_arithmetic():
                if current is None or not encoder.constant:
                    x = stream(step)
                    current = snn.input_current(x)
                emitted = dict(snn.propagate(current))
            last, output = next(reversed(emitted.items()))
            counts = counts + (output if last.spiking else torch.zeros_like(output))
            spikes = {layer.name: out for layer, out in emitted.items() if layer.spiking}
            spikes |= {} if encoder.constant else {"input": x}
            kept = yield StepOutput(counts, last.v.clone(), *_tally(spikes, fan_outs))
            if kept is not None and not kept.all():
                images, index, counts = images[kept], index[kept], counts[kept]
                stream, current = encoder.stream(images, index), None
                snn.keep(kept)
    finally:
        snn.reset()


def prepare(
    snn: SpikingNetwork, *, steps: int, encoder, drops: bool = False
) -> Callable[[Tensor, Tensor], Run]:
    """``run`` for many batches.

    Parameters
    ----------
    snn : SpikingNetwork
    steps : int
    encoder : PoissonEncoder or ConstantEncoder
        As for ``run``.
    drops : bool
        Masks will be sent; this engine needs no preparation for it.

    Returns
    -------
    callable
        ``run`` as a function of images [N, C, H, W] and index [N].
    """
    return lambda images, index: run(snn, images, steps=steps, encoder=encoder, index=index)


def _tally(emitted: dict[str, Tensor], fan_outs: dict[str, Tensor]) -> tuple[dict[str, int], int]:
    """Spikes of each layer over the batch, and the additions that they cause."""
    spikes, operations = {}, 0
    for name, output in emitted.items():
        per_neuron = output.sum(0).double()  # [N, ...] -> [...]; whole numbers, so exact
        spikes[name] = int(per_neuron.sum())
        if name in fan_outs:  # nothing listens to the output layer
            operations += int((per_neuron * fan_outs[name]).sum())
    return spikes, operations


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Full float32 in convolutions and matrix products, whatever the user allowed elsewhere.

    A context manager: the user's settings come back at its end.
    """
    mkldnn, cudnn, cuda = torch.backends.mkldnn, torch.backends.cudnn, torch.backends.cuda
    backends = (mkldnn.conv, mkldnn.matmul, cudnn.conv, cuda.matmul)
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision
