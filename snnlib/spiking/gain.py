"""How large an encoder's input is beside the image (chapter 9).

An input that is smaller than the image by a factor, as random spikes at a maximal rate below 1
are, makes all activations of a ReLU network smaller by that factor, if its biases are made
so, too: relu(w (g x) + g b) = g relu(w x + b).  So an encoder says its factor, its ``gain``.
"""

import math

import torch
from torch import Tensor

from snnlib.data import PIXELS, Span
from snnlib.spiking.encoding import ConstantEncoder, Encoder, PoissonEncoder, SignedEncoder

OWN_ENCODERS = (PoissonEncoder, ConstantEncoder, SignedEncoder)  # tests say that these are honest
TRIAL_STEPS, TRIAL_IMAGES = 64, 4  # what is looked at of any other


def span_of(encoder: Encoder) -> Span:
    """The least and the largest pixel and input of an encoder.

    Parameters
    ----------
    encoder : Encoder

    Returns
    -------
    tuple of float

    Raises
    ------
    TypeError
        For what is no encoder.
    """
    has_all = hasattr(encoder, "constant") and callable(getattr(encoder, "stream", None))
    if isinstance(encoder, type) or not has_all:
        raise TypeError(
            f"encoder is {encoder!r}; give PoissonEncoder(0.4), ConstantEncoder(), or an object "
            "of your own with `constant` and `stream(images, index)`."
        )
    return getattr(encoder, "span", PIXELS)


def gain_of(encoder: Encoder) -> float:
    """By what factor the input is as large as the image.

    Parameters
    ----------
    encoder : Encoder

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For an encoder that does not say it, or says something impossible.
    """
    gain = getattr(encoder, "gain", None)
    if gain is None:
        raise ValueError(
            f"encoder is a {type(encoder).__name__}, which does not say how large its input is "
            "beside the image; give it `gain = 1.0` if the input averages to the image over "
            "time, 0.4 if to 0.4 times the image."
        )
    if not 0 < gain < math.inf:
        raise ValueError(f"gain of {type(encoder).__name__} is {gain}; give a factor above 0.")
    return float(gain)


def check_gain(encoder: Encoder, images: Tensor) -> None:
    """Raise if an encoder shows another image than it says.

    What it shows of a few images in a few steps is compared with them.  Not seen are errors
    of less than about a tenth, an encoder that changes its mind later, and one whose input
    has another shape than the image.

    Parameters
    ----------
    encoder : Encoder
        Nothing is asked of one without a gain.
    images : Tensor [N, ...]

    Raises
    ------
    ValueError
        If the input is not, on average, ``gain`` times the image.
    """
    if type(encoder) in OWN_ENCODERS or getattr(encoder, "gain", None) is None:
        return
    gain, images = gain_of(encoder), images[:TRIAL_IMAGES]
    steps = 1 if encoder.constant else TRIAL_STEPS
    stream = encoder.stream(images, torch.arange(len(images), device=images.device))
    shown = sum(stream(step).double() for step in range(steps)) / steps
    power = images.double().square().sum().item()
    if shown.shape != images.shape or power == 0:
        return
    found = (shown * images).sum().item() / power  # the slope that fits best
    slack = 0.01 if encoder.constant else 0.1 + (1 / steps + 3 / math.sqrt(steps * power)) / gain
    if not abs(found / gain - 1) <= slack:
        raise ValueError(
            f"{type(encoder).__name__} says that its gain is {gain:.4g}, but it shows "
            f"{found:.4g} times the image on average; give it the gain that it has."
        )
