"""What Canvas and Moodle do with a table or an archive: small models after their sources."""

import csv
import io
import re
import zipfile
from dataclasses import dataclass, field


@dataclass
class Person:
    """Somebody on the platform; `attachments` are the numbers of what they handed in."""

    number: int
    name: str = ""
    sortable_name: str = ""
    login: str = ""
    email: str = ""
    grade: float | None = None
    attachments: list[int] = field(default_factory=list)


def canvas_grades(table: str, people: list[Person]) -> list[str]:
    """Import grades into Canvas; return the rows that belong to nobody.

    After ``lib/gradebook_importer.rb`` of instructure/canvas-lms: `header?`,
    `check_for_non_student_row`, `process_student` and `process_submissions`.
    """
    header, *rows = csv.reader(io.StringIO(table))
    assert len(header) > 3
    assert "Student" in header[0]
    assert "ID" in header[1]
    assert "Section" in header[4]
    unknown = []
    for row in rows:
        if "Points Possible" in row[0] or not any(cell.strip() for cell in row):
            continue
        if person := _in_canvas(row, people):
            person.grade = float(row[5]) if row[5].strip() else None
        else:
            unknown.append(row[0])
    return unknown


def _in_canvas(row: list[str], people: list[Person]) -> Person | None:
    """By number, else by login, else by name: the first that fits."""
    number = int((re.match(r"\s*(\d+)", row[1]) or [0, 0])[1])
    for fits in (
        lambda p: p.number == number,
        lambda p: row[3] and p.login == row[3],
        lambda p: row[0] in (p.name, p.sortable_name),
    ):
        if found := next(filter(fits, people), None):
            return found
    return None


class ImportStopped(Exception):  # noqa: N818
    """Moodle imports nothing."""


def moodle_grades(table: str, people: list[Person]) -> None:
    """Import grades into Moodle, the e-mail address mapped to the user's.

    After ``grade/import/csv/classes/load_data.php`` of moodle/moodle:
    `prepare_import_grade_data`, which keeps the user of the row above where a row names
    none, `check_user_exists` and `update_grade_item`.
    """
    header, *rows = csv.reader(io.StringIO(table))
    user = None
    for row in rows:
        if len(row) <= 1:
            continue
        if email := row[header.index("Email address")].strip():
            same = [p for p in people if p.email == email]
            if len(same) != 1:
                raise ImportStopped(email)
            (user,) = same
        if user is None:
            raise ImportStopped(row)
        value = row[-1].strip()
        user.grade = None if value in ("", "-") else float(value.replace(",", "."))


def canvas_feedback(archive: bytes, people: list[Person]) -> dict[int, str]:
    """Upload feedback to Canvas: what each person gets; names it ignores are refused.

    After `infer_comment_context_from_filename` in ``app/models/abstract_assignment.rb`` of
    instructure/canvas-lms.
    """
    given = {}
    for name, text in _files(archive):
        pieces = [piece for piece in name.rpartition("/")[2].split("_") if piece != "LATE"]
        user, attachment = [int(p) for p in pieces if re.fullmatch("[0-9]+", p)][:2]
        (person,) = [p for p in people if p.number == user]
        assert attachment in person.attachments, name
        given[user] = text
    return given


def moodle_feedback(archive: bytes, people: list[Person]) -> dict[int, tuple[str, str]]:
    """Upload feedback to Moodle: the file and text that each participant gets.

    After `is_valid_filename_for_import` in ``mod/assign/feedback/file/importziplib.php`` of
    moodle/moodle.
    """
    given = {}
    for name, text in _files(archive):
        top, *rest = name.split("/")
        _, number, plugin_type, plugin, *more = top.split("_", 4)
        assert (plugin_type, plugin) == ("assignsubmission", "file")
        (person,) = [p for p in people if p.number == int(number)]
        given[person.number] = "/".join([*more, *rest]).lstrip("/"), text
    return given


def _files(archive: bytes) -> list[tuple[str, str]]:
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        return [(name, file.read(name).decode()) for name in file.namelist()]
