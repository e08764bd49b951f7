"""Execute chapters/*.md into their .ipynb pairs, outputs and all.

A notebook is replaced only when it has run to its end, so an interrupted or
failed run leaves the old one whole.  It carries a digest (`digests.py`), by which
the book tells whether it may show the outputs.
"""

import argparse
import time
from pathlib import Path

import digests
import jupytext
import nbformat
from nbclient import NotebookClient

from snnlib.storage import write_whole

CHAPTERS = Path(__file__).parent.parent / "chapters"


def make_notebook(source: Path) -> None:
    """Run one chapter and write its pair."""
    made_from = digests.made_from(source)
    notebook = jupytext.read(source)
    NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": CHAPTERS}}
    ).execute(env=digests.environment())
    make_reproducible(notebook)
    digests.sign(notebook, made_from)
    write_whole(source.with_suffix(".ipynb"), lambda path: nbformat.write(notebook, path))


def make_reproducible(notebook: nbformat.NotebookNode) -> None:
    """Drop what differs between two equal runs: random ids, times, widgets."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        cell.metadata.pop("execution", None)
        if "remove-output" in cell.metadata.get("tags", []):
            cell.outputs = []


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("chapters", nargs="*", type=Path, help="default: all")
    digests.require_pins()
    for source in parser.parse_args().chapters or sorted(CHAPTERS.glob("*.md")):
        start = time.perf_counter()
        make_notebook(source)
        print(f"{source.name}: {time.perf_counter() - start:.0f} s")
