import copy
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from nets import conv, linear, random_images, small_cnns, tiny_cnn
from torch import nn

from snnlib import (
    ConstantEncoder,
    ConversionError,
    PoissonEncoder,
    activation_scales,
    convert,
    digit_cnn,
    normalize_weights,
    record,
    weight_scales,
)

SHAPE = (1, 6, 6)
PERCENTILES = [100, 99.9, 99.0, 50.0, 0.1]
powers_of_two = st.integers(-3, 3).map(lambda n: 2.0**n)


def scales_by(method, cnn, images):
    """Scales of any kind; draws another network where a layer is dead."""
    try:
        if method == "weights":
            return weight_scales(cnn)
        return activation_scales(cnn, images, percentile=99.0, channelwise=method == "channels")
    except ValueError:
        assume(False)


def activations(cnn, images):
    """The positive outputs of each weight layer, layer by layer, image by image."""
    x, found = images.double(), []  # in float64, where noise does not count as activation
    for module in copy.deepcopy(cnn).double():
        x = module(x)
        if hasattr(module, "weight"):
            found.append(x.detach().clamp(min=0))
    return found


def nearest_rank(values, percentile):
    """The smallest positive value that at least `percentile` percent of them do not exceed."""
    values = sorted(v for v in values.flatten().tolist() if v > 0)
    return values[max(math.ceil(Fraction(str(percentile)) * len(values) / 100), 1) - 1]


def weights_of(cnn):
    return {name: weight.clone() for name, weight in cnn.state_dict().items()}


def unchanged(cnn, before):
    return all(torch.equal(weight, before[name]) for name, weight in cnn.state_dict().items())


@given(small_cnns(), st.sampled_from(["layers", "channels", "weights"]))
def test_normalizing_divides_the_outputs_by_the_last_scale(drawn, method):
    cnn, shape = drawn
    images = random_images(7, 20, shape)
    scales = scales_by(method, cnn, images)
    with torch.no_grad():
        outputs, balanced = cnn(images), normalize_weights(cnn, scales)(images) * scales[-1]
    assert (balanced - outputs).abs().max() <= 1e-5 * outputs.abs().max()


@given(small_cnns(), st.sampled_from(["layers", "channels", "weights"]))
def test_normalizing_keeps_the_predictions(drawn, method):
    cnn, shape = drawn
    images = random_images(8, 20, shape)
    balanced = normalize_weights(cnn, scales_by(method, cnn, images))
    best, second = cnn(images).topk(2).values.T
    clear = best - second > 1e-5 * cnn(images).abs().max()
    assert torch.equal(balanced(images).argmax(1)[clear], cnn(images).argmax(1)[clear])


@pytest.mark.parametrize("channelwise", [False, True])
def test_the_trained_network_keeps_every_prediction(cnn, train, digits, channelwise):
    scales = activation_scales(cnn, train.images, percentile=99.9, channelwise=channelwise)
    balanced = normalize_weights(cnn, scales)
    assert torch.equal(balanced(digits.images).argmax(1), cnn(digits.images).argmax(1))


@given(small_cnns(), st.booleans())
def test_the_largest_activations_become_1(drawn, channelwise):
    cnn, shape = drawn
    images = random_images(9, 20, shape)
    try:
        scales = activation_scales(cnn, images, channelwise=channelwise)
    except ValueError:
        assume(False)
    for found, scale in zip(
        activations(normalize_weights(cnn, scales), images), scales, strict=True
    ):
        maxima = found.transpose(0, 1).flatten(1).amax(1) if scale.ndim else found.max()
        assert ((maxima - 1).abs() < 1e-5).logical_or(maxima == 0).all()


@given(small_cnns())
def test_no_image_exceeds_the_scales_of_weights(drawn):
    cnn, shape = drawn
    scales = scales_by("weights", cnn, None)
    images = torch.cat([random_images(10, 50, shape).round(), torch.ones(1, *shape)])
    for found, scale in zip(activations(cnn, images), scales, strict=True):
        assert found.max() <= scale * (1 + 1e-6)


def test_scales_of_weights_are_sums_of_positive_weights():
    cnn = nn.Sequential(nn.Flatten(), linear(2, 2), nn.ReLU(), linear(2, 1))
    cnn[1].weight.data.copy_(torch.tensor([[1.0, 2.0], [4.0, -9.0]]))
    cnn[3].weight.data.copy_(torch.tensor([[0.5, 0.25]]))
    assert [scale.item() for scale in weight_scales(cnn)] == [4.0, 3.0]


@pytest.mark.parametrize("percentile", PERCENTILES)
def test_scales_of_layers_are_nearest_rank_percentiles_of_positive_activations(percentile):
    cnn, images = tiny_cnn(), random_images(11, 30, SHAPE)
    scales = activation_scales(cnn, images, percentile=percentile)
    expected = [nearest_rank(found, percentile) for found in activations(cnn, images)]
    assert [scale.item() for scale in scales] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("percentile", PERCENTILES)
def test_scales_of_channels_are_percentiles_of_each_channel(percentile):
    cnn, images = tiny_cnn(), random_images(12, 30, SHAPE)
    *hidden, last = activation_scales(cnn, images, percentile=percentile, channelwise=True)
    *found, found_last = activations(cnn, images)
    for scales, values in zip(hidden, found, strict=True):
        whole, channels = nearest_rank(values, percentile), values.transpose(0, 1)
        expected = [nearest_rank(c, percentile) if c.any() else whole for c in channels]
        assert scales.tolist() == pytest.approx(expected, rel=1e-6)
    assert last.item() == pytest.approx(nearest_rank(found_last, percentile), rel=1e-6)


def test_the_scale_of_100_percent_is_the_maximum(cnn, train):
    scales = activation_scales(cnn, train.images)
    expected = [found.max().item() for found in activations(cnn, train.images)]
    assert [scale.item() for scale in scales] == pytest.approx(expected, rel=1e-6)


def test_scales_do_not_depend_on_the_order_of_images(cnn, train):
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    scales = activation_scales(cnn, train.images, percentile=99.9)
    shuffled = activation_scales(cnn, train.images[order], percentile=99.9)
    assert [s.item() for s in scales] == pytest.approx([s.item() for s in shuffled], rel=1e-6)


def test_a_channel_that_is_silent_keeps_the_scale_of_its_layer():
    cnn = tiny_cnn()
    cnn[0].weight.data[2] = -1
    images = random_images(13, 30, SHAPE)
    whole, by_channel = (
        activation_scales(cnn, images)[0],
        activation_scales(cnn, images, channelwise=True)[0],
    )
    assert by_channel[2] == whole


def test_scales_are_ordinary_tensors():
    cnn, images = tiny_cnn(), random_images(14, 30, SHAPE)
    scale = activation_scales(cnn, images)[-1]
    (cnn(images) * scale).sum().backward()  # refused for what torch's inference mode made
    scale *= 2


@given(small_cnns(), st.data(), st.sampled_from(["subtract", "zero"]))
def test_balanced_thresholds_give_the_spikes_of_balanced_weights(drawn, data, reset):
    cnn, shape = drawn
    layers = sum(hasattr(module, "weight") for module in cnn)
    scales = data.draw(st.lists(powers_of_two, min_size=layers, max_size=layers))
    options = {"reset": reset, "readout": "spikes", "input_shape": shape}
    by_weights = convert(normalize_weights(cnn, scales), **options)
    by_thresholds = convert(cnn, thresholds=scales, **options)
    image = random_images(15, 1, shape)[0]
    for encoder in (PoissonEncoder(0.8), ConstantEncoder()):
        one = record(by_weights, image, steps=15, encoder=encoder)
        other = record(by_thresholds, image, steps=15, encoder=encoder)
        for name, spikes in one.spikes.items():
            assert torch.equal(spikes, other.spikes[name])
            assert torch.equal(one.potentials[name], other.potentials[name])


@pytest.mark.parametrize("channelwise", [False, True])
def test_otherwise_only_the_rounding_of_weights_moves_a_few_spikes(cnn, train, digits, channelwise):
    scales = activation_scales(cnn, train.images, percentile=99.9, channelwise=channelwise)
    by_weights = convert(normalize_weights(cnn, scales), readout="spikes")
    by_thresholds = convert(cnn, thresholds=scales, readout="spikes")
    differing = total = 0
    for image in digits.images[::20]:
        one, other = record(by_weights, image).spikes, record(by_thresholds, image).spikes
        differing += sum(int((one[name] != other[name]).sum()) for name in one)
        total += sum(int(spikes.sum()) for spikes in one.values())
    assert 0 < differing < 0.03 * total  # a spike that moves differs twice


def test_balancing_channels_of_a_grouped_convolution_keeps_the_outputs():
    layers = [conv(2, 6, 3, groups=2), nn.ReLU(), conv(6, 4, 2, groups=2), nn.ReLU()]
    cnn = nn.Sequential(*layers, nn.Flatten(), linear(36, 3))
    scales = [torch.rand(6) + 0.5, torch.rand(4) + 0.5, 3.0]
    images = random_images(16, 5, (2, 6, 6))
    balanced = normalize_weights(cnn, scales)(images) * 3
    torch.testing.assert_close(balanced, cnn(images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        lambda cnn, images: activation_scales(cnn, images, percentile=99.0, channelwise=True),
        lambda cnn, images: weight_scales(cnn),
        lambda cnn, images: normalize_weights(cnn, [2.0, 3.0, 5.0]),
    ],
)
@pytest.mark.parametrize("mode", [True, False])
def test_balancing_leaves_the_network_and_the_images_as_they_were(change, mode):
    cnn, images = digit_cnn().train(mode), torch.rand(4, 1, 28, 28)
    before, pixels = weights_of(cnn), images.clone()
    change(cnn, images)
    assert cnn.training is mode
    assert unchanged(cnn, before)
    assert torch.equal(images, pixels)


def test_dropout_does_not_touch_the_scales():
    cnn = nn.Sequential(nn.Flatten(), linear(36, 8), nn.ReLU(), nn.Dropout(0.9), linear(8, 3))
    images = random_images(17, 30, SHAPE)
    scales = activation_scales(cnn.train(), images)
    assert scales == activation_scales(cnn.eval(), images)


@pytest.mark.parametrize("percentile", [0, -1, 100.1, float("nan")])
def test_a_percentile_outside_0_to_100_is_refused(percentile):
    with pytest.raises(ValueError, match=r"percentile is .*\(0, 100\]"):
        activation_scales(tiny_cnn(), random_images(0, 2, SHAPE), percentile=percentile)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (torch.zeros(0, 1, 6, 6), ValueError, "images are empty"),
        (torch.ones(2, 6, 6), ValueError, "give the shape of your images, .C, H, W."),
        (torch.full((2, 1, 6, 6), 2.0), ValueError, "pixels span"),
        (torch.ones(2, 1, 6, 6).double(), TypeError, "float64; give a float32"),
        (torch.ones(2, 1, 3, 3), ConversionError, r"does not fit input_shape \(1, 3, 3\)"),
    ],
)
def test_unusable_images_are_refused(images, error, message):
    with pytest.raises(error, match=message):
        activation_scales(tiny_cnn(), images)


@pytest.mark.parametrize(
    "call",
    [
        lambda cnn: activation_scales(cnn, torch.ones(1, 1, 28, 28)),
        weight_scales,
        lambda cnn: normalize_weights(cnn, [2.0]),
    ],
)
def test_a_network_that_does_not_convert_cannot_be_balanced(call):
    with pytest.raises(ConversionError, match=r"Layer 1 \(Tanh\) cannot be converted"):
        call(nn.Sequential(nn.Flatten(), nn.Tanh(), nn.Linear(784, 10)))


@pytest.mark.parametrize("place", [0, 3])
@pytest.mark.parametrize("channelwise", [False, True])
def test_a_layer_that_no_image_activates_is_named(place, channelwise):
    cnn = tiny_cnn()
    cnn[place].weight.data = -cnn[place].weight.data.abs()
    with pytest.raises(ValueError, match=f"layer {place} is dead: no image activates it"):
        activation_scales(cnn, random_images(18, 30, SHAPE), channelwise=channelwise)


def test_a_layer_without_positive_weights_is_named():
    cnn = digit_cnn()
    cnn.conv2.weight.data.clamp_(max=0)
    with pytest.raises(ValueError, match="layer conv2 is dead: no weight is positive"):
        weight_scales(cnn)


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        ([1.0, 1.0], "2 scales for 3 weight layers; give conv1, conv2, output"),
        ([1.0] * 4, "4 scales for 3 weight layers"),
        ([], "0 scales for 3 weight layers"),
        ([1.0, 0.0, 1.0], "the scale of conv2 is 0; scales must be above 0"),
        ([-1.0, 1.0, 1.0], "the scale of conv1 is -1; scales must be above 0"),
        ([1.0, 1.0, float("nan")], "the scale of output is nan"),
        ([1.0, float("inf"), 1.0], "the scale of conv2 is inf"),
        ([torch.tensor([1.0] * 11 + [0.0]), 1.0, 1.0], "the scale of conv1 is 0"),
        ([torch.ones(64), 1.0, 1.0], r"the scale of conv1 has shape \[64\]; .*\[12\]"),
        ([1.0, 1.0, torch.ones(10)], "the last scale must be one number"),
    ],
)
def test_unusable_scales_are_refused(scales, message):
    with pytest.raises(ValueError, match=message):
        normalize_weights(digit_cnn(), scales)
