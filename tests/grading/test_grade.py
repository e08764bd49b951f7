"""Grading a class: refusals, second thoughts, interruptions, marks by hand."""

import os
import random
import re
import shutil
import subprocess
import sys

import hostile
import mutations
import pytest
from grading.classroom import Classroom, ClassroomError
from grading.commands import main
from grading.masters import read_master
from nbgrader.api import Gradebook
from school import MASTERS, environment, grade, hand_in, read_grades, write_roster
from submissions import NO_TARGET

NAME = "1_demo"
MASTER = read_master(NAME, MASTERS)


def submission(maker=mutations.right, seed=0):
    return maker(MASTER, random.Random(seed), NO_TARGET)


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


def test_an_empty_folder_among_others_stops_nothing(room):
    hand_in(inbox(room), "anna", submission(hostile.broken_json))
    masters = room / "masters"
    shutil.copytree(MASTERS, masters)
    shutil.copy(masters / f"{NAME}.md", masters / "2_later.md")
    (room / "inbox" / "2_later").mkdir()
    (room / "inbox" / "2_later" / ".DS_Store").touch()
    run = grade(room, masters=masters)
    assert run.returncode == 1, run.stderr
    assert f"note: {room / 'inbox' / '2_later'} is empty" in run.stdout
    assert statuses(room)["anna"] == "did not run"


def test_what_lies_beside_the_folders_is_named(room):
    hand_in(room / "inbox", "anna", submission())
    run = grade(room)
    assert run.returncode == 2
    assert "anna.ipynb lies beside the folders of the assignments: move it" in run.stderr
    (room / "inbox" / "anna.ipynb").rename(inbox(room) / "anna.ipynb")
    assert grade(room).returncode == 0


def test_a_mistyped_class_folder_is_refused_and_nothing_is_made(room):
    before = set(room.parent.rglob("*"))
    typo = room.with_name(room.name[:-2] + "x")
    run = grade(typo, NAME)
    assert run.returncode == 2
    assert f"there is no folder {typo}, but {room}" in run.stderr
    no_roster = room / "inbox"
    run = grade(no_roster, NAME)
    assert run.returncode == 2
    assert f"{no_roster / 'roster.csv'} is missing" in run.stderr
    assert set(room.parent.rglob("*")) == before


def test_an_inbox_of_strangers_only_is_listed(room):
    hand_in(inbox(room), "mallory", submission())
    (inbox(room) / "scan.pdf").touch()
    run = grade(room, NAME)
    assert run.returncode == 1, run.stderr
    assert "look: mallory.ipynb belongs to nobody in the roster: name it <id>.ipynb" in run.stdout
    assert "look: scan.pdf belongs to nobody in the roster" in run.stdout


def test_an_empty_class(room):
    write_roster(room, [])
    run = grade(room, NAME)
    assert run.returncode == 2
    assert "lists no student" in run.stderr


@pytest.mark.parametrize("name", ["a?b", "[2026]", "x%20y", "all*"])
def test_a_folder_name_that_nbgrader_takes_for_a_pattern_is_refused(room, name):
    folder = room / name / "class"
    folder.mkdir(parents=True)
    with pytest.raises(ClassroomError, match="does not work below a folder with"):
        Classroom(folder).require()
    Classroom(folder.rename(room / "it's (50) ü {x} #1 & $HOME")).require()


def test_folders_of_programs_are_no_assignments(room):
    hand_in(inbox(room), "anna", submission(hostile.broken_json))
    for folder in (".ipynb_checkpoints", "__MACOSX"):
        (room / "inbox" / folder).mkdir()
    run = grade(room)
    assert run.returncode == 1, run.stderr
    assert statuses(room)["anna"] == "did not run"


def test_a_name_that_the_terminal_cannot_show_stops_nothing(room):
    hand_in(inbox(room), "李雷", submission(hostile.broken_json))
    (room / "inbox" / os.fsdecode(b"M\xfcller.ipynb")).touch()
    run = grade(room, NAME, env=environment() | {"PYTHONIOENCODING": "ascii"})
    assert run.returncode == 1, run.stderr
    assert "look: \\u674e\\u96f7 did not run" in run.stdout
    assert "Mller.ipynb lies beside the folders" in run.stdout
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("option", ["--jobs=0", "--jobs=-1", "--cell-seconds=0", "--seconds=x"])
def test_a_limit_that_is_none_is_refused(monkeypatch, capsys, option):
    monkeypatch.setattr(sys, "argv", ["grading", "grade", "class", option])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert f"argument {option.split('=')[0]}" in capsys.readouterr().err


def test_thousands_of_files_of_one_student_do_not_hide_the_others(room):
    (inbox(room) / "anna").mkdir()
    for number in range(1000):
        (inbox(room) / "anna" / f"{number}.pdf").touch()
    (inbox(room) / "mallory.ipynb").touch()
    run = grade(room, NAME)
    assert run.stdout.count("anna/") == 20
    assert "look: 980 more files of anna were not used" in run.stdout
    assert "look: mallory.ipynb belongs to nobody" in run.stdout


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


def test_files_that_only_their_owner_may_read_are_enough(room):
    """With such a umask, all that grading makes is closed to the user of the sandbox."""
    hand_in(inbox(room), "anna", submission())
    run = grade(room, NAME, umask=0o077)
    assert run.returncode == 0, run.stdout + run.stderr
    assert read_grades(room, NAME)["anna"]["score"] == "10"
    assert (room / "grades" / f"{NAME}-grades.csv").stat().st_mode & 0o077 == 0


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


# -- a class folder that was changed by hand ----------------------------------------------


def test_what_the_grade_book_lost_is_graded_again_or_named(room):
    hand_in(inbox(room), "anna", submission())
    assert grade(room, NAME).returncode == 0
    book = room / "work" / "gradebook.db"
    with Gradebook(Classroom(room).gradebook, "snn") as found:
        found.remove_student("anna")
    run = grade(room, NAME)
    assert f"{NAME}: 1 new submission\n" in run.stdout, run.stderr
    assert read_grades(room, NAME)["anna"]["score"] == "10"

    # neither the grade nor the file
    (inbox(room) / "anna.ipynb").rename(room / "anna.ipynb")
    hand_in(inbox(room), "søren", submission(hostile.broken_json))
    run = grade(room, NAME)
    assert re.search("note: nothing in the inbox now, so the grade stays .*: anna\n", run.stdout)
    assert statuses(room)["anna"] == "graded"
    with Gradebook(Classroom(room).gradebook, "snn") as found:
        found.remove_student("anna")
    run = grade(room, NAME)
    assert run.returncode == 1, run.stderr
    assert "look: anna did not run: the grade book has no such grade" in run.stdout
    assert "1_demo,anna" not in (room / "grades" / f"{NAME}-canvas.csv").read_text()

    # no grade book at all: the message's advice
    (room / "anna.ipynb").rename(inbox(room) / "anna.ipynb")
    book.write_bytes(b"damaged" * 1000)
    run = grade(room, NAME)
    assert run.returncode == 2
    assert "move it away and repeat" in run.stderr
    assert "Traceback" not in run.stderr
    book.unlink()
    grade(room, NAME)
    assert read_grades(room, NAME)["anna"]["score"] == "10"


@pytest.mark.parametrize("content", [None, b""])
def test_without_a_grade_book_no_record_counts(room, content):
    record, book = Classroom(room).record(NAME, "anna"), room / "work" / "gradebook.db"
    record.parent.mkdir(parents=True)
    record.touch()
    if content is not None:
        book.write_bytes(content)
    with Classroom(room).lock():
        assert not record.exists()
        assert not book.exists()


def test_an_assignment_that_has_other_tasks_now(room):
    masters = room / "masters"
    shutil.copytree(MASTERS, masters)
    hand_in(inbox(room), "anna", submission())
    write_answer(room, "anna", "Each step keeps a share.")
    grade(room, NAME, masters=masters)
    mark(room, "1.5")
    path = masters / f"{NAME}.md"
    text = path.read_text().replace(
        ', about: "a neuron at its threshold, and no neuron at all"', ""
    )
    path.write_text(text.replace(":task: {test: spikes,", ":task: {hidden: spikes_too, about: x,"))
    path.write_text(path.read_text().replace("{solution: spikes}", "{solution: spikes_too}"))
    path.write_text(path.read_text().replace("{hidden: spikes,", "{test: spikes_too,"))
    run = grade(room, NAME, masters=masters)
    assert run.returncode == 2
    book = room / "work" / "gradebook.db"
    assert f"it has other tasks than when it was graded before. Move {book} away" in run.stderr
    book.rename(room / "old.db")
    grade(room, NAME, masters=masters)
    assert read_grades(room, NAME)["anna"]["score"] == "11.5"


def test_an_assignment_that_was_renamed_is_named_and_stops_nothing(room):
    hand_in(inbox(room), "anna", submission(hostile.broken_json))
    grade(room, NAME)
    records = room / "work" / "records"
    shutil.copytree(records / NAME, records / "1_old")
    (records / ".DS_Store").touch()
    run = grade(room, NAME)
    assert run.returncode == 1, run.stderr
    assert f"note: grades.csv leaves out 1_old, of which {MASTERS} has no 1_old.md" in run.stdout
    assert "1_old" not in (room / "grades" / "grades.csv").read_text()


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
    (room / "work" / "gradebook.db").unlink()
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


def confirm(room, student: str) -> None:
    """What the button *Resolve* of nbgrader's formgrader does: the same points once more."""
    with Gradebook(Classroom(room).gradebook, "snn") as book:
        found = book.find_grade("why_answer", NAME, NAME, student)
        found.manual_score, found.needs_manual_grade = found.manual_score, False
        book.db.commit()


def summary(run) -> dict[str, int]:
    """The counts that a run prints, by what is counted."""
    lines = re.findall(r"^ +(\d+) (.+)$", run.stdout, flags=re.M)
    return {name: int(count) for count, name in lines}


def test_marks_of_the_formgrader_can_be_confirmed_and_graded_means_finished(room):
    hand_in(inbox(room), "anna", submission())
    write_answer(room, "anna", "Each step keeps a share.")
    hand_in(inbox(room), "søren", submission())
    waiting = {"graded": 1, "needs a person": 1, "nothing handed in": 1, "in the roster": 3}
    done = waiting | {"graded": 2, "needs a person": 0}
    run = grade(room, NAME)
    assert f"{NAME}: 2 new submissions" in run.stdout
    assert "anna: graded" not in run.stdout
    assert summary(run) == waiting | {"did not run": 0, "tampered": 0}
    with Gradebook(Classroom(room).gradebook, "snn") as book:
        book.find_grade("why_answer", NAME, NAME, "anna").manual_score = 1.0
        book.db.commit()
    confirm(room, "anna")
    assert summary(grade(room, NAME)) == done | {"did not run": 0, "tampered": 0}
    for answer in ("Each step keeps a share.", "It keeps half."):
        hand_in(inbox(room), "anna", submission(seed=len(answer)))
        write_answer(room, "anna", answer)
        run = grade(room, NAME)
        assert f"{NAME}: 1 new submission\n" in run.stdout
        assert statuses(room)["anna"] == "needs a person"
        confirm(room, "anna")
        run = grade(room, NAME)
        assert run.returncode == 0, run.stdout
        assert read_grades(room, NAME)["anna"]["score"] == "11"


def test_ids_as_addresses_are(room):
    students = ["sean.o'brien+1@school.example", "@x"]
    write_roster(room, students)
    for student in students:
        hand_in(inbox(room), student, submission())
    run = grade(room, NAME)
    assert run.returncode == 0, run.stdout + run.stderr
    assert set(statuses(room)) == {students[0], "'@x"}
    pages = (room / "grades" / "feedback" / NAME).iterdir()
    assert {page.stem for page in pages} == set(students)


def write_answer(room, student: str, text: str) -> None:
    path = inbox(room) / f"{student}.ipynb"
    path.write_text(path.read_text().replace("*Replace this line by your answer.*", text))
