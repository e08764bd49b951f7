"""The commands of ``python -m grading``."""

import argparse
import sys
from pathlib import Path

from . import interrupts
from .check import check_master
from .classroom import Classroom, ClassroomError
from .feedback import write_feedback
from .grade import Grader
from .inert import line
from .leaks import all_masters, find_leaks
from .marks import apply_marks, update_sheet
from .masters import FOLDER, Master, MasterError, master_names, read_master
from .records import Status
from .release import LeakError, release
from .report import Row, results, write_overview, write_reports
from .roster import Student, read_roster
from .sandbox import Limits, SandboxError

PURPOSE = "Release assignments and grade them."
FINE = {Status.GRADED, Status.MISSING}


def do_check(arguments: argparse.Namespace) -> int:
    """Each solution earns every point, each untouched notebook none."""
    wrong = []
    for name in arguments.assignments or master_names(arguments.masters):
        wrong += check_master(read_master(name, arguments.masters))
    print(*wrong, sep="\n")
    return bool(wrong)


def do_leaks(arguments: argparse.Namespace) -> int:
    """No solution or hidden test stands in the given files and folders."""
    found = find_leaks(arguments.places, all_masters(arguments.masters))
    print(*found, f"{len(found)} leaks", sep="\n")
    return bool(found)


def do_release(arguments: argparse.Namespace) -> int:
    """Write the folder that students get, checked for leaks."""
    folder = release(arguments.target, arguments.masters, arguments.public)
    print(f"{folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    return 0


def do_grade(arguments: argparse.Namespace) -> int:
    """Grade what is new, mark, report; 1 while a submission needs a look."""
    room = Classroom(arguments.room)
    with interrupts.deferred(), room.lock():
        students = read_roster(room.roster)
        names = arguments.assignments or room.assignments()
        if not names:
            raise ClassroomError(f"nothing was handed in: {room.folder / 'inbox'} is empty")
        open_ends = [_grade(room, name, students, arguments) for name in names]
        graded = [read_master(name, arguments.masters) for name in room.graded()]
        write_overview(room, {m.name: results(room, m, students) for m in graded})
    return bool(sum(open_ends))


def _grade(room: Classroom, name: str, students: dict[str, Student], arguments) -> int:
    """Grade one assignment; return how many submissions need a look."""
    limits = Limits(cell_seconds=arguments.cell_seconds, seconds=arguments.seconds)
    sandboxed = not arguments.unsandboxed
    master = read_master(name, arguments.masters)
    grader = Grader(room, master, limits, sandboxed, arguments.jobs)
    collected, graded = grader.grade(students)
    interrupts.check()
    if not collected.handed:
        raise ClassroomError(f"nothing was handed in for {name}: {room.inbox(name)} is empty")
    update_sheet(room, master, list(collected.handed))
    apply_marks(room, master)
    rows = results(room, master, students)
    write_reports(room, master, rows)
    removed = _write_feedback(room, master, rows, all_masters(arguments.masters))
    return _summary(name, graded, rows, collected.unknown) + removed


def _write_feedback(room: Classroom, master: Master, rows: list[Row], masters: list) -> int:
    """Write what can be shown; return how many pages cannot."""
    folder = room.grades / "feedback" / master.name
    write_feedback(folder, master, rows)
    found = {leak.file: leak for leak in find_leaks([folder], masters)}
    for file, leak in found.items():
        file.unlink()
        print(f"  look: the feedback was removed, as it tells a secret: {leak}")
    return len(found)


def _summary(name: str, graded: int, rows: list[Row], unknown: list[str]) -> int:
    print(f"{name}: {graded} graded now")
    for status in Status:
        count = sum(row.status is status for row in rows)
        print(f"  {count:4d} {status}")
    looks = [row for row in rows if row.status not in FINE]
    for row in looks:
        print(f"  look: {row.student.id} {row.status}: {'; '.join(row.notes)}")
    for file in unknown:
        print(f"  look: {line(file)} belongs to nobody in the roster")
    return len(looks) + len(unknown)


def main() -> int:
    """Read the command line and do it."""
    arguments = _parser().parse_args()
    try:
        return arguments.do(arguments)
    except (ClassroomError, LeakError, MasterError, SandboxError) as problem:
        print(f"error: {problem}", file=sys.stderr)
    except OSError as problem:
        print(
            f"error: {problem}. Nothing graded so far is lost; fix it and repeat", file=sys.stderr
        )
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="grading", description=PURPOSE)
    parser.add_argument("--masters", type=Path, default=FOLDER, help="default: %(default)s")
    commands = parser.add_subparsers(required=True)
    check = commands.add_parser("check", help=do_check.__doc__)
    check.add_argument("assignments", nargs="*", help="default: all")
    leaks = commands.add_parser("leaks", help=do_leaks.__doc__)
    leaks.add_argument("places", nargs="+", type=Path)
    releasing = commands.add_parser("release", help=do_release.__doc__)
    releasing.add_argument("target", type=Path)
    releasing.add_argument("--public", nargs="*", type=Path, default=[], help="check these too")
    grade = commands.add_parser("grade", help=do_grade.__doc__)
    grade.add_argument("room", type=Path, help="folder with roster.csv and inbox/")
    grade.add_argument("assignments", nargs="*", help="default: all in the inbox")
    grade.add_argument("--cell-seconds", type=int, default=Limits.cell_seconds)
    grade.add_argument("--seconds", type=int, default=Limits.seconds, help="for a submission")
    grade.add_argument("--jobs", type=int, default=1, help="submissions at a time")
    grade.add_argument("--unsandboxed", action="store_true", help="run code with your rights")
    for command, do in zip(
        (check, leaks, releasing, grade), (do_check, do_leaks, do_release, do_grade), strict=True
    ):
        command.set_defaults(do=do)
    return parser
