"""SIGINT at any moment ends a run, keeps what was graded, and leaves nothing behind."""

import json
import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import hostile
import mutations
import psutil
import pytest
from grading.kernels import private_folder, sweep
from grading.masters import read_master
from grading.sandbox import Limits
from moments import LINES, MOMENTS, STUDENTS
from school import MASTERS, environment, grade, hand_in, read_grades, write_roster
from submissions import NO_TARGET, Maker

HERE = Path(__file__).parent
NAME = "1_demo"
MASTER = read_master(NAME, MASTERS)
KEPT = {
    "nbgrader runs": ["anna", "ben"],
    "nbgrader runs, Ctrl-C again and again": ["anna", "ben"],
    "the first nbgrader runs": [],
    "tables": STUDENTS,
}


@pytest.fixture
def sandboxes():
    """Where runs keep what only they need; short, as sockets lie in it."""
    with tempfile.TemporaryDirectory(prefix="g", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    with tempfile.TemporaryDirectory(prefix="g", dir="/tmp") as sandboxes:
        values = environment() | {"GRADING_TMP": sandboxes}
        values["PYTHONPATH"] += f"{os.pathsep}{HERE}"
        command = [sys.executable, HERE / "moments.py", tmp_path_factory.mktemp("moments")]
        run = subprocess.run(command, env=values, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_the_moments_are_many(outcomes):
    assert set(MOMENTS) < set(outcomes)
    assert sum(name.startswith("line ") for name in outcomes) >= LINES


def test_every_interrupt_ends_the_run_and_says_so(outcomes):
    for moment, found in outcomes.items():
        assert found["status"] == {"SIGTERM": 143, "SIGHUP": 129}.get(moment, 130), moment
        assert found["message"] == (
            "interrupted; nothing graded so far is lost, repeat to go on\n"
        ), moment


def test_nothing_is_left_behind(outcomes):
    for moment, found in outcomes.items():
        assert (found["left"], found["folders"], found["partial"]) == ([], [], []), moment


def test_what_was_cut_off_has_no_record(outcomes):
    assert {moment: outcomes[moment]["records"] for moment in KEPT} == {
        moment: sorted(students) for moment, students in KEPT.items()
    }


def test_a_repeat_goes_on_where_the_run_stopped(outcomes):
    for moment, found in outcomes.items():
        assert found["again"] == 1, moment  # as ben's notebook is broken
        assert found["graded again"] == str(len(STUDENTS) - len(found["records"])), moment
        assert not found["changed"], moment


def test_the_grades_are_those_of_a_run_that_nobody_interrupted(outcomes):
    (grades,) = {found["grades"] for found in outcomes.values()}
    assert grades.count(",graded,") == 3


# -- with nbgrader, kernels and sandboxes ------------------------------------------------


def wait_until(event) -> None:
    """Wait for an event; a run in which it never comes fails in the end."""
    deadline = time.monotonic() + 300
    while not event():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def kernels(sandboxes: Path) -> list[psutil.Process]:
    """Processes that still work on a submission there."""
    running = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if any(str(sandboxes) in word for word in words) and process.info["status"] != "zombie":
            running.append(process)
    return running


def hands_in(room: Path, student: str, maker: Maker) -> None:
    submission = maker(MASTER, random.Random(0), NO_TARGET)
    hand_in(room / "inbox" / NAME, student, submission)


@pytest.fixture
def room(tmp_path):
    """A class of two: a broken notebook, and one that never ends."""
    (tmp_path / "inbox" / NAME).mkdir(parents=True)
    write_roster(tmp_path, ["anna", "søren"])
    hands_in(tmp_path, "anna", hostile.broken_json)
    hands_in(tmp_path, "søren", mutations.infinite_loop)
    return tmp_path


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT])
def test_a_real_run_in_the_background_leaves_no_kernel(room, sandboxes, blow):
    values = environment() | {"GRADING_TMP": str(sandboxes)}
    command = [sys.executable, "-m", "grading", f"--masters={MASTERS}", "grade", room, NAME]
    command += ["--cell-seconds=600"]
    # a shell starts whatever runs in the background with SIGINT ignored
    deaf = ["sh", "-c", f"trap '' INT; exec {shlex.join(map(str, command))}"]
    with subprocess.Popen(deaf, env=values, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: any(sandboxes.glob("grade-*/usage.json")))
        process.send_signal(blow)
        message = process.stderr.read()
    if blow == signal.SIGINT:
        assert process.returncode == 130, message
        assert "repeat to go on" in message
        assert not list(sandboxes.iterdir())
        assert not kernels(sandboxes)
    wait_until(lambda: not kernels(sandboxes))  # nobody is left to wait for them
    records = room / "work" / "records" / NAME
    assert [path.stem for path in records.iterdir()] == ["anna"]
    hands_in(room, "søren", mutations.right)
    again = grade(room, NAME, env=values)
    assert f"{NAME}: 1 new submission\n" in again.stdout, again.stderr
    assert read_grades(room, NAME)["søren"]["score"] == "10"
    assert not list(sandboxes.iterdir())  # not even of the run that was killed


def test_folders_of_runs_that_were_killed_are_removed_and_those_in_use_stay(monkeypatch, tmp_path):
    monkeypatch.setenv("GRADING_TMP", str(tmp_path))
    left, new, other = (tmp_path / name for name in ("grade-left", "grade-new", "class"))
    for folder in (left, new, other):
        folder.mkdir()
    for folder in (left, other):
        (folder / "lock").touch()
    (tmp_path / "grade-link").symlink_to(other)
    with private_folder(Limits(), []) as environment:
        used = Path(environment["GRADING_JUDGE"]).parent
        sweep()
        assert not left.exists()
        assert all(path.exists() for path in (used, new, other / "lock"))
    assert not used.exists()
