"""The folder of one class: what comes in, what is kept, what goes out.

::

    roster.csv               id,first_name,last_name,email,lms_user_id
    inbox/<assignment>/      LMS archives, <id>.ipynb or <id>/*.ipynb; never changed
    marks/<assignment>.csv   a person's points for written answers
    grades/                  grades.csv, tasks.csv, canvas-*.csv, moodle-*.csv, feedback/
    work/                    nbgrader's folders, the grade book, one record a submission
"""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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
        inbox = self.folder / "inbox"
        return sorted(p.name for p in inbox.iterdir() if p.is_dir()) if inbox.is_dir() else []

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep a second run from grading the same class at the same time."""
        self.work.mkdir(parents=True, exist_ok=True)
        with open(self.work / "lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ClassroomError(f"another run is grading {self.folder} right now") from None
            yield

    def nbgrader(self, *arguments: str, environment: dict | None = None, timeout: int = 600):
        """Run nbgrader's command line in the work folder; return the finished process."""
        package, programs = Path(__file__).parent.parent, Path(sys.executable).parent
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"  # nbgrader starts alembic by name
        values = os.environ | {"PYTHONPATH": str(package), "PATH": path} | (environment or {})
        shutil.copy(CONFIG, self.work)  # nbgrader reads it there, whatever it is told
        command = [sys.executable, "-m", "nbgrader", *arguments]
        command += [f"--db={self.gradebook}", "--log-level=WARN"]
        return subprocess.run(
            command, cwd=self.work, env=values, timeout=timeout, capture_output=True, text=True
        )
