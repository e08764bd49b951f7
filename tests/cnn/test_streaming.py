"""Percentiles and maxima of activations that are read batch by batch."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nets import any_cnns, deep_cnn, random_images, tiny_cnn
from torch.utils.data import DataLoader, TensorDataset

from snnlib import Digits, activation_scales, load_digits
from snnlib.cnn.streaming import FEW, LITTLE, Maximum, Percentile

SHAPE = (1, 6, 6)
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def nearest_rank(values, percentile):
    """The smallest positive value that at least `percentile` percent of them do not exceed."""
    positive = sorted(v for v in values if v > 0)
    if not positive:
        return 0.0
    rank = max(1, math.ceil(Fraction(str(percentile)) * len(positive) / 100))
    return positive[rank - 1]


def read(series, batches):
    for _ in range(series.passes):
        for batch in batches:
            series.add(batch)
        series.end_pass()
    return series.result


@given(
    st.lists(st.lists(FLOATS, min_size=3, max_size=3), min_size=1, max_size=40),
    st.sampled_from([100, 99.9, 90.0, 50, 33.3, 0.1]),
    st.integers(1, 7),
    st.sampled_from([FEW, LITTLE]),
)
def test_percentiles_are_exact_whatever_the_values(rows, percentile, size, widths):
    values = torch.tensor(rows, dtype=torch.float32).T.contiguous()  # [3, n]
    found = read(Percentile(3, percentile, widths), values.split(size, 1))
    assert found.tolist() == [nearest_rank(row, percentile) for row in values.tolist()]
    largest = read(Maximum(3), values.split(size, 1))
    assert largest.tolist() == [nearest_rank(row, 100) for row in values.tolist()]


def test_more_values_than_torch_quantile_takes_are_no_limit():
    values = torch.arange(1, 2**24 + 2**20, dtype=torch.float32)[None]
    rank = math.ceil(Fraction("99.9") * values.numel() / 100)
    assert read(Percentile(1, 99.9), values.split(2**22, 1)) == values.kthvalue(rank).values
    with pytest.raises(RuntimeError):
        values.quantile(0.999)


@pytest.mark.slow
@pytest.mark.parametrize("percentile", [100, 99.9, 99.0, 30])
@pytest.mark.parametrize("channelwise", [False, True])
def test_scales_depend_neither_on_batches_nor_on_order(percentile, channelwise):
    images = load_digits("train", per_class=50).images
    order = torch.randperm(500, generator=torch.Generator().manual_seed(0))
    cnn = deep_cnn(0, classes=10)
    cnn[6] = torch.nn.AvgPool2d(3)
    options = {"percentile": percentile, "channelwise": channelwise}
    expected = activation_scales(cnn, images, **options)
    for batches in (
        images.split(1),
        images.split(64),
        [images[order]],
        DataLoader(TensorDataset(images, order), batch_size=37, shuffle=True),
        Digits(images, torch.zeros(500, dtype=torch.int64)),
    ):
        found = activation_scales(cnn, batches, **options)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("channelwise", [False, True])
def test_scales_of_5000_images_in_batches_of_1_64_and_5000(channelwise):
    images = random_images(0, 5000, SHAPE)
    options = {"percentile": 99.9, "channelwise": channelwise}
    expected = activation_scales(tiny_cnn(), images, **options)
    for size in (1, 64, 5000):
        found = activation_scales(tiny_cnn(), images.flip(0).split(size), **options)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@given(any_cnns(), st.sampled_from([100, 90.0]))
def test_scales_are_those_of_all_activations_at_once(drawn, percentile):
    cnn, shape = drawn
    images = random_images(1, 12, shape)
    try:
        (*_, scale) = activation_scales(cnn, images.split(5), percentile=percentile)
    except ValueError:  # a dead layer
        return
    outputs = cnn.double()(images.double()).detach().flatten()
    outputs = outputs if (outputs > 0).any() else -outputs
    assert scale.item() == pytest.approx(nearest_rank(outputs.tolist(), percentile), rel=1e-6)


def test_a_generator_serves_a_maximum_but_no_percentile():
    images = random_images(0, 20, SHAPE)
    expected = activation_scales(tiny_cnn(), images)
    assert activation_scales(tiny_cnn(), iter(images.split(6))) == expected
    with pytest.raises(ValueError, match=r"only once, but a percentile takes 2 readings; give a "):
        activation_scales(tiny_cnn(), (batch for batch in images.split(6)), percentile=99)


class Changing:
    """Other images at each reading, as random augmentation gives."""

    def __init__(self):
        self.seed = 0

    def __iter__(self):
        self.seed += 1
        return iter([random_images(self.seed, 20, SHAPE)])


def test_images_that_change_are_noticed():
    with pytest.raises(ValueError, match="images differ from one reading to the next"):
        activation_scales(tiny_cnn(), Changing(), percentile=99)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        ([], ValueError, "images are empty"),
        ([torch.zeros(0, 1, 6, 6)], ValueError, "images are empty"),
        ([torch.ones(1, 1, 6, 6), torch.ones(1, 1, 7, 7)], ValueError, "those before"),
        ([torch.ones(1, 6, 6)], ValueError, "give the shape of your images, .C, H, W."),
        (np.ones((2, 1, 6, 6), np.float32), TypeError, r"torch.from_numpy\(images\).float\(\)"),
        ([torch.full((1, 1, 6, 6), 255.0)], ValueError, "pixels span .*divide 8-bit pixels by 255"),
    ],
)
def test_unusable_batches_are_refused(images, error, message):
    with pytest.raises(error, match=message):
        activation_scales(tiny_cnn(), images)
