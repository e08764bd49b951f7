"""The book for students: every exercise, no solution, and nothing that points to one."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import build_book
import build_student_book
import digests
import jupytext
import nbformat
import pytest
import yaml
from without_solutions import (
    Chapter,
    SolutionError,
    dangling,
    find_leaks,
    secrets,
    take_apart,
)

ROOT = Path(__file__).parent.parent.parent
CHAPTERS = sorted((ROOT / "chapters").glob("*.md"))
HERE = Path("99_here.md")
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT / "assignments")}

each_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)

EXERCISE = "```{exercise-start} Warm-up\n:label: ex-one\n```\nWhy?\n```{exercise-end}\n```\n"
SOLUTION = "```{solution-start} ex-one\n:class: dropdown\n```\nBecause.\n```{solution-end}\n```\n"
LINE = "The potential of a `leaky` neuron tends to $8z$."


def cell(code: str, options: str = "") -> str:
    return f"```{{code-cell}} ipython3\n{options}{code}\n```\n"


def taken_apart() -> list[Chapter]:
    return [take_apart(path.read_text(), path.relative_to(ROOT)) for path in CHAPTERS]


@each_chapter
def test_a_stripped_chapter_has_every_exercise_and_no_solution(path):
    text = path.read_text()
    chapter = take_apart(text, path)
    assert "{solution" not in chapter.kept
    assert chapter.solutions.count("{solution-start}") == text.count("{solution-start}") >= 2
    for gate in ("{exercise-start}", "{exercise-end}", "\n:label: ex-", "\n## "):
        assert chapter.kept.count(gate) == text.count(gate)
        assert gate not in chapter.solutions
    assert chapter.kept.count(":class: question dropdown") >= 3


@each_chapter
def test_a_stripped_chapter_can_show_the_outputs_of_the_whole_one(path, tmp_path):
    page = tmp_path / path.name
    page.write_text(take_apart(path.read_text(), path).kept)
    pair = nbformat.read(path.with_suffix(".ipynb"), as_version=4)
    shown = digests.with_outputs(page, pair)
    assert shown, "code after a solution: `make book-student` must execute this chapter"
    assert len(digests.code_cells(shown)) < len(digests.code_cells(pair))


@each_chapter
def test_taking_a_chapter_apart_loses_and_changes_nothing(path):
    text = path.read_text()
    chapter = take_apart(text, path)
    lines = [*chapter.kept.splitlines(), *chapter.solutions.splitlines()]
    assert sorted(lines) == sorted(text.splitlines())
    whole = [c.source for c in jupytext.read(path).cells if c.cell_type == "code"]
    kept = [c.source for c in jupytext.reads(chapter.kept, "md:myst").cells]
    assert len(whole) > sum(source in kept for source in whole) >= 5


def test_no_chapter_points_into_a_solution():
    assert dangling(taken_apart()) == []


def test_hidden_cells_behind_a_solution_go_with_it_and_others_stay():
    hidden, shown = cell("assert x == 1", ":tags: [remove-cell, test]\n\n"), cell("print(2)")
    yaml_hidden = cell("assert y", "---\ntags:\n  - remove-cell\n---\n")
    kept = take_apart(f"{hidden}{SOLUTION}\n{hidden}\n{yaml_hidden}\n{shown}{hidden}", HERE).kept
    assert kept == hidden + shown + hidden


def test_a_plain_solution_goes_whatever_its_fence():
    inner = cell("print('{solution-end}')")
    plain = f"````{{solution}} ex-one\n{inner}````\n:::{{solution}} ex-one\nYes.\n:::\n"
    assert take_apart(f"{EXERCISE}{plain}End.\n", HERE).kept == f"{EXERCISE}End.\n"


def test_what_a_cell_prints_is_no_gate():
    text = cell("print('''\n{solution-start} ex-one\n''')")
    assert take_apart(text, HERE) == Chapter(HERE, text, "")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"One.\n{SOLUTION[: SOLUTION.index('```{solution-end}')]}Rest.\n", 2),
        (f"{SOLUTION[: SOLUTION.index('```{solution-end}')]}\n{EXERCISE}{SOLUTION}", 1),
        (f"{EXERCISE}```{{solution-end}}\n```\n", 7),
        (f"{EXERCISE}\n```{{solution}} ex-one\nYes.\n", 8),
        (":::{note}\n```{solution} ex-one\nYes.\n```\n:::\n", 1),
        ("- One\n\n  ```{solution} ex-one\n  Yes.\n  ```\n", 3),
    ],
    ids=["no end", "next exercise", "no start", "open fence", "in a box", "in a list"],
)
def test_a_gate_that_is_not_closed_or_hidden_is_refused_by_file_and_line(text, line):
    with pytest.raises(SolutionError, match=rf"^{HERE}:{line}: "):
        take_apart(text, HERE)


@pytest.mark.parametrize(
    "sentence",
    [
        "Compare with the\nsolution below.",
        "The answer is in the folded solutions.",
        "See {numref}`fig-inside`.",
        "By {eq}`eq-inside`, it is.",
    ],
)
def test_a_sentence_that_points_into_a_solution_is_refused(sentence):
    figure = cell("plot()", "---\nmystnb:\n  figure:\n    name: fig-inside\n---\n")
    inside = f"{figure}$$\nz\n$$ (eq-inside)\n```{{solution-end}}"
    text = f"{sentence}\n{EXERCISE}{SOLUTION.replace('```{solution-end}', inside)}"
    (problem,) = dangling([take_apart(text, HERE)])
    assert problem.startswith(f"{HERE}: ")


@pytest.mark.parametrize(
    "sentence",
    ["The solution of this equation is {eq}`eq-outside`.", "Its solution decays.", "Resolution."],
)
def test_a_sentence_about_other_solutions_is_not(sentence):
    assert dangling([take_apart(f"{sentence}\n{EXERCISE}{SOLUTION}", HERE)]) == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("page.html", "<p>The potential of a <code>leaky</code> neuron\ntends to \\(8z\\).</p>"),
        ("_sources/page.md", f"Some text.\n{LINE}\n"),
        ("chapters/page.ipynb", json.dumps({"cells": [{"source": ["One.\n", LINE]}]})),
        ("searchindex.js", json.dumps({"text": LINE})),
    ],
)
def test_a_planted_line_is_found_in_any_dress(tmp_path, name, content):
    chapter = take_apart(SOLUTION.replace("Because.", LINE), HERE)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    (leak,) = find_leaks(tmp_path, secrets([chapter], ""))
    assert (leak.file, leak.chapter, leak.line) == (tmp_path / name, HERE.name, LINE)


def test_a_line_that_is_public_or_short_is_no_secret():
    chapter = Chapter(HERE, "", f"{LINE}\nprint(x + y + z)\nx = y + 1\n")
    assert secrets([chapter], f"Elsewhere: {LINE}") == {"print(x + y + z)": HERE.name}


def test_a_search_for_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no solution"):
        find_leaks(tmp_path, {})


def planted_pages(work: Path, config: dict) -> int:
    """Stand in for jupyter-book: one page, with a line of a solution."""
    (work / "_build" / "html").mkdir(parents=True)
    (work / "_build" / "html" / "page.html").write_text(longest_secret())
    for source in work.glob("chapters/*.md"):
        run = work / "_build" / "jupyter_execute" / "chapters" / f"{source.stem}.ipynb"
        run.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(jupytext.read(source), run)
    return 0


def longest_secret() -> str:
    return max(secrets(taken_apart(), ""), key=len)


@pytest.mark.parametrize(
    ("pages", "message"),
    [(planted_pages, "page.html.* is in a solution of"), (lambda *_: 1, "jupyter-book failed")],
)
def test_a_build_that_fails_or_leaks_leaves_the_old_book(tmp_path, monkeypatch, pages, message):
    monkeypatch.setattr(build_book, "jupyter_book", pages)
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "old.html").write_text("the old book")
    with pytest.raises(build_student_book.BuildError, match=message):
        build_student_book.build(tmp_path / "book", execute=False)
    assert [path.name for path in tmp_path.rglob("*")] == ["book", "old.html"]


@pytest.fixture(scope="module")
def book(tmp_path_factory) -> Path:
    """The whole book for students, without outputs."""
    target = tmp_path_factory.mktemp("dist") / "book"
    command = [sys.executable, ROOT / "tools" / "build_student_book.py", "--no-execute"]
    command += ["--target", target]
    run = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    assert list(target.parent.iterdir()) == [target]
    return target


@pytest.mark.slow
def test_the_built_book_has_every_page_and_exercise(book):
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    files = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    for name in [toc["root"], *files]:
        assert (book / "html" / f"{name}.html").is_file()
        assert (book / "html" / "_sources" / f"{name}.md").is_file()
    for path in CHAPTERS:
        page = (book / "html" / "chapters" / f"{path.stem}.html").read_text()
        for label in re.findall(r"\{exercise-start\}.*\n:label: (\S+)", path.read_text()):
            assert f'id="{label}"' in page


@pytest.mark.slow
def test_the_built_book_has_no_solution_and_no_way_to_the_repository(book):
    shown = [chapter.kept for chapter in taken_apart()]
    shown += [
        path.read_text() for path in [*ROOT.glob("snnlib/**/*.py"), *ROOT.glob("appendix/*.md")]
    ]
    assert find_leaks(book, secrets(taken_apart(), "\n".join(shown))) == []
    for path in CHAPTERS:
        page = (book / "html" / "chapters" / f"{path.stem}.html").read_text()
        source = (book / "html" / "_sources" / "chapters" / path.name).read_text()
        assert "{solution" not in source
        assert not re.search('class="solution|source-repository-button|launch-buttons', page)


@pytest.mark.slow
def test_chapters_come_as_notebooks_to_run_with_every_exercise(book):
    names = {path.name for path in (book / "notebooks").iterdir()}
    assert names == {*(f"{path.stem}.ipynb" for path in CHAPTERS), "glossary.ipynb"}
    for path in CHAPTERS:
        notebook = nbformat.read(book / "notebooks" / f"{path.stem}.ipynb", as_version=4)
        nbformat.validate(notebook)
        text = "\n".join(cell.source for cell in notebook.cells)
        assert text.count("# your turn") == path.read_text().count("{exercise-start}")
        assert "<b>Solution</b>" not in text
        assert "{" + "numref}" not in text
        page = (book / "html" / "chapters" / f"{path.stem}.html").read_text()
        assert f'href="../notebooks/{path.stem}.ipynb"' in page
        assert (book / "html" / "notebooks" / f"{path.stem}.ipynb").is_file()
