"""Outputs of a simulation in the CNN's own units, for regression and calibration."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from nets import any_cnns, deep_cnn, random_images, tiny_cnn
from torch import nn
from torch.utils.data import TensorDataset

from snnlib import (
    ConstantEncoder,
    Digits,
    MarginStop,
    PoissonEncoder,
    activation_scales,
    convert,
    diagnose,
    digit_cnn,
    normalize_weights,
    record,
    simulate,
    weight_scales,
)


def unlabelled(images):
    """For a regression: the labels count for nothing."""
    return TensorDataset(images, torch.zeros(len(images), dtype=torch.int64))


def outputs_after(steps, snn, images, **options):
    options = {"encoder": ConstantEncoder(), **options}
    return simulate(snn, unlabelled(images), steps=steps, **options).outputs


def negative_regression():
    """One output, about -20."""
    torch.manual_seed(0)
    cnn = nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(784, 1))
    nn.init.constant_(cnn[3].bias, -20.0)
    return cnn.eval()


@pytest.mark.parametrize("engine", ["clock", "event"])
@pytest.mark.parametrize("way", ["thresholds", "channels", "weights", "spiking pools"])
def test_outputs_are_those_of_the_cnn_however_it_is_balanced(way, engine):
    cnn, images = deep_cnn(1), random_images(0, 5, (1, 8, 8))
    scales = activation_scales(cnn, images, channelwise=way == "channels")
    balanced = normalize_weights(cnn, scales) if way == "weights" else cnn
    options = {"pooling": "spiking" if way == "spiking pools" else "linear"}
    thresholds = 1.0 if way == "weights" else scales
    snn = convert(balanced, thresholds=thresholds, input_shape=(1, 8, 8), **options)
    outputs = outputs_after(512, snn, images, engine=engine)
    expected = balanced(images).double()
    assert outputs.dtype == torch.float64
    assert (outputs - expected).abs().max() <= 0.05 * expected.abs().max()


@pytest.mark.parametrize("threshold", [1.0, 4.0])
def test_outputs_are_those_of_the_cnn_with_one_threshold_for_all(threshold):
    cnn, images = tiny_cnn(), random_images(0, 5, (1, 6, 6))
    scales = activation_scales(cnn, images)
    cnn = normalize_weights(cnn, scales)
    snn = convert(cnn, thresholds=threshold, input_shape=(1, 6, 6))
    outputs = outputs_after(1024, snn, images)
    torch.testing.assert_close(outputs, cnn(images).double(), atol=0.05, rtol=0)


@settings(max_examples=10)
@given(any_cnns())
def test_their_error_falls_as_one_over_the_steps(drawn):
    cnn, shape = drawn
    images = random_images(2, 5, shape)
    try:
        scales = [1.5 * s for s in activation_scales(cnn, images)]
    except ValueError:
        assume(False)
    snn = convert(cnn, thresholds=scales, input_shape=shape, exact_steps=1)
    expected = cnn(images).double()
    errors = [
        (outputs_after(steps, snn, images) - expected).abs().max().item() for steps in (16, 512)
    ]
    size = max(scale.max().item() for scale in scales)
    assert errors[1] <= max(errors[0] / 8, 0.01 * size)


def test_case_12_the_value_of_a_regression_comes_with_either_way_to_balance():
    torch.manual_seed(0)
    cnn = nn.Sequential(nn.Conv2d(1, 6, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(1176, 1))
    nn.init.constant_(cnn[3].bias, 2.0)
    images = torch.rand(5, 1, 28, 28)
    scales, expected = activation_scales(cnn.eval(), images), cnn(images).double()
    by_threshold = outputs_after(1024, convert(cnn, thresholds=scales), images)
    by_weight = outputs_after(1024, convert(normalize_weights(cnn, scales)), images)
    torch.testing.assert_close(by_threshold, expected, atol=2e-3, rtol=0)
    torch.testing.assert_close(by_weight * scales[-1].double(), expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize("rate", [1.0, 0.4])
def test_random_spikes_give_the_same_numbers_with_more_noise(cnn, train, digits, rate):
    snn = convert(cnn, thresholds=activation_scales(cnn, train.images, percentile=99.9))
    expected = cnn(digits.images).double()
    error = [
        (simulate(snn, digits, steps=t, encoder=PoissonEncoder(rate)).outputs - expected).std()
        for t in (16, 256)
    ]
    assert error[1] < 0.4 * error[0]
    assert error[1] < 0.1 * expected.std()


def test_output_spikes_tell_the_outputs_between_0_and_their_scale(cnn, train, digits):
    scales = activation_scales(cnn, train.images)
    snn = convert(cnn, thresholds=scales, readout="spikes")
    result = simulate(snn, digits, steps=256, encoder=ConstantEncoder())
    expected = cnn(digits.images).double().clamp(min=0, max=scales[-1].item())
    assert (result.outputs - expected).abs().max() <= 0.05 * scales[-1]
    count = result.outputs / scales[-1].double() * 256
    torch.testing.assert_close(count, count.round(), atol=1e-6, rtol=0)


@settings(max_examples=10)
@given(any_cnns(), st.sampled_from(["potential", "spikes"]), st.sampled_from([1.0, 0.4]))
def test_both_engines_give_the_same_numbers_to_the_bit(drawn, readout, rate):
    cnn, shape = drawn
    snn = convert(cnn, thresholds=1.7, readout=readout, input_shape=shape)
    images = random_images(0, 6, shape)
    for encoder in (PoissonEncoder(rate), ConstantEncoder()):
        options = {"encoder": encoder, "stop": MarginStop(1.0)}
        clock, event = (
            outputs_after(20, snn, images, engine=engine, **options)
            for engine in ("clock", "event")
        )
        assert torch.equal(clock, event)
        batch = outputs_after(20, snn, images, batch_size=4, **options)
        assert torch.equal(batch, event)


def test_an_image_that_stops_early_is_told_by_its_own_steps(snn, digits):
    stopped = simulate(snn, digits, steps=40, stop=MarginStop(2.0))
    for i in (0, 3, 17):
        steps = int(stopped.steps_used[i])
        recorded = record(snn, digits.images[i], steps=steps, index=i)
        expected = recorded.output[-1].double() / steps / 0.4
        torch.testing.assert_close(stopped.outputs[i], expected, atol=1e-12, rtol=1e-12)
    assert len(stopped.steps_used.unique()) > 3


# ---- outputs that are negative everywhere


@pytest.mark.parametrize("percentile", [100, 99.0])
def test_a_negative_output_is_not_dead(percentile):
    cnn, images = negative_regression(), torch.rand(20, 1, 28, 28)
    scales = activation_scales(cnn, images, percentile=percentile)
    assert scales[-1] == pytest.approx(-cnn(images).min().item(), rel=0.02)
    for either in (scales, weight_scales(cnn)):
        outputs = outputs_after(512, convert(cnn, thresholds=either), images)
        torch.testing.assert_close(outputs, cnn(images).double(), atol=0.05, rtol=0)
    found = diagnose(cnn, convert(cnn, thresholds=scales), images, 64)
    assert found.agreement == 1
    assert found.layers[-1].error.rms < 0.01


def test_outputs_that_are_partly_positive_keep_their_scales():
    cnn, images = tiny_cnn(), random_images(0, 30, (1, 6, 6))
    assert activation_scales(cnn, images)[-1] == pytest.approx(cnn(images).max().item(), rel=1e-6)


def test_an_output_that_is_always_zero_is_dead():
    cnn = digit_cnn()
    nn.init.zeros_(cnn.output.weight)
    with pytest.raises(ValueError, match="layer output is dead"):
        activation_scales(cnn, torch.rand(3, 1, 28, 28))
    with pytest.raises(ValueError, match="layer output is dead"):
        weight_scales(cnn)


def test_the_unit_of_outputs_is_the_largest_scale_before_or_that_of_output_spikes():
    cnn, images = tiny_cnn(), random_images(0, 30, (1, 6, 6))
    scales = activation_scales(cnn, images, channelwise=True)
    shape = {"input_shape": (1, 6, 6)}
    assert convert(cnn, thresholds=scales, **shape).output_unit == scales[1].max()
    assert convert(cnn, thresholds=scales, readout="spikes", **shape).output_unit == scales[2]
    assert convert(cnn, **shape).output_unit == 1


def test_digits_have_outputs_as_any_data_have(snn, digits):
    whole = simulate(snn, digits, steps=4).outputs
    assert whole.shape == (len(digits), 10)
    parts = simulate(snn, Digits(digits.images, digits.labels), steps=4, batch_size=7).outputs
    assert torch.equal(whole, parts)
