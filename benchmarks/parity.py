"""Whether the peers give our spikes, layer by layer and step by step.

`python benchmarks/parity.py` compares every spike, output potential and decision with those
of the clock engine: each peer as it is raced, then each with one setting that makes it
differ.  Writes `parity.csv`, and exits with 1 if a peer that is raced differs.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import common
import peers
import torch
from common import networks
from peers import Peer
from torch import Tensor

from snnlib.data import load_digits
from snnlib.engines.clock import exact_arithmetic
from snnlib.spiking.encoding import PoissonEncoder
from snnlib.spiking.network import SpikingNetwork

RACED = "as raced"
STEPS = 40
Trace = Mapping[str, Tensor]  # {layer: spikes [T, N, ...]}, and what the output says


def input_spikes(images: Tensor, steps: int) -> Tensor:
    """What all are given [T, N, C, H, W]: a white pixel spikes in every step."""
    stream = PoissonEncoder(1.0).stream(images)
    return torch.stack([stream(step) for step in range(steps)])


@torch.inference_mode()
def our_trace(snn: SpikingNetwork, spikes: Tensor) -> Trace:
    """What our network does, step by step."""
    rows: dict[str, list[Tensor]] = {}
    snn.reset()
    with exact_arithmetic():
        for x in spikes:
            for layer, given in snn.propagate(snn.input_current(x)):
                rows.setdefault(layer.name, []).append(given)
    snn.reset()
    trace = {name: torch.stack(given) for name, given in rows.items()}
    return trace | {"decision": trace["output"].argmax(2)}


@torch.inference_mode()
def peer_trace(peer: Peer, spikes: Tensor) -> Trace:
    """What a peer's network does, by the names of our layers."""
    with _listening(peer) as heard:
        currents = peer(peer.arrange(spikes))
    trace = {name: peer.by_step(outputs) for name, outputs in heard.items()}
    potentials = currents.double().cumsum(0)
    return trace | {"output": potentials, "decision": peers.decisions(currents)}


@contextmanager
def _listening(peer: Peer) -> Iterator[dict[str, list]]:
    """Gathers all that the peer's neurons give, while it lasts."""
    heard: dict[str, list] = {name: [] for name in peer.neurons}
    handles = [
        neuron.register_forward_hook(lambda *call, name=name: heard[name].append(call[-1]))
        for name, neuron in peer.neurons.items()
    ]
    try:
        yield heard
    finally:
        for handle in handles:
            handle.remove()


def differences(ours: Trace, theirs: Trace) -> dict[str, int]:
    """How many values differ, layer by layer."""
    return {name: int((ours[name] != theirs[name]).sum()) for name in ours}


def cases(reset: str) -> Iterator[tuple[str, str, str, dict[str, object]]]:
    """(peer, mode, setting, options) of all that can run a network with this reset."""
    for name in peers.NAMES if reset == "subtract" else ["norse"]:
        adapter = peers.load(name)
        for mode in adapter.MODES:
            yield name, mode, RACED, {}
        for reason, options in adapter.DIFFERENCES.items():
            yield name, adapter.MODES[0], reason, options


def compare(images: Tensor, steps: int) -> Iterator[dict[str, str | int]]:
    """One row a case and layer."""
    spikes = input_spikes(images, steps)
    for reset in ("subtract", "zero"):
        _, snn = networks(reset)
        ours = our_trace(snn, spikes)
        for name, mode, setting, options in cases(reset):
            peer = peers.load(name).Network(snn, mode, **options)
            found = differences(ours, peer_trace(peer, spikes))
            about = {"peer": peers.NAMES[name], "mode": mode, "reset": reset, "setting": setting}
            for layer, differing in found.items():
                spiked = int(ours[layer].sum()) if layer in peer.neurons else ""
                size = {"compared": ours[layer].numel(), "our_spikes": spiked}
                yield about | {"layer": layer} | size | {"differing": differing}


def main() -> int:
    options = common.parser(__doc__).parse_args()
    torch.set_num_threads(options.threads)
    images = load_digits("test", per_class=2 if options.quick else 10).images
    rows = list(compare(images, STEPS))
    for row in rows:
        case = ", ".join(row[key] for key in ("peer", "mode", "reset", "setting", "layer"))
        print(f"{case}: {row['differing']:,} of {row['compared']:,} differ")
    common.write_rows(options.folder / "parity.csv", rows)
    return any(row["differing"] for row in rows if row["setting"] == RACED)


if __name__ == "__main__":
    sys.exit(main())
