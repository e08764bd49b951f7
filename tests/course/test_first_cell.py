"""The first cell of a notebook: nothing where all is there, else an installation or a sentence."""

import ast
import importlib.util
import inspect
import re
import subprocess
import sys
import types
from pathlib import Path

import build_book
import make_runnable
import nbformat
import pytest
import yaml
from runnable import first_cell
from runnable.first_cell import set_up

NOTEBOOKS = sorted(
    path for path in (make_runnable.ROOT / "notebooks").glob("*.ipynb") if path.stem != "glossary"
)
CONFIG = yaml.safe_load((make_runnable.ROOT / "_config.yml").read_text())
NOWHERE = "https://127.0.0.1:1/nobody/nothing"  # where no server answers

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def first(path: Path) -> nbformat.NotebookNode:
    cells = nbformat.read(path, as_version=4).cells
    return next(cell for cell in cells if cell.cell_type == "code")


@each_notebook
def test_the_cell_does_nothing_where_the_course_is_installed(path, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(first(path).source, names)
    assert capfd.readouterr() == ("", "")
    assert set(names) - {"__builtins__"} == {"set_up"}
    assert list(tmp_path.iterdir()) == []


@each_notebook
def test_the_cell_is_folded_and_any_python_reads_it(path):
    cell = first(path)
    assert cell.source.startswith(f"{first_cell.TITLE}\n")
    assert cell.metadata["jupyter"] == {"source_hidden": True}
    ast.parse(cell.source, feature_version=(3, 6))


@each_notebook
def test_the_cell_asks_for_what_the_chapter_imports(path):
    call = ast.parse(first(path).source).body[-1].value
    needed, package, address = map(ast.literal_eval, call.args)
    assert {"snnlib", "torch"} <= set(needed)
    assert package == ("snnlib[interop]" if "nir" in needed else "snnlib")
    assert address == build_book.repository(CONFIG)
    for name in needed:
        assert importlib.util.find_spec(name), name


def test_the_library_comes_from_the_address_in_the_configuration():
    text = first_cell.first_cell(["import snnlib, h5py"], "snnlib", ("h5py",), "https://host/a/b")
    assert text.endswith("set_up(['h5py', 'snnlib'], 'snnlib[interop]', 'https://host/a/b')")


def test_a_kernel_of_another_python_is_named_with_what_to_do(capsys):
    set_up(["json"], "snnlib", "", python=(9, 1))
    said = capsys.readouterr().out
    here = "{}.{}".format(*sys.version_info)
    assert f"This kernel runs Python {here}, and the course needs 9.1 or newer." in said
    assert "Choose another kernel" in said
    set_up(["json"], "snnlib", "", python=sys.version_info[:2])  # the advice, taken
    assert capsys.readouterr().out == ""


def run_alone(folder: Path, code: str) -> subprocess.CompletedProcess:
    """Run code in a folder, as a kernel of this Python would."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)


@pytest.mark.parametrize("address", ["", NOWHERE], ids=["no address", "no network"])
def test_without_a_network_a_sentence_says_what_to_do(tmp_path, address):
    code = first_cell.first_cell(["import missing_thing"], "missing_thing", (), address)
    run = run_alone(tmp_path, code)
    assert run.stderr == ""
    assert "since missing_thing cannot be found here" in run.stdout
    assert "That did not work. With a network, run this cell again." in run.stdout
    assert "a kernel in whose environment the course is installed" in run.stdout
    assert ("There is no address to ask." in run.stdout) == (not address)
    assert ("error" in run.stdout.lower()) == bool(address)  # pip's own reason


def test_the_page_on_running_explains_what_the_cell_says():
    page = (make_runnable.ROOT / "appendix/run_it.md").read_text()
    sentences = re.findall(r"^\| `(.+?)`", page.split("## If a notebook complains")[1], flags=re.M)
    code = inspect.getsource(set_up)
    for sentence in ("That did not work. With a network, run this cell again.", "This kernel runs"):
        assert sentence in code
        assert any(said.startswith(sentence) for said in sentences)


def test_in_a_clone_the_library_comes_from_the_clone(tmp_path, monkeypatch, capsys):
    """Without a network for what pip builds with, its part is taken by one that notes the call."""
    (tmp_path / "snnlib").mkdir()
    (tmp_path / "snnlib/__init__.py").touch()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    monkeypatch.syspath_prepend(tmp_path / "installed")
    asked = []

    def pip(command, **options):
        asked.append(command)
        (tmp_path / "installed").mkdir()
        (tmp_path / "installed/missing_thing.py").touch()
        return types.SimpleNamespace(stderr="")

    monkeypatch.setattr(subprocess, "run", pip)
    set_up(["missing_thing"], "snnlib[interop]", "")
    assert [command[1:4] + command[-1:] for command in asked] == [
        ["-m", "pip", "install", "..[interop]"]
    ]
    assert capsys.readouterr().out.endswith("Done.\n")
    set_up(["missing_thing"], "snnlib[interop]", "")
    assert capsys.readouterr().out == ""


def test_colab_is_asked_to_show_the_live_lab(monkeypatch):
    asked = []
    colab = types.ModuleType("google.colab")
    colab.output = types.SimpleNamespace(enable_custom_widget_manager=lambda: asked.append(1))
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    set_up(["json"], "snnlib", "")
    assert asked == [1]


def test_data_beside_the_library_come_along(tmp_path, monkeypatch):
    cells = nbformat.read(NOTEBOOKS[9], as_version=4).cells
    data = next(cell for cell in cells if cell.source.startswith("# Data that this chapter reads"))
    assert data.metadata["jupyter"] == {"source_hidden": True}
    monkeypatch.chdir(tmp_path)
    exec(data.source, {})
    stored = make_runnable.ROOT / "benchmarks/results/nir.csv"
    assert (tmp_path / "nir.csv").read_text() == stored.read_text()
    code = "".join(cell.source for cell in cells if cell.cell_type == "code")
    assert 'Path("nir.csv").open()' in code
    assert "../benchmarks" not in code
