"""Grade a class of four again and again in forked processes, each interrupted at another moment.

A program of its own, as only a process without threads may fork: ``python moments.py FOLDER``
prints a JSON object, moment -> what became of it. Nbgrader is replaced by a stand-in that
takes no time; everything else is the real command.
"""

import gc
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import hostile
import mutations
import psutil
from grading import (
    classroom,
    commands,
    compiled,
    grade,
    interrupts,
    kernels,
    processes,
    records,
    sandbox,
)
from grading.__main__ import main
from grading.classroom import Classroom
from grading.masters import read_master
from nbgrader.api import Gradebook
from school import MASTERS, hand_in, write_roster
from submissions import NO_TARGET

NAME = "1_demo"
PACKAGE = str(Path(classroom.__file__).parent)
STUDENTS = ["anna", "ben", "søren", "李雷"]
FORK = multiprocessing.get_context("fork")
LINES = 24  # at which a run is interrupted, spread evenly over all that grading executes
MASTER = read_master(NAME, MASTERS)


def class_of_four(folder: Path) -> None:
    inbox = folder / "inbox" / NAME
    inbox.mkdir(parents=True)
    write_roster(folder, STUDENTS)
    makers = [mutations.right, hostile.broken_json, mutations.untouched, mutations.right]
    for student, maker in zip(STUDENTS, makers, strict=True):
        hand_in(inbox, student, maker(MASTER, random.Random(0), NO_TARGET))
    (folder / "work").mkdir()
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    Gradebook(Classroom(folder).gradebook, "snn").close()  # takes a second, so only once


# -- the stand-in ------------------------------------------------------------------------


def stand_in(hang: str, arguments: list[str], folder: Path, values: dict[str, str]) -> None:
    """Report that all went well; where told to hang, interrupt the run and never end."""
    if os.fork() == 0:
        _linger(Path(values.get("GRADING_USAGE", "/tmp/none")).with_name("alive"))
    if hang in arguments:
        os.kill(os.getppid(), signal.SIGINT)
        signal.pause()
    if "autograde" in arguments:
        Path(values["GRADING_USAGE"]).write_text('{"seconds": 1, "peak_memory": 1}')
        found = {"tests": {}, "disputed": [], "tampered": [], "silent": []}
        Path(values["GRADING_FOUND"]).write_text(json.dumps(found))


def _linger(file: Path) -> None:
    """Like a kernel that nobody stopped: in a session of its own, deaf, writing on and on."""
    os.setsid()
    os.closerange(3, 1000)  # as a program does that is started anew
    for number in interrupts.SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    while True:
        if file.parent != Path("/tmp"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        time.sleep(0.001)


# -- moments -----------------------------------------------------------------------------


def interrupt(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


class Lines:
    """Interrupt at lines of the package, numbered as they are reached for the first time."""

    def __init__(self, *numbers: int) -> None:
        self.numbers, self.seen = numbers, set()

    def __call__(self) -> None:
        sys.settrace(self.trace)

    def trace(self, frame, event, _):
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        place, listens = (frame.f_code, frame.f_lineno), signal.getsignal(signal.SIGINT)
        if event == "line" and place not in self.seen and listens is interrupts._hear:
            self.seen.add(place)
            if len(self.seen) in self.numbers:
                interrupt()
        return self.trace


def before(place: object, name: str, call: int, number: int = signal.SIGINT) -> None:
    """Interrupt when a function is called for that time, not counting what children do."""
    function, calls, home = getattr(place, name), [], os.getpid()

    def wrapped(*arguments, **options):
        if os.getpid() == home:
            calls.append(1)
            if len(calls) == call:
                interrupt(number)
        return function(*arguments, **options)

    setattr(place, name, wrapped)


class Destroyed:
    """Interrupts in its destructor, from where no exception comes out."""

    def __del__(self):
        interrupt()


def in_a_destructor() -> None:
    write, waste = records.write_whole, [Destroyed()]

    def wrapped(*arguments):
        waste.clear()
        gc.collect()
        return write(*arguments)

    records.write_whole = wrapped


def hang(where: str) -> None:
    classroom._nbgrader = partial(stand_in, where)


def hang_and_again(where: str) -> None:
    """A second Ctrl-C while the processes are ended, a third while their folders are."""
    hang(where)
    before(processes, "end_all", 2)  # the first ends what announced the assignment
    before(kernels, "remove", 2)


def compile_for_ever() -> None:
    code = f"import os, signal; os.kill({os.getpid()}, signal.SIGINT); signal.pause()"
    grade.compile_once = lambda: processes.run_to_end([sys.executable, "-c", code])


def close_terminal() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may ignore it
    before(records, "write_whole", 2, signal.SIGHUP)


MOMENTS: dict[str, Callable[[], None]] = {
    "roster": partial(before, commands, "read_roster", 1),
    "collecting": partial(before, grade, "collect", 1),
    "compiling": compile_for_ever,
    "nbgrader takes the assignment": partial(hang, "generate_assignment"),
    "nbgrader starts": partial(before, processes.FORK, "Process", 2),
    "nbgrader runs": partial(hang, "--student=søren"),
    "nbgrader runs, Ctrl-C again and again": partial(hang_and_again, "--student=søren"),
    "the first nbgrader runs": partial(hang, "--student=anna"),
    "a folder is removed": partial(before, kernels, "remove", 2),
    "a record is written": partial(before, records, "write_whole", 2),
    "a record gets its name": partial(before, os, "replace", 3),
    "a destructor": in_a_destructor,
    "marks": partial(before, commands, "apply_marks", 1),
    "tables": partial(before, commands, "write_reports", 1),
    "feedback": partial(before, commands, "write_feedback", 1),
    "leaks": partial(before, commands, "find_leaks", 1),
    "overview": partial(before, commands, "write_overview", 1),
    "SIGTERM": partial(before, records, "write_whole", 2, signal.SIGTERM),
    "SIGHUP": close_terminal,
}


# -- runs --------------------------------------------------------------------------------


def run(folder: Path, moment: Callable[[], None]) -> int:
    """The grading command in a process of its own, interrupted there; its exit status."""
    process = FORK.Process(target=_run, args=(folder, moment))
    process.start()
    process.join(120)  # a run that does not end is found by its status
    process.kill()
    process.join()
    return process.exitcode


def _run(folder: Path, moment: Callable[[], None]) -> None:
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
    classroom._nbgrader = partial(stand_in, "nowhere")
    moment()
    sys.argv = ["grading", f"--masters={MASTERS}", "grade", str(folder), NAME]
    sys.exit(main())


def outcome(template: Path, folder: Path, moment: Callable[[], None]) -> dict:
    """What an interrupted run left, and what the next one made of it."""
    shutil.copytree(template, folder)
    status = run(folder, moment)
    left = [p for p in psutil.Process().children(recursive=True) if p.status() != "zombie"]
    kept = {path: path.read_bytes() for path in folder.glob(f"work/records/{NAME}/*")}
    found = {
        "status": status,
        "message": (folder / "stderr").read_text(),
        "left": [str(process) for process in left],
        "folders": [path.name for path in Path(os.environ["GRADING_TMP"]).iterdir()],
        "partial": [path.name for path in folder.rglob("*.partial")],
        "records": sorted(path.stem for path in kept),
    }
    processes.end_all()
    again = run(folder, lambda: None)
    return found | {
        "again": again,
        "graded again": (folder / "stdout").read_text().partition(" new submission")[0][-1],
        "changed": [path.stem for path, text in kept.items() if path.read_bytes() != text],
        "grades": (folder / "grades" / f"{NAME}-grades.csv").read_text(),
    }


def count_lines(folder: Path) -> int:
    """How many lines of the package an uninterrupted run executes."""
    lines = Lines()

    def report() -> None:
        lines()
        commands.write_overview = lambda *_: (folder / "lines").write_text(f"{len(lines.seen)}")

    run(folder, report)
    return int((folder / "lines").read_text())


def all_outcomes(folder: Path) -> dict[str, dict]:
    processes._prctl(processes.CHILD_SUBREAPER, 1)  # whatever a run leaves behind comes here
    compiled.compile_once()
    sandbox.font_lists()
    template, plain = folder / "template", folder / "plain"
    class_of_four(template)
    shutil.copytree(template, plain)
    lines = count_lines(plain)
    moments = MOMENTS | {
        f"line {number} of {lines}": Lines(number, number + 3)  # and again soon after
        for number in range(1, lines, lines // LINES)
    }
    outcomes = enumerate(moments.items())
    return {name: outcome(template, folder / f"{n}", moment) for n, (name, moment) in outcomes}


if __name__ == "__main__":
    print(json.dumps(all_outcomes(Path(sys.argv[1]))))
