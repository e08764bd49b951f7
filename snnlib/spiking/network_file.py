"""A spiking network as text: its file, with 16-bit weights, and its table (chapter 4)."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from snnlib.cnn.graph import ChannelScale
from snnlib.cnn.models import WEIGHTED
from snnlib.spiking.layer import SpikingLayer, weight_of
from snnlib.spiking.neurons import IFNeuron, Integrator, MaxPooling
from snnlib.storage import StorageError, load_tensors, save_tensors

_KINDS = {  # what a synapse is made of, and what must be stored to make it again
    "sum_pool": (nn.AvgPool2d, ("kernel_size", "stride", "padding", "divisor_override")),
    "conv": (
        nn.Conv2d,
        ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"),
    ),
    "linear": (nn.Linear, ("in_features", "out_features")),
    "flatten": (nn.Flatten, ("start_dim", "end_dim")),
    "shortcut": (ChannelScale, ("channels",)),
    "upsample": (nn.Upsample, ("size", "scale_factor")),
    "max_pool": (nn.MaxPool2d, ("kernel_size", "stride", "padding", "dilation", "ceil_mode")),
}


def write_layers(
    path: str | Path,
    layers: Sequence[SpikingLayer],
    input_shape: tuple[int, int, int],
    gain: float = 1.0,
    clipped: bool = False,
) -> None:
    """Write a network's layers to one safetensors file.

    Parameters
    ----------
    path : str or Path
    layers : sequence of SpikingLayer
    input_shape : tuple of int
        (C, H, W) of one image.
    gain : float
    clipped : bool
        Of the network; left out of the file if they are 1 and False.
    """
    tensors = {}
    for i, layer in enumerate(layers):
        tensors |= _tensors_of(layer, f"{i}.")
    facts = {"input_shape": input_shape, "layers": [_facts_of(layer) for layer in layers]}
    facts |= {} if gain == 1 else {"gain": gain}
    facts |= {"clipped": True} if clipped else {}
    save_tensors(path, tensors, facts)


def read_layers(
    path: str | Path,
) -> tuple[list[SpikingLayer], tuple[int, int, int], float, bool]:
    """Read what ``write_layers`` wrote.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    layers : list of SpikingLayer
    input_shape : tuple of int
    gain : float
    clipped : bool

    Raises
    ------
    FileNotFoundError
        For a missing file.
    StorageError
        For one that is truncated, altered or holds something else.
    """
    tensors, facts = load_tensors(path)
    if "layers" not in facts:
        raise StorageError(f"{path} holds no spiking network; write one with snn.save(path).")
    layers = [_build(facts_of, i, tensors) for i, facts_of in enumerate(facts["layers"])]
    more = facts.get("gain", 1.0), facts.get("clipped", False)
    return layers, tuple(facts["input_shape"]), *more


def kind_of(op: nn.Module) -> str:
    """What an operation of a synapse is called.

    Parameters
    ----------
    op : nn.Module

    Returns
    -------
    str
        "sum_pool", "conv", "linear", "flatten", "shortcut", "upsample" or "max_pool".
    """
    return next(kind for kind, (made_of, _) in _KINDS.items() if isinstance(op, made_of))


def _tensors_of(layer: SpikingLayer, start: str) -> dict[str, Tensor]:
    """A layer's tensors in a file; weights and biases in whole units."""
    units = 2.0**layer.fraction_bits
    tensors = {f"{start}scale": layer.scale}
    for name, path in _named_paths(layer, start):
        if weight_of(path) is not None:
            tensors[name] = (weight_of(path).double() * units).to(torch.int16)
    if layer.bias is not None:
        tensors[f"{start}bias"] = (layer.bias.double() * units).to(torch.int32)
    if layer.spiking:
        tensors[f"{start}threshold"] = layer.neuron.threshold
        tensors[f"{start}initial"] = layer.neuron.initial
    return tensors


def _named_paths(layer: SpikingLayer, start: str) -> list[tuple[str, nn.Sequential]]:
    """The name of each path's weights in a file, and the path."""
    shortcuts = [(f"{start}shortcut{j}", path) for j, path in enumerate(layer.shortcuts)]
    return [(f"{start}weight", layer.synapse), *shortcuts]


def _facts_of(layer: SpikingLayer) -> dict:
    """The text that stands for a layer in a file, next to its tensors."""
    neuron, is_pool = layer.neuron, isinstance(layer.neuron, MaxPooling)
    return {
        "name": layer.name,
        "fraction_bits": layer.fraction_bits,
        "reset": neuron.reset_rule if isinstance(neuron, IFNeuron) else None,
        "synapse": [_facts_of_op(op) for op in layer.synapse],
        "sources": list(layer.sources),
        "shortcuts": [[_facts_of_op(op) for op in path] for path in layer.shortcuts],
        "max_pooling": neuron.rule if is_pool else None,
        "pool": _facts_of_op(neuron.pool) if is_pool else None,
    }


def _facts_of_op(op: nn.Module) -> dict:
    kind = kind_of(op)
    return {"kind": kind, **{key: getattr(op, key) for key in _KINDS[kind][1]}}


def _build(facts: dict, i: int, tensors: dict[str, Tensor]) -> SpikingLayer:
    """A layer from its text and its tensors, `{i}.weight` and so on."""
    units = 2.0 ** facts["fraction_bits"]
    bias = tensors.get(f"{i}.bias")
    layer = SpikingLayer(
        facts["name"],
        nn.Sequential(*map(_build_op, facts["synapse"])),
        _build_neuron(facts, i, tensors),
        facts["fraction_bits"],
        sources=tuple(facts.get("sources", ())),
        shortcuts=[nn.Sequential(*map(_build_op, ops)) for ops in facts.get("shortcuts", ())],
        bias=None if bias is None else bias.double().div(units).float(),
        scale=tensors.get(f"{i}.scale"),
    )
    for name, path in _named_paths(layer, f"{i}."):
        if weight_of(path) is not None:
            weight_of(path).copy_(tensors[name].float() / units)
    return layer


def _build_neuron(facts: dict, i: int, tensors: dict[str, Tensor]) -> nn.Module:
    if facts.get("max_pooling"):
        return MaxPooling(_build_op(facts["pool"]), facts["max_pooling"])
    if not facts["reset"]:
        return Integrator()
    neuron = IFNeuron(tensors[f"{i}.threshold"], reset=facts["reset"])
    neuron.initial = tensors[f"{i}.initial"]
    return neuron


def _build_op(facts: dict) -> nn.Module:
    made_of, names = _KINDS[facts["kind"]]
    values = (tuple(v) if isinstance(v, list) else v for v in map(facts.get, names))
    bias = {"bias": False} if made_of in WEIGHTED else {}
    return made_of(**dict(zip(names, values, strict=True)), **bias)


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
