"""Errors split into pieces that sum to them, and causes named."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import any_cnns, deep_cnn, random_images, tiny_cnn
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
    record,
    simulate,
    weight_scales,
)
from snnlib.study import diagnosis as module
from snnlib.study.diagnosis import FIXES
from snnlib.study.experiments import PIECES, error_pieces

EXACT = 1e-14  # of pieces that sum to the error, relative to the largest activation or 1
NONE = {"percentiles": ()}


def scaled(cnn, images, factor=1.0, **options):
    """Converted with 99.9th percentiles times a factor."""
    scales = activation_scales(cnn, images, percentile=99.9)
    return convert(cnn, thresholds=[s * factor for s in scales], **options)


def worst(errors):
    """By how much the pieces of any neuron miss its error."""
    return max((sum(e.pieces.values()) - e.error).abs().max().item() for e in errors.values())


@pytest.fixture(scope="module")
def few(digits):
    return digits.images[::10]


@pytest.fixture(scope="module")
def pieces(cnn, train, few):
    """Of 5 steps of the shipped network."""
    return error_pieces(cnn, scaled(cnn, train.images), few, 5)


# ---- the sum


@settings(max_examples=30)
@given(
    any_cnns(),
    st.sampled_from(["subtract", "zero"]),
    st.sampled_from(["linear", "spiking"]),
    st.sampled_from(["potential", "spikes"]),
    st.sampled_from([ConstantEncoder(), PoissonEncoder(1.0)]),
    st.integers(1, 9),
)
def test_the_pieces_of_any_network_sum_to_its_error(drawn, reset, pooling, readout, encoder, steps):
    cnn, shape = drawn
    options = {"reset": reset, "pooling": pooling, "readout": readout, "input_shape": shape}
    snn, images = convert(cnn, **options), random_images(1, 3, shape)
    errors = error_pieces(cnn, snn, images, steps, encoder=encoder)
    assert list(errors) == [layer.name for layer in snn.layers]
    assert all(list(e.pieces) == list(PIECES) for e in errors.values())
    size = max(e.activation.abs().max().item() for e in errors.values())
    assert worst(errors) <= EXACT * (1 + size)


@pytest.mark.parametrize("channelwise", [False, True])
@pytest.mark.parametrize("max_pooling", ["exact", "gate", "or"])
def test_a_deep_network_s_pieces_sum_too_with_scales_of_any_kind(channelwise, max_pooling):
    cnn, images = deep_cnn(), random_images(2, 4, (1, 8, 8))
    scales = activation_scales(cnn, images, channelwise=channelwise)
    options = {"max_pooling": max_pooling, "input_shape": (1, 8, 8)}
    errors = error_pieces(cnn, convert(cnn, thresholds=scales, **options), images, 7)
    assert worst(errors) <= EXACT


def test_the_rates_are_those_of_the_spiking_network(cnn, train, few):
    snn, encoder = scaled(cnn, train.images), PoissonEncoder(0.7, seed=3)
    errors = error_pieces(cnn, snn, few, 6, encoder=encoder, index=torch.arange(5, 5 + len(few)))
    for i, image in enumerate(few):
        recording = record(snn, image, steps=6, encoder=encoder, index=5 + i)
        for name, spikes in recording.spikes.items():
            assert torch.equal(errors[name].rate[i], spikes.double().mean(0))


def test_the_activations_are_those_of_the_cnn(cnn, train, few):
    scales = activation_scales(cnn, train.images, percentile=99.9)
    errors = error_pieces(cnn, convert(cnn, thresholds=scales), few, 2)
    for name, upto, scale in zip(("conv1", "conv2", "output"), (2, 5, 8), scales, strict=True):
        expected = cnn[:upto](few) / scale
        torch.testing.assert_close(errors[name].activation.float(), expected, atol=1e-5, rtol=1e-5)


def test_the_rate_of_an_output_that_accumulates_approaches_its_activation(cnn, train, few):
    output = error_pieces(cnn, scaled(cnn, train.images), few, 64)["output"]
    assert output.error.abs().max() < 0.05 * output.activation.abs().max()


# ---- each piece is one cause


def test_a_network_without_a_cause_has_no_such_piece(pieces):
    for layer in pieces.values():
        assert not layer.pieces["reset"].any()  # it subtracts
        assert not layer.pieces["noise"].any()  # its input is constant
    assert not pieces["conv1"].pieces["unevenness"].any()
    assert pieces["conv2"].pieces["unevenness"].any()


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_one_step_cannot_be_uneven(cnn, train, few, reset):
    errors = error_pieces(cnn, scaled(cnn, train.images, reset=reset), few, 1)
    assert not any(e.pieces["unevenness"].any() for e in errors.values())
    assert not any(e.pieces["reset"].any() for e in errors.values())


def test_scales_above_every_activation_leave_nothing_to_clip(cnn, few):
    scales = [1.01 * s for s in activation_scales(cnn, few)]
    errors = error_pieces(cnn, convert(cnn, thresholds=scales), few, 3)
    assert not any(e.pieces["clipping"].any() for e in errors.values())


def test_clipping_of_a_first_layer_is_what_exceeds_one_spike_a_step(cnn, train, few):
    conv1 = error_pieces(cnn, scaled(cnn, train.images, 0.3), few, 3)["conv1"]
    expected = conv1.activation.clamp(max=1) - conv1.activation
    torch.testing.assert_close(conv1.pieces["clipping"], expected, atol=1e-2, rtol=0)
    assert conv1.pieces["clipping"].min() < -0.5


def test_quantisation_of_a_first_layer_is_at_most_half_a_spike(pieces):
    assert pieces["conv1"].pieces["quantisation"].abs().max() <= 0.5 / 5


@pytest.mark.parametrize("piece", ["quantisation", "unevenness"])
def test_some_pieces_fall_with_the_number_of_steps(cnn, train, few, piece):
    snn = scaled(cnn, train.images)
    short, long = (error_pieces(cnn, snn, few, t)["conv2"].pieces[piece].std() for t in (4, 64))
    assert long < 0.2 * short


def test_weights_that_lie_on_the_grid_are_not_rounded():
    cnn = tiny_cnn()
    for weight in cnn.parameters():
        weight.data = (weight.data * 64).round() / 64
    errors = error_pieces(
        cnn, convert(cnn, input_shape=(1, 6, 6)), random_images(0, 3, (1, 6, 6)), 4
    )
    assert all(e.pieces["rounding"].abs().max() < 1e-3 for e in errors.values())  # of the input
    errors = error_pieces(
        cnn, convert(cnn, input_shape=(1, 6, 6)), random_images(0, 3, (1, 6, 6)).round(), 4
    )
    assert not any(e.pieces["rounding"].any() for e in errors.values())


def test_noise_is_what_random_spikes_add_to_a_constant_input(cnn, train, few):
    snn = scaled(cnn, train.images)
    noisy = error_pieces(cnn, snn, few, 5, encoder=PoissonEncoder(1.0))
    even = error_pieces(cnn, snn, few, 5)
    for name, layer in noisy.items():
        torch.testing.assert_close(layer.pieces["noise"], layer.rate - even[name].rate)


def test_reset_is_what_a_reset_to_zero_loses(cnn, train, few):
    zero = error_pieces(cnn, scaled(cnn, train.images, reset="zero"), few, 5)
    subtract = error_pieces(cnn, scaled(cnn, train.images), few, 5)
    for name, layer in zero.items():
        torch.testing.assert_close(layer.pieces["reset"], layer.rate - subtract[name].rate)


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
    "no channel": (no_channel, ValueError, "expected"),
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


def test_an_encoder_of_which_the_mean_is_not_known_is_refused(cnn, snn_of, few):
    class Other:
        constant = False

    with pytest.raises(ValueError, match="encoder is a Other"):
        diagnose(cnn, snn_of, few, 4, encoder=Other())


def test_darkened_images_are_refused_for_a_network_with_biases():
    cnn, images = deep_cnn(), random_images(0, 3, (1, 8, 8))
    snn = convert(cnn, input_shape=(1, 8, 8))
    with pytest.raises(ValueError, match=r"use PoissonEncoder\(1.0\)"):
        diagnose(cnn, snn, images, 4, encoder=PoissonEncoder(0.4))


@pytest.mark.parametrize("percentile", [0.0, 101.0])
def test_a_percentile_out_of_range_is_refused(cnn, snn_of, few, percentile):
    with pytest.raises(ValueError, match="percentile"):
        diagnose(cnn, snn_of, few, 2, percentiles=(percentile,))


def test_images_that_silence_a_layer_are_refused(cnn, snn_of):
    with pytest.raises(ValueError, match="is dead"):
        diagnose(cnn, snn_of, torch.zeros(2, 1, 28, 28), 2)
