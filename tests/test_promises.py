"""What the README promises of the shipped weights, measured in full."""

from functools import cache

import pytest
import torch
from sameness import VARIANTS, assert_same

from snnlib import (
    ConstantEncoder,
    PoissonEncoder,
    activation_scales,
    calibrate_stop,
    convert,
    evaluate,
    load_digits,
    load_trained_cnn,
    normalize_weights,
    simulate,
    trained_facts,
)
from snnlib.cnn.quantized import restore_relu
from snnlib.study.sweep import Cell, Setting, all_cells, load_sweep, run_cell

pytestmark = pytest.mark.slow

POINT = 0.01  # one percentage point
ENCODERS = pytest.mark.parametrize("encoder", [PoissonEncoder(1.0), ConstantEncoder()])
EXAMPLE = {"reset": "zero", "initial_potential": 0.0, "pooling": "spiking", "readout": "spikes"}


@pytest.fixture(autouse=True)
def all_threads(torch_settings, threads):
    """These networks are large enough to share among threads."""
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def threads():
    return torch.get_num_threads()


@pytest.fixture(scope="module")
def test_images():
    """All 10,000 of them."""
    return load_digits("test", per_class=None)


@pytest.fixture(scope="module")
def mnist():
    return load_trained_cnn("mnist")


@pytest.fixture(scope="module")
def cnn_accuracy(mnist, test_images):
    return evaluate(mnist, test_images).accuracy


@pytest.fixture(scope="module")
def balanced(mnist):
    """Scaled by the 99th percentile of the activations on the 5,000 training images."""
    scales = activation_scales(mnist, load_digits("train").images, percentile=99.0)
    return normalize_weights(mnist, scales)


@pytest.fixture(scope="module")
def deep():
    return load_trained_cnn("deep")


@pytest.fixture(scope="module")
def deep_snn(deep):
    """As chapter 9 converts it, with scales of all 5,000 training images."""
    scales = activation_scales(deep, load_digits("train").images, percentile=99.9)
    return convert(normalize_weights(deep, scales))


@pytest.fixture(scope="module")
def at_rate(balanced, test_images):
    """What the defaults give at a rate on all images, in 40 steps; each rate is run once."""
    return cache(
        lambda rate: simulate(convert(balanced), test_images, encoder=PoissonEncoder(rate))
    )


def gap(result, step, cnn_accuracy):
    """By how much the accuracy after a step differs from the CNN's."""
    return abs(result.accuracy[step - 1].item() - cnn_accuracy)


def test_the_digits_network_is_right_in_98_5_percent_of_5000():
    accuracy = evaluate(load_trained_cnn("digits"), load_digits("test")).accuracy
    assert accuracy >= 0.985
    assert accuracy == pytest.approx(trained_facts("digits")["accuracy_on_5000"], abs=2e-4)


def test_the_mnist_network_is_right_in_99_45_percent_of_10000(cnn_accuracy):
    assert cnn_accuracy >= 0.9945
    assert cnn_accuracy == pytest.approx(trained_facts("mnist")["accuracy_on_10000"], abs=2e-4)


def test_the_example_s_network_comes_within_half_a_point(mnist, test_images, cnn_accuracy):
    result = simulate(convert(mnist, **EXAMPLE), test_images, encoder=PoissonEncoder(0.4))
    assert gap(result, 40, cnn_accuracy) <= 0.5 * POINT


def test_diehl_s_network_comes_within_0_15_points(mnist, test_images, cnn_accuracy):
    scales = activation_scales(mnist, load_digits("train").images)
    snn = convert(normalize_weights(mnist, scales), **EXAMPLE)
    result = simulate(snn, test_images, encoder=PoissonEncoder(1.0))
    assert gap(result, 40, cnn_accuracy) <= 0.15 * POINT


def test_the_defaults_come_within_half_a_point_in_3_steps_and_0_05_in_40(at_rate, cnn_accuracy):
    assert gap(at_rate(1.0), 3, cnn_accuracy) <= 0.5 * POINT
    assert gap(at_rate(1.0), 40, cnn_accuracy) <= 0.05 * POINT


@pytest.mark.parametrize(("rate", "mean_steps"), [(1.0, 4), (0.4, 15)])
def test_early_exit_needs_few_steps_and_loses_at_most_0_1_points(
    balanced, test_images, at_rate, rate, mean_steps
):
    snn, encoder = convert(balanced), PoissonEncoder(rate)
    stop = calibrate_stop(simulate(snn, load_digits("train"), encoder=encoder))
    stopped = simulate(snn, test_images, encoder=encoder, stop=stop)
    assert stopped.steps_used.double().mean() <= mean_steps
    assert stopped.accuracy[-1] >= at_rate(rate).accuracy[-1] - 0.1 * POINT


def test_constant_currents_come_within_0_1_points_in_3_steps(balanced, test_images, cnn_accuracy):
    result = simulate(convert(balanced), test_images, steps=3, encoder=ConstantEncoder())
    assert gap(result, 3, cnn_accuracy) <= 0.1 * POINT


def test_the_deep_network_is_right_in_99_4_percent_of_10000(deep, test_images):
    accuracy = evaluate(deep, test_images).accuracy
    assert accuracy >= 0.994
    assert accuracy == pytest.approx(trained_facts("deep")["accuracy_on_10000"], abs=2e-4)


@ENCODERS
def test_the_deep_network_comes_within_0_3_points_in_64_steps(deep, deep_snn, encoder):
    images = load_digits("test")
    assert len(images) == 5000
    result = simulate(deep_snn, images, steps=64, encoder=encoder)
    assert gap(result, 64, evaluate(deep, images).accuracy) <= 0.3 * POINT


@ENCODERS
def test_both_engines_give_the_same_for_the_deep_network(deep_snn, encoder):
    assert_same(deep_snn, load_digits("test", per_class=10).images, steps=64, encoder=encoder)


@pytest.mark.parametrize("name", VARIANTS)
def test_both_engines_give_the_same_for_1000_images_and_40_steps(conversions, name):
    snn, encoder = conversions[name]
    images = load_digits("test", per_class=100).images
    assert len(images) == 1000
    assert_same(snn, images, steps=40, encoder=encoder)


def test_a_network_fine_tuned_for_few_steps_is_right_in_99_35_percent_after_1_and_99_5_after_2(
    test_images,
):
    cnn, scales = restore_relu(load_trained_cnn("mnist_qcfs"))
    snn = convert(cnn, thresholds=scales)
    accuracy = simulate(snn, test_images, steps=4, encoder=ConstantEncoder()).accuracy
    assert accuracy[0] >= 0.9935
    assert accuracy[1] >= 0.995
    facts = trained_facts("mnist_qcfs")
    for steps in (1, 2, 4):
        known = facts[f"accuracy_on_10000_after_{steps}"]
        assert accuracy[steps - 1].item() == pytest.approx(known, abs=2e-4)


@pytest.mark.parametrize("balancing", ["none", "percentile"])
def test_the_shipped_table_is_what_a_run_gives(balancing):
    sweep = load_sweep()
    assert set(sweep.accuracy) == set(all_cells())
    cell = Cell(balancing, "subtract", "constant")
    assert sweep.accuracy[cell] == pytest.approx(run_cell(cell, Setting()), abs=2e-4)
