"""No import erases a grade or gives it to another; feedback reaches whom it is about."""

import json
import os
import zipfile
from dataclasses import replace

import nbformat
import pytest
from grading.collect import collect
from grading.feedback import write_feedback
from grading.lms import write_imports, write_uploads
from grading.masters import read_master
from grading.records import Record, Status
from grading.report import Row
from grading.roster import Student
from importers import (
    ImportStopped,
    Person,
    canvas_feedback,
    canvas_grades,
    moodle_feedback,
    moodle_grades,
)
from school import MASTERS
from test_collect import archive

MASTER = read_master("1_demo", MASTERS)
ANNA = Student("anna", "Anna", "Ek", "anna@x", "501")
BEN = Student("ben", "Ben", "Alm", "ben@x", "502")


def row(student: Student, points: float | None = 5.5, status=Status.GRADED) -> Row:
    record = Record(student.id, MASTER.name, "key", status)
    names = [part.grade_id for part in MASTER.parts if part.points]
    return Row(student, record, {"only": points}, dict.fromkeys(names, ""))


def people() -> list[Person]:
    anna = Person(501, "Anna Ek", "Ek, Anna", "anna.ek", "anna@x", 9.0, [9001])
    return [anna, Person(502, "Ben Alm", "Alm, Ben", "ben.alm", "ben@x", 8.0, [9002])]


def grades_after(folder, rows: list[Row], there: list[Person]) -> dict[str, list[float | None]]:
    """What people have after an import into each platform."""
    left_out = write_imports(folder, MASTER, rows)
    after = {"left out": left_out}
    for name, load in (("canvas", canvas_grades), ("moodle", moodle_grades)):
        persons = [replace(person) for person in there]
        load((folder / f"1_demo-{name}.csv").read_text(), persons)
        after[name] = [person.grade for person in persons]
    return after


def test_grades_arrive(tmp_path):
    after = grades_after(tmp_path, [row(ANNA), row(BEN, 12)], people())
    assert after == {"canvas": [5.5, 12], "moodle": [5.5, 12], "left out": []}


@pytest.mark.parametrize(
    "waiting", [row(BEN, None), *(row(BEN, 0, status) for status in Status if status != "graded")]
)
def test_a_grade_that_is_not_certain_changes_nothing(tmp_path, waiting):
    after = grades_after(tmp_path, [row(ANNA), waiting], people())
    assert after == {"canvas": [5.5, 8], "moodle": [5.5, 8], "left out": []}


def test_an_empty_grade_would_erase_one():
    """Which is why rows without a grade are left out."""
    there = people()
    canvas_grades("Student,ID,SIS User ID,SIS Login ID,Section,x\nben,502,,,,\n", there)
    moodle_grades("Email address,x\nanna@x,\n", there)
    assert [person.grade for person in there] == [None, None]


def test_who_has_no_address_or_number_is_left_out_and_named(tmp_path):
    after = grades_after(
        tmp_path, [row(ANNA), row(replace(BEN, email="", lms_user_id=""))], people()
    )
    assert after["canvas"] == after["moodle"] == [5.5, 8]
    assert after["left out"] == [
        "1_demo-canvas.csv leaves out ben: no lms_user_id in the roster",
        "1_demo-moodle.csv leaves out ben: no e-mail address of their own in the roster",
    ]


def test_a_row_without_an_address_would_go_to_the_one_above():
    there = people()
    moodle_grades("Email address,x\nanna@x,5\n,1\n", there)
    assert there[0].grade == 1


@pytest.mark.parametrize("address", ["anna@x", "ANNA@x", "ánna@x", "=anna@x"])
def test_an_address_that_two_have_or_a_table_changes_is_nobodys(tmp_path, address):
    rows = [row(ANNA), row(replace(BEN, email=address))]
    left_out = write_imports(tmp_path, MASTER, rows)
    there = people()
    moodle_grades((tmp_path / "1_demo-moodle.csv").read_text(), there)
    assert there[1].grade == 8
    assert any("leaves out ben" in line for line in left_out)


@pytest.mark.parametrize(
    "name", ["Ek, Anna", "Points Possible", "    Points Possible, x", "=HYPERLINK(1)", "502"]
)
def test_names_decide_nothing_in_canvas(tmp_path, name):
    """Students may choose them; somebody who left the course is found by nothing else."""
    last, _, first = name.partition(", ")
    gone = Student("gone", first, last, "gone@x", "999")
    write_imports(tmp_path, MASTER, [row(gone, 1), row(BEN, 2)])
    there = people()
    assert canvas_grades((tmp_path / "1_demo-canvas.csv").read_text(), there) == ["gone"]
    assert [person.grade for person in there] == [9, 2]


def test_a_platform_that_a_class_does_not_use_gets_no_table(tmp_path):
    write_imports(tmp_path, MASTER, [row(ANNA)])
    write_imports(tmp_path, MASTER, [row(replace(ANNA, email=""))])
    assert [path.name for path in tmp_path.iterdir()] == ["1_demo-canvas.csv"]


def test_a_file_name_in_no_encoding_stops_no_feedback(tmp_path):
    """Such as unzip makes where the system does not know the archive's encoding."""
    inbox = tmp_path / "inbox" / "unpacked"
    inbox.mkdir(parents=True)
    (inbox / os.fsdecode(b"ekanna_501_9001_l\xf6sung.ipynb")).write_bytes(b"{}")
    (tmp_path / "anna.html").write_text("<p>5.5 points</p>")
    places = collect(inbox.parent, {"anna": ANNA}).places
    write_uploads(tmp_path, MASTER, [row(ANNA)], places, tmp_path)
    with zipfile.ZipFile(tmp_path / "1_demo-feedback-canvas.zip") as archive:
        assert archive.namelist() == ["ekanna_501_9001_lsung.ipynb"]


def test_moodle_stops_at_an_address_it_does_not_know():
    with pytest.raises(ImportStopped):
        moodle_grades("Email address,x\nnobody@x,5\n", people())


# -- feedback ----------------------------------------------------------------------------


def uploads(folder, names: list[str], rows: list[Row]):
    """The archives of feedback for a class that handed these files in."""
    inbox = folder / "inbox"
    inbox.mkdir(exist_ok=True)
    archive(inbox / "a.zip", dict.fromkeys(names, b"{}"))
    collected = collect(inbox, {r.student.id: r.student for r in rows})
    write_feedback(folder / "pages", MASTER, rows)
    write_uploads(folder, MASTER, rows, collected.places, folder / "pages")
    return {path.stem.rpartition("-")[2]: path.read_bytes() for path in folder.glob("*.zip")}


def feedback_row(student: Student, status=Status.GRADED) -> Row:
    full = row(student, 5.5, status)
    return replace(full, points=dict.fromkeys(full.comments, 0.5))


@pytest.mark.parametrize("wrapper", ["", "again/"])
def test_canvas_gives_each_their_feedback_as_a_notebook_that_opens(tmp_path, wrapper):
    names = ["ekanna_LATE_501_9001_2026_x.ipynb", "almben_502_9002_y.ipynb"]
    rows = [feedback_row(ANNA), feedback_row(BEN, Status.TAMPERED)]
    found = uploads(tmp_path, [wrapper + name for name in names], rows)
    given = canvas_feedback(found.pop("canvas"), people())
    assert not found
    assert set(given) == {501}
    notebook = nbformat.reads(given[501], as_version=4)
    nbformat.validate(notebook)
    (cell,) = notebook.cells
    assert "Anna Ek" in cell.source
    assert "\n\n" not in cell.source
    assert "<script" not in json.dumps(notebook)


@pytest.mark.parametrize("place", [1, -1])
def test_canvas_gives_a_notebook_also_to_who_handed_in_a_report_with_it(tmp_path, place):
    names = ["ekanna_501_9001_x.ipynb"]
    names.insert(place, "ekanna_501_9002_report.pdf")
    uploads(tmp_path, names, [feedback_row(ANNA)])
    with zipfile.ZipFile(tmp_path / "1_demo-feedback-canvas.zip") as archive:
        assert all(name.endswith(".ipynb") for name in archive.namelist())


@pytest.mark.parametrize("ending", ["_/x/y.ipynb", "/x.ipynb", "_x_1.ipynb"])
def test_moodle_gives_each_their_feedback_as_a_page(tmp_path, ending):
    names = [f"Anna Ek_501_assignsubmission_file{ending}"]
    names += [f"Ben Alm_502_assignsubmission_file{ending}"]
    found = uploads(tmp_path, names, [feedback_row(ANNA), feedback_row(BEN, Status.DID_NOT_RUN)])
    given = moodle_feedback(found.pop("moodle"), people())
    assert not found
    assert given == {501: ("1_demo-feedback.html", (tmp_path / "pages/anna.html").read_text())}


def test_feedback_of_loose_files_needs_no_archive(tmp_path):
    assert uploads(tmp_path, ["anna.ipynb"], [feedback_row(ANNA)]) == {}


def test_an_archive_of_feedback_is_the_same_each_time_and_goes_with_its_inbox(tmp_path):
    name = "ekanna_501_9001_x.ipynb"
    first = uploads(tmp_path, [name], [feedback_row(ANNA)])
    (tmp_path / "inbox" / "a.zip").unlink()
    assert uploads(tmp_path, [name], [feedback_row(ANNA)]) == first
    (tmp_path / "inbox" / "a.zip").unlink()
    assert uploads(tmp_path, ["anna.ipynb"], [feedback_row(ANNA)]) == {}
