"""The clock-driven engine: every neuron is updated at every step, in PyTorch.

Dense tensor operations, on the device that holds the network; the cost does not
depend on how many spikes there are (chapter 8 counts what that wastes).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from snnlib.cnn.graph import INPUT
from snnlib.cnn.threads import one_thread
from snnlib.engines import Prepared, Run, StepOutput
from snnlib.spiking.encoding import Encoder
from snnlib.spiking.network import SpikingNetwork


def prepare(snn: SpikingNetwork, *, steps: int, encoder: Encoder, drops: bool = False) -> Prepared:
    """``Engine.prepare``, on the device of the network and the images; ``drops`` is not needed."""
    snn = snn.seeing(encoder).exact_for(steps)
    return partial(_steps, snn, snn.fan_outs(), steps, encoder)


def _steps(
    snn: SpikingNetwork,
    fan_outs: dict[str, Tensor],
    steps: int,
    encoder: Encoder,
    images: Tensor,
    index: Tensor,
) -> Run:
    stream, current = encoder.stream(images, index), None
    counts = torch.zeros(len(images), 1, device=images.device)
    snn.reset()
    try:
        for step in range(steps):
            with exact_arithmetic(), one_thread():  # not while the caller has its turn
                if current is None or not encoder.constant:
                    x = stream(step)
                    current = snn.input_current(x)
                emitted = dict(snn.propagate(current))
            last, output = next(reversed(emitted.items()))
            counts = counts + (output if last.spiking else torch.zeros_like(output))
            spikes = {} if encoder.constant else {INPUT: x}
            spikes |= {layer.name: out for layer, out in emitted.items() if layer.spiking}
            kept = yield StepOutput(counts, last.v.clone(), *_tally(spikes, fan_outs))
            if kept is not None and not kept.all():
                images, index, counts = images[kept], index[kept], counts[kept]
                stream, current = encoder.stream(images, index), None
                snn.keep(kept)
    finally:
        snn.reset()


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
