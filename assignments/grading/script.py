"""What the judge runs for one assignment, in the order of its master."""

import ast
from collections.abc import Iterator

from nbformat import NotebookNode


def judges_script(notebook: NotebookNode) -> list[dict]:
    """The given cells and the tests of an assignment, and whom the tests ask.

    A given cell is code that every student was given: neither a task, nor tagged
    ``raises-exception``, as those that show what students wrote are.

    Returns
    -------
    list of dict
        ``{"given": source}`` or ``{"name": grade_id, "test": source, "functions": [...],
        "classes": [...]}``, the names that solutions define.
    """
    names = _defined(notebook)
    steps = []
    for cell in notebook.cells:
        label = cell.metadata.get("nbgrader", {})
        if cell.cell_type != "code":
            continue
        if label.get("grade"):
            steps.append({"name": label["grade_id"], "test": cell.source} | names)
        elif not label and "raises-exception" not in cell.metadata.get("tags", []):
            steps.append({"given": cell.source})
    return steps


def _defined(notebook: NotebookNode) -> dict[str, list[str]]:
    """Names that solution cells define at their top level."""
    functions, classes = [], []
    for cell in notebook.cells:
        label = cell.metadata.get("nbgrader", {})
        if cell.cell_type == "code" and label.get("solution"):
            for statement in ast.parse(cell.source).body:
                known = classes if isinstance(statement, ast.ClassDef) else functions
                known.extend(_bound(statement))
    return {"functions": functions, "classes": classes}


def _bound(statement: ast.stmt) -> Iterator[str]:
    """Names that one statement gives a meaning."""
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        yield statement.name
    if isinstance(statement, (ast.Assign, ast.AnnAssign)):
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id
