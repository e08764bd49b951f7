"""What a student of a test hands in, and what it deserves.

Each submission carries the notebook that says what it deserves: that is run without nbgrader
and without a sandbox, and its passed tests are counted.
"""

import ast
import json
import random
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field

from grading.blank import student_version
from grading.check import failures, run
from grading.masters import Master, to_nbgrader
from grading.records import Status
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

GRADED, STOPPED = {Status.GRADED}, {Status.DID_NOT_RUN}
RAN = {Status.GRADED, Status.DID_NOT_RUN}


@dataclass
class Submission:
    """What one student hands in, and what it must come to."""

    content: bytes
    deserved: NotebookNode | None = None  # None: no point
    statuses: set[Status] = field(default_factory=lambda: GRADED)
    file_name: str = ""


@dataclass(frozen=True)
class Attack:
    """What a hostile student knows about the place where it will be graded."""

    folders: list[str]  # masters, inbox, home
    gradebook: str
    port: int  # of a server on this machine
    canary: str  # a file that must not change


NO_TARGET = Attack([], "", 0, "")  # for whoever attacks nothing there


Maker = Callable[[Master, random.Random, Attack], Submission]


def solved(master: Master, without: str = "", replace: dict[str, str] | None = None):
    """The student's notebook with every task solved but one, or with other code in some."""
    notebook = student_version(to_nbgrader(master))
    solutions = {p.task: p.source for p in master.parts if p.role == "solution"}
    solutions |= replace or {}
    for cell in notebook.cells:
        name = cell_name(cell)
        if name in solutions and name != without:
            cell.source = solutions[name]
    return notebook


def points(master: Master, notebook: NotebookNode | None) -> float:
    """What the tests give this notebook, hidden ones included, outside the pipeline."""
    if notebook is None:
        return 0.0
    full = deepcopy(notebook)
    hidden = {cell_name(c): c.source for c in to_nbgrader(master).cells if cell_name(c)}
    for cell in full.cells:
        if cell_name(cell).endswith(("_test", "_hidden")):
            cell.source = hidden[cell_name(cell)]
    failed = failures(run(full, timeout=120))
    tests = [p for p in master.parts if p.role in ("test", "hidden")]
    return sum(p.points for p in tests if p.grade_id not in failed)


def cell_name(cell: NotebookNode) -> str:
    return cell.metadata.get("nbgrader", {}).get("grade_id", "")


def task_names(master: Master) -> list[str]:
    return [p.task for p in master.parts if p.role == "solution"]


def as_bytes(notebook: NotebookNode) -> bytes:
    return json.dumps(notebook).encode()  # as it is, repeated cell ids and all


def with_body(master: Master, task: str, body: str) -> str:
    """The code of a task, but its functions do this instead."""
    source = next(p.source for p in master.parts if (p.role, p.task) == ("solution", task))
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.body = ast.parse(body).body
    return ast.unparse(tree)


def solved_but_one(master: Master, task: str, body: str) -> NotebookNode:
    """Everything solved, but the functions of one task do this instead."""
    return solved(master, replace={task: with_body(master, task, body)})


def blank_with(master: Master, code: str) -> Submission:
    """Nothing solved; hostile code in front of the first task."""
    notebook = student_version(to_nbgrader(master))
    first = next(i for i, cell in enumerate(notebook.cells) if cell_name(cell))
    notebook.cells.insert(first, new_code_cell(code))
    return Submission(as_bytes(notebook), statuses=RAN)


SEND = """
kernel = get_ipython().kernel
def send(kind, content, buffers=None):
    parent = kernel.get_parent()
    kernel.session.send(kernel.iopub_socket, kind, content, parent=parent, buffers=buffers)"""
