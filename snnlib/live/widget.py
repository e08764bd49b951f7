"""The live lab in JupyterLab (chapter 10): the same files as in the book, tied to Python."""

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
from snnlib.network import SpikingNetwork


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
    image : Tensor [1, H, W]
        What the network sees, float32 in [0, 1].
    answer : int or None
        After the last step; -1 is undecided, None an empty drawing.
    settings : dict
        Steps, threshold, rate, seed and the rest, as the reader has set them.

    Raises
    ------
    LabError
        For a network that the lab cannot run with the same spikes.
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
        self._shape = (1, 28, 28) if snn is None else tuple(snn.input_shape)
        super().__init__(
            network=lab_network(exhibited_network() if snn is None else snn),
            samples=exhibited_samples(digits),
            options=lab_options(options),
        )

    @property
    def image(self) -> Tensor:
        """What the network sees, [1, H, W] float32 in [0, 1]."""
        if not self.pixels:
            raise ValueError("the lab is not on screen yet; show it in a cell first.")
        grey = np.frombuffer(self.pixels, np.uint8).reshape(self._shape)
        return torch.from_numpy(grey.copy()).float() / 255
