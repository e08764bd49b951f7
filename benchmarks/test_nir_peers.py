"""Four simulators import our NIR file: with the settings named all spikes are ours, and all count.

`make bench` runs this in the benchmarks' own environment.
"""

import nir_peers
import parity
import pytest

from snnlib.data import load_digits

CASES = [(name, reset) for name in nir_peers.IMPORTERS for reset in ("subtract", "zero")]
ONE_LESS = [
    (name, reset, left_out) for name, reset in CASES for left_out, _ in nir_peers.fixes(name, reset)
]


@pytest.fixture(scope="module")
def spikes():
    return parity.input_spikes(load_digits("test", per_class=1).images, nir_peers.STEPS)


def differing(name, snn, ours, spikes, options):
    theirs = nir_peers.trace(name, snn, spikes, options)
    return {layer: int((ours[layer] != theirs[layer]).sum()) for layer in theirs}


@pytest.mark.parametrize(("name", "reset"), CASES)
def test_with_all_settings_fixed_a_peer_gives_our_spikes(
    networks_by_reset, ours, spikes, name, reset
):
    *_, (_, options) = nir_peers.ladder(name, reset)
    found = differing(name, networks_by_reset[reset], ours[reset], spikes, options)
    assert found == {"conv1": 0, "conv2": 0, "output": 0}


@pytest.mark.parametrize(("name", "reset", "left_out"), ONE_LESS)
def test_every_setting_is_needed(networks_by_reset, ours, spikes, name, reset, left_out):
    options = {}
    for setting, fix in nir_peers.fixes(name, reset):
        options |= fix if setting != left_out else {}
    try:
        found = differing(name, networks_by_reset[reset], ours[reset], spikes, options)
    except (RuntimeError, ValueError, AttributeError):
        return
    assert found["output"] > 0


@pytest.mark.parametrize("name", nir_peers.IMPORTERS)
def test_no_importer_has_neurons_for_an_output_that_only_accumulates(networks_by_reset, name):
    graph, snn = nir_peers.to_nir(networks_by_reset["subtract"]), networks_by_reset["subtract"]
    options = {"dt": 1.0} if name == "spikingjelly" else {}
    if name in ("spikingjelly", "snntorch"):
        with pytest.raises(ValueError, match=r"Unknown node type .*neuron\.I'"):
            nir_peers.IMPORTERS[name](graph, snn, images=1, **options)
    else:
        model = nir_peers.IMPORTERS[name](graph, snn, images=1, **options)
        assert not hasattr(model, "output_neurons")
        assert hasattr(model, "output_weights")


def test_a_setting_that_keeps_a_peer_from_running_is_reported_with_its_message():
    digits = load_digits("test", per_class=1)
    rows = list(nir_peers.compare(digits.images[:2], digits.labels[:2], steps=2))
    failed = [row for row in rows if row["error"]]
    assert {row["peer"] for row in failed} == {"snnTorch", "Norse", "SpikingJelly"}
    assert all(row["potentials_differing"] == "" for row in failed)
    assert len({tuple(row) for row in rows}) == 1  # the same columns in every row
