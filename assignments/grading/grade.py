"""Grade a class: each submission once, in its own sandbox, in an order that does not matter.

A submission is done when its record is written, which comes last. An interrupted run
goes on where it stopped; a repeated one finds nothing to do.

What waits for nbgrader is a generator that yields the process it waits for, so that
`processes.together` can run several side by side, and end them all.
"""

import errno
import json
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import nbformat

from .blank import student_version
from .classroom import MEMORY, Classroom, ClassroomError
from .collect import Collected, Handed, collect
from .compiled import compile_once
from .files import digest
from .kernels import private_folder, read_usage, sweep
from .masters import Master, to_nbgrader
from .processes import Child, together
from .records import NOT_GRADED, Record, Status, read_record
from .roster import Student
from .sandbox import Limits, SandboxError, require_sandbox
from .script import judges_script
from .submission import prepare_into

NO_ANSWER = "its kernel died, could not be stopped, or sent what is no message"
OTHER_TASKS = (
    "it has other tasks than when it was graded before. Move {book} away and repeat: "
    "all that lies in the inbox is graded again, and points in marks/ stay. "
    "Enter there first what was marked in the formgrader only"
)
PREPARING = 60  # seconds that a file may take to be read
EVERYWHERE = {  # errors of the system that no submission causes
    errno.EACCES, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM,
    errno.ENOSPC, errno.EPERM, errno.EROFS,
}  # fmt: skip
LOOKS = [
    ("silent", Status.NEEDS_A_PERSON, "no check was possible after"),
    ("disputed", Status.NEEDS_A_PERSON, "passed in the notebook, but not before the judge:"),
    ("tampered", Status.TAMPERED, "false statements pass in the notebook: after"),
]


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
            sweep()
            list(together([self._announce_assignment()], 1))
        runs = (self._grade_one(*work, collected) for work in todo)
        for number, line in enumerate(together(runs, self.jobs), start=1):
            print(f"{number}/{len(todo)} {line}", flush=True)
        return collected, len(todo)

    def _grade_one(
        self, handed: Handed, key: str, collected: Collected
    ) -> Generator[Child, None, str]:
        """Grade one submission and keep its record, whatever happens; return a line to show."""
        record = Record(handed.student, self.master.name, key, Status.DID_NOT_RUN)
        try:
            yield from self._fill_in(record, handed.content)
        except Exception as problem:
            if _concerns_all(problem):
                raise
            record = _broken(record, problem)
        record.notes += collected.notes.get(handed.student, [])
        if handed.student in collected.torn and record.status is Status.GRADED:
            record.status = Status.NEEDS_A_PERSON
        record.write(self.room.record(self.master.name, handed.student))
        done = record.status is Status.GRADED  # but for answers, which a person marks
        return f"{handed.student}: {'tests done' if done else record.status}"

    def _todo(self, collected: Collected) -> Iterator[tuple[Handed, str]]:
        """Submissions without a record of exactly this content and this master.

        A score that the grade book has lost is no record either.
        """
        master, kept = nbformat.writes(self.source), self.room.kept(self.master.name)
        for student, handed in sorted(collected.handed.items()):
            notes = json.dumps(collected.notes.get(student, []))
            key = digest(master, handed.digest, notes)
            record = read_record(self.room.record(self.master.name, student))
            if record is None or record.key != key or (record.tests and student not in kept):
                yield handed, key

    def _announce_assignment(self) -> Generator[Child, None, None]:
        """Tell nbgrader's grade book about the assignment."""
        _write_notebook(self.room.notebook("source", self.master.name), self.source)
        run = self.room.nbgrader("generate_assignment", self.master.name, "--force")
        yield run
        if problem := self.room.failure(run):
            if "Cannot add or remove cells" in run.errors:
                problem = OTHER_TASKS.format(book=self.room.work / "gradebook.db")
            raise ClassroomError(f"nbgrader refused {self.master.name}:\n{problem}")

    def _fill_in(self, record: Record, content: bytes) -> Generator[Child, None, None]:
        """Grade one submission, whatever it is; the record says how it came out."""
        with private_folder(self.limits, judges_script(self.source)) as environment:
            found = yield from self._prepare(record, content, environment)
            if found["refused"]:
                foreign = found["foreign"]
                record.status = Status.NEEDS_A_PERSON if foreign else Status.DID_NOT_RUN
                record.notes.append(found["refused"])
                return
            record.notes += found["notes"]
            yield from self._run(record, environment)
        if found["unlabelled"] and record.status is Status.GRADED:
            record.status = Status.NEEDS_A_PERSON

    def _prepare(
        self, record: Record, content: bytes, environment: dict[str, str]
    ) -> Generator[Child, None, dict]:
        """Make a notebook that is safe to grade; return what there is to say about it."""
        submitted = self.room.notebook("submitted", record.assignment, record.student)
        report = environment["GRADING_PREPARED"]
        work = partial(prepare_into, submitted, Path(report), content, self.released)
        run = Child(work, PREPARING, MEMORY)
        yield run
        if run.timed_out or run.starved:
            return {"refused": "its file takes too much time or memory to read", "foreign": False}
        if problem := self.room.failure(run):
            raise RuntimeError(f"its file could not be read: {problem}")
        return _read(report)

    def _run(self, record: Record, environment: dict[str, str]) -> Generator[Child, None, None]:
        """Let nbgrader execute and score a notebook; fill in the record."""
        if not self.sandboxed:
            environment["GRADING_KERNEL"] = "python3"
        run = self._autograde(record.student, environment)
        yield run
        usage, found = read_usage(environment), _read(environment["GRADING_FOUND"])
        if self.sandboxed and found and not usage.seconds:
            raise SandboxError("a kernel ran outside the sandbox: grading stopped")
        record.seconds, record.peak_memory = round(usage.seconds, 1), round(usage.peak_memory)
        if run.starved:
            record.notes.append("what its kernel sent took too much memory")
            return
        problem = self.room.failure(run)
        if problem and (found or (self.sandboxed and not usage.seconds)):
            raise RuntimeError(f"nbgrader could not start, or could not keep the grade: {problem}")
        if found is None:
            record.notes.append(usage.killed or NO_ANSWER)
            return
        if "failed" in found:
            raise RuntimeError(f"{found['failed']}, which is no fault of the student")
        _settle(record, found)

    def _autograde(self, student: str, environment: dict[str, str]) -> Child:
        """Start nbgrader on one submission."""
        arguments = ["autograde", self.master.name, f"--student={student}", "--force"]
        allowed = self.limits.seconds + 120  # the sandbox ends first
        memory = MEMORY if self.sandboxed else None  # a kernel outside would inherit the limit
        return self.room.nbgrader(
            *arguments, environment=environment, seconds=allowed, memory=memory
        )


def _broken(record: Record, problem: Exception) -> Record:
    """Of a submission at which grading itself failed; the next run tries again."""
    notes = [f"{NOT_GRADED}: {type(problem).__name__}: {problem}"]
    key = f"again {record.key}"
    return Record(record.student, record.assignment, key, Status.DID_NOT_RUN, notes)


def _settle(record: Record, found: dict) -> None:
    """Enter the judge's points, and ask for a person where they do not say everything."""
    record.tests, record.status = found["tests"], Status.GRADED
    for kind, status, note in LOOKS:
        if found[kind]:
            record.status = status
            record.notes.append(f"{note} {', '.join(found[kind])}")


def _concerns_all(problem: Exception) -> bool:
    """Whether no submission could be graded now, so that there is nothing to go on with."""
    return isinstance(problem, SandboxError) or (
        isinstance(problem, OSError) and problem.errno in EVERYWHERE
    )


def _read(path: str) -> dict | None:
    return json.loads(Path(path).read_text()) if Path(path).exists() else None


def _write_notebook(path: Path, notebook: nbformat.NotebookNode) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    nbformat.write(notebook, path)
