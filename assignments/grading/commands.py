"""The commands of ``python -m grading``."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from . import interrupts
from .check import check_master
from .classroom import Classroom, ClassroomError
from .collect import Collected, Unused
from .feedback import write_feedback
from .grade import Grader
from .inert import line as one_line
from .leaks import all_masters, find_leaks
from .lms import write_imports, write_uploads
from .marks import apply_marks, update_sheet
from .masters import FOLDER, Master, MasterError, master_names, read_master
from .members import is_empty, stray
from .records import Status
from .release import LeakError, release
from .report import Row, results, write_overview, write_reports
from .roster import Student, read_roster
from .sandbox import Limits, SandboxError

PURPOSE = "Release assignments and grade them."
MOST_LINES = 20  # about files of one student
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
    room = Classroom(arguments.room.expanduser())
    with interrupts.deferred():
        students, masters = _class(room, arguments)
        with room.lock():
            open_ends = [_grade(room, master, students, arguments) for master in masters]
            _overview(room, students, arguments.masters)
    return bool(sum(open_ends) + _look(_strays(room)))


def _class(
    room: Classroom, arguments: argparse.Namespace
) -> tuple[dict[str, Student], list[Master]]:
    """The students and what to grade, before anything is made or changed."""
    room.require()
    students = read_roster(room.roster)
    names = arguments.assignments or room.assignments()
    masters = [read_master(name, arguments.masters) for name in names]
    empty = [f"{room.inbox(name)} is empty" for name in names if is_empty(room.inbox(name))]
    if len(empty) == len(names):
        where = "; ".join(empty + _strays(room)) or f"{room.folder / 'inbox'} has no folder in it"
        raise ClassroomError(f"nothing was handed in{_for(names)}: {where}")
    _note(empty)
    return students, [master for master in masters if not is_empty(room.inbox(master.name))]


def _for(names: list[str]) -> str:
    return f" for {', '.join(names)}" if names else ""


def _strays(room: Classroom) -> list[str]:
    """What lies in no assignment's folder; a file's name may be in no encoding."""
    advice = "lies beside the folders of the assignments: move it into one"
    return [f"{one_line(str(path))} {advice}" for path in stray(room.folder / "inbox")]


def _overview(room: Classroom, students: dict[str, Student], masters: Path) -> None:
    """Write the table of all assignments that still have a master."""
    known, gone = {}, []
    for name in room.graded():
        if (masters / f"{name}.md").is_file():
            known[name] = results(room, read_master(name, masters), students)
        else:
            gone.append(f"grades.csv leaves out {name}, of which {masters} has no {name}.md")
    write_overview(room, known)
    _note(gone)


def _grade(
    room: Classroom, master: Master, students: dict[str, Student], arguments: argparse.Namespace
) -> int:
    """Grade one assignment; return how many submissions need a look."""
    limits = Limits(cell_seconds=arguments.cell_seconds, seconds=arguments.seconds)
    sandboxed = not arguments.unsandboxed
    grader = Grader(room, master, limits, sandboxed, arguments.jobs)
    collected, new = grader.grade(students)
    interrupts.check()
    if not collected.handed:
        print(f"{master.name}: nothing in the inbox can be graded")
        return _looks([], collected)
    update_sheet(room, master, list(collected.handed))
    unplaced = apply_marks(room, master, students)
    rows = results(room, master, students)
    write_reports(room, master, rows)
    left_out = write_imports(room.grades, master, rows)
    removed = _write_feedback(room, master, rows, collected, all_masters(arguments.masters))
    _summary(master, new, rows)
    _note(f"{room.marks(master.name)}: {line}" for line in unplaced)
    _note(left_out + _kept(room, master, rows, collected))
    return _looks(rows, collected) + removed


def _kept(room: Classroom, master: Master, rows: list[Row], collected: Collected) -> list[str]:
    """A line about grades of students who have nothing in the inbox now."""
    ids = [r.student.id for r in rows if r.record.key and r.student.id not in collected.handed]
    record = room.record(master.name, "<id>")
    stays = f"nothing in the inbox now, so the grade stays until {record} is deleted"
    return [one_line(f"{stays}: {', '.join(ids)}")] if ids else []


def _write_feedback(
    room: Classroom, master: Master, rows: list[Row], collected: Collected, masters: list
) -> int:
    """Write what can be shown; return how many pages cannot."""
    folder = room.grades / "feedback" / master.name
    write_feedback(folder, master, rows)
    leaks = {leak.file: leak for leak in find_leaks([folder], masters)}
    for file in leaks:
        file.unlink()
    write_uploads(room.grades, master, rows, collected.places, folder)
    secrets = leaks.values()
    return _look(f"the feedback was removed, as it tells a secret: {leak}" for leak in secrets)


def _summary(master: Master, new: int, rows: list[Row]) -> None:
    """How many submissions are new, and how many students have each status."""
    print(f"{master.name}: {new} new {'submission' if new == 1 else 'submissions'}")
    for status in Status:
        print(f"  {sum(row.status is status for row in rows):4d} {status}")
    print(f"  {len(rows):4d} in the roster")


def _looks(rows: list[Row], collected: Collected) -> int:
    """Print what a person should look at, then what is only good to know."""
    extra = [file for file in collected.unused if file.student in collected.handed]
    unused = [file for file in collected.unused if file.student not in collected.handed]
    unfinished = [row for row in rows if row.status not in FINE]
    count = _look(f"{r.student.id} {r.status}: {'; '.join(r.notes)}" for r in unfinished)
    count += _look(_not_too_many(unused))
    _note(f"{found}; the student handed in one as well" for found in _not_too_many(extra))
    return count


def _not_too_many(files: list[Unused]) -> list[str]:
    """A line for each file; one student's thousands do not hide the others."""
    lines, more = [], Counter()
    for file in files:
        more[file.student] += bool(file.student)
        if more[file.student] <= MOST_LINES:
            lines.append(f"{file.origin} {file.reason}")
    cut = [(student, count - MOST_LINES) for student, count in more.items() if count > MOST_LINES]
    return lines + [f"{count:,} more files of {student} were not used" for student, count in cut]


def _look(lines: Iterable[str]) -> int:
    """Print what a person should look at; return how much it is."""
    lines = list(lines)
    for line in lines:
        print(f"  look: {line}")
    return len(lines)


def _note(lines: Iterable[str]) -> None:
    for line in lines:
        print(f"  note: {line}")


BOOK = (
    "the grade book work/gradebook.db cannot be used: {}. Close what has it open, such as the "
    "formgrader, and repeat. If it is damaged, move it away and repeat: all is graded again, and "
    "points in marks/ stay"
)


def main() -> int:
    """Read the command line and do it."""
    arguments = _parser().parse_args()
    try:
        return arguments.do(arguments)
    except (ClassroomError, LeakError, MasterError, SandboxError) as problem:
        print(f"error: {problem}", file=sys.stderr)
    except SQLAlchemyError as problem:
        print(f"error: {BOOK.format(str(problem).splitlines()[0])}", file=sys.stderr)
    except OSError as problem:
        print(
            f"error: {problem}. Nothing graded so far is lost; fix it and repeat", file=sys.stderr
        )
    return 2


def _positive(text: str) -> int:
    """A limit; nbgrader takes 0 for none."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


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
    grade.add_argument("--cell-seconds", type=_positive, default=Limits.cell_seconds)
    grade.add_argument("--seconds", type=_positive, default=Limits.seconds, help="for a submission")
    grade.add_argument("--jobs", type=_positive, default=1, help="submissions at a time")
    grade.add_argument("--unsandboxed", action="store_true", help="run code with your rights")
    for command, do in zip(
        (check, leaks, releasing, grade), (do_check, do_leaks, do_release, do_grade), strict=True
    ):
        command.set_defaults(do=do)
    return parser
