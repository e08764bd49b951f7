"""Whatever a student hands in, made into a notebook that is safe to grade.

The cells of the released notebook are known by name. Each gets its released labels
back, a repeated one keeps only the first, a missing one is put back. Answers beside
their cells are moved into them. Outputs go. Code is not changed; text is kept so that no
browser runs it.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from . import inert
from .answers import gather
from .files import write_whole
from .members import LARGEST

MOST_CELLS = 2_000
LONGEST_SOURCE = 1 << 20  # characters of all cells; the longest master has 30,000


class NotGradableError(ValueError):
    """A submission that cannot be run; the message says why."""


class OtherAssignmentError(NotGradableError):
    """A notebook of another assignment, or of none."""


@dataclass
class Prepared:
    """A notebook ready for nbgrader, and what was fixed."""

    notebook: NotebookNode
    notes: list[str] = field(default_factory=list)
    unlabelled: bool = False


def prepare_into(notebook: Path, report: Path, content: bytes, released: NotebookNode) -> None:
    """Prepare in a process of its own: whatever a file does to a parser, it does it there.

    Writes the notebook, unless it is refused, and last a report.
    """
    found = {"notes": [], "unlabelled": False, "refused": "", "foreign": False}
    try:
        prepared = prepare(content, released)
    except NotGradableError as problem:
        found |= {"refused": str(problem), "foreign": isinstance(problem, OtherAssignmentError)}
    else:
        found |= {"notes": prepared.notes, "unlabelled": prepared.unlabelled}
        write_whole(notebook, nbformat.writes(prepared.notebook))
    write_whole(report, json.dumps(found))


@dataclass
class Fixed:
    """Names of cells that did not come back as they were released."""

    repeated: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def notes(self) -> list[str]:
        """One sentence for each kind that occurred."""
        kinds = {
            "test cells that were changed, and restored": self.changed,
            "cells that were missing, and put back": self.missing,
            "cells that were there twice; the second counts as plain code": self.repeated,
        }
        return [f"{text}: {', '.join(names)}" for text, names in kinds.items() if names]


def prepare(content: bytes, released: NotebookNode) -> Prepared:
    """Fix a submission after the released notebook of its assignment.

    Raises
    ------
    NotGradableError
        If it is too large or no notebook.
    OtherAssignmentError
        If it is the notebook of another assignment.
    """
    cells = [_plain(cell) for cell in _parse(content)]
    names = {_name(cell): cell for cell in released.cells if _name(cell)}
    known = [cell for cell in cells if _name(cell) in names]
    if not known and any(_name(cell) for cell in cells):
        raise OtherAssignmentError("none of its labelled cells belong to this assignment")
    fixed = Fixed()
    notebook = new_notebook(metadata=released.metadata)
    notebook.cells = _labelled(cells, names, fixed)
    _put_back(notebook.cells, released, fixed)
    if known:
        notes = fixed.notes() + gather(notebook.cells, released)
    else:
        notes = ["no cell kept its label: tests were added at the end"]
    _still(notebook.cells, released)
    return Prepared(notebook, notes, unlabelled=not known)


def _parse(content: bytes) -> list[dict]:
    """The cells of a file; none of them is taken on trust."""
    if len(content) > LARGEST:
        raise NotGradableError(f"larger than {LARGEST >> 20} MiB")
    try:
        notebook = nbformat.from_dict(json.loads(content.decode("utf-8-sig")))
        notebook = nbformat.convert(notebook, 4)
        cells = notebook["cells"]
        length = sum(len("".join(cell["source"])) for cell in cells)
        for cell in cells:
            str(cell["cell_type"]), {**cell["metadata"]}
    except Exception as error:
        # whatever a file can do to a parser, one bad file must not stop the class
        raise NotGradableError(f"not a notebook ({type(error).__name__}: {error})"[:200]) from None
    if len(cells) > MOST_CELLS or length > LONGEST_SOURCE:
        raise NotGradableError(
            f"{len(cells):,} cells with {length:,} characters; not more than "
            f"{MOST_CELLS:,} cells with {LONGEST_SOURCE:,} characters are run"
        )
    return cells


def _plain(cell: dict) -> NotebookNode:
    """A new cell with a cell's type, text and label; nothing else is taken over."""
    make = new_code_cell if cell["cell_type"] == "code" else new_markdown_cell
    text = "".join(cell["source"]).encode("utf-8", "replace").decode()  # no half characters
    new = make(text)
    label = cell["metadata"].get("nbgrader", {})
    if isinstance(label, dict) and isinstance(label.get("grade_id"), str):
        new.metadata["nbgrader"] = {"grade_id": label["grade_id"]}
    return new


def _name(cell: NotebookNode) -> str:
    return cell.metadata.get("nbgrader", {}).get("grade_id", "")


def _labelled(cells: list, names: dict, fixed: Fixed) -> list[NotebookNode]:
    """The cells with the released labels, each at most once."""
    seen: set[str] = set()
    for position, cell in enumerate(cells):
        name = _name(cell)
        cell.metadata.pop("nbgrader", None)
        if name in seen:
            fixed.repeated.append(name)
        elif name in names:
            cells[position] = _with_label(cell, names[name], fixed)
            seen.add(name)
    return cells


def _with_label(cell: NotebookNode, released: NotebookNode, fixed: Fixed) -> NotebookNode:
    label = released.metadata["nbgrader"]
    if label["locked"] and cell.source != released.source:
        fixed.changed.append(label["grade_id"])
    new = new_code_cell if released.cell_type == "code" else new_markdown_cell
    return new(cell.source, metadata=released.metadata)


def _put_back(cells: list[NotebookNode], released: NotebookNode, fixed: Fixed) -> None:
    """Insert graded cells that are missing, behind the last one of their task."""
    order = [cell for cell in released.cells if _name(cell)]
    for position, missing in enumerate(order):
        name = _name(missing)
        if name in map(_name, cells) or not missing.metadata["nbgrader"]["grade"]:
            continue
        before = [_name(cell) for cell in order[:position] if _task(cell) == _task(missing)]
        places = [i for i, cell in enumerate(cells) if _name(cell) in before]
        cells.insert(places[-1] + 1 if places else len(cells), missing.copy())
        fixed.missing.append(name)


def _still(cells: list[NotebookNode], released: NotebookNode) -> None:
    """Keep all text that is not the assignment's own so that nothing renders it."""
    own = {cell.source for cell in released.cells if cell.cell_type == "markdown"}
    for cell in cells:
        if cell.cell_type == "markdown" and cell.source not in own:
            cell.source = inert.written(cell.source)


def _task(cell: NotebookNode) -> str:
    """The task of a labelled cell: its name without its role."""
    name = _name(cell)
    for role in ("_test", "_hidden", "_answer"):
        name = name.removesuffix(role)
    return name
