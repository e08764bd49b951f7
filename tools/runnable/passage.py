"""Lines of a page, with the place where they stand, and edits to them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class TranslationError(ValueError):
    """A page that cannot be translated; the message says where, why, and what would do."""


class Edit(NamedTuple):
    """Replace the characters from `start` to `end` of a passage."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Passage:
    """Some lines of a page; `path` is relative to the book's folder, `first` is a line's number."""

    path: Path
    text: str
    first: int = 1

    @property
    def lines(self) -> list[str]:
        """The lines, without their ends."""
        return self.text.split("\n")

    def part(self, start: int, end: int) -> "Passage":
        """The lines from `start` up to `end`, counted from 0 within this passage."""
        return Passage(self.path, "\n".join(self.lines[start:end]), self.first + start)

    def offset(self, line: int) -> int:
        """Where a line begins, in characters, both counted from 0."""
        return sum(len(text) + 1 for text in self.lines[:line])

    def error(self, line: int, message: str) -> TranslationError:
        """What to raise about a line, counted from 0."""
        return TranslationError(f"{self.path}:{self.first + line}: {message}")

    def edited(self, edits: Iterable[Edit]) -> str:
        """The text after all edits, none of which reaches into another."""
        pieces, at = [], 0
        for start, end, text in sorted(edits):
            pieces += [self.text[at:start], text]
            at = end
        return "".join([*pieces, self.text[at:]])
