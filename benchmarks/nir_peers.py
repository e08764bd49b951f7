"""The trained network in other simulators, read from a NIR file by their own importers.

`python benchmarks/nir_peers.py` writes the network with `to_nir`, lets each peer import it,
gives all the same input spikes, and compares with our engine.  First as imported; then one
setting after another is fixed, until every spike, output potential and decision is ours.
Writes `nir.csv`, and exits with 1 if a peer with all its settings fixed still differs.
"""

import contextlib
import io
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import common
import nir
import torch
from common import networks
from parity import input_spikes, our_trace
from peers import NAMES
from torch import Tensor, nn

from snnlib.data import load_digits
from snnlib.export.nir import to_nir
from snnlib.spiking.network import SpikingNetwork

STEPS = 40
AS_IMPORTED = "as imported"
HIDDEN = ("conv1", "conv2")
Options = dict[str, object]


def sinabs(graph, snn, *, images, single=False, floor=True, zero=False, start=False) -> nn.Module:
    """IAFSqueeze layers; they read one step at a time and remember."""
    from sinabs.activation import MembraneReset, SingleSpike
    from sinabs.nir import from_nir

    model = from_nir(graph, num_timesteps=1)
    for layer, neuron in _neurons(model, snn):
        neuron.spike_fn = SingleSpike if single else neuron.spike_fn
        neuron.min_v_mem = neuron.min_v_mem if floor else None
        neuron.reset_fn = MembraneReset() if zero else neuron.reset_fn
        neuron.init_state_with_shape((images, *snn.shapes()[layer.name]))
        neuron.v_mem.fill_(layer.neuron.initial.item() if start else 0.0)
    return model


def snntorch(
    graph,
    snn,
    *,
    images,
    keeps=False,
    flatten=0,
    beta=0.9,
    delay=False,
    zero=False,
    start=False,
    at=False,
) -> nn.Module:
    """Leaky neurons."""
    from snntorch.import_nir import import_from_nir

    model = _flattening(import_from_nir(graph), flatten)
    for layer, neuron in _neurons(model, snn):
        v = layer.neuron.initial.item() if start else 0.0
        if at and zero:  # v > threshold - half a unit
            neuron.threshold -= _half_a_unit(layer)
        elif at:
            v += _half_a_unit(layer)
        neuron.init_hidden, neuron.reset_delay = keeps, delay
        neuron.beta.fill_(beta)
        neuron.mem = torch.full((images, *snn.shapes()[layer.name]), v)
        if zero:
            neuron.reset_mechanism = "zero"
            neuron.state_function = neuron._base_zero
    return model


def norse(graph, snn, *, images, flatten=0, subtract=False, start=False, at=False) -> nn.Module:
    """IAFCells."""
    from norse.torch import IAFFeedForwardState, from_nir
    from peers.norse import subtracting_step

    model = _flattening(from_nir(graph), flatten)
    for layer, neuron in _neurons(model, snn):
        v = layer.neuron.initial.item() if start else 0.0
        if at and not subtract:
            neuron.p = neuron.p._replace(v_th=neuron.p.v_th - _half_a_unit(layer))
        elif at:
            v += _half_a_unit(layer)
        neuron.activation = subtracting_step if subtract else neuron.activation
        state = IAFFeedForwardState(torch.tensor(v))
        neuron.state_fallback = lambda _, state=state: state
    return model


def spikingjelly(graph, snn, *, images, dt=1e-4, subtract=False, start=False) -> nn.Module:
    """IFNodes."""
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    model = import_from_nir(graph, dt=dt)
    for layer, neuron in _neurons(model, snn):
        neuron.module.v_reset = None if subtract else neuron.module.v_reset
        neuron.module.v = layer.neuron.initial.item() if start else 0.0
    return model


Fix = tuple[str, Options]
FLATTEN = ("Flatten from dimension 1, to spare the batch", {"flatten": 1})
START = ("start at half the threshold", {"start": True})
AT = ("spike at the threshold, not only above it", {"at": True})
TO_RUN: dict[str, list[Fix]] = {  # without which the model fails on a batch of images
    "sinabs": [],
    "snntorch": [("init_hidden=True, as the model passes no state on", {"keeps": True}), FLATTEN],
    "norse": [FLATTEN],
    "spikingjelly": [("import with dt=1, as r dt must be 1", {"dt": 1.0})],
}
RULES: dict[str, list[Fix]] = {
    "sinabs": [
        ("spike_fn=SingleSpike, at most one spike a step", {"single": True}),
        ("min_v_mem=None, no floor under the potential", {"floor": False}),
    ],
    "snntorch": [("beta=1, no leak", {"beta": 1.0})],
    "norse": [],
    "spikingjelly": [],
}
RESETS: dict[str, dict[str, list[Fix]]] = {  # for the reset that the importer does not make
    "subtract": {
        "snntorch": [("reset_delay=True, one reset a spike", {"delay": True})],
        "norse": [("a step function that subtracts", {"subtract": True})],
        "spikingjelly": [("v_reset=None, which subtracts", {"subtract": True})],
    },
    "zero": {
        "sinabs": [("reset_fn=MembraneReset()", {"zero": True})],
        "snntorch": [('reset_mechanism="zero"', {"zero": True})],
    },
}
IMPORTERS: dict[str, Callable[..., nn.Module]] = {
    "sinabs": sinabs,
    "snntorch": snntorch,
    "norse": norse,
    "spikingjelly": spikingjelly,
}


def fixes(name: str, reset: str) -> list[Fix]:
    """(setting, options) that make a peer's network ours, in the order in which they are made."""
    above = [AT] if name in ("snntorch", "norse") else []
    return [*TO_RUN[name], START, *RULES[name], *RESETS[reset].get(name, []), *above]


def ladder(name: str, reset: str) -> Iterator[Fix]:
    """(setting, options) of a peer: as imported, then with one more fixed each time."""
    options: Options = {}
    yield AS_IMPORTED, options
    for setting, fix in fixes(name, reset):
        options = {**options, **fix}
        yield setting, options


def graph_of(snn: SpikingNetwork) -> nir.NIRGraph:
    """The network as a file holds it; the importers do not know the node I."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.nir"
        nir.write(path, to_nir(snn, integrator=False))
        return nir.read(path)


@torch.inference_mode()
def trace(name: str, snn: SpikingNetwork, spikes: Tensor, options: Options) -> dict[str, Tensor]:
    """What a peer's network does [T, N, ...], by the names of our layers."""
    rows: dict[str, list[Tensor]] = {layer: [] for layer in (*HIDDEN, "output")}
    with _quietly(), torch.inference_mode(False), torch.no_grad():
        model = IMPORTERS[name](graph_of(snn), snn, images=spikes.shape[1], **options)
        for layer, neuron in _neurons(model, snn):
            neuron.register_forward_hook(
                lambda _, __, given, heard=rows[layer.name]: heard.append(_first(given))
            )
        state = None
        for x in spikes:
            current, state = model(x.clone(), state)
            rows["output"].append(current)
    found = {layer: torch.stack(given) for layer, given in rows.items()}
    found["output"] = found["output"].double().cumsum(0)
    return found


def compare(images: Tensor, labels: Tensor, steps: int) -> Iterator[dict[str, object]]:
    """One row a peer, reset and setting."""
    spikes = input_spikes(images, steps)
    for reset in ("subtract", "zero"):
        _, snn = networks(reset)
        ours = our_trace(snn, spikes)
        for name in IMPORTERS:
            for setting, options in ladder(name, reset):
                row = {"peer": NAMES[name], "reset": reset, "setting": setting, "error": ""}
                row |= {"images": len(images), "steps": steps}
                try:
                    theirs = trace(name, snn, spikes, options)
                except (RuntimeError, ValueError, AttributeError) as error:
                    yield (
                        row
                        | dict.fromkeys(_numbers(ours, ours, labels), "")
                        | {"error": str(error).splitlines()[0]}
                    )
                else:
                    yield row | _numbers(ours, theirs, labels)


def _numbers(ours: dict, theirs: dict, labels: Tensor) -> dict[str, int]:
    """Spikes, differences and right decisions."""
    row = {}
    for layer in HIDDEN:
        row[f"{layer}_our_spikes"] = int(ours[layer].sum())
        row[f"{layer}_their_spikes"] = int(theirs[layer].sum())
        row[f"{layer}_differing"] = int((ours[layer] != theirs[layer]).sum())
    decisions = ours["output"].argmax(2), theirs["output"].argmax(2)  # [T, N]
    row["potentials"] = ours["output"].numel()
    row["potentials_differing"] = int((ours["output"] != theirs["output"]).sum())
    row["decisions"] = decisions[0].numel()
    row["decisions_differing"] = int((decisions[0] != decisions[1]).sum())
    row["our_right"], row["their_right"] = (int((d[-1] == labels).sum()) for d in decisions)
    return row


def _neurons(model: nn.Module, snn: SpikingNetwork) -> list[tuple]:
    """(our layer, their neurons) of the layers that spike."""
    return [(one, model.get_submodule(f"{one.name}_neurons")) for one in snn.layers[:-1]]


def _flattening(model: nn.Module, start_dim: int) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.Flatten):
            module.start_dim = start_dim
    return model


def _half_a_unit(layer) -> float:
    """Of the grid on which potentials lie: none can then equal the threshold."""
    return 0.5 * 2.0**-layer.fraction_bits


def _first(given: Tensor | tuple) -> Tensor:
    """The spikes, without a state behind them."""
    return given[0] if isinstance(given, tuple) else given


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without what importers print, and their warnings about their own code."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def main() -> int:
    options = common.parser(__doc__).parse_args()
    torch.set_num_threads(options.threads)
    digits = load_digits("test", per_class=1 if options.quick else 10)
    rows = list(compare(digits.images, digits.labels, STEPS))
    for row in rows:
        case = f"{row['peer']}, {row['reset']}, {row['setting']}"
        numbers = ("conv1_differing", "conv2_differing", "potentials_differing", "their_right")
        print(f"{case}: {row['error'] or [row[key] for key in numbers]}")
    common.write_rows(options.folder / "nir.csv", rows)
    last = {(row["peer"], row["reset"]): row for row in rows}.values()
    return any(row["potentials_differing"] != 0 for row in last)


if __name__ == "__main__":
    sys.exit(main())
