"""Whose file it is, by what a learning platform wrote into its name.

Canvas (``lib/content_zipper.rb`` in instructure/canvas-lms) writes files
``<name>_[LATE_]<user>_<attachment>_<file>``, all in one folder; a folder of such a name is
an archive that its student packed and somebody unpacked. Students choose the file's
name, and often their own, which may hold underscores and digits. So every place where a
user's number may stand is looked at, and two known numbers decide nothing.

Moodle (``mod/assign/classes/downloader.php`` in moodle/moodle) writes folders
``<full name>_<participant>_assignsubmission_file[_]``, or that before each file's name.
It takes underscores out of full names, so the pattern from the left is its own. The
participant's number is one of this assignment: it tells two people of one name apart,
and says nothing else.

Which of the two an archive is from, all its files decide together.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .roster import Student, by_id, by_lms_id, by_name

# each place of a user's number, overlapping ones too; text and links are no attachments
CANVAS = re.compile(r"(?=_([0-9]+)_(?:[0-9]+_|(?:text|link)\.html$))")
MOODLE = re.compile(r"([^_]*)_([0-9]+)_assignsubmission_[a-z]+(?:_.*)?", re.S)

Students = dict[str, Student]
Parts = tuple[str, ...]

NOBODY = "belongs to nobody in the roster"
SEVERAL = "might be of more than one student"
BOTH = "has a name like those of Canvas and like those of Moodle"


@dataclass(frozen=True)
class Owner:
    """Whose a file is; if a platform told, which one, and the name it gave.

    `claimed` is the number that came with a student's name, where only the name told:
    two numbers with one name tell nothing.
    """

    student: Student | None = None
    platform: str = ""
    place: str = ""
    claimed: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Platform:
    """How a learning platform names files."""

    name: str
    fits: Callable[[Parts], bool]
    owner: Callable[[Parts, Students], Owner]


def owners(paths: list[Parts], students: Students) -> list[Owner]:
    """The owner of each file of one archive, folder, or of a loose file."""
    paths = _unwrapped(paths, students)
    alike = [p for p in PLATFORMS if all(p.fits(parts) for parts in paths)]
    return [_owner(parts, students, alike) for parts in paths]


def is_one_students(name: str, students: Students) -> bool:
    """Whether a file in an inbox is called as what one student handed in."""
    parts = (name,)
    return bool(by_id(students, Path(name).stem)) or any(p.fits(parts) for p in PLATFORMS)


def _unwrapped(paths: list[Parts], students: Students) -> list[Parts]:
    """The paths below the folders that hold everything and are nobody's.

    A folder called as what one student handed in is what that student had packed.
    """
    while len({parts[0] for parts in paths}) == 1 and all(len(parts) > 1 for parts in paths):
        top = paths[0][0]
        if by_id(students, top) or any(p.fits((top,)) for p in PLATFORMS):
            break
        paths = [parts[1:] for parts in paths]
    return paths


def _owner(parts: Parts, students: Students, alike: list[Platform]) -> Owner:
    """Whose file this is, `alike` being the platforms that all files here are like."""
    name = parts[0] if len(parts) > 1 else parts[0].rpartition(".")[0]
    if student := by_id(students, name):
        return Owner(student)
    like = alike if len(alike) == 1 else [p for p in PLATFORMS if p.fits(parts)]
    if len(like) == 1:
        return like[0].owner(parts, students)
    return Owner(problem=BOTH if like else NOBODY)


def _fits_canvas(parts: Parts) -> bool:
    return bool(CANVAS.search(parts[0]))


def _owner_in_canvas(parts: Parts, students: Students) -> Owner:
    numbers = CANVAS.findall(parts[0])
    known = {number for number in numbers if by_lms_id(students, number)}
    if known == {numbers[0]}:
        return Owner(by_lms_id(students, numbers[0]), "canvas", parts[0])
    if known:
        return Owner(problem=SEVERAL)
    name = re.split(r"_(?:LATE_)?[0-9]+_", parts[0])[0]
    unnumbered = [s for s in students.values() if not s.lms_user_id]
    student = by_name(unnumbered, name) if name != "anon" else None
    if student is None:
        return Owner(problem=NOBODY)
    return Owner(student, "canvas", parts[0], numbers[0])


def _fits_moodle(parts: Parts) -> bool:
    return bool(MOODLE.fullmatch(parts[0]))


def _owner_in_moodle(parts: Parts, students: Students) -> Owner:
    name, number = MOODLE.fullmatch(parts[0]).groups()
    if student := by_name(students.values(), name):
        return Owner(student, "moodle", f"{name}_{number}_assignsubmission_file", number)
    return Owner(problem=NOBODY)


PLATFORMS = (
    Platform("canvas", _fits_canvas, _owner_in_canvas),
    Platform("moodle", _fits_moodle, _owner_in_moodle),
)
