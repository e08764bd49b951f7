import numpy as np
import pytest
import reference
import torch
from hypothesis import given
from hypothesis import strategies as st
from nets import random_images
from scipy import stats

from snnlib import ConstantEncoder, PoissonEncoder

ENCODERS = [PoissonEncoder(0.4), ConstantEncoder()]
GREY = torch.full((20, 1, 28, 28), 0.5)
UNLIKELY = 1e-4  # a fair encoder fails each of these tests with one seed in 10,000
rates = st.floats(0.01, 1.0)
seeds = st.integers(0, 2**32 - 1)


def spikes_over_time(images, steps, *, max_rate=1.0, seed=0):
    """[T, N, C, H, W]."""
    stream = PoissonEncoder(max_rate, seed).stream(images)
    return torch.stack([stream(step) for step in range(steps)])


def spikes_over_seeds(images, seeds):
    """[seeds, N, C, H, W], of step 0."""
    return torch.stack([PoissonEncoder(1.0, seed).encode(images, 0) for seed in range(seeds)])


def frequencies_of_patterns(spikes, axis, length=4):
    """How often each of the 2**length patterns of neighbours along an axis occurs."""
    windows = spikes.unfold(axis, length, length).reshape(-1, length)
    return torch.bincount((windows @ 2.0 ** torch.arange(length)).long(), minlength=2**length)


@given(st.integers(0, 10**6), rates, seeds, st.integers(0, 10**6))
def test_spikes_equal_the_reference(image_seed, max_rate, seed, step):
    images, index = random_images(image_seed, 3, (2, 4, 5)), np.array([5, 0, 60_000])
    encoder = PoissonEncoder(max_rate, seed)
    spikes = encoder.encode(images, step, index=torch.from_numpy(index))
    expected = reference.poisson_spikes(images.numpy(), max_rate, seed, index, step)
    assert np.array_equal(spikes, expected)


@pytest.mark.parametrize("rate", [0.02, 0.25, 0.4, 0.9])
def test_spikes_come_at_the_rate_of_the_pixel(rate):
    spikes = spikes_over_time(GREY, 64, max_rate=rate)  # a pixel of 0.5 spikes at rate / 2
    n, p = spikes.numel(), rate / 2
    assert abs(spikes.sum().item() - n * p) < 4 * (n * p * (1 - p)) ** 0.5


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_counts_are_binomial(rate):
    steps = 16
    counts = spikes_over_time(GREY * 2 * rate, steps).sum(0).flatten().long()
    observed = torch.bincount(counts, minlength=steps + 1).numpy()
    expected = stats.binom.pmf(np.arange(steps + 1), steps, rate) * len(counts)
    common = expected > 5
    observed = [*observed[common], observed[~common].sum()]
    expected = [*expected[common], expected[~common].sum()]
    assert stats.chisquare(observed, expected).pvalue > UNLIKELY


def test_the_variance_of_counts_is_that_of_independent_draws():
    steps, rate = 32, 0.3
    counts = spikes_over_time(GREY * 2 * rate, steps).sum(0)
    expected = steps * rate * (1 - rate)
    assert abs(counts.var().item() / expected - 1) < 4 * (2 / counts.numel()) ** 0.5


@pytest.mark.parametrize("axis", [0, 1, 3, 4], ids=["steps", "images", "rows", "columns"])
def test_neighbours_spike_independently(axis):
    patterns = frequencies_of_patterns(spikes_over_time(GREY, 32), axis)
    assert stats.chisquare(patterns).pvalue > UNLIKELY


def test_seeds_give_independent_spikes():
    patterns = frequencies_of_patterns(spikes_over_seeds(GREY, 64), 0)
    assert stats.chisquare(patterns).pvalue > UNLIKELY


@pytest.mark.parametrize("axis", [0, 1, 3, 4], ids=["steps", "images", "rows", "columns"])
@pytest.mark.parametrize("lag", [2, 4, 8])
def test_neighbours_further_apart_are_uncorrelated(axis, lag):
    spikes = spikes_over_time(GREY, 32) * 2 - 1
    length = spikes.shape[axis] - lag
    products = spikes.narrow(axis, 0, length) * spikes.narrow(axis, lag, length)
    assert abs(products.mean().item()) < 4 / products.numel() ** 0.5


@given(st.integers(0, 10**6), rates, rates, seeds, st.integers(0, 1000))
def test_a_higher_rate_only_adds_spikes(image_seed, one_rate, other_rate, seed, step):
    images = random_images(image_seed, 2, (1, 8, 8))
    low, high = sorted([one_rate, other_rate])
    few = PoissonEncoder(low, seed).encode(images, step)
    many = PoissonEncoder(high, seed).encode(images, step)
    assert (few <= many).all()


def test_a_brighter_pixel_only_adds_spikes():
    assert (PoissonEncoder().encode(GREY, 3) <= PoissonEncoder().encode(GREY * 1.5, 3)).all()


def test_a_white_pixel_at_rate_1_spikes_at_every_step_and_a_black_one_never():
    images = torch.zeros(10, 1, 28, 28)
    images[..., :14] = 1
    spikes = spikes_over_time(images, 100)
    assert spikes[..., :14].all()
    assert not spikes[..., 14:].any()


@given(seeds, st.integers(0, 1000), st.permutations(range(6)))
def test_an_image_keeps_its_spikes_wherever_it_stands(seed, step, order):
    images, encoder = random_images(1, 6, (1, 5, 5)), PoissonEncoder(0.7, seed)
    spikes = encoder.encode(images, step)
    moved = encoder.encode(images[list(order)], step, index=torch.tensor(order))
    assert torch.equal(moved, spikes[list(order)])


def test_without_an_index_images_are_counted_from_0():
    images, encoder = random_images(1, 6, (1, 5, 5)), PoissonEncoder()
    assert torch.equal(encoder.encode(images, 2), encoder.encode(images, 2, index=torch.arange(6)))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_stream_gives_any_step_in_any_order(encoder):
    images = random_images(2, 3, (1, 5, 5))
    stream = encoder.stream(images)
    for step in (7, 0, 7, 3):
        assert torch.equal(stream(step), encoder.encode(images, step))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_encoding_leaves_the_images_and_the_random_state_as_they_were(encoder):
    images, before = random_images(3, 2, (1, 5, 5)), torch.get_rng_state()
    copy = images.clone()
    encoder.encode(images, 0)
    assert torch.equal(images, copy)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_mean_over_time_approaches_the_image_as_one_over_root_time(digits):
    images, times = digits.images[:20], [4, 16, 64, 256]
    sums = spikes_over_time(images, max(times)).cumsum(0)
    errors = [((sums[t - 1] / t - images) ** 2).mean().sqrt().item() for t in times]
    slope = np.polyfit(np.log(times), np.log(errors), 1)[0]
    assert abs(slope + 0.5) < 0.05


@given(st.integers(0, 10**6))
def test_a_constant_current_is_the_pixel_rounded_down_to_the_grid(image_seed):
    images = random_images(image_seed, 2, (1, 5, 5))
    current = ConstantEncoder().encode(images, 0)
    assert np.array_equal(current.double() * 2**24, reference.pixel_levels(images.numpy()))


@pytest.mark.parametrize("max_rate", [0, -0.1, 1.01, float("nan")])
def test_a_rate_outside_0_to_1_is_refused(max_rate):
    with pytest.raises(ValueError, match=r"max_rate is .*\(0, 1\]"):
        PoissonEncoder(max_rate)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_beyond_32_bits_is_refused(seed):
    with pytest.raises(ValueError, match=r"seed is .*whole number"):
        PoissonEncoder(seed=seed)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_images_that_are_no_images_are_refused(encoder):
    with pytest.raises(ValueError, match="images contain NaN"):
        encoder.encode(GREY * float("nan"), 0)
    with pytest.raises(TypeError, match=r"images are torch.int64"):
        encoder.encode(GREY.long(), 0)


def test_an_index_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"index has shape \[3\]; expected \[20\]"):
        PoissonEncoder().encode(GREY, 0, index=torch.arange(3))


def test_even_the_lowest_draw_leaves_a_black_pixel_silent():
    black, index = torch.zeros(1, 1, 28, 28), torch.tensor([8421])
    almost_black = torch.full_like(black, 2.0**-24)  # spikes where the draw is 0, and only there
    spikes = PoissonEncoder(1.0).encode(almost_black, 0, index=index)
    assert spikes.nonzero().tolist() == [[0, 0, 25, 12]]
    assert not PoissonEncoder(1.0).encode(black, 0, index=index).any()


def test_even_the_highest_draw_makes_a_white_pixel_spike():
    white, index = torch.ones(1, 1, 28, 28), torch.tensor([3790])
    almost_white = white - 2.0**-24
    silent = 1 - PoissonEncoder(1.0).encode(almost_white, 0, index=index)
    assert silent.nonzero().tolist() == [[0, 0, 6, 19]]
    assert PoissonEncoder(1.0).encode(white, 0, index=index).all()
