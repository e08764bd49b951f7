"""Grades for people; `lms` makes of them what learning platforms import.

``<assignment>-grades.csv``
    A row a student: status, score, seconds, memory, notes.
``<assignment>-tasks.csv``
    A row a student, a column a test or answer.
``grades.csv``
    All assignments: a row a student, a column an assignment.
"""

import csv
import io
from dataclasses import dataclass, replace
from pathlib import Path

from nbgrader.api import Gradebook, MissingEntry

from .classroom import Classroom
from .files import write_whole
from .masters import Master
from .records import Record, Status, read_record
from .roster import Student
from .tables import as_text

LOST = "the grade book has no such grade: put the file into the inbox again, and grade again"
SCORED = {Status.GRADED, Status.NEEDS_A_PERSON, Status.TAMPERED}


@dataclass(frozen=True)
class Row:
    """One student's result in one assignment.

    `points` maps each test and answer to its points; ``None`` waits for a person.
    """

    student: Student
    record: Record
    points: dict[str, float | None]
    comments: dict[str, str]

    @property
    def status(self) -> Status:
        """The record's status, or that an answer waits for a person."""
        if self.record.status is Status.GRADED and None in self.points.values():
            return Status.NEEDS_A_PERSON
        return self.record.status

    @property
    def score(self) -> float:
        """The points so far."""
        return sum(points or 0.0 for points in self.points.values())

    @property
    def notes(self) -> list[str]:
        """What a person should know."""
        waiting = [name for name, points in self.points.items() if points is None]
        return self.record.notes + [f"{name} waits for a mark" for name in waiting]


def results(room: Classroom, master: Master, students: dict[str, Student]) -> list[Row]:
    """Every student of the roster with what is known about them."""
    with Gradebook(room.gradebook, "snn") as book:
        return [_row(book, room, master, student) for student in students.values()]


def _row(book: Gradebook, room: Classroom, master: Master, student: Student) -> Row:
    """What the record says, with the points of the grade book where there are any."""
    record = read_record(room.record(master.name, student.id))
    if record is None:
        record = Record(student.id, master.name, "", Status.MISSING)
    names = [part.grade_id for part in master.parts if part.points]
    none = Row(student, record, dict.fromkeys(names, 0.0), dict.fromkeys(names, ""))
    if not record.tests or record.status not in SCORED:
        return none
    places = {name: (name, master.name, master.name, student.id) for name in names}
    try:
        points = {name: _points(book, *place) for name, place in places.items()}
    except MissingEntry:
        return replace(none, record=replace(record, status=Status.DID_NOT_RUN, notes=[LOST]))
    comments = {name: _comment(book, *place) for name, place in places.items()}
    return replace(none, points=points, comments=comments)


def _points(book: Gradebook, *place: str) -> float | None:
    grade = book.find_grade(*place)
    return None if grade.needs_manual_grade else grade.score


def _comment(book: Gradebook, *place: str) -> str:
    try:
        return book.find_comment(*place).manual_comment or ""
    except MissingEntry:
        return ""


def write_reports(room: Classroom, master: Master, rows: list[Row]) -> None:
    """Write both tables of one assignment."""
    write_table(room.grades / f"{master.name}-grades.csv", _grades(master, rows))
    write_table(room.grades / f"{master.name}-tasks.csv", _tasks(rows))


def _grades(master: Master, rows: list[Row]) -> list[list]:
    head = ["assignment", "id", "last_name", "first_name", "email", "status", "score", "max"]
    table = [[*head, "seconds", "peak_memory_MiB", "notes"]]
    for row in rows:
        s, r = row.student, row.record
        table.append(
            [master.name, s.id, s.last_name, s.first_name, s.email, row.status, f"{row.score:g}"]
            + [f"{master.points:g}", r.seconds, r.peak_memory, "; ".join(row.notes)]
        )
    return table


def _tasks(rows: list[Row]) -> list[list]:
    names = list(rows[0].points) if rows else []
    table = [["id", "status", *names]]
    for row in rows:
        points = ["" if row.points[n] is None else f"{row.points[n]:g}" for n in names]
        table.append([row.student.id, row.status, *points])
    return table


def write_overview(room: Classroom, tables: dict[str, list[Row]]) -> None:
    """Write ``grades.csv``: a score where it is certain, else the status."""
    table = [["id", "last_name", "first_name", *tables]]
    for rows in zip(*tables.values(), strict=True):
        s = rows[0].student
        table.append([s.id, s.last_name, s.first_name, *(certain(r) or r.status for r in rows)])
    write_table(room.grades / "grades.csv", table)


def certain(row: Row) -> str:
    """The score of a graded submission; empty while it may change."""
    return f"{row.score:g}" if row.status is Status.GRADED else ""


def write_table(path: Path, table: list[list]) -> None:
    """Write a table as CSV that no spreadsheet takes for formulas."""
    text = io.StringIO()
    csv.writer(text).writerows([as_text(value) for value in row] for row in table)
    write_whole(path, text.getvalue())
