"""What grading found out about each submission, kept so that no run repeats another."""

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from .files import write_whole
from .inert import line

MOST_NOTES = 50
NOT_GRADED = "could not be graded"  # begins the note of an error in grading itself


class Status(StrEnum):
    """How a submission came out."""

    GRADED = "graded"
    NEEDS_A_PERSON = "needs a person"
    DID_NOT_RUN = "did not run"
    TAMPERED = "tampered"
    MISSING = "nothing handed in"


@dataclass
class Record:
    """One submission of one student, after grading.

    `key` changes with the submission and with the assignment: an equal key means that
    there is nothing to do again. `tests` maps each test to its error, empty if it
    passed. `seconds` and `peak_memory` [MiB] are the sandbox's.
    """

    student: str
    assignment: str
    key: str
    status: Status
    notes: list[str] = field(default_factory=list)
    tests: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    peak_memory: float = 0.0

    def write(self, path: Path) -> None:
        """Keep the record, whole or not at all; what a submission said, as plain lines."""
        self.notes = [line(note) for note in self.notes[:MOST_NOTES]]
        self.tests = {name: line(error) for name, error in self.tests.items()}
        write_whole(path, json.dumps(asdict(self), indent=1, ensure_ascii=False))


def read_record(path: Path) -> Record | None:
    """The record at a path; nothing if there is none that can be read."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return Record(**values | {"status": Status(values["status"])})
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # absent, or something else
        return None
