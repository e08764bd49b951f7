"""What Canvas and Moodle take back: grades as CSV, feedback as an archive.

An importer does as it is told, also where that erases a grade, so its rules decide what
is written.

Canvas (``lib/gradebook_importer.rb`` in instructure/canvas-lms) takes an empty grade for
"no grade". It looks for the student's number first, then for SIS numbers, and at last for
anybody of that name: so the number stands alone, and the id where a name could be.

Moodle (``grade/import/csv/classes/load_data.php`` in moodle/moodle) takes an empty grade
for "no grade" as well. A row whose e-mail address is empty goes to the student of the
row above; one address that it does not know stops the import.

So a table has rows only for grades that are certain, and only for students whom its
platform cannot mistake. The others are named.
"""

import io
import re
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat.v4 import new_markdown_cell, new_notebook

from .files import write_whole
from .inert import plain
from .masters import Master
from .records import Status
from .report import Row, certain, write_table
from .roster import Student
from .tables import FORMULA

MADE = (2000, 1, 1, 0, 0, 0)  # the same content makes the same archive


@dataclass(frozen=True)
class Import:
    """A platform's table: how its importer tells students apart, and what it reads."""

    name: str
    key: Callable[[Student], str]
    missing: str
    table: Callable[[Master, list[Row]], list[list]]


def write_imports(folder: Path, master: Master, rows: list[Row]) -> list[str]:
    """Write each platform's table; return a line for each grade left out of one.

    A platform gets no table if it could tell no student of the class.
    """
    left_out = []
    for platform in IMPORTS:
        path = folder / f"{master.name}-{platform.name}.csv"
        keys = Counter(_alike(platform.key(row.student)) for row in rows)
        if set(keys) == {""}:
            path.unlink(missing_ok=True)  # of an earlier roster
            continue
        told, untold = [], []
        for row in filter(certain, rows):
            (told if _tells(platform.key(row.student), keys) else untold).append(row)
        write_table(path, platform.table(master, told))
        left_out += [
            f"{path.name} leaves out {row.student.id}: {platform.missing}" for row in untold
        ]
    return left_out


def _tells(key: str, keys: Counter) -> bool:
    """Whether a key is one student's, and comes through a table unchanged."""
    return bool(key) and keys[_alike(key)] == 1 and not FORMULA.match(key)


def _alike(key: str) -> str:
    """The key without what a data base may overlook: case and accents."""
    letters = unicodedata.normalize("NFKD", key).casefold()
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def _canvas(master: Master, rows: list[Row]) -> list[list]:
    table = [["Student", "ID", "SIS User ID", "SIS Login ID", "Section", master.name]]
    table.append(["    Points Possible", "", "", "", "", f"{master.points:g}"])
    table += [[r.student.id, r.student.lms_user_id, "", "", "", certain(r)] for r in rows]
    return table


def _moodle(master: Master, rows: list[Row]) -> list[list]:
    table = [["First name", "Last name", "Email address", master.name]]
    for row in rows:
        student = row.student
        table.append([student.first_name, student.last_name, student.email, certain(row)])
    return table


IMPORTS = (
    Import("canvas", lambda s: s.lms_user_id, "no lms_user_id in the roster", _canvas),
    Import("moodle", lambda s: s.email, "no e-mail address of their own in the roster", _moodle),
)


def write_uploads(
    folder: Path, master: Master, rows: list[Row], places: dict[str, dict[str, str]], pages: Path
) -> None:
    """Write archives of feedback that the platforms hand out to students.

    Only what is graded goes in, for students whose file came in the platform's archive.

    Parameters
    ----------
    folder
        Gets ``<assignment>-feedback-canvas.zip`` and ``...-moodle.zip``.
    master, rows
        The assignment, and what each student of the class got.
    places
        What each platform called a student's file or folder.
    pages
        Folder with the feedback of each student, ``<id>.html``.

    Notes
    -----
    Canvas (``infer_comment_context_from_filename`` in ``app/models/abstract_assignment.rb``)
    wants the name of the file handed in, and shows the feedback under it: so it is a
    notebook. Moodle (``mod/assign/feedback/file/importziplib.php``) wants the name of the
    folder, and takes any file in it.
    """
    graded = [row.student.id for row in rows if row.status is Status.GRADED]
    for platform, make in (("canvas", _canvas_file), ("moodle", _moodle_file)):
        path = folder / f"{master.name}-feedback-{platform}.zip"
        known = places.get(platform, {})
        files = [
            make(known[student], master, page.read_text(encoding="utf-8"))
            for student in graded
            if student in known and (page := pages / f"{student}.html").is_file()
        ]
        if files:
            write_whole(path, _zipped(files))
        else:
            path.unlink(missing_ok=True)  # of an earlier inbox


def _canvas_file(place: str, master: Master, page: str) -> tuple[str, str]:
    body = page.partition("</head>")[2].strip()
    without_gaps = re.sub(r"\n\s*\n", "\n", body)  # a gap would end the HTML in Markdown
    notebook = new_notebook(cells=[new_markdown_cell(without_gaps, id="feedback")])
    # its numbers tell Canvas whose it is, its end tells a student's computer what it is
    name = place if place.lower().endswith(".ipynb") else f"{place}.ipynb"
    return name, nbformat.writes(notebook)


def _moodle_file(place: str, master: Master, page: str) -> tuple[str, str]:
    return f"{place}_/{master.name}-feedback.html", page


def _zipped(files: list[tuple[str, str]]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files:
            info = zipfile.ZipInfo(plain(name), MADE)  # a disk may spell it in no encoding
            archive.writestr(info, text.encode(), zipfile.ZIP_DEFLATED)
    return content.getvalue()
