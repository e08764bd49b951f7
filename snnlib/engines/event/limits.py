"""What the event-driven engine cannot express."""

import torch
from torch import nn

from snnlib.cnn.graph import INPUT, ChannelScale
from snnlib.cnn.models import pair
from snnlib.spiking.layer import SpikingLayer, adds_up, is_plain, parts, weight_of
from snnlib.spiking.network import Wiring
from snnlib.spiking.neurons import MaxPooling

MOST_WEIGHTS = 2**25  # of a shortcut between features, laid out as a square


class EngineError(ValueError):
    """The event engine cannot run a network.

    Attributes
    ----------
    reason : str
        A sentence with the fix.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"The event engine cannot run: {reason}")
        self.reason = reason


def check_expressible(wiring: Wiring) -> None:
    """Raise unless every layer has a layout.

    Parameters
    ----------
    wiring : Wiring

    Raises
    ------
    EngineError
        With the first layer that has none.
    """
    for layer in wiring.layers:
        for source, path in layer.paths:
            fault = _fault(layer, path, source, wiring.shapes[source])
            if fault:
                raise EngineError(f'layer {layer.name} {fault}; use engine="clock".')
    if len(wiring.shapes[wiring.layers[-1].name]) != 1:
        raise EngineError('the last layer is not linear; use engine="clock".')


def _fault(layer: SpikingLayer, path: nn.Sequential, source: str, before: torch.Size) -> str | None:
    """Why a synapse cannot be expressed, given the shape of the neurons before."""
    if isinstance(layer.neuron, MaxPooling):
        return "pools the image itself" if source == INPUT else None
    pools, rest = parts(path)
    if not all(_adds_or_repeats(pool) for pool in pools):
        return "has pools that average or cut off windows"
    weightless = not rest and len(layer.sources) > 1  # where paths add up, each needs weights
    if weightless or not is_plain(rest, before):
        return "has a synapse that the event engine does not know"
    weight = weight_of(path)
    if weight is not None and weight.abs().max().item() * 2.0**layer.fraction_bits >= 2**15:
        return "has weights of more than 16 bits"
    if rest and isinstance(rest[-1], ChannelScale) and rest[-1].channels ** 2 > MOST_WEIGHTS:
        return "has a shortcut between too many features"
    return None


def _adds_or_repeats(pool: nn.AvgPool2d | nn.Upsample) -> bool:
    """Whether a pool adds up whole windows, or repeats each pixel as often."""
    if isinstance(pool, nn.Upsample):
        return pool.mode == "nearest" and all(f == int(f) for f in pair(pool.scale_factor))
    return adds_up(pool)
