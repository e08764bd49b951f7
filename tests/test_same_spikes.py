"""One network and input give the same spikes, however they are computed."""

import numpy as np
import pytest
import reference
import torch
from hypothesis import given
from hypothesis import strategies as st
from nets import random_images, small_cnns
from sameness import ENCODERS, OPTIONS, falling_network, same_result, three_classes

from snnlib import (
    ConstantEncoder,
    PoissonEncoder,
    SpikingNetwork,
    convert,
    load_digits,
    record,
    simulate,
)
from snnlib.engines import clock


def inputs_of(encoder, images, steps):
    """[T, N, C, H, W] whole numbers, from the reference's own encoders."""
    pixels = images.numpy()
    if encoder.constant:
        return [reference.pixel_levels(pixels)] * steps
    index = range(len(pixels))
    return [
        reference.poisson_spikes(pixels, encoder.max_rate, encoder.seed, index, step)
        for step in range(steps)
    ]


def reference_run(cnn, snn, images, encoder, steps, **options):
    bits = [layer.fraction_bits for layer in snn.layers]
    initial = options.pop("initial_potential")
    layers = reference.integer_layers(cnn, bits, initial=initial, **options)
    return reference.simulate(layers, inputs_of(encoder, images, steps), constant=encoder.constant)


def outputs_of(snn, images, *, steps, encoder, index=None):
    """The engine's StepOutputs for one batch."""
    index = torch.arange(len(images)) if index is None else index
    return list(clock.prepare(snn, steps=steps, encoder=encoder)(images, index))


@given(small_cnns(), OPTIONS, ENCODERS, st.sampled_from([1.0, 0.7]))
def test_simulation_equals_the_integer_reference(drawn, options, encoder, threshold):
    cnn, shape = drawn
    images, steps = random_images(0, 4, shape), 8
    snn = convert(cnn, thresholds=threshold, input_shape=shape, **options)
    result = simulate(snn, three_classes(images), steps=steps, encoder=encoder)
    expected = reference_run(cnn, snn, images, encoder, steps, threshold=threshold, **options)
    names = ["input", *(layer.name for layer in snn.layers)]
    for name, spikes in zip(names, expected.spikes, strict=True):
        if name in result.spike_counts:
            assert result.spike_counts[name].tolist() == [int(x.sum()) for x in spikes]
    assert result.synaptic_operations.tolist() == expected.operations
    assert result.predictions.tolist() == reference.decisions(expected, snn.readout)


@given(small_cnns(), OPTIONS, ENCODERS)
def test_every_output_potential_equals_the_integer_reference(drawn, options, encoder):
    cnn, shape = drawn
    images, steps = random_images(1, 4, shape), 8
    snn = convert(cnn, input_shape=shape, **options)
    expected = reference_run(cnn, snn, images, encoder, steps, threshold=1.0, **options)
    units = 2.0 ** snn.layers[-1].fraction_bits
    for step, output in enumerate(outputs_of(snn, images, steps=steps, encoder=encoder)):
        assert np.array_equal(output.potential.numpy() * units, expected.potential[step])
        assert np.array_equal(output.counts.expand(-1, 3), expected.counts[step])


@given(small_cnns(), OPTIONS, ENCODERS)
def test_every_recorded_spike_equals_the_integer_reference(drawn, options, encoder):
    cnn, shape = drawn
    images, steps = random_images(2, 1, shape), 8
    snn = convert(cnn, input_shape=shape, **options)
    expected = reference_run(cnn, snn, images, encoder, steps, threshold=1.0, **options)
    recording = record(snn, images[0], steps=steps, encoder=encoder)
    for layer, spikes in zip(snn.layers, expected.spikes[1:], strict=True):
        if layer.spiking:
            assert np.array_equal(recording.spikes[layer.name], np.stack(spikes)[:, 0])


def settings_of(snn, example_snn):
    return (
        (snn, PoissonEncoder(0.4)),
        (snn, ConstantEncoder()),
        (example_snn, PoissonEncoder(1.0)),
    )


def everything(snn, images, *, steps, encoder, index=None):
    """Output potentials and spike counts of every step, and all spikes and operations."""
    outputs = outputs_of(snn, images, steps=steps, encoder=encoder, index=index)
    potentials = torch.stack([output.potential for output in outputs])
    counts = torch.stack([output.counts.expand_as(output.potential) for output in outputs])
    return potentials, counts, [(out.spikes, out.synaptic_operations) for out in outputs]


@pytest.mark.parametrize("place", range(3))
def test_the_batch_size_changes_nothing(snn, example_snn, place):
    network, encoder = settings_of(snn, example_snn)[place]
    digits = load_digits("test", per_class=51)
    at_once = simulate(network, digits, steps=4, encoder=encoder, batch_size=510)
    for batch_size in (7, 500):
        parts = simulate(network, digits, steps=4, encoder=encoder, batch_size=batch_size)
        assert same_result(parts, at_once)


@pytest.mark.parametrize("place", range(3))
def test_one_image_at_a_time_gives_what_all_at_once_give(snn, example_snn, place, digits):
    network, encoder = settings_of(snn, example_snn)[place]
    at_once = simulate(network, digits, steps=8, encoder=encoder, batch_size=500)
    one_by_one = simulate(network, digits, steps=8, encoder=encoder, batch_size=1)
    assert same_result(one_by_one, at_once)


def test_the_number_of_threads_changes_nothing(snn, example_snn, digits):
    for network, encoder in settings_of(snn, example_snn):
        torch.set_num_threads(1)
        one = everything(network, digits.images, steps=8, encoder=encoder)
        torch.set_num_threads(2)
        two = everything(network, digits.images, steps=8, encoder=encoder)
        assert torch.equal(one[0], two[0])
        assert torch.equal(one[1], two[1])
        assert one[2] == two[2]


def test_the_order_of_images_changes_nothing_if_the_index_follows(snn, example_snn, digits):
    order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(0))
    for network, encoder in settings_of(snn, example_snn):
        kept = everything(network, digits.images, steps=8, encoder=encoder)
        moved = everything(network, digits.images[order], steps=8, encoder=encoder, index=order)
        assert torch.equal(moved[0], kept[0][:, order])
        assert torch.equal(moved[1], kept[1][:, order])
        assert moved[2] == kept[2]


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("batch_size", [1, 7, 50])
def test_no_potential_depends_on_the_batch(snn, example_snn, place, batch_size, digits):
    network, encoder = settings_of(snn, example_snn)[place]
    at_once = everything(network, digits.images, steps=4, encoder=encoder)[0]
    for index in torch.arange(len(digits)).split(batch_size):
        images = digits.images[index]
        batch = everything(network, images, steps=4, encoder=encoder, index=index)[0]
        assert torch.equal(batch, at_once[:, index])


def test_a_wide_copy_changes_nothing(snn, example_snn, digits):
    for network, encoder in settings_of(snn, example_snn):
        narrow = simulate(network, digits, steps=8, encoder=encoder)
        assert same_result(simulate(network.wide(), digits, steps=8, encoder=encoder), narrow)


def test_saving_and_loading_changes_nothing(snn, example_snn, digits, tmp_path):
    for network, encoder in settings_of(snn, example_snn):
        network.save(tmp_path / "snn.safetensors")
        loaded = SpikingNetwork.load(tmp_path / "snn.safetensors")
        first = simulate(network, digits, steps=8, encoder=encoder)
        assert same_result(simulate(loaded, digits, steps=8, encoder=encoder), first)


def test_a_lower_matmul_precision_changes_nothing(snn, digits):
    full = everything(snn, digits.images, steps=8, encoder=ConstantEncoder())
    recorded = record(snn, digits.images[0], steps=8)
    torch.set_float32_matmul_precision("medium")
    low = everything(snn, digits.images, steps=8, encoder=ConstantEncoder())
    assert torch.equal(low[0], full[0])
    assert torch.get_float32_matmul_precision() == "medium"
    for name, v in record(snn, digits.images[0], steps=8).potentials.items():
        assert torch.equal(v, recorded.potentials[name])


def test_a_lower_matmul_precision_is_lifted_while_steps_are_computed(snn, digits):
    seen = []
    snn.layers[-1].register_forward_hook(
        lambda *_: seen.append(torch.backends.mkldnn.matmul.fp32_precision)
    )
    torch.set_float32_matmul_precision("medium")
    simulate(snn, digits[:2], steps=2, engine="clock")
    record(snn, digits.images[0], steps=2)
    assert seen == ["ieee"] * 4


def test_simulating_twice_gives_the_same(snn, digits):
    first = simulate(snn, digits, steps=5)
    snn.step(digits.images.round())  # what is left over must not matter
    assert same_result(simulate(snn, digits, steps=5), first)


def test_another_seed_gives_other_spikes(snn, digits):
    first = simulate(snn, digits, steps=5, encoder=PoissonEncoder(seed=0))
    other = simulate(snn, digits, steps=5, encoder=PoissonEncoder(seed=1))
    assert not torch.equal(first.spike_counts["input"], other.spike_counts["input"])


def test_fewer_steps_are_the_beginning_of_more_steps(snn, digits):
    long, short = (simulate(snn, digits, steps=steps) for steps in (8, 3))
    assert torch.equal(short.predictions, long.predictions[:3])
    assert torch.equal(short.synaptic_operations, long.synaptic_operations[:3])


# ---- beyond the steps that float32 holds


def test_simulation_goes_on_beyond_the_exact_steps():
    snn, cnn = falling_network(exact_steps=1)
    images, steps = torch.ones(2, 1, 2, 2), snn.exact_steps + 50
    assert steps < 400
    result = simulate(snn, three_classes(images), steps=steps, encoder=PoissonEncoder(0.9))
    options = {"threshold": 1.0, "reset": "subtract", "pooling": "linear", "readout": "potential"}
    expected = reference_run(
        cnn, snn, images, PoissonEncoder(0.9), steps, initial_potential=0.5, **options
    )
    assert result.spike_counts["1"].tolist() == [int(x.sum()) for x in expected.spikes[1]]
    assert result.predictions.tolist() == reference.decisions(expected, "potential")


def test_beyond_the_exact_steps_a_network_acts_as_one_that_promised_more():
    (few, _), (many, _) = falling_network(exact_steps=1), falling_network(exact_steps=1000)
    steps = few.exact_steps + 50
    assert few.exact_steps < steps <= many.exact_steps
    digits = three_classes(random_images(3, 4, (1, 2, 2)))
    for encoder in (PoissonEncoder(0.9), PoissonEncoder(0.3)):
        one = simulate(few, digits, steps=steps, encoder=encoder)
        assert same_result(one, simulate(many, digits, steps=steps, encoder=encoder))


def test_a_recording_goes_on_beyond_the_exact_steps_too():
    snn, _ = falling_network(exact_steps=1)
    image, steps = random_images(3, 1, (1, 2, 2)), snn.exact_steps + 50
    recording = record(snn, image[0], steps=steps, encoder=PoissonEncoder(0.9))
    result = simulate(snn, three_classes(image), steps=steps, encoder=PoissonEncoder(0.9))
    assert recording.spikes["1"].sum(1).tolist() == result.spike_counts["1"].tolist()
    assert torch.equal(recording.decisions, result.predictions[:, 0])


def test_more_steps_than_float64_holds_are_refused(monkeypatch, snn, digits):
    monkeypatch.setattr("snnlib.spiking.layer.EXACT_UNITS_WIDE", 2**25)
    most = snn.wide().exact_steps
    with pytest.raises(ValueError, match=f"steps is {most + 1}; potentials are exact for {most}"):
        simulate(snn, digits, steps=most + 1)
