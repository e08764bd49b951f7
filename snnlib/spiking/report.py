"""What became of each layer in a conversion (chapter 9, *Lift the constraints*)."""

from dataclasses import dataclass, fields
from html import escape

from torch import Tensor, nn

from snnlib.cnn.tracing import trace
from snnlib.spiking.layer import SpikingLayer, weight_of
from snnlib.spiking.network import SpikingNetwork
from snnlib.spiking.network_file import neuron_text, range_text, synapse_text


@dataclass(frozen=True)
class LayerReport:
    """One layer of neurons.

    Attributes
    ----------
    name : str
        Of the layer of the CNN whose weights it has, or of the pool.
    synapses : str
        What leads to it.
    neurons : str
        What they do, with their threshold.
    count : int
        [neurons]
    scale : str
        The activation that one spike a step stands for, or the range over channels.  An output
        that only accumulates has no spikes: its scale is the one that it was balanced by, and
        ``SpikingNetwork.output_unit`` says what its potential stands for.
    fan_out : int
        The most synapses that leave one of its neurons; 0 at the output.
    parameters : int
        Weights and biases.
    """

    name: str
    synapses: str
    neurons: str
    count: int
    scale: str
    fan_out: int
    parameters: int


@dataclass(frozen=True)
class ConversionReport:
    """A table of layers; prints as text, and as HTML in a notebook.

    Attributes
    ----------
    layers : tuple of LayerReport
    folded : tuple of str
        Batch norms that are now part of weights and biases.
    dropped : tuple of str
        Layers that change no decision and were left out.
    exact_steps : int
        For how many steps every potential is exact.
    """

    layers: tuple[LayerReport, ...]
    folded: tuple[str, ...]
    dropped: tuple[str, ...]
    exact_steps: int

    def __str__(self) -> str:
        rows = [_HEAD, *(_cells(layer) for layer in self.layers)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([*lines, *self.notes])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{cell}</th>" for cell in _HEAD)
        rows = [
            "".join(f"<td>{escape(cell)}</td>" for cell in _cells(layer)) for layer in self.layers
        ]
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}"

    @property
    def notes(self) -> list[str]:
        """What a table of layers cannot say, a sentence each."""
        notes = [f"Potentials are exact for {self.exact_steps} steps."]
        if self.folded:
            notes.append(f"Folded into weights and biases: {', '.join(self.folded)}.")
        if self.dropped:
            notes.append(f"Left out, as they change no decision: {', '.join(self.dropped)}.")
        return notes


_HEAD = tuple(field.name.replace("_", "-") for field in fields(LayerReport))


def conversion_report(cnn: nn.Module, snn: SpikingNetwork) -> ConversionReport:
    """What became of each layer.

    Parameters
    ----------
    cnn : nn.Module
        That was converted.
    snn : SpikingNetwork
        What ``convert`` made of it.

    Returns
    -------
    ConversionReport

    Raises
    ------
    ConversionError
        For a network that cannot be converted.
    ValueError
        If ``snn`` was made of another network.
    """
    graph = trace(cnn, snn.input_shape)
    names = {layer.name for layer in snn.layers}
    missing = [stage.name for stage in graph.stages if stage.name not in names]
    if missing:
        raise ValueError(f"snn has no layer {missing[0]}; give the cnn that it was converted from.")
    wiring = snn.wiring()
    fan_outs = wiring.total_fan_outs
    layers = [
        _layer_report(layer, wiring.shapes[layer.name].numel(), fan_outs.get(layer.name))
        for layer in wiring.layers
    ]
    return ConversionReport(tuple(layers), graph.folded, graph.dropped, snn.exact_steps)


def _layer_report(layer: SpikingLayer, count: int, fan_out: Tensor | None) -> LayerReport:
    parameters = [layer.bias, *(weight_of(path) for _, path in layer.paths)]
    return LayerReport(
        name=layer.name,
        synapses=synapse_text(layer),
        neurons=neuron_text(layer),
        count=count,
        scale=range_text(layer.scale),
        fan_out=0 if fan_out is None else int(fan_out.max()),
        parameters=sum(values.numel() for values in parameters if values is not None),
    )


def _cells(layer: LayerReport) -> tuple[str, ...]:
    """A row of the table."""
    values = (getattr(layer, field.name) for field in fields(layer))
    return tuple(f"{value:,}" if isinstance(value, int) else value for value in values)
