"""What spikes cost the clock engine: `simulate` beside as many plain CNN passes.

Both on the same images, batch size and threads, in turn, in one process:
`python benchmarks/clock_engine.py`.  Prints medians and their ratio, and the peak
memory of a run of 10 and of 60 steps, each in a process of its own.
"""

import argparse
import platform
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from snnlib.balancing import activation_scales, normalize_weights
from snnlib.conversion import convert
from snnlib.data import load_digits
from snnlib.encoding import PoissonEncoder
from snnlib.simulation import simulate
from snnlib.training import load_trained_cnn


def networks():
    """The shipped network, balanced, as CNN and as SNN."""
    cnn = load_trained_cnn("digits")
    cnn = normalize_weights(
        cnn, activation_scales(cnn, load_digits("train", per_class=100).images, percentile=99.9)
    )
    return cnn, convert(cnn)


@torch.inference_mode()
def cnn_passes(cnn, images, steps, batch_size):
    for batch in images.split(batch_size):
        for _ in range(steps):
            cnn(batch)


def seconds(run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def compare(options) -> None:
    cnn, snn = networks()
    digits = load_digits("test", per_class=options.images // 10)
    runs = {
        "cnn": lambda: cnn_passes(cnn, digits.images, options.steps, options.batch),
        "snn": lambda: simulate(
            snn,
            digits,
            steps=options.steps,
            encoder=PoissonEncoder(1.0),
            engine="clock",
            batch_size=options.batch,
        ),
    }
    for run in runs.values():
        run()
    times = [{name: seconds(run) for name, run in runs.items()} for _ in range(options.repeats)]
    for name in runs:
        values = sorted(row[name] for row in times)
        print(
            f"{name}  median {statistics.median(values):.2f} s  "
            f"({values[0]:.2f} to {values[-1]:.2f})"
        )
    ratios = [row["snn"] / row["cnn"] for row in times]
    print(
        f"simulate / {options.steps} CNN passes: {statistics.median(ratios):.2f}  "
        f"({min(ratios):.2f} to {max(ratios):.2f})"
    )


def peak_memory(options) -> None:
    for steps in (10, 60):
        command = [sys.executable, __file__, "--only-steps", str(steps)]
        peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        print(f"peak memory of {steps} steps: {peak.strip()} MiB")


def only(steps: int) -> None:
    _, snn = networks()
    simulate(snn, load_digits("test", per_class=100), steps=steps, engine="clock")
    print(int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) // 1024)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only-steps", type=int)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.only_steps:
        only(options.only_steps)
    else:
        print(f"{platform.machine()}, {options.threads} threads, torch {torch.__version__}")
        compare(options)
        peak_memory(options)
