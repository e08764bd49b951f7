"""What the event-driven engine cannot express."""

import torch
from torch import nn

from snnlib.cnn.graph import INPUT, ChannelScale
from snnlib.cnn.models import pair
from snnlib.spiking.layer import SpikingLayer, parts, weight_of
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
    if not _is_known(rest, before, single=len(layer.sources) == 1):
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
    return pool.divisor_override == 1 and not pool.ceil_mode


def _is_known(rest: list[nn.Module], before: torch.Size, *, single: bool) -> bool:
    """Whether what follows the pools has a layout, given the shape of the neurons before."""
    kinds = [type(op) for op in rest]
    if kinds == [nn.Conv2d] or (single and not kinds):
        known = len(before) == 3 and all(isinstance(op.padding, tuple) for op in rest)
        return known and all(op.padding_mode == "zeros" for op in rest)
    if kinds == [ChannelScale]:
        return True
    flat = kinds[1:] if kinds[:1] == [nn.Flatten] else kinds
    known = flat in ([nn.Linear], [ChannelScale]) and (len(flat) < len(kinds) or len(before) == 1)
    return known and all(_flattens_all(op, len(before) + 1) for op in rest)


def _flattens_all(op: nn.Module, axes: int) -> bool:
    return not isinstance(op, nn.Flatten) or (op.start_dim, op.end_dim) in ((1, -1), (1, axes - 1))
