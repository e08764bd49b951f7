"""What students get: runs on its own, and holds nothing secret. Planted leaks are caught."""

import ast
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
from grading.blank import student_version
from grading.leaks import all_masters, find_leaks
from grading.masters import FOLDER, read_master, to_nbgrader
from grading.release import LeakError, release
from school import MASTERS, environment

BOOK = FOLDER.parent / "_build" / "html"
SECRET = "    faded = keep * v"
NO_NEED_TO_INSTALL = set(sys.stdlib_module_names) | {"snnlib"}


@pytest.fixture(scope="module")
def students(tmp_path_factory):
    """The release of the six real assignments."""
    return release(tmp_path_factory.mktemp("dist") / "students")


@pytest.fixture
def demo():
    return [read_master("1_demo", MASTERS)]


def test_the_folder_holds_what_a_student_needs_and_nothing_else(students):
    names = {path.name for path in students.iterdir()}
    assert len([name for name in names if re.match(r"[1-6]_.*\.ipynb", name)]) == 6
    assert {n for n in names if not n.endswith((".ipynb", ".whl"))} == {
        "LICENSE-CONTENT",
        "README.md",
        "requirements.txt",
    }
    assert "project.ipynb" in names


def test_no_secret_is_in_it(students):
    assert find_leaks([students], all_masters()) == []


def test_the_wheel_holds_the_library_and_no_assignment(students):
    (wheel,) = students.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.endswith("mnist.npz") for name in names)
    assert not any("assignments" in name or "grading" in name for name in names)


def test_requirements_cover_every_import(students):
    text = (students / "requirements.txt").read_text()
    (wheel,) = students.glob("*.whl")
    assert f"./{wheel.name}" in text
    assert "nbgrader" not in text
    needed = set().union(*(imports(path) for path in students.glob("*.ipynb")))
    installed = {name.split("==")[0] for name in text.splitlines()}
    assert needed - NO_NEED_TO_INSTALL <= installed


def imports(path: Path) -> set[str]:
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    source = "\n".join(re.sub(r"^[%!].*$", "", cell.source, flags=re.M) for cell in cells)
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            found.add(node.module.split(".")[0])
    return found


def test_every_notebook_is_valid_and_empty_of_outputs(students):
    for path in students.glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        assert not any(cell.get("outputs") for cell in notebook.cells)
        assert not any("task" in cell.metadata for cell in notebook.cells)


def test_no_notebook_links_to_a_file_that_students_do_not_have(students):
    for path in students.glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        assert not re.search(r"\]\((?!https://)|\{(numref|cite|ref)\}", text), path


def test_the_readme_names_every_file(students):
    text = (students / "README.md").read_text()
    for path in students.glob("*.ipynb"):
        assert f"`{path.name}`" in text
    assert "{" not in text


def as_notebook(line: str) -> str:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(line)])
    return nbformat.writes(notebook)


PLANTED = {
    "students/2.ipynb": as_notebook(SECRET),
    "students/output.ipynb": json.dumps({"cells": [{"outputs": [{"text": [f"'x'\n{SECRET}"]}]}]}),
    "html/page.html": "<pre><span>faded</span> <span>=</span> keep <span>*</span> v</pre>",
    "html/code.html": "<code>assert spikes([1.0, 0.999, 3.0], 1.0) == [0, 2], &quot;a neuron at "
    "its threshold spikes&quot;</code>",
    "html/_sources/chapters/2.md": f"text\n{SECRET}\nmore text",
    "html/search.js": 'Search.setIndex("faded=keep*v")',
    "feedback/anna.html": "<td>Because each step keeps a share below one of the potential. "
    "One point for the share,</td>",
    "html/_static/data.txt": SECRET,
}


@pytest.mark.parametrize("place", PLANTED)
def test_a_planted_leak_is_caught(tmp_path, demo, place):
    file = tmp_path / place
    file.parent.mkdir(parents=True)
    file.write_text("nothing here")
    assert not find_leaks([tmp_path], demo)
    file.write_text(PLANTED[place])
    (leak,) = find_leaks([tmp_path], demo)
    assert leak.file == file
    assert "1_demo" in str(leak)


def test_hidden_checks_that_say_too_much_of_themselves_are_caught(tmp_path):
    """What they are about is no secret, unless it quotes one of their lines."""
    text = (MASTERS / "1_demo.md").read_text()
    quoted = text.replace("another share, and input", "assert float(secret_potential) == 1.5")
    assert quoted != text
    for number, version in enumerate([text, quoted]):
        (tmp_path / "1_demo.md").write_text(version)
        master = read_master("1_demo", tmp_path)
        notebook = tmp_path / "students" / "1_demo.ipynb"
        notebook.parent.mkdir(exist_ok=True)
        nbformat.write(student_version(to_nbgrader(master)), notebook)
        assert len(find_leaks([notebook], [master])) == number


def test_a_leak_in_the_book_stops_the_release_and_leaves_the_old_one(tmp_path):
    page = tmp_path / "html" / "_sources" / "page.md"
    page.parent.mkdir(parents=True)
    page.write_text((MASTERS / "1_demo.md").read_text())
    old = tmp_path / "students" / "old.txt"
    old.parent.mkdir()
    old.write_text("old")
    with pytest.raises(LeakError, match=r"page\.md"):
        release(tmp_path / "students", MASTERS, [tmp_path / "html"])
    assert old.read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"html", "students"}


def test_a_place_that_does_not_exist_is_not_called_clean(tmp_path, demo):
    with pytest.raises(FileNotFoundError, match="cannot be checked for leaks"):
        find_leaks([tmp_path / "none"], demo)


def test_masters_without_secrets_are_not_called_clean(tmp_path):
    with pytest.raises(ValueError, match="is the folder right"):
        find_leaks([tmp_path], [])


def test_the_command_says_where_the_leak_is(tmp_path):
    (tmp_path / "x.md").write_text(SECRET)
    command = [sys.executable, "-m", "grading", f"--masters={MASTERS}", "leaks", str(tmp_path)]
    run = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert run.returncode == 1
    assert "x.md: 'faded = keep * v' is a solution or hidden test of 1_demo" in run.stdout
