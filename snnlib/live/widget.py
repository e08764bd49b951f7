"""The live lab in JupyterLab (chapter 10): the same files as in the book, tied to Python."""

from collections.abc import Sequence
from typing import Any

import anywidget
import numpy as np
import torch
import traitlets
from torch import Tensor

from snnlib.data import Digits
from snnlib.export.lab import lab_network
from snnlib.live import bundle
from snnlib.live.exhibit import exhibited_network, exhibited_samples
from snnlib.live.options import lab_options
from snnlib.spiking.network import SpikingNetwork

DRAWING = (1, 28, 28)  # what becomes of one on the pad


class LiveLab(anywidget.AnyWidget):
    """Draw a digit and watch a network decide; what the lab shows can be read in Python.

    Parameters
    ----------
    snn : SpikingNetwork, optional
        By default the network of the book's lab.
    digits : Digits, optional
        The first image of each class becomes a sample; by default those of the test set.
    options
        As the directive takes them: ``view``, ``panels``, ``sliders``, ``layers``, ``label``,
        and the settings to begin with, such as ``rate=0.4`` or ``steps=40``.

    Attributes
    ----------
    image : Tensor [1, 28, 28]
        What the network sees, float32 in [0, 1].
    answer : int or None
        After the last step; -1 is undecided, None an empty drawing.
    settings : dict
        Steps, threshold, rate, seed and the rest, as the reader has set them.

    Raises
    ------
    LabError
        For a network that the lab cannot run with the same spikes.
    ValueError
        For a network or images of another shape than [1, 28, 28], which a drawing has; for
        digits without an image of some class; for options that the lab does not know.
    """

    _esm = bundle.script()
    _css = bundle.style()
    network = traitlets.Bytes().tag(sync=True)
    samples = traitlets.List().tag(sync=True)
    options = traitlets.Dict().tag(sync=True)
    settings = traitlets.Dict().tag(sync=True)
    pixels = traitlets.Bytes().tag(sync=True, from_json=lambda view, _: bytes(view))
    answer = traitlets.Int(None, allow_none=True).tag(sync=True)

    def __init__(
        self, snn: SpikingNetwork | None = None, digits: Digits | None = None, **options: Any
    ) -> None:
        snn = exhibited_network() if snn is None else snn
        network = lab_network(snn)
        _check_shape("the network takes images", snn.input_shape)
        if digits is not None:
            _check_shape("digits has images", digits.images.shape[1:])
        super().__init__(
            network=network,
            samples=exhibited_samples(digits),
            options=lab_options(options),
        )

    @property
    def image(self) -> Tensor:
        """What the network sees, [1, 28, 28] float32 in [0, 1]."""
        if not self.pixels:
            raise ValueError("the lab is not on screen yet; show it in a cell first.")
        grey = np.frombuffer(self.pixels, np.uint8).reshape(DRAWING)
        return torch.from_numpy(grey.copy()).float() / 255


def _check_shape(what: str, shape: Sequence[int]) -> None:
    if tuple(shape) != DRAWING:
        raise ValueError(f"{what} of {tuple(shape)}; a drawing has {DRAWING}, so give that shape.")
