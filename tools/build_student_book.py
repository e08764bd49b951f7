"""Build the book for a class, without the solutions of its exercises, in dist/book-student.

The solutions are taken out of a copy of the sources, so they are in no page, no source
that a page links to, and no notebook. `html/` is the book, `notebooks/` its chapters as
notebooks to run. The folded answers under "Check yourself" stay, as they
are questions to oneself. There are no buttons to the repository: the solutions are there.

The folder appears whole, and only when no line of a solution was found in it.
"""

import argparse
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import build_book
import digests
import jupytext
import nbformat
import yaml
from make_notebooks import make_reproducible
from nbformat import NotebookNode
from runnable.book import Book
from runnable.notebook import of_chapter, of_glossary
from without_solutions import Chapter, SolutionError, dangling, find_leaks, secrets, take_apart

ROOT = build_book.ROOT
TARGET = ROOT / "dist" / "book-student"
SOURCES = ["_config.yml", "_toc.yml", "index.md", "lab.md", "references.bib", "_static", "_ext"]
SOURCES += ["appendix", digests.RESULTS]


class BuildError(RuntimeError):
    """There is no book for students; what was in its place before is still there."""


def copy_sources(folder: Path) -> None:
    """Copy what the pages are made of. The library is not copied: it is installed."""
    for name in [*SOURCES, "chapters"]:
        if (ROOT / name).is_dir():
            unwanted = shutil.ignore_patterns("*.ipynb", ".*")
            shutil.copytree(ROOT / name, folder / name, ignore=unwanted)
        else:
            shutil.copy(ROOT / name, folder)


def strip_chapters(folder: Path) -> list[Chapter]:
    """Take the solutions out of a copy's chapters, or refuse with all reasons."""
    paths = sorted(folder.glob("chapters/*.md"))
    chapters = [take_apart(path.read_text(), path.relative_to(folder)) for path in paths]
    if problems := dangling(chapters):
        raise SolutionError("\n".join(problems))
    for chapter in chapters:
        (folder / chapter.path).write_text(chapter.kept)
    return chapters


def configuration(folder: Path, cache: Path | None) -> dict[str, Any]:
    """The book's configuration, less what leads to the repository."""
    config = yaml.safe_load((folder / "_config.yml").read_text())
    config["repository"]["url"] = ""
    if cache:
        config["execute"]["cache"] = str(cache)
    else:  # without outputs there are no figures to refer to
        config["execute"]["execute_notebooks"] = "off"
        config["sphinx"]["config"]["suppress_warnings"] = ["myst.domains", "ref.numref"]
    return config


def gather(work: Path, folder: Path) -> None:
    """Put pages and notebooks of a finished build into a new folder."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(work / "_build" / "html", folder / "html")
    (folder / "notebooks").mkdir()
    runs = work / "_build" / "jupyter_execute"
    book = replace(Book.read(work), repository="")  # where the solutions are
    for name in book.numbers:
        run = nbformat.read(runs / f"{name}.ipynb", as_version=4)
        made = of_chapter(book, name, executed(work / f"{name}.md", run))
        nbformat.write(made, folder / "notebooks" / f"{Path(name).name}.ipynb")
    nbformat.write(of_glossary(book), folder / "notebooks" / "glossary.ipynb")
    shutil.copytree(folder / "notebooks", folder / "html" / "notebooks", dirs_exist_ok=True)


def executed(source: Path, run: NotebookNode) -> NotebookNode:
    """The chapter as a notebook, with the outputs that its page shows."""
    notebook = jupytext.read(source)
    for cell, done in zip(_code(notebook), _code(run), strict=True):
        cell.outputs, cell.execution_count = done.outputs, done.execution_count
    make_reproducible(notebook)
    return notebook


def _code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def check(folder: Path, chapters: list[Chapter], work: Path) -> None:
    """Raise `BuildError` if a line of a solution stands in a file of the folder."""
    open_files = [*work.glob("*.md"), *work.glob("*/*.md"), *(ROOT / "snnlib").rglob("*.py")]
    public = "\n".join(path.read_text() for path in open_files)
    if leaks := find_leaks(folder, secrets(chapters, public)):
        raise BuildError("solutions got out:\n" + "\n".join(map(str, leaks)))


def build(target: Path, execute: bool = True) -> None:
    """Write the book for students, whole or not at all.

    Raises
    ------
    SolutionError
        If a chapter cannot be stripped.
    BuildError
        If the stripped book does not build, or a solution is still in it.
    """
    partial = target.with_name(f".{target.name}.partial")
    with tempfile.TemporaryDirectory(prefix="book-student-") as name:
        work = Path(name)
        copy_sources(work)
        chapters = strip_chapters(work)
        (work / "notebooks").mkdir()  # a page then offers its notebook, which is made last
        cache = build_book.executions() if execute else None
        if cache:
            digests.fill(cache, work)
        if build_book.jupyter_book(work, configuration(work, cache)):
            raise BuildError("jupyter-book failed; look above for the cause")
        try:
            gather(work, partial)
            check(partial, chapters, work)
            shutil.rmtree(target, ignore_errors=True)
            partial.rename(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-execute", action="store_true", help="a quick check of the pages")
    parser.add_argument("--target", type=Path, default=TARGET, help="default: dist/book-student")
    arguments = parser.parse_args()
    try:
        build(arguments.target, not arguments.no_execute)
    except (SolutionError, BuildError) as problem:
        print(f"error: {problem}\nnothing was written to {arguments.target}", file=sys.stderr)
        return 1
    print(f"the book for students: {arguments.target / 'html' / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
