"""Interrupted tools leave the files that were there before."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parent.parent.parent / "tools"

KILLED_WHILE_WRITING = f"""
import os, runpy, signal, sys
import snnlib.storage, snnlib.cnn.training

def write_half(tensors, path, metadata):
    whole(tensors, path, metadata=metadata)
    os.truncate(path, os.path.getsize(path) // 2)
    print("half written", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

whole, snnlib.storage.save_file = snnlib.storage.save_file, write_half
snnlib.cnn.training.fit = lambda *args, **options: snnlib.cnn.training.History()
runpy.run_path({str(TOOLS / "make_weights.py")!r}, run_name="__main__")
"""


@pytest.fixture
def old_weights(tmp_path):
    path = tmp_path / "digit_cnn_digits.safetensors"
    path.write_text("the old weights")
    return path


def test_training_that_is_killed_leaves_the_old_weights_whole(old_weights):
    command = [sys.executable, TOOLS / "make_weights.py", "digits", "--folder", old_weights.parent]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        begun = process.stderr.read(len("\repochs"))
        process.kill()
    assert begun == b"\repochs"  # of the progress bar: training was under way
    assert old_weights.read_text() == "the old weights"
    assert list(old_weights.parent.iterdir()) == [old_weights]


def test_writing_that_is_killed_halfway_leaves_the_old_weights_whole(old_weights):
    arguments = ["digits", "--folder", old_weights.parent]
    run = subprocess.run(
        [sys.executable, "-c", KILLED_WHILE_WRITING, *arguments], capture_output=True, text=True
    )
    assert run.stdout == "half written\n", run.stderr
    assert run.returncode == -9
    assert old_weights.read_text() == "the old weights"


def test_a_chapter_that_fails_leaves_its_old_notebook_whole(tmp_path):
    source, pair = tmp_path / "99_broken.md", tmp_path / "99_broken.ipynb"
    header = (TOOLS.parent / "chapters" / "06_classify_over_time.md").read_text().split("\n(ch")[0]
    source.write_text(header + "\n```{code-cell} ipython3\n1 / 0\n```\n")
    pair.write_text("the old notebook")
    command = [sys.executable, TOOLS / "make_notebooks.py", source]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode != 0
    assert "ZeroDivisionError" in run.stderr
    assert pair.read_text() == "the old notebook"
    assert sorted(tmp_path.iterdir()) == [pair, source]
