import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnlib import IFNeuron, Integrator, if_step

GRID = 2**-10  # currents on it add up exactly in float32, so that bounds can be strict
RESETS = ["subtract", "zero"]
steps = st.integers(1, 200)
resets = st.sampled_from(RESETS)
fractions = st.integers(0, 1023).map(lambda n: n * GRID)


def currents(low: float, high: float):
    return st.lists(
        st.integers(int(low / GRID), int(high / GRID)).map(lambda n: n * GRID), min_size=1
    ).map(torch.tensor)


def spike_counts(current, steps, *, initial=0.0, threshold=1.0, reset="subtract"):
    """Spikes of neurons that receive the same current at each step."""
    v, counts = torch.full_like(current, initial * threshold), torch.zeros_like(current)
    for _ in range(steps):
        spikes, v = if_step(v, current, threshold=threshold, reset=reset)
        counts += spikes
    return counts


@given(currents(0, 3), steps, fractions)
def test_subtracting_makes_the_rate_the_input_up_to_one_spike(current, steps, initial):
    rate = spike_counts(current, steps, initial=initial) / steps
    assert ((rate - current.clamp(max=1)).abs() <= 1 / steps + 1e-7).all()


@given(currents(0, 1), steps)
def test_starting_at_half_the_threshold_rounds_to_the_nearest_count(current, steps):
    counts = spike_counts(current, steps, initial=0.5)
    assert ((counts - current * steps).abs() <= 0.5).all()


@given(currents(0, 1), steps)
def test_starting_at_rest_rounds_the_count_down(current, steps):
    assert torch.equal(spike_counts(current, steps), (current * steps).floor())


@given(currents(-2, 0), steps, fractions, resets)
def test_a_negative_input_never_makes_a_spike(current, steps, initial, reset):
    assert not spike_counts(current, steps, initial=initial, reset=reset).any()


def test_the_error_of_a_rate_falls_as_one_over_time():
    current = torch.rand(2000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    times = [2**n for n in range(3, 10)]
    errors = [(spike_counts(current, t) / t - current).abs().mean().item() for t in times]
    slope = np.polyfit(np.log(times), np.log(errors), 1)[0]
    assert abs(slope + 1) <= 0.1


@given(st.integers(1, 2048), st.integers(1, 2048), steps)
def test_resetting_to_zero_makes_a_staircase(z, theta, steps):
    counts = spike_counts(torch.tensor([z * GRID]), steps, threshold=theta * GRID, reset="zero")
    assert counts.item() == steps // math.ceil(theta / z)


def test_resetting_to_zero_loses_input_that_subtracting_keeps():
    current = torch.tensor([0.75])
    assert spike_counts(current, 100, reset="zero").item() == 50
    assert spike_counts(current, 100, reset="subtract").item() == 75


@pytest.mark.parametrize("reset", RESETS)
def test_a_neuron_spikes_when_it_reaches_the_threshold_exactly(reset):
    spikes, v = if_step(torch.tensor([0.5]), torch.tensor([0.5]), reset=reset)
    assert (spikes.item(), v.item()) == (1, 0)


@pytest.mark.parametrize(("reset", "left"), [("subtract", 0.75), ("zero", 0.0)])
def test_the_reset_decides_what_remains_after_a_spike(reset, left):
    spikes, v = if_step(torch.tensor([0.5, 0.5]), torch.tensor([1.25, 0.25]), reset=reset)
    assert spikes.tolist() == [1, 0]
    assert v.tolist() == [left, 0.75]


def test_the_step_leaves_its_arguments_as_they_were():
    v, current = torch.tensor([0.5]), torch.tensor([0.75])
    if_step(v, current)
    assert (v.item(), current.item()) == (0.5, 0.75)


@given(
    st.lists(currents(-1, 2).map(lambda row: row.repeat(4)[:4]), min_size=1, max_size=30),
    resets,
    fractions,
    st.sampled_from([1.0, 0.375, torch.tensor([0.25, 0.5, 1.0, 2.0])]),
    st.booleans(),
)
def test_the_neuron_does_what_the_step_does(rows, reset, initial, threshold, wide):
    neuron = IFNeuron(threshold, reset=reset, initial_potential=initial, wide=wide)
    v = torch.as_tensor(threshold) * initial * torch.ones(4)
    for row in rows:
        spikes, v = if_step(v, row, threshold=threshold, reset=reset)
        assert torch.equal(neuron(row), spikes)
        assert torch.equal(neuron.v.float(), v)


def test_the_neuron_leaves_its_input_as_it_was():
    neuron, current = IFNeuron(), torch.tensor([0.75])
    neuron(current)
    neuron(current)
    assert current.item() == 0.75


@pytest.mark.parametrize("neuron", [IFNeuron(initial_potential=0.5), Integrator()])
def test_reset_forgets_what_came_before(neuron):
    first = [neuron(torch.tensor([0.3])).item() for _ in range(3)]
    neuron.reset()
    assert neuron.v is None
    assert [neuron(torch.tensor([0.3])).item() for _ in range(3)] == first


def test_a_wide_neuron_keeps_what_float32_would_round_away():
    tiny, narrow, wide = torch.tensor([2.0**-26]), IFNeuron(2.0), IFNeuron(2.0, wide=True)
    for neuron in (narrow, wide):
        neuron(torch.tensor([1.0]))
        neuron(tiny)
    assert narrow.v.item() == 1
    assert wide.v.item() == 1 + 2.0**-26


def test_an_integrator_adds_up_and_never_spikes():
    integrator = Integrator()
    outputs = [integrator(torch.tensor([x])).item() for x in (0.5, -2.0, 4.0)]
    assert outputs == [0.5, -1.5, 2.5]


def test_an_integrator_gives_values_that_later_steps_do_not_change():
    integrator = Integrator()
    first = integrator(torch.tensor([1.0], dtype=torch.float64))
    integrator(torch.tensor([1.0], dtype=torch.float64))
    assert first.item() == 1


def test_an_unknown_reset_is_refused():
    with pytest.raises(ValueError, match='reset is \'soft\'; choose "subtract" or "zero"'):
        if_step(torch.zeros(1), torch.zeros(1), reset="soft")
    with pytest.raises(ValueError, match="reset is 'soft'"):
        IFNeuron(reset="soft")
