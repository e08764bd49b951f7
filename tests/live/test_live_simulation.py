"""The lab's simulator gives the spikes and potentials of Python, bit for bit, or says why not."""

import copy
import zlib

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from nets import conv, deep_cnn, fill_randomly, linear, random_images, small_cnns, tiny_cnn
from node import Call, JavaScriptError, in_pythons_order, simulate_in_lab
from torch import nn

from snnlib import (
    MaxPooling,
    PoissonEncoder,
    SpikingNetwork,
    activation_scales,
    convert,
    record,
    simulate,
)
from snnlib.engines import clock, event
from snnlib.export.lab import MAGIC, PREFIX, VERSION, LabError, at_threshold, lab_network

EXAMPLE = {"reset": "zero", "initial_potential": 0.0, "pooling": "spiking", "readout": "spikes"}


def assert_same(node, snn, image, *, steps=40, rate=0.4, seed=0, index=0, threshold=1.0):
    """simulation.mjs, `record` and both engines agree on everything."""
    options = {"steps": steps, "rate": rate, "seed": seed, "index": index, "threshold": threshold}
    names = [layer.name for layer in snn.layers]
    found = simulate_in_lab(node, lab_network(snn), image, **options, potentials=names)
    snn, encoder = at_threshold(snn, threshold), PoissonEncoder(rate, seed)
    assert_same_recording(found, record(snn, image, steps=steps, encoder=encoder, index=index), snn)
    assert event.why_not(snn) is None
    for engine in (clock, event):
        run = engine.prepare(snn, steps=steps, encoder=encoder)
        assert_same_outputs(found, list(run(image.unsqueeze(0), torch.tensor([index]))), snn)
    return found


def assert_same_recording(found, recording, snn) -> None:
    shapes, last = snn.shapes(), snn.layers[-1].name
    spikes = {"input": recording.input, **recording.spikes}
    for name, rows in spikes.items():  # counts first: they say where a difference begins
        assert found["spikeCounts"][name].tolist() == rows.flatten(1).sum(1).int().tolist(), name
    for name, rows in spikes.items():
        given = found["input"] if name == "input" else found["spikes"][name]
        assert torch.equal(in_pythons_order(given, shapes[name]), rows.to(torch.uint8)), name
    assert found["decisions"].tolist() == recording.decisions.tolist()
    for name, rows in recording.potentials.items():
        potentials = in_pythons_order(found["potentials"][name], shapes[name])
        assert rows.dtype == torch.float64 or name != last
        assert torch.equal(potentials.to(rows.dtype), rows), name


def assert_same_outputs(found, outputs, snn) -> None:
    last = snn.layers[-1]
    for name, counts in found["spikeCounts"].items():
        assert counts.tolist() == [output.spikes[name] for output in outputs], name
    counts = torch.cat([output.counts.expand(1, len(last.weight)) for output in outputs])
    assert found["counts"].tolist() == counts.flatten().int().tolist()
    unit = last.neuron.threshold if last.spiking else 1.0
    potentials = torch.cat([output.potential.double() / unit for output in outputs])
    assert found["potentials"][last.name].tolist() == potentials.flatten().tolist()


# ---- the same spikes

TRAINED = {  # options of convert, and of the run
    "defaults": ({}, {}),
    "white pixels spike at every step": ({}, {"rate": 1.0}),
    "few spikes": ({}, {"rate": 0.07, "steps": 60}),
    "another seed and place": ({}, {"seed": 2**32 - 1, "index": 9999}),
    "low thresholds": ({}, {"threshold": 0.5}),
    "thresholds off the grid": ({}, {"threshold": 1.2345678}),
    "high thresholds": ({}, {"threshold": 3.7, "rate": 1.0}),
    "reset to zero": ({"reset": "zero"}, {}),
    "from rest": ({"initial_potential": 0.0}, {"threshold": 0.9}),
    "an odd initial potential": ({"initial_potential": 0.3}, {"threshold": 1.1}),
    "spikes are counted": ({"readout": "spikes"}, {}),
    "spikes are counted, threshold": ({"readout": "spikes"}, {"threshold": 0.31, "rate": 0.8}),
    "spiking pools": ({"pooling": "spiking"}, {}),
    "spiking pools, threshold": ({"pooling": "spiking"}, {"threshold": 0.7, "rate": 1.0}),
    "the example": (EXAMPLE, {}),
    "the example, rate": (EXAMPLE, {"rate": 1.0, "seed": 7}),
    "the example, threshold": (EXAMPLE, {"threshold": 0.4}),
    "zero, linear, spikes": ({"reset": "zero", "readout": "spikes"}, {"rate": 0.9}),
    "more steps than float32 holds": ({}, {"steps": 300, "rate": 1.0}),
}


@pytest.mark.parametrize("place", range(2))
@pytest.mark.parametrize("name", TRAINED)
def test_the_trained_network_gives_the_same_in_the_lab(node, balanced, digits, name, place):
    options, run = TRAINED[name]
    image = digits.images[list(TRAINED).index(name) + 40 * place]
    found = assert_same(node, convert(balanced, **options), image, **run)
    assert all(counts.any() for counts in found["spikeCounts"].values())


def test_one_threshold_a_channel_gives_the_same(node, cnn, train, digits):
    scales = activation_scales(cnn, train.images, channelwise=True)
    snn = convert(cnn, thresholds=scales, readout="spikes")
    assert max(layer.neuron.threshold.numel() for layer in snn.layers) > 1
    assert_same(node, snn, digits.images[5], threshold=0.8)


@pytest.mark.parametrize("readout", ["potential", "spikes"])
def test_the_lab_decides_as_simulate_does_after_every_step(node, balanced, digits, readout):
    snn = convert(balanced, readout=readout)
    document, chosen = lab_network(snn), digits[::4]
    runs = [simulate_in_lab(node, document, x, index=i) for i, x in enumerate(chosen.images)]
    predictions = simulate(snn, chosen).predictions  # [T, N]
    assert [run["decisions"].tolist() for run in runs] == predictions.T.tolist()
    assert (predictions[-1] == chosen.labels).double().mean() >= 0.9


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("options", [{}, EXAMPLE], ids=["defaults", "example"])
def test_a_random_network_gives_the_same_in_the_lab(node, seed, options):
    snn = convert(tiny_cnn(seed), input_shape=(1, 6, 6), **options)
    (image,) = random_images(seed, 1, (1, 6, 6))
    run = {"rate": [0.2, 0.6, 1.0][seed % 3], "threshold": [1.0, 0.6][seed % 2], "seed": seed}
    assert_same(node, snn, image, **run, index=seed)


@hypothesis_settings(max_examples=25)
@given(
    drawn=small_cnns(),
    reset=st.sampled_from(["subtract", "zero"]),
    pooling=st.sampled_from(["linear", "spiking"]),
    readout=st.sampled_from(["potential", "spikes"]),
    rate=st.sampled_from([0.3, 1.0]),
    threshold=st.sampled_from([1.0, 0.77]),
)
def test_any_small_network_gives_the_same(node, drawn, reset, pooling, readout, rate, threshold):
    cnn, shape = drawn
    options = {"reset": reset, "pooling": pooling, "readout": readout}
    snn = convert(cnn, input_shape=shape, **options)
    (image,) = random_images(3, 1, shape)
    assert_same(node, snn, image, steps=12, rate=rate, threshold=threshold)


def test_encode_gives_the_spikes_of_the_encoder(node, digits):
    image = digits.images[3]
    for rate, seed, index, step in [(0.4, 0, 0, 0), (1.0, 123456789, 7, 39), (0.05, 2, 9999, 500)]:
        levels = Call("encoding", "rateLevels", (image.flatten(), rate))
        spikes = node.call("encoding", "encode", levels, seed, index, step).tolist()
        encoder, places = PoissonEncoder(rate, seed), torch.tensor([index])
        expected = encoder.encode(image.unsqueeze(0), step, index=places)
        assert spikes == expected.flatten().int().tolist()


def test_another_network_gives_other_spikes(node, snn, digits):
    """The comparison can fail: one weight, changed by one unit, is seen in the potentials."""
    changed = copy.deepcopy(snn)
    changed.layers[-1].weight[0, :] += 2.0 ** -changed.layers[-1].fraction_bits
    one, other = (
        simulate_in_lab(node, lab_network(net), digits.images[0]) for net in (snn, changed)
    )
    (name,) = one["potentials"]
    assert all((rows == other["spikes"][layer]).all() for layer, rows in one["spikes"].items())
    assert (one["potentials"][name] != other["potentials"][name]).any()


# ---- thresholds


@pytest.mark.parametrize("options", [{}, EXAMPLE, {"reset": "zero"}])
@pytest.mark.parametrize("factor", [0.5, 1.25, 2.0])
def test_at_threshold_is_what_convert_gives(balanced, options, factor):
    one = at_threshold(convert(balanced, **options), factor)
    other = convert(balanced, thresholds=factor, **options)
    for a, b in zip(one.layers, other.layers, strict=True):
        if a.spiking and a.fraction_bits == b.fraction_bits:
            assert torch.equal(a.neuron.threshold, b.neuron.threshold)
            assert torch.equal(a.neuron.initial, b.neuron.initial)


@pytest.mark.parametrize("factor", [0, -1, 1e-9, 1e9, float("nan")])
def test_a_threshold_off_the_grid_is_refused(snn, factor):
    with pytest.raises(ValueError, match="takes layer conv1 off its grid"):
        at_threshold(snn, factor)


# ---- what the exporter refuses


def _with_batch_norm() -> SpikingNetwork:
    layers = [nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), linear(32, 3)]
    cnn = nn.Sequential(*layers).eval()
    nn.init.ones_(cnn[0].bias)
    return convert(cnn, input_shape=(1, 6, 6))


def _with_max_pool() -> SpikingNetwork:
    layers = [conv(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), linear(8, 3)]
    return convert(nn.Sequential(*layers), input_shape=(1, 6, 6))


def _changed(change) -> SpikingNetwork:
    snn = convert(tiny_cnn(), input_shape=(1, 6, 6))
    change(snn.layers)
    return snn


def _off_grid(layers) -> None:
    layers[1].weight[0, 0, 0, 0] = 1 / 3


def _too_wide(layers) -> None:
    layers[1].weight[0, 0, 0, 0] = 2.0**15 / 2.0 ** layers[1].fraction_bits


def _threshold_off(layers) -> None:
    layers[0].neuron.threshold = torch.tensor(1 / 3)


def _initial_off(layers) -> None:
    layers[0].neuron.initial = torch.tensor(1 / 3)


def _threshold_by_row(layers) -> None:
    layers[0].neuron.threshold = torch.ones(4, 1).expand(4, 4).contiguous()


def _averaging(layers) -> None:
    layers[1].synapse[0].divisor_override = None


def _circular(layers) -> None:
    layers[1].synapse[-1].padding_mode = "circular"


def _no_classes(layers) -> None:
    del layers[-1]


def _silent_inside(layers) -> None:
    layers[0].neuron = layers[-1].neuron


REFUSED = {
    "a bias": (_with_batch_norm, r"layer 0 adds a bias; train without"),
    "a max pool": (_with_max_pool, r"takes a maximum; use nn\.AvgPool2d"),
    "branches": (
        lambda: convert(deep_cnn(), input_shape=(1, 16, 16)),
        r"belongs to a branch; use a network whose layers form one chain",
    ),
    "off the grid": (lambda: _changed(_off_grid), r"layer 3 has weights that are no 16-bit"),
    "wide weights": (lambda: _changed(_too_wide), r"layer 3 has weights that are no 16-bit"),
    "threshold": (lambda: _changed(_threshold_off), r"layer 0 has thresholds or initial pot.* off"),
    "initial": (
        lambda: _changed(_initial_off),
        r"layer 0 has thresholds or initial potentials off",
    ),
    "by row": (lambda: _changed(_threshold_by_row), r"layer 0 has thresholds that differ within"),
    "an average": (lambda: _changed(_averaging), r"layer 3 has a synapse that the lab does not"),
    "padding": (lambda: _changed(_circular), r"layer 3 has a synapse that the lab does not know"),
    "no classes": (lambda: _changed(_no_classes), r"layer 3 gives maps, not classes; end .* on nn"),
    "silent": (lambda: _changed(_silent_inside), r"before the last never spikes; give it IFNeuron"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_exporter_refuses(name):
    make, message = REFUSED[name]
    with pytest.raises(LabError, match=message) as caught:
        lab_network(make())
    assert all(fault.endswith(".") and ";" in fault for fault in caught.value.faults)


def test_the_exporter_names_every_fault_and_leaves_the_network():
    snn = convert(deep_cnn(), input_shape=(1, 16, 16))
    before = copy.deepcopy(snn.state_dict())
    with pytest.raises(LabError) as caught:
        lab_network(snn)
    assert len(caught.value.faults) > 3
    assert any("maximum" in fault for fault in caught.value.faults)
    after = snn.state_dict()
    assert all(torch.equal(values, after[name]) for name, values in before.items())
    assert any(isinstance(layer.neuron, MaxPooling) for layer in snn.layers)


def test_a_current_beyond_float32_is_refused():
    cnn = fill_randomly(nn.Sequential(nn.Flatten(), linear(1024, 3)), 0)
    snn = convert(cnn, input_shape=(1, 32, 32))
    snn.layers[0].weight.fill_(32767 * 2.0 ** -snn.layers[0].fraction_bits)
    with pytest.raises(LabError, match="can receive more in one step than float32 holds"):
        lab_network(snn)


# ---- files


def test_the_document_is_small_and_the_same_each_time(snn):
    document = lab_network(snn)
    assert document == lab_network(copy.deepcopy(snn))
    assert 2 * 29_740 < len(document) < 2 * 29_740 + 2_000


def test_a_network_that_was_saved_gives_the_same_document(snn, tmp_path):
    snn.save(tmp_path / "network.safetensors")
    assert lab_network(SpikingNetwork.load(tmp_path / "network.safetensors")) == lab_network(snn)


def small_document() -> bytes:
    return lab_network(convert(tiny_cnn(), input_shape=(1, 6, 6)))


def reason(node, document: bytes) -> str | None:
    """Why network.mjs does not read it; None if it does."""
    try:
        node.call("network", "readNetwork", document, key="classes")
    except JavaScriptError as error:
        is_ours = error.name == "NetworkError" and error.message.endswith(".")
        return error.reason if is_ours else str(error)
    return None


@pytest.mark.parametrize("foreign", [b"", b"PK\x03\x04 a zip", b"<!doctype html><title>404"])
def test_a_foreign_file_is_recognised(node, foreign):
    assert reason(node, foreign) == "foreign"


def test_a_file_cut_off_anywhere_is_recognised(node):
    document = small_document()
    assert reason(node, document) is None
    for length in (*range(1, PREFIX + 8), len(document) // 2, len(document) - 1):
        assert reason(node, document[:length]) == "truncated", length


def test_a_file_altered_anywhere_is_recognised(node):
    document = small_document()
    for at in range(16, len(document), 7):  # checksum, header and weights
        altered = bytearray(document)
        altered[at] ^= 1 << (at % 8)
        assert reason(node, bytes(altered)) == "altered", at
    assert reason(node, document + b"\0") == "altered"
    for at in range(16):  # what the checksum leaves out: kind of file, version, length
        altered = document[:at] + bytes([document[at] ^ 1]) + document[at + 1 :]
        assert reason(node, altered) is not None, at
    assert reason(node, b"S" + document[1:]) == "foreign"


def test_another_version_is_recognised(node):
    document = small_document()
    assert document[:8] == MAGIC
    later = document[:8] + (VERSION + 1).to_bytes(4, "little") + document[12:]
    assert reason(node, later) == "version"


def test_the_checksum_is_that_of_zip_files():
    document = small_document()
    assert int.from_bytes(document[16:20], "little") == zlib.crc32(document[20:])


# ---- what the simulator refuses

BAD_OPTIONS = {
    "rate": [0, -0.1, 1.01, None],
    "seed": [-1, 2**32, 0.5],
    "index": [-1, 2**31, 0.5],
    "steps": [0, -1, 1.5, 2**52],
    "threshold": [0, -1, 1e-12, 1e12],
    "potentials": [["conv9"]],
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_bad_options_are_refused_by_name(node, name):
    for value in BAD_OPTIONS[name]:
        with pytest.raises(JavaScriptError, match=rf"^RangeError: (a )?{name}"):
            simulate_in_lab(node, small_document(), torch.zeros(1, 6, 6), **{name: value})


def test_a_bad_image_is_refused(node):
    document = small_document()
    for image in (torch.zeros(1, 5, 6), torch.full((1, 6, 6), 1.5), torch.full((1, 6, 6), -0.1)):
        with pytest.raises(JavaScriptError, match=r"^RangeError: .*image has"):
            simulate_in_lab(node, document, image)


def test_an_empty_drawing_gives_no_spikes_and_no_decision(node):
    snn = convert(tiny_cnn(), input_shape=(1, 6, 6), readout="spikes", initial_potential=0.0)
    found = assert_same(node, snn, torch.zeros(1, 6, 6))
    assert found["decisions"].tolist() == [-1] * 40
    assert not any(counts.any() for counts in found["spikeCounts"].values())
