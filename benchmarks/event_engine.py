"""What spikes cost the event engine: beside plain CNN passes, and beside the clock engine.

All on the same images and threads, in turn, in one process:
`python benchmarks/event_engine.py`.  Prints medians, spread and ratios for many images,
for one image alone, and at several rates the time against synaptic operations.
"""

import argparse
import platform

import numba
import torch
from common import cnn_passes, interleaved, networks, seconds, spread

from snnlib.data import load_digits
from snnlib.engines import clock, event
from snnlib.simulation import simulate
from snnlib.spiking.encoding import PoissonEncoder


def report(title: str, times: dict[str, list[float]], images: int) -> None:
    print(title)
    for name, values in times.items():
        print(f"  {name:<6} {spread(values, images / 1000)} ms an image")
    for name in [name for name in times if name != "event"]:
        ratios = [a / b for a, b in zip(times["event"], times[name], strict=True)]
        print(f"  event / {name}: {spread(ratios)}")


def many(options, cnn, snn) -> None:
    digits = load_digits("test", per_class=options.images // 10)
    arguments = {
        "steps": options.steps,
        "encoder": PoissonEncoder(1.0),
        "batch_size": options.batch,
    }
    runs = {
        "cnn": lambda: cnn_passes(cnn, digits.images, options.steps, options.batch),
        "event": lambda: simulate(snn, digits, engine="event", **arguments),
        "clock": lambda: simulate(snn, digits, engine="clock", **arguments),
    }
    title = f"{options.images} images x {options.steps} steps, {options.batch} at a time"
    report(title, interleaved(runs, options.repeats), options.images)


def one(options, cnn, snn, count: int = 50) -> None:
    """One image after the other, each alone; the output of every step is looked at."""
    digits, encoder = load_digits("test", per_class=count // 10), PoissonEncoder(1.0)

    def alone(engine):
        run = engine.prepare(snn, steps=options.steps, encoder=encoder)
        for place in torch.arange(count).split(1):
            for output in run(digits.images[place], place):
                output.potential.argmax(1)

    runs = {
        "cnn": lambda: cnn_passes(cnn, digits.images[:count], options.steps, 1),
        "event": lambda: alone(event),
        "clock": lambda: alone(clock),
    }
    report(f"one image alone x {options.steps} steps", interleaved(runs, options.repeats), count)


def rates(options, snn) -> None:
    """Time of one thread against synaptic operations, and how straight the line is."""
    digits = load_digits("test", per_class=options.images // 10)
    torch.set_num_threads(1)
    points = []
    print("rate   operations   seconds (one thread, best)")
    for rate in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        encoder, found = PoissonEncoder(rate), []

        def run(encoder=encoder, found=found):
            found.append(
                simulate(snn, digits, steps=options.steps, encoder=encoder, engine="event")
            )

        took = min(seconds(run) for _ in range(options.repeats))
        points.append((found[0].synaptic_operations.sum().item(), took))
        print(f"{rate:.1f}  {points[-1][0]:.3e}  {took:.3f}")
    x, y = torch.tensor(points, dtype=torch.float64).T
    print(f"R2 of a straight line: {torch.corrcoef(torch.stack([x, y]))[0, 1] ** 2:.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    versions = f"torch {torch.__version__}, numba {numba.__version__}"
    print(f"{platform.machine()}, {options.threads} threads, {versions}")
    cnn, snn = networks()
    many(options, cnn, snn)
    one(options, cnn, snn)
    rates(options, snn)
