"""Interrupted tools leave the files that were there before; the lint finds what it should.

Where modules are listed, none is left out.
"""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
TOOLS = ROOT / "tools"

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


@pytest.mark.slow
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


def test_every_folder_of_the_library_is_a_package_that_the_lint_sees():
    folders = {path.parent for path in (ROOT / "snnlib").rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def linted(folder: Path) -> subprocess.CompletedProcess:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("data.py", "import snnlib.spiking.neurons", "snnlib.data -> snnlib.spiking.neurons"),
        ("cnn/scales.py", "import snnlib.cnn.balancing", "No import circle inside a wing BROKEN"),
        ("helpers.py", "", "snnlib.helpers"),
    ],
    ids=["upwards", "circle", "wing without a place"],
)
def test_an_import_against_the_way_of_the_data_is_found(tmp_path, module, line, broken):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "snnlib", tmp_path / "snnlib", ignore=shutil.ignore_patterns("assets"))
    assert linted(tmp_path).returncode == 0
    with (tmp_path / "snnlib" / module).open("a") as file:
        file.write(f"{line}\n")
    run = linted(tmp_path)
    assert run.returncode == 1
    assert broken in " ".join(run.stdout.split())


def test_contributing_names_every_wing_in_the_order_of_the_lint():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = next(c["layers"] for c in settings["contracts"] if c["type"] == "layers")
    text = (ROOT / "CONTRIBUTING.md").read_text()
    told = re.search(r"are wings,(.*?)A wing imports only", text, flags=re.S)[1]
    assert re.findall(r"`(\w+)`", told) == layers[::-1]


@pytest.mark.parametrize(
    "package", ["assignments/grading", "assignments/grading/judging", "tools/runnable"]
)
def test_a_package_that_lists_its_modules_lists_them_all(package):
    paths = [path for path in (ROOT / package).glob("*.py") if not path.stem.startswith("__")]
    told = ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text()))
    listed = re.findall(r"(?:^ +|\()(\w+)(?: +|: )", told, flags=re.M)
    assert sorted(path.stem for path in paths if path.stem not in listed) == []
