"""The judge as the grader sees it: a process of its own that is asked test by test."""

import json
import os
import queue
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from threading import Thread

from .sandbox import JUDGING, Limits, command, user

START = (
    "import sys, pathlib; sys.path.append(sys.argv[1]); "
    "from judging.judge import main; main(pathlib.Path(sys.argv[2]))"
)
PATIENCE = 10  # seconds beyond a test's own, until the judge is started anew
GIVEN_SECONDS = 120  # for all given cells before a test, on a busy machine


class JudgeError(RuntimeError):
    """The judge failed by itself; no student is to blame."""


class Referee:
    """One judge for one submission; started at once, and anew when a test stops or spoils it.

    Parameters
    ----------
    script
        As made by `script.judges_script`.
    folder
        Where the judge makes its sockets.
    limits
        What it may use.
    sandboxed
        Whether it runs behind bubblewrap.
    """

    def __init__(self, script: list[dict], folder: Path, limits: Limits, sandboxed: bool) -> None:
        self._script, self._limits = script, limits
        self._start = _command(folder, limits) if sandboxed else _program(folder)
        if sandboxed and os.geteuid() == 0:
            os.chown(folder, user(), user())
        self._place = self._waiting = 0
        self._socket = ""
        self._launch()

    def ready(self, name: str) -> str:
        """Have the judge expect the student's process for a test; return its socket."""
        place = next(n for n, step in enumerate(self._script) if step.get("name") == name)
        try:
            return self._ready(place)
        except JudgeError:  # perhaps for what a student's values left there
            self._start_anew(place)
            return self._ready(place)

    def _ready(self, place: int) -> str:
        self._run_given(place)
        for _ in range(self._waiting):
            self._expect_given()
        seconds = {"seconds": self._limits.cell_seconds}
        self._say({k: v for k, v in self._script[place].items() if k != "name"} | seconds)
        self._socket = self._hear(GIVEN_SECONDS)["ready"]
        return self._socket

    def verdict(self) -> tuple[str, bool]:
        """The error of the test, empty if it passed, and whether the student's process answered.

        Called when the student's side is over, so a judge that waits for it waits in vain.
        """
        with suppress(OSError), socket.socket(socket.AF_UNIX) as nobody:
            nobody.setblocking(False)  # others may have filled the queue before it
            nobody.connect(self._socket)
        try:
            heard = self._hear(self._limits.cell_seconds + PATIENCE)
        except JudgeError:
            self._start_anew(self._place)
            return "CellTimeoutError: the test took too long", True
        following = (n for n, step in enumerate(self._script) if "test" in step)
        with suppress(JudgeError):  # it just ended; whoever asks for the next test finds out
            self._run_given(next((n for n in following if n >= self._place), self._place))
        return heard["error"], heard["served"]

    def close(self) -> None:
        """End the judge."""
        self._process.kill()
        self._reader.join()  # which ends with what the judge said
        with suppress(OSError), self._process:
            pass  # closes its pipes

    def _launch(self) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(self._start, text=True, **pipes)
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = Thread(target=_read, args=(self._process, self._lines), daemon=True)
        self._reader.start()
        self._waiting = 0

    def _start_anew(self, place: int) -> None:
        """Another judge, which has seen the given cells before this place, and no test."""
        self.close()
        self._place = 0
        self._launch()
        self._run_given(place)

    def _run_given(self, place: int) -> None:
        """Have given cells before this place run, while the student's own cells do."""
        for step in self._script[self._place : place]:
            if "given" in step:
                self._say(step)
                self._waiting += 1
        self._place = max(self._place, place)

    def _expect_given(self) -> None:
        self._waiting -= 1
        if error := self._hear(GIVEN_SECONDS)["error"]:
            raise JudgeError(f"a given cell failed: {error}")

    def _say(self, line: dict) -> None:
        try:
            print(json.dumps(line), file=self._process.stdin, flush=True)
        except OSError as error:
            raise JudgeError(f"the judge ended: {error}") from None

    def _hear(self, seconds: float) -> dict:
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            raise JudgeError(f"the judge said nothing for {seconds} s") from None
        if not line:
            raise JudgeError("the judge ended")
        return json.loads(line)


def _read(process: subprocess.Popen, lines: queue.Queue) -> None:
    """Pass on what the judge says; an empty line at its end."""
    for line in process.stdout:
        lines.put(line)
    lines.put("")


def _program(folder: Path) -> list[str]:
    return [sys.executable, "-c", START, str(JUDGING.parent), str(folder)]


def _command(folder: Path, limits: Limits) -> list[str]:
    return command(_program(folder), limits, folder, [JUDGING])
