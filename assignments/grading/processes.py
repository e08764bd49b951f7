"""Processes of one run: started at once, waited for together, none left behind.

A fork of this process has nbgrader imported, which takes a new interpreter two
seconds. It is a process of its own all the same: it starts from the same state for
each submission, and whatever happens in it stays there.
"""

import ctypes
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from multiprocessing.connection import wait
from typing import TypeVar

import psutil

from . import interrupts

Result = TypeVar("Result")
FORK = multiprocessing.get_context("fork")
PDEATHSIG, CHILD_SUBREAPER = 1, 36  # of Linux's prctl
MOMENT = 0.2  # seconds until an interrupt is noticed
LAST_WORDS = 1 << 16  # bytes of stderr that are read
OUT_OF_MEMORY = ["MemoryError", "bad_alloc", "Cannot allocate memory"]
BROKEN = {-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS}  # how programs in C run out of it


class Child:
    """A forked process at work; the end of what it writes to stderr is kept in `errors`.

    Parameters
    ----------
    work
        Called without arguments in the new process.
    seconds
        Time after which the process is killed.
    memory
        Bytes that it may take on top of what this process has; none: no limit.
    """

    def __init__(
        self, work: Callable[[], object], seconds: float, memory: int | None = None
    ) -> None:
        self.seconds, self._end = seconds, time.monotonic() + seconds
        self.timed_out, self.errors = False, ""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        most = memory and memory + psutil.Process().memory_info().data
        begin = partial(_begin, work, self._errors.fileno(), os.getpid(), most)
        self._process = FORK.Process(target=begin)
        self._process.start()
        self.sentinel, self.pid = self._process.sentinel, self._process.pid

    def ended(self) -> bool:
        """Whether the process is over; kills it when its time is."""
        if self._process.is_alive() and time.monotonic() > self._end:
            self.timed_out = True
            self.kill()
        if self._process.is_alive():
            return False
        self._read_errors()
        return True

    def kill(self) -> None:
        """End the process and all that it started, and wait until they are gone."""
        with suppress(psutil.NoSuchProcess):
            started = psutil.Process(self.pid).children(recursive=True)
            self._process.kill()
            _end(started)
        self._process.join()
        self._read_errors()

    @property
    def status(self) -> int:
        """The exit status, negative if a signal ended the process."""
        return self._process.exitcode

    def _read_errors(self) -> None:
        if not self._errors.closed:
            size = self._errors.seek(0, os.SEEK_END)
            self._errors.seek(max(0, size - LAST_WORDS))
            self.errors = self._errors.read().decode(errors="replace")
            self._errors.close()

    @property
    def starved(self) -> bool:
        """Whether the process ended because it needed more memory than it may have."""
        return self.status in BROKEN or (
            self.status != 0 and any(words in self.errors for words in OUT_OF_MEMORY)
        )


def _begin(work: Callable[[], object], errors: int, parent: int, most: int | None) -> None:
    """First acts of a new process: a session of its own, as Ctrl-C is the parent's to hear."""
    os.setsid()
    interrupts.forget()
    _prctl(PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    os.dup2(errors, 2)
    if most:  # only the soft limit, as a kernel that it starts has one of its own
        resource.setrlimit(
            resource.RLIMIT_DATA, (most, resource.getrlimit(resource.RLIMIT_DATA)[1])
        )
    work()


def together(tasks: Iterable[Generator[Child, None, Result]], most: int) -> Iterator[Result]:
    """Run tasks side by side, at most so many; yield what each returns, as it ends.

    A task is a generator that yields every child it waits for. Nothing of any task is
    left behind if the caller stops here, or `interrupts.check` does.
    """
    _prctl(CHILD_SUBREAPER, 1)  # whatever a killed process leaves behind is found again
    tasks, running = iter(tasks), {}
    try:
        while True:
            interrupts.check()
            for task in islice(tasks, most - len(running)):
                running[task] = None
            if not running:
                return
            yield from _advance(running)
    finally:
        end_all()
        for task in running:
            task.close()


def _advance(running: dict[Generator, Child | None]) -> Iterator:
    """Let every task go on whose child has ended; wait a moment if none has."""
    ready = [task for task, child in running.items() if child is None or child.ended()]
    if ready:
        _end_strays({child.pid for child in running.values() if child})
    else:
        wait([child.sentinel for child in running.values()], MOMENT)
    for task in ready:
        try:
            running[task] = next(task)
        except StopIteration as end:
            del running[task]
            yield end.value


def _end_strays(known: set[int]) -> None:
    """End what children left behind; until then it counts as this process's own."""
    _end([process for process in psutil.Process().children() if process.pid not in known])


def run_to_end(command: list[str]) -> None:
    """Run a program without a word, whatever becomes of it; an interrupt ends it."""
    quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    # what it leaves is for the sandbox to read, where root is nobody
    with subprocess.Popen(command, start_new_session=True, umask=0o022, **quiet) as process:
        try:
            while process.poll() is None:
                interrupts.check()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(MOMENT)
        finally:
            process.kill()


def end_all() -> None:
    """Kill every process that this one started, directly or not, and wait until they are gone."""
    give_up = time.monotonic() + 5
    while (started := psutil.Process().children(recursive=True)) and time.monotonic() < give_up:
        _end(started)


def _end(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.kill()
    give_up = time.monotonic() + 1
    while (processes := [p for p in processes if _is_there(p)]) and time.monotonic() < give_up:
        time.sleep(0.01)


def _is_there(process: psutil.Process) -> bool:
    with suppress(ChildProcessError):  # one that was adopted waits for this
        os.waitpid(process.pid, os.WNOHANG)
    return process.is_running()


def _prctl(option: int, value: int) -> None:
    """Ask the system for it, where it is Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
