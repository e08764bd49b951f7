"""Grading a class: refusals, second thoughts, interruptions, marks by hand."""

import os
import random
import shutil
import subprocess
import sys

import mutations
import pytest
from grading.classroom import Classroom
from grading.masters import read_master
from nbgrader.api import Gradebook
from school import MASTERS, environment, grade, hand_in, read_grades, write_roster

NAME = "1_demo"
MASTER = read_master(NAME, MASTERS)
NOBODY = mutations.Attack([], "", 0, "")


def submission(maker=mutations.right, seed=0):
    return maker(MASTER, random.Random(seed), NOBODY)


@pytest.fixture
def room(tmp_path):
    """A class of three, none of whom has handed anything in."""
    (tmp_path / "inbox" / NAME).mkdir(parents=True)
    write_roster(tmp_path, ["anna", "søren", "李雷"])
    return tmp_path


def inbox(room):
    return room / "inbox" / NAME


def statuses(room) -> dict[str, str]:
    return {student: row["status"] for student, row in read_grades(room, NAME).items()}


# -- refusals ----------------------------------------------------------------------------


def test_without_bubblewrap_nothing_is_graded_unless_told_so(room, tmp_path):
    hand_in(inbox(room), "anna", submission())
    programs = tmp_path / "bin"  # everything but bubblewrap
    programs.mkdir()
    for name in ("env", "true"):
        os.symlink(shutil.which(name), programs / name)
    poor = {"env": environment() | {"PATH": str(programs)}}
    run = grade(room, NAME, **poor)
    assert run.returncode == 2
    assert "bubblewrap is not installed, so nothing was graded" in run.stderr
    assert not (room / "grades").exists()
    run = grade(room, NAME, "--unsandboxed", **poor)
    assert read_grades(room, NAME)["anna"]["score"] == "10", run.stderr


def test_a_bubblewrap_that_cannot_start_is_reported(room, tmp_path):
    hand_in(inbox(room), "anna", submission())
    broken = tmp_path / "bin" / "bwrap"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho 'No permissions to create new namespace' >&2; exit 1\n")
    broken.chmod(0o755)
    path = f"{broken.parent}{os.pathsep}{os.environ['PATH']}"
    run = grade(room, NAME, env=environment() | {"PATH": path})
    assert run.returncode == 2
    assert "cannot start: No permissions to create new namespace" in run.stderr


def test_an_empty_inbox(room):
    for run in (grade(room, NAME), grade(room)):
        assert run.returncode == 2
        assert f"nothing was handed in for {NAME}" in run.stderr


def test_no_inbox_at_all(tmp_path):
    write_roster(tmp_path, ["anna"])
    assert "nothing was handed in" in grade(tmp_path).stderr


def test_an_empty_class(room):
    write_roster(room, [])
    run = grade(room, NAME)
    assert run.returncode == 2
    assert "lists no student" in run.stderr


def test_an_assignment_that_does_not_exist(room):
    (room / "inbox" / "7_none").mkdir()
    run = grade(room, "7_none")
    assert run.returncode == 2
    assert "no assignment '7_none'; there are: 1_demo" in run.stderr


def test_a_read_only_folder(room):
    hand_in(inbox(room), "anna", submission())
    run = in_a_box(["--ro-bind", str(room), str(room)], room)
    assert run.returncode == 2
    assert "Read-only file system" in run.stderr
    assert "Nothing graded so far is lost" in run.stderr


def test_a_full_disk_loses_nothing(room):
    hand_in(inbox(room), "anna", submission())
    (room / "work").mkdir()
    run = in_a_box(["--size", "65536", "--tmpfs", str(room / "work")], room)
    assert run.returncode == 2, run.stdout
    assert "disk is full" in run.stderr or "No space left" in run.stderr
    assert "fix it and repeat" in run.stderr
    assert grade(room, NAME).returncode == 0
    assert read_grades(room, NAME)["anna"]["score"] == "10"


def in_a_box(mounts: list[str], room) -> subprocess.CompletedProcess:
    """The grading command where a folder is read-only, or small."""
    command = ["bwrap", "--dev-bind", "/", "/", *mounts]
    command += [sys.executable, "-m", "grading", f"--masters={MASTERS}", "grade", str(room), NAME]
    return subprocess.run(command, env=environment(), capture_output=True, text=True)


def test_two_runs_at_once(room):
    hand_in(inbox(room), "anna", submission())
    with Classroom(room).lock():
        run = grade(room, NAME)
    assert run.returncode == 2
    assert "another run is grading" in run.stderr


# -- odd submissions ---------------------------------------------------------------------


def test_strangers_other_assignments_and_second_thoughts(room):
    hand_in(inbox(room), "mallory", submission())
    foreign = submission()
    foreign.content = foreign.content.replace(b'"grade_id": "', b'"grade_id": "other_')
    hand_in(inbox(room), "søren", foreign)
    hand_in(inbox(room), "李雷", submission(mutations.untouched))
    os.utime(inbox(room) / "李雷.ipynb", (1, 1))
    again = submission()
    again.file_name = "第二.ipynb"
    hand_in(inbox(room), "李雷", again)
    run = grade(room, NAME)
    assert run.returncode == 1
    assert "look: mallory.ipynb belongs to nobody in the roster" in run.stdout
    rows = read_grades(room, NAME)
    assert rows["søren"]["status"] == "needs a person"
    assert "belong to this assignment" in rows["søren"]["notes"]
    assert rows["李雷"]["score"] == "10"
    assert "第二.ipynb counts, 李雷.ipynb does not" in rows["李雷"]["notes"]
    assert rows["anna"]["status"] == "nothing handed in"


# -- marks by hand -----------------------------------------------------------------------


def mark(room, points: str) -> None:
    path = room / "marks" / f"{NAME}.csv"
    path.write_text(path.read_text().replace("why,,2", f"why,{points},2"))


def test_marks_complete_a_grade_and_survive_everything(room):
    hand_in(inbox(room), "anna", submission())
    write_answer(room, "anna", "Each step keeps a share.")
    assert grade(room, NAME).returncode == 1
    assert statuses(room)["anna"] == "needs a person"
    mark(room, "1.5")
    run = grade(room, NAME)
    assert run.returncode == 0, run.stdout
    assert read_grades(room, NAME)["anna"]["score"] == "11.5"

    # another submission with the same answer keeps its points
    hand_in(inbox(room), "anna", submission(mutations.wrong_in_one_task))
    write_answer(room, "anna", "Each step keeps a share.")
    grade(room, NAME)
    row = read_grades(room, NAME)["anna"]
    assert row["status"] == "graded"
    assert 1.5 < float(row["score"]) < 11.5

    # even the grade book itself can be lost
    shutil.rmtree(room / "work")
    grade(room, NAME)
    assert read_grades(room, NAME)["anna"] == row | {
        key: read_grades(room, NAME)["anna"][key] for key in ("seconds", "peak_memory_MiB")
    }


def test_marks_given_in_nbgraders_own_form_survive_a_new_submission(room):
    hand_in(inbox(room), "anna", submission())
    write_answer(room, "anna", "Each step keeps a share.")
    grade(room, NAME)
    place = "why_answer", NAME, NAME, "anna"
    with Gradebook(Classroom(room).gradebook, "snn") as book:
        found = book.find_grade(*place)
        found.manual_score, found.needs_manual_grade = 2.0, False
        book.db.commit()
    grade(room, NAME)
    assert read_grades(room, NAME)["anna"]["score"] == "12"
    hand_in(inbox(room), "anna", submission(seed=5))
    write_answer(room, "anna", "Each step keeps a share.")
    grade(room, NAME)
    with Gradebook(Classroom(room).gradebook, "snn") as book:
        assert book.find_grade(*place).manual_score == 2.0
    assert statuses(room)["anna"] == "needs a person"  # who looks whether it still fits


def write_answer(room, student: str, text: str) -> None:
    path = inbox(room) / f"{student}.ipynb"
    path.write_text(path.read_text().replace("*Replace this line by your answer.*", text))
