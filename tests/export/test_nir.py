"""NIR graphs give back the network that they were made from, or say why they cannot be made."""

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from graphs import through_file
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import any_cnns, conv, deep_cnn, fill_randomly, linear, random_images, settle, small_cnns
from torch import nn

from snnlib import (
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
from snnlib.engines import event
from snnlib.export.nir import NIRError, from_nir, to_nir

EXAMPLE = {"reset": "zero", "initial_potential": 0.0, "pooling": "spiking", "readout": "spikes"}
OPTIONS = {
    "defaults": {},
    "reset to zero": {"reset": "zero"},
    "an odd initial potential": {"initial_potential": 0.3},
    "spikes are counted": {"readout": "spikes"},
    "spiking pools": {"pooling": "spiking"},
    "the example": EXAMPLE,
}


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


# ---- what a graph says


def test_the_metadata_states_what_the_nodes_do_not(snn, tmp_path):
    graph = through_file(to_nir(snn), tmp_path)
    assert graph.metadata == {"snnlib_format": 1, "readout": "potential", "gain": 1.0, "dt": 1.0}
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


# ---- biases for a darker input


def test_a_graph_may_be_written_for_an_input_that_is_darker_than_the_image(tmp_path):
    snn = convert(deep_chain(), input_shape=(1, 8, 8))
    images = random_images(0, 6, (1, 8, 8))
    graph = through_file(to_nir(snn, gain=0.4), tmp_path)
    back = from_nir(graph)
    assert (snn.gain, back.gain) == (1.0, 0.4)
    for layer, dark in zip(back.layers, snn.at_gain(0.4).layers, strict=True):
        assert torch.equal(layer.bias, dark.bias)
    data = Digits(images, torch.zeros(6, dtype=torch.long), ("a", "b", "c"))
    for encoder in (PoissonEncoder(0.4), PoissonEncoder(0.4, seed=5)):
        ours, theirs = (simulate(n, data, steps=30, encoder=encoder) for n in (snn, back))
        assert torch.equal(ours.outputs, theirs.outputs)


def test_a_graph_that_says_no_gain_is_for_bright_images(tmp_path):
    graph = to_nir(convert(deep_chain(), input_shape=(1, 8, 8)))
    del graph.metadata["gain"]
    assert from_nir(through_file(graph, tmp_path)).gain == 1.0


@pytest.mark.parametrize("gain", [0.0, -0.4, "dark"])
def test_a_graph_of_another_gain_is_refused(gain):
    graph = to_nir(convert(deep_chain(), input_shape=(1, 8, 8)))
    graph.metadata["gain"] = gain
    with pytest.raises(NIRError, match=r"gain|convert string"):
        from_nir(graph)


def deep_chain():
    """Biases everywhere, and no max pool."""
    layers = [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(4, 4, 2), nn.ReLU()]
    return settle(nn.Sequential(*layers, nn.Flatten(), nn.Linear(16, 3)), 0)
