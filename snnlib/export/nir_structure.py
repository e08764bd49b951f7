"""A NIR graph as layers of neurons with what leads to them (chapter 10).

NIR states a network as nodes and edges.  Here the nodes between two layers of neurons are
gathered into arms, in the one order that a ``SpikingLayer`` has: pools, Flatten, weights.
Whatever does not fit is refused by the name of its node.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from types import ModuleType
from typing import Any

Node = Any  # a nir.NIRNode; the package is optional

FORMAT = 1  # of our metadata
SPIKES_WHEN = "v >= v_threshold"
POOLS = ("SumPool2d", "AvgPool2d")
WEIGHTS = ("Conv2d", "Affine", "Linear", "Scale")
SYNAPSES = (*POOLS, "Flatten", *WEIGHTS)
NEURONS = ("IF", "I")
KNOWN = ("Input", *SYNAPSES, *NEURONS, "Output")


class NIRError(ValueError):
    """A network that NIR cannot express, or a graph that is no network of ours.

    Attributes
    ----------
    faults : list of str
        Every reason, each with its layer or node and the fix.
    """

    def __init__(self, title: str, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("\n".join([title, *faults]))


def nir_package() -> ModuleType:
    """The package ``nir``, which is optional.

    Returns
    -------
    module

    Raises
    ------
    ImportError
        That says what to install.
    """
    try:
        import nir
    except ImportError as error:
        raise ImportError("NIR needs the package nir: pip install nir h5py") from error
    return nir


@dataclass(frozen=True)
class Arm:
    """How one layer of neurons reaches another.

    Attributes
    ----------
    source : str
        The node where it begins: neurons, or the graph's Input.
    nodes : tuple of (str, NIRNode)
        Pools, a Flatten, weights, with their names.
    """

    source: str
    nodes: tuple[tuple[str, Node], ...]

    @property
    def place(self) -> int:
        """Which of the arms it was when ``to_nir`` wrote it; 0 if that is not stated."""
        return max((int(node.metadata.get("path", 0)) for _, node in self.nodes), default=0)


@dataclass(frozen=True)
class Unit:
    """One layer of neurons.

    Attributes
    ----------
    name : str
    node : NIRNode
        IF, I, or Output where weights end the graph.
    arms : tuple of Arm
        What arrives is summed.
    """

    name: str
    node: Node
    arms: tuple[Arm, ...]


def kind(node: Node) -> str:
    """The name of a node's class.

    Parameters
    ----------
    node : NIRNode

    Returns
    -------
    str
    """
    return type(node).__name__


def units_of(graph: Node) -> tuple[str, list[Unit]]:
    """The layers of a feed-forward graph, each behind those that it needs.

    Parameters
    ----------
    graph : nir.NIRGraph
        Left as it is.

    Returns
    -------
    str
        The name of the Input.
    list of Unit
        The last is what is read out.

    Raises
    ------
    NIRError
        With all that is wrong.
    """
    nodes, edges = dict(graph.nodes), [tuple(edge) for edge in graph.edges]
    for faults in (_node_faults(nodes), _edge_faults(nodes, edges)):
        refuse(faults)
    before = {name: [a for a, b in edges if b == name] for name in nodes}
    order = _in_order(before)
    (output,) = (name for name in nodes if kind(nodes[name]) == "Output")
    last = _read_out(nodes, before, output)
    refuse(list(_flow_faults(nodes, edges, before, last, output)))
    neurons = [name for name in order if kind(nodes[name]) in NEURONS and name != last]
    units = [_unit(name, nodes, before) for name in (*neurons, last)]
    refuse([fault for unit in units for arm in unit.arms for fault in _arm_faults(unit, arm)])
    return next(name for name in nodes if kind(nodes[name]) == "Input"), units


def refuse(faults: list[str]) -> None:
    """Raise if there are faults.

    Parameters
    ----------
    faults : list of str

    Raises
    ------
    NIRError
    """
    if faults:
        raise NIRError("This NIR graph cannot be read:", faults)


def _node_faults(nodes: Mapping[str, Node]) -> list[str]:
    faults = [
        f"node {name} is of type {kind(node)}; a graph may have {', '.join(KNOWN)}."
        for name, node in nodes.items()
        if kind(node) not in KNOWN
    ]
    for end in ("Input", "Output"):
        count = sum(kind(node) == end for node in nodes.values())
        if count != 1:
            faults.append(f"the graph has {count} nodes of type {end}; give it one.")
    return faults


def _edge_faults(nodes: Mapping[str, Node], edges: list[tuple[str, str]]) -> list[str]:
    missing = {end for edge in edges for end in edge if end not in nodes}
    faults = [f"an edge names {name}, which is no node; add it." for name in sorted(missing)]
    faults += [
        f"the edge from {a} to {b} stands there twice; remove one."
        for a, b in sorted({edge for edge in edges if edges.count(edge) > 1})
    ]
    for name, node in nodes.items():
        if kind(node) != "Input" and all(b != name for _, b in edges):
            faults.append(f"nothing leads to node {name}; connect or remove it.")
        if kind(node) != "Output" and all(a != name for a, _ in edges):
            faults.append(f"node {name} leads nowhere; connect or remove it.")
        if kind(node) == "Input" and any(b == name for _, b in edges):
            faults.append(f"an edge leads to the Input {name}; remove it.")
    return faults


def _in_order(before: Mapping[str, list[str]]) -> list[str]:
    try:
        return list(TopologicalSorter(before).static_order())
    except CycleError as error:
        cycle = " -> ".join(error.args[1])
        refuse([f"the graph has a cycle, {cycle}; a feed-forward network has none."])
        raise


def _read_out(nodes: Mapping[str, Node], before: Mapping[str, list[str]], output: str) -> str:
    """The node whose potential or spikes are the network's output: neurons, or the Output."""
    first, *others = before[output]
    return first if not others and kind(nodes[first]) in NEURONS else output


def _flow_faults(
    nodes: Mapping[str, Node],
    edges: list[tuple[str, str]],
    before: Mapping[str, list[str]],
    last: str,
    output: str,
) -> Iterator[str]:
    for name, node in nodes.items():
        if kind(node) == "I" and name != last:
            yield f"node {name} integrates without spikes, but is not the output; use IF."
        if kind(node) in SYNAPSES and len(before[name]) > 1:
            yield f"node {name} receives from {len(before[name])} nodes; only neurons add up."
    if last != output and any(a == last and b != output for a, b in edges):
        yield f"node {last} is read out and sends on; give the output neurons of its own."
    direct = [name for name in before[output] if kind(nodes[name]) in ("Input", *NEURONS)]
    if last == output and direct:
        yield f"node {direct[0]} is added to the output; end the graph on one layer."


def _unit(name: str, nodes: Mapping[str, Node], before: Mapping[str, list[str]]) -> Unit:
    arms = [_arm(source, nodes, before) for source in before[name]]
    return Unit(name, nodes[name], tuple(sorted(arms, key=lambda arm: arm.place)))


def _arm(name: str, nodes: Mapping[str, Node], before: Mapping[str, list[str]]) -> Arm:
    """Backwards from the node before some neurons to the neurons or Input before that."""
    found = []
    while kind(nodes[name]) in SYNAPSES:
        found.insert(0, (name, nodes[name]))
        (name,) = before[name]
    return Arm(name, tuple(found))


def _arm_faults(unit: Unit, arm: Arm) -> list[str]:
    """Whether nodes are in an order that a layer's synapse has."""
    if not any(kind(node) in (*POOLS, *WEIGHTS) for _, node in arm.nodes):
        return [f"{arm.source} reaches {unit.name} without weights; put a Scale in between."]
    faults = []
    for (name, node), (after, follower) in pairwise(arm.nodes):
        rank, next_rank = _rank(node), _rank(follower)
        if rank == next_rank == 2:
            faults.append(f"{name} and {after} have no neurons in between; multiply their weights.")
        elif rank > next_rank:
            faults.append(f"{after} stands behind {name}; pools come first, then Flatten, weights.")
    return faults


def _rank(node: Node) -> int:
    return 0 if kind(node) in POOLS else 1 if kind(node) == "Flatten" else 2
