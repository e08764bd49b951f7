"""What spikes cost the clock engine: `simulate` beside as many plain CNN passes.

Both on the same images, batch size and threads, in turn, in one process:
`python benchmarks/clock_engine.py`.  Prints medians and their ratio, and the peak
memory of a run of 10 and of 60 steps, each in a process of its own.
"""

import argparse
import platform
import re
import subprocess
import sys
from pathlib import Path

import torch
from common import cnn_passes, interleaved, networks, spread

from snnlib.data import load_digits
from snnlib.simulation import simulate
from snnlib.spiking.encoding import PoissonEncoder


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
    times = interleaved(runs, options.repeats)
    for name, values in times.items():
        print(f"{name}  {spread(values)} s")
    ratios = [snn / cnn for snn, cnn in zip(times["snn"], times["cnn"], strict=True)]
    print(f"simulate / {options.steps} CNN passes: {spread(ratios)}")


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
