"""NIR graphs give back the network that they were made from, or say why they cannot."""

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import any_cnns, conv, deep_cnn, fill_randomly, linear, random_images, small_cnns
from torch import nn

nir = pytest.importorskip("nir", reason="nir is missing: pip install nir h5py")

from snnlib import (  # noqa: E402
    ConstantEncoder,
    Digits,
    Integrator,
    PoissonEncoder,
    SpikingLayer,
    SpikingNetwork,
    activation_scales,
    convert,
    record,
    simulate,
)
from snnlib.engines import event  # noqa: E402
from snnlib.export.nir import NIRError, from_nir, to_nir  # noqa: E402

EXAMPLE = {"reset": "zero", "initial_potential": 0.0, "pooling": "spiking", "readout": "spikes"}
OPTIONS = {
    "defaults": {},
    "reset to zero": {"reset": "zero"},
    "an odd initial potential": {"initial_potential": 0.3},
    "spikes are counted": {"readout": "spikes"},
    "spiking pools": {"pooling": "spiking"},
    "the example": EXAMPLE,
}


def through_file(graph, folder):
    nir.write(folder / "network.nir", graph)
    return nir.read(folder / "network.nir")


def assert_same(snn, other, images, steps=20):
    """Every spike and potential of every layer, in both engines, and all that a run reports."""
    assert [layer.name for layer in other.layers] == [layer.name for layer in snn.layers]
    assert [layer.sources for layer in other.layers] == [layer.sources for layer in snn.layers]
    assert other.readout == snn.readout
    assert other.exact_steps == snn.exact_steps
    for encoder in (PoissonEncoder(0.7), ConstantEncoder()):
        ours, theirs = (record(n, images[0], steps=steps, encoder=encoder) for n in (snn, other))
        for name in ours.potentials:
            assert torch.equal(ours.potentials[name], theirs.potentials[name]), name
        for name in ours.spikes:
            assert torch.equal(ours.spikes[name], theirs.spikes[name]), name
    (classes,) = snn.shapes()[snn.layers[-1].name]
    names = tuple(map(str, range(classes)))
    digits = Digits(images, torch.zeros(len(images), dtype=torch.long), names)
    engines = ["clock", "event"] if event.why_not(snn) is None else ["clock"]
    for engine in engines:
        ours, theirs = (simulate(n, digits, steps=steps, engine=engine) for n in (snn, other))
        assert torch.equal(ours.predictions, theirs.predictions)
        assert torch.equal(ours.margins, theirs.margins)
        assert torch.equal(ours.synaptic_operations, theirs.synaptic_operations)
        for name in ours.spike_counts:
            assert torch.equal(ours.spike_counts[name], theirs.spike_counts[name])


# ---- there and back


@pytest.mark.parametrize("integrator", [True, False])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_written_file_gives_the_same_spikes(balanced, digits, tmp_path, options, integrator):
    snn = convert(balanced, **options)
    graph = to_nir(snn, integrator=integrator)
    for read in (graph, through_file(graph, tmp_path)):
        assert_same(snn, from_nir(read), digits.images[:3])


def test_balanced_thresholds_of_each_channel_come_back(cnn, train, digits, tmp_path):
    scales = activation_scales(cnn, train.images, percentile=99.9, channelwise=True)
    snn = convert(cnn, thresholds=scales)
    back = from_nir(through_file(to_nir(snn), tmp_path))
    assert_same(snn, back, digits.images[:3])
    for ours, theirs in zip(snn.layers, back.layers, strict=True):
        assert torch.equal(ours.scale, theirs.scale)


def test_branches_and_biases_come_back(tmp_path):
    cnn = deep_cnn()
    cnn[3] = nn.AvgPool2d(2)
    snn = convert(cnn, input_shape=(1, 16, 16))
    assert any(layer.bias is not None for layer in snn.layers)
    assert any(len(layer.sources) > 1 for layer in snn.layers)
    images = random_images(0, 3, (1, 16, 16))
    assert_same(snn, from_nir(through_file(to_nir(snn), tmp_path)), images)


OPTION = st.fixed_dictionaries(
    {
        "reset": st.sampled_from(["subtract", "zero"]),
        "initial_potential": st.sampled_from([0.0, 0.3, 0.5]),
        "pooling": st.sampled_from(["linear", "spiking"]),
        "readout": st.sampled_from(["potential", "spikes"]),
    }
)


@settings(max_examples=20)
@given(drawn=any_cnns(max_pools=False), options=OPTION, integrator=st.booleans())
def test_any_network_without_maxima_comes_back(tmp_path_factory, drawn, options, integrator):
    cnn, shape = drawn
    snn = convert(cnn, input_shape=shape, **options)
    graph = through_file(to_nir(snn, integrator=integrator), tmp_path_factory.mktemp("nir"))
    assert_same(snn, from_nir(graph), random_images(1, 2, shape), steps=12)


def expressed(snn):
    """The graph, or None where the package would get a shape wrong."""
    try:
        return to_nir(snn)
    except NIRError as error:
        if "use a square kernel and groups=1" not in str(error):
            raise
        return None


@given(drawn=small_cnns(), options=OPTION)
def test_any_geometry_comes_back_or_is_refused_for_what_the_package_gets_wrong(
    tmp_path_factory, drawn, options
):
    cnn, shape = drawn
    snn = convert(cnn, input_shape=shape, **options)
    convs = [op for layer in snn.layers for op in layer.synapse if isinstance(op, nn.Conv2d)]
    odd = any(op.groups > 1 or op.kernel_size[0] != op.kernel_size[1] for op in convs)
    graph = expressed(snn)
    if graph is None:
        assert odd
        return
    back = from_nir(through_file(graph, tmp_path_factory.mktemp("nir")))
    assert_same(snn, back, random_images(1, 2, shape), steps=12)


def test_the_same_network_gives_the_same_graph_and_stays_as_it_is(snn):
    before = copy.deepcopy(snn.state_dict())
    first, second = to_nir(snn), to_nir(snn)
    assert list(first.nodes) == list(second.nodes)
    assert first.edges == second.edges
    again = to_nir(from_nir(first))
    assert again.edges == first.edges
    for name, node in first.nodes.items():
        if hasattr(node, "weight"):
            assert np.array_equal(node.weight, again.nodes[name].weight)
    assert all(torch.equal(before[key], value) for key, value in snn.state_dict().items())


# ---- what a graph says


def test_the_metadata_states_what_the_nodes_do_not(snn, tmp_path):
    graph = through_file(to_nir(snn), tmp_path)
    assert graph.metadata == {"snnlib_format": 1, "readout": "potential", "dt": 1.0}
    facts = graph.nodes["conv1.neurons"].metadata
    assert (facts["layer"], facts["position"], facts["reset"]) == ("conv1", 0, "subtract")
    assert facts["initial_potential"] == 0.5
    assert facts["fraction_bits"] == snn.layers[0].fraction_bits
    assert facts["spikes_when"] == "v >= v_threshold"


def test_a_graph_consists_of_the_nodes_that_nir_has_for_it(snn):
    kinds = [type(node).__name__ for node in to_nir(snn).nodes.values()]
    hidden = ["Conv2d", "IF", "SumPool2d", "Conv2d", "IF"]
    assert kinds == ["Input", *hidden, "SumPool2d", "Flatten", "Affine", "I", "Output"]
    kinds = [type(node).__name__ for node in to_nir(snn, integrator=False).nodes.values()]
    assert kinds == ["Input", *hidden, "SumPool2d", "Flatten", "Affine", "Output"]


def test_the_package_is_needed_only_by_those_who_use_it():
    code = (
        "import sys; sys.modules['nir'] = None; import snnlib\n"
        "from snnlib.export.nir import to_nir, from_nir\n"
        "snn = snnlib.convert(snnlib.digit_cnn())\n"
        "for call in (to_nir, from_nir):\n"
        "    try:\n"
        "        call(snn)\n"
        "    except ImportError as error:\n"
        "        print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["NIR needs the package nir: pip install nir h5py"] * 2


# ---- what to_nir refuses


def refused(snn) -> str:
    with pytest.raises(NIRError) as caught:
        to_nir(snn)
    assert str(caught.value).splitlines()[1:] == caught.value.faults
    return str(caught.value)


def test_a_maximum_is_refused():
    text = refused(convert(deep_cnn(), input_shape=(1, 16, 16)))
    assert "layer 3 takes a maximum, for which NIR has no node; use nn.AvgPool2d." in text


def test_every_layer_that_is_refused_is_named(snn):
    snn.layers[0].neuron = nn.Identity()
    snn.layers[0].neuron.initial = torch.zeros(())
    snn.layers[1].synapse.append(nn.Tanh())
    text = refused(snn)
    assert "layer conv1 has neurons of type Identity; use IFNeuron." in text
    assert "layer conv2 has a synapse with Tanh; use convert." in text


def test_a_hidden_layer_that_never_spikes_is_refused(snn):
    snn.layers[0].neuron = Integrator()
    assert "layer conv1 never spikes, but is not the output; give it IFNeuron." in refused(snn)


def test_a_grouped_convolution_is_refused():
    layers = [conv(2, 4, 3, groups=2), nn.ReLU(), nn.Flatten(), linear(64, 3)]
    snn = convert(fill_randomly(nn.Sequential(*layers), 0), input_shape=(2, 6, 6))
    text = refused(snn)
    assert "layer 0 has a Conv2d from [2, 6, 6] to [4, 4, 4] that the package nir" in text
    assert "use a square kernel and groups=1" in text


def test_an_oblong_kernel_is_refused():
    layers = [conv(1, 4, (1, 3)), nn.ReLU(), nn.Flatten(), linear(96, 3)]
    snn = convert(fill_randomly(nn.Sequential(*layers), 0), input_shape=(1, 6, 6))
    assert "to [4, 6, 4] that the package nir" in refused(snn)


def test_other_padding_than_zeros_is_refused(snn):
    snn.layers[0].synapse[0].padding_mode = "reflect"
    assert "layer conv1 pads with reflect, not with zeros." in refused(snn)


@pytest.mark.parametrize("change", [{"ceil_mode": True}, {"divisor_override": None}])
def test_another_pool_than_sums_of_whole_windows_is_refused(snn, change):
    pool = snn.layers[1].synapse[0]
    for key, value in change.items():
        setattr(pool, key, value)
    assert "layer conv2 pools other than by adding up whole windows; use convert." in refused(snn)


def test_a_bias_of_each_neuron_is_refused(snn):
    snn.layers[0].bias = torch.ones(12, 24, 24)
    assert "layer conv1 has a bias that differs within a map" in refused(snn)


def test_a_bias_without_weights_is_refused(snn):
    pool = convert(
        nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), linear(9, 3)),
        pooling="spiking",
        input_shape=(1, 6, 6),
    )
    pool.layers[0].bias = torch.tensor(0.25)
    assert "has a bias but no weights that NIR could add it to" in refused(pool)


def test_a_name_that_a_file_would_split_is_refused(snn):
    snn.layers[0].name = "conv/1"
    snn.layers[1].sources = ("conv/1",)
    assert 'layer conv/1 has a "/" in its name' in refused(snn)


def test_what_could_not_be_read_is_not_written(snn):
    other = copy.deepcopy(snn)
    other.layers[1].synapse[1].weight.data[0, 0, 0, 0] += 1e-4
    assert "conv2.weights has weights that are no multiples of 2**-" in refused(other)
    layers = [conv(1, 2, 1), nn.ReLU(), nn.AvgPool2d(2), conv(2, 2, 1), nn.ReLU(), nn.Flatten()]
    cnn = fill_randomly(nn.Sequential(*layers, linear(18, 3)), 0)
    turned = convert(cnn, input_shape=(1, 6, 6))
    turned.layers[1].synapse = nn.Sequential(*reversed(turned.layers[1].synapse))
    assert "3.pool stands behind 3.weights; pools come first" in refused(turned)


# ---- graphs of other programs


def foreign(threshold=1.0, reset=0.0, r=1.0, pool=None, weight=None, end=None):
    """Input, maybe a pool, Conv2d, IF, Flatten, Affine, as another program may write them."""
    rng = np.random.default_rng(0)
    size = 6 if pool is None else 3
    shape = (3, size - 1, size - 1)
    full = np.ones(shape, np.float32)
    weight = rng.normal(size=(3, 1, 2, 2)).astype(np.float32) if weight is None else weight
    nodes = [
        nir.Input(np.array([1, 6, 6])),
        *([pool] if pool is not None else []),
        nir.Conv2d((size, size), weight, 1, 0, 1, 1, rng.normal(size=3).astype(np.float32) / 4),
        nir.IF(r * full, threshold * full, reset * full),
        nir.Flatten(np.array(shape), 0, -1),
        nir.Linear(rng.normal(size=(4, int(np.prod(shape)))).astype(np.float32)),
        *([end] if end is not None else []),
        nir.Output(np.array([4])),
    ]
    return nir.NIRGraph.from_list(nodes)


def by_nirs_rule(layer, spikes, threshold):
    """The spikes of one layer, step by step: above the threshold, then to 0."""
    v, given_ = 0.0, []
    for x in spikes:
        v = v + layer.input_current(x).double()
        fired = v > threshold
        v = torch.where(fired, 0.0, v)
        given_.append(fired)
    return torch.stack(given_).float()


@pytest.mark.parametrize("threshold", [1.0, 0.77, 2.5])
def test_another_programs_graph_is_read_by_nirs_own_rule(threshold):
    snn = from_nir(foreign(threshold))
    images = random_images(0, 3, (1, 6, 6))
    stream = PoissonEncoder(0.8).stream(images)
    spikes = torch.stack([stream(step) for step in range(30)])
    expected = by_nirs_rule(snn.layers[0], spikes, threshold)
    found = torch.stack([next(snn.propagate(snn.input_current(x)))[1] for x in spikes])
    assert torch.equal(found, expected)
    assert found.sum() > 100
    assert snn.readout == "potential"
    assert snn.layers[0].neuron.initial == 0


def test_a_potential_equal_to_the_threshold_gives_no_spike_by_nirs_rule():
    ones = np.ones((1, 1, 1), np.float32)
    graph = nir.NIRGraph.from_list(
        nir.Input(np.array([1, 1, 1])),
        nir.Conv2d((1, 1), np.ones((1, 1, 1, 1), np.float32), 1, 0, 1, 1, np.zeros(1, np.float32)),
        nir.IF(ones, 2 * ones),
        nir.Flatten(np.array([1, 1, 1]), 0, -1),
        nir.Linear(np.ones((1, 1), np.float32)),
        nir.Output(np.array([1])),
    )
    recording = record(from_nir(graph), torch.ones(1, 1, 1), steps=9, encoder=PoissonEncoder(1.0))
    (spikes,) = list(recording.spikes.values())[:1]
    assert spikes.flatten().tolist() == [0, 0, 1] * 3


def test_weights_are_rounded_to_16_bits_and_only_a_little(tmp_path):
    graph = foreign()
    snn = from_nir(through_file(graph, tmp_path))
    weights = graph.nodes["conv2d"].weight
    assert np.abs(snn.layers[0].weight.numpy() - weights).max() <= 2.0**-11 * np.abs(weights).max()
    units = snn.layers[0].weight * 2.0 ** snn.layers[0].fraction_bits
    assert torch.equal(units, units.round())
    assert units.abs().max() < 2**15
    assert event.why_not(snn) is None


@pytest.mark.parametrize("kind", ["AvgPool2d", "SumPool2d"])
def test_averages_of_another_program_become_sums_with_smaller_weights(kind):
    two, none = np.array([2, 2]), np.array([0, 0])
    snn = from_nir(foreign(pool=getattr(nir, kind)(two, two, none)))
    x = random_images(0, 2, (1, 6, 6)).round()
    mean = nn.functional.avg_pool2d(x, 2) * (4 if kind == "SumPool2d" else 1)
    given_ = foreign(pool=getattr(nir, kind)(two, two, none)).nodes["conv2d"]
    expected = nn.functional.conv2d(mean, torch.tensor(given_.weight), torch.tensor(given_.bias))
    assert torch.allclose(snn.input_current(x), expected, atol=1e-3)


def test_a_graph_that_ends_on_if_is_read_by_its_spikes():
    assert from_nir(foreign(end=nir.IF(np.ones(4), np.ones(4)))).readout == "spikes"


def test_a_graph_that_ends_on_i_is_read_by_its_potential():
    assert from_nir(foreign(end=nir.I(np.ones(4)))).readout == "potential"


def test_the_time_of_a_step_belongs_to_r():
    snn = from_nir(foreign(r=1e4), dt=1e-4)
    assert torch.equal(snn.layers[0].weight, from_nir(foreign()).layers[0].weight)
    with pytest.raises(NIRError, match=r"r = 10000, but r \* dt must be 1: give dt = 1 / r"):
        from_nir(foreign(r=1e4))


# ---- what from_nir refuses


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


def test_a_graph_of_single_layers_reads_too():
    """Two arms that add up at the output."""
    four_by = [np.eye(4, dtype=np.float32) * factor for factor in (1, 2)]
    shape = np.array([4, 1, 1])
    nodes = {
        "input": nir.Input(shape),
        "f": nir.Flatten(shape, 0, -1),
        "a": nir.Linear(four_by[0]),
        "b": nir.Linear(four_by[1]),
        "output": nir.Output(np.array([4])),
    }
    edges = [("input", "f"), ("f", "a"), ("f", "b"), ("a", "output"), ("b", "output")]
    snn = from_nir(nir.NIRGraph(nodes, edges))
    assert torch.equal(snn.step(torch.ones(1, 4, 1, 1)), torch.full((1, 4), 3.0).double())


def test_neurons_with_a_threshold_each_come_back(tmp_path):
    cnn = fill_randomly(nn.Sequential(conv(1, 2, 3), nn.ReLU(), nn.Flatten(), linear(32, 3)), 1)
    snn = convert(cnn, input_shape=(1, 6, 6))
    grid = 2.0 ** snn.layers[0].fraction_bits
    each = (torch.linspace(0.5, 2, 32).view(2, 4, 4) * grid).round() / grid
    snn.layers[0].neuron.threshold = each
    back = from_nir(through_file(to_nir(snn), tmp_path))
    assert torch.equal(back.layers[0].neuron.threshold, each)
    assert isinstance(back, SpikingNetwork)
    assert isinstance(back.layers[0], SpikingLayer)
