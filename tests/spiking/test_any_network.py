"""Networks with biases, batch norms, branches and max pools as spiking networks."""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from nets import Residual, any_cnns, conv, deep_cnn, linear, random_images, settle, small_cnns
from sameness import ENCODERS, OPTIONS, assert_same
from torch import nn
from torch.nn import functional as F

from snnlib import (
    ConstantEncoder,
    Digits,
    MaxPooling,
    PoissonEncoder,
    SpikingLayer,
    SpikingNetwork,
    activation_scales,
    check_constraints,
    convert,
    normalize_weights,
    record,
    simulate,
)
from snnlib.cnn.tracing import trace
from snnlib.engines import clock, event

SHAPE = (1, 8, 8)
POWERS = st.integers(-2, 2).map(lambda n: 2.0**n)


def potentials_after(steps, snn, images):
    """Of the output, under a constant current."""
    index = torch.arange(len(images))
    *_, last = clock.prepare(snn, steps=steps, encoder=ConstantEncoder())(images, index)
    return last.potential


def same_spikes(one, other, image, encoder, steps=15):
    ours, theirs = (record(snn, image, steps=steps, encoder=encoder) for snn in (one, other))
    return all(
        torch.equal(spikes, theirs.spikes[name]) for name, spikes in ours.spikes.items()
    ) and all(torch.equal(v, theirs.potentials[name]) for name, v in ours.potentials.items())


def balanced_or_skip(cnn, shape):
    """Activations of at most 1 on the images that tests show; another draw if a layer is dead."""
    try:
        return normalize_weights(cnn, activation_scales(cnn, random_images(1, 20, shape)))
    except ValueError:
        assume(False)


# ---- rates


@given(any_cnns(), st.integers(1, 60), st.sampled_from([0.0, 0.5]))
def test_rates_under_a_constant_current_are_off_by_one_spike_at_most(drawn, steps, initial):
    cnn, shape = drawn
    snn = convert(cnn, input_shape=shape, initial_potential=initial)
    image = random_images(0, 1, shape)
    currents = snn.input_current(ConstantEncoder().encode(image, 0))
    currents = currents if isinstance(currents, dict) else {snn.layers[0].name: currents}
    spikes = record(snn, image[0], steps=steps, encoder=ConstantEncoder()).spikes
    alone = [layer.name for layer in snn.layers if set(layer.sources) == {"input"}]
    for name in alone:
        gap = spikes[name].mean(0) - currents[name][0].clamp(0, 1)
        assert gap.abs().max() <= 1 / steps + 1e-6


@torch.no_grad()
@given(any_cnns())
def test_currents_are_those_of_the_network_up_to_rounding(drawn):
    cnn, shape = drawn
    image = random_images(0, 1, shape)
    snn, graph = convert(cnn, input_shape=shape), trace(cnn, shape)
    currents = snn.input_current(ConstantEncoder().encode(image, 0))
    first, stage = snn.layers[0], graph.stages[0]
    current = currents[first.name] if isinstance(currents, dict) else currents
    exact = stage({"input": image.double()})
    terms = sum(path.synapse.module.weight[0].numel() for path in stage.paths if path.synapse)
    assert (current.clamp(min=0) - exact).abs().max() <= (terms + 2) * 2.0**-first.fraction_bits


def test_the_error_of_rates_falls_as_one_over_the_steps():
    cnn = nn.Sequential(nn.Flatten(), nn.Linear(1, 400), nn.ReLU(), linear(400, 2))
    cnn[1].weight.data.zero_()
    cnn[1].bias.data.uniform_(0, 1, generator=torch.Generator().manual_seed(0))
    snn = convert(cnn, input_shape=(1, 1, 1), exact_steps=1100)
    steps = [2**n for n in range(3, 11)]
    spikes = record(snn, torch.ones(1, 1, 1), steps=steps[-1], encoder=ConstantEncoder()).spikes
    bias = snn.layers[0].bias
    errors = [(spikes["1"][:t].mean(0) - bias).abs().mean().item() for t in steps]
    logs = torch.tensor([[math.log(t), math.log(e)] for t, e in zip(steps, errors, strict=True)])
    x, y = (logs - logs.mean(0)).T
    assert -1.1 <= (x @ y / (x @ x)).item() <= -0.9


@torch.no_grad()
@pytest.mark.parametrize("seed", range(3))
def test_outputs_of_a_deep_network_approach_those_of_its_cnn(seed):
    cnn, images = deep_cnn(seed), random_images(0, 30, SHAPE)
    balanced = normalize_weights(cnn, activation_scales(cnn, images))
    snn, outputs = convert(balanced, input_shape=SHAPE), balanced(images)
    gaps = [
        (potentials_after(t, snn, images) / t - outputs).abs().mean().item() for t in (16, 64, 256)
    ]
    assert gaps[1] < gaps[0] / 2
    assert gaps[2] < gaps[1] / 2
    assert gaps[2] < 0.03 * outputs.abs().mean()


@torch.no_grad()
@pytest.mark.parametrize("channelwise", [False, True])
def test_a_spike_stands_for_the_scale_of_its_layer(channelwise):
    cnn, images = deep_cnn(0), random_images(0, 30, SHAPE)
    scales = activation_scales(cnn, images, channelwise=channelwise)
    snn = convert(cnn, thresholds=scales, input_shape=SHAPE)
    spikes = record(snn, images[0], steps=600, encoder=ConstantEncoder()).spikes
    stages = trace(cnn, SHAPE).run(images[:1].double())
    for layer, (stage, activation) in zip(snn.layers[:-1], stages, strict=False):
        assert layer.name == stage.name
        scale = (
            layer.scale.view(-1, *[1] * (activation.ndim - 2)) if layer.scale.ndim else layer.scale
        )
        rate = spikes[layer.name].mean(0) * scale
        assert (rate - activation[0]).abs().mean() < 0.02 * activation.abs().max()


# ---- balancing


@pytest.mark.slow
@given(any_cnns(), st.data(), ENCODERS, st.sampled_from(["subtract", "zero"]))
def test_balanced_thresholds_give_the_spikes_of_balanced_weights(drawn, data, encoder, reset):
    cnn, shape = drawn
    count = len(trace(cnn).scaled)
    scales = data.draw(st.lists(POWERS, min_size=count, max_size=count))
    options = {"input_shape": shape, "readout": "spikes", "reset": reset}
    by_weights = convert(normalize_weights(cnn, scales), **options)
    by_thresholds = convert(cnn, thresholds=scales, **options)
    assert same_spikes(by_weights, by_thresholds, random_images(0, 1, shape)[0], encoder)


@pytest.mark.slow
@given(any_cnns(), st.sampled_from([0.5, 2.0]))
def test_one_threshold_for_all_scales_biases_and_shortcuts_along(drawn, threshold):
    cnn, shape = drawn
    graph, scales = trace(cnn, shape), {"input": 1.0}
    for stage in graph.stages:  # what a spike stands for, stage by stage
        most = max(scales[path.source] for path in stage.paths)
        scales[stage.name] = most if stage.kind == "max" else most * threshold
    options = {"input_shape": shape, "readout": "spikes"}
    one = convert(cnn, thresholds=threshold, **options)
    other = convert(cnn, thresholds=[scales[stage.name] for stage in graph.scaled], **options)
    assert same_spikes(one, other, random_images(0, 1, shape)[0], PoissonEncoder(0.8))
    for layer in one.layers:
        assert layer.scale == scales[layer.name]


@given(any_cnns())
def test_weights_have_16_bits_and_biases_are_whole_multiples(drawn):
    cnn, shape = drawn
    for layer in convert(cnn, input_shape=shape).layers:
        for op in (op for _, path in layer.paths for op in path if hasattr(op, "weight")):
            units = op.weight.double() * 2.0**layer.fraction_bits
            assert torch.equal(units, units.round())
            assert units.abs().max() < 2**15
        if layer.bias is not None:
            units = layer.bias.double() * 2.0**layer.fraction_bits
            assert torch.equal(units, units.round())


@given(any_cnns(), ENCODERS)
def test_potentials_are_exact_for_the_promised_steps(drawn, encoder):
    cnn, shape = drawn
    snn = convert(cnn, input_shape=shape, readout="spikes")
    steps = min(snn.exact_steps, 40)
    assert steps > 0
    assert same_spikes(snn, snn.wide(), random_images(2, 1, shape)[0], encoder, steps=steps)


# ---- max pooling


MAX_POOLS = st.builds(
    nn.MaxPool2d,
    st.sampled_from([2, 3, (1, 3)]),
    st.integers(1, 3),
    padding=st.sampled_from([0, (0, 1)]),
    dilation=st.integers(1, 2),
    ceil_mode=st.booleans(),
)


@given(MAX_POOLS, st.integers(0, 1000), st.floats(0, 1))
def test_exact_max_pooling_counts_the_spikes_of_the_busiest_input(pool, seed, rate):
    generator = torch.Generator().manual_seed(seed)
    draws = torch.rand(30, 2, 3, 7, 8, generator=generator)
    rates = torch.rand(2, 3, 7, 8, generator=generator) * rate
    spikes = (draws < rates).float()  # [T, N, C, H, W]
    neuron = MaxPooling(pool)
    given = torch.stack([neuron(step) for step in spikes])
    assert ((given == 0) | (given == 1)).all()
    for count, received in zip(given.cumsum(0), spikes.cumsum(0), strict=True):
        assert torch.equal(count, pool(received))
    assert not neuron.v.any()


@torch.no_grad()
@settings(max_examples=20)
@given(st.integers(0, 10**6), MAX_POOLS, st.sampled_from([4, 16, 64, 256]))
def test_max_pooling_is_off_by_two_over_the_steps_at_most(seed, pool, steps):
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), pool, nn.Flatten()]
    features = nn.Sequential(*layers).eval()(torch.zeros(1, *SHAPE)).shape[1]
    cnn = settle(nn.Sequential(*layers, linear(features, 3)), seed)
    cnn[-1].weight.data.abs_()  # so that the readout is not dead
    image = random_images(seed, 1, SHAPE)
    balanced = normalize_weights(cnn, [activation_scales(cnn, image)[0], 1.0])
    snn = convert(balanced, input_shape=SHAPE, exact_steps=256)
    rate = record(snn, image[0], steps=steps, encoder=ConstantEncoder()).spikes["3"].mean(0)
    truth = balanced[:4](image)[0]
    assert (rate - truth).abs().max() <= 2 / steps * truth.max()


@torch.no_grad()
def test_the_cheaper_rules_do_not_converge():
    cnn, images = deep_cnn(0), random_images(0, 30, SHAPE)
    balanced = normalize_weights(cnn, activation_scales(cnn, images))
    truth = F.max_pool2d(F.relu(balanced.get_submodule("0")(images[:1])), 2)[0]
    gaps = {}
    for rule in ("exact", "gate", "or"):
        snn = convert(balanced, input_shape=SHAPE, max_pooling=rule, exact_steps=512)
        spikes = record(snn, images[0], steps=512, encoder=ConstantEncoder()).spikes["3"]
        gaps[rule] = [(spikes[:t].mean(0) - truth).abs().mean().item() for t in (64, 512)]
    assert gaps["exact"][1] < gaps["exact"][0] / 4
    assert gaps["or"][1] > gaps["or"][0] / 2
    assert gaps["exact"][1] < gaps["gate"][1] < gaps["or"][1]


def test_max_pooling_worked_out_by_hand():
    inputs = torch.tensor([[1, 0], [0, 1], [0, 1], [1, 0], [1, 1]]).float()  # [T, 2]
    expected = {"exact": [1, 0, 1, 0, 1], "gate": [1, 0, 1, 1, 1], "or": [1, 1, 1, 1, 1]}
    for rule, spikes in expected.items():
        neuron = MaxPooling(nn.MaxPool2d((1, 2)), rule)
        assert [neuron(x.view(1, 1, 1, 2)).item() for x in inputs] == spikes
        neuron.reset()
        assert neuron.v is None


@given(MAX_POOLS)
def test_the_fan_out_of_max_pooling_is_the_number_of_windows(pool):
    shape = torch.Size((2, 7, 8))
    one_hot = torch.eye(shape.numel()).view(-1, *shape)
    windows = pool(one_hot).flatten(1).sum(1).view(shape)
    assert torch.equal(MaxPooling(pool).fan_out(shape), windows)


# ---- both engines


@pytest.mark.slow
@settings(max_examples=100)
@given(any_cnns(), OPTIONS, ENCODERS, st.integers(1, 20))
def test_both_engines_give_the_same_for_any_network(drawn, options, encoder, steps):
    cnn, shape = drawn
    snn = convert(balanced_or_skip(cnn, shape), input_shape=shape, **options)
    assert event.why_not(snn) is None
    assert_same(snn, random_images(0, 4, shape), steps=steps, encoder=encoder)


@pytest.mark.parametrize("encoder", [PoissonEncoder(0.9), ConstantEncoder()])
@pytest.mark.parametrize("channelwise", [False, True])
def test_both_engines_give_the_same_for_a_deep_network(encoder, channelwise):
    cnn, images = deep_cnn(0), random_images(0, 40, SHAPE)
    scales = activation_scales(cnn, images, percentile=99.9, channelwise=channelwise)
    for pooling in ("linear", "spiking"):
        snn = convert(cnn, thresholds=scales, input_shape=SHAPE, pooling=pooling)
        assert_same(snn, images, steps=70, encoder=encoder)


@pytest.mark.parametrize("encoder", [PoissonEncoder(0.9), ConstantEncoder()])
@pytest.mark.parametrize("channels", [3, 40])
def test_both_engines_give_the_same_where_the_image_reaches_several_layers(encoder, channels):
    body = nn.Sequential(nn.Conv2d(2, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, channels, 3))
    first = Residual(body, nn.Conv2d(2, channels, 5, padding=1))
    second = Residual(nn.Conv2d(channels, channels, 3, padding=1), nn.Identity())
    layers = [first, second, nn.MaxPool2d(3, 2, ceil_mode=True), nn.Flatten()]
    features = nn.Sequential(*layers)(torch.zeros(1, 2, 8, 8)).shape[1]
    cnn = settle(nn.Sequential(*layers, nn.Linear(features, 3)), 0)
    snn = convert(balanced_or_skip(cnn, (2, 8, 8)), input_shape=(2, 8, 8))
    assert isinstance(snn.input_current(torch.zeros(1, 2, 8, 8)), dict)
    assert event.why_not(snn) is None
    assert_same(snn, random_images(0, 35, (2, 8, 8)), steps=20, encoder=encoder)


@pytest.mark.parametrize("encoder", [PoissonEncoder(0.9), ConstantEncoder()])
def test_both_engines_give_the_same_in_64_bits(monkeypatch, encoder):
    monkeypatch.setattr("snnlib.engines.event.layout.LARGEST", 0)
    snn = convert(deep_cnn(0), input_shape=SHAPE)
    assert_same(snn, random_images(0, 3, SHAPE), steps=20, encoder=encoder)


@pytest.mark.parametrize("encoder", [PoissonEncoder(0.9), ConstantEncoder()])
@pytest.mark.parametrize("rule", ["gate", "or"])
@given(pool=MAX_POOLS)
def test_both_engines_give_the_same_for_every_rule_of_max_pooling(encoder, rule, pool):
    layers = [nn.Conv2d(1, 4, 3), nn.ReLU(), pool, nn.Flatten(), nn.LazyLinear(3)]
    cnn, images = nn.Sequential(*layers), random_images(0, 3, SHAPE)
    cnn(images)
    snn = convert(settle(cnn, 0), input_shape=SHAPE, max_pooling=rule)
    assert event.why_not(snn) is None
    assert_same(snn, images, steps=15, encoder=encoder)


def test_spikes_of_every_layer_are_counted_with_their_fan_out():
    snn = convert(deep_cnn(0), input_shape=SHAPE)
    image, encoder = random_images(0, 1, SHAPE), PoissonEncoder(0.9)
    index = torch.arange(1)
    recorded = record(snn, image[0], steps=9, encoder=encoder)
    spikes = {"input": recorded.input, **recorded.spikes}
    for engine in (clock, event):
        outputs = list(engine.prepare(snn, steps=9, encoder=encoder)(image, index))
        for t, output in enumerate(outputs):
            counts = {name: int(trains[t].sum()) for name, trains in spikes.items()}
            assert output.spikes == counts
            additions = sum((spikes[n][t] * f).sum() for n, f in snn.fan_outs().items())
            assert output.synaptic_operations == int(additions)


def test_a_spike_of_a_shortcut_crosses_one_more_synapse():
    body = nn.Conv2d(2, 2, 1, bias=False)
    cnn = nn.Sequential(conv(1, 2, 1), nn.ReLU(), Residual(body, nn.Identity()), nn.Flatten())
    fan_outs = convert(nn.Sequential(*cnn, linear(8, 3)), input_shape=(1, 2, 2)).fan_outs()
    assert torch.equal(fan_outs["0"], torch.full((2, 2, 2), 3.0))  # 2 by the body, 1 beside it
    assert torch.equal(fan_outs["2.body"], torch.full((2, 2, 2), 3.0))


# ---- files and construction


@given(any_cnns(), st.sampled_from(["linear", "spiking"]), st.sampled_from(["exact", "gate", "or"]))
def test_a_loaded_network_gives_the_same_spikes(tmp_path_factory, drawn, pooling, rule):
    cnn, shape = drawn
    path = tmp_path_factory.mktemp("networks") / "snn.safetensors"
    snn = convert(cnn, pooling=pooling, max_pooling=rule, thresholds=0.8, input_shape=shape)
    snn.save(path)
    loaded = SpikingNetwork.load(path)
    assert str(loaded) == str(snn)
    assert [layer.sources for layer in loaded.layers] == [layer.sources for layer in snn.layers]
    assert all(
        torch.equal(a.scale, b.scale) for a, b in zip(loaded.layers, snn.layers, strict=True)
    )
    for encoder in (PoissonEncoder(0.8), ConstantEncoder()):
        assert same_spikes(loaded, snn, random_images(3, 1, shape)[0], encoder)


def test_a_network_prints_its_branches_and_pools():
    text = str(convert(deep_cnn(0), input_shape=SHAPE))
    assert "conv + conv from 4.body.3 + bias" in text
    assert "conv + shortcut from 3 + bias" in text
    assert "max pooling (exact)" in text


def test_the_result_names_every_layer():
    digits = Digits(random_images(0, 5, SHAPE), torch.arange(5))
    result = simulate(convert(deep_cnn(0), input_shape=SHAPE), digits, steps=3)
    assert result.engine == "event"
    assert list(result.spike_counts)[:3] == ["input", "0", "3"]


def test_conversion_leaves_the_network_as_it_was():
    cnn = deep_cnn(0)
    before = {name: value.clone() for name, value in cnn.state_dict().items()}
    snn = convert(cnn, input_shape=SHAPE)
    for parameter in snn.parameters():
        parameter.zero_()
    assert all(torch.equal(value, before[name]) for name, value in cnn.state_dict().items())


@pytest.mark.parametrize("rule", ["exakt", "max", None])
def test_another_rule_of_max_pooling_is_refused(rule):
    with pytest.raises(ValueError, match=r'max_pooling is .*; choose "exact", "gate" or "or"'):
        convert(deep_cnn(0), input_shape=SHAPE, max_pooling=rule)


@pytest.mark.parametrize(
    ("names", "sources", "message"),
    [
        (("a", "b"), ((), ("c",)), "layer b receives from c, not before it"),
        (("a", "b"), (("b",), ()), "layer a receives from b, not before it"),
        (("a", "a"), ((), ()), "two layers are named a"),
    ],
)
def test_layers_that_do_not_connect_are_refused(names, sources, message):
    plain = convert(nn.Sequential(nn.Flatten(), linear(4, 3)), input_shape=(1, 2, 2)).layers[0]
    layers = [
        SpikingLayer(name, plain.synapse, plain.neuron, 8, sources=source)
        for name, source in zip(names, sources, strict=True)
    ]
    with pytest.raises(ValueError, match=message):
        SpikingNetwork(layers, (1, 2, 2))


def test_negative_inputs_are_refused():
    snn = convert(deep_cnn(0), input_shape=SHAPE)
    with pytest.raises(ValueError, match=r"pixels span \[-0.5, 0.5\]"):
        record(snn, torch.eye(8)[None] - 0.5, steps=2)


def test_the_constraints_of_chapter_3_name_what_convert_lifts():
    layers = [nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    cnn = settle(nn.Sequential(*layers, nn.Linear(18, 3)), 0)
    faults = check_constraints(cnn, input_shape=SHAPE)
    assert [fault.split(" ")[1] for fault in faults] == ["0", "1", "3", "5"]
    assert len(convert(cnn, input_shape=SHAPE).layers) == 3


@given(small_cnns())
def test_what_keeps_the_constraints_is_converted(drawn):
    cnn, shape = drawn
    assert check_constraints(cnn, input_shape=shape) == []
    convert(cnn, input_shape=shape)
