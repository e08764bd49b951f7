"""Grade a class: each submission once, in its own sandbox, in an order that does not matter.

A submission is done when its record is written, which comes last. An interrupted run
goes on where it stopped; a repeated one finds nothing to do.
"""

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nbformat

from .blank import student_version
from .classroom import Classroom, ClassroomError
from .collect import Collected, Handed, collect
from .compiled import compile_once
from .files import digest
from .kernels import private_folder, read_usage
from .masters import Master, to_nbgrader
from .records import Record, Status, read_record
from .roster import Student
from .sandbox import Limits, require_sandbox
from .submission import NotGradableError, OtherAssignmentError, Prepared, prepare


@dataclass(frozen=True)
class Grader:
    """All that grading one assignment of one class needs."""

    room: Classroom
    master: Master
    limits: Limits
    sandboxed: bool = True
    jobs: int = 1

    @cached_property
    def source(self) -> nbformat.NotebookNode:
        """The assignment as nbgrader takes it."""
        return to_nbgrader(self.master)

    @cached_property
    def released(self) -> nbformat.NotebookNode:
        """The notebook that students were given."""
        return student_version(self.source)

    def grade(self, students: dict[str, Student]) -> tuple[Collected, int]:
        """Grade what is new in the inbox; return what it holds and how many were graded."""
        if self.sandboxed:
            require_sandbox()
            compile_once()
        collected = collect(self.room.inbox(self.master.name), students)
        todo = list(self._todo(collected))
        if todo:
            self._announce_assignment()
        with ThreadPoolExecutor(self.jobs) as pool:
            runs = [pool.submit(self._grade_one, *work, collected) for work in todo]
            try:
                for number, run in enumerate(runs, start=1):
                    print(f"{number}/{len(todo)} {run.result()}", flush=True)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return collected, len(todo)

    def _grade_one(self, handed: Handed, key: str, collected: Collected) -> str:
        """Grade one submission and keep its record; return a line to show."""
        record = self._record(handed, key)
        record.notes += collected.notes.get(handed.student, [])
        if handed.student in collected.torn and record.status is Status.GRADED:
            record.status = Status.NEEDS_A_PERSON
        record.write(self.room.record(self.master.name, handed.student))
        return f"{handed.student}: {record.status}"

    def _todo(self, collected: Collected) -> Iterator[tuple[Handed, str]]:
        """Submissions without a record of exactly this content and this master."""
        master = nbformat.writes(self.source)
        for student, handed in sorted(collected.handed.items()):
            notes = json.dumps(collected.notes.get(student, []))
            key = digest(master, handed.content, notes)
            record = read_record(self.room.record(self.master.name, student))
            if record is None or record.key != key:
                yield handed, key

    def _announce_assignment(self) -> None:
        """Tell nbgrader's grade book about the assignment."""
        _write_notebook(self.room.notebook("source", self.master.name), self.source)
        run = self.room.nbgrader("generate_assignment", self.master.name, "--force")
        if run.returncode:
            raise ClassroomError(f"nbgrader refused {self.master.name}:\n{_tail(run.stderr)}")

    def _record(self, handed: Handed, key: str) -> Record:
        """Grade one submission, whatever it is."""
        record = Record(handed.student, self.master.name, key, Status.DID_NOT_RUN)
        try:
            prepared = prepare(handed.content, self.released)
        except OtherAssignmentError as problem:
            record.status, record.notes = Status.NEEDS_A_PERSON, [str(problem)]
        except NotGradableError as problem:
            record.notes = [str(problem)]
        else:
            record.notes = prepared.notes
            self._run(prepared, record)
        return record

    def _run(self, prepared: Prepared, record: Record) -> None:
        """Let nbgrader execute and score a notebook; fill in the record."""
        submitted = self.room.notebook("submitted", record.assignment, record.student)
        _write_notebook(submitted, prepared.notebook)
        with private_folder(self.limits) as environment:
            if not self.sandboxed:
                environment["GRADING_KERNEL"] = "python3"
            failure = self._autograde(record.student, environment)
            usage, found = read_usage(environment), _read_probes(environment)
        if self.sandboxed and found and not usage.seconds:
            raise ClassroomError("a kernel ran outside the sandbox: grading stopped")
        record.seconds, record.peak_memory = round(usage.seconds, 1), round(usage.peak_memory)
        if found is None:
            record.notes.append(usage.killed or "its kernel died, or could not be stopped")
            return
        if failure:
            raise ClassroomError(
                f"nbgrader could not keep the grade of {record.student}: {failure}"
            )
        record.tests, record.status = found["tests"], Status.GRADED
        if prepared.unlabelled or found["silent"]:
            record.status = Status.NEEDS_A_PERSON
        if found["silent"]:
            record.notes.append(f"no check was possible after {', '.join(found['silent'])}")
        if found["tampered"]:
            record.status = Status.TAMPERED
            record.notes.append(f"false statements passed after {len(found['tampered'])} tests")

    def _autograde(self, student: str, environment: dict[str, str]) -> str:
        """Run nbgrader on one submission; return why it failed, empty if it did not."""
        arguments = ["autograde", self.master.name, f"--student={student}", "--force"]
        allowed = self.limits.seconds + 120  # the sandbox ends first
        try:
            run = self.room.nbgrader(*arguments, environment=environment, timeout=allowed)
        except subprocess.TimeoutExpired:
            return f"no end within {allowed} s"
        return _tail(run.stderr) if run.returncode else ""


def _read_probes(environment: dict[str, str]) -> dict | None:
    path = Path(environment["GRADING_PROBES"])
    return json.loads(path.read_text()) if path.exists() else None


def _write_notebook(path: Path, notebook: nbformat.NotebookNode) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    nbformat.write(notebook, path)


def _tail(text: str, lines: int = 5) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])
