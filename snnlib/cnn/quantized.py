"""Fine-tune a CNN for few time steps (chapter 7, *Where conversion loses accuracy*).

In T steps a neuron gives 0, 1, ... or T spikes, so a converted network computes with
T + 1 levels, although it was trained with all numbers.  QCFS, the quantisation
clip-floor-shift activation (Bu et al. 2022), brings the levels into training:

    y = scale / levels * clip(floor(x * levels / scale + 1/2), 0, levels)

is the rate of an integrate-and-fire neuron after T = levels steps of constant input, if its
threshold is ``scale`` and it starts at half of it.  A floor has no slope, so the
gradient passes it as if it were not there; clipping stops it.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from snnlib.cnn.balancing import activation_scales
from snnlib.cnn.scales import check_scales
from snnlib.cnn.tracing import trace
from snnlib.cnn.training import History, Recipe, fit
from snnlib.data import Digits

LAST_SCALE = 1.0  # of outputs that only accumulate, where any number serves
MEASURED = 5000  # images from which scales start


class QCFS(nn.Module):
    """A clipped, quantised ReLU with a scale that is learned (Bu et al. 2022).

    The scale is stored as its logarithm, so that no step of training can make it negative.

    Parameters
    ----------
    levels : int
        Above zero, at least 1; that many time steps can tell them apart.
    scale : float or Tensor [] or [C]
        The largest value; above 0.

    Raises
    ------
    ValueError
        For other arguments.
    """

    def __init__(self, levels: int, scale: float | Tensor = 1.0) -> None:
        super().__init__()
        scale = torch.as_tensor(scale, dtype=torch.float32)
        if levels < 1 or levels != int(levels):
            raise ValueError(f"levels is {levels}; give a whole number, at least 1.")
        if scale.ndim > 1 or not (torch.isfinite(scale) & (scale > 0)).all():
            raise ValueError(f"scale is {scale.tolist()}; give one number above 0, or [C].")
        self.levels = int(levels)
        self.log_scale = nn.Parameter(scale.log())

    @property
    def scale(self) -> Tensor:
        """The largest value, [] or [C]."""
        return self.log_scale.exp()

    def forward(self, x: Tensor) -> Tensor:
        """The nearest level, between 0 and ``scale``.

        Parameters
        ----------
        x : Tensor [N, C, ...]

        Returns
        -------
        Tensor
            In the same shape.
        """
        unit = self.scale / self.levels
        if unit.ndim:
            unit = unit.view(-1, *[1] * (x.ndim - 2))  # [C, 1, ...]
        level = x / unit + 0.5
        level = level + (level.floor() - level).detach()  # the gradient sees no floor
        return level.clamp(0, self.levels) * unit

    def extra_repr(self) -> str:
        """What a network prints of it."""
        return f"levels={self.levels}"


@dataclass(frozen=True)
class QuantizedRecipe:
    """How to fine-tune for few steps.

    Parameters
    ----------
    start : str
        The trained network at the beginning, see ``load_trained_cnn``.
    levels : int
        Above zero, at least 1.
    percentile : float
        Of the activations that the scales start from.
    recipe : Recipe
        Of the training.
    """

    start: str
    levels: int
    percentile: float
    recipe: Recipe


def quantize_activations(
    cnn: nn.Sequential, levels: int, scales: Sequence[Tensor]
) -> nn.Sequential:
    """The network with a QCFS in place of each ReLU, ready to be fine-tuned with ``fit``.

    Parameters
    ----------
    cnn : nn.Sequential
        A network that ``convert`` accepts, each of its ReLUs an nn.ReLU; left as it is.
    levels : int
        Above zero, at least 1.
    scales : sequence of Tensor
        One a weight layer, as from ``activation_scales``; the last is not used.

    Returns
    -------
    nn.Sequential

    Raises
    ------
    ConversionError
        For a network that cannot be converted.
    ValueError
        For other arguments, or a ReLU that is no layer of its own.
    """
    if not isinstance(cnn, nn.Sequential):
        raise ValueError(f"cnn is a {type(cnn).__name__}; give an nn.Sequential.")
    cnn = copy.deepcopy(cnn).eval()
    scales = check_scales(trace(cnn), scales)
    names = [name for name, layer in cnn.named_modules() if isinstance(layer, nn.ReLU)]
    if len(names) != len(scales) - 1:
        raise ValueError(
            f"cnn has {len(names)} nn.ReLU for {len(scales) - 1} layers of neurons; "
            "write each ReLU as an nn.ReLU() of its own."
        )
    for name, scale in zip(names, scales, strict=False):
        cnn.set_submodule(name, QCFS(levels, scale))
    return cnn


def restore_relu(cnn: nn.Sequential) -> tuple[nn.Sequential, list[Tensor]]:
    """The way back: a network with ReLUs, and the scales with which it converts.

    Parameters
    ----------
    cnn : nn.Sequential
        From ``quantize_activations``, fine-tuned or not; left as it is.

    Returns
    -------
    cnn : nn.Sequential
        With nn.ReLU in place of each QCFS.
    scales : list of Tensor
        For ``normalize_weights``, or the ``thresholds`` of ``convert``.  The last is 1; with
        readout "spikes" take that of ``activation_scales`` instead.

    Raises
    ------
    ValueError
        If there is no QCFS.
    """
    cnn, scales = copy.deepcopy(cnn).eval(), []
    for name, layer in list(cnn.named_modules()):
        if isinstance(layer, QCFS):
            scales.append(layer.scale.detach().clone())
            cnn.set_submodule(name, nn.ReLU())
    if not scales:
        raise ValueError("cnn has no QCFS; make it with quantize_activations first.")
    return cnn, [*scales, torch.tensor(LAST_SCALE)]


def fine_tune(
    cnn: nn.Sequential,
    digits: Digits,
    recipe: QuantizedRecipe,
    *,
    seed: int = 0,
    progress: bool = True,
) -> tuple[nn.Sequential, History]:
    """Quantise the activations of a trained network, and train on.

    Parameters
    ----------
    cnn : nn.Sequential
        Left as it is.
    digits : Digits
        Training images; scales start from the first 5,000.
    recipe : QuantizedRecipe
    seed : int
        As for ``fit``.
    progress : bool
        Draw a progress bar.

    Returns
    -------
    cnn : nn.Sequential
        With QCFS activations.
    history : History

    Raises
    ------
    ConversionError
        For a network that cannot be converted.
    ValueError
        As ``quantize_activations`` and ``fit`` do.
    """
    scales = activation_scales(cnn, digits.images[:MEASURED], percentile=recipe.percentile)
    quantized = quantize_activations(cnn, recipe.levels, scales)
    history = fit(quantized, digits, recipe.recipe, seed=seed, progress=progress)
    return quantized.eval(), history
