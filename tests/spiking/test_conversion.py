import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nets import conv, linear, random_images, small_cnns, tiny_cnn
from torch import nn

from snnlib import (
    ConstantEncoder,
    ConversionError,
    activation_scales,
    convert,
    digit_cnn,
    normalize_weights,
    record,
)

SHAPE = (1, 6, 6)


def weight_units(layer):
    return layer.weight.double() * 2.0**layer.fraction_bits


def cnn_weights(cnn):
    """Weights in order, those behind a linear pool divided by its area."""
    divisor = 1
    for module in cnn:
        if isinstance(module, nn.AvgPool2d):
            divisor *= module.divisor_override or int(
                np.prod(np.broadcast_to(module.kernel_size, 2))
            )
        elif hasattr(module, "weight"):
            yield module.weight.double() / divisor
            divisor = 1


@given(small_cnns())
def test_weights_are_rounded_to_16_bit_multiples_of_a_power_of_two(drawn):
    cnn, shape = drawn
    for layer in convert(cnn, input_shape=shape).layers:
        units = weight_units(layer)
        assert torch.equal(units, units.round())
        assert units.abs().max() < 2**15


@given(small_cnns())
def test_rounding_moves_a_weight_by_at_most_half_a_unit(drawn):
    cnn, shape = drawn
    snn = convert(cnn, input_shape=shape)
    for layer, weight in zip(snn.layers, cnn_weights(cnn), strict=True):
        assert (weight_units(layer) - weight * 2.0**layer.fraction_bits).abs().max() <= 0.5


def test_the_grid_leaves_weights_at_least_11_bits(balanced):
    for layer in convert(balanced, exact_steps=10**6).layers:
        assert weight_units(layer).abs().max() >= 2**10


@given(small_cnns())
def test_currents_are_those_of_the_cnn_up_to_rounding(drawn):
    cnn, shape = drawn
    images = random_images(5, 2, shape)
    snn = convert(cnn, input_shape=shape)
    first = snn.layers[0]
    current = snn.input_current(ConstantEncoder().encode(images, 0))
    ends = [i for i, module in enumerate(cnn) if hasattr(module, "weight")]
    exact = cnn[: ends[0] + 1](images)
    terms = first.weight[0].numel() * 6 + 2  # 6 is the largest pool
    assert (current - exact).abs().max() <= terms * 2.0**-first.fraction_bits + 1e-5


@given(small_cnns(), st.integers(1, 60), st.sampled_from([0.0, 0.5]))
def test_rates_of_the_first_layer_are_its_clipped_activations(drawn, steps, initial):
    cnn, shape = drawn
    image = random_images(6, 1, shape)
    snn = convert(cnn, input_shape=shape, initial_potential=initial, readout="spikes")
    current = snn.input_current(ConstantEncoder().encode(image, 0))[0]
    spikes = record(snn, image[0], steps=steps, encoder=ConstantEncoder()).spikes
    rate = spikes[snn.layers[0].name].mean(0)
    assert (rate - current.clamp(0, 1)).abs().max() <= 1 / steps + 1e-6


def test_rates_of_every_layer_approach_the_activations(balanced, digits):
    image, snn = digits.images[3], convert(balanced, readout="spikes")
    spikes = record(snn, image, steps=60, encoder=ConstantEncoder()).spikes
    for name, end in (("conv1", 2), ("conv2", 5)):
        activation = balanced[:end](image[None])[0].clamp(max=1)
        assert (spikes[name].mean(0) - activation).abs().mean() < 0.01


@given(small_cnns())
def test_a_negative_weight_sum_never_spikes(drawn):
    cnn, shape = drawn
    for weight in cnn.parameters():
        weight.data = -weight.data.abs()
    snn = convert(cnn, input_shape=shape, readout="spikes")
    spikes = record(snn, torch.ones(shape), steps=10, encoder=ConstantEncoder()).spikes
    assert not any(of_layer.any() for of_layer in spikes.values())


@given(st.integers(0, 100), st.sampled_from([2.0**n for n in range(-3, 4)]))
def test_a_threshold_acts_as_weights_divided_by_it(seed, threshold):
    cnn, divided = tiny_cnn(seed), tiny_cnn(seed)
    for weight in divided.parameters():
        weight.data /= threshold
    image = random_images(seed, 1, SHAPE)[0]
    one = record(convert(cnn, thresholds=threshold, readout="spikes", input_shape=SHAPE), image)
    other = record(convert(divided, readout="spikes", input_shape=SHAPE), image)
    for name, spikes in one.spikes.items():
        assert torch.equal(spikes, other.spikes[name])
        assert torch.equal(one.potentials[name], other.potentials[name])


def test_one_number_may_be_any_kind_of_number():
    for threshold in (2, 2.0, np.float32(2), np.float64(2), torch.tensor(2.0)):
        snn = convert(tiny_cnn(), thresholds=threshold, input_shape=SHAPE)
        assert snn.layers[0].neuron.threshold == 2


def test_spiking_pools_have_neurons_of_their_own():
    snn = convert(digit_cnn(), pooling="spiking", thresholds=0.5)
    thresholds = {layer.name: layer.neuron.threshold.item() for layer in snn.layers[:-1]}
    assert thresholds == {"conv1": 0.5, "pool1": 4, "conv2": 0.5, "pool2": 4}


def test_spiking_pools_start_at_the_given_fraction_of_their_threshold():
    snn = convert(digit_cnn(), pooling="spiking", initial_potential=0.3)
    assert snn.layers[1].neuron.initial.item() == pytest.approx(0.3 * 4, abs=0.01)


@pytest.mark.parametrize("steps", [1, 40, 128, 200])
@pytest.mark.parametrize("weight", [1.0, 0.99, 0.3])
@pytest.mark.parametrize("threshold", [1.0, 60.0])
def test_the_promised_number_of_steps_is_exact(steps, weight, threshold):
    cnn = nn.Sequential(nn.Flatten(), linear(8, 2), nn.ReLU(), linear(2, 2))
    cnn[1].weight.data.fill_(weight)
    snn = convert(cnn, exact_steps=steps, thresholds=threshold, input_shape=(1, 1, 8))
    assert weight_units(snn.layers[0]).max() >= 2**11  # so there was room to keep the promise
    assert snn.exact_steps >= steps


def test_pools_before_the_weights_do_not_break_the_promise():
    pools = [nn.AvgPool2d(2), nn.AvgPool2d(2), nn.Flatten()]
    cnn = nn.Sequential(*pools, linear(4, 2), nn.ReLU(), linear(2, 2))
    cnn[3].weight.data.fill_(0.9)
    assert convert(cnn, input_shape=(1, 8, 8), exact_steps=128).exact_steps >= 128


@given(small_cnns(), st.sampled_from([1, 10, 128]))
def test_a_layer_is_exact_for_the_promised_steps_or_down_to_11_bits(drawn, steps):
    cnn, shape = drawn
    for layer in convert(cnn, input_shape=shape, exact_steps=steps).layers:
        assert layer.exact_steps >= steps or weight_units(layer).abs().max() < 2**11


@pytest.mark.parametrize(("inputs", "weight"), [(1007, 16660.55 / 2**14), (9001, 2037 / 2**10)])
def test_one_current_of_very_many_weights_is_exact(inputs, weight):
    cnn = nn.Sequential(nn.Flatten(), linear(inputs, 2))
    cnn[1].weight.data.fill_(weight)  # on the finest grid, their sum would exceed 2**24 units
    snn = convert(cnn, input_shape=(1, 1, inputs))
    exact = snn.layers[0].weight.double().sum(1)
    assert torch.equal(snn.step(torch.ones(1, 1, 1, inputs))[0].double(), exact)


@pytest.mark.parametrize("pooling", ["linear", "spiking"])
def test_conversion_leaves_the_network_as_it_was(pooling):
    cnn = digit_cnn().train()
    before = {name: weight.clone() for name, weight in cnn.state_dict().items()}
    snn = convert(cnn, thresholds=[2.0, 3.0, 5.0], pooling=pooling, readout="spikes")
    for layer in snn.layers:
        if layer.weight is not None:
            layer.weight.fill_(0.0)
    assert cnn.training
    assert all(torch.equal(weight, before[name]) for name, weight in cnn.state_dict().items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reset": "soft"}, 'reset is \'soft\'; choose "subtract" or "zero"'),
        ({"pooling": "max"}, 'pooling is \'max\'; choose "linear" or "spiking"'),
        ({"readout": "rate"}, 'readout is \'rate\'; choose "potential" or "spikes"'),
        ({"initial_potential": 1.0}, r"initial_potential is 1.0; .*\[0, 1\)"),
        ({"initial_potential": -0.1}, "initial_potential is -0.1"),
        ({"initial_potential": float("nan")}, "initial_potential is nan"),
        ({"exact_steps": 0}, "exact_steps is 0; give at least 1"),
        ({"thresholds": 0}, "thresholds is 0; a threshold must be above 0"),
        ({"thresholds": -1.0}, "thresholds is -1.0"),
        ({"thresholds": float("nan")}, "thresholds is nan"),
        ({"thresholds": float("inf")}, "thresholds is inf"),
        ({"thresholds": [1.0, 1.0]}, "2 scales for 3 weight layers; give conv1, conv2, output"),
        ({"thresholds": [1.0] * 4}, "4 scales for 3 weight layers"),
        ({"thresholds": [1.0, 0.0, 1.0]}, "the scale of conv2 is 0; scales must be above 0"),
        ({"thresholds": [1.0, 1.0, -2.0]}, "the scale of output is -2; scales must be"),
        ({"thresholds": [float("nan"), 1.0, 1.0]}, "the scale of conv1 is nan"),
        ({"thresholds": [torch.ones(5), 1.0, 1.0]}, r"the scale of conv1 has shape \[5\].*\[12\]"),
        (
            {"thresholds": [1.0, 1.0, torch.ones(10) * 2], "readout": "spikes"},
            "the last scale must be one number",
        ),
        ({"thresholds": 1e-9}, "the threshold of conv1 is below the resolution.*balance"),
    ],
)
def test_unusable_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        convert(digit_cnn(), **options)


def test_a_network_that_cannot_be_converted_is_refused_with_every_reason():
    faulty = nn.Sequential(
        nn.Conv2d(1, 4, 5), nn.Sigmoid(), nn.AvgPool2d(2), nn.BatchNorm2d(4), nn.PReLU()
    )
    with pytest.raises(ConversionError, match="cannot be converted") as caught:
        convert(faulty)
    text = str(caught.value)
    for reason in ("Sigmoid", "BatchNorm2d.*eval", "PReLU", "nn.Linear"):
        assert any(re.search(reason, line) for line in caught.value.violations)
    assert all(line in text for line in caught.value.violations)


def test_images_of_another_shape_than_promised_are_refused():
    with pytest.raises(ConversionError, match=r"does not fit input_shape \(1, 32, 32\)"):
        convert(digit_cnn(), input_shape=(1, 32, 32))


def test_balanced_weights_convert_without_thresholds_and_raw_weights_with_scales(cnn, train):
    scales = activation_scales(cnn, train.images)
    by_weights = convert(normalize_weights(cnn, scales))
    by_thresholds = convert(cnn, thresholds=scales)
    assert by_weights.layers[1].neuron.threshold == 1
    ratio = (scales[1] / scales[0]).item()
    assert by_thresholds.layers[1].neuron.threshold.item() == pytest.approx(ratio, abs=1e-3)


def test_convolutions_of_any_geometry_are_converted():
    cnn = nn.Sequential(
        conv(2, 4, (3, 2), stride=2, padding=1, dilation=2, groups=2), nn.ReLU(), nn.Flatten()
    )
    cnn.append(linear(cnn(torch.zeros(1, 2, 7, 7)).shape[1], 3))
    assert convert(cnn, input_shape=(2, 7, 7)).step(torch.ones(5, 2, 7, 7)).shape == (5, 3)
