"""Errors split into pieces that sum to them, each of one cause."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import any_cnns, deep_cnn, random_images, scaled, tiny_cnn

from snnlib import ConstantEncoder, PoissonEncoder, activation_scales, convert, record
from snnlib.study.experiments import PIECES, error_pieces

EXACT = 1e-14  # of pieces that sum to the error, relative to the largest activation or 1


def worst(errors):
    """By how much the pieces of any neuron miss its error."""
    return max((sum(e.pieces.values()) - e.error).abs().max().item() for e in errors.values())


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
