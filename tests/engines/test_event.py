"""The event engine gives what the clock engine gives, to the spike."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import conv, fill_randomly, linear, random_images, small_cnns, tiny_cnn
from sameness import (
    ENCODERS,
    OPTIONS,
    VARIANTS,
    Flicker,
    assert_same,
    falling_network,
    outputs_of,
    same_result,
    three_classes,
)
from torch import nn

from snnlib import (
    ConstantEncoder,
    PoissonEncoder,
    SpikingNetwork,
    convert,
    load_digits,
    simulate,
)
from snnlib.engines import event
from snnlib.engines.event import batch, kernels, lanes


@pytest.mark.parametrize("name", VARIANTS)
def test_both_engines_give_the_same(conversions, name):
    snn, encoder = conversions[name]
    images = load_digits("test", per_class=3).images
    assert_same(snn, images, steps=40, encoder=encoder)


@pytest.mark.parametrize("name", VARIANTS)
def test_both_engines_give_the_same_result(conversions, digits, name):
    snn, encoder = conversions[name]
    a, b = (
        simulate(snn, digits[::4], steps=20, encoder=encoder, engine=engine)
        for engine in ("event", "clock")
    )
    assert same_result(a, b)
    assert (a.engine, b.engine) == ("event", "clock")


@settings(max_examples=150)
@given(small_cnns(), OPTIONS, ENCODERS, st.sampled_from([1.0, 0.7]), st.integers(1, 20))
def test_both_engines_give_the_same_for_any_small_network(
    drawn, options, encoder, threshold, steps
):
    cnn, shape = drawn
    snn = convert(cnn, thresholds=threshold, input_shape=shape, **options)
    assert_same(snn, random_images(0, 4, shape), steps=steps, encoder=encoder)


@pytest.mark.parametrize(
    "layers",
    [
        [conv(2, 40, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), linear(640, 3)],
        [conv(2, 33, 3, padding=2, dilation=3), nn.ReLU(), nn.Flatten(), linear(1188, 3)],
        [conv(2, 64, (3, 3), dilation=(1, 2), stride=(1, 3)), nn.ReLU(), nn.Flatten()],
        [conv(2, 64, 3, groups=2, padding=3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten()],
        [conv(2, 12, 5, padding=4), nn.ReLU(), nn.AvgPool2d(3, 1), nn.Flatten()],
        [nn.AvgPool2d(2), conv(2, 35, 2, padding=1), nn.ReLU(), nn.Flatten()],
    ],
    ids=["stride", "dilation", "both", "groups", "padding", "pool"],
)
@pytest.mark.parametrize("pooling", ["linear", "spiking"])
def test_wide_layers_of_every_geometry(layers, pooling):
    features = nn.Sequential(*[op for op in layers if not isinstance(op, nn.Linear)])
    inputs = features(torch.zeros(1, 2, 8, 8)).shape[1]
    cnn = fill_randomly(nn.Sequential(*features, linear(inputs, 3)), seed=1, gain=1.5)
    for reset in ("zero", "subtract"):
        snn = convert(cnn, input_shape=(2, 8, 8), pooling=pooling, reset=reset)
        images = random_images(5, 3, (2, 8, 8))
        assert_same(snn, images, steps=9, encoder=PoissonEncoder(0.8))
        assert_same(snn, images, steps=9, encoder=ConstantEncoder())


@given(st.integers(0, 1000))
def test_a_neuron_above_its_threshold_spikes_again_without_input(seed):
    snn = convert(fill_randomly(tiny_cnn(), seed, gain=6.0), input_shape=(1, 6, 6))
    for layer in snn.layers[:-1]:
        layer.neuron.initial += 3 * layer.neuron.threshold  # three spikes that nothing causes
    assert_same(snn, torch.zeros(2, 1, 6, 6), steps=6, encoder=PoissonEncoder(1.0))
    assert_same(snn, random_images(seed, 2, (1, 6, 6)), steps=6, encoder=PoissonEncoder(0.2))


def test_thresholds_may_differ_from_neuron_to_neuron():
    snn = convert(tiny_cnn(), input_shape=(1, 6, 6))
    neuron, generator = snn.layers[0].neuron, torch.Generator().manual_seed(0)
    neuron.threshold = torch.randint(1, 2**12, (4, 4, 4), generator=generator) / 2**11
    neuron.initial = torch.zeros(4, 4, 4)
    assert_same(snn, random_images(6, 3, (1, 6, 6)), steps=20, encoder=PoissonEncoder(0.7))


@pytest.mark.parametrize("name", ["example", "percentile", "constant"])
@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_the_batch_size_changes_nothing(conversions, digits, name, batch_size):
    snn, encoder = conversions[name]
    arguments = {"steps": 6, "encoder": encoder}
    parts = simulate(snn, digits, **arguments, engine="event", batch_size=batch_size)
    assert same_result(parts, simulate(snn, digits, **arguments, engine="event"))


@pytest.mark.parametrize("name", ["example", "percentile", "constant"])
def test_the_number_of_threads_changes_nothing(conversions, digits, name):
    snn, encoder = conversions[name]
    results = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        results.append(simulate(snn, digits, steps=20, encoder=encoder, engine="event"))
    assert same_result(results[0], results[1])
    assert same_result(results[0], results[2])


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_the_chunk_of_time_changes_nothing(monkeypatch, snn, example_snn, digits, chunk):
    for network in (snn, example_snn):
        whole = simulate(network, digits[:9], steps=20, engine="event")
        with monkeypatch.context() as patch:
            patch.setattr(batch, "CHUNK", chunk)
            patch.setattr(batch, "CHUNK_OF_FEW", chunk)
            assert same_result(simulate(network, digits[:9], steps=20, engine="event"), whole)


def test_images_keep_their_spikes_wherever_they_stand(snn, digits):
    index = torch.tensor([70_000, 3, 2**31 - 1])
    assert_same(snn, digits.images[:3], steps=10, encoder=PoissonEncoder(0.5, 7), index=index)


def test_steps_beyond_float32_use_64_bits():
    snn, _ = falling_network(exact_steps=1)
    digits = three_classes(random_images(3, 4, (1, 2, 2)))
    steps = snn.exact_steps + 50
    for encoder in (PoissonEncoder(0.9), ConstantEncoder()):
        a, b = (
            simulate(snn, digits, steps=steps, encoder=encoder, engine=engine)
            for engine in ("event", "clock")
        )
        assert same_result(a, b)


def test_an_output_beyond_32_bits_is_exact():
    cnn = nn.Sequential(nn.Flatten(), linear(4, 3))
    cnn[1].weight.data = torch.tensor([[1.0], [-1.0], [0.5]]).expand(3, 4).clone()
    snn, steps = convert(cnn, input_shape=(1, 2, 2)), 33_000
    index, encoder = torch.zeros(1, dtype=torch.int64), PoissonEncoder(1.0)
    *_, last = event.prepare(snn, steps=steps, encoder=encoder)(torch.ones(1, 1, 2, 2), index)
    assert 4 * steps * 2.0 ** snn.layers[0].fraction_bits > 2**31
    assert last.potential.tolist() == [[4.0 * steps, -4.0 * steps, 2.0 * steps]]


@pytest.mark.parametrize("name", ["example", "percentile", "constant"])
def test_potentials_of_64_bits_give_the_same(conversions, monkeypatch, digits, name):
    snn, encoder = conversions[name]
    monkeypatch.setattr("snnlib.engines.event.layout.LARGEST", 0)
    assert_same(snn, digits.images[:3], steps=20, encoder=encoder)


# ---- other encoders


def test_any_encoder_of_spikes_will_do(snn, example_snn, digits):
    for network in (snn, example_snn):
        assert_same(network, digits.images[:40], steps=20, encoder=Flicker())


def test_an_input_that_is_neither_spikes_nor_constant_is_refused(snn, digits):
    with pytest.raises(ValueError, match=r"neither spikes .* nor.*use engine=\"clock\""):
        simulate(snn, digits, encoder=Flicker(value=0.5), engine="event")


@pytest.mark.parametrize(("value", "engine"), [(1.0, "event"), (0.5, "clock")])
def test_auto_takes_the_event_engine_for_spikes_only(snn, digits, value, engine):
    assert simulate(snn, digits[:2], steps=2, encoder=Flicker(value=value)).engine == engine


# ---- refusals


def test_more_steps_than_are_exact_are_refused(monkeypatch, snn, digits):
    monkeypatch.setattr("snnlib.spiking.layer.EXACT_UNITS_WIDE", 2**25)
    most = snn.wide().exact_steps
    with pytest.raises(ValueError, match=f"steps is {most + 1}; potentials are exact for {most}"):
        simulate(snn, digits, steps=most + 1, engine="event")


def test_images_of_another_shape_are_refused(snn):
    run = event.prepare(snn, steps=2, encoder=PoissonEncoder())
    with pytest.raises(ValueError, match=r"images are \[1, 27, 28\], not \[1, 28, 28\]"):
        next(run(torch.zeros(1, 1, 27, 28), torch.arange(1)))


def test_another_device_is_refused(snn):
    with pytest.raises(ValueError, match=r'the network is on "meta".*snn\.cpu'):
        event.prepare(snn.to("meta"), steps=3, encoder=PoissonEncoder())


def linear_of(weight):
    """Beyond 16 bits on the grid of any converted layer."""
    op = linear(4, 3)
    nn.init.constant_(op.weight, weight)
    return op


POOL = nn.AvgPool2d(2, divisor_override=1)


@pytest.mark.parametrize(
    ("place", "ops"),
    [
        (1, [POOL, nn.ReflectionPad2d(1), POOL, POOL]),
        (1, [nn.AvgPool2d(4)]),
        (1, [nn.AvgPool2d(4, divisor_override=1, ceil_mode=True)]),
        (1, [nn.Conv2d(4, 4, 6, padding=1, padding_mode="circular", bias=False)]),
        (1, [POOL, POOL, nn.Flatten(2), nn.Linear(1, 1, bias=False)]),
        (2, [nn.Flatten(), linear_of(4.0)]),
    ],
)
def test_a_synapse_that_cannot_be_expressed_is_refused_and_auto_avoids_it(place, ops):
    snn = convert(tiny_cnn(), input_shape=(1, 6, 6))
    snn.layers[place].synapse = nn.Sequential(*ops)
    name = snn.layers[place].name
    with pytest.raises(ValueError, match=f'layer {name} .*; use engine="clock"'):
        event.prepare(snn, steps=3, encoder=PoissonEncoder())
    assert event.why_not(snn)
    digits = three_classes(random_images(0, 2, (1, 6, 6)))
    assert simulate(snn, digits, steps=2).engine == "clock"


def test_simulate_asks_the_network_for_its_wiring_once(monkeypatch, snn, digits):
    asked, wiring = [], SpikingNetwork.wiring
    monkeypatch.setattr(SpikingNetwork, "wiring", lambda snn: asked.append(snn) or wiring(snn))
    for engine in ("auto", "event", "clock"):
        simulate(snn, digits[:4], steps=2, engine=engine, batch_size=2)
        assert asked == [snn]
        asked.clear()


def test_auto_takes_the_event_engine(snn, digits):
    assert simulate(snn, digits[:2], steps=2).engine == "event"


def test_without_numba_the_clock_engine_runs_and_says_so(monkeypatch, snn, digits):
    monkeypatch.setattr(event, "numba_is_there", lambda: False)
    with pytest.warns(UserWarning, match="numba is missing: the slower clock engine runs"):
        assert simulate(snn, digits[:2], steps=2).engine == "clock"
    with pytest.raises(ValueError, match=r'numba is missing; .*engine="clock"'):
        simulate(snn, digits[:2], steps=2, engine="event")


# ---- compilation

FIRST_CALL = """
import torch
from snnlib import PoissonEncoder, convert, digit_cnn
from snnlib.engines import event
from snnlib.engines.event import batch

batch.PATIENCE = 0.0
event.prepare(convert(digit_cnn()), steps=1, encoder=PoissonEncoder())
"""


@pytest.mark.slow
def test_a_first_call_says_that_it_compiles(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", FIRST_CALL]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "Compiling the event engine, once for this installation" in result.stderr
    assert list(tmp_path.rglob("kernels.gather*.nbc"))  # and is kept for the next


def test_the_compiled_kernels_are_those_of_these_lanes():
    """Numba compiles anew when kernels.py changes, but does not look at lanes.py."""
    digest = hashlib.sha256(Path(lanes.__file__).read_bytes()).hexdigest()[:12]
    message = f'lanes.py has changed: set LANES = "{digest}" in kernels.py'
    assert digest == kernels.LANES, message


# ---- what is left behind, and memory


def test_an_interrupted_run_leaves_the_network_usable(snn, digits):
    whole = simulate(snn, digits, steps=20, engine="event")

    def stop(report):
        if report.step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(snn, digits, steps=20, engine="event", on_step=stop)
    assert all(layer.v is None for layer in snn.layers)
    assert same_result(simulate(snn, digits, steps=20, engine="event"), whole)


def test_a_changed_network_is_laid_out_anew(snn, digits):
    before = simulate(snn, digits, steps=5, engine="event")
    snn.layers[0].weight.mul_(2)
    after = simulate(snn, digits, steps=5, engine="event")
    assert not same_result(before, after)
    assert same_result(after, simulate(snn, digits, steps=5, engine="clock"))


def test_outputs_that_are_kept_do_not_change(snn, digits):
    outputs = outputs_of(event, snn, digits.images[:2], steps=40, encoder=PoissonEncoder())
    run = event.prepare(snn, steps=40, encoder=PoissonEncoder())
    again = run(digits.images[:2], torch.arange(2))
    for kept, now in zip(outputs, again, strict=True):
        assert torch.equal(kept.potential, now.potential)


PEAK_MEMORY = """
import sys
import torch
from snnlib import Digits, convert, load_digits, load_trained_cnn, simulate

def peak():  # [MiB] of this process alone
    status = open("/proc/self/status").read()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024

torch.set_num_threads(1)
snn, digits = convert(load_trained_cnn()), load_digits("test", per_class=20)
run = dict(steps=20, engine="event", batch_size=100)
simulate(snn, digits[:100], **run)
before = peak()
simulate(snn, digits, **{**run, "steps": int(sys.argv[1]), "batch_size": 100})
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_grows_neither_with_steps_nor_with_images():
    command = [sys.executable, "-c", PEAK_MEMORY, "200"]
    growth = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert float(growth) < 15  # all spikes of 200 steps, as bits, would be 60 MiB


def test_whole_numbers_are_what_the_plan_holds(snn):
    plan = event.make_plan(snn.wiring(), 40, constant=False)
    for layer in plan.layers:
        assert layer.neurons.thresholds.dtype == np.int32
        assert layer.neurons.initial.dtype == np.int32
