"""The version of a notebook that students get, made by nbgrader's own steps."""

from copy import deepcopy

from nbformat import NotebookNode
from nbgrader.preprocessors import ClearHiddenTests, ClearOutput, ClearSolutions, LockCells

CODE_STUB = 'raise NotImplementedError("not solved yet")  # replace this line by your code'
TEXT_STUB = "*Replace this line by your answer.*"


def without_solutions(notebook: NotebookNode) -> NotebookNode:
    """Stubs for solutions; hidden tests still in place, as grading needs them."""
    clear = ClearSolutions(code_stub={"python": CODE_STUB}, text_stub=TEXT_STUB)
    for step in (LockCells(), clear, ClearOutput()):
        notebook, _ = step.preprocess(deepcopy(notebook), {})
    return notebook


def student_version(notebook: NotebookNode) -> NotebookNode:
    """What students get: no solution, no hidden test."""
    return ClearHiddenTests().preprocess(without_solutions(notebook), {})[0]
