import subprocess
import sys

import numpy as np
import pytest
import reference
import torch
from hypothesis import given
from hypothesis import strategies as st
from nets import random_images, small_cnns, tiny_cnn
from sameness import ENCODERS, OPTIONS, falling_network, same_result, three_classes
from torch import nn

from snnlib import (
    ConstantEncoder,
    Digits,
    PoissonEncoder,
    SpikingNetwork,
    StepReport,
    convert,
    digit_cnn,
    load_digits,
    record,
    simulate,
)
from snnlib.engines import clock
from snnlib.simulation import SimulationResult
from snnlib.spiking.decisions import decide


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
    return list(clock.run(snn, images, steps=steps, encoder=encoder, index=index))


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


# ---- what the result says


@given(
    st.lists(st.integers(0, 2), min_size=4, max_size=4),
    st.lists(st.integers(-1, 1), min_size=4, max_size=4),
    st.sampled_from(["spikes", "potential"]),
)
def test_decisions_follow_the_rule(counts, potential, readout):
    if readout == "potential":
        counts = [0] * 4
    row = torch.tensor([counts]).float(), torch.tensor([potential]).double()
    assert decide(*row, readout).item() == reference.decide(counts, potential, readout)


@pytest.mark.parametrize(
    ("counts", "potential", "decision"),
    [
        ([0, 0, 0], [0.1, 0.9, 0.2], -1),  # nobody spiked
        ([1, 2, 0], [0.9, 0.1, 0.9], 1),  # most spikes
        ([2, 2, 1], [0.1, 0.3, 0.9], 1),  # level: the higher potential
        ([0, 2, 2], [0.9, 0.3, 0.3], 1),  # level twice: the lower class
    ],
)
def test_decisions_from_spikes(counts, potential, decision):
    row = torch.tensor([counts]).float(), torch.tensor([potential]).double()
    assert decide(*row, "spikes").tolist() == [decision]


def test_nothing_is_decided_before_the_first_output_spike(example_snn, digits):
    result = simulate(example_snn, digits, steps=30, encoder=PoissonEncoder(1.0))
    spiked = result.spike_counts["output"].cumsum(0) > 0
    assert not spiked[0]
    assert (result.predictions[~spiked] == -1).all()
    assert (result.accuracy[~spiked] == 0).all()
    assert (result.undecided[~spiked] == 1).all()
    decided = (result.predictions >= 0).int()
    assert (decided.diff(dim=0) >= 0).all()  # once decided, an image stays so
    assert (result.undecided * len(digits)).round().tolist() == (1 - decided).sum(1).tolist()


def test_with_potentials_there_is_always_a_decision(snn, digits):
    result = simulate(snn, digits, steps=3)
    assert not result.undecided.any()
    assert "output" not in result.spike_counts


def test_accuracy_and_confusion_count_what_was_decided(example_snn, digits):
    result = simulate(example_snn, digits, steps=30, encoder=PoissonEncoder(1.0))
    assert torch.equal(result.labels, digits.labels)
    for step in (0, 12, 29):
        pairs = list(zip(digits.labels.tolist(), result.predictions[step].tolist(), strict=True))
        assert result.accuracy[step] == sum(a == b for a, b in pairs) / len(digits)
        counts = [[pairs.count((a, b)) for b in range(10)] for a in range(10)]
        assert result.confusion[step].tolist() == counts
    assert result.confusion.shape == (30, 10, 10)


def test_rows_of_the_confusion_sum_to_the_images_that_are_decided(example_snn, digits):
    result = simulate(example_snn, digits, steps=20, encoder=PoissonEncoder(1.0))
    for step in range(20):
        decided = digits.labels[result.predictions[step] >= 0]
        expected = torch.bincount(decided, minlength=10)
        assert torch.equal(result.confusion[step].sum(1), expected)


def made_result(accuracies):
    """A result whose accuracy after each step is the given number of 4 images."""
    predictions = torch.tensor([[0] * right + [1] * (4 - right) for right in accuracies])
    labels = torch.zeros(4, dtype=torch.int64)
    empty = torch.zeros(len(accuracies))
    return SimulationResult(labels, predictions, empty, {}, empty, "clock", empty, empty)


@pytest.mark.parametrize(
    ("accuracy", "step"), [(0.0, 1), (0.25, 2), (0.5, 3), (0.6, 5), (0.75, 5), (0.76, None)]
)
def test_steps_to_finds_the_first_step_that_is_good_enough(accuracy, step):
    assert made_result([0, 1, 2, 1, 3, 3, 0]).steps_to(accuracy) == step


def test_every_spike_of_a_white_image_is_counted(snn):
    white = Digits(torch.ones(3, 1, 28, 28), torch.zeros(3, dtype=torch.int64))
    result = simulate(snn, white, steps=4, encoder=PoissonEncoder(1.0))
    assert result.spike_counts["input"].tolist() == [3 * 784] * 4
    # a pixel reaches 12 maps through as many weights as 5 x 5 windows cover it: 24 x 24 x 25
    assert result.synaptic_operations[0] >= 3 * 12 * 24 * 24 * 25


def test_operations_are_counted_spike_by_spike():
    cnn = tiny_cnn()
    snn, image = convert(cnn, input_shape=(1, 6, 6)), random_images(4, 1, (1, 6, 6))
    fan_out, expected = snn.fan_outs(), []
    recording = record(snn, image[0], steps=10)
    for step in range(10):
        spikes = {"input": recording.input[step]}
        spikes |= {name: of_layer[step] for name, of_layer in recording.spikes.items()}
        places = ((name, tuple(p)) for name, x in spikes.items() for p in x.nonzero().tolist())
        expected.append(sum(int(fan_out[name][place]) for name, place in places))
    result = simulate(snn, three_classes(image), steps=10)
    assert result.synaptic_operations.tolist() == expected


def test_a_constant_current_is_not_counted_as_spikes(snn, digits):
    result = simulate(snn, digits, steps=3, encoder=ConstantEncoder())
    assert list(result.spike_counts) == ["conv1", "conv2"]


# ---- reports and recordings


def test_every_step_of_every_batch_is_reported(snn, digits):
    reports = []
    result = simulate(snn, digits[:10], steps=3, batch_size=4, on_step=reports.append)
    assert [(r.step, r.images) for r in reports] == [
        (step, images) for images in (4, 8, 10) for step in (1, 2, 3)
    ]
    assert reports[-3:] == [
        StepReport(step, 10, result.accuracy[step - 1].item()) for step in (1, 2, 3)
    ]
    right = (result.predictions[:, :4] == digits.labels[:4]).double().mean(1)
    assert [r.accuracy for r in reports[:3]] == right.tolist()


def test_a_report_may_train_a_network(snn, digits):
    layer = nn.Linear(2, 1)
    simulate(snn, digits[:2], steps=2, on_step=lambda report: layer(torch.ones(2)).sum().backward())
    assert layer.weight.grad is not None


def test_a_report_that_raises_leaves_torch_as_it_was(snn, digits):
    def stop(report):
        raise KeyboardInterrupt

    before = torch.backends.mkldnn.fp32_precision
    with pytest.raises(KeyboardInterrupt) as caught:
        simulate(snn, digits, steps=5, on_step=stop)
    assert not torch.is_inference_mode_enabled()
    assert torch.backends.mkldnn.fp32_precision == before
    assert all(layer.v is None for layer in snn.layers)
    del caught  # held until here, as a notebook holds the last error


def test_progress_is_drawn_and_changes_nothing(snn, digits, capsys):
    silent = simulate(snn, digits[:5], steps=3)
    assert capsys.readouterr().err == ""
    assert same_result(simulate(snn, digits[:5], steps=3, progress=True), silent)
    assert "image steps: 100%" in capsys.readouterr().err


@pytest.mark.parametrize("encoder", [PoissonEncoder(0.6, seed=4), ConstantEncoder()])
def test_a_recording_shows_what_the_simulation_did(snn, example_snn, digits, encoder):
    few = digits[:5]
    for network in (snn, example_snn):
        result = simulate(network, few, steps=15, encoder=encoder)
        recordings = [
            record(network, image, steps=15, encoder=encoder, index=i)
            for i, image in enumerate(few.images)
        ]
        for i, recording in enumerate(recordings):
            assert torch.equal(recording.decisions, result.predictions[:, i])
        for name in recordings[0].spikes:
            spikes = sum(recording.spikes[name].flatten(1).sum(1) for recording in recordings)
            assert spikes.long().tolist() == result.spike_counts[name].tolist()


def test_a_recording_holds_input_and_potentials_in_units_of_the_threshold(digits):
    snn = convert(digit_cnn(), thresholds=0.25, readout="spikes")
    image, encoder = digits.images[3], PoissonEncoder(0.7)
    recording = record(snn, image, steps=4, encoder=encoder, index=9)
    for step in range(4):
        x = encoder.encode(image[None], step, index=torch.tensor([9]))
        assert torch.equal(recording.input[step], x[0])
        snn.step(x)
        for layer in snn.layers:
            assert torch.equal(recording.potentials[layer.name][step], layer.v[0] / 0.25)
    assert torch.equal(recording.image, image)


@pytest.mark.parametrize("readout", ["spikes", "potential"])
def test_the_output_of_a_recording_is_what_the_decision_is_read_from(balanced, digits, readout):
    recording = record(convert(balanced, readout=readout), digits.images[0], steps=30)
    decided = recording.decisions >= 0
    assert decided[-1]
    chosen = recording.output[decided].gather(1, recording.decisions[decided, None])
    assert torch.equal(chosen[:, 0], recording.output[decided].amax(1))


def test_a_recording_leaves_the_network_at_rest(snn, digits):
    record(snn, digits.images[0], steps=2)
    assert all(layer.v is None for layer in snn.layers)


def test_simulation_leaves_the_network_as_it_was(snn, digits):
    before, text = {k: v.clone() for k, v in snn.state_dict().items()}, str(snn)
    simulate(snn, digits, steps=snn.exact_steps + 1)
    assert all(torch.equal(value, before[name]) for name, value in snn.state_dict().items())
    assert str(snn) == text
    assert all(layer.v is None for layer in snn.layers)


# ---- memory


PEAK_MEMORY = """
import sys
import torch
from snnlib import convert, load_digits, load_trained_cnn, simulate

def peak():  # [MiB] of this process alone; ru_maxrss would include its parent's
    status = open("/proc/self/status").read()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024

torch.set_num_threads(1)
snn, digits = convert(load_trained_cnn()), load_digits("test", per_class=20)
assert snn.exact_steps >= 55
simulate(snn, digits, steps=5)
before = peak()
simulate(snn, digits, steps=55)
print(peak() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_does_not_grow_with_the_number_of_steps():
    command = [sys.executable, "-c", PEAK_MEMORY]
    growth = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert float(growth) < 30  # 50 more steps of all spikes would be 400 MiB


# ---- refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps is 0; give a whole number, at least 1"),
        ({"steps": 2.5}, "steps is 2.5; give a whole number"),
        ({"steps": -3}, "steps is -3"),
        ({"batch_size": 0}, "batch_size is 0; give at least 1"),
        ({"engine": "gpu"}, "engine is 'gpu'; choose \"auto\" or one of .*clock"),
    ],
)
def test_unusable_options_are_refused(snn, digits, options, message):
    with pytest.raises(ValueError, match=message):
        simulate(snn, digits, **options)


def test_images_of_another_shape_are_refused(snn):
    digits = three_classes(torch.zeros(2, 1, 27, 28))
    with pytest.raises(ValueError, match=r"images have shape \[1, 27, 28\], but the network takes"):
        simulate(snn, digits)


@pytest.mark.parametrize("classes", [3, 11])
def test_digits_with_another_number_of_classes_are_refused(snn, classes):
    images, labels = torch.ones(4, 1, 28, 28), torch.tensor([0, 1, 2, 0])
    digits = Digits(images, labels, tuple("abcdefghijk"[:classes]))
    with pytest.raises(ValueError, match=f"10 outputs .*{classes} classes"):
        simulate(snn, digits, steps=2)


def test_a_recording_of_no_steps_is_refused(snn, digits):
    with pytest.raises(ValueError, match="steps is 0"):
        record(snn, digits.images[0], steps=0)


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (torch.ones(1, 28, 28).double(), TypeError, "images are torch.float64"),
        (torch.full((1, 28, 28), float("nan")), ValueError, "images contain NaN"),
        (torch.full((1, 28, 28), 1.5), ValueError, "pixels span"),
        (torch.ones(28, 28), ValueError, r"\[1, 28, 28\]"),
        (torch.ones(1, 20, 20), ValueError, r"input has shape .*expected \[N, 1, 28, 28\]"),
    ],
)
def test_an_unusable_image_is_not_recorded(snn, image, error, message):
    with pytest.raises(error, match=message):
        record(snn, image)
