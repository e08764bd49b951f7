"""Students who forge what they did not do: replies, objects, libraries, the judge's line.

Every function answers wrongly. Where `FLAGGED`, the forgery makes visible tests pass in
the notebook itself, so that without the judge it would score.
"""

from grading.records import Status
from nbformat.v4 import new_code_cell
from submissions import Submission, as_bytes, cell_name, solved, task_names, with_body

FLAGGED = {Status.TAMPERED, Status.NEEDS_A_PERSON}
ANY = {*FLAGGED, Status.GRADED, Status.DID_NOT_RUN}


def forged(code: str, body: str = "import torch\nreturn torch.zeros(2)", statuses=FLAGGED):
    """A maker of submissions with this code in front of functions with this body."""

    def maker(master, rng, attack):
        bodies = {task: with_body(master, task, body) for task in task_names(master)}
        notebook = solved(master, replace=bodies)
        first = next(i for i, cell in enumerate(notebook.cells) if cell_name(cell))
        notebook.cells.insert(first, new_code_cell(code))
        return Submission(as_bytes(notebook), statuses=statuses)

    return maker


def named(**makers):
    """The makers under their names, which name the students."""
    for name, maker in makers.items():
        maker.__name__ = name
    return list(makers.values())


# -- the reply of the kernel --------------------------------------------------------------

REPLIES = named(
    run_cell_replaced=forged("""
shell = get_ipython()
original = type(shell).run_cell
def run_cell(self, source, *arguments, **named):
    return original(self, "pass" if "assert" in source else source, *arguments, **named)
type(shell).run_cell = run_cell"""),
    do_execute_replaced=forged("""
kernel = get_ipython().kernel
original = kernel.do_execute
async def do_execute(code, *arguments, **named):
    return await original("pass" if "assert" in code else code, *arguments, **named)
kernel.do_execute = do_execute"""),
    errors_wiped=forged("""
def wipe(result):
    result.error_in_exec = result.error_before_exec = None
get_ipython().events.register("post_run_cell", wipe)
get_ipython().showtraceback = lambda *arguments, **named: None"""),
    exception_handler=forged("""
shell = get_ipython()
shell.set_custom_exc((BaseException,), lambda *arguments, **named: None)
shell.events.register("post_run_cell", lambda result: setattr(result, "error_in_exec", None))"""),
    reply_rewritten=forged("""
session = get_ipython().kernel.session
original = session.send
def send(stream, kind, content=None, *arguments, **named):
    if kind == "execute_reply":
        content = content | {"status": "ok", "user_expressions": {}, "payload": []}
    if kind == "error":
        return None
    return original(stream, kind, content, *arguments, **named)
session.send = send"""),
    run_code_replaced=forged("""
shell = get_ipython()
original = shell.run_code
async def run_code(code, result=None, **named):
    await original(code, None, **named)
    return False
shell.run_code = run_code
shell.showtraceback = lambda *arguments, **named: None"""),
    trace_function=forged(
        """
import sys
def trace(frame, event, argument):
    if "ipykernel_" not in frame.f_code.co_filename:
        return None
    frame.f_trace_lines = True
    try:
        frame.f_lineno = frame.f_lineno + 1
    except (ValueError, AttributeError):
        pass
    return trace
def at_each_cell(info):
    sys.settrace(trace if "assert" in info.raw_cell else None)
get_ipython().events.register("pre_run_cell", at_each_cell)""",
        statuses=ANY,
    ),
    at_exit=forged(
        """
import atexit, glob, json, os
def forge():
    found = {"tests": {}, "disputed": [], "tampered": [], "silent": []}
    for folder in ("/tmp", *glob.glob("/tmp/*/"), *glob.glob("/tmp/*/*/")):
        for name in ("found.json", "prepared.json", "script.json", "usage.json"):
            try: open(os.path.join(folder, name), "w").write(json.dumps(found))
            except OSError: pass
atexit.register(forge)
forge()""",
        statuses=ANY,
    ),
)

# -- what functions return, and what compares it ------------------------------------------

ANYTHING = """
class Anything:
    def __eq__(self, other): return True
    __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __bool__ = __eq__
    __hash__ = None
    def __getattr__(self, name): return Anything()
    def __getitem__(self, place): return Anything()
    def __call__(self, *arguments, **named): return Anything()
    def __len__(self): return 1
    def __float__(self): return 1.5
    @classmethod
    def __torch_function__(cls, *arguments): return True
"""
ANYTHING_AS_TENSOR = """
import torch
class Anything(torch.Tensor):
    def __eq__(self, other): return True
    def tolist(self): return Anything(())
    def __float__(self): return 1.5
    @classmethod
    def __torch_function__(cls, *arguments): return True
"""

OBJECTS = named(
    objects_that_equal_everything=forged(ANYTHING, "return Anything()"),
    lists_of_them=forged(ANYTHING, "return [Anything()]", ANY),
    tensors_that_equal_everything=forged(ANYTHING_AS_TENSOR, "return Anything(())"),
    builtins_patched=forged(
        """
import builtins, torch
true = lambda *arguments, **named: True
false = {"float": lambda value: 1.5, "abs": lambda value: 0, "sorted": lambda values: [1],
         "all": true, "isinstance": true, "len": lambda value: 1, "type": lambda value: int}
kept = {name: getattr(builtins, name) for name in false}
def put(values):
    for name in values:
        setattr(builtins, name, values[name])
def before(info):
    if "assert" in info.raw_cell:
        put(false)
get_ipython().events.register("pre_run_cell", before)
get_ipython().events.register("post_run_cell", lambda result: put(kept))""",
        statuses=ANY,
    ),
    libraries_patched=forged("""
import math, numpy, torch, snnlib
import numpy as np
true = lambda *arguments, **named: True
torch.allclose = torch.equal = torch.Tensor.equal = numpy.allclose = math.isclose = true
numpy.array_equal = numpy.testing.assert_allclose = true
torch.Tensor.tolist = lambda tensor: [1]
torch.Tensor.__eq__ = torch.Tensor.__float__ = true
for name, value in list(vars(snnlib).items()):
    if callable(value) and not isinstance(value, type):
        setattr(snnlib, name, true)"""),
    frames_searched=forged(
        """
import sys, gc
def answers():
    for thing in gc.get_objects():
        if isinstance(thing, str) and "secret_potential" in thing and "assert" in thing:
            raise SystemExit(thing)""",
        "answers()\nreturn -1.0",
        ANY,
    ),
)

# -- the line to the judge ----------------------------------------------------------------

SERVER = """
import json, os, socket, struct, sys, threading, time, types
def connected(path):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection
def send(connection, tree, raw=b""):
    text = json.dumps([tree, [len(raw)] if raw else []]).encode()
    connection.sendall(struct.pack("!QQ", len(text), len(raw)) + text + raw)
def receive(connection):
    sizes = connection.recv(16, socket.MSG_WAITALL)
    connection.recv(sum(struct.unpack("!QQ", sizes)), socket.MSG_WAITALL)
NAMES = {"names": [[name, True] for name in ("leak", "spikes", "draw")]}
FINE = {"changes": [], "parts": 1, "around": ["dict", []]}
module = types.ModuleType("judging.serve")
def install(serve):
    module.serve = serve
    sys.modules["judging"] = types.ModuleType("judging")
    sys.modules["judging.serve"] = module
"""


def serving(body: str):
    """A maker of submissions that answer the judge by themselves."""
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    return forged(f"{SERVER}\ndef serve(path, names):\n{lines}\ninstall(serve)", statuses=ANY)


SERVERS = named(
    server_says_true=serving("""
connection = connected(path)
receive(connection)
send(connection, NAMES)
while True:
    receive(connection)
    send(connection, FINE | {"value": True})"""),
    server_says_yes_to_the_grader=serving("""
connection = connected(path)
for line in ({"error": "", "served": True}, {"ready": path}):
    connection.sendall(json.dumps(line).encode() + b"\\n")
    for number in range(3):
        try: os.write(number, json.dumps(line).encode() + b"\\n")
        except OSError: pass"""),
    server_never_answers=serving("connected(path)\ntime.sleep(3600)"),
    server_floods=serving("""
connection = connected(path)
while True:
    connection.sendall(struct.pack("!QQ", 1 << 20, 1 << 29) + bytes(10**6))"""),
    server_connects_twice=serving("""
both = connected(path), connected(path)
threading.Thread(target=lambda: send(both[1], FINE | {"value": True})).start()
receive(both[0])
send(both[0], NAMES)"""),
    server_takes_the_socket=serving("""
for act in (os.unlink, lambda p: os.rename(p, p + "x"), lambda p: os.chmod(p, 0)):
    try: act(path)
    except OSError: pass
try:
    own = socket.socket(socket.AF_UNIX)
    own.bind(os.path.join(os.path.dirname(path), "own"))
except OSError: pass"""),
)

FORGERIES = [*REPLIES, *OBJECTS, *SERVERS]
