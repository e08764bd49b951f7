"""Balance weights and thresholds (chapter 5, *Balance weights and thresholds*).

A rate cannot exceed one spike a step, and a neuron that receives little needs
long for its first spike.  Scaling each layer so that its activations are about 1
uses the whole range.  ReLU allows it: relu(a x) = a relu(x) for a > 0, so a factor
taken out of one layer can be put back into the next.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnlib.cnn.graph import INPUT, SYNAPTIC, Graph, Op, Path, Stage, shifted
from snnlib.cnn.models import window_area
from snnlib.cnn.paths import as_scale, prescaled, scaled
from snnlib.cnn.rebuilding import rebuild
from snnlib.cnn.scales import check_scales, input_factors
from snnlib.cnn.streaming import FEW, LITTLE, Maximum, Percentile
from snnlib.cnn.threads import one_thread
from snnlib.cnn.tracing import trace
from snnlib.reading import Batch, Data, DataError, image_batches

SIGNS = {"max": (), "output": (1, -1)}  # of what is measured, where it is not just above 0
AT_ONCE = 250  # images, so that float64 activations stay small

Images = Tensor | Data | Iterable[Tensor | Sequence[Tensor]]


@one_thread()
@torch.no_grad()
def activation_scales(
    cnn: nn.Module, images: Images, *, percentile: float = 100.0, channelwise: bool = False
) -> list[Tensor]:
    """Data-based scales: how large the activations of each weight layer get on ``images``.

    Exact: they do not depend on the order of the images or on how they are cut into
    batches.  Activations are not kept, so there may be any number of them.

    Parameters
    ----------
    cnn : nn.Module
        A network that ``convert`` accepts.
    images : Tensor [N, C, H, W], Digits, Dataset, DataLoader, or an iterable of batches
        Training images; test images must not be used.  Pixels in [0, 1], or normalised ones
        of both signs.  A batch is a tensor, or begins with one, as those of a DataLoader do.
        A percentile below 100 reads an iterable twice, or three times if ``channelwise``.
    percentile : float
        In (0, 100], of the positive activations.  100 is the maximum (Diehl et al. 2015);
        a little less ignores outliers (Rueckauer et al. 2017).
    channelwise : bool
        One scale for each channel of hidden layers, not one a layer.

    Returns
    -------
    list of Tensor
        One a weight layer, [] or [channels], of activations that occurred; where a branch
        adds, one for the sum.  Of an output that is never above 0, how far it is below.

    Raises
    ------
    ConversionError
        For a network that cannot be converted.
    TypeError
        For images that are not float32.
    ValueError
        For unusable images, another percentile, a layer that is silent on all images, or
        a percentile of images that can be read only once.  An unusable image is told by its
        place, see ``DataError``.
    """
    if not 0 < percentile <= 100:
        raise ValueError(f"percentile is {percentile}; give a number in (0, 100].")
    measure = _Measure(cnn, percentile, channelwise)
    _check_readings(images, measure.passes)
    for _ in range(measure.passes):
        measure.read(images)
    return measure.scales()


def weight_scales(
    cnn: nn.Module, *, input_shape: tuple[int, int, int] | None = None
) -> list[Tensor]:
    """Model-based scales (Diehl et al. 2015): no image can drive a layer beyond them.

    Layer l's scale is that of layer l-1 times the largest sum of positive weights
    into one neuron, and a bias on top.  Safe, and far above what real images reach.

    Parameters
    ----------
    cnn : nn.Module
        A CNN on pixels in [0, 1].
    input_shape : tuple of int, optional
        (C, H, W) of one image; only where the layers depend on it, and then an error says so.

    Returns
    -------
    list of Tensor
        One scale [] a weight layer.

    Raises
    ------
    ConversionError
        For a network that cannot be converted.
    ValueError
        If nothing positive reaches a layer.
    """
    graph = trace(cnn, input_shape)
    bounds = {INPUT: torch.tensor(1.0, dtype=torch.float64)}  # a pixel is at most 1
    for stage in graph.stages:
        low, high = _reach(stage, bounds)
        if stage.kind == "output" and high <= 0:  # an output may well be negative everywhere
            high = -low
        bounds[stage.name] = high.clamp(min=0.0)
        if high <= 0 and not stage.is_part:
            raise ValueError(f"layer {stage.name} is dead: no weight is positive; train it again.")
    scales = [bounds[stage.name].float() for stage in graph.scaled]
    return [scale if scale > 0 else torch.tensor(1.0) for scale in scales]


def normalize_weights(
    cnn: nn.Module,
    scales: Sequence[Tensor],
    *,
    input_shape: tuple[int, int, int] | None = None,
) -> nn.Module:
    """The same predictions, with the activations of weight layer l divided by ``scales[l]``.

    Weights are multiplied by scale_(l-1) / scale_l and biases divided by scale_l; the
    outputs (before a softmax, if there is one) end up divided by the last scale.  An
    identity shortcut gets weights where the scales of its ends differ.

    Parameters
    ----------
    cnn : nn.Module
        Left as it is.
    scales : sequence of Tensor
        One positive number, or [channels], a weight layer; see ``activation_scales``.
    input_shape : tuple of int, optional
        (C, H, W) of one image; only where the layers depend on it, and then an error says so.

    Returns
    -------
    nn.Module
        A new network, with batch norms folded into weights.  It is built like ``cnn``, but
        for nn.Identity in place of each batch norm; a network with branches becomes an
        fx.GraphModule with the same names.

    Raises
    ------
    ConversionError
        For a network that cannot be converted.
    ValueError
        For a wrong number of scales, a wrong shape, a scale that is not positive, or a
        last scale that differs between outputs.
    """
    graph = trace(cnn, input_shape)
    scale_of = {INPUT: torch.tensor(1.0, dtype=torch.float64)}
    given = iter(check_scales(graph, scales))
    stages = []
    for stage in graph.stages:
        source = scale_of[stage.paths[0].source]
        scale_of[stage.name] = source if stage.kind == "max" else next(given)
        stages.append(_rescaled(stage, scale_of))
    return rebuild(cnn, replace(graph, stages=tuple(stages)))


def fold_batch_norm(
    cnn: nn.Module, *, input_shape: tuple[int, int, int] | None = None
) -> nn.Module:
    """The same network without batch norms: they become part of weights and biases.

    Parameters
    ----------
    cnn : nn.Module
        In evaluation mode; left as it is.
    input_shape : tuple of int, optional
        (C, H, W) of one image; only where the layers depend on it, and then an error says so.

    Returns
    -------
    nn.Module
        A new network; see ``normalize_weights``.

    Raises
    ------
    ConversionError
        For a network that cannot be converted.
    """
    return rebuild(cnn, trace(cnn, input_shape))


class _Measure:
    """Reads all images, as often as it takes, and keeps counts of their activations."""

    def __init__(self, cnn: nn.Module, percentile: float, channelwise: bool) -> None:
        self.cnn, self.percentile, self.channelwise = cnn, percentile, channelwise
        self.widths = LITTLE if channelwise else FEW
        self.passes = 1 if percentile == 100 else len(self.widths)
        self.graph: Graph | None = None  # traced when the shape of an image is known
        # of each layer and its channels, by name and sign: of the output also what is below 0
        self.series: dict[tuple[str, int], list[Maximum | Percentile]] = {}
        self.parts: set[str] = set()  # of layers, which may be silent

    def read(self, images: Images) -> None:
        """All images once."""
        for batch in image_batches(images, AT_ONCE):
            _check_bytes(batch)
            if self.graph is None:
                self.graph = trace(self.cnn, tuple(batch.images.shape[1:]))
            self._add(batch.images)
        for series in self.series.values():
            for one in series:
                one.end_pass()

    def scales(self) -> list[Tensor]:
        """What has been found, layer by layer."""
        return [self._scale(name) for name, sign in self.series if sign > 0]

    def _add(self, images: Tensor) -> None:
        """In float64: what remains of it in float32 does not depend on the machine, the batch
        size, or noise where the exact result is zero."""
        for stage, activation in self.graph.run(images.cpu().double()):
            self.parts |= {stage.name} if stage.is_part else set()
            for sign in SIGNS.get(stage.kind, (1,)):
                signed = F.relu(sign * activation).float()
                values = signed.transpose(0, 1).flatten(1)  # [C, N * ...]
                series = self._series(stage, len(values))
                whole, *channels = self.series.setdefault((stage.name, sign), series)
                whole.add(values.reshape(1, -1))
                for one in channels:
                    one.add(values)

    def _series(self, stage: Stage, channels: int) -> list[Maximum | Percentile]:
        split = self.channelwise and stage.kind != "output"  # one scale must serve all classes
        rows = [1, channels] if split else [1]
        if self.percentile == 100:
            return [Maximum(n) for n in rows]
        return [Percentile(n, self.percentile, self.widths) for n in rows]

    def _scale(self, name: str) -> Tensor:
        whole, *channels = [one.result for one in self.series[name, 1]]
        if whole == 0 and (name, -1) in self.series:  # an output may well be negative everywhere
            whole = self.series[name, -1][0].result
        if whole == 0 and name in self.parts:
            return torch.tensor(1.0)
        if whole == 0:
            raise ValueError(f"layer {name} is dead: no image activates it; train it again.")
        if not channels:
            return whole[0]
        return torch.where(channels[0] > 0, channels[0], whole)  # a silent one keeps any scale


def _check_readings(images: Images, passes: int) -> None:
    if isinstance(images, Iterator) and passes > 1:
        raise ValueError(
            f"images can be read only once, but a percentile takes {passes} readings; give a "
            "tensor, a list of batches or a DataLoader, or percentile=100."
        )


def _check_bytes(batch: Batch) -> None:
    """Normalised images may have any pixels, but not those of a file."""
    images = batch.images
    low, high = images.min(), images.max()
    if images.ndim == 4 and low >= 0 and high > 1 and torch.equal(images, images.round()):
        reason = f"pixels span [{low:.4g}, {high:.4g}]; divide 8-bit pixels by 255."
        raise DataError(batch.first, reason)


def _reach(stage: Stage, bounds: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """[]: the least and the most that any neuron of a stage can be given."""
    low, high = map(sum, zip(*(_ends(p, bounds[p.source]) for p in stage.paths), strict=True))
    if stage.bias is not None:
        bias = stage.bias.flatten(1) if stage.bias.ndim > 1 else stage.bias[:, None]  # [C, ...]
        low, high = low + bias.amin(1), high + bias.amax(1)
    if stage.ceiling is not None:
        high = torch.minimum(high, stage.ceiling)
    return low.min(), high.max()


def _ends(path: Path, high: Tensor) -> tuple[Tensor, Tensor]:
    """[C] or []: what can arrive at least and at most, if all that goes in is in [0, high]."""
    low = torch.zeros_like(high)
    for op in path.ops:
        layer = op.module
        if isinstance(layer, nn.AvgPool2d) and layer.divisor_override:
            factor = window_area(layer) / layer.divisor_override
            low, high = low * factor, high * factor
        beside = getattr(layer, "value", 0.0)  # what is beside the image, if there is padding
        low, high = low.clamp(max=beside), high.clamp(min=beside)
        if isinstance(layer, SYNAPTIC):
            low, high = _weighted_ends(layer, low, high)
    return low, high


def _weighted_ends(layer: nn.Module, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """[C]: the least and the most that weights can make of inputs between two bounds."""
    ends = [layer.weight * input_factors(as_scale(bound), layer) for bound in (low, high)]
    shift = 0.0 if layer.bias is None else layer.bias
    sums = torch.minimum(*ends), torch.maximum(*ends)
    low, high = (rows.flatten(1).sum(1) + shift for rows in sums)
    return low, high


def _rescaled(stage: Stage, scale_of: dict[str, Tensor]) -> Stage:
    """A stage whose inputs and activations are divided by their scales."""
    if stage.kind == "max":
        return stage
    scale = scale_of[stage.name]
    paths = tuple(
        _rescaled_path(path, scale_of[path.source], scale, f"{stage.name}_shortcut{i}")
        for i, path in enumerate(stage.paths)
    )
    bias, ceiling = (None if x is None else x / scale for x in (stage.bias, stage.ceiling))
    return replace(stage, paths=paths, bias=bias, ceiling=ceiling)


def _rescaled_path(path: Path, before: Tensor, scale: Tensor, name: str) -> Path:
    if path.synapse is None and torch.equal(before, scale):
        return path
    before, scale = before.reshape(-1), scale.reshape(-1)
    if path.synapse is None and any(isinstance(op.module, nn.Flatten) for op in path.ops):
        if len(scale) == 1:  # then it is not known how many features a channel has
            return Path(path.source, (Op(name, shifted(before / scale, None)), *path.ops))
        before = before.repeat_interleave(len(scale) // len(before))
    return scaled(prescaled(path, before, name), 1 / scale, name)
