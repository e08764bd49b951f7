"""What the lab shows unless it is told otherwise: a trained network and ten digits."""

from functools import cache
from typing import Any

import torch

from snnlib.cnn.balancing import activation_scales, normalize_weights
from snnlib.cnn.shipped import load_trained_cnn
from snnlib.data import Digits, load_digits
from snnlib.spiking.conversion import convert
from snnlib.spiking.network import SpikingNetwork

WEIGHTS = "mnist"  # trained on shifted and turned digits too, as drawings are
CALIBRATION = 1000  # [images]


@cache
def exhibited_network() -> SpikingNetwork:
    """The shipped network, converted with the defaults of the course; it counts spikes."""
    cnn, train = load_trained_cnn(WEIGHTS), load_digits("train")
    scales = activation_scales(cnn, train.images[:CALIBRATION], percentile=99.9)
    return convert(normalize_weights(cnn, scales), readout="spikes")


def exhibited_samples(digits: Digits | None = None) -> list[dict[str, Any]]:
    """One image of each class, the first of the test set (by default).

    Returns
    -------
    list of dict
        ``label``, ``index`` in the data set, on which the spikes depend, and ``pixels``:
        bytes [H * W], 255 is a white pixel.

    Raises
    ------
    ValueError
        For digits without an image of some class.
    """
    digits = load_digits("test") if digits is None else digits
    return [_sample(digits, label) for label in range(len(digits.class_names))]


def _sample(digits: Digits, label: int) -> dict[str, Any]:
    places = (digits.labels == label).nonzero()
    if not len(places):
        raise ValueError(f"digits has no image of class {label}; give one of each class.")
    index = int(places[0])
    pixels = (digits.images[index] * 255).round().to(torch.uint8)
    return {"label": label, "index": index, "pixels": pixels.numpy().tobytes()}
