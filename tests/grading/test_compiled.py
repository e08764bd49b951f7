"""Submissions do not spend their seconds on compiling the library."""

import os
import subprocess
import sys

from grading import compiled
from grading.sandbox import Limits, command

RUN = """
from snnlib import PoissonEncoder, convert, digit_cnn
from snnlib.engines import event
from snnlib.engines.event import kernels

event.prepare(convert(digit_cnn()), steps=1, encoder=PoissonEncoder())
assert kernels.gather.stats.cache_hits
assert not kernels.gather.stats.cache_misses
"""


def test_a_submission_finds_the_kernels_compiled(tmp_path):
    compiled.compile_once()
    subprocess.run(command([sys.executable, "-c", RUN], Limits(), tmp_path), check=True)


def test_kernels_are_compiled_once_for_each_version_of_their_source(tmp_path, monkeypatch):
    source, runs = tmp_path / "kernels.py", []
    monkeypatch.setattr(compiled, "_source", lambda: source)
    monkeypatch.setattr(compiled, "run_to_end", runs.append)
    compiled.compile_once()
    assert not runs  # no such library
    source.touch()
    (tmp_path / "__pycache__").mkdir()
    index = tmp_path / "__pycache__" / "kernels.gather-1.py311.nbi"
    compiled.compile_once()
    index.touch()
    compiled.compile_once()
    assert len(runs) == 1
    os.utime(index, (0, 0))
    compiled.compile_once()
    assert len(runs) == 2
