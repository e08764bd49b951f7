"""Whatever happens to one hand-in becomes its record; what concerns all stops the run."""

import errno
import os
import random
from dataclasses import replace

import hostile
import mutations
import pytest
from grading.classroom import Classroom
from grading.collect import Collected, Handed
from grading.grade import Grader
from grading.masters import read_master, secret_lines
from grading.processes import together
from grading.records import Status, read_record
from grading.sandbox import Limits, SandboxError
from school import MASTERS, grade, hand_in, read_grades, write_roster
from submissions import NO_TARGET

NAME = "1_demo"
MASTER = read_master(NAME, MASTERS)


@pytest.fixture
def grader(tmp_path):
    return Grader(Classroom(tmp_path), MASTER, Limits())


def graded(grader, content: bytes = b"{}", key: str = "key"):
    handed = Handed("anna", lambda: content, "digest", 0.0, "anna.ipynb")
    list(together([grader._grade_one(handed, key, Collected())], 1))
    return read_record(grader.room.record(NAME, "anna"))


def failing(grader, monkeypatch, problem: BaseException):
    def fail(*arguments):
        raise problem
        yield

    monkeypatch.setattr(Grader, "_fill_in", fail)
    return graded(grader)


@pytest.mark.parametrize(
    "problem",
    [
        RecursionError("maximum recursion depth exceeded"),
        MemoryError(),
        KeyError("cells"),
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
        OSError(errno.ENAMETOOLONG, "File name too long"),
        OSError(errno.ELOOP, "Too many levels of symbolic links"),
    ],
)
def test_an_error_at_one_hand_in_is_its_status(grader, monkeypatch, problem):
    record = failing(grader, monkeypatch, problem)
    assert record.status is Status.DID_NOT_RUN
    assert record.notes[0].startswith(f"could not be graded: {type(problem).__name__}")
    assert record.key != "key"  # so the next run tries again


@pytest.mark.parametrize(
    "problem",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EROFS, "Read-only file system"),
        SandboxError("a kernel ran outside the sandbox"),
        KeyboardInterrupt(),
    ],
)
def test_what_concerns_all_stops_the_run(grader, monkeypatch, problem):
    with pytest.raises(type(problem)):
        failing(grader, monkeypatch, problem)


@pytest.mark.parametrize("change", ["segfault", "exits", "memory"])
def test_a_reader_that_dies_is_that_hand_ins_trouble(grader, monkeypatch, change):
    def die(*arguments):
        if change == "memory":
            hoard = bytearray(2 << 30)
            hoard[:] = b"x"
        os.abort() if change == "segfault" else os._exit(3)

    monkeypatch.setattr("grading.grade.prepare_into", die)
    record = graded(grader)
    assert record.status is Status.DID_NOT_RUN
    assert record.notes


def test_a_file_of_braces_takes_bounded_memory(grader):
    content = b'{"cells": [' + b'{"":{}},' * 2_000_000 + b"{}]}"
    assert graded(grader, content).status is Status.DID_NOT_RUN


def test_the_class_goes_on(tmp_path):
    """Files that nothing can read, names that give secrets away, and one honest student."""
    inbox = tmp_path / "inbox" / NAME
    write_roster(tmp_path, ["anna", "ben", "cleo", "dan"])
    honest = mutations.right(MASTER, random.Random(0), NO_TARGET)
    inbox.mkdir(parents=True)
    hand_in(inbox, "anna", honest)
    hand_in(inbox, "ben", replace(honest, content=b"\x00\xff"))
    hand_in(inbox, "cleo", hostile.deep_json(MASTER, random.Random(0), NO_TARGET))
    secret = next(line for line in secret_lines(MASTER).values() if "/" not in line)
    for number, content in enumerate([b"{}", b"[]"]):
        name = f"{secret} {number}.ipynb\x1b[31m"[: -5 * number or None]
        hand_in(inbox, "dan", replace(honest, content=content, file_name=f"{name}.ipynb"))
    run = grade(tmp_path, NAME)
    assert run.returncode == 1, run.stderr
    rows = read_grades(tmp_path, NAME)
    assert rows["anna"]["score"] == "10"
    assert [rows[s]["status"] for s in ("ben", "cleo")] == ["did not run"] * 2
    assert "not a notebook" in rows["ben"]["notes"]
    assert "the feedback was removed, as it tells a secret" in run.stdout
    assert {page.stem for page in tmp_path.glob("grades/feedback/*/*.html")} == {
        "anna", "ben", "cleo",
    }  # fmt: skip
    assert "\x1b" not in run.stdout
