"""Stopping early: the same from both engines, and what one full run foretells."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nets import random_images, small_cnns
from sameness import ENCODERS, OPTIONS, VARIANTS, Flicker, same_result, three_classes

from snnlib import (
    ConstantEncoder,
    Digits,
    MarginStop,
    PoissonEncoder,
    calibrate_stop,
    convert,
    exit_curve,
    simulate,
    stopping_steps,
)
from snnlib.spiking.decisions import lead

ENGINES = ("clock", "event")


def same_exit(a, b) -> bool:
    return (
        same_result(a, b)
        and torch.equal(a.margins, b.margins)
        and torch.equal(a.steps_used, b.steps_used)
    )


def held(result, stop):
    """Decisions [T, N] and steps used [N] of a full run, cut where the rule would stop."""
    steps, images = result.predictions.shape
    predictions, used = result.predictions.clone(), torch.full((images,), steps)
    for n in range(images):
        for step in range(steps):
            if stop(result.margins[step, n : n + 1]).item():
                predictions[step:, n], used[n] = predictions[step, n], step + 1
                break
    return predictions, used


@pytest.mark.parametrize("name", VARIANTS)
def test_both_engines_stop_alike_and_as_the_full_run_foretells(conversions, digits, name):
    snn, encoder = conversions[name]
    stop, run = MarginStop(0.7), {"steps": 20, "encoder": encoder}
    full = simulate(snn, digits, **run)
    by_clock, by_event = (
        simulate(snn, digits, **run, engine=engine, stop=stop) for engine in ENGINES
    )
    assert same_exit(by_clock, by_event)
    predictions, used = held(full, stop)
    assert torch.equal(by_event.predictions, predictions)
    assert torch.equal(by_event.steps_used, used)
    assert torch.equal(stopping_steps(full, stop), used)
    assert by_event.synaptic_operations.sum() < full.synaptic_operations.sum()


@given(small_cnns(), OPTIONS, ENCODERS, st.sampled_from([0.05, 0.5, 1.0, 3.0]))
def test_both_engines_stop_alike_for_any_small_network(drawn, options, encoder, margin):
    cnn, shape = drawn
    snn = convert(cnn, input_shape=shape, **options)
    digits, stop = three_classes(random_images(0, 40, shape)), MarginStop(margin)
    run = {"steps": 9, "encoder": encoder}
    full = simulate(snn, digits, **run, engine="clock")
    a, b = (simulate(snn, digits, **run, engine=engine, stop=stop) for engine in ENGINES)
    assert same_exit(a, b)
    assert torch.equal(a.predictions, held(full, stop)[0])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("batch_size", [1, 7, 33])
def test_the_batch_size_changes_nothing(snn, digits, engine, batch_size):
    run = {"steps": 10, "engine": engine, "stop": MarginStop(0.5)}
    parts = simulate(snn, digits, **run, batch_size=batch_size)
    assert same_exit(parts, simulate(snn, digits, **run))


def test_any_encoder_of_spikes_can_stop(snn, digits):
    run = {"steps": 12, "encoder": Flicker(), "stop": MarginStop(0.5)}
    a, b = (simulate(snn, digits[:40], **run, engine=engine) for engine in ENGINES)
    assert same_exit(a, b)
    assert a.steps_used.min() < a.steps_used.max()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_rule_that_never_fires_changes_nothing(snn, digits, engine):
    run = {"steps": 8, "engine": engine}
    never = simulate(snn, digits, **run, stop=MarginStop(float("inf")))
    assert same_exit(never, simulate(snn, digits, **run))
    assert (never.steps_used == 8).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_rule_that_fires_at_once_costs_one_step(snn, digits, engine):
    first = simulate(snn, digits, steps=1, engine=engine)
    at_once = simulate(snn, digits, steps=8, engine=engine, stop=lambda margins: margins > -1)
    assert (at_once.steps_used == 1).all()
    assert at_once.synaptic_operations.tolist() == [first.synaptic_operations.item(), *[0] * 7]
    assert (at_once.predictions == first.predictions).all()
    assert at_once.accuracy[-1] == first.accuracy[0]


def test_every_step_is_reported_for_every_image(snn, digits):
    reports = []
    run = {"steps": 8, "batch_size": 60, "stop": MarginStop(0.5), "on_step": reports.append}
    result = simulate(snn, digits, **run)
    assert [report.step for report in reports] == 2 * list(range(1, 9))
    assert [report.images for report in reports[8:]] == [len(digits)] * 8
    assert [report.accuracy for report in reports[8:]] == result.accuracy.tolist()


def test_an_interrupted_run_leaves_the_network_usable(snn, digits):
    run = {"steps": 8, "engine": "clock", "stop": MarginStop(0.5)}
    whole = simulate(snn, digits, **run)

    def interrupt(report):
        if report.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(snn, digits, **run, on_step=interrupt)
    assert all(layer.v is None for layer in snn.layers)
    assert same_exit(simulate(snn, digits, **run), whole)


@pytest.mark.parametrize(
    "wrong", [lambda m: m, lambda m: (m > 0)[:1], lambda m: True], ids=["numbers", "few", "one"]
)
def test_a_rule_must_give_one_bool_an_image(snn, digits, wrong):
    with pytest.raises(ValueError, match=r"stop gave .*one bool for each"):
        simulate(snn, digits, steps=2, stop=wrong)


@pytest.mark.parametrize("margin", [0.0, -1.0, float("nan")])
def test_a_margin_is_above_zero(margin):
    with pytest.raises(ValueError, match=r"margin is .*; give a lead above 0"):
        MarginStop(margin)


# ---- margins


def test_lead_is_the_distance_to_the_second_best():
    counts, potential = torch.tensor([[3.0, 5.0, 4.0]]), torch.tensor([[0.5, -1.0, 0.25]])
    assert lead(counts, potential, "potential").tolist() == [0.25]
    assert lead(counts, potential, "spikes").tolist() == [1.0]
    assert lead(counts[:, :1], potential[:, :1], "spikes").tolist() == [float("inf")]


def test_margins_are_those_of_the_output(snn, digits):
    result = simulate(snn, digits[:3], steps=5, encoder=ConstantEncoder())
    assert result.margins.shape == (5, 3)
    assert (result.margins >= 0).all()
    assert torch.equal(result.steps_used, torch.full((3,), 5))


# ---- the curve, and calibration


def test_the_curve_is_what_simulations_with_each_margin_give(snn, digits):
    run = {"steps": 15, "encoder": PoissonEncoder(0.4)}
    curve = exit_curve(simulate(snn, digits, **run), torch.tensor([2.0, 0.3, 1.0]))
    assert curve.margins.tolist() == [pytest.approx(0.3), 1.0, 2.0]
    for margin, steps, accuracy in zip(
        curve.margins.tolist(), curve.mean_steps, curve.accuracy, strict=True
    ):
        result = simulate(snn, digits, **run, stop=MarginStop(margin))
        assert result.steps_used.double().mean() == steps
        assert result.accuracy[-1] == accuracy


def test_a_larger_margin_never_takes_fewer_steps(snn, digits):
    curve = exit_curve(simulate(snn, digits, steps=20))
    assert len(curve.margins) == 100
    assert (curve.mean_steps.diff() >= 0).all()
    assert curve.mean_steps[0] < 5 < curve.mean_steps[-1]


def test_calibration_gives_the_smallest_margin_that_is_good_enough(snn, train):
    result = simulate(snn, train[::3], steps=20, encoder=PoissonEncoder(0.4))
    curve = exit_curve(result)
    for tolerance in (0.0, 0.01, 0.2):
        stop = calibrate_stop(result, tolerance=tolerance)
        place = curve.margins.tolist().index(stop.margin)
        least = result.accuracy[-1] - tolerance
        assert (curve.accuracy[place:] >= least).all()
        assert place == 0 or curve.accuracy[place - 1] < least


def test_calibration_gives_up_where_nothing_can_be_decided(snn, digits):
    nothing = Digits(torch.zeros(3, 1, 28, 28), digits.labels[:3])  # no spike, no margin
    assert calibrate_stop(simulate(snn, nothing, steps=3)).margin == float("inf")


@pytest.mark.parametrize("tolerance", [-0.1, 1.0, float("nan")])
def test_tolerance_is_a_share(snn, digits, tolerance):
    result = simulate(snn, digits[:2], steps=2)
    with pytest.raises(ValueError, match=r"tolerance is .*share of images in \[0, 1\)"):
        calibrate_stop(result, tolerance=tolerance)


def test_a_stopped_result_cannot_be_calibrated_on(snn, digits):
    result = simulate(snn, digits, steps=10, stop=MarginStop(0.3))
    for use in (exit_curve, calibrate_stop, lambda stopped: stopping_steps(stopped, MarginStop(1))):
        with pytest.raises(ValueError, match="some images stopped early; simulate without stop"):
            use(result)
