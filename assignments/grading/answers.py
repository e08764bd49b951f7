"""Written answers that stand beside the place for them.

A student may leave the stub and write below it, or put the answer into a cell of its
own, above or below. Such text is moved into the answer's cell, where a person marks it.
What stands farther away is pointed out.
"""

from nbformat import NotebookNode

from .blank import TEXT_STUB
from .masters import squeeze


def gather(cells: list[NotebookNode], released: NotebookNode) -> list[str]:
    """Move text into the answer cells that it stands next to; tell what was found.

    Parameters
    ----------
    cells
        The cells of a submission, labelled as released; changed in place.
    released
        The notebook that students were given: its text is nobody's answer.

    Returns
    -------
    list of str
        One sentence for answers that were moved, one for those that may be elsewhere.
    """
    known = {squeeze(cell.source) for cell in released.cells} | {""}
    moved, empty = [], []
    for place in reversed([i for i, cell in enumerate(cells) if _is_answer(cell)]):
        first, last = _neighbours(cells, place, known)
        cells[place].source = _joined(cells[first:last])
        name = cells[place].metadata["nbgrader"]["grade_id"]
        if cells[place].source == TEXT_STUB:
            empty.insert(0, name)
        elif last - first > 1:
            moved.insert(0, name)
        cells[first:last] = [cells[place]]
    astray = empty if any(_is_own(cell, known) for cell in cells) else []
    kinds = {
        "text in cells next to an answer's was moved into it": moved,
        "not answered, but there is text in other cells: look there": astray,
    }
    return [f"{text}: {', '.join(names)}" for text, names in kinds.items() if names]


def _is_answer(cell: NotebookNode) -> bool:
    label = cell.metadata.get("nbgrader", {})
    return cell.cell_type == "markdown" and bool(label.get("grade"))


def _is_own(cell: NotebookNode, known: set[str]) -> bool:
    """Whether a student added this text, or changed what was there."""
    plain = cell.cell_type == "markdown" and "nbgrader" not in cell.metadata
    return plain and squeeze(cell.source) not in known


def _neighbours(cells: list[NotebookNode], place: int, known: set[str]) -> tuple[int, int]:
    """The range of cells around an answer that hold only a student's own text."""
    first, last = place, place + 1
    while first and _is_own(cells[first - 1], known):
        first -= 1
    while last < len(cells) and _is_own(cells[last], known):
        last += 1
    return first, last


def _joined(cells: list[NotebookNode]) -> str:
    """The text of some cells without the stub; the stub if nothing else is left."""
    texts = [cell.source.replace(TEXT_STUB, "").strip() for cell in cells]
    return "\n\n".join(text for text in texts if text) or TEXT_STUB
