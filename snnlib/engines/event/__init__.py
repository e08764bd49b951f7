"""The event-driven engine: work follows the spikes (chapter 8, *Count the spikes*).

A spike adds a few weights to a few potentials; where none arrives, nothing is computed.
Potentials are whole numbers, in units of 2**-k, so that sums are exact in any order, and
each spike is that of the clock-driven engine.

An image is taken through all steps of a chunk at once, layer by layer, while its
potentials lie in the processor's cache.  Threads share out the images.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Timer

import numpy as np
import torch
from torch import Tensor

from snnlib.cnn.graph import INPUT
from snnlib.engines import Run, StepOutput
from snnlib.engines.clock import exact_arithmetic
from snnlib.engines.event.plan import (
    WIDTH,
    Accumulate,
    Gather,
    Maximum,
    Plan,
    aligned,
    inexpressible,
    make_plan,
)
from snnlib.spiking.encoding import PoissonEncoder, image_keys, rate_levels
from snnlib.spiking.network import SpikingNetwork

CHUNK = 16  # steps that an image takes at once: enough to reuse what is in the cache
CHUNK_OF_FEW = 64  # the same for one piece: less to do between chunks
PIECE = 32  # images that a thread takes at once
PATIENCE = 2.0  # [seconds] after which a first call says what takes so long


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
        Or another whose ``stream`` gives spikes, or a ``constant`` current.
    index : Tensor [N]
        Place of each image in its data set; its random spikes depend on it.

    Yields
    ------
    StepOutput
        One a step; to send a mask back, see ``prepare``.

    Raises
    ------
    ValueError
        For a network that the engine cannot express, an input that is neither spikes nor
        constant, or ``steps`` beyond what even float64 holds exactly.
    """
    yield from prepare(snn, steps=steps, encoder=encoder)(images, index)


def prepare(
    snn: SpikingNetwork, *, steps: int, encoder, drops: bool = False
) -> Callable[[Tensor, Tensor], Run]:
    """``run`` for many batches: the network is laid out once, as it is now.

    Parameters
    ----------
    snn : SpikingNetwork
    steps : int
    encoder : PoissonEncoder or ConstantEncoder
        As for ``run``.
    drops : bool
        A mask [N] may be sent after any step to drop images.  Then steps are computed
        one by one, as nothing is known of the images of the next.

    Returns
    -------
    callable
        ``run`` as a function of images [N, C, H, W] and index [N].

    Raises
    ------
    ValueError
        As ``run`` does.
    """
    fault = why_not(snn)
    if fault:
        raise ValueError(f"The event engine cannot run: {fault}")
    snn.exact_for(steps)
    snn.reset()
    plan = make_plan(snn, steps, constant=encoder.constant)
    _compile(plan)
    chunk = 1 if drops else None
    return lambda images, index: _steps(snn, plan, images, steps, encoder, index, chunk)


def why_not(snn: SpikingNetwork) -> str | None:
    """What keeps the engine from running a network.

    Parameters
    ----------
    snn : SpikingNetwork

    Returns
    -------
    str or None
        A sentence with the fix; None if nothing does.
    """
    if not numba_is_there():
        return 'numba is missing; install it (pip install numba) or use engine="clock".'
    return inexpressible(snn)


def takes(encoder, image: Tensor) -> bool:
    """Whether an encoder gives what the engine takes: a constant current, or spikes.

    Parameters
    ----------
    encoder : PoissonEncoder or ConstantEncoder
        Or any other, whose first step is looked at.
    image : Tensor [1, C, H, W]

    Returns
    -------
    bool
    """
    if encoder.constant or type(encoder) is PoissonEncoder:
        return True
    return _are_spikes(encoder.stream(image, torch.zeros(1, dtype=torch.int64))(0))


def numba_is_there() -> bool:
    """Whether the compiler that the engine needs is installed."""
    return importlib.util.find_spec("numba") is not None


def _steps(snn, plan: Plan, images: Tensor, steps: int, encoder, index, chunk: int | None) -> Run:
    if images.shape[1:] != snn.input_shape:
        raise ValueError(f"images are {list(images.shape[1:])}, not {list(snn.input_shape)}.")
    batch = _Batch(snn, plan, images, encoder, index)
    chunk = chunk or (CHUNK if len(batch.pieces) > 1 else CHUNK_OF_FEW)
    with _threads(len(batch.pieces)) as spread:
        for first in range(0, steps, chunk):
            for output in batch.chunk(first, min(chunk, steps - first), spread):
                kept = yield output
                if kept is not None and not kept.all():
                    batch.keep(kept)


@contextmanager
def _threads(pieces: int) -> Iterator[Callable]:
    """A ``map`` for so many pieces, over as many threads as torch may use."""
    threads = min(torch.get_num_threads(), pieces)
    if threads == 1:
        yield map
    else:
        with ThreadPoolExecutor(threads) as pool:
            yield pool.map


def _compile(plan: Plan) -> None:
    """Compile the kernels, or load what was compiled before; says so if it takes a while."""
    compiled()  # loading numba itself is no compiling
    timer = Timer(PATIENCE, _announce)
    timer.daemon = True
    timer.start()
    try:
        words, none = np.zeros((0, 1, plan.words), np.uint32), np.zeros((0, 0), np.int32)
        compiled().encode(none, none.ravel(), none.ravel(), 0, words)
        current = none.astype(plan.layers[0].neurons.initial.dtype)
        _Piece(plan, slice(0, 0)).advance(dict.fromkeys(plan.driven, current), words, 1)
    finally:
        timer.cancel()


def _announce() -> None:
    if not compiled().encode.stats.cache_hits:  # what was kept is loaded, however slowly
        text = "Compiling the event engine, once for this installation (about 10 s) ..."
        print(text, file=sys.stderr, flush=True)


class _Batch:
    """The images of a run, in pieces."""

    def __init__(self, snn, plan: Plan, images: Tensor, encoder, index: Tensor) -> None:
        names = ["input", *(layer.name for layer in snn.layers)]
        self.spiking = slice(int(encoder.constant), len(names) - (not snn.layers[-1].spiking))
        self.names = names[self.spiking]
        self.source = _source(snn, images, encoder, index, plan)
        self.pieces = [
            _Piece(plan, slice(begin, min(begin + PIECE, len(images))))
            for begin in range(0, len(images), PIECE)
        ]
        self.counts = torch.zeros(len(images), len(snn.layers[-1].weight))

    def keep(self, kept: Tensor) -> None:
        """Drop the images that are not in the mask [N]."""
        self.counts = self.counts[kept]
        mask = kept.numpy()
        self.source.keep(mask)
        for piece in self.pieces:
            piece.keep(mask[piece.places])
        self.pieces = [piece for piece in self.pieces if piece.size]
        begin = 0
        for piece in self.pieces:
            piece.places = slice(begin, begin + piece.size)
            begin += piece.size

    def chunk(self, first: int, count: int, spread) -> Iterator[StepOutput]:
        """All images through ``count`` steps from ``first``, then the steps one by one."""
        given = self.source.steps(first, count)
        done = list(
            spread(lambda piece: piece.advance(*given.of(piece.places), count), self.pieces)
        )
        potential = torch.from_numpy(np.concatenate([part[0] for part in done], axis=1))
        spikes = torch.from_numpy(np.concatenate([part[1] for part in done], axis=1))  # [T, N, C]
        counts = self.counts + spikes.cumsum(0)
        self.counts = counts[-1]
        counted = sum(part[2] for part in done)  # [T, input and layers]
        arrived = counted[:, self.spiking].tolist()
        operations = sum(part[3] for part in done).tolist()
        by_layer = (dict(zip(self.names, row, strict=True)) for row in arrived)
        yield from map(StepOutput, counts.unbind(), potential.unbind(), by_layer, operations)


class _Piece:
    """Some images and their potentials."""

    def __init__(self, plan: Plan, places: slice) -> None:
        self.plan, self.places = plan, places
        self.states = [_state(layer, self.size) for layer in plan.layers]

    @property
    def size(self) -> int:
        """How many images are left."""
        return self.places.stop - self.places.start

    def keep(self, mask: np.ndarray) -> None:
        """Drop images; what is left of the potentials stays where it is in memory."""
        self.states = [(v, awake, rows[mask]) for v, awake, rows in self.states]
        self.places = slice(0, int(mask.sum()))

    def advance(self, driven: dict[str, np.ndarray], words: np.ndarray, count: int) -> tuple:
        """Through some steps, given the currents and spikes of the input.

        Returns potentials and spikes of the output [T, images, classes], the spikes of the
        input and each layer [T, 1 + layers], and synaptic operations [T].
        """
        layers, outputs = self.plan.layers, {INPUT: words}
        tally = np.zeros((len(layers), count, 2), np.int64)
        last = layers[-1].neurons
        trace = np.empty((0, count, 0), self.states[-1][0].dtype)
        for layer, state, counted in zip(layers, self.states, tally, strict=True):
            if layer is layers[-1]:
                trace = np.empty((self.size, count, last.layout.size), trace.dtype)
            arrived = [outputs[source] for source in layer.sources]
            given = arrived[0] if len(arrived) == 1 else _beside(arrived)
            current = driven.get(layer.neurons.name)
            outputs[layer.neurons.name] = _advance(layer, given, current, state, counted, trace)
        places = last.layout.places.ravel()
        bits = np.unpackbits(outputs[last.name].view(np.uint8), axis=2, bitorder="little")
        potential = (trace[:, :, places] * last.unit).transpose(1, 0, 2)
        spikes = bits[:, :, places].transpose(1, 0, 2)
        return potential, spikes, self._counts(outputs, tally), tally[:, :, 1].sum(0)

    def _counts(self, outputs: dict[str, np.ndarray], tally: np.ndarray) -> np.ndarray:
        """Spikes of the input and each layer [T, 1 + layers]: as a kernel counted, or anew."""
        columns = []
        for name, words in outputs.items():
            place = self.plan.counted_at(name)
            anew = place is None
            columns.append(np.bitwise_count(words).sum((0, 2)) if anew else tally[place, :, 0])
        return np.stack(columns, axis=1).astype(np.int64)


def _beside(words: list[np.ndarray]) -> np.ndarray:
    """The spikes of several layers as those of one [N, T, words]; none without a layer."""
    return np.concatenate(words, axis=2) if words else np.zeros((0, 0, 0), np.uint32)


def _advance(layer, given: np.ndarray, current, state: tuple, tally: np.ndarray, trace):
    """One layer of a piece through a chunk; its spikes [N, T, words]."""
    neurons, steps = layer.neurons.arrays(), len(tally)
    drive = layer.neurons.bias if current is None else current
    out = np.empty((len(state[2]), steps, layer.neurons.layout.words), np.uint32)
    if isinstance(layer, Accumulate):
        compiled().accumulate(drive, neurons, state, out, trace)
    elif isinstance(layer, Maximum):
        compiled().maximum(given, layer.routes.arrays(), state, out, tally)
    elif isinstance(layer, Gather):
        synapse = (layer.routes.arrays(), layer.windows, layer.weights, layer.safe)
        compiled().gather(given, *synapse, neurons, drive, state, out, tally, trace)
    else:
        synapse = (layer.routes.arrays(), layer.weights, layer.shape)
        compiled().scatter(given, *synapse, neurons, drive, state, out, tally)
    return out


def _state(layer, images: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Potentials before the first step, a flag for each tile to look at, and whose they are."""
    places = np.arange(images)
    if isinstance(layer, Maximum):  # counts
        sizes = layer.neurons.layout.size, layer.inputs
        return *(np.zeros((images, size), np.int32) for size in sizes), places
    v = aligned(np.repeat(layer.neurons.initial[None], images, axis=0))
    return v, np.ones((images, v.shape[1] // layer.neurons.tile), np.uint8), places


def _source(snn: SpikingNetwork, images: Tensor, encoder, index: Tensor, plan: Plan):
    """What the first layer is given."""
    if encoder.constant:
        with exact_arithmetic():
            current = snn.input_current(encoder.stream(images, index)(0))
        is_one = isinstance(current, Tensor)
        return _Currents({snn.layers[0].name: current} if is_one else current, plan)
    if type(encoder) is PoissonEncoder:
        return _Draws(images, encoder, index, plan)
    return _Spikes(images, encoder, index, plan)


class _Currents:
    """Currents [N, ...] that never change, in whole units, into one or more layers."""

    def __init__(self, currents: dict[str, Tensor], plan: Plan) -> None:
        self.currents = {}
        for layer in plan.layers:
            neurons = layer.neurons
            if neurons.name in currents:
                units = currents[neurons.name].flatten(1).double().numpy() / neurons.unit
                rows = np.zeros((len(units), neurons.layout.size), neurons.initial.dtype)
                rows[:, neurons.layout.above + neurons.layout.places.ravel()] = units
                self.currents[neurons.name] = aligned(rows)
        self.images = len(units)

    def keep(self, mask: np.ndarray) -> None:
        self.currents = {name: rows[mask] for name, rows in self.currents.items()}
        self.images = int(mask.sum())

    def steps(self, first: int, count: int) -> "_Currents":
        self.nothing = np.zeros((self.images, count, 0), np.uint32)
        return self

    def of(self, places: slice) -> tuple[dict[str, np.ndarray], np.ndarray]:
        parts = {name: rows[places] for name, rows in self.currents.items()}
        return parts, self.nothing[places]


class _Draws:
    """The spikes of a PoissonEncoder, drawn where they are needed."""

    def __init__(self, images: Tensor, encoder: PoissonEncoder, index: Tensor, plan: Plan) -> None:
        size = plan.words * WIDTH
        self.levels = np.zeros((len(images), size), np.int32)
        self.levels[:, : plan.pixels] = rate_levels(images, encoder.max_rate).flatten(1).numpy()
        self.pixel_keys = plan.pixel_keys
        self.image_keys = image_keys(encoder.seed, index).flatten().numpy()
        self.words = plan.words

    def keep(self, mask: np.ndarray) -> None:
        self.levels, self.image_keys = self.levels[mask], self.image_keys[mask]

    def steps(self, first: int, count: int) -> "_Draws":
        self.first, self.count = first, count
        return self

    def of(self, places: slice) -> tuple[dict[str, np.ndarray], np.ndarray]:
        levels = self.levels[places]
        spikes = np.empty((len(levels), self.count, self.words), np.uint32)
        compiled().encode(levels, self.pixel_keys, self.image_keys[places], self.first, spikes)
        return {}, spikes


class _Spikes:
    """The spikes of any encoder, packed into words."""

    def __init__(self, images: Tensor, encoder, index: Tensor, plan: Plan) -> None:
        self.images, self.encoder, self.index, self.plan = images, encoder, index, plan
        self.stream = encoder.stream(images, index)

    def keep(self, mask: np.ndarray) -> None:
        self.images, self.index = self.images[mask], self.index[mask]
        self.stream = self.encoder.stream(self.images, self.index)

    def steps(self, first: int, count: int) -> "_Spikes":
        self.words = np.stack([self._step(t) for t in range(first, first + count)], axis=1)
        return self

    def of(self, places: slice) -> tuple[dict[str, np.ndarray], np.ndarray]:
        return {}, np.ascontiguousarray(self.words[places])

    def _step(self, step: int) -> np.ndarray:
        """[N, words]"""
        x = self.stream(step).flatten(1)
        if not _are_spikes(x):
            raise ValueError(
                "the encoder gives neither spikes (0 or 1) nor, with constant = True, a current "
                'that stays; use engine="clock".'
            )
        bits = np.zeros((len(x), self.plan.words * WIDTH), np.uint8)
        bits[:, : self.plan.pixels] = x.numpy()
        return np.packbits(bits, axis=1, bitorder="little").view(np.uint32)


def _are_spikes(x: Tensor) -> bool:
    return bool(((x == 0) | (x == 1)).all())


def compiled():
    """The compiled part, imported when it is first needed: numba takes a second to load."""
    from snnlib.engines.event import kernels

    return kernels
