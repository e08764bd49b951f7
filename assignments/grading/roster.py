"""Who is in the class: a table of our own, or the export of Canvas' or Moodle's grades.

Which of the three it is, its header tells. Canvas writes ``Student, ID, SIS User ID, SIS
Login ID, Section`` whatever its language, a row *Points Possible*, perhaps a row about
hidden assignments, and a *Test Student* (``lib/gradebook_exporter.rb`` in
instructure/canvas-lms). Moodle writes ``First name, Last name, ID number, ..., Email
address`` in the language of who exports (``grade/export/lib.php`` in moodle/moodle).
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from .classroom import ClassroomError
from .inert import line as one_line
from .tables import Line, Table, read_table

COLUMNS = ["id", "first_name", "last_name", "email", "lms_user_id"]
VALID_ID = re.compile(r"[\w@][\w@.+'-]{0,99}")
LONGEST_ID = 200  # bytes; a file's name may have 255
NUMBER = re.compile(r"[1-9][0-9]*")
TEST_STUDENT = "Student, Test"


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
        If the file is missing or empty, its columns are those of no roster, or an id or
        a number is repeated or cannot be one.
    """
    if not path.is_file():
        raise ClassroomError(
            f"{path} is missing: a CSV file with columns {', '.join(COLUMNS)}, "
            "or the export of Canvas' or Moodle's grades under this name"
        )
    table = read_table(path)
    read = _reader(table, path)
    found = [(line.where, _clean(student)) for line in table.lines if (student := read(line))]
    if not found:
        raise ClassroomError(f"{path} lists no student")
    students: dict[str, Student] = {}
    for where, student in found:
        _check(student, students, where)
        students[student.id] = student
    return students


def _reader(table: Table, path: Path) -> Callable[[Line], Student | None]:
    """What makes a student of a row of this table."""
    names = set(table.header)
    if {"ID", "Section"} <= names and names & {"Student", "LastName"}:
        return _canvas_student
    if "id" in {_own(name) for name in names}:
        return _own_student
    if "First name" in names and names & {"Last name", "Surname"}:
        return _moodle_student
    raise ClassroomError(
        f"{path} has no column 'id'; it needs {', '.join(COLUMNS)}, or the columns of Canvas' "
        "export (Student, ID, ..., Section) or of Moodle's, made with Moodle in English "
        f"(First name, Last name, ..., Email address). It has: {', '.join(table.header)}"
    )


def _own(name: str) -> str:
    """A column's name as people write it: First Name, firstname, E-Mail."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _own_student(line: Line) -> Student:
    values = {_own(name): value for name, value in line.values.items()}
    return Student(**{column: values.get(_own(column), "") for column in COLUMNS})


def _canvas_student(line: Line) -> Student | None:
    """The student of a row; nothing for rows about assignments, and for *Test Student*."""
    value = {name: text.strip() for name, text in line.values.items()}
    last, _, first = value.get("Student", "").partition(", ")
    last, first = value.get("LastName", last), value.get("FirstName", first)
    if not value["ID"] and ("Points Possible" in last or not last):
        return None
    if f"{last}, {first}" == TEST_STUDENT:
        return None
    if not NUMBER.fullmatch(value["ID"]):
        raise ClassroomError(
            f"{line.where}: ID {value['ID']!r} is no number of Canvas; "
            "take the export as downloaded, a spreadsheet shortens long numbers"
        )
    login = value.get("SIS Login ID", "")
    email = login if "@" in login else ""
    return Student(_first_valid(login, value["ID"]), first, last, email, value["ID"])


def _moodle_student(line: Line) -> Student:
    value = {name: text.strip() for name, text in line.values.items()}
    last = value.get("Last name", value.get("Surname", ""))
    email = value.get("Email address", "")
    names = value.get("Username", ""), email, value.get("ID number", "")
    return Student(_first_valid(*names), value["First name"], last, email)


def _first_valid(*names: str) -> str:
    """The first that can be an id; the first of all if none can, for the message."""
    return next((name for name in names if VALID_ID.fullmatch(name)), names[0])


def _clean(student: Student) -> Student:
    """The values without space around them and control characters, in one Unicode form."""
    values = {
        name: one_line(unicodedata.normalize("NFC", value))
        for name, value in asdict(student).items()
    }
    return Student(**values)


def _check(student: Student, others: dict[str, Student], where: str) -> None:
    """Refuse an id that cannot name a folder, and what two students share."""
    if not VALID_ID.fullmatch(student.id) or len(student.id.encode()) > LONGEST_ID:
        raise ClassroomError(
            f"{where}: id {student.id!r} must be letters, digits and . _ - + ' @, "
            f"at most {LONGEST_ID} bytes, because it names folders"
        )
    if student.id.casefold() in {other.casefold() for other in others}:
        raise ClassroomError(f"{where}: {student.id!r} is there twice")
    if student.lms_user_id and not NUMBER.fullmatch(student.lms_user_id):
        raise ClassroomError(
            f"{where}: lms_user_id {student.lms_user_id!r} must be Canvas's number of the "
            "student, or empty"
        )
    if other := by_lms_id(others, student.lms_user_id):
        raise ClassroomError(
            f"{where}: {student.id!r} has the lms_user_id of {other.id!r}; correct one of them"
        )


def by_id(students: dict[str, Student], text: str) -> Student | None:
    """The student with this id, case aside."""
    wanted = unicodedata.normalize("NFC", text).casefold()
    return _only(s for s in students.values() if s.id.casefold() == wanted)


def by_lms_id(students: dict[str, Student], text: str) -> Student | None:
    """The student whom Canvas knows by this number."""
    return _only(s for s in students.values() if text and s.lms_user_id == text)


def by_name(students: Iterable[Student], text: str) -> Student | None:
    """The one student of this name, in either order, spaces, accents and case aside."""
    wanted = _letters(text)
    return _only(
        s
        for s in students
        if wanted
        and wanted in (_letters(s.first_name + s.last_name), _letters(s.last_name + s.first_name))
    )


@cache
def _letters(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).casefold()
    return "".join(c for c in plain if c.isalnum() or _is_vowel_sign(c))


def _is_vowel_sign(character: str) -> bool:
    """Whether it is a vowel of its own, as in Devanagari, and no accent of a letter."""
    mark = unicodedata.category(character).startswith("M")
    return mark and not unicodedata.combining(character)


def _only(found: Iterable[Student]) -> Student | None:
    """The one element; nothing if there are none or several."""
    found = list(found)
    return found[0] if len(found) == 1 else None
