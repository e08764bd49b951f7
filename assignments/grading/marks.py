"""A person's points for written answers, in a sheet any program can edit.

``marks/<assignment>.csv`` gets a row for every answer handed in. Fill in `points` (and
`comment`, which the student will read) and grade again. Rows are never dropped. When a
new submission changes an answer that had points, they move into `comment`, and the
answer waits for a person again. Points given in nbgrader's formgrader count as well;
where both exist, the sheet wins.

A spreadsheet may save the sheet in its own way: with semicolons or tabs, with decimal
commas, or with ``?`` for letters that it cannot write. It is kept in that way.
"""

import csv
import io
import re
from collections.abc import Collection
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

import nbformat
from nbgrader.api import Gradebook, MissingEntry

from .blank import TEXT_STUB
from .classroom import Classroom, ClassroomError
from .files import digest, write_whole
from .inert import as_typed
from .masters import Master, Part, in_points
from .tables import Table, as_text, from_text, read_table

LONGEST = 10_000  # characters of an answer in the sheet; a spreadsheet's cell holds 32,767
NUMBER = re.compile(r"[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+")


@dataclass(frozen=True)
class Mark:
    """One written answer and what a person made of it; all text, as in the sheet."""

    student: str
    task: str
    points: str
    out_of: str
    comment: str
    answer: str


COLUMNS = [field.name for field in fields(Mark)]


def read_marks(path: Path) -> dict[tuple[str, str], Mark]:
    """The sheet's rows by (student, task); none if there is no sheet yet.

    Raises
    ------
    ClassroomError
        If a column is missing, twice there or without a name, a row is there twice, or
        points are no number from 0 to `out_of`.
    """
    table = _sheet(path)
    _check_columns(table, path)
    marks: dict[tuple[str, str], Mark] = {}
    for line in table.lines:
        mark = Mark(**{name: from_text(line.values[name]) for name in COLUMNS})
        _check_points(mark, line.where)
        if (mark.student, mark.task) in marks:
            raise ClassroomError(f"{line.where}: {mark.task} of {mark.student} is there twice")
        marks[mark.student, mark.task] = mark
    return marks


def _sheet(path: Path) -> Table:
    return read_table(path) if path.is_file() else Table(COLUMNS, [])


def _check_columns(table: Table, path: Path) -> None:
    """Refuse a sheet of which something would be lost when it is written again."""
    if table.header and (missing := set(COLUMNS) - set(table.header)):
        raise ClassroomError(
            f"{path} has lost its column {', '.join(sorted(missing))}; "
            f"its first line must name {', '.join(COLUMNS)}"
        )
    if repeated := {name for name in table.header if name and table.header.count(name) > 1}:
        raise ClassroomError(
            f"{path} has two columns {', '.join(sorted(repeated))}: rename or delete one of them"
        )
    for line in table.lines:
        if line.values[""].strip():
            raise ClassroomError(
                f"{line.where}: {line.values['']!r} stands in a column without a name; "
                "give it one in the first line"
            )


def _check_points(mark: Mark, where: str) -> None:
    if not mark.points.strip():
        return
    if not NUMBER.fullmatch(mark.out_of.strip()):
        raise ClassroomError(
            f"{where}: out_of {mark.out_of!r} of {mark.task} is no number; "
            "write what the task is worth, as in other rows"
        )
    try:
        valid = _number(mark.points) <= _number(mark.out_of)
    except ValueError:
        valid = False
    if not valid:
        raise ClassroomError(
            f"{where}: {mark.points!r} points for {mark.task} of {mark.student}; "
            f"write a number from 0 to {mark.out_of}, or nothing"
        )


def _number(text: str) -> float:
    """A number as people write it, with a decimal point or a decimal comma."""
    if not NUMBER.fullmatch(text.strip()):
        raise ValueError(f"{text!r} is no number")
    return float(text.replace(",", "."))


def update_sheet(room: Classroom, master: Master, students: list[str]) -> None:
    """Add the answers of these students to the sheet; change no point but as told above."""
    path = room.marks(master.name)
    marks = read_marks(path)
    for student in students:
        for part, answer in _answers(room, master, student):
            new = Mark(student, part.task, "", f"{part.points:g}", "", answer)
            old = marks.get((student, part.task), new)
            if answer or old.answer:
                marks[student, part.task] = _merged(old, new)
    _write(path, marks, _sheet(path))


def _write(path: Path, marks: dict[tuple[str, str], Mark], was: Table) -> None:
    """Write the sheet as it was saved, columns that a person added included."""
    added = [name for name in was.header if name and name not in COLUMNS]
    rows = {
        tuple(from_text(line.values[k]) for k in COLUMNS[:2]): line.values for line in was.lines
    }
    text = io.StringIO()
    writer = csv.writer(text, delimiter=was.delimiter)
    writer.writerow(COLUMNS + added)
    for key, mark in sorted(marks.items()):
        values = [as_text(value) for value in astuple(mark)]
        writer.writerow(values + [rows.get(key, {}).get(name, "") for name in added])
    write_whole(path, text.getvalue().encode("utf-8-sig" if was.marked else "utf-8"))


def _merged(old: Mark, new: Mark) -> Mark:
    if _same(old.answer, new.answer):
        return replace(old, out_of=new.out_of, answer=new.answer)
    if not old.points.strip():
        return replace(new, comment=old.comment)
    was = f"[{in_points(_number(old.points))} for an earlier answer] "
    return replace(new, comment=was + old.comment)


def _same(old: str, new: str) -> bool:
    """Whether an answer is that of the sheet, which a spreadsheet may have read wrongly."""
    return _alike(old, new) or _alike(old, _misread(new))


def _misread(text: str) -> str:
    """What a spreadsheet that expects Windows-1252 makes of UTF-8."""
    units = (bytes([unit]) for unit in text.encode("utf-8", "replace"))
    return "".join(unit.decode("cp1252", "ignore") or chr(unit[0]) for unit in units)


def _alike(old: str, new: str) -> bool:
    """Whether two answers are the same, spaces and unwritable letters aside."""
    was, now = _units(old), _units(new)
    return len(was) == len(now) and all(
        unit == other or (unit == ord("?") and other > 127)
        for unit, other in zip(was, now, strict=True)
    )


def _units(text: str) -> memoryview:
    """The text in the pieces that a spreadsheet replaces one by one: UTF-16."""
    return memoryview(" ".join(text.split()).encode("utf-16-le", "replace")).cast("H")


def _answers(room: Classroom, master: Master, student: str) -> list[tuple[Part, str]]:
    """What a student wrote, by part; of an untouched stub, nothing."""
    path = room.notebook("submitted", master.name, student)
    if not path.is_file():
        return []
    cells = nbformat.read(path, as_version=4).cells
    text = {cell.metadata.get("nbgrader", {}).get("grade_id"): cell.source for cell in cells}
    answers = [part for part in master.parts if part.role == "answer"]
    found = [(part, as_typed(text.get(part.grade_id, TEXT_STUB))) for part in answers]
    return [(part, "" if answer == TEXT_STUB else _shown(answer)) for part, answer in found]


def _shown(answer: str) -> str:
    """An answer as a cell of a spreadsheet can hold it."""
    if len(answer) <= LONGEST:
        return answer
    return (
        f"{answer[:LONGEST]}\n[cut: {len(answer):,} characters in all, the rest is in "
        f"work/submitted; {digest(answer)[:8]}]"
    )


def apply_marks(room: Classroom, master: Master, students: Collection[str]) -> list[str]:
    """Enter the sheet's points and comments into the grade book.

    Returns
    -------
    unplaced
        A line for each row with points that belongs to no answer of these students.
    """
    marks, unplaced = read_marks(room.marks(master.name)), []
    with Gradebook(room.gradebook, "snn") as book:
        for mark in marks.values():
            if mark.points.strip() and mark.student not in students:
                unplaced.append(f"{mark.student} is not in the roster")
            place = f"{mark.task}_answer", master.name, master.name, mark.student
            try:
                grade, comment = book.find_grade(*place), book.find_comment(*place)
            except MissingEntry:
                if mark.points.strip() and mark.student in students:
                    unplaced.append(f"{mark.student} handed in no answer to {mark.task}")
                continue
            if mark.comment or mark.points.strip():
                comment.manual_comment = mark.comment
            if mark.points.strip():
                grade.manual_score = _number(mark.points)
                grade.needs_manual_grade = False
        book.db.commit()
    return unplaced
