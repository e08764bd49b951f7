"""Make what students get: ``dist/students``, whole or not at all.

Blank notebooks, the project sheet, the library as a wheel, requirements, a README.
Everything is checked for leaks before the folder gets its name.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import jupytext
import nbformat

from .blank import student_version
from .leaks import all_masters, find_leaks
from .masters import FOLDER, Master, to_nbgrader

ROOT = FOLDER.parent
PROJECT = FOLDER / "project.md"
NEEDED = ["torch", "numpy", "matplotlib", "safetensors", "tqdm", "ipywidgets", "scikit-learn"]


class LeakError(RuntimeError):
    """Students would see a solution or a hidden test; nothing was released."""


def release(target: Path, folder: Path = FOLDER, public: Iterable[Path] = ()) -> Path:
    """Write what students get of a folder of masters; `public` places must not leak either.

    Raises
    ------
    LeakError
        If a secret line stands in the folder or in a public place.
    """
    masters = all_masters(folder)
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        fill(partial, masters)
        if found := find_leaks([partial, *public], masters):
            raise LeakError("nothing was released:\n" + "\n".join(map(str, found)))
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def fill(folder: Path, masters: list[Master]) -> None:
    """Write all that students get into a new folder."""
    folder.mkdir(parents=True)
    for master in masters:
        nbformat.write(student_version(to_nbgrader(master)), folder / f"{master.name}.ipynb")
    nbformat.write(_project(), folder / "project.ipynb")
    wheel = _build_wheel(folder)
    (folder / "requirements.txt").write_text(_requirements(wheel.name))
    (folder / "README.md").write_text(_readme(masters))
    shutil.copy(ROOT / "LICENSE-CONTENT", folder)


def _project() -> nbformat.NotebookNode:
    notebook = jupytext.read(PROJECT)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
    return notebook


def _build_wheel(folder: Path) -> Path:
    with tempfile.TemporaryDirectory() as copy:  # pip would leave its build in the sources
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, copy)
        shutil.copytree(ROOT / "snnlib", Path(copy) / "snnlib")
        command = [sys.executable, "-m", "pip", "wheel", copy, "--no-deps", "--quiet"]
        subprocess.run([*command, "--wheel-dir", folder], check=True)
    return next(folder.glob("*.whl"))


def _pins() -> dict[str, str]:
    """The exact versions that the course is tested with, by package."""
    text = (ROOT / "requirements.txt").read_text()
    return dict(re.findall(r"^([\w.-]+)==(\S+)$", text, flags=re.M))


def _requirements(wheel: str) -> str:
    pins = _pins()
    lines = [f"{name}=={pins[name]}" for name in [*NEEDED, "jupyterlab"]]
    return "\n".join([f"./{wheel}", *lines]) + "\n"


def _readme(masters: list[Master]) -> str:
    rows = [f"| `{m.name}.ipynb` | {m.title} | {m.points:g} |" for m in masters]
    rows.append("| `project.ipynb` | Project: a question of your own | |")
    table = "\n".join(["| file | what | points |", "|---|---|---|", *rows])
    text = (FOLDER / "student_readme.md").read_text()
    return text.replace("{table}", table).replace("{torch}", _pins()["torch"])
