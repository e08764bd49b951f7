"""Operations are what a count by hand gives; energies follow from published constants."""

from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nets import random_images, small_cnns, tiny_cnn
from sameness import OPTIONS, three_classes
from torch import nn

from snnlib import (
    ARITHMETIC,
    Arithmetic,
    ConstantEncoder,
    Cost,
    MarginStop,
    PoissonEncoder,
    break_even_rate,
    cnn_cost,
    convert,
    digit_cnn,
    mean_rate,
    record,
    simulate,
    snn_cost,
)


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


def window(size, out, kernel, stride, padding, dilation):
    """The inputs, along one axis, that an output sees: none of them padding."""
    places = (out * stride - padding + k * dilation for k in range(kernel))
    return [place for place in places if 0 <= place < size]


def windows(layer, shape):
    """For each output place of a convolution or pool: how many input places it sees."""
    arguments = [pair(getattr(layer, name)) for name in ("kernel_size", "stride", "padding")]
    arguments.append(pair(getattr(layer, "dilation", 1)))
    axes = [list(zip(*arguments, strict=True))[axis] for axis in (0, 1)]
    output = layer(torch.zeros(1, *shape)).shape[2:]
    return [
        prod(len(window(shape[1 + a], place[a], *axes[a])) for a in (0, 1))
        for place in ((i, j) for i in range(output[0]) for j in range(output[1]))
    ]


def cost_by_hand(cnn, shape):
    sums = products = 0
    for layer in cnn:
        if isinstance(layer, nn.Conv2d):
            weights = layer.out_channels * layer.in_channels // layer.groups
            products += weights * sum(windows(layer, shape))
        elif isinstance(layer, nn.AvgPool2d):
            sums += shape[0] * sum(windows(layer, shape))
        elif isinstance(layer, nn.Linear):
            products += layer.in_features * layer.out_features
        shape = tuple(layer(torch.zeros(1, *shape)).shape[1:])
    return Cost(sums, products)


def receivers(layer, shape):
    """Synapses of each presynaptic neuron, by sending one spike from each alone."""
    probes = torch.eye(prod(shape)).view(-1, *shape)
    for op in layer.synapse:
        if isinstance(op, (nn.Conv2d, nn.Linear)):
            counting = type(op).__new__(type(op))
            counting.__dict__ = op.__dict__ | {"_parameters": {"weight": op.weight * 0 + 1}}
            counting._parameters["bias"] = None
            op = counting
        probes = op(probes)
    return probes.flatten(1).sum(1).view(shape)


def crossings_by_hand(snn, images, steps, encoder):
    """Synaptic operations, spike by spike, from recordings."""
    total = 0
    for index, image in enumerate(images):
        recording = record(snn, image, steps=steps, encoder=encoder, index=index)
        source = None if encoder.constant else recording.input
        for layer in snn.layers:
            if source is not None:
                total += (source.sum(0) * receivers(layer, source.shape[1:])).sum().item()
            source = recording.spikes.get(layer.name)
    return total


@given(small_cnns())
def test_operations_of_a_cnn_equal_a_count_by_hand(drawn):
    cnn, shape = drawn
    assert cnn_cost(cnn, input_shape=shape) == cost_by_hand(cnn, shape)


@given(small_cnns(), OPTIONS, st.sampled_from([PoissonEncoder(1.0), ConstantEncoder()]))
def test_operations_of_an_snn_equal_a_count_by_hand(drawn, options, encoder):
    cnn, shape = drawn
    snn = convert(cnn, input_shape=shape, **options)
    images, steps = random_images(3, 2, shape), 4
    result = simulate(snn, three_classes(images), steps=steps, encoder=encoder)
    cost = snn_cost(snn, result)
    crossed = crossings_by_hand(snn, images, steps, encoder)
    first = snn.layers[0]
    neurons = first.synapse(torch.zeros(1, *shape)).numel()
    analog = receivers(first, shape).sum().item()
    assert cost.accumulates * 2 == crossed + (2 * steps * neurons if encoder.constant else 0)
    assert cost.multiply_accumulates == (analog if encoder.constant else 0)


def test_operations_of_the_course_network():
    first, second, output = 12 * 24 * 24 * 25, 64 * 8 * 8 * 12 * 25, 1024 * 10
    cost = cnn_cost(digit_cnn())
    assert cost == Cost(12 * 24 * 24 + 64 * 8 * 8, first + second + output)


def test_operations_are_those_until_an_image_stops(snn, digits):
    run = {"steps": 20, "encoder": ConstantEncoder()}
    full, stopped = (simulate(snn, digits, **run, stop=stop) for stop in (None, MarginStop(0.5)))
    neurons, images = 12 * 24 * 24, len(digits)
    for result in (full, stopped):
        sums = result.synaptic_operations.sum() + neurons * result.steps_used.sum()
        assert snn_cost(snn, result) == Cost(sums.item() / images, neurons * 25.0)
    assert snn_cost(snn, stopped).accumulates < snn_cost(snn, full).accumulates / 4


def test_energy_is_operations_times_constants():
    assert Cost(10.0, 2.0).energy(Arithmetic(0.5, 3.0)) == 11.0
    assert ARITHMETIC["float32"].multiply_accumulate == pytest.approx(4.6)
    assert ARITHMETIC["float32"].accumulate == 0.9


def test_the_mean_rate_is_one_if_everything_spikes():
    snn = convert(tiny_cnn(), input_shape=(1, 6, 6))
    for layer in snn.layers[:-1]:
        layer.neuron.threshold.fill_(-100.0)
    white = three_classes(torch.ones(2, 1, 6, 6))
    result = simulate(snn, white, steps=3, encoder=PoissonEncoder(1.0), engine="clock")
    assert mean_rate(snn, result) == 1.0


@pytest.mark.parametrize("encoder", [PoissonEncoder(1.0), ConstantEncoder()])
@pytest.mark.parametrize("arithmetic", ARITHMETIC.values(), ids=ARITHMETIC)
def test_at_the_break_even_rate_both_cost_the_same(balanced, snn, digits, encoder, arithmetic):
    result = simulate(snn, digits, steps=5, encoder=encoder)
    cnn, cost = cnn_cost(balanced), snn_cost(snn, result)
    share = break_even_rate(cnn, snn, result, arithmetic) / mean_rate(snn, result)
    crossed = result.synaptic_operations.sum().item() / len(digits)
    then = Cost(cost.accumulates + (share - 1) * crossed, cost.multiply_accumulates)
    assert then.energy(arithmetic) == pytest.approx(cnn.energy(arithmetic))
