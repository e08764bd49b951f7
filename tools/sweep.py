"""Make the table of chapter 7: accuracy after 1 to 64 steps, for each way to convert.

Results are kept cell by cell, so a run that was stopped goes on where it was; then they are
written to one table with how it was made.
"""

import argparse
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from joblib import parallel_config

import snnlib
from snnlib.study.sweep import (
    BALANCINGS,
    PERCENTILE,
    SWEEP_FILE,
    Setting,
    Sweep,
    all_cells,
    run_sweep,
    write_sweep,
)

ROOT = Path(__file__).parent.parent


def main(options: argparse.Namespace) -> None:
    setting = Setting(options.weights, options.per_class, options.train_per_class, options.steps)
    cells = all_cells(options.seeds, balancings=options.balancings)
    with parallel_config(n_jobs=options.jobs):
        accuracy = run_sweep(cells, setting, options.folder, progress=True)
    write_sweep(Sweep(accuracy, provenance(options)), options.table)
    print(f"{len(cells)} cells in {options.table}")


def provenance(options: argparse.Namespace) -> dict[str, str]:
    """How the table was made, without paths of this machine."""
    arguments = [
        f"--{name.replace('_', '-')} {value if isinstance(value, (str, int)) else as_list(value)}"
        for name, value in vars(options).items()
        if value is not None and name not in ("folder", "table")
    ]
    return {
        "what": "accuracy of converted networks, by number of time steps",
        "columns": "a constant input is deterministic and runs once; Poisson at 1 spike/step",
        "scales": f"from the first training images; percentile and channel-wise: {PERCENTILE:g} %",
        "command": " ".join(["python tools/sweep.py", *arguments]),
        "commit": commit(),
        "versions": ", ".join(f"{name} {number}" for name, number in versions().items()),
        "machine": f"{processor()}, {os.cpu_count()} cores, {platform.system()}",
        "date": datetime.now(UTC).date().isoformat(),
    }


def as_list(values) -> str:
    return " ".join(map(str, values))


def versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("torch", "numba", "joblib")}
    return {"Python": platform.python_version(), "snnlib": snnlib.__version__, **packages}


def commit() -> str:
    """Of the working tree, and whether it differs from it; "unknown" without git."""
    try:
        run = {"cwd": ROOT, "capture_output": True, "text": True, "check": True}
        head = subprocess.run(["git", "rev-parse", "HEAD"], **run).stdout.strip()
        changed = subprocess.run(["git", "status", "--porcelain", "snnlib", "tools"], **run).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + (" with changes" if changed.strip() else "")


def processor() -> str:
    """The model's name where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def parsed() -> argparse.Namespace:
    defaults = Setting()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", default=defaults.weights)
    parser.add_argument("--per-class", type=int, help="test images; all 10,000 without it")
    parser.add_argument("--train-per-class", type=int, default=defaults.train_per_class)
    parser.add_argument("--steps", type=int, nargs="+", default=defaults.steps)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--balancings", nargs="+", default=BALANCINGS)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--folder", type=Path, default=ROOT / "_build" / "sweep")
    parser.add_argument("--table", type=Path, default=SWEEP_FILE)
    options = parser.parse_args()
    options.steps = tuple(options.steps)
    return options


if __name__ == "__main__":
    main(parsed())
