"""Notebooks for readers: plain Markdown, links that lead somewhere, the code of the chapter."""

import base64
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import make_runnable
import nbformat
import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.dollarmath import dollarmath_plugin
from runnable.book import Book
from runnable.myst import walk
from runnable.notebook import of_chapter as made_from

ROOT = make_runnable.ROOT
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CHAPTERS = sorted((ROOT / "chapters").glob("*.md"))
PLAIN = MarkdownIt("commonmark").enable("table").use(dollarmath_plugin, allow_labels=False)
ROLE = re.compile(r"\{[\w:+-]+\}$")
MACHINERY = re.compile(
    r"^\([\w-]+\)=|^:[\w-]+:|^:::|^\+\+\+|^%|\{[\w:+-]+\}`|\]\(\)|\{\{|^\s*```\{|\[\^|\\label\b",
    flags=re.M,
)

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
each_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def read(path: Path):
    return nbformat.read(path, as_version=4)


def of_chapter(path: Path):
    return read(ROOT / "notebooks" / f"{path.stem}.ipynb")


def code(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tokens(path: Path) -> Iterator[tuple[Token, list[Token]]]:
    """All tokens of a notebook's text, each with those on its level."""
    for cell in read(path).cells:
        if cell.cell_type == "markdown":
            yield from _levels(PLAIN.parse(cell.source))


def _levels(level: list[Token]) -> Iterator[tuple[Token, list[Token]]]:
    for token in level:
        yield token, level
        yield from _levels(token.children or [])


def test_committed_notebooks_are_what_would_be_made():
    made = dict(make_runnable.notebooks(ROOT))
    assert set(made) == {path.name for path in NOTEBOOKS}
    for name, notebook in made.items():
        nbformat.validate(notebook)
        assert read(ROOT / "notebooks" / name) == notebook, (
            f"notebooks/{name} is not what its chapter gives today; run "
            "`.venv/bin/python tools/make_runnable.py` and commit what it writes"
        )


@each_notebook
def test_no_markup_of_the_book_is_left(path):
    for token, level in tokens(path):
        if token.type == "fence":
            assert not token.info.startswith("{"), token.content
        elif token.type == "text":
            assert not MACHINERY.search(token.content), token.content
        elif token.type == "code_inline":
            before = level[level.index(token) - 1].content if level.index(token) else ""
            assert not ROLE.search(before), f"{before}`{token.content}`"
        elif token.type.startswith("math"):
            assert not re.search(r"\\label|\\begin\{(align|equation)|\n\s*\n", token.content)


@each_notebook
def test_every_fold_is_closed(path):
    for cell in read(path).cells:
        if cell.cell_type == "markdown":
            html = [t.content for t in walk(PLAIN.parse(cell.source)) if t.type == "html_block"]
            joined = "".join(html)
            assert joined.count("<details>") == joined.count("</details>")
            assert joined.count("<summary><b>") == joined.count("</b></summary>")
            assert joined.count("<details>") == joined.count("<summary>")


@each_notebook
def test_every_link_leads_somewhere_without_a_network(path):
    headings = {other.name: set(_anchors(other)) for other in NOTEBOOKS}
    for token, _ in tokens(path):
        if token.type == "link_open":
            parts = urlsplit(unquote(token.attrGet("href")))
            if parts.scheme:
                assert parts.scheme in ("http", "https"), token.attrGet("href")
                continue
            assert parts.path in headings, token.attrGet("href")
            assert not parts.fragment or parts.fragment in headings[parts.path]
        elif token.type == "image":
            assert token.attrGet("src").startswith("data:image/png;base64,")
            assert len(token.content) > 20, "no alt text"


def _anchors(path: Path) -> Iterator[str]:
    """What JupyterLab calls the headings of a notebook."""
    for token, level in tokens(path):
        if token.type == "heading_open":
            yield level[level.index(token) + 1].content.replace(" ", "-")


def is_shown(cell) -> bool:
    """Whether a reader of the notebook sees a cell of the pair."""
    return "test" not in cell.metadata.get("tags", [])


@each_chapter
def test_the_code_is_that_of_the_chapter_less_its_tests_and_solutions(path):
    pair = [cell for cell in code(read(path.with_suffix(".ipynb"))) if is_shown(cell)]
    notebook = of_chapter(path)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    ran = [cell for cell in code(notebook) if cell.execution_count]
    assert [cell.execution_count for cell in ran] == list(range(1, len(ran) + 1))
    solved = [cell for cell in pair if f"```python\n{cell.source}\n```" in text]
    assert len(solved) >= 3
    rest = [cell for cell in pair if cell not in solved]
    assert [cell.source for cell in ran] == [
        cell.source.replace("../benchmarks/results/", "") for cell in rest
    ]
    for cell, original in zip(ran, rest, strict=True):
        if "LiveLab(view" not in cell.source:
            assert [stripped(out) for out in cell.outputs] == [
                stripped(o) for o in original.outputs
            ]


def stripped(output) -> dict:
    return {**output, "metadata": {}}


@each_chapter
def test_every_picture_has_its_alt_text_and_its_caption_below(path):
    facts = {
        cell.metadata.mystnb.image.alt
        for cell in code(read(path.with_suffix(".ipynb")))
        if "mystnb" in cell.metadata
    }
    cells, found = of_chapter(path).cells, set()
    for cell, after in itertools.pairwise(cells):
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                base64.b64decode(output.data["image/png"], validate=True)
                alt = output.metadata["image/png"]["alt"]
                assert len(alt) > 40
                if "LiveLab" not in cell.source:
                    assert re.match(r"\*\*Fig\. \d+\.\d+\.\*\* \w", after.source)
                    found.add(alt)
    assert found == facts


@each_chapter
def test_readers_are_asked_to_write_and_solutions_are_folded(path):
    cells = of_chapter(path).cells
    turns = [i for i, cell in enumerate(cells) if cell.source == "# your turn"]
    assert len(turns) >= 2
    for i in turns:
        assert re.match(r"> \*\*Exercise \d+\.\d+\. .+\*\*\n>\n> ", cells[i - 1].source)
        assert cells[i + 1].source.startswith("<details>\n<summary><b>Solution</b></summary>")
        assert cells[i].execution_count is None


@each_chapter
def test_no_name_is_used_that_only_a_test_or_solution_would_have_made(path):
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select=F821,F811"]
    file = ROOT / "notebooks" / f"{path.stem}.ipynb"
    run = subprocess.run([*command, file], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


@each_notebook
def test_a_notebook_names_nothing_of_the_machine_that_made_it(path):
    text = path.read_text()
    assert str(ROOT) not in text
    assert "digest" not in json.loads(text)["metadata"]
    assert not re.search(r'"tags": \[[^\]]*(remove|test")', text)


def test_terms_show_their_definition_and_lead_to_it():
    term = r'\[spikes?\]\(glossary\.ipynb#spike "An event that is either there or not: [^"]+\."\)'
    assert re.search(term, read(NOTEBOOKS[1]).cells[0].source)


def test_citations_lead_to_the_work_and_stand_in_a_list():
    text = "\n".join(cell.source for cell in read(NOTEBOOKS[1]).cells)
    assert "[Diehl et al. (2015)](https://doi.org/10.1109/IJCNN.2015.7280696)" in text
    listed = text.split("## References\n\n")[1]
    names = [line.removeprefix("- ").split()[0] for line in listed.splitlines()]
    assert len(names) >= 4
    assert all(line.startswith("- ") for line in listed.splitlines())


def test_a_published_book_is_linked():
    book = Book.read(ROOT)
    assert book.link("chapters/10_take_it_elsewhere", "lab") == ""
    book.address = "https://example.org/book"
    assert book.link("chapters/10_take_it_elsewhere", "lab") == "https://example.org/book/lab.html"
    made = made_from(book, "chapters/10_take_it_elsewhere", read(CHAPTERS[9].with_suffix(".ipynb")))
    text = "\n".join(cell.source for cell in made.cells)
    assert "[the live lab](https://example.org/book/lab.html)" in text
