"""Causes of lost accuracy named, and what would help."""

import copy
import math

import pytest
import torch
from nets import deep_cnn, random_images, scaled
from torch import nn

from snnlib import (
    ConstantEncoder,
    ConversionError,
    Digits,
    PoissonEncoder,
    activation_scales,
    convert,
    diagnose,
    digit_cnn,
    evaluate,
    normalize_weights,
    simulate,
    weight_scales,
)
from snnlib.study import diagnosis as module
from snnlib.study.diagnosis import FIXES
from snnlib.study.experiments import PIECES, error_pieces

NONE = {"percentiles": ()}


# ---- causes


def spoiled_weights(cnn, train):
    snn = scaled(cnn, train.images)
    snn.layers[0].synapse[0].weight[3] = 0
    return snn


def spoiled_scale(cnn, train):
    scales = activation_scales(cnn, train.images, percentile=99.9, channelwise=True)
    scales[0][3] *= 1000
    return convert(cnn, thresholds=scales)


SPOILED = {  # a network, its number of steps, its encoder, and what is wrong with it
    "small": (lambda c, t: scaled(c, t.images, 0.2), 16, ConstantEncoder(), "scales too small"),
    "none": (lambda c, t: convert(c), 16, ConstantEncoder(), "scales too small"),
    "large": (lambda c, t: scaled(c, t.images, 8), 16, ConstantEncoder(), "scales too large"),
    "model": (
        lambda c, t: convert(c, thresholds=weight_scales(c)),
        16,
        ConstantEncoder(),
        "scales too large",
    ),
    "dead weights": (spoiled_weights, 16, ConstantEncoder(), "dead channel"),
    "dead scale": (spoiled_scale, 16, ConstantEncoder(), "dead channel"),
    "one step": (lambda c, t: scaled(c, t.images), 1, ConstantEncoder(), "too few steps"),
    "few steps": (lambda c, t: scaled(c, t.images), 3, ConstantEncoder(), "too few steps"),
    "noise": (lambda c, t: scaled(c, t.images), 8, PoissonEncoder(0.4), "input noise"),
    "zero": (
        lambda c, t: scaled(c, t.images, reset="zero"),
        32,
        ConstantEncoder(),
        "reset to zero",
    ),
    "good": (lambda c, t: scaled(c, t.images), 64, ConstantEncoder(), "nothing"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_the_cause_is_named(cnn, train, digits, name):
    spoil, steps, encoder, cause = SPOILED[name]
    found = diagnose(cnn, spoil(cnn, train), digits.images, steps, encoder=encoder, **NONE)
    assert found.cause == cause
    assert found.piece == found.layers[-1].largest
    assert f"cause: {cause} ({FIXES[cause]})" in str(found)


@pytest.mark.parametrize("spoil", [spoiled_weights, spoiled_scale])
def test_a_channel_that_fell_silent_is_found(cnn, train, digits, spoil):
    found = diagnose(cnn, spoil(cnn, train), digits.images, 16, **NONE)
    assert found["conv1"].lost == (3,)
    assert "lost channels: 3" in str(found)


def test_many_layers_make_spikes_uneven():
    cnn, images = deep_cnn(), random_images(0, 40, (1, 16, 16))
    scales = activation_scales(cnn, images, percentile=99.9)
    snn = convert(cnn, thresholds=scales, input_shape=(1, 16, 16))
    found = diagnose(cnn, snn, images, 12, **NONE)
    assert (found.piece, found.cause) == ("unevenness", "uneven timing")


def test_one_huge_weight_leaves_the_others_coarse(cnn, train, digits):
    cnn = copy.deepcopy(cnn)
    cnn.conv1.weight.data[5] = -1  # silent, so that what follows changes nothing in the CNN
    cnn.conv2.weight.data[0, 5, 0, 0] = 3000
    found = diagnose(cnn, scaled(cnn, train.images), digits.images, 64, **NONE)
    assert (found.piece, found.cause) == ("rounding", "rounded weights")


def test_a_channel_that_the_cnn_does_not_use_is_dead_but_not_lost(train, digits, cnn):
    cnn = nn.Sequential(*digit_cnn(seed=1))
    cnn[0].weight.data[5] = -1
    found = diagnose(cnn, scaled(cnn, train.images), digits.images, 16, **NONE)
    assert (found["0"].dead, found["0"].lost) == ((5,), ())


def test_saturated_channels_have_a_tenth_of_their_activations_above_one(cnn, train, digits):
    found = diagnose(cnn, scaled(cnn, train.images, 0.3), digits.images, 4, **NONE)
    errors = error_pieces(cnn, scaled(cnn, train.images, 0.3), digits.images, 1)
    active = errors["conv1"].activation.transpose(0, 1).flatten(1)
    share = (active > 1).sum(1) / (active > 0).sum(1)
    assert found["conv1"].saturated == tuple((share > 0.1).nonzero().flatten().tolist())
    assert 0 < len(found["conv1"].saturated) < 12


# ---- what is reported


def test_a_layer_is_summed_up_over_all_batches(cnn, train, digits, monkeypatch):
    snn, images = scaled(cnn, train.images), digits.images[:25]
    encoder = PoissonEncoder(1.0)
    monkeypatch.setattr(module, "BATCH", 10)
    found = diagnose(cnn, snn, images, 4, encoder=encoder, **NONE)
    for name, whole in error_pieces(cnn, snn, images, 4, encoder=encoder).items():
        layer, pairs = found[name], torch.stack([whole.rate.flatten(), whole.activation.flatten()])
        assert layer.neurons == whole.rate[0].numel()
        assert layer.correlation == pytest.approx(torch.corrcoef(pairs)[0, 1].item())
        assert layer.activation == pytest.approx(whole.activation.square().mean().sqrt().item())
        for piece, error in {"error": whole.error, **whole.pieces}.items():
            reported = layer.error if piece == "error" else layer.pieces[piece]
            assert reported.mean == pytest.approx(error.mean().item(), abs=1e-12)
            assert reported.rms == pytest.approx(error.square().mean().sqrt().item(), abs=1e-12)
        assert sum(p.mean for p in layer.pieces.values()) == pytest.approx(layer.error.mean)
        assert sum(p.share for p in layer.pieces.values()) == pytest.approx(1)


def test_channels_count_as_they_do_for_the_cnn(cnn, train, digits):
    """Two networks with the same spikes: one has a scale a layer, one that scale a channel."""
    scales = activation_scales(cnn, train.images, percentile=99.0)
    split = [s.expand(c).clone() for s, c in zip(scales, (12, 64), strict=False)] + scales[2:]
    a, b = (
        diagnose(cnn, convert(cnn, thresholds=s), digits.images[:20], 8, **NONE)
        for s in (scales, split)
    )
    for one, other in zip(a.layers, b.layers, strict=True):
        assert one.error.rms == pytest.approx(other.error.rms, rel=1e-2)


def test_agreement_is_that_of_decisions(cnn, train, digits):
    snn = scaled(cnn, train.images)
    found = diagnose(cnn, snn, digits.images, 1, **NONE)
    same = Digits(digits.images, evaluate(cnn, digits).predictions)
    result = simulate(snn, same, steps=1, encoder=ConstantEncoder())
    assert found.agreement == pytest.approx(result.accuracy[0].item())


@pytest.mark.parametrize("readout", ["potential", "spikes"])
def test_the_suggestion_comes_with_measured_evidence(cnn, train, digits, readout):
    options = {"reset": "zero", "pooling": "spiking", "readout": readout, "initial_potential": 0.25}
    snn, images = scaled(cnn, train.images, 3, **options), digits.images[::2]
    found = diagnose(cnn, snn, images, 3, percentiles=(90.0, 100.0)).suggestion
    assert list(found.evidence) == [90.0, 100.0]
    assert list(found.evidence[90.0]) == [1, 2, 3, 4, 8, 16, 32, 64]
    other = convert(cnn, thresholds=activation_scales(cnn, images, percentile=90.0), **options)
    target = Digits(images, evaluate(cnn, digits[::2]).predictions)
    accuracy = simulate(other, target, steps=64, encoder=ConstantEncoder()).accuracy
    for steps, measured in found.evidence[90.0].items():
        assert measured == pytest.approx(accuracy[steps - 1].item())
    assert found.evidence[found.percentile][3] == max(row[3] for row in found.evidence.values())
    best = max(found.evidence[found.percentile].values())
    assert found.evidence[found.percentile][found.steps] >= best - 0.005


def test_more_steps_than_usual_can_be_diagnosed(train, digits, cnn):
    found = diagnose(cnn, scaled(cnn, train.images), digits.images[:3], 200, percentiles=(99.9,))
    assert list(found.suggestion.evidence[99.9]) == [1, 2, 4, 8, 16, 32, 64, 128, 200]


def test_a_rate_that_never_changes_has_no_correlation(cnn, train, digits):
    found = diagnose(cnn, scaled(cnn, train.images, 1000), digits.images[:5], 2, **NONE)
    assert math.isnan(found["conv2"].correlation)
    assert found.cause == "scales too large"


def test_the_networks_are_left_as_they_were(cnn, train, digits):
    snn = scaled(cnn, train.images, reset="zero")
    before = {name: x.clone() for name, x in {**cnn.state_dict(), **snn.state_dict()}.items()}
    diagnose(cnn, snn, digits.images[:5], 2, percentiles=(99.0,))
    after = {**cnn.state_dict(), **snn.state_dict()}
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(layer.v is None for layer in snn.layers)
    assert [layer.neuron.reset_rule for layer in snn.layers[:-1]] == ["zero", "zero"]


def test_a_table_names_every_layer_and_piece(cnn, train, digits):
    snn = scaled(cnn, train.images, reset="zero")
    text = str(diagnose(cnn, snn, digits.images[:10], 3, encoder=PoissonEncoder(1.0)))
    for name in ("conv1", "conv2", "output", *PIECES, "correlation", "suggested", "T=64"):
        assert name in text


# ---- bad input


def no_channel(images):
    return images[:, 0]


BAD_IMAGES = {
    "no channel": (no_channel, ValueError, r"images have shape \[28, 28\]"),
    "empty": (lambda images: images[:0], ValueError, "empty"),
    "other size": (lambda images: images[..., :20, :20], ValueError, r"images have shape"),
    "nan": (lambda images: images * torch.nan, ValueError, "NaN"),
    "beyond": (lambda images: images * 2, ValueError, "rates need"),
    "bytes": (lambda images: (images * 255).byte(), TypeError, "float32"),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_unusable_images_are_refused(cnn, snn_of, few, name):
    spoil, error, message = BAD_IMAGES[name]
    with pytest.raises(error, match=message):
        diagnose(cnn, snn_of, spoil(few), 4)


@pytest.fixture(scope="module")
def snn_of(cnn, train):
    return scaled(cnn, train.images)


def renamed(cnn):
    return nn.Sequential(*cnn)


def with_other_weights(cnn):
    return digit_cnn(seed=5)


STRANGERS = {
    "names": (renamed, "the CNN has the layers 0, 3, 7"),
    "weights": (with_other_weights, "conv1 computes something else"),
    "balanced": (
        lambda cnn: normalize_weights(cnn, [torch.tensor(2.0)] * 3),
        "conv1 computes something else",
    ),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_networks_that_do_not_belong_together_are_refused(cnn, snn_of, few, name):
    other, message = STRANGERS[name]
    with pytest.raises(ValueError, match="do not belong together") as raised:
        diagnose(other(cnn), snn_of, few, 4)
    assert message in str(raised.value)


def test_a_network_of_another_shape_is_refused(snn_of, few):
    layers = [nn.Flatten(), nn.Linear(784, 10, bias=False)]
    with pytest.raises(ValueError, match="do not belong together"):
        diagnose(nn.Sequential(*layers), snn_of, few, 4)


def test_a_network_that_cannot_be_converted_is_refused(snn_of, few):
    with pytest.raises(ConversionError, match="Sigmoid"):
        diagnose(nn.Sequential(nn.Flatten(), nn.Sigmoid(), nn.Linear(784, 10)), snn_of, few, 4)


@pytest.mark.parametrize("steps", [0, -1, 1.5])
def test_another_number_of_steps_is_refused(cnn, snn_of, few, steps):
    with pytest.raises(ValueError, match="steps is"):
        diagnose(cnn, snn_of, few, steps)


def test_an_encoder_that_does_not_say_its_gain_is_refused(cnn, snn_of, few):
    class Other:
        constant = False

        def stream(self, images, index=None):
            return lambda step: images.round()

    with pytest.raises(ValueError, match="encoder is a Other, which does not say"):
        diagnose(cnn, snn_of, few, 4, encoder=Other())


def test_darkened_images_are_decided_as_bright_ones_by_a_network_with_biases():
    cnn, images = deep_cnn(), random_images(0, 40, (1, 8, 8))
    scales = activation_scales(cnn, images)
    snn = convert(cnn, thresholds=scales, input_shape=(1, 8, 8))
    for encoder in (ConstantEncoder(), PoissonEncoder(0.4), PoissonEncoder(0.1)):
        found = diagnose(cnn, snn, images, 2, encoder=encoder, **NONE)
        bright = error_pieces(cnn, snn, images, 2)
        dark = error_pieces(cnn, snn, images, 2, encoder=encoder)
        for name, errors in dark.items():
            expected = bright[name].activation * encoder.gain
            torch.testing.assert_close(errors.activation, expected, atol=1e-6, rtol=1e-5)
        assert found.images == 40


@pytest.mark.parametrize("percentile", [0.0, 101.0])
def test_a_percentile_out_of_range_is_refused(cnn, snn_of, few, percentile):
    with pytest.raises(ValueError, match="percentile"):
        diagnose(cnn, snn_of, few, 2, percentiles=(percentile,))


def test_images_that_silence_a_layer_are_refused(cnn, snn_of):
    with pytest.raises(ValueError, match="is dead"):
        diagnose(cnn, snn_of, torch.zeros(2, 1, 28, 28), 2)
