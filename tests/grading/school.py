"""Set a class of mutated students up, have it graded by the one command, read the result."""

import csv
import hashlib
import os
import random
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import nbformat
from grading.masters import FOLDER, Master, read_master
from submissions import Attack, Maker, Submission, points

MASTERS = Path(__file__).parent / "masters"  # the demo, quick to run


@dataclass
class School:
    """A class folder, what was handed in, and what its grading said."""

    folder: Path
    master: Master
    submissions: dict[str, Submission]
    masters: Path
    server: socket.socket
    canary: Path
    sandboxes: Path

    def grade(self, *options: str, cell_seconds: int = 10, seconds: int = 60):
        """Run the command that an instructor runs."""
        limits = [f"--cell-seconds={cell_seconds}", f"--seconds={seconds}"]
        here = {"env": environment() | {"GRADING_TMP": str(self.sandboxes)}}
        return grade(self.folder, self.master.name, *limits, *options, masters=self.masters, **here)

    def rows(self) -> dict[str, dict[str, str]]:
        """grades.csv by student."""
        return read_grades(self.folder, self.master.name)

    def deserved(self) -> dict[str, float]:
        """What each student's own notebook earns outside the pipeline."""
        keys = {student: _code(s.deserved) for student, s in self.submissions.items()}
        once = {keys[student]: s.deserved for student, s in self.submissions.items()}
        known = {key: points(self.master, notebook) for key, notebook in once.items()}
        return {student: known[key] for student, key in keys.items()}


def _code(notebook: nbformat.NotebookNode | None) -> str:
    """What of a notebook can earn points."""
    cells = [c for c in notebook.cells if c.cell_type == "code"] if notebook else []
    return "\n".join(c.source for c in cells if not c.source.startswith("# student"))


def grade(folder: Path, *arguments: str, masters: Path = MASTERS, **options):
    """``python -m grading grade`` on a class folder; returns the finished process."""
    command = [sys.executable, "-m", "grading", f"--masters={masters}", "grade", str(folder)]
    command += arguments
    options = {"env": environment(), "capture_output": True, "text": True} | options
    return subprocess.run(command, **options)


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(FOLDER), "OMP_NUM_THREADS": "1"}


def read_grades(folder: Path, assignment: str) -> dict[str, dict[str, str]]:
    with open(folder / "grades" / f"{assignment}-grades.csv", newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def make_school(
    folder: Path,
    name: str,
    makers: Iterable[Maker],
    masters: Path = MASTERS,
    seed: int = 0,
    prefix: str = "",
) -> School:
    """Write roster and inbox of a class, one student for each maker."""
    master = read_master(name, masters)
    inbox = folder / "inbox" / master.name
    inbox.mkdir(parents=True)
    canary = folder.parent / "canary.txt"
    canary.write_text("unchanged")
    sandboxes = Path(tempfile.mkdtemp(prefix="g", dir="/tmp"))
    server = socket.create_server(("127.0.0.1", 0))
    server.setblocking(False)
    book = str(folder / "work" / "gradebook.db")
    places = [str(masters), str(folder), str(FOLDER), str(Path.home())]
    attack = Attack(places, book, server.getsockname()[1], str(canary))
    submissions = {}
    for number, maker in enumerate(makers):
        student = f"{prefix}{number:03d}_{maker.__name__}"
        submissions[student] = maker(master, random.Random(f"{seed} {number}"), attack)
        hand_in(inbox, student, submissions[student])
    write_roster(folder, submissions)
    return School(folder, master, submissions, masters, server, canary, sandboxes)


def hand_in(inbox: Path, student: str, submission: Submission) -> None:
    path = inbox / f"{student}.ipynb"
    if submission.file_name:
        path = inbox / student / submission.file_name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(submission.content)


def write_roster(folder: Path, students: Iterable[str]) -> None:
    rows = [f"{s},Zoë,Łukasz {n},{n}@school.example,{1000 + n}" for n, s in enumerate(students)]
    text = "\n".join(["id,first_name,last_name,email,lms_user_id", *rows]) + "\n"
    (folder / "roster.csv").write_text(text, encoding="utf-8")


def fingerprint(*folders: Path) -> str:
    """Changes when any file in the folders does."""
    total = hashlib.sha256()
    for folder in folders:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            if "__pycache__" not in path.parts:
                total.update(str(path).encode() + path.read_bytes())
    return total.hexdigest()


def notebook_of(submission: Submission) -> nbformat.NotebookNode:
    return nbformat.reads(submission.content.decode(), as_version=4)
