"""Points that a person gave are never lost, and never out of range."""

import codecs
import csv
import io

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


@pytest.mark.parametrize(
    "points", ["3", "2,1", "-1", "two", "nan", "inf", "1_0", "1.000,5", "May 1"]
)
def test_points_out_of_range_are_refused_by_line(room, points):
    write_answer(room, "anna", "It shrinks.")
    update_sheet(room, MASTER, ["anna"])
    fill_in(room, points)
    with pytest.raises(ClassroomError, match=r"line 2: .* points for why of anna; write a number"):
        read_marks(room.marks(MASTER.name))


@pytest.mark.parametrize(
    ("delimiter", "encoding", "points"),
    [
        (",", "utf-8", "1.5"),
        (",", "utf-8-sig", "1,5"),
        (";", "utf-8", "1,5"),
        ("\t", "utf-16", ",5"),
    ],
)
def test_a_sheet_is_kept_as_a_spreadsheet_saves_it(room, delimiter, encoding, points):
    write_answer(room, "anna", "It shrinks;\nagain, and again.")
    update_sheet(room, MASTER, ["anna"])
    path = room.marks(MASTER.name)
    (row,) = csv.DictReader(path.read_text().splitlines(keepends=True))
    text = io.StringIO()
    writer = csv.DictWriter(text, row, delimiter=delimiter)
    writer.writeheader()
    writer.writerow(row | {"points": points})
    path.write_text(text.getvalue(), encoding=encoding)
    write_answer(room, "zoë", "Because.")
    update_sheet(room, MASTER, ["anna", "zoë"])
    marks = read_marks(path)
    assert marks["anna", "why"].points == points
    assert marks["zoë", "why"].answer == "Because."
    assert path.read_bytes().startswith(codecs.BOM_UTF8) == (encoding != "utf-8")
    assert path.read_text("utf-8-sig").startswith(delimiter.join(["student", "task", "points"]))


def test_letters_that_a_spreadsheet_could_not_write_are_no_new_answer(room):
    write_answer(room, "anna", "v ≥ θ, then 🙂 follows")
    update_sheet(room, MASTER, ["anna"])
    fill_in(room, "2")
    path = room.marks(MASTER.name)
    path.write_text(path.read_text().replace("≥", "?").replace("θ", "?").replace("🙂", "??"))
    update_sheet(room, MASTER, ["anna"])
    (mark,) = read_marks(path).values()
    assert (mark.points, mark.answer) == ("2", "v ≥ θ, then 🙂 follows")


def test_an_answer_that_is_gone_waits_again_as_a_changed_one_does(room):
    write_answer(room, "anna", "It shrinks.")
    update_sheet(room, MASTER, ["anna"])
    fill_in(room, "1.5", "nearly")
    write_answer(room, "anna", student_version(to_nbgrader(MASTER)).cells[-1].source)
    for _ in range(2):
        update_sheet(room, MASTER, ["anna"])
        mark = read_marks(room.marks(MASTER.name))["anna", "why"]
        assert (mark.points, mark.answer) == ("", "")
        assert mark.comment == "[1.5 points for an earlier answer] nearly"


@pytest.mark.parametrize("text", ["It fällt, schräg.", "„0,5“ — größer", "李雷 ž"])
def test_a_sheet_that_a_spreadsheet_took_for_windows_1252_keeps_its_points(room, text):
    """Where it shows Ã¤ for ä, and saves that as UTF-8."""
    write_answer(room, "anna", text)
    update_sheet(room, MASTER, ["anna"])
    fill_in(room, "1")
    path = room.marks(MASTER.name)
    shown = "".join(
        bytes([unit]).decode("cp1252", "ignore") or chr(unit) for unit in path.read_bytes()
    )
    path.write_text(shown, encoding="utf-8", newline="")
    update_sheet(room, MASTER, ["anna"])
    mark = read_marks(path)["anna", "why"]
    assert (mark.points, mark.comment) == ("1", "")
    assert mark.answer == text


@pytest.mark.parametrize("answer", ["=1+1", "'=1+1", "''-x", "'tis so", "\ty", "+", "\r\n=x"])
def test_an_answer_like_a_formula_keeps_its_points(room, answer):
    write_answer(room, "anna", answer)
    update_sheet(room, MASTER, ["anna"])
    fill_in(room, "2")
    update_sheet(room, MASTER, ["anna"])
    (mark,) = read_marks(room.marks(MASTER.name)).values()
    assert mark.points == "2"


def test_an_answer_of_any_length_fits_the_sheet_and_its_end_counts(room):
    write_answer(room, "anna", "a" * 300_000)
    update_sheet(room, MASTER, ["anna"])
    assert room.marks(MASTER.name).stat().st_size < 32_767
    fill_in(room, "2")
    update_sheet(room, MASTER, ["anna"])
    assert read_marks(room.marks(MASTER.name))["anna", "why"].points == "2"
    write_answer(room, "anna", "a" * 299_999 + "b")
    update_sheet(room, MASTER, ["anna"])
    assert read_marks(room.marks(MASTER.name))["anna", "why"].points == ""


def test_a_column_of_ones_own_is_kept(room):
    write_answer(room, "anna", "It shrinks.")
    update_sheet(room, MASTER, ["anna"])
    path = room.marks(MASTER.name)
    head, row = path.read_text().splitlines()
    path.write_text(f"seen by,{head}\nLi,{row}\n")
    write_answer(room, "zoë", "Because.")
    update_sheet(room, MASTER, ["anna", "zoë"])
    with path.open(newline="") as file:
        assert [row["seen by"] for row in csv.DictReader(file)] == ["Li", ""]


def test_two_rows_for_one_answer_are_refused(room):
    write_answer(room, "anna", "It shrinks.")
    update_sheet(room, MASTER, ["anna"])
    path = room.marks(MASTER.name)
    path.write_text(path.read_text() + path.read_text().partition("\n")[2])
    with pytest.raises(ClassroomError, match="line 3: why of anna is there twice"):
        read_marks(path)


@pytest.mark.parametrize(
    ("header", "rows", "message", "fixed"),
    [
        ("anna,why,2,2,good,text", "", "lost its column", "first line must name"),
        ("student,task,points,points,out_of,comment,answer", "anna,why,,2,2,,text",
         "two columns points", "student,task,mine,points,out_of,comment,answer"),
        ("student,task,points,out_of,comment,answer,,", "anna,why,2,2,,text,,ask her",
         "'ask her' stands in a column without a name",
         "student,task,points,out_of,comment,answer,,mine"),
    ],
)  # fmt: skip
def test_a_sheet_of_which_something_would_be_lost_is_refused(room, header, rows, message, fixed):
    write_answer(room, "anna", "text")
    path = room.marks(MASTER.name)
    path.parent.mkdir()
    path.write_text(f"{header}\n{rows}\n")
    with pytest.raises(ClassroomError, match=message) as found:
        update_sheet(room, MASTER, ["anna"])
    assert path.read_text() == f"{header}\n{rows}\n"
    if fixed in str(found.value):  # what the message says to put above
        fixed, rows = str(found.value).partition(f"{fixed} ")[2].replace(", ", ","), header
    path.write_text(f"{fixed}\n{rows}\n")
    update_sheet(room, MASTER, ["anna"])
    assert read_marks(path)["anna", "why"].points == "2"


def test_a_lost_out_of_is_named(room):
    write_answer(room, "anna", "text")
    path = room.marks(MASTER.name)
    path.parent.mkdir()
    path.write_text("student,task,points,out_of,comment,answer\nanna,why,1,,,text\n")
    with pytest.raises(ClassroomError, match="line 2: out_of '' of why is no number"):
        read_marks(path)


def test_a_lost_column_is_refused(room):
    path = room.marks(MASTER.name)
    path.parent.mkdir()
    path.write_text("student,task\nanna,why\n")
    with pytest.raises(ClassroomError, match="lost its column answer"):
        read_marks(path)
