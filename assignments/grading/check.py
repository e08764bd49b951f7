"""Does a master earn every point, and its blank version none?

Both run here without a sandbox: masters are the instructor's own code.
"""

import time
from copy import deepcopy
from pathlib import Path

from nbclient import NotebookClient
from nbformat import NotebookNode

from .blank import without_solutions
from .masters import Master, in_points, to_nbgrader


def check_master(master: Master, timeout: int = 120) -> list[str]:
    """What is wrong with an assignment, a sentence each; an empty list if nothing.

    Prints what each version earned and how long it ran [seconds].
    """
    notebook = to_nbgrader(master)
    # "Run all" must reach the end: only cells tagged raises-exception may fail
    blank = run(without_solutions(notebook), timeout, allow_errors=False)
    start = time.perf_counter()
    solved = run(notebook, timeout)
    seconds = time.perf_counter() - start
    wrong = [f"{master.name}: the solution fails {i}: {e}" for i, e in failures(solved).items()]
    failed = failures(blank)
    for part in master.parts:
        if part.role in ("test", "hidden") and part.grade_id not in failed:
            wrong.append(f"{master.name}: an untouched notebook passes {part.grade_id}")
    print(f"{master.name}: {len(master.tasks)} tasks, {in_points(master.points)}, {seconds:.1f} s")
    return wrong


def run(notebook: NotebookNode, timeout: int, allow_errors: bool = True) -> NotebookNode:
    """A copy of the notebook, executed in the current folder."""
    copy = deepcopy(notebook)
    place = {"metadata": {"path": str(Path.cwd())}}
    client = NotebookClient(copy, timeout=timeout, kernel_name="python3", resources=place)
    client.allow_errors = allow_errors
    client.execute()
    return copy


def failures(notebook: NotebookNode) -> dict[str, str]:
    """Cells that stopped with an error: name (or position) -> error."""
    failed = {}
    for position, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                name = cell.metadata.get("nbgrader", {}).get("grade_id", f"cell {position}")
                failed[name] = f"{output.ename}: {output.evalue}"
    return failed
