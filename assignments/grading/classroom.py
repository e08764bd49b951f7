"""The folder of one class: what comes in, what is kept, what goes out.

::

    roster.csv               id,first_name,last_name,email,lms_user_id, or an LMS's export
    inbox/<assignment>/      LMS archives, <id>.ipynb or <id>/*.ipynb; never changed
    marks/<assignment>.csv   a person's points for written answers
    grades/                  grades.csv, and for each assignment tables and feedback/
    work/                    nbgrader's folders, the grade book, one record a submission
"""

import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path

from nbgrader.api import Gradebook
from nbgrader.apps.nbgraderapp import NbGraderApp

from .files import write_whole
from .members import is_junk
from .processes import Child

DISK_FULL = ["No space left on device", "database or disk is full"]
SPACE = 1 << 20  # bytes without which nothing can be graded
MEMORY = 768 << 20  # bytes that nbgrader may take for one submission
UNFIT = "*?[]%"  # nbgrader takes these in a folder's name for patterns, SQLAlchemy for options
CONFIG = Path(__file__).with_name("nbgrader_config.py")


class ClassroomError(ValueError):
    """Something in the class folder is missing or contradicts itself."""


@dataclass(frozen=True)
class Classroom:
    """Where everything of one class lies."""

    folder: Path

    @property
    def roster(self) -> Path:
        """The list of students."""
        return self.folder / "roster.csv"

    @property
    def grades(self) -> Path:
        """What the class and its LMS get."""
        return self.folder / "grades"

    @property
    def work(self) -> Path:
        """Nbgrader's course folder."""
        return self.folder / "work"

    @property
    def gradebook(self) -> str:
        """Nbgrader's data base, as a URL."""
        return f"sqlite:///{(self.work / 'gradebook.db').resolve()}"

    def inbox(self, assignment: str) -> Path:
        """Where an assignment is handed in."""
        return self.folder / "inbox" / assignment

    def marks(self, assignment: str) -> Path:
        """A person's points for written answers."""
        return self.folder / "marks" / f"{assignment}.csv"

    def record(self, assignment: str, student: str) -> Path:
        """What grading found out about one submission."""
        return self.work / "records" / assignment / f"{student}.json"

    def notebook(self, step: str, assignment: str, student: str = ".") -> Path:
        """A notebook in one of nbgrader's folders: source, submitted, autograded."""
        return self.work / step / student / assignment / f"{assignment}.ipynb"

    def assignments(self) -> list[str]:
        """Assignments that something was handed in for."""
        return _folders(self.folder / "inbox")

    def graded(self) -> list[str]:
        """Assignments of which at least one submission has a record."""
        return _folders(self.work / "records")

    def kept(self, assignment: str) -> set[str]:
        """Students of whom the grade book has a submission."""
        if not (self.work / "gradebook.db").exists():
            return set()
        with Gradebook(self.gradebook, "snn") as book:
            return {found.student.id for found in book.assignment_submissions(assignment)}

    def require(self) -> None:
        """Refuse a folder that does not exist or fit, before anything is made in it.

        Raises
        ------
        ClassroomError
            With the names of classes that are spelled alike, or what to rename.
        """
        if unfit := sorted(set(UNFIT) & set(str(self.folder.resolve()))):
            raise ClassroomError(
                f"{self.folder.resolve()}: grading does not work below a folder with "
                f"{' '.join(unfit)} in its name; rename it, or move the class"
            )
        if self.folder.is_dir():
            return
        parent = self.folder.parent
        classes = [p.parent.name for p in parent.glob("*/roster.csv")] if parent.is_dir() else []
        near = [str(parent / name) for name in get_close_matches(self.folder.name, classes)]
        meant = f", but {' and '.join(near)}" if near else ""
        raise ClassroomError(
            f"there is no folder {self.folder}{meant}. "
            "A new class needs a folder with roster.csv and inbox/<assignment>/"
        )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Prepare the work folder, and keep a second run from grading at the same time."""
        self.work.mkdir(parents=True, exist_ok=True)
        with open(self.work / "lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ClassroomError(f"another run is grading {self.folder} right now") from None
            book = self.work / "gradebook.db"
            if not book.exists() or not book.stat().st_size:  # then no record tells the truth
                book.unlink(missing_ok=True)
                shutil.rmtree(self.work / "records", ignore_errors=True)
            # nbgrader reads its settings there, whatever its command line says
            write_whole(self.work / CONFIG.name, CONFIG.read_text())
            yield

    def nbgrader(
        self,
        *arguments: str,
        environment: dict[str, str] | None = None,
        seconds: float = 600,
        memory: int | None = None,
    ) -> Child:
        """Start nbgrader's command line in the work folder; `failure` tells how it ended."""
        options = [f"--db={self.gradebook}", "--log-level=WARN"]
        run = partial(_nbgrader, [*arguments, *options], self.work, environment or {})
        return Child(run, seconds, memory)

    def failure(self, run: Child) -> str:
        """Why nbgrader failed, empty if it did not.

        Raises
        ------
        OSError
            If the disk is full, whatever nbgrader makes of it.
        """
        if run.timed_out:
            return f"it came to no end within {run.seconds} s"
        if run.status and any(text in run.errors for text in DISK_FULL):
            self._require_space()  # a submission may have said so, too
        if run.status < 0:
            return f"it was killed by signal {-run.status}"
        return "\n".join(run.errors.strip().splitlines()[-5:]) if run.status else ""

    def _require_space(self) -> None:
        with tempfile.TemporaryFile(dir=self.work) as file:
            file.write(bytes(SPACE))


def _folders(place: Path) -> list[str]:
    """The names of the folders at a place that people made."""
    paths = place.iterdir() if place.is_dir() else []
    return sorted(path.name for path in paths if path.is_dir() and not is_junk(path.name))


def _nbgrader(arguments: list[str], folder: Path, environment: dict[str, str]) -> None:
    """Be nbgrader, in a process of its own."""
    package, programs = Path(__file__).parent.parent, Path(sys.executable).parent
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"  # nbgrader starts alembic by name
    os.environ.update({"PYTHONPATH": str(package), "PATH": path} | environment)
    tempfile.tempdir = None  # it may be another one now
    os.chdir(folder)
    NbGraderApp.launch_instance(arguments)
