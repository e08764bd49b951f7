"""Run a submission in its kernel and settle which tests passed.

nbgrader scores a test cell by its outputs, which student code can touch. This step
decides by the kernel's reply alone, and leaves nbgrader one output to read: an error,
or nothing. A warning printed by a test costs no point, and a number displayed by it
gives no partial credit.
"""

import json
import os
from pathlib import Path

import zmq.asyncio
from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.session import json_unpacker
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.preprocessors import Execute
from traitlets import Integer

from .files import write_whole
from .probes import Probe, draw_probe

MEBI = 1 << 20
SHOWN = {"stream", "display_data", "execute_result", "error"}  # what a person may see later
OVERHEAD = 1 << 12  # bytes that a message costs here, however short it is
WAITING = 2  # messages that may wait to be read, in each channel
LONGEST_MESSAGE = 8 * MEBI  # bytes; what a longer one says is not read
LAST_MESSAGE = 128 * MEBI  # bytes; after a longer one, nothing more is heard in its channel
UNREAD = {"status": "error", "ename": "TooLong", "evalue": "", "traceback": []}


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


class ProbedExecute(Execute):
    """nbgrader's execution, with a probe after each test and limits on what comes out."""

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
        """Execute, judge each test, report to the file that GRADING_PROBES names."""
        self.errors: dict[int, dict[str, str]] = {}
        self.printed: dict[int, int] = {}
        cells, probes = _with_probes(nb.cells)
        nb.cells = cells
        nb, resources = super().preprocess(nb, resources)
        silent = [name for name, probe in probes.items() if probe.timed_out()]
        failed = [name for name, probe in probes.items() if probe.failed_as_it_should()]
        tampered = [name for name in probes if name not in silent + failed]
        results = self._settle(cells, "" if not tampered else "tests were disabled")
        _report({"tests": results, "tampered": tampered, "silent": silent})
        added = [id(probe.cell) for probe in probes.values()]
        nb.cells = [cell for cell in cells if id(cell) not in added]
        return nb, resources

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
        size = OVERHEAD + len(str(msg["content"]))
        self.printed[cell_index] = self.printed.get(cell_index, 0) + size
        whole = sum(self.printed.values())
        return self.printed[cell_index] <= self.max_output and whole <= self.max_outputs

    def _settle(self, cells: list[NotebookNode], verdict: str) -> dict[str, str]:
        """Leave one output in each test cell; return test -> error, empty if it passed."""
        results = {}
        for index, cell in enumerate(cells):
            if not _is_test(cell):
                continue
            error = self.errors.get(index)
            if verdict:
                error = {"ename": "Tampered", "evalue": verdict}
            cell.outputs = [new_output("error", **error, traceback=[])] if error else []
            name = cell.metadata["nbgrader"]["grade_id"]
            results[name] = f"{error['ename']}: {error['evalue']}" if error else ""
        return results


def _is_test(cell: NotebookNode) -> bool:
    marks = cell.metadata.get("nbgrader", {})
    return cell.cell_type == "code" and marks.get("grade", False)


def _with_probes(cells: list[NotebookNode]) -> tuple[list[NotebookNode], dict[str, Probe]]:
    """The cells with a probe behind each test, and the probes by the test's name."""
    probed, probes = [], {}
    for cell in cells:
        probed.append(cell)
        if _is_test(cell):
            probe = probes[cell.metadata["nbgrader"]["grade_id"]] = draw_probe()
            probed.append(probe.cell)
    return probed, probes


def _report(found: dict) -> None:
    """Tell the process that started nbgrader what was found."""
    if path := os.environ.get("GRADING_PROBES"):
        write_whole(Path(path), json.dumps(found))
