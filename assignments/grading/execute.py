"""Run a submission in its kernel, and have its tests judged outside.

nbgrader scores a test cell by its outputs, which student code can touch. This step
leaves nbgrader one output to read: the judge's error, or nothing. A warning printed by a
test costs no point, and a number displayed by it gives no partial credit.

Visible tests run in the notebook as well, as their students ran them: other cells may
use what they define. What passes there but not before the judge is reported.
"""

import json
import os
from pathlib import Path

import zmq.asyncio
from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.session import json_unpacker
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_output
from nbgrader.preprocessors import Execute
from traitlets import Integer

from .files import write_whole
from .kernels import KERNEL
from .probes import draw_probe
from .referee import JudgeError, Referee
from .sandbox import JUDGING, Limits

MEBI = 1 << 20
SHOWN = {"stream", "display_data", "execute_result", "error"}  # what a person may see later
OVERHEAD = 1 << 12  # bytes that a message costs here, however short it is
WAITING = 2  # messages that may wait to be read, in each channel
LONGEST_MESSAGE = 8 * MEBI  # bytes; what a longer one says is not read
LAST_MESSAGE = 128 * MEBI  # bytes; after a longer one, nothing more is heard in its channel
UNREAD = {"status": "error", "ename": "TooLong", "evalue": "", "traceback": []}
TIME_IS_OVER = {"ename": "CellTimeoutError", "evalue": "the test took too long"}
SERVE = """import sys
sys.path.append({folder!r})
__import__("judging.serve", fromlist=["serve"]).serve({socket!r}, globals())"""


def _unpack(part: bytes) -> dict:
    """A part of a message; one that is too long counts as an error without words."""
    return json_unpacker(part) if len(part) <= LONGEST_MESSAGE else dict(UNREAD)


class BoundedClient(AsyncKernelClient):
    """What talks to the kernel, and never holds much of what it says."""

    def _context_default(self) -> zmq.asyncio.Context:
        context = zmq.asyncio.Context()
        context.setsockopt(zmq.RCVHWM, WAITING)
        context.setsockopt(zmq.MAXMSGSIZE, LAST_MESSAGE)
        return context


class JudgedExecute(Execute):
    """nbgrader's execution, with a judge for each test and limits on what comes out."""

    iopub_timeout = 1  # seconds that a cell waits for its last output, where that was lost
    raise_on_iopub_timeout = False  # a message that was too long never arrives
    max_output = Integer(4 * MEBI, help="bytes that a cell may print or draw").tag(config=True)
    max_outputs = Integer(32 * MEBI, help="bytes of all cells together").tag(config=True)

    def create_kernel_manager(self):
        """Refuse messages that would fill this process's memory."""
        manager = super().create_kernel_manager()
        manager.client_factory = BoundedClient
        manager.session.unpack = _unpack
        return manager

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        """Execute, have each test judged, report to the file that GRADING_FOUND names."""
        self.errors: dict[int, dict[str, str]] = {}
        self.printed: dict[int, int] = {}
        self.found = {"tests": {}, "disputed": [], "tampered": [], "silent": []}
        script = json.loads(Path(os.environ["GRADING_SCRIPT"]).read_text())
        folder, sandboxed = Path(os.environ["GRADING_JUDGE"]), self.kernel_name == KERNEL
        self.referee = Referee(script, folder, Limits.from_environment(), sandboxed)
        try:
            nb, resources = super().preprocess(nb, resources)
        except JudgeError as error:
            self.found["failed"] = str(error)
        finally:
            self.referee.close()
        write_whole(Path(os.environ["GRADING_FOUND"]), json.dumps(self.found))
        return nb, resources

    def preprocess_cell(self, cell: NotebookNode, resources: dict, index: int):
        """Execute a cell; a test is the judge's."""
        if not _is_test(cell):
            return super().preprocess_cell(cell, resources, index)
        name, error = cell.metadata["nbgrader"]["grade_id"], None
        hidden = name.endswith("_hidden")
        own = None if hidden else self._execute(cell.source, index)
        if _ran_out_of_time(own):
            error = TIME_IS_OVER  # the judge would wait as long
        else:
            error = self._judged(name, index)
            if error and not hidden and own is None:
                self._dispute(name, index)
        cell.outputs = [new_output("error", **error, traceback=[])] if error else []
        self.found["tests"][name] = f"{error['ename']}: {error['evalue']}" if error else ""
        return cell, self.resources

    def _judged(self, name: str, index: int) -> dict[str, str] | None:
        """Let the kernel answer the judge; return the test's error."""
        place = self.referee.ready(name)
        stopped = self._execute(SERVE.format(folder=str(JUDGING.parent), socket=place), index)
        error, served = self.referee.verdict()
        if not served:
            self.found["silent"].append(name)
        if error and _ran_out_of_time(stopped):
            return TIME_IS_OVER
        ename, _, evalue = error.partition(": ")
        return {"ename": ename, "evalue": evalue} if error else None

    def _dispute(self, name: str, index: int) -> None:
        """A test passed in the notebook only: find out whether anything can fail there."""
        self.found["disputed"].append(name)
        probe = draw_probe()
        probe.cell.outputs = self._executed(probe.cell.source, index).outputs
        if not (probe.failed_as_it_should() or probe.timed_out()):
            self.found["tampered"].append(name)

    def _execute(self, source: str, index: int) -> dict[str, str] | None:
        """Run code in the student's kernel; return how it failed."""
        self._executed(source, index)
        return self.errors.pop(index, None)

    def _executed(self, source: str, index: int) -> NotebookNode:
        """A cell run in the place of another one, which stays as it is."""
        cell = self.nb.cells[index]
        try:
            return self.execute_cell(new_code_cell(source), index, store_history=True)
        finally:
            self.nb.cells[index] = cell

    def on_cell_executed(self, **executed) -> None:
        """Remember how each cell ended."""
        super().on_cell_executed(**executed)
        reply = executed["execute_reply"]["content"]
        if reply["status"] != "ok":
            error = {"ename": reply.get("ename", "Aborted"), "evalue": reply.get("evalue", "")}
            self.errors[executed["cell_index"]] = error

    def process_message(self, msg: dict, cell: NotebookNode, cell_index: int):
        """Take what a person may see later, while there is room for it, and drop the rest.

        The cell is not interrupted: that would arrive when another cell may be running.
        """
        if msg["msg_type"] == "status" or self._has_room(msg, cell_index):
            return super().process_message(msg, cell, cell_index)
        return None

    def _has_room(self, msg: dict, cell_index: int) -> bool:
        if msg["msg_type"] not in SHOWN | {"clear_output", "update_display_data"}:
            return False  # widgets, and whatever else a kernel may say
        if msg["content"] == UNREAD:
            return False
        size = (OVERHEAD + len(str(msg["content"]))) * (1 + self._places(msg["content"]))
        self.printed[cell_index] = self.printed.get(cell_index, 0) + size
        whole = sum(self.printed.values())
        return self.printed[cell_index] <= self.max_output and whole <= self.max_outputs

    def _places(self, content: dict) -> int:
        """The outputs so far that show this message too, each in a copy of its own."""
        display_id = (content.get("transient") or {}).get("display_id")
        return sum(map(len, self._display_id_map.get(display_id, {}).values()))


def _ran_out_of_time(error: dict[str, str] | None) -> bool:
    """Whether a cell says so; a student who makes it say so loses the test."""
    return error is not None and error["ename"] == TIME_IS_OVER["ename"]


def _is_test(cell: NotebookNode) -> bool:
    marks = cell.metadata.get("nbgrader", {})
    return cell.cell_type == "code" and marks.get("grade", False)
