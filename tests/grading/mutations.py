"""Honest students made from a master, each by a seed: right, wrong, clumsy and unlucky."""

import ast
from copy import deepcopy

from grading.blank import student_version
from grading.masters import to_nbgrader
from grading.records import Status
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell
from submissions import SEND, Submission, as_bytes, cell_name, solved, solved_but_one, task_names


def right(master, rng, attack):
    notebook = solved(master)
    notebook.cells.append(new_code_cell(f"# student {rng.random()}"))
    return Submission(as_bytes(notebook), notebook)


def untouched(master, rng, attack):
    return Submission(as_bytes(student_version(to_nbgrader(master))))


def wrong_in_one_task(master, rng, attack):
    notebook = solved(master, without=rng.choice(task_names(master)))
    return Submission(as_bytes(notebook), notebook)


class _OffByOne(ast.NodeTransformer):
    """Change one comparison or one whole number."""

    def __init__(self, rng):
        self.left = rng.randrange(1, 8)

    def visit_Compare(self, node):
        swaps = {ast.GtE: ast.Gt, ast.Gt: ast.GtE, ast.Lt: ast.LtE, ast.LtE: ast.Lt}
        self.left -= 1
        if self.left == 0:
            node.ops = [swaps.get(type(op), type(op))() for op in node.ops]
        return self.generic_visit(node)

    def visit_Constant(self, node):
        if type(node.value) is int:
            self.left -= 1
            if self.left == 0:
                return ast.Constant(node.value + 1)
        return node


def off_by_one(master, rng, attack):
    task = rng.choice(task_names(master))
    source = next(p.source for p in master.parts if (p.role, p.task) == ("solution", task))
    changed = ast.unparse(_OffByOne(rng).visit(ast.parse(source)))
    notebook = solved(master, replace={task: changed})
    return Submission(as_bytes(notebook), notebook)


def exception(master, rng, attack):
    notebook = solved_but_one(
        master, rng.choice(task_names(master)), "raise RuntimeError('broken')"
    )
    return Submission(as_bytes(notebook), notebook)


def syntax_error(master, rng, attack):
    task = rng.choice(task_names(master))
    notebook = solved(master, replace={task: "def broken(:"})
    return Submission(as_bytes(notebook), solved(master, without=task))


def infinite_loop(master, rng, attack):
    task = rng.choice(task_names(master))
    return Submission(
        as_bytes(solved_but_one(master, task, "while True: pass")), solved(master, without=task)
    )


def memory_bomb(master, rng, attack):
    task = rng.choice(task_names(master))
    body = "hoard = []\nwhile True: hoard.append(torch.ones(10**8))"
    notebook = solved_but_one(master, task, "import torch\n" + body)
    return Submission(as_bytes(notebook), solved(master, without=task))


def gigabyte_of_output(master, rng, attack):
    notebook = solved(master)
    notebook.cells.insert(2, new_code_cell("for _ in range(10_000): print('x' * 100_000)"))
    return Submission(as_bytes(notebook), solved(master))


def warning(master, rng, attack):
    task = rng.choice(task_names(master))
    source = next(p.source for p in master.parts if (p.role, p.task) == ("solution", task))
    lines = f"import sys\nprint('to stderr', file=sys.stderr)\n{source}"
    return Submission(as_bytes(solved(master, replace={task: lines})), solved(master))


def tests_deleted(master, rng, attack):
    notebook = solved(master)
    gone = rng.sample([c for c in notebook.cells if cell_name(c).endswith(("_test", "_hidden"))], 3)
    notebook.cells = [cell for cell in notebook.cells if cell not in gone]
    return Submission(as_bytes(notebook), solved(master))


def solved_below_the_stubs(master, rng, attack):
    """Each stub still stands, and the solution in a new cell below it."""
    notebook = student_version(to_nbgrader(master))
    solutions = {p.task: p.source for p in master.parts if p.role == "solution"}
    for position in reversed(range(len(notebook.cells))):
        if source := solutions.get(cell_name(notebook.cells[position])):
            notebook.cells.insert(position + 1, new_code_cell(source))
    return Submission(as_bytes(notebook), solved(master))


def cells_duplicated(master, rng, attack):
    notebook = solved(master)
    position = rng.choice([i for i, cell in enumerate(notebook.cells) if cell_name(cell)])
    notebook.cells.insert(position + 1, deepcopy(notebook.cells[position]))
    return Submission(as_bytes(notebook), solved(master))


def tests_edited(master, rng, attack):
    task = rng.choice(task_names(master))
    notebook = solved(master, without=task)
    for cell in notebook.cells:
        if cell_name(cell).endswith(("_test", "_hidden")):
            cell.source = "assert True"
    return Submission(as_bytes(notebook), solved(master, without=task))


def labels_lost(master, rng, attack):
    notebook = solved(master)
    for cell in notebook.cells:
        cell.metadata = NotebookNode()
    return Submission(as_bytes(notebook), solved(master), {Status.NEEDS_A_PERSON})


def labels_forged(master, rng, attack):
    notebook = student_version(to_nbgrader(master))
    for cell in notebook.cells:
        if cell_name(cell):
            cell.metadata["nbgrader"] |= {"points": 1000, "locked": False, "solution": True}
            cell.source = "pass"
    extra = deepcopy(next(c for c in notebook.cells if cell_name(c).endswith("_test")))
    extra.metadata["nbgrader"]["grade_id"] = "bonus"
    notebook.cells.append(extra)
    return Submission(as_bytes(notebook))


def renamed_file(master, rng, attack):
    return Submission(as_bytes(solved(master)), solved(master), file_name="mein löwe (2).ipynb")


# -- whose work is a nuisance -------------------------------------------------------------

# who answers with what would run in the browser of whoever marks it
ACTIVE = "<script>window.pwned=1</script>\n\n[a](javascript:pwned=1) <img src=x onerror='pwned=1'>"


def active_answer(master, rng, attack):
    notebook = solved(master)
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and cell_name(cell):
            cell.source = ACTIVE
    notebook.cells.append(new_markdown_cell(ACTIVE))
    return Submission(as_bytes(notebook), solved(master))


def active_outputs(master, rng, attack):
    code = """
from IPython.display import HTML, Javascript, display
display(HTML("<script>window.pwned=1</script>"), Javascript("window.pwned=1"))
display({"image/png": 'x" onerror="pwned=1', "text/plain": "\\x1b]0;title\\x07"}, raw=True)"""
    return _solved_with(master, code)


def many_small_messages(master, rng, attack):
    """Each of them is sent at once, none is joined with another."""
    code = f"""
{SEND}
for number in range(30_000):
    send("stream", {{"name": "stdout", "text": "x"}})"""
    return _solved_with(master, code)


def one_message_in_many_outputs(master, rng, attack):
    """Few and short messages, of which the last makes all outputs long."""
    code = """
from IPython.display import display, update_display
for number in range(150):
    display("a", display_id="x")
update_display("y" * 1_200_000, display_id="x")"""
    return _solved_with(master, code)


def huge_figure(master, rng, attack):
    code = """
import base64, os
from IPython.display import display
display({"image/png": base64.b64encode(os.urandom(50 << 20)).decode()}, raw=True)"""
    return _solved_with(master, code)


def malformed_labels(master, rng, attack):
    notebook = solved(master)
    for label in ([], "x", 7, {"grade_id": ["x"]}, {"grade_id": "\ud800"}, float("nan"), 10**400):
        notebook.cells.append({"cell_type": "code", "source": "1", "outputs": [], "metadata": {}})
        notebook.cells[-1]["metadata"] = {"nbgrader": label}
    return Submission(as_bytes(notebook), solved(master))


def _solved_with(master, code: str) -> Submission:
    """Everything solved, behind a cell that is a nuisance."""
    notebook = solved(master)
    notebook.cells.insert(1, new_code_cell(code))
    return Submission(as_bytes(notebook), solved(master))


HONEST = [
    right, untouched, wrong_in_one_task, off_by_one, exception, syntax_error, infinite_loop,
    memory_bomb, gigabyte_of_output, warning, tests_deleted, solved_below_the_stubs,
    cells_duplicated, tests_edited, labels_lost, labels_forged, renamed_file, active_answer,
    active_outputs, many_small_messages, one_message_in_many_outputs, huge_figure,
    malformed_labels,
]  # fmt: skip
