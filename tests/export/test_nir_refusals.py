"""NIR graphs that are no network of ours are refused, with the node and the fix."""

import numpy as np
import pytest
from graphs import foreign, nir

from snnlib.export.nir import NIRError, from_nir, to_nir


def unreadable(graph, **options) -> str:
    with pytest.raises(NIRError) as caught:
        from_nir(graph, **options)
    return str(caught.value)


def loose(nodes, edges, **facts):
    return nir.NIRGraph(nodes, edges, metadata=facts, type_check=False)


def test_something_else_than_a_graph_is_refused():
    with pytest.raises(TypeError, match=r"graph is of type IF; give a nir\.NIRGraph"):
        from_nir(nir.IF(np.ones(3), np.ones(3)))


four = np.ones(4, np.float32)
UNKNOWN = {
    "LIF": nir.LIF(four, four, four, four),
    "LI": nir.LI(four, four, four),
    "CubaLIF": nir.CubaLIF(four, four, four, four, four),
    "Delay": nir.Delay(four),
    "Threshold": nir.Threshold(four),
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_an_unknown_node_is_refused_by_name(kind):
    text = unreadable(foreign(end=UNKNOWN[kind]))
    assert f"node {kind.lower()} is of type {kind}; a graph may have Input, SumPool2d" in text


def test_a_graph_inside_a_graph_is_refused():
    graph = foreign()
    graph.nodes["inner"] = foreign()
    assert "node inner is of type NIRGraph" in unreadable(graph)


def test_a_cycle_is_refused():
    graph = foreign(end=nir.IF(np.ones(4), np.ones(4)))
    graph.nodes["back"] = nir.Linear(np.eye(4, dtype=np.float32))
    graph.edges += [("if_1", "back"), ("back", "if_1")]
    text = unreadable(graph)
    assert "the graph has a cycle, " in text
    assert "if_1 -> back" in text or "back -> if_1" in text


@pytest.mark.parametrize("reset", [0.5, -1.0])
def test_another_reset_is_refused(reset):
    text = unreadable(foreign(reset=reset))
    assert f"node if resets to {reset:g}; write it with v_reset = 0" in text


def test_a_threshold_of_zero_is_refused():
    assert "node if has a threshold of 0; it must be above 0" in unreadable(foreign(threshold=0.0))


def changed(snn, node=None, graph=None, **facts):
    """The graph of a network with other metadata; None removes."""
    made = to_nir(snn)
    target = made if node is None else made.nodes[node]
    for key, value in facts.items():
        target.metadata[key] = value
        if value is None:
            del target.metadata[key]
    return made


@pytest.mark.parametrize(
    "key", ["layer", "position", "fraction_bits", "scale", "reset", "initial_potential"]
)
def test_metadata_that_lacks_something_is_refused(snn, key):
    text = unreadable(changed(snn, "conv1.neurons", **{key: None}))
    assert f"the metadata of node conv1.neurons lacks {key}; write the graph with to_nir" in text


def test_metadata_of_nodes_without_that_of_the_graph_is_refused(snn):
    text = unreadable(changed(snn, snnlib_format=None))
    assert "node conv1.neurons has metadata of snnlib, but the graph does not" in text


def test_another_format_is_refused(snn):
    assert "its format is 2; this version reads 1." in unreadable(changed(snn, snnlib_format=2))


CONTRADICTIONS = {
    "readout": (None, {"readout": "spikes"}, "says readout spikes, but the graph ends on I, from"),
    "reset": ("conv1.neurons", {"reset": "half"}, "conv1.neurons has reset half; subtract and"),
    "rule": ("conv1.neurons", {"spikes_when": "v > v_threshold"}, "spikes when v > v_threshold"),
    "grid": ("conv1.neurons", {"fraction_bits": 3}, "conv1.weights has weights that are no mult"),
    "start": ("conv1.neurons", {"initial_potential": 1 / 3}, "has initial potential that are no"),
    "shape": ("conv1.neurons", {"initial_potential": np.zeros(5, np.float32)}, "of shape [5]"),
    "name": ("conv2.neurons", {"layer": "conv1"}, "two layers are named conv1"),
    "order": ("conv2.neurons", {"position": -1}, "conv2 receives from conv1, not before it"),
}


@pytest.mark.parametrize(("node", "facts", "text"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_metadata_that_contradicts_the_graph_is_refused(snn, node, facts, text):
    assert text in unreadable(changed(snn, node, **facts))


def test_values_that_contradict_the_metadata_are_refused(snn):
    graph = to_nir(snn)
    graph.nodes["conv2.weights"].weight[0, 0, 0, 0] += 1e-4
    assert "conv2.weights has weights that are no multiples of 2**-" in unreadable(graph)
    graph = to_nir(snn)
    graph.nodes["conv1.neurons"].r *= 2
    assert "conv1.neurons has r = 2, but r * dt must be 1: give r = 1" in unreadable(graph)
    graph = to_nir(snn)
    graph.nodes["conv1.neurons"].v_threshold[0] += 1e-6
    assert "conv1.neurons has threshold that are no multiples" in unreadable(graph)


SHAPES = {
    "neurons": ("if", lambda n: nir.IF(np.ones((3, 4, 4)), np.ones((3, 4, 4))),
                "node if has shape [3, 4, 4], but [3, 5, 5] arrives"),
    "conv": ("conv2d", lambda n: nir.Conv2d((5, 6), n.weight, 1, 0, 1, 1, n.bias),
             "node conv2d states [5, 6], but [1, 6, 6] arrives"),
    "channels": ("conv2d", lambda n: nir.Conv2d(None, np.ones((3, 2, 2, 2)), 1, 0, 1, 1, n.bias),
                 "node conv2d does not fit what arrives, [1, 6, 6]"),
    "bias": ("conv2d", lambda n: nir.Conv2d((6, 6), n.weight, 1, 0, 1, 1, np.ones(2)),
             "node conv2d has a bias of shape [2]"),
    "linear": ("linear", lambda n: nir.Linear(np.ones((4, 7))),
               "node linear has weights of shape [4, 7], but [75] arrives"),
    "flatten": ("flatten", lambda n: nir.Flatten(np.array([3, 5, 5]), 1, -1),
                "node flatten flattens only some dimensions"),
    "output": ("output", lambda n: nir.Output(np.array([5])),
               "node output has shape [5], but [4] arrives"),
    "input": ("input", lambda n: nir.Input(np.array([36])),
              "its input has shape [36]; images are [C, H, W]."),
}  # fmt: skip


@pytest.mark.parametrize(("name", "change", "text"), SHAPES.values(), ids=SHAPES)
def test_wrong_shapes_are_refused(name, change, text):
    graph = foreign()
    nodes = {**graph.nodes, name: change(graph.nodes[name])}
    assert text in unreadable(loose(nodes, graph.edges))


def rewired(remove=(), add=(), nodes=None):
    graph = foreign()
    edges = [edge for edge in graph.edges if edge not in remove] + list(add)
    return loose({**graph.nodes, **(nodes or {})}, edges)


SCALE = nir.Scale(np.ones((3, 5, 5), np.float32))
STRUCTURE = {
    "an unknown end": (rewired(add=[("if", "nowhere")]), "an edge names nowhere, which is no node"),
    "an edge twice": (rewired(add=[("if", "flatten")]), "the edge from if to flatten stands there"),
    "a dead end": (rewired(nodes={"s": SCALE}, add=[("if", "s")]), "node s leads nowhere"),
    "no source": (rewired(nodes={"s": SCALE}, add=[("s", "if")]), "nothing leads to node s"),
    "two inputs": (rewired(nodes={"in2": nir.Input(np.array([1, 6, 6]))}, add=[("in2", "conv2d")]),
                   "the graph has 2 nodes of type Input; give it one."),
    "into the input": (rewired(add=[("if", "input")]), "an edge leads to the Input input"),
    "sums before weights": (rewired(add=[("input", "flatten")]),
                            "node flatten receives from 2 nodes; only neurons add up."),
    "no weights": (rewired(nodes={"if2": nir.IF(np.ones((3, 5, 5)), np.ones((3, 5, 5)))},
                           remove=[("if", "flatten")], add=[("if", "if2"), ("if2", "flatten")]),
                   "if reaches if2 without weights; put a Scale in between."),
    "two weights": (rewired(nodes={"s": SCALE}, remove=[("conv2d", "if")],
                            add=[("conv2d", "s"), ("s", "if")]),
                    "conv2d and s have no neurons in between; multiply their weights."),
    "wrong order": (rewired(nodes={"p": nir.AvgPool2d(np.array([1, 1]), np.array([1, 1]),
                                                      np.array([0, 0]))},
                            remove=[("conv2d", "if")], add=[("conv2d", "p"), ("p", "if")]),
                    "p stands behind conv2d; pools come first, then Flatten, weights."),
    "integrates inside": (rewired(nodes={"if": nir.I(np.ones((3, 5, 5)))}),
                          "node if integrates without spikes, but is not the output; use IF."),
    "a scale within a map": (
        rewired(nodes={"s": nir.Scale(np.arange(36.0).reshape(1, 6, 6)),
                       "if": nir.IF(np.ones((1, 6, 6)), np.ones((1, 6, 6)))},
                remove=[("input", "conv2d"), ("conv2d", "if")],
                add=[("input", "s"), ("s", "if"), ("input", "conv2d"), ("conv2d", "if")]),
        "s scales neurons of a map differently; give one scale a channel"),
}  # fmt: skip


@pytest.mark.parametrize(("graph", "text"), STRUCTURE.values(), ids=STRUCTURE)
def test_a_structure_that_is_no_layered_network_is_refused(graph, text):
    assert text in unreadable(graph)


def test_an_output_that_also_sends_on_is_refused():
    graph = foreign(end=nir.IF(np.ones(4), np.ones(4)))
    eye = nir.Linear(np.eye(4, dtype=np.float32))
    edges = [*graph.edges, ("if_1", "more"), ("more", "output")]
    text = unreadable(loose({**graph.nodes, "more": eye}, edges))
    assert "node if_1 is added to the output; end the graph on one layer." in text
    nodes = {**graph.nodes, "more": eye, "if2": nir.IF(np.ones(4), np.ones(4)), "w": eye}
    edges = [*graph.edges, ("if_1", "more"), ("more", "if2"), ("if2", "w"), ("w", "if_1")]
    assert "the graph has a cycle" in unreadable(loose(nodes, edges))


def test_all_faults_of_a_kind_are_named_at_once():
    graph = foreign(end=UNKNOWN["LIF"])
    graph.nodes["delay"] = UNKNOWN["Delay"]
    with pytest.raises(NIRError) as caught:
        from_nir(graph)
    assert len(caught.value.faults) == 2
