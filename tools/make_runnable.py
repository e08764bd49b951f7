"""Write notebooks/*.ipynb, what readers run, from chapters/*.md and their executed pairs.

Nothing is executed, so this takes seconds; `make notebooks` executes the chapters first.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from runnable.book import GLOSSARY, Book
from runnable.notebook import of_chapter, of_glossary
from runnable.passage import TranslationError

from snnlib.storage import write_whole

ROOT = Path(__file__).parent.parent
NOTEBOOKS = ROOT / "notebooks"


def notebooks(root: Path) -> Iterator[tuple[str, NotebookNode]]:
    """Every notebook for readers of a book, with the name of its file."""
    book = Book.read(root)
    for name in book.numbers:
        pair = nbformat.read(root / f"{name}.ipynb", as_version=4)
        yield f"{Path(name).name}.ipynb", of_chapter(book, name, pair)
    yield f"{Path(GLOSSARY).name}.ipynb", of_glossary(book)


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    try:
        made = dict(notebooks(ROOT))
    except TranslationError as problem:
        sys.exit(f"error: {problem}\nno notebook was written")
    NOTEBOOKS.mkdir(exist_ok=True)
    for name, notebook in made.items():
        write_whole(NOTEBOOKS / name, lambda path, it=notebook: nbformat.write(it, path))
    for old in {path.name for path in NOTEBOOKS.glob("*.ipynb")} - set(made):
        (NOTEBOOKS / old).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
