"""Whether a chapter's executed pair is what its source would give today.

`make notebooks` stores a digest in every pair. It covers the chapter's text, all that a
chapter reads while it runs (library, data, pinned versions, the benchmarks' results), and the
pair itself, so it no longer fits once any of them changes, be it by hand. The book shows the
outputs of pairs whose digest fits, and executes the other chapters.

The version of Python is left out: outputs are shown as they were made, and the tests run every
chapter again.
"""

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from myst_nb.core.read import myst_nb_reader_plugin
from nbformat import NotebookNode

ROOT = Path(__file__).parent.parent
RESULTS = "benchmarks/results"  # which chapter 10 and a page of the appendix read
READ = ["snnlib", RESULTS, "requirements.txt", "constraints.txt"]
FIELD = "digest"  # in the metadata of a notebook


def environment() -> dict[str, str]:
    """What chapters run with: this folder's library, whatever is installed, and one thread.

    Two threads that spin stand still on a busy machine.
    """
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}


def require_pins() -> None:
    """Exit unless what is installed is what requirements.txt asks for."""
    pins = re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "requirements.txt").read_text(), flags=re.M)
    for name, wanted in pins:
        installed = version(name).split("+")[0]  # 2.13.0+cpu is 2.13.0
        if installed != wanted:
            sys.exit(
                f"error: requirements.txt asks for {name} {wanted}, but {installed} is installed; "
                "run `make .venv/ready` first"
            )


def fingerprint() -> str:
    """Changes whenever the library, its data, the pinned packages or the benchmarks' results do."""
    digest = hashlib.sha256()
    for path in sorted(_files()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(ROOT)} {content}\n".encode())
    return digest.hexdigest()


def _files() -> Iterator[Path]:
    """What chapters read, without what running them leaves behind (bytecode, compiled kernels)."""
    for top in (ROOT / name for name in READ):
        for path in [top, *top.rglob("*")]:
            parts = path.relative_to(ROOT).parts
            if path.is_file() and not any(p == "__pycache__" or p[0] == "." for p in parts):
                yield path


def made_from(source: Path) -> str:
    """Digest of a chapter's text and of all it reads; to be taken before the chapter runs."""
    return hashlib.sha256(fingerprint().encode() + source.read_bytes()).hexdigest()


def sign(pair: NotebookNode, made_from: str) -> None:
    """Store in a pair, in place, the digest of what it was made from and of itself."""
    pair.metadata.pop(FIELD, None)
    pair.metadata[FIELD] = _digest(json.loads(nbformat.writes(pair)), made_from)


def _digest(document: dict[str, Any], made_from: str) -> str:
    return hashlib.sha256((made_from + json.dumps(document, sort_keys=True)).encode()).hexdigest()


def valid_pair(source: Path) -> NotebookNode | None:
    """The executed pair beside a chapter's source, or None if its digest does not fit."""
    try:
        document = json.loads(source.with_suffix(".ipynb").read_text())
        stored = document["metadata"].pop(FIELD)
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ):  # absent or malformed
        return None
    if stored != _digest(document, made_from(source)):
        return None
    return nbformat.reads(json.dumps(document), as_version=4)


def fill(cache: Path, book: Path) -> list[str]:
    """Give a book's cache of executed chapters the outputs of the pairs that are valid.

    A chapter may lack cells at its end that its pair has: a book for students has no solutions.

    Returns
    -------
    names of the chapters that the book must execute
    """
    missing = []
    for page in sorted(book.glob("chapters/*.md")):
        pair = valid_pair(ROOT / "chapters" / page.name)
        if pair and (notebook := with_outputs(page, pair)):
            bundle = CacheBundleIn(notebook, str(page))
            get_cache(cache).cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
        else:
            missing.append(page.name)
    return missing


def with_outputs(page: Path, pair: NotebookNode) -> NotebookNode | None:
    """A page's notebook with its pair's outputs, or None if it does not begin as its pair does.

    It is read as the book reads it, since the cache finds a notebook by cells and kernel.
    """
    notebook = myst_nb_reader_plugin(str(page))
    cells, done = code_cells(notebook), code_cells(pair)
    if [c.source.strip() for c in cells] != [c.source.strip() for c in done[: len(cells)]]:
        return None
    for cell, ran in zip(cells, done, strict=False):
        cell.outputs, cell.execution_count = ran.outputs, ran.execution_count
    notebook.metadata.language_info = pair.metadata.language_info
    return notebook


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]
