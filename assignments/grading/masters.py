"""Masters: assignments as MyST Markdown, solutions and hidden tests included.

A cell takes part in grading by one line of metadata, ``task: {role: name}``:

========== ======== ========================================================
role       cell     what becomes of it
========== ======== ========================================================
solution   code     between BEGIN and END SOLUTION, students see a stub
test       code     students see it; it earns its ``points`` if it passes
hidden     code     students see what it is ``about``; it earns its ``points``
answer     markdown students write it, a person marks it out of ``points``
========== ======== ========================================================

Several cells with one name make a task. ``about`` completes the sentence "They try
...", which students read in the notebook, and in their feedback if the checks fail. This
module turns the short form into the metadata of nbgrader [1]_, which does the rest.

.. [1] Project Jupyter et al. (2019). nbgrader. JOSE 2(11), 32.
"""

import re
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import jupytext
from nbformat import NotebookNode

from .sandbox import Limits

FOLDER = Path(__file__).parent.parent
CELL_TYPES = {"solution": "code", "test": "code", "hidden": "code", "answer": "markdown"}
POINTED = {"test", "hidden", "answer"}
SOLUTION = re.compile(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", re.S)


class MasterError(ValueError):
    """A master that cannot be released; the message names the cell and the fix."""


@dataclass(frozen=True)
class Part:
    """One cell that takes part in grading."""

    role: str
    task: str
    points: float
    source: str
    about: str = ""

    @property
    def grade_id(self) -> str:
        """The name nbgrader knows the cell by."""
        return self.task if self.role == "solution" else f"{self.task}_{self.role}"


@dataclass(frozen=True)
class Master:
    """An assignment as its authors wrote it."""

    name: str
    notebook: NotebookNode

    @property
    def title(self) -> str:
        """The first heading."""
        text = "\n".join(c.source for c in self.notebook.cells if c.cell_type == "markdown")
        return re.search(r"^# (.+)$", text, flags=re.M)[1]

    @property
    def parts(self) -> list[Part]:
        """The cells that take part in grading, in their order."""
        return [_part(self.name, c) for c in self.notebook.cells if "task" in c.metadata]

    @property
    def tasks(self) -> list[str]:
        """The names of the tasks, in their order."""
        return list(dict.fromkeys(part.task for part in self.parts))

    @property
    def points(self) -> float:
        """What a perfect submission earns."""
        return sum(part.points for part in self.parts)


def master_names(folder: Path = FOLDER) -> list[str]:
    """Assignments in a folder, by name: files ``<number>_<topic>.md``."""
    return sorted(path.stem for path in folder.glob("[0-9]*_*.md"))


def read_master(name: str, folder: Path = FOLDER) -> Master:
    """Read an assignment and check that it can be released.

    Raises
    ------
    MasterError
        If there is no such assignment, or a cell is not as the table above says.
    """
    path = folder / f"{name}.md"
    if not path.is_file():
        raise MasterError(f"no assignment {name!r}; there are: {', '.join(master_names(folder))}")
    master = Master(name, jupytext.read(path))
    _check_whole(master)
    return master


def _part(assignment: str, cell: NotebookNode) -> Part:
    """Read ``task: {role: name, points: n, about: text}`` of one cell."""
    marks = dict(cell.metadata["task"])
    points, about = marks.pop("points", 0), marks.pop("about", "")
    if len(marks) != 1 or not set(marks) <= set(CELL_TYPES):
        raise MasterError(
            f"{assignment}: task {dict(cell.metadata['task'])} must name one role of "
            f"{', '.join(CELL_TYPES)}, and points, and what a hidden one is about"
        )
    ((role, task),) = marks.items()
    where = f"{assignment}, {role} of {task!r}"
    _check_cell(where, role, points, cell)
    _check_about(where, role, about)
    return Part(role, task, float(points), cell.source, about)


def _check_cell(where: str, role: str, points: float, cell: NotebookNode) -> None:
    """Refuse a cell that nbgrader would release or grade wrongly."""
    if cell.cell_type != CELL_TYPES[role]:
        raise MasterError(f"{where}: must be a {CELL_TYPES[role]} cell, is {cell.cell_type}")
    if (points > 0) != (role in POINTED):
        raise MasterError(f"{where}: points belong to {', '.join(sorted(POINTED))}, and only there")
    if role == "solution" and not SOLUTION.search(cell.source):
        raise MasterError(f"{where}: put it between ### BEGIN SOLUTION and ### END SOLUTION")


def _check_about(where: str, role: str, about: object) -> None:
    """Refuse hidden checks that would fail a student without a word."""
    if role != "hidden" and about:
        raise MasterError(f"{where}: about belongs to hidden, and only there")
    one_line = isinstance(about, str) and about.strip() and about.splitlines() == [about]
    if role == "hidden" and not one_line:
        raise MasterError(
            f"{where}: say in one line what it tries, without giving it away, for those who "
            'fail it, such as about: "other sizes, and N = 0"'
        )


def _check_whole(master: Master) -> None:
    """Refuse solutions outside their cells, repeated cells, and tests of nothing."""
    for cell in master.notebook.cells:
        if "SOLUTION" in cell.source and "solution" not in cell.metadata.get("task", {}):
            raise MasterError(f"{master.name}: a solution outside a cell with task: {{solution}}")
    ids = [part.grade_id for part in master.parts]
    if repeated := sorted({i for i in ids if ids.count(i) > 1}):
        raise MasterError(f"{master.name}: more than one cell for {', '.join(repeated)}")
    solved = {part.task for part in master.parts if part.role == "solution"}
    for part in master.parts:
        if part.role in ("test", "hidden") and part.task not in solved:
            raise MasterError(f"{master.name}, {part.role} of {part.task!r}: no solution to test")


def to_nbgrader(master: Master) -> NotebookNode:
    """The notebook that nbgrader releases and grades by."""
    notebook = deepcopy(master.notebook)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        if "task" in cell.metadata:
            _expand(cell, _part(master.name, cell))
    notebook.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
        assignment=master.name,
    )
    return notebook


def _expand(cell: NotebookNode, part: Part) -> None:
    """Write one cell in nbgrader's own terms."""
    graded, locked = part.role in POINTED, part.role in ("test", "hidden")
    cell.metadata.pop("task")
    cell.metadata["nbgrader"] = {
        "schema_version": 3, "cell_type": cell.cell_type, "grade_id": part.grade_id,
        "grade": graded, "solution": not locked, "locked": locked, "task": False,
    }  # fmt: skip
    if graded:
        cell.metadata["nbgrader"]["points"] = part.points
    if locked:  # an unsolved task must not stop "Run all"
        cell.metadata["tags"] = [*cell.metadata.get("tags", []), "raises-exception"]
    if part.role == "test":
        cell.source = f'{_heading(part)}\n{part.source}\nprint("{part.task}: passed")'
    if part.role == "hidden":
        cell.source = (
            f"{_heading(part)}\n### BEGIN HIDDEN TESTS\n{part.source}\n### END HIDDEN TESTS"
        )
    if part.role == "answer":
        cell.source = f"### BEGIN SOLUTION\n{part.source}\n### END SOLUTION"


def _heading(part: Part) -> str:
    """What a student should know of a test, as a comment above it."""
    kind = "Test" if part.role == "test" else "Hidden checks"
    limit = f"within {Limits.cell_seconds} seconds"
    tried = f"\n# They try {part.about}." if part.about else ""
    return f"# {kind} of {part.task}: {in_points(part.points)}, {limit}.{tried}"


def in_points(number: float) -> str:
    """A number with its noun: ``1 point``, ``2 points``."""
    return f"{number:g} point" if number == 1 else f"{number:g} points"


def secret_lines(master: Master, shortest: int = 12) -> dict[str, str]:
    """Lines that no student may see: squeezed to their letters -> as written.

    A line also shown openly (in a visible test, say) is no secret. Lines of fewer
    than `shortest` letters are not told apart from anyone's code.
    """
    secret: dict[str, str] = {}
    for part in master.parts:
        for block in _secret_blocks(part):
            secret |= {squeeze(line): line.strip() for line in block.splitlines()}
    shown = open_text(master)
    return {k: v for k, v in secret.items() if len(k) >= shortest and k not in shown}


def open_text(master: Master) -> str:
    """All that students see of a master, each line squeezed."""
    text = []
    for cell in master.notebook.cells:
        role = next(iter(cell.metadata.get("task", {"": ""})))
        if role not in ("hidden", "answer"):
            text.append(SOLUTION.sub("", cell.source))
    return squeeze_lines("\n".join(text))


def squeeze_lines(text: str) -> str:
    """The text without the white space in its lines."""
    return "\n".join(squeeze(line) for line in text.splitlines())


def squeeze(text: str) -> str:
    """The text without its white space."""
    return re.sub(r"\s+", "", text)


def _secret_blocks(part: Part) -> list[str]:
    if part.role == "solution":
        return SOLUTION.findall(part.source)
    return [part.source] if part.role in ("hidden", "answer") else []
