"""Say where a spiking network loses accuracy, and why (chapter 7, *Where conversion loses
accuracy*).

``snnlib.study.experiments`` splits the error of every neuron into pieces that sum to it.  Here the
pieces are summed up layer by layer.  The last layer adds up what all others did, so the
largest piece of its error names the cause; what to do about it also depends on how much of
the range of rates is used, and on channels that have fallen silent.  A search over a few
percentiles and numbers of steps shows what would help, with the evidence.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from snnlib.cnn.balancing import Images, activation_scales
from snnlib.cnn.threads import one_thread
from snnlib.reading import image_batches
from snnlib.spiking.encoding import ConstantEncoder, Encoder
from snnlib.spiking.gain import span_of
from snnlib.spiking.layer import SpikingLayer
from snnlib.spiking.network import SpikingNetwork
from snnlib.study.experiments import PIECES, LayerErrors, Pair, by_channel
from snnlib.study.suggestion import Suggestion, suggest

BATCH = 100  # images at a time, so that float64 errors of all neurons stay small
PERCENTILES = (95.0, 99.0, 99.9, 100.0)
SATURATED = 0.1  # of a channel's activations above one spike a step: it is called saturated
RANGE_USED = 1 / 3  # less than that, and more of it would help as much as more steps
NEGLIGIBLE = 0.05  # an error of the outputs that is not worth fixing, relative to them

FIXES = {
    "scales too small": "activations exceed one spike a step; scale by a higher percentile",
    "scales too large": "little of the range of rates is used; scale by a lower percentile",
    "dead channel": "a channel that the CNN uses never spikes; look at its weights and scale",
    "too few steps": "rates are too coarse; take more steps",
    "uneven timing": "spikes come in bursts and gaps; take more steps",
    "reset to zero": 'what exceeds the threshold is lost; use reset="subtract"',
    "input noise": "random input spikes; use a higher max_rate, more steps or ConstantEncoder()",
    "rounded weights": "the grid of the weights is too coarse; balance the network",
    "nothing": "outputs are close to those of the CNN",
}
_CAUSES = {
    "clipping": "scales too small",
    "quantisation": "too few steps",
    "unevenness": "uneven timing",
    "reset": "reset to zero",
    "noise": "input noise",
    "rounding": "rounded weights",
}


@dataclass(frozen=True)
class Piece:
    """A part of the error of a layer.

    Attributes
    ----------
    mean, rms : float
        Over images and neurons [spikes/step].
    share : float
        Of the sum of all pieces' mean squares.
    """

    mean: float
    rms: float
    share: float = 1.0


@dataclass(frozen=True)
class LayerDiagnosis:
    """What became of a layer's activations.

    Attributes
    ----------
    name : str
    neurons : int
    correlation : float
        Of rates with activations; nan if either never changes.
    activation : float
        RMS of the CNN's activations, in units of the layer's scale.
    error : Piece
        The rate less the activation.  Where channels have scales of their own, here and in
        the pieces in units of their median, so that channels count as they do for the CNN.
    pieces : dict of str to Piece
        By the names in ``snnlib.study.experiments.PIECES``; their means sum to that of ``error``.
    dead : tuple of int
        Channels that no image makes spike.
    lost : tuple of int
        Those of them that the CNN uses, so that they ought to.
    saturated : tuple of int
        Channels with more than a tenth of their activations above one spike a step.
    used : float or None
        The 99.9th percentile of positive activations in units of the scale: how much of the
        range of rates is used.  None for pools.
    """

    name: str
    neurons: int
    correlation: float
    activation: float
    error: Piece
    pieces: dict[str, Piece]
    dead: tuple[int, ...]
    lost: tuple[int, ...]
    saturated: tuple[int, ...]
    used: float | None

    @property
    def largest(self) -> str:
        """The name of the largest piece."""
        return max(self.pieces, key=lambda name: self.pieces[name].rms)


@dataclass(frozen=True)
class Diagnosis:
    """What ``diagnose`` found; prints as a table.

    Attributes
    ----------
    layers : tuple of LayerDiagnosis
        From input to output.
    images : int
    steps : int
    encoder : Encoder
    agreement : float
        Share of images that the spiking network decides like the CNN.
    piece : str
        The largest piece of the output's error, by its RMS.
    cause : str
        One of ``FIXES``.
    suggestion : Suggestion or None
    """

    layers: tuple[LayerDiagnosis, ...]
    images: int
    steps: int
    encoder: Encoder
    agreement: float
    piece: str
    cause: str
    suggestion: Suggestion | None

    def __getitem__(self, name: str) -> LayerDiagnosis:
        """The layer of that name."""
        return {layer.name: layer for layer in self.layers}[name]

    def __str__(self) -> str:
        head = (
            f"{self.images} images, {self.steps} steps, {self.encoder}: "
            f"{self.agreement:.2%} decided like the CNN"
        )
        share = self.layers[-1].pieces[self.piece].share
        found = [
            f"largest piece at the output: {self.piece} ({share:.0%})",
            f"cause: {self.cause} ({FIXES[self.cause]})",
        ]
        rows = [row for layer in self.layers for row in _layer_rows(layer)]
        suggested = self.suggestion.rows() if self.suggestion else []
        return "\n".join([head, *rows, *found, *suggested])


def diagnose(
    cnn: nn.Module,
    snn: SpikingNetwork,
    images: Images,
    steps: int,
    *,
    encoder: Encoder = ConstantEncoder(),
    percentiles: Sequence[float] = PERCENTILES,
) -> Diagnosis:
    """Compare every rate with its activation, and name what keeps them apart.

    Parameters
    ----------
    cnn, snn, encoder
        As for ``error_pieces``.
    images : Tensor [N, C, H, W], Digits, Dataset, DataLoader, or an iterable of batches
        A few hundred are enough.  Image i gets the spikes of index i.  Read in batches, several
        times.
    steps : int
        At least 1.
    percentiles : sequence of float
        To try for the suggestion, with scales from these very images; () for none.

    Returns
    -------
    Diagnosis

    Raises
    ------
    ConversionError
        If ``cnn`` cannot be converted.
    TypeError
        For images that are not float32.
    ValueError
        For unusable images, steps or percentiles, networks that do not belong together, a
        layer that is silent on all images, images that can be read only once, or an encoder
        that does not say its gain, or says a wrong one.
    """
    if isinstance(images, Iterator):
        raise ValueError("images can be read only once; give a list of batches or a DataLoader.")
    sums = {layer.name: _Sums() for layer in snn.layers}
    pair, agreeing, seen = None, 0, 0
    for batch in image_batches(images, BATCH, shape=snn.input_shape, span=span_of(encoder)):
        pair = pair or Pair(cnn, snn, batch.images, encoder)
        measured = pair.measure(batch.images, steps, batch.places)
        for name, errors in measured.layers.items():
            sums[name].add(errors)
        agreeing += int((measured.decisions == measured.expected).sum())
        seen += len(batch)
    used = _range_used(cnn, snn, images, pair)
    layers = tuple(sums[x.name].layer(x, steps, used.get(x.name)) for x in snn.layers)
    given = cnn, snn, images, steps, encoder, percentiles
    suggestion = suggest(*given) if percentiles else None
    piece = layers[-1].largest
    cause = _cause(layers, sums, snn)
    return Diagnosis(layers, seen, steps, encoder, agreeing / seen, piece, cause, suggestion)


class _Sums:
    """Sums over images and places of a layer, one a channel."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}  # [C]
        self.largest = torch.zeros(())  # activation of each channel, [C]

    @one_thread()
    def add(self, errors: LayerErrors) -> None:
        """One batch more."""
        a, r = errors.activation, errors.rate
        terms = {"a": a, "r": r, "aa": a * a, "rr": r * r, "ar": a * r, "n": torch.ones_like(a)}
        terms |= {"active": (a > 0).double(), "above": (a > 1).double()}
        for name, error in {"error": errors.error, **errors.pieces}.items():
            terms |= {name: error, f"{name}^2": error * error}
        for name, term in terms.items():
            self.sums[name] = self.sums.get(name, 0) + by_channel(term).sum(1)
        self.largest = torch.maximum(self.largest, by_channel(a).amax(1))
        self.neurons = a[0].numel()

    def layer(self, layer: SpikingLayer, steps: int, used: float | None) -> LayerDiagnosis:
        """The layer, once all batches are in."""
        weight = weights_of(layer)
        pieces = {name: self._piece(name, weight) for name in PIECES}
        total = sum(piece.rms**2 for piece in pieces.values())
        share = {name: p.rms**2 / total if total else 0.0 for name, p in pieces.items()}
        pieces = {name: replace(piece, share=share[name]) for name, piece in pieces.items()}
        return LayerDiagnosis(
            layer.name,
            self.neurons,
            self._correlation(weight),
            math.sqrt((self.sums["aa"] * weight**2).sum() / self.sums["n"].sum()),
            self._piece("error", weight),
            pieces,
            *self._channels(layer, steps),
            used,
        )

    def squares(self, layer: SpikingLayer) -> Tensor:
        """[C], the error squared and summed, in units of the median scale."""
        return self.sums["error^2"] * weights_of(layer) ** 2

    def _piece(self, name: str, weight: Tensor) -> Piece:
        n = self.sums["n"].sum()
        mean = (self.sums[name] * weight).sum() / n
        square = (self.sums[f"{name}^2"] * weight**2).sum() / n
        return Piece(mean.item(), square.sqrt().item())

    def _correlation(self, weight: Tensor) -> float:
        n = self.sums["n"].sum()
        a, r = ((self.sums[name] * weight).sum() / n for name in ("a", "r"))
        aa, rr, ar = ((self.sums[name] * weight**2).sum() / n for name in ("aa", "rr", "ar"))
        spread = ((aa - a * a).clamp(min=0) * (rr - r * r).clamp(min=0)).sqrt()
        return ((ar - a * r) / spread).item() if spread > 0 else math.nan

    def _channels(self, layer: SpikingLayer, steps: int) -> tuple[tuple[int, ...], ...]:
        """Dead, lost and saturated ones; an output that accumulates has none."""
        if not layer.spiking:
            return (), (), ()
        dead = self.sums["r"] == 0
        start = (layer.neuron.initial / layer.neuron.threshold).max()
        ideal = self.largest * weights_of(layer) * steps + start  # at the median scale
        saturated = self.sums["above"] > SATURATED * self.sums["active"]
        masks = dead, dead & (ideal >= 1), saturated
        return tuple(tuple(mask.nonzero().flatten().tolist()) for mask in masks)


def weights_of(layer: SpikingLayer) -> Tensor:
    """How much a spike of each channel stands for, beside the median of channels.

    Parameters
    ----------
    layer : SpikingLayer

    Returns
    -------
    Tensor
        float64, [] or [C]
    """
    scale = layer.scale.double()
    return scale / scale.median()


def _range_used(
    cnn: nn.Module, snn: SpikingNetwork, images: Images, pair: Pair
) -> dict[str, float]:
    """The 99.9th percentile of positive activations over the scale, by layer."""
    channelwise = any(layer.scale.ndim for layer in snn.layers)
    needed = activation_scales(cnn, images, percentile=99.9, channelwise=channelwise)
    names = [stage.name for stage in pair.stages if stage.kind in ("relu", "output")]
    return {
        name: (scale / pair.scales[name]).median().item()
        for name, scale in zip(names, needed, strict=True)
    }


def _cause(layers: tuple[LayerDiagnosis, ...], sums: dict[str, _Sums], snn: SpikingNetwork) -> str:
    """One of FIXES."""
    *hidden, output = layers
    spiking = {layer.name: layer for layer in snn.layers if layer.spiking}
    for layer in layers:
        if layer.lost and _is_dominated(layer, sums[layer.name].squares(spiking[layer.name])):
            return "dead channel"
    if output.error.rms <= NEGLIGIBLE * output.activation:
        return "nothing"
    used = min((layer.used for layer in hidden if layer.used is not None), default=1.0)
    if output.largest in ("quantisation", "unevenness") and used < RANGE_USED:
        return "scales too large"
    return _CAUSES[output.largest]


def _is_dominated(layer: LayerDiagnosis, squares: Tensor) -> bool:
    """Whether a few lost channels make most of the layer's error."""
    few = 2 * len(layer.lost) <= len(squares)
    return few and (2 * squares[list(layer.lost)].sum() > squares.sum()).item()


def _layer_rows(layer: LayerDiagnosis) -> list[str]:
    error = layer.error
    rows = [
        "",
        f"{layer.name}: {layer.neurons:,} neurons, correlation {layer.correlation:.4f}, "
        f"RMS activation {layer.activation:.3f}",
        f"  {'[spikes/step]':<14}{'mean':>9}{'RMS':>9}{'share':>8}",
        f"  {'error':<14}{error.mean:>+9.4f}{error.rms:>9.4f}",
    ]
    for name, piece in layer.pieces.items():
        if piece.rms > 0:
            rows.append(f"  {name:<14}{piece.mean:>+9.4f}{piece.rms:>9.4f}{piece.share:>8.1%}")
    notes = {"dead": layer.dead, "lost": layer.lost, "saturated": layer.saturated}
    return rows + [
        f"  {name} channels: {', '.join(map(str, channels))}"
        for name, channels in notes.items()
        if channels
    ]
