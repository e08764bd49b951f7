"""The peers are raced on our network: they give our spikes, and differ only for the reasons named.

`make bench` runs this in the benchmarks' own environment.
"""

import parity
import peers
import pytest
import torch
from peers.sinabs import Network as SinabsNetwork

from snnlib.data import load_digits

AS_RACED = [
    (reset, name, mode)
    for reset in ("subtract", "zero")
    for name, mode, setting, _ in parity.cases(reset)
    if setting == parity.RACED
]
SUBTRACTING = [(name, mode) for reset, name, mode in AS_RACED if reset == "subtract"]
DIFFERENT = [
    (reset, name, reason)
    for reset in ("subtract", "zero")
    for name, _, reason, _ in parity.cases(reset)
    if reason != parity.RACED
]


@pytest.fixture(scope="module")
def spikes():
    return parity.input_spikes(load_digits("test", per_class=2).images, parity.STEPS)


def differing(snn, ours, spikes, name, mode, **options):
    peer = peers.load(name).Network(snn, mode, **options)
    return parity.differences(ours, parity.peer_trace(peer, spikes))


@pytest.mark.parametrize(("reset", "name", "mode"), AS_RACED)
def test_a_peer_as_raced_gives_our_spikes(networks_by_reset, ours, spikes, reset, name, mode):
    found = differing(networks_by_reset[reset], ours[reset], spikes, name, mode)
    assert found == {"conv1": 0, "conv2": 0, "output": 0, "decision": 0}


@pytest.mark.parametrize(("reset", "name", "reason"), DIFFERENT)
def test_each_reason_for_a_difference_makes_one(
    networks_by_reset, ours, spikes, reset, name, reason
):
    adapter = peers.load(name)
    options = adapter.DIFFERENCES[reason]
    snn = networks_by_reset[reset]
    found = differing(snn, ours[reset], spikes, name, adapter.MODES[0], **options)
    assert found["conv1"] > 0
    assert found["conv2"] > 0


@pytest.mark.parametrize(("name", "mode"), SUBTRACTING)
def test_nothing_is_left_over_from_the_images_before(networks_by_reset, spikes, name, mode):
    peer = peers.load(name).Network(networks_by_reset["subtract"], mode)
    with torch.inference_mode():
        first = peer(peer.arrange(spikes[:, :4]))
        peer(peer.arrange(spikes[:, 4:10]))
        assert torch.equal(peer(peer.arrange(spikes[:, :4])), first)


@pytest.mark.parametrize("name", ["spikingjelly", "snntorch", "sinabs"])
def test_a_reset_that_the_adapter_does_not_make_is_refused(networks_by_reset, name):
    with pytest.raises(ValueError, match=r'conv1 resets to zero; give .* reset="subtract"'):
        peers.load(name).Network(networks_by_reset["zero"], "single-step")


def test_a_difference_is_found_where_there_is_one(networks_by_reset, ours, spikes):
    snn = networks_by_reset["subtract"]
    theirs = parity.peer_trace(SinabsNetwork(snn, "single-step"), spikes)
    flipped = {name: given.clone() for name, given in theirs.items()}
    flipped["conv2"][7, 3, 5, 2, 2] = 1 - flipped["conv2"][7, 3, 5, 2, 2]
    found = parity.differences(ours["subtract"], flipped)
    assert found == {"conv1": 0, "conv2": 1, "output": 0, "decision": 0}
