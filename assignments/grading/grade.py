"""Grade a class: each submission once, in its own sandbox, in an order that does not matter.

A submission is done when its record is written, which comes last. An interrupted run
goes on where it stopped; a repeated one finds nothing to do.

What waits for nbgrader is a generator that yields the process it waits for, so that
`processes.together` can run several side by side, and end them all.
"""

import json
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nbformat

from .blank import student_version
from .classroom import Classroom, ClassroomError, failure
from .collect import Collected, Handed, collect
from .compiled import compile_once
from .files import digest
from .kernels import private_folder, read_usage
from .masters import Master, to_nbgrader
from .processes import Child, together
from .records import Record, Status, read_record
from .roster import Student
from .sandbox import Limits, require_sandbox
from .script import judges_script
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
            list(together([self._announce_assignment()], 1))
        runs = (self._grade_one(*work, collected) for work in todo)
        for number, line in enumerate(together(runs, self.jobs), start=1):
            print(f"{number}/{len(todo)} {line}", flush=True)
        return collected, len(todo)

    def _grade_one(
        self, handed: Handed, key: str, collected: Collected
    ) -> Generator[Child, None, str]:
        """Grade one submission and keep its record; return a line to show."""
        record = yield from self._record(handed, key)
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

    def _announce_assignment(self) -> Generator[Child, None, None]:
        """Tell nbgrader's grade book about the assignment."""
        _write_notebook(self.room.notebook("source", self.master.name), self.source)
        run = self.room.nbgrader("generate_assignment", self.master.name, "--force")
        yield run
        if problem := failure(run):
            raise ClassroomError(f"nbgrader refused {self.master.name}:\n{problem}")

    def _record(self, handed: Handed, key: str) -> Generator[Child, None, Record]:
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
            yield from self._run(prepared, record)
        return record

    def _run(self, prepared: Prepared, record: Record) -> Generator[Child, None, None]:
        """Let nbgrader execute and score a notebook; fill in the record."""
        submitted = self.room.notebook("submitted", record.assignment, record.student)
        _write_notebook(submitted, prepared.notebook)
        with private_folder(self.limits, judges_script(self.source)) as environment:
            if not self.sandboxed:
                environment["GRADING_KERNEL"] = "python3"
            run = self._autograde(record.student, environment)
            yield run
            problem = failure(run)
            usage, found = read_usage(environment), _read_found(environment)
        if self.sandboxed and found and not usage.seconds:
            raise ClassroomError("a kernel ran outside the sandbox: grading stopped")
        record.seconds, record.peak_memory = round(usage.seconds, 1), round(usage.peak_memory)
        if found is None:
            record.notes.append(usage.killed or "its kernel died, or could not be stopped")
            return
        if "failed" in found:
            record.notes.append(f"no fault of the student: {found['failed']}; grade again")
            return
        if problem:
            raise ClassroomError(
                f"nbgrader could not keep the grade of {record.student}: {problem}"
            )
        record.tests, record.status = found["tests"], Status.GRADED
        _look(record, found, prepared.unlabelled)

    def _autograde(self, student: str, environment: dict[str, str]) -> Child:
        """Start nbgrader on one submission."""
        arguments = ["autograde", self.master.name, f"--student={student}", "--force"]
        allowed = self.limits.seconds + 120  # the sandbox ends first
        return self.room.nbgrader(*arguments, environment=environment, seconds=allowed)


def _look(record: Record, found: dict, unlabelled: bool) -> None:
    """Ask for a person where points alone do not say everything."""
    if unlabelled or found["silent"]:
        record.status = Status.NEEDS_A_PERSON
    if found["silent"]:
        record.notes.append(f"no check was possible after {', '.join(found['silent'])}")
    if found["disputed"]:
        record.status = Status.NEEDS_A_PERSON
        names = ", ".join(found["disputed"])
        record.notes.append(f"passed in the notebook, but not before the judge: {names}")
    if found["tampered"]:
        record.status = Status.TAMPERED
        names = ", ".join(found["tampered"])
        record.notes.append(f"false statements pass in the notebook: after {names}")


def _read_found(environment: dict[str, str]) -> dict | None:
    path = Path(environment["GRADING_FOUND"])
    return json.loads(path.read_text()) if path.exists() else None


def _write_notebook(path: Path, notebook: nbformat.NotebookNode) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    nbformat.write(notebook, path)
