"""Find what each student handed in, in LMS archives and in loose files.

Nothing in the inbox is changed. Where a student handed in several times, the newest
counts. Two that are equally old and differ are for a person to decide.

File names are those of Canvas (``<name>_<user>_<attempt>_<file>``, with LATE after the
name of a late one) and Moodle (``<name>_<number>_assignsubmission_file...``).
"""

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from .roster import Student, by_id, by_lms_id, by_name

MOODLE = re.compile(r"(?P<name>[^/]+?)_(?P<lms>\d+)_assignsubmission_file(?:_[^/]*)?(?:/.*)?$")
CANVAS = re.compile(r"(?P<name>[^/_]+)_(?:LATE_)?(?P<lms>\d+)_\d+_[^/]+$")
LARGEST = 20 << 20  # bytes of a notebook


@dataclass(frozen=True)
class Handed:
    """One file that a student handed in."""

    student: str
    content: bytes
    when: float
    origin: str


@dataclass
class Collected:
    """What the inbox of one assignment holds."""

    handed: dict[str, Handed] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)  # student -> what to know
    torn: set[str] = field(default_factory=set)  # students with two newest files
    unknown: list[str] = field(default_factory=list)  # files of nobody in the roster

    def add(self, new: Handed) -> None:
        """Keep the newest of what a student handed in."""
        old = self.handed.setdefault(new.student, new)
        if new is old or new.content == old.content:
            return
        first, last = sorted((old, new), key=lambda handed: handed.when)
        self.handed[new.student] = last
        if first.when == last.when:
            self.torn.add(new.student)
        else:
            self.torn.discard(new.student)
        self.notes.setdefault(new.student, []).append(
            f"handed in more than once: {last.origin} counts, {first.origin} does not"
        )


def collect(inbox: Path, students: dict[str, Student]) -> Collected:
    """Read one assignment's inbox: ``*.zip``, ``<id>.ipynb``, ``<id>/*.ipynb``."""
    collected = Collected()
    for path in sorted(inbox.iterdir()) if inbox.is_dir() else []:
        if path.suffix == ".zip":
            _collect_archive(path, students, collected)
        elif path.is_dir():
            for file in sorted(path.glob("*.ipynb")):
                _collect_file(file, by_id(students, path.name), collected)
        elif path.suffix == ".ipynb":
            _collect_file(path, _owner(path.name, students), collected)
    return collected


def _collect_file(path: Path, student: Student | None, collected: Collected) -> None:
    if student is None or path.is_symlink():
        collected.unknown.append(path.name)
        return
    content = b""
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        note = f"{path.name} cannot be read: {error.strerror}"
        collected.notes.setdefault(student.id, []).append(note)
    collected.add(Handed(student.id, content, path.stat().st_mtime, path.name))


def _collect_archive(path: Path, students: dict[str, Student], collected: Collected) -> None:
    try:
        for name, when, content in _members(path):
            if (student := _owner(name, students)) is None:
                collected.unknown.append(f"{path.name}: {name}")
            else:
                collected.add(Handed(student.id, content, when, f"{path.name}: {name}"))
    except Exception as error:  # whatever a file can do to a parser
        collected.unknown.append(f"{path.name}: cannot be read as a zip archive ({error})")


def _members(path: Path) -> Iterator[tuple[str, float, bytes]]:
    """Notebooks in an archive: name, time, at most `LARGEST` + 1 bytes of content."""
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.filename.endswith(".ipynb") and "__MACOSX" not in info.filename:
                with archive.open(info) as file:
                    yield info.filename, _seconds(info), file.read(LARGEST + 1)


def _seconds(info: zipfile.ZipInfo) -> float:
    try:
        return datetime(*info.date_time).timestamp()
    except ValueError:
        return 0.0


def _owner(name: str, students: dict[str, Student]) -> Student | None:
    """Whose file this is, by its name in an archive or an inbox."""
    if match := MOODLE.match(name):  # its numbers are of the assignment, not of the student
        return by_name(students, match["name"]) or by_lms_id(students, match["lms"])
    base = name.rsplit("/", 1)[-1]
    if match := CANVAS.match(base):
        return by_lms_id(students, match["lms"]) or by_name(students, match["name"])
    folder = name.split("/", 1)[0] if "/" in name else ""
    return by_id(students, folder) or by_id(students, base.removesuffix(".ipynb"))
