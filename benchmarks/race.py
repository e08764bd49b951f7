"""The race: our engines, the peers and plain CNN passes, on the same images and threads.

`python benchmarks/race.py` first finds the batch size that suits each contestant, then runs
them in turn, again and again: many images in batches, and images one after the other, each
alone.  Writes `race.csv` and `machine.json`, whole, at the end.

The peers get their input spikes for nothing, made and laid out beforehand; our engines make
theirs while the clock runs, and count spikes and operations besides.
"""

import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial

import common
import peers
import torch
from common import cnn_passes, seconds
from parity import input_spikes
from torch import Tensor, nn

from snnlib.data import Digits, load_digits
from snnlib.simulation import ENGINES, simulate
from snnlib.spiking.encoding import PoissonEncoder
from snnlib.spiking.network import SpikingNetwork

ALONE = 1  # the batch size of an image alone
PACKAGES = ("torch", "numpy", "numba", *peers.NAMES)
QUICK = {"images": 100, "alone": 10, "rounds": 2, "batches": (10, 50)}

Piece = Callable[[], Tensor]  # runs a batch through all steps; decisions after the last [N]
Pieces = Callable[[int], list[Piece]]  # from the batch size


@dataclass(frozen=True)
class Settings:
    """How much is run."""

    images: int = 1000
    alone: int = 50
    steps: int = 40
    rounds: int = 7
    threads: int = 2
    batches: tuple[int, ...] = (10, 20, 50, 100, 200, 500)


def contestants(
    cnn: nn.Sequential, snn: SpikingNetwork, digits: Digits, steps: int
) -> dict[tuple[str, str], Pieces]:
    """{(name, mode): how to cut the images into pieces that can be timed}."""
    table: dict[tuple[str, str], Pieces] = {
        ("event engine", ""): partial(engine_pieces, "event", snn, digits, steps),
        ("clock engine", ""): partial(engine_pieces, "clock", snn, digits, steps),
        (f"{steps} CNN passes", ""): partial(cnn_pieces, cnn, digits.images, steps),
    }
    spikes = input_spikes(digits.images, steps)
    for name, title in peers.NAMES.items():
        adapter = peers.load(name)
        for mode in adapter.MODES:
            network = adapter.Network(snn, mode)
            table[title, mode] = partial(peer_pieces, network, spikes)
    return table


def engine_pieces(
    name: str, snn: SpikingNetwork, digits: Digits, steps: int, batch: int
) -> list[Piece]:
    """One call of `simulate`; for images alone, the engine that it calls, laid out once."""
    encoder = PoissonEncoder(1.0)
    if batch > ALONE:
        run = partial(simulate, steps=steps, encoder=encoder, engine=name, batch_size=batch)
        return [lambda: run(snn, digits).predictions[-1]]
    run = ENGINES[name].prepare(snn, steps=steps, encoder=encoder)
    places = torch.arange(len(digits)).split(1)
    return [partial(last_decision, run, digits.images[place], place) for place in places]


def last_decision(run, images: Tensor, places: Tensor) -> Tensor:
    """Look at the output after every step, as the peers must."""
    for output in run(images, places):
        decision = output.potential.argmax(1)
    return decision


def cnn_pieces(cnn: nn.Sequential, images: Tensor, steps: int, batch: int) -> list[Piece]:
    """As many passes as there are steps."""
    return [partial(cnn_passes, cnn, part, steps, batch) for part in images.split(batch)]


def peer_pieces(network: peers.Peer, spikes: Tensor, batch: int) -> list[Piece]:
    """From ready-made spikes, laid out as the peer likes them, to decisions."""
    parts = [network.arrange(part.contiguous()) for part in spikes.split(batch, dim=1)]
    return [partial(peer_decision, network, part) for part in parts]


@torch.inference_mode()
def peer_decision(network: peers.Peer, arranged: Tensor) -> Tensor:
    """The decision of every step, as `simulate` keeps them; gives the last."""
    return peers.decisions(network(arranged))[-1]


def best_batches(
    table: Mapping[tuple[str, str], Pieces], batches: tuple[int, ...]
) -> dict[tuple[str, str], int]:
    """The batch size with which each contestant is fastest; each is tried once."""
    best = {}
    for who, pieces in table.items():
        times = {}
        for batch in batches:
            parts = pieces(batch)
            parts[0]()  # does not count
            times[batch] = sum(map(seconds, parts))
        best[who] = min(times, key=times.get)
        shown = ", ".join(f"{batch}: {took:.2f} s" for batch, took in times.items())
        print(f"{' '.join(who):<28} {shown}", flush=True)
    return best


def race(
    table: Mapping[tuple[str, str], Pieces],
    batches: Mapping[tuple[str, str], int],
    labels: Tensor,
    rounds: int,
) -> Iterator[dict[str, object]]:
    """Each contestant in turn, round after round; the first round does not count."""
    pieces = {who: make(batches[who]) for who, make in table.items()}
    for number in range(rounds + 1):
        for who, parts in pieces.items():
            times, decisions = zip(*map(timed, parts), strict=True)
            if number:
                yield {
                    "contestant": who[0],
                    "mode": who[1],
                    "batch": batches[who],
                    "round": number,
                    "images": len(labels),
                    "ms_per_image": round(1000 * time_of_one(times, batches[who], labels), 4),
                    "accuracy": (torch.cat(decisions) == labels).double().mean().item(),
                }


def timed(piece: Piece) -> tuple[float, Tensor]:
    """[seconds], and what the piece gave."""
    given: list[Tensor] = []
    return seconds(lambda: given.append(piece())), given[0]


def time_of_one(times: tuple[float, ...], batch: int, labels: Tensor) -> float:
    """[seconds] for an image: the mean over batches, or the median of images alone."""
    return statistics.median(times) if batch == ALONE else sum(times) / len(labels)


def run(settings: Settings) -> list[dict[str, object]]:
    """Both tasks, a row a contestant and round."""
    cnn, snn = common.networks()
    digits = load_digits("test", per_class=settings.images // 10)
    few = load_digits("test", per_class=settings.alone // 10)
    make = partial(contestants, cnn, snn, steps=settings.steps)
    batches = best_batches(make(digits=digits[: max(settings.batches)]), settings.batches)
    alone = dict.fromkeys(batches, ALONE)
    rows = []
    for task, images, sizes in (("many", digits, batches), ("alone", few, alone)):
        for row in race(make(digits=images), sizes, images.labels, settings.rounds):
            rows.append({"task": task, **row})
    return rows


def report(rows: list[dict[str, object]]) -> None:
    """Median and spread of each contestant, fastest first."""
    for task in ("many", "alone"):
        times: dict[str, list[float]] = {}
        for row in rows:
            if row["task"] == task:
                name = f"{row['contestant']} {row['mode']}"
                times.setdefault(name, []).append(row["ms_per_image"])
        print(f"{task}, ms an image")
        for name in sorted(times, key=lambda name: statistics.median(times[name])):
            print(f"  {name:<28} {common.spread(times[name])}")


def main() -> None:
    options = common.parser(__doc__).parse_args()
    settings = Settings(threads=options.threads, **(QUICK if options.quick else {}))
    torch.set_num_threads(settings.threads)
    rows = run(settings)
    report(rows)
    common.write_rows(options.folder / "race.csv", rows)
    facts = common.machine(PACKAGES) | asdict(settings)
    common.write_facts(options.folder / "machine.json", facts)


if __name__ == "__main__":
    main()
