"""Who is in the class: one CSV file, as nbgrader and every LMS can write it."""

import csv
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .classroom import ClassroomError
from .inert import line

COLUMNS = ["id", "first_name", "last_name", "email", "lms_user_id"]
VALID_ID = re.compile(r"[\w@][\w@.-]*")


@dataclass(frozen=True)
class Student:
    """One row of the roster."""

    id: str
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    lms_user_id: str = ""

    @property
    def name(self) -> str:
        """First and last name."""
        return f"{self.first_name} {self.last_name}".strip()


def read_roster(path: Path) -> dict[str, Student]:
    """Read the students of a class, by id.

    Raises
    ------
    ClassroomError
        If the file is missing or empty, a column `id` is missing, or an id is
        repeated or cannot name a folder.
    """
    if not path.is_file():
        raise ClassroomError(f"{path} is missing: a CSV file with columns {', '.join(COLUMNS)}")
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise ClassroomError(f"{path} lists no student")
    if "id" not in rows[0]:
        raise ClassroomError(f"{path} has no column 'id'; it needs {', '.join(COLUMNS)}")
    students: dict[str, Student] = {}
    for number, row in enumerate(rows, start=2):
        student = _student(row, f"{path}, line {number}")
        if student.id in students:
            raise ClassroomError(f"{path}, line {number}: {student.id!r} is there twice")
        students[student.id] = student
    return students


def _student(row: dict[str, str], where: str) -> Student:
    values = {c: unicodedata.normalize("NFC", line(row.get(c) or "")) for c in COLUMNS}
    if not VALID_ID.fullmatch(values["id"]):
        raise ClassroomError(
            f"{where}: id {values['id']!r} must be letters, digits and . _ - @, as folders have it"
        )
    return Student(**values)


def by_id(students: dict[str, Student], text: str) -> Student | None:
    """The student with this id, case aside."""
    wanted = unicodedata.normalize("NFC", text).casefold()
    return _only(s for s in students.values() if s.id.casefold() == wanted)


def by_lms_id(students: dict[str, Student], text: str) -> Student | None:
    """The student whom the LMS knows by this number."""
    return _only(s for s in students.values() if text and s.lms_user_id == text)


def by_name(students: dict[str, Student], text: str) -> Student | None:
    """The one student of this name, in either order, spaces, accents and case aside."""
    wanted = _letters(text)
    return _only(
        s
        for s in students.values()
        if wanted in (_letters(s.first_name + s.last_name), _letters(s.last_name + s.first_name))
    )


def _letters(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).casefold()
    return "".join(c for c in plain if c.isalnum())


def _only(found: Iterable[Student]) -> Student | None:
    """The one element; nothing if there are none or several."""
    found = list(found)
    return found[0] if len(found) == 1 else None
