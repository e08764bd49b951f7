"""A class with every kind of student once, graded by one command."""

import random

import forgeries
import hostile
import mutations
import pytest
import submissions
from grading.masters import FOLDER
from grading.records import Status
from school import MASTERS, fingerprint, make_school, notebook_of

NAME = "1_demo"
UNTOUCHABLE = [FOLDER, FOLDER.parent / "snnlib", MASTERS]


@pytest.fixture(scope="module")
def school(tmp_path_factory):
    makers = [*mutations.HONEST, *hostile.HOSTILE, *forgeries.FORGERIES, mutations.right]
    folder = tmp_path_factory.mktemp("school") / "klasse ü"
    school = make_school(folder, NAME, makers)
    inbox = folder / "inbox"
    before = fingerprint(*UNTOUCHABLE, inbox)
    school.run = school.grade("--jobs=2")
    school.changed = fingerprint(*UNTOUCHABLE, inbox) != before
    yield school
    school.server.close()
    school.sandboxes.rmdir()


@pytest.fixture(scope="module")
def deserved(school):
    return school.deserved()


def test_the_batch_finishes_and_asks_for_a_look(school):
    assert school.run.returncode == 1, school.run.stderr
    assert len(school.rows()) == len(school.submissions)
    assert f"{len(school.submissions)} new submissions" in school.run.stdout


def test_every_student_gets_exactly_what_they_deserve(school, deserved):
    earned = {student: float(row["score"]) for student, row in school.rows().items()}
    assert earned == deserved


def test_every_status_is_as_it_should_be(school):
    for student, row in school.rows().items():
        status = Status(row["status"])
        if status is Status.NEEDS_A_PERSON and "waits for a mark" in row["notes"]:
            status = Status.GRADED  # but for its written answers
        assert status in school.submissions[student].statuses, (student, row)


def test_nothing_outside_changed(school):
    assert not school.changed
    assert school.canary.read_text() == "unchanged"
    assert not list(school.sandboxes.iterdir())


def test_no_call_came_through(school):
    with pytest.raises(BlockingIOError):
        school.server.accept()


@pytest.mark.parametrize("thief", [hostile.reads_masters, hostile.replaces_comparisons])
def test_without_the_pipeline_these_attacks_would_score(school, thief):
    attack = submissions.Attack([str(MASTERS)], "", 0, "")
    submission = thief(school.master, random.Random(0), attack)
    assert submissions.points(school.master, notebook_of(submission)) > 0


def test_stopped_ones_say_why(school):
    for row in school.rows().values():
        assert row["status"] == Status.GRADED or row["notes"], row


def test_a_second_run_grades_nothing_and_changes_no_grade(school):
    before = school.rows()
    again = school.grade()
    assert f"{NAME}: 0 new submissions" in again.stdout, again.stderr
    assert school.rows() == before
