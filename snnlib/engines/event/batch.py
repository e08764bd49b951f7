"""A batch of images, in pieces that threads share out.

An image is taken through all steps of a chunk at once, layer by layer, while its
potentials lie in the processor's cache.
"""

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
from snnlib.engines.event.plan import Accumulate, Gather, Maximum, Plan, aligned, compiled
from snnlib.engines.event.sources import Source

CHUNK = 16  # steps that an image takes at once: enough to reuse what is in the cache
CHUNK_OF_FEW = 64  # the same for one piece: less to do between chunks
PIECE = 32  # images that a thread takes at once
PATIENCE = 2.0  # [seconds] after which a first call says what takes so long


def run_batch(plan: Plan, source: Source, images: int, steps: int, chunk: int | None) -> Run:
    """All steps of one batch.

    Parameters
    ----------
    plan : Plan
    source : Source
        What the batch is shown.
    images : int
        In the batch.
    steps : int
    chunk : int or None
        Steps that are computed at once; None for what is fastest.

    Yields
    ------
    StepOutput
    """
    batch = _Batch(plan, source, images)
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


def compile_kernels(plan: Plan) -> None:
    """Compile what a plan needs, or load what was compiled before, on a batch of no images.

    Parameters
    ----------
    plan : Plan
    """
    kernels = compiled()  # loading numba itself is no compiling
    with _announced():
        words, none = np.zeros((0, 1, plan.words), np.uint32), np.zeros((0, 0), np.int32)
        kernels.encode(none, none.ravel(), none.ravel(), 0, words)
        current = none.astype(plan.layers[0].neurons.initial.dtype)
        _Piece(plan, slice(0, 0)).advance(dict.fromkeys(plan.driven, current), words, 1)


@contextmanager
def _announced() -> Iterator[None]:
    """Says so if what is done inside takes a while, unless the kernels were kept."""
    timer = Timer(PATIENCE, _announce)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _announce() -> None:
    if not compiled().encode.stats.cache_hits:  # what was kept is loaded, however slowly
        text = "Compiling the event engine, once for this installation (about 10 s) ..."
        print(text, file=sys.stderr, flush=True)


class _Batch:
    """The images of a run, in pieces."""

    def __init__(self, plan: Plan, source: Source, images: int) -> None:
        names = [INPUT, *(layer.neurons.name for layer in plan.layers)]
        last = plan.layers[-1].neurons
        self.spiking = slice(int(bool(plan.driven)), len(names) - (not last.spiking))
        self.names, self.source = names[self.spiking], source
        self.pieces = [
            _Piece(plan, slice(begin, min(begin + PIECE, images)))
            for begin in range(0, images, PIECE)
        ]
        self.counts = torch.zeros(images, last.layout.places.size)

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
        done = spread(lambda piece: piece.advance(*given.of(piece.places), count), self.pieces)
        potentials, spikes, counted, crossed = zip(*done, strict=True)
        potential = torch.from_numpy(np.concatenate(potentials, axis=1))  # [T, N, C]
        counts = self.counts + torch.from_numpy(np.concatenate(spikes, axis=1)).cumsum(0)
        self.counts = counts[-1]
        arrived = sum(counted)[:, self.spiking].tolist()  # [T, input and layers]
        operations = sum(crossed).tolist()
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
        pool = (layer.routes.arrays(), layer.members, layer.rule)
        compiled().maximum(given, *pool, state, out, tally)
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
