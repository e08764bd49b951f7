"""Binder, Codespaces and Colab: their files agree with the rest, buttons appear with an address."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import build_book
import jupytext
import pytest
import yaml
from bs4 import BeautifulSoup
from jupytext.config import find_jupytext_configuration_file

ROOT = Path(__file__).parent.parent.parent
PYTHON = "3.11"
CHAPTERS = sorted((ROOT / "chapters").glob("*.md"))
GITHUB = "https://github.com/someone/spikes"
MODULES = {"scikit-learn": "sklearn"}  # where a package's name is not what is imported


def pins(path: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / path).read_text(), flags=re.M))


def dependencies() -> set[str]:
    """What `pip install` of the library with its extra "interop" brings."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["interop"]
    return {re.match(r"[\w-]+", text)[0] for text in wanted}


def configuration(url: str) -> dict:
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    config["repository"]["url"] = url
    return config


def test_binder_installs_the_versions_of_the_course():
    binder, course = pins(".binder/requirements.txt"), pins("requirements.txt")
    assert binder["torch"] == f"{course['torch']}+cpu"
    assert binder | {"torch": course["torch"]} == {name: course[name] for name in binder}
    assert dependencies() <= set(binder)
    text = (ROOT / ".binder" / "requirements.txt").read_text()
    assert "--extra-index-url https://download.pytorch.org/whl/cpu\n" in text
    assert (ROOT / ".binder" / re.search(r"^-c (\S+)$", text, flags=re.M)[1]).is_file()


def test_every_place_runs_the_same_python():
    assert (ROOT / ".binder" / "runtime.txt").read_text() == f"python-{PYTHON}\n"
    assert f"python:1-{PYTHON}-" in devcontainer()["image"]
    assert f'python-version: "{PYTHON}"' in (ROOT / ".github/workflows/ci.yml").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={PYTHON}"


def test_binder_can_run_its_last_step():
    script = ROOT / ".binder" / "postBuild"
    assert os.access(script, os.X_OK)
    assert script.read_text().startswith("#!/bin/bash\n")
    assert "\nset -euo pipefail\n" in script.read_text(), "a failed build would go unseen"
    subprocess.run(["bash", "-n", script], check=True)


def devcontainer() -> dict:
    text = (ROOT / ".devcontainer" / "devcontainer.json").read_text()
    return json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.M))  # comments are allowed there


def test_the_container_sets_up_the_course_and_can_grade():
    settings = devcontainer()
    target = settings["postCreateCommand"].removeprefix("make ")
    assert f"\n{target}:" in (ROOT / "Makefile").read_text()
    assert "bubblewrap" in settings["onCreateCommand"]
    assert "--security-opt=seccomp=unconfined" in settings["runArgs"]
    assert settings["forwardPorts"] == [8888]
    (opened,) = settings["customizations"]["codespaces"]["openFiles"]
    assert (ROOT / opened).is_file()
    assert opened.startswith("notebooks/01")
    extensions = settings["customizations"]["vscode"]["extensions"]
    assert {"ms-python.python", "ms-toolsai.jupyter"} <= set(extensions)


def test_make_lab_opens_the_notebooks_for_readers():
    command = ["make", "--dry-run", "--no-print-directory", "--assume-old=.venv/ready", "lab"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.endswith(" .venv/bin/jupyter lab notebooks\n")


def test_saving_pairs_the_chapters_alone_with_a_text():
    def found(folder: str) -> str | None:
        return find_jupytext_configuration_file(str(ROOT / folder), search_parent_dirs=True)

    assert found("chapters") == str(ROOT / "chapters" / "jupytext.toml")
    assert found("notebooks") != found("chapters")
    assert not (found("notebooks") or "").startswith(str(ROOT))


def test_make_lab_shows_readers_no_buttons_of_nbgrader():
    environment = os.environ | {"JUPYTER_CONFIG_PATH": str(ROOT / "tools" / "lab")}
    command = [Path(sys.executable).with_name("jupyter"), "labextension", "list"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    (line,) = re.findall(r".*@jupyter/nbgrader v.*", run.stdout + run.stderr)
    assert "disabled" in line


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_needs_only_what_pip_installs_with_the_library(path):
    found = {MODULES.get(name, name) for name in dependencies()} | {"snnlib"}
    for cell in jupytext.read(path).cells:
        if cell.cell_type == "code":
            unknown = imported(cell.source) - found - sys.stdlib_module_names
            assert not unknown, f"{unknown}: {cell.source[:60]}"


def imported(code: str) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level
            names.add(node.module.split(".")[0])
    return names


def setup_of(folder: Path, *options: str) -> str:
    """What `make` would do to set up .venv in a folder; it does nothing."""
    for name in ("Makefile", "requirements.txt", "constraints.txt", "pyproject.toml"):
        if not (folder / name).exists():
            shutil.copy(ROOT / name, folder)
    environment = {name: v for name, v in os.environ.items() if name not in ("PYTHON", "MAKEFLAGS")}
    command = ["make", "--dry-run", ".venv/ready", *options]
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def plant_environment(folder: Path, made_by: str, runs: str) -> None:
    """Write a finished .venv that one version of Python made and another now runs."""
    folder.mkdir(exist_ok=True)
    setup_of(folder)
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "pyvenv.cfg").write_text(f"home = /usr/bin\nversion = {made_by}.4\n")
    python = folder / ".venv" / "bin" / "python"
    python.write_text(f"#!/bin/sh\n{runs}\n")
    python.chmod(0o755)
    (folder / ".venv" / "ready").touch()


MADE_ANEW = re.compile(r"^rm -rf \.venv\n.*\n\S+ -m venv \.venv$", flags=re.M)


def test_a_new_folder_gets_an_environment(tmp_path):
    assert re.search(r"^\S+ -m venv \.venv$", setup_of(tmp_path), flags=re.M)
    assert "rm -rf" not in setup_of(tmp_path)


def test_an_environment_that_runs_stays(tmp_path):
    plant_environment(tmp_path, "3.12", "echo 3.12")
    assert "venv .venv" not in setup_of(tmp_path)
    (tmp_path / ".venv" / "ready").unlink()  # set-up stopped half-way
    assert "rm -rf" not in setup_of(tmp_path)


@pytest.mark.parametrize("runs", ["echo 3.13", "exit 1"])
def test_an_environment_of_another_or_a_broken_python_is_made_anew(tmp_path, runs):
    plant_environment(tmp_path, "3.12", runs)
    assert MADE_ANEW.search(setup_of(tmp_path))


def test_an_environment_without_its_python_is_made_anew(tmp_path):
    plant_environment(tmp_path, "3.12", "echo 3.12")
    python = tmp_path / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to(tmp_path / "removed")
    assert MADE_ANEW.search(setup_of(tmp_path))


def test_an_empty_name_of_python_is_refused_and_removes_nothing(tmp_path):
    plant_environment(tmp_path, "3.12", "echo 3.12")
    command = ["make", ".venv/ready", "PYTHON="]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 2
    assert "make PYTHON=python3.11" in run.stderr
    assert (tmp_path / ".venv" / "pyvenv.cfg").exists()


def test_an_environment_of_another_python_than_is_asked_for_is_made_anew(tmp_path):
    this = "{}.{}".format(*sys.version_info)
    plant_environment(tmp_path, "3.99", "echo 3.99")
    assert MADE_ANEW.search(setup_of(tmp_path, f"PYTHON={sys.executable}"))
    plant_environment(tmp_path / "same", this, f"echo {this}")
    assert "venv .venv" not in setup_of(tmp_path / "same", f"PYTHON={sys.executable}")


def test_without_an_address_the_configuration_stays():
    assert build_book.with_buttons(configuration("")) == configuration("")
    assert yaml.safe_load((ROOT / "_config.yml").read_text())["launch_buttons"] == {"thebe": False}


@pytest.mark.parametrize("url", [GITHUB, f"{GITHUB}/", f"{GITHUB}.git"])
def test_an_address_may_be_written_as_it_is_copied(url):
    assert build_book.with_buttons(configuration(url))["repository"]["url"] == GITHUB


def test_colab_is_offered_only_on_github():
    elsewhere = build_book.with_buttons(configuration("https://gitlab.com/someone/spikes"))
    assert "binderhub_url" in elsewhere["launch_buttons"]
    assert "colab_url" not in elsewhere["launch_buttons"]


@pytest.mark.parametrize("url", ["someone/spikes", "https://github.com/someone", "git@host:a/b"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(SystemExit, match="write https://github"):
        build_book.with_buttons(configuration(url))


def small_book(folder: Path, url: str) -> BeautifulSoup:
    """Build a book of one chapter with the course's configuration; return that chapter."""
    header = CHAPTERS[0].read_text().split("\n(ch")[0]
    (folder / "chapters").mkdir()
    (folder / "chapters" / "one.md").write_text(f"{header}\n# One\n\n```{{code-cell}}\n1\n```\n")
    (folder / "chapters" / "one.ipynb").write_text("{}")
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / "one.ipynb").write_text("for readers")
    (folder / "index.md").write_text("# Book\n")
    (folder / "references.bib").write_text("")
    for name in ("_ext", "_static"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "_toc.yml").write_text(
        "format: jb-book\nroot: index\nchapters:\n- file: chapters/one\n"
    )
    config = build_book.with_buttons(configuration(url))
    config["execute"]["execute_notebooks"] = "off"
    assert build_book.jupyter_book(folder, config) == 0
    return BeautifulSoup((folder / "_build/html/chapters/one.html").read_text(), "html.parser")


@pytest.mark.slow
def test_a_book_without_an_address_has_no_buttons(tmp_path):
    page = small_book(tmp_path, "")
    assert not page.find_all(class_=re.compile("launch-buttons|source-repository"))
    assert not page.find_all("a", href=re.compile("mybinder|colab|github.com"))
    check_download(page, tmp_path)


def check_download(page: BeautifulSoup, folder: Path) -> None:
    """The button gives the notebook for readers, not the source or the pair."""
    (button,) = page.find_all(class_="btn-download-source-button")
    assert button["href"] == "../notebooks/one.ipynb"
    assert ".ipynb" in button.get_text()
    assert (folder / "_build/html/notebooks/one.ipynb").read_text() == "for readers"
    assert not page.find_all("a", href=re.compile("_sources/"))


@pytest.mark.slow
def test_a_book_with_an_address_has_all_buttons_and_they_open_the_notebook(tmp_path):
    page = small_book(tmp_path, GITHUB)
    links = {a["href"] for a in page.find_all("a", href=True) if "spikes" in a["href"]}
    check_download(page, tmp_path)
    notebook = "main?urlpath=lab/tree/notebooks/one.ipynb"
    assert links == {
        GITHUB,
        f"https://mybinder.org/v2/gh/someone/spikes/{notebook}",
        "https://colab.research.google.com/github/someone/spikes/blob/main/notebooks/one.ipynb",
    }
