"""A spiking network computes what its CNN computes, however bright an encoder shows the image."""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from nets import any_cnns, deep_cnn, random_images, small_cnns
from sameness import assert_same
from torch import nn

from snnlib import (
    ConstantEncoder,
    Digits,
    PoissonEncoder,
    SignedEncoder,
    SpikingNetwork,
    activation_scales,
    convert,
    record,
    simulate,
)
from snnlib.spiking.encoding import LEVELS
from snnlib.spiking.gain import check_gain, gain_of

RATES = st.sampled_from([1.0, 0.7, 0.4, 0.1, 0.05])


class Dimmed:
    """Somebody's own encoder: a constant current that is darker than the image."""

    constant = True

    def __init__(self, factor, gain=None):
        self.factor = factor
        if gain is not None:
            self.gain = gain

    def stream(self, images, index=None):
        levels = (images.double() * self.factor * LEVELS).floor()
        return lambda step: (levels / LEVELS).float()


class Even:
    """Somebody's own spikes, at equal distances."""

    constant = False

    def __init__(self, rate, gain):
        self.rate, self.gain = rate, gain

    def stream(self, images, index=None):
        rates = self.rate * images.double()
        counts = lambda step: (rates * step + 0.5).floor()  # noqa: E731
        return lambda step: (counts(step + 1) - counts(step)).float()


def brightness_cnn():
    """Class 1 if the mean pixel exceeds 0.5: a decision that darkness would change."""
    cnn = nn.Sequential(
        nn.Conv2d(1, 1, 1), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(1, 2)
    )
    with torch.no_grad():
        cnn[0].weight.fill_(1.0)
        cnn[0].bias.fill_(0.0)
        cnn[4].weight.copy_(torch.tensor([[0.0], [1.0]]))
        cnn[4].bias.copy_(torch.tensor([0.5, 0.0]))
    return cnn.eval()


GREY = Digits(torch.full((20, 1, 4, 4), 0.8), torch.ones(20, dtype=torch.int64), ("dark", "bright"))


# ---- decisions


@pytest.mark.parametrize("engine", ["clock", "event"])
@pytest.mark.parametrize(
    "encoder",
    [
        PoissonEncoder(),
        PoissonEncoder(1.0),
        PoissonEncoder(0.1),
        ConstantEncoder(),
        Dimmed(0.4, 0.4),
        Even(0.3, 0.3),
        SignedEncoder(),
    ],
)
def test_a_network_with_biases_decides_as_its_cnn_for_every_encoder(engine, encoder):
    snn = convert(brightness_cnn(), input_shape=(1, 4, 4))
    result = simulate(snn, GREY, steps=400, encoder=encoder, engine=engine)
    assert result.accuracy[-1] == 1


@settings(max_examples=12)
@given(any_cnns(), RATES)
def test_any_network_decides_as_its_cnn_given_time(drawn, rate):
    """A constant current at that rate: what random spikes are on average."""
    cnn, shape = drawn
    images = random_images(3, 8, shape)
    expected = cnn(images).detach()
    try:
        scales = activation_scales(cnn, images)
    except ValueError:
        assume(False)
    snn = convert(cnn, thresholds=scales, input_shape=shape)
    data = Digits(images, expected.argmax(1), ("a", "b", "c"))
    result = simulate(snn, data, steps=round(400 / rate), encoder=Dimmed(rate, rate))
    size = max(scale.max().item() for scale in scales)
    assert (result.outputs - expected).abs().max() <= 0.05 * size
    first, second = expected.topk(2).values.T
    clear = first - second > 0.1 * size
    assert torch.equal(result.predictions[-1][clear], data.labels[clear])


@given(any_cnns(), RATES, st.integers(1, 60))
def test_rates_of_a_first_layer_are_off_by_one_spike_and_the_rounded_bias(drawn, rate, steps):
    cnn, shape = drawn
    snn = convert(cnn, input_shape=shape)
    image, encoder = random_images(0, 1, shape), Dimmed(rate, rate)
    bright = snn.input_current(ConstantEncoder().encode(image, 0))
    bright = bright if isinstance(bright, dict) else {snn.layers[0].name: bright}
    spikes = record(snn, image[0], steps=steps, encoder=encoder).spikes
    for layer in snn.layers:
        if set(layer.sources) == {"input"} and layer.name in spikes:
            expected = (rate * bright[layer.name][0]).clamp(0, 1)
            gap = (spikes[layer.name].mean(0) - expected).abs().max()
            assert gap <= 1 / steps + 3 * 2.0**-layer.fraction_bits + 1e-5


@settings(max_examples=15)
@given(any_cnns(), st.sampled_from([0.8, 0.4, 0.05]), st.sampled_from(["potential", "spikes"]))
def test_both_engines_and_a_recording_give_the_same_with_biases_at_any_rate(drawn, rate, readout):
    cnn, shape = drawn
    snn = convert(cnn, input_shape=shape, readout=readout)
    images = random_images(1, 5, shape)
    for encoder in (PoissonEncoder(rate, seed=3), Dimmed(rate, rate)):
        assert_same(snn, images, steps=12, encoder=encoder)
        data = Digits(images, torch.zeros(5, dtype=torch.int64), ("a", "b", "c"))
        result = simulate(snn, data, steps=12, encoder=encoder)
        for i, image in enumerate(images):
            recorded = record(snn, image, steps=12, encoder=encoder, index=i)
            assert torch.equal(recorded.decisions, result.predictions[:, i])


# ---- the scaled network


@given(any_cnns(), st.floats(0.05, 3))
def test_scaled_biases_are_the_nearest_on_the_grid(drawn, gain):
    cnn, shape = drawn
    snn = convert(cnn, input_shape=shape)
    dark = snn.at_gain(gain)
    for before, after in zip(snn.layers, dark.layers, strict=True):
        assert all(
            torch.equal(p, q) for p, q in zip(before.parameters(), after.parameters(), strict=True)
        )
        if before.bias is not None:
            units = after.bias.double() * 2.0**after.fraction_bits
            assert torch.equal(units, units.round())
            exact = before.bias.double() * gain * 2.0**after.fraction_bits
            assert (units - exact).abs().max() <= 0.5
    assert dark.at_gain(gain) is dark


@given(small_cnns(), RATES)
def test_a_network_without_biases_is_shown_as_it_is(drawn, rate):
    cnn, shape = drawn
    snn = convert(cnn, input_shape=shape)
    assert snn.at_gain(rate) is snn
    assert snn.seeing(PoissonEncoder(rate)) is snn


def test_a_network_is_left_as_it_was_and_scaled_but_once():
    snn = convert(brightness_cnn(), input_shape=(1, 4, 4))
    before = snn.layers[1].bias.clone()
    dark = snn.seeing(PoissonEncoder(0.4))
    assert torch.equal(snn.layers[1].bias, before)
    assert dark.seeing(PoissonEncoder(0.4)) is dark
    torch.testing.assert_close(dark.layers[1].bias, 0.4 * before, atol=2e-4, rtol=0)
    again = simulate(dark, GREY, steps=300, encoder=PoissonEncoder(0.4))
    first = simulate(snn, GREY, steps=300, encoder=PoissonEncoder(0.4))
    assert torch.equal(again.outputs, first.outputs)


def test_a_saved_network_knows_its_gain(tmp_path):
    dark = convert(brightness_cnn(), input_shape=(1, 4, 4)).at_gain(0.4)
    dark.save(tmp_path / "dark.safetensors")
    loaded = SpikingNetwork.load(tmp_path / "dark.safetensors")
    assert loaded.gain == 0.4
    assert torch.equal(loaded.layers[1].bias, dark.layers[1].bias)


def test_exact_steps_count_what_a_larger_gain_and_span_add():
    snn = convert(deep_cnn(0), input_shape=(1, 8, 8))
    assert snn.at_gain(3.0).exact_steps <= snn.exact_steps
    wide = snn.seeing(SignedEncoder(8.0))
    first = wide.layers[0]
    weight = first.weight.double().abs().flatten(1).sum(1)
    assert first.largest_current >= 8 * weight.max().item() * 2.0**first.fraction_bits


def test_a_grid_too_coarse_for_the_biases_is_refused_and_a_higher_rate_is_the_fix():
    cnn = brightness_cnn()
    cnn[4].bias.data = torch.tensor([0.51, 0.0])
    snn = convert(cnn, input_shape=(1, 4, 4))
    with pytest.raises(
        ValueError, match=r"biases of 4 times 0.0001 fall between .*higher max_rate"
    ):
        simulate(snn, GREY, encoder=PoissonEncoder(0.0001))
    simulate(snn, GREY, steps=2, encoder=PoissonEncoder(0.05))


@pytest.mark.parametrize("gain", [0.0, -1.0, math.inf, math.nan])
def test_another_gain_is_refused(gain):
    snn = convert(brightness_cnn(), input_shape=(1, 4, 4))
    with pytest.raises(ValueError, match="give a factor above 0"):
        snn.at_gain(gain)
    with pytest.raises(ValueError, match="give a factor above 0"):
        gain_of(Dimmed(1.0, gain))


# ---- encoders of a user's own


def test_an_encoder_that_does_not_say_its_gain_is_refused_for_biases_alone():
    snn = convert(brightness_cnn(), input_shape=(1, 4, 4))
    fix = "encoder is a Dimmed, which does not say .* give it `gain = 1.0`"
    for run in (
        lambda encoder: simulate(snn, GREY, encoder=encoder),
        lambda encoder: record(snn, GREY.images[0], encoder=encoder),
    ):
        with pytest.raises(ValueError, match=fix):
            run(Dimmed(0.4))
        run(Dimmed(0.4, gain=0.4))


def test_without_biases_it_may_say_nothing_and_there_are_no_outputs(snn, digits):
    result = simulate(snn, digits[:5], steps=3, encoder=Dimmed(0.4))
    assert result.outputs.isnan().all()
    told = simulate(snn, digits[:5], steps=3, encoder=Dimmed(0.4, 0.4))
    assert torch.equal(told.predictions, result.predictions)
    assert told.outputs.isfinite().all()


@pytest.mark.parametrize("liar", [Dimmed(0.4, 1.0), Dimmed(1.0, 0.9), Even(0.4, 1.0), Even(1, 0.5)])
def test_an_encoder_that_lies_about_its_gain_is_caught(liar, digits):
    snn = convert(brightness_cnn(), input_shape=(1, 4, 4))
    for run in (
        lambda: simulate(snn, GREY, encoder=liar),
        lambda: record(snn, GREY.images[0], encoder=liar),
    ):
        with pytest.raises(ValueError, match=r"says that its gain is .*give it the gain"):
            run()
    with pytest.raises(ValueError, match="says that its gain is"):
        check_gain(liar, digits.images)


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("rate", [1.0, 0.4, 0.02])
def test_an_honest_encoder_is_not_taken_for_a_liar(seed, rate, digits):
    class Mine(PoissonEncoder):
        pass

    check_gain(Mine(rate, seed), digits.images[seed:])
    check_gain(Mine(rate, seed), torch.rand(1, 1, 1, 2))
    check_gain(Even(rate, rate), digits.images[seed:])


@pytest.mark.parametrize("encoder", [PoissonEncoder(0.4), ConstantEncoder(), SignedEncoder(2.0)])
def test_the_library_s_encoders_are_honest(encoder, digits):
    shown = sum(encoder.encode(digits.images, step).double() for step in range(200)) / 200
    images = digits.images.double()
    assert (shown * images).sum() / (images * images).sum() == pytest.approx(encoder.gain, rel=5e-3)


@pytest.mark.parametrize("encoder", [0.4, None, "poisson", PoissonEncoder, object()])
def test_what_is_no_encoder_gets_a_sentence(snn, digits, encoder):
    for run in (
        lambda: simulate(snn, digits, encoder=encoder),
        lambda: record(snn, digits.images[0], encoder=encoder),
    ):
        with pytest.raises(TypeError, match=r"encoder is .*; give PoissonEncoder\(0.4\)"):
            run()


# ---- signed images


@settings(max_examples=20)
@given(any_cnns(), st.sampled_from([2.0, 4.0, 30.0]))
def test_signed_images_give_the_same_in_both_engines_and_every_batch(drawn, limit):
    cnn, shape = drawn
    snn = convert(cnn, input_shape=shape)
    images = (random_images(0, 6, shape) - 0.5) * 2 * limit
    assert_same(snn, images, steps=8, encoder=SignedEncoder(limit))


def test_signed_images_are_decided_as_the_cnn_does():
    cnn = deep_cnn(3)
    images = 4 * random_images(0, 60, (1, 16, 16)) - 2
    cnn(images)
    scales = activation_scales(cnn, images)
    snn = convert(cnn, thresholds=scales, input_shape=(1, 16, 16))
    data = torch.utils.data.TensorDataset(images, cnn(images).argmax(1))
    result = simulate(snn, data, steps=300, encoder=SignedEncoder())
    assert result.accuracy[-1] >= 0.98


def test_what_exceeds_the_limit_is_refused_and_a_higher_limit_is_the_fix():
    snn = convert(brightness_cnn(), input_shape=(1, 4, 4))
    image = torch.full((1, 4, 4), -5.0)
    with pytest.raises(ValueError, match=r"takes \[-4, 4\]: raise its limit"):
        record(snn, image, steps=2, encoder=SignedEncoder())
    record(snn, image, steps=2, encoder=SignedEncoder(5.0))
    with pytest.raises(ValueError, match="smaller span"):
        record(snn, image, steps=2, encoder=SignedEncoder(1e6))


@pytest.mark.parametrize("limit", [0.0, -1.0, math.inf, math.nan])
def test_another_limit_is_refused(limit):
    with pytest.raises(ValueError, match=r"limit is .*above 0"):
        SignedEncoder(limit)


def test_an_input_outside_of_what_an_encoder_says_is_refused():
    snn = convert(brightness_cnn(), input_shape=(1, 4, 4))
    for engine in ("clock", "event"):
        with pytest.raises(ValueError, match=r"input spans \[1.6, 1.6\], not \[0, 1\].*`span"):
            simulate(snn, GREY, encoder=Dimmed(2.0, 2.0), engine=engine)
    bright = Dimmed(2.0, 2.0)
    bright.span = (0.0, 2.0)
    snn = convert(brightness_cnn(), thresholds=2.0, input_shape=(1, 4, 4))
    assert simulate(snn, GREY, steps=100, encoder=bright).accuracy[-1] == 1


def test_a_ceiling_needs_an_image_at_full_brightness(tmp_path):
    """One spike a step stands for the ceiling, which a darker image would not reach."""
    torch.manual_seed(0)
    cnn = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU6(), nn.Flatten(), nn.Linear(144, 2)).eval()
    images = torch.rand(20, 1, 8, 8)
    with torch.no_grad():
        cnn[0].weight *= 20
        data = Digits(images, cnn(images).argmax(1), ("a", "b"))
    scales = activation_scales(cnn, images)
    snn = convert(cnn, thresholds=scales, input_shape=(1, 8, 8))
    snn.save(tmp_path / "clipped.safetensors")
    for network in (snn, SpikingNetwork.load(tmp_path / "clipped.safetensors")):
        with pytest.raises(ValueError, match=r"ReLU with a ceiling.*PoissonEncoder\(1.0\)"):
            simulate(network, data, encoder=PoissonEncoder(0.4))
        for encoder in (ConstantEncoder(), PoissonEncoder(1.0)):
            assert simulate(network, data, steps=400, encoder=encoder).accuracy[-1] == 1.0
