"""What a simulation and a recording say, and what they refuse."""

import subprocess
import sys

import pytest
import reference
import torch
from hypothesis import given
from hypothesis import strategies as st
from nets import random_images, tiny_cnn
from sameness import same_result, three_classes
from torch import nn

from snnlib import (
    ConstantEncoder,
    Digits,
    PoissonEncoder,
    StepReport,
    convert,
    digit_cnn,
    record,
    simulate,
)
from snnlib.simulation import SimulationResult
from snnlib.spiking.decisions import decide

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
    return SimulationResult(labels, predictions, empty, {}, empty, "clock", *[empty] * 3)


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


@pytest.mark.parametrize("engine", ["clock", "event"])
def test_spikes_are_counted_from_the_input_to_the_output(example_snn, digits, engine):
    result = simulate(example_snn, digits[:2], steps=2, engine=engine)
    assert list(result.spike_counts) == ["input", *(layer.name for layer in example_snn.layers)]


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


@pytest.mark.slow
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
    digits = Digits(torch.zeros(2, 1, 27, 28), torch.zeros(2, dtype=torch.int64))
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
        (torch.ones(1, 20, 20), ValueError, r"image has shape .*takes \[1, 28, 28\]"),
    ],
)
def test_an_unusable_image_is_not_recorded(snn, image, error, message):
    with pytest.raises(error, match=message):
        record(snn, image)


class Watched:
    """A constant current that notes how many threads compute when it is asked for."""

    constant = True

    def __init__(self):
        self.seen = []

    def stream(self, images, index=None):
        def current(step):
            self.seen.append(torch.get_num_threads())
            return images

        return current


def test_the_clock_engine_takes_one_thread_and_gives_the_others_back_after_each_step(snn, digits):
    torch.set_num_threads(3)
    encoder, between = Watched(), []
    options = {"steps": 2, "encoder": encoder, "engine": "clock"}
    simulate(snn, digits[:4], **options, on_step=lambda _: between.append(torch.get_num_threads()))
    assert (encoder.seen, between) == ([1], [3, 3])


def test_a_recording_is_made_with_one_thread(snn, digits):
    torch.set_num_threads(3)
    encoder = Watched()
    record(snn, digits.images[0], steps=2, encoder=encoder)
    assert (encoder.seen, torch.get_num_threads()) == ([1, 1], 3)
