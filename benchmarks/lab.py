"""What the live lab costs a reader: time of a run, frames while a slider is dragged, bytes.

On an idle machine, after `make book`, in the environment of the course, as the pages' own
tests are: `.venv/bin/python benchmarks/lab.py`.  Runs are timed inside Chromium, in turn over
the ten sample digits; frames are counted there while a mouse drags each slider for the first
time and back.
"""

import argparse
import gzip
import statistics
import sys
from itertools import pairwise
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "tests" / "book"))

from browser import HTML, launched
from lab_page import LabPage, open_lab

SLIDERS = ("steps", "threshold", "rate", "seed")

# [ms] of each run: the first of all, then `repeats` of each sample.  `lab.run` also follows one
# layer's potentials and computes the CNN's activations, as every change of a setting does.
RUNS = """(() => {
  const times = [];
  const timed = () => {
    const start = performance.now();
    lab.run();
    times.push(performance.now() - start);
  };
  for (let i = 0; i < REPEATS * 10; i++) {
    lab.merge({digit: i % 10});
    timed();
  }
  return times;
})()"""
WATCH = """() => {
  window.frames_seen = [];
  const next = (now) => {
    window.frames_seen.push(now);
    window.watching = requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
}"""
STOP = "() => { cancelAnimationFrame(window.watching); return window.frames_seen; }"


def run_times(lab: LabPage, repeats: int) -> list[float]:
    return lab.get(RUNS.replace("REPEATS", str(repeats)))


def drag(lab: LabPage, name: str, moves: int) -> tuple[list[float], int]:
    """[ms] of each frame of a drag to the right end and back, and how many runs there were."""
    slider = lab.slider(name)
    slider.evaluate("(slider) => slider.scrollIntoView({block: 'center'})")
    box, runs = slider.bounding_box(), lab.get("lab.runs")
    left, right, y = box["x"] + 1, box["x"] + box["width"] - 1, box["y"] + box["height"] / 2
    lab.page.mouse.move(left, y)
    lab.page.mouse.down()
    lab.page.evaluate(WATCH)
    lab.page.mouse.move(right, y, steps=moves)
    lab.page.mouse.move(left, y, steps=moves)
    frames = lab.page.evaluate(STOP)
    lab.page.mouse.up()
    return [b - a for a, b in pairwise(frames)], lab.get("lab.runs") - runs


def report(options: argparse.Namespace) -> None:
    with launched() as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        lab = open_lab(context, f"{HTML.as_uri()}/lab.html")
        lab.get("lab.set({steps: 40})")
        times = run_times(lab, options.repeats)
        print(f"Chromium {browser.version}, {len(times)} runs of 40 recorded steps")
        quick = statistics.quantiles(times, n=20)
        print(f"  median {statistics.median(times):.1f} ms, 95 % within {quick[-1]:.1f} ms")
        for name in SLIDERS:
            lab.button("Reset settings").click()
            frames, runs = drag(lab, name, options.moves)
            rate = 1000 * len(frames) / sum(frames)
            print(f"  {name:<9} {rate:.0f} frames/s, longest {max(frames):.0f} ms, {runs} runs")
    page = (HTML / "lab.html").read_bytes()
    print(f"lab.html: {len(page):,} bytes, {len(gzip.compress(page)):,} compressed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20, help="runs of each sample")
    parser.add_argument("--moves", type=int, default=60, help="movements of the mouse each way")
    report(parser.parse_args())


if __name__ == "__main__":
    main()
