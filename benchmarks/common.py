"""What the benchmarks share: the networks, the clock, and result files that are whole."""

import argparse
import csv
import datetime
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn

from snnlib.cnn.balancing import activation_scales, normalize_weights
from snnlib.cnn.shipped import load_trained_cnn
from snnlib.data import load_digits
from snnlib.spiking.conversion import convert
from snnlib.spiking.network import SpikingNetwork
from snnlib.storage import write_whole

RESULTS = Path(__file__).parent / "results"
Run = Callable[[], object]
Row = Mapping[str, object]


def networks(reset: str = "subtract") -> tuple[nn.Sequential, SpikingNetwork]:
    """The shipped network, balanced at the 99.9th percentile, as CNN and as SNN."""
    cnn = load_trained_cnn("digits")
    images = load_digits("train", per_class=100).images
    cnn = normalize_weights(cnn, activation_scales(cnn, images, percentile=99.9))
    return cnn, convert(cnn, reset=reset)


@torch.inference_mode()
def cnn_passes(cnn: nn.Module, images: Tensor, steps: int, batch_size: int) -> Tensor:
    """As many plain passes as an SNN takes steps; the predictions [N]."""
    decisions = []
    for batch in images.split(batch_size):
        for _ in range(steps):
            output = cnn(batch)
        decisions.append(output.argmax(1))
    return torch.cat(decisions)


def seconds(run: Run) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def interleaved(runs: Mapping[str, Run], repeats: int) -> dict[str, list[float]]:
    """Each in turn, again and again, after one that does not count; times in seconds."""
    for run in runs.values():
        run()
    rows = [{name: seconds(run) for name, run in runs.items()} for _ in range(repeats)]
    return {name: [row[name] for row in rows] for name in runs}


def spread(values: Iterable[float], unit: float = 1.0) -> str:
    """Median, smallest and largest, as text."""
    values = sorted(values)
    low, middle, high = values[0], statistics.median(values), values[-1]
    return f"{middle / unit:.3f}  ({low / unit:.3f} to {high / unit:.3f})"


def machine(packages: Iterable[str]) -> dict[str, object]:
    """What the times depend on: processor, cores, threads, versions, date."""
    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "date": datetime.date.today().isoformat(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in packages},
        },
    }


def parser(description: str) -> argparse.ArgumentParser:
    """What race and parity can be asked for."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--quick", action="store_true", help="little of everything, to try it")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--folder", type=Path, default=RESULTS, help="where results go")
    return options


def write_rows(path: Path, rows: list[Row]) -> None:
    """A CSV file, whole or not at all."""

    def write(partial: Path) -> None:
        with partial.open("w", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            table.writeheader()
            table.writerows(rows)

    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, write)


def write_facts(path: Path, facts: Row) -> None:
    """A JSON file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda partial: partial.write_text(json.dumps(facts, indent=2) + "\n"))


def _processor() -> str:
    """The model, as the system names it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
