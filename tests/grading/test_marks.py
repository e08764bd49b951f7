"""Points that a person gave are never lost, and never out of range."""

import csv

import nbformat
import pytest
from grading.blank import student_version
from grading.classroom import Classroom, ClassroomError
from grading.marks import read_marks, update_sheet
from grading.masters import read_master, to_nbgrader
from school import MASTERS

MASTER = read_master("1_demo", MASTERS)


@pytest.fixture
def room(tmp_path):
    return Classroom(tmp_path)


def write_answer(room, student, text):
    notebook = student_version(to_nbgrader(MASTER))
    notebook.cells[-1].source = text
    path = room.notebook("submitted", MASTER.name, student)
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


def fill_in(room, points, comment=""):
    path = room.marks(MASTER.name)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row | {"points": points, "comment": comment} for row in rows)


def test_each_answer_gets_a_row_and_an_untouched_one_does_not(room):
    write_answer(room, "anna", "It shrinks,\nagain and again.")
    notebook = student_version(to_nbgrader(MASTER))
    write_answer(room, "ben", notebook.cells[-1].source)
    update_sheet(room, MASTER, ["anna", "ben"])
    (mark,) = read_marks(room.marks(MASTER.name)).values()
    assert (mark.student, mark.task, mark.points, mark.out_of) == ("anna", "why", "", "2")
    assert mark.answer == "It shrinks,\nagain and again."


def test_points_and_comments_survive(room):
    write_answer(room, "anna", "It shrinks.")
    update_sheet(room, MASTER, ["anna"])
    fill_in(room, "1.5", "nearly")
    write_answer(room, "zoë", "Because.")
    update_sheet(room, MASTER, ["zoë"])
    marks = read_marks(room.marks(MASTER.name))
    assert (marks["anna", "why"].points, marks["anna", "why"].comment) == ("1.5", "nearly")
    assert marks["zoë", "why"].points == ""


def test_a_changed_answer_waits_again_and_its_points_are_kept_in_sight(room):
    write_answer(room, "anna", "It shrinks.")
    update_sheet(room, MASTER, ["anna"])
    fill_in(room, "1", "why?")
    write_answer(room, "anna", "It shrinks in each step.")
    update_sheet(room, MASTER, ["anna"])
    mark = read_marks(room.marks(MASTER.name))["anna", "why"]
    assert mark.points == ""
    assert mark.comment == "[1 point for an earlier answer] why?"


@pytest.mark.parametrize("points", ["3", "-1", "two", "nan", "1,5"])
def test_points_out_of_range_are_refused_by_line(room, points):
    write_answer(room, "anna", "It shrinks.")
    update_sheet(room, MASTER, ["anna"])
    fill_in(room, points)
    with pytest.raises(ClassroomError, match=r"line 2: .* points for why of anna; write a number"):
        read_marks(room.marks(MASTER.name))


def test_a_lost_column_is_refused(room):
    path = room.marks(MASTER.name)
    path.parent.mkdir()
    path.write_text("student,task\nanna,why\n")
    with pytest.raises(ClassroomError, match="lost its column answer"):
        read_marks(path)
