"""A spiking network in words: the table that it prints as."""

from collections.abc import Sequence

from torch import Tensor, nn

from snnlib.spiking.layer import SpikingLayer
from snnlib.spiking.network_file import kind_of
from snnlib.spiking.neurons import MaxPooling


def table(layers: Sequence[SpikingLayer]) -> list[str]:
    """The table that a network prints as, a line for each layer.

    Parameters
    ----------
    layers : sequence of SpikingLayer

    Returns
    -------
    list of str
    """
    width = max(7, *(len(layer.name) for layer in layers))
    return [_row(layer, width) for layer in layers]


def _row(layer: SpikingLayer, width: int) -> str:
    text = f"  {layer.name:<{width}} {synapse_text(layer):<25} {neuron_text(layer):<28}"
    is_pool = isinstance(layer.neuron, MaxPooling)
    return text.rstrip() if is_pool else f"{text} grid 2**-{layer.fraction_bits}"


def synapse_text(layer: SpikingLayer) -> str:
    """What a layer's synapses are made of, in a few words.

    Parameters
    ----------
    layer : SpikingLayer

    Returns
    -------
    str
    """
    if isinstance(layer.neuron, MaxPooling):
        return "max_pool"
    others = [f" + {_kinds(path)} from {source}" for source, path in layer.paths[1:]]
    bias = " + bias" if layer.bias is not None else ""
    return "".join([_kinds(layer.synapse), *others, bias])


def _kinds(path: nn.Sequential) -> str:
    return ", ".join(map(kind_of, path))


def neuron_text(layer: SpikingLayer) -> str:
    """What a layer's neurons do, in a few words.

    Parameters
    ----------
    layer : SpikingLayer

    Returns
    -------
    str
    """
    if isinstance(layer.neuron, MaxPooling):
        return f"max pooling ({layer.neuron.rule})"
    if not layer.spiking:
        return "accumulates"
    return f"spikes at {range_text(layer.neuron.threshold)}, reset {layer.neuron.reset_rule}"


def range_text(values: Tensor) -> str:
    """The smallest and the largest value, or the one that there is.

    Parameters
    ----------
    values : Tensor

    Returns
    -------
    str
    """
    low, high = values.min().item(), values.max().item()
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
