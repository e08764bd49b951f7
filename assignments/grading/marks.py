"""A person's points for written answers, in a sheet any program can edit.

``marks/<assignment>.csv`` gets a row for every answer handed in. Fill in `points` (and
`comment`, which the student will read) and grade again. Rows are never dropped. When a
new submission changes an answer that had points, they move into `comment`, and the
answer waits for a person again. Points given in nbgrader's formgrader count as well;
where both exist, the sheet wins.
"""

import csv
import io
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

import nbformat
from nbgrader.api import Gradebook, MissingEntry

from .blank import TEXT_STUB
from .classroom import Classroom, ClassroomError
from .files import as_text, from_text, write_whole
from .inert import as_typed
from .masters import Master, Part


@dataclass(frozen=True)
class Mark:
    """One written answer and what a person made of it; all text, as in the sheet."""

    student: str
    task: str
    points: str
    out_of: str
    comment: str
    answer: str


def read_marks(path: Path) -> dict[tuple[str, str], Mark]:
    """The sheet's rows by (student, task); none if there is no sheet yet.

    Raises
    ------
    ClassroomError
        If a column is missing, or points are no number from 0 to `out_of`.
    """
    if not path.is_file():
        return {}
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    names = [field.name for field in fields(Mark)]
    if rows and (missing := set(names) - set(rows[0])):
        raise ClassroomError(f"{path} has lost its column {', '.join(sorted(missing))}")
    marks = [Mark(**{name: from_text(row[name] or "") for name in names}) for row in rows]
    for number, mark in enumerate(marks, start=2):
        _check_points(mark, f"{path}, line {number}")
    return {(mark.student, mark.task): mark for mark in marks}


def _check_points(mark: Mark, where: str) -> None:
    try:
        valid = not mark.points.strip() or 0 <= float(mark.points) <= float(mark.out_of)
    except ValueError:
        valid = False
    if not valid:
        raise ClassroomError(
            f"{where}: {mark.points!r} points for {mark.task} of {mark.student}; "
            f"write a number from 0 to {mark.out_of}, or nothing"
        )


def update_sheet(room: Classroom, master: Master, students: list[str]) -> None:
    """Add the answers of these students to the sheet; change no point but as told above."""
    path = room.marks(master.name)
    marks = read_marks(path)
    for student in students:
        for part, answer in _answers(room, master, student):
            new = Mark(student, part.task, "", f"{part.points:g}", "", answer)
            marks[student, part.task] = _merged(marks.get((student, part.task), new), new)
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(field.name for field in fields(Mark))
    for _, mark in sorted(marks.items()):
        writer.writerow(as_text(value) for value in astuple(mark))
    write_whole(path, table.getvalue())


def _merged(old: Mark, new: Mark) -> Mark:
    if old.answer.split() == new.answer.split():
        return replace(old, out_of=new.out_of)
    was = f"[{old.points} points for an earlier answer] " if old.points.strip() else ""
    return replace(new, comment=was + old.comment)


def _answers(room: Classroom, master: Master, student: str) -> list[tuple[Part, str]]:
    """What a student wrote, by part; an untouched stub is no answer."""
    path = room.notebook("submitted", master.name, student)
    if not path.is_file():
        return []
    cells = nbformat.read(path, as_version=4).cells
    text = {cell.metadata.get("nbgrader", {}).get("grade_id"): cell.source for cell in cells}
    answers = [part for part in master.parts if part.role == "answer"]
    found = [(part, as_typed(text.get(part.grade_id, TEXT_STUB))) for part in answers]
    return [(part, answer) for part, answer in found if answer != TEXT_STUB]


def apply_marks(room: Classroom, master: Master) -> None:
    """Enter the sheet's points and comments into the grade book."""
    marks = read_marks(room.marks(master.name))
    with Gradebook(room.gradebook, "snn") as book:
        for mark in marks.values():
            place = f"{mark.task}_answer", master.name, master.name, mark.student
            try:
                grade, comment = book.find_grade(*place), book.find_comment(*place)
            except MissingEntry:
                continue
            if mark.comment or mark.points.strip():
                comment.manual_comment = mark.comment
            if mark.points.strip():
                grade.manual_score = float(mark.points)
                grade.needs_manual_grade = False
        book.db.commit()
