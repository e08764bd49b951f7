"""Chapters without the solutions of their exercises, and a search for lines that got out.

A solution is what stands from `{solution-start}` to `{solution-end}`, code cells included,
or in a plain `{solution}`; hidden cells right behind it check its numbers and go with it.
The folded answers under "Check yourself" stay: they are questions that readers ask
themselves, and no exercise asks for them.

What would dangle is refused, not fixed: a sentence that points to a solution, or to a
figure or equation inside one, has to be written anew by someone who understands it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from grading.leaks import readable
from grading.masters import squeeze

# a title with backticks is for other fences than those of backticks
FENCE = re.compile(r"(?P<mark>`{3,}(?=[^`]*$)|~{3,}|:{3,})(?:\{(?P<name>[\w:-]+)\})?")
HIDDEN = re.compile(r"^:?\s*(?:tags:.*|- )\bremove-cell\b", flags=re.M)
NAMED = re.compile(
    r"^\s*:?(?:name|label): *(?P<name>[a-z]+-\S+)|^\((?P<target>\S+)\)=|\$\$ *\((?P<eq>\S+)\)$",
    flags=re.M,
)
POINTER = re.compile(  # "its solution decays" is about an equation, and stays
    r"\b(?:see|in|from|with|read|open|unfold)\s+(?:the|its|their|each|a)\s+(?:folded\s+|full\s+)?"
    r"solutions?\b(?!\s+(?:of|to)\b)|\bfolded\s+solutions?\b"
    r"|\bsolutions?\s+(?:below|above|(?:of|to)\s+(?:the\s+|this\s+)?exercises?)\b",
    flags=re.I,
)
NESTED = re.compile(r"^\s*[`~:]{3,}\{solution", flags=re.M)
SHORTEST = 12  # characters: shorter lines are anybody's
SHORTEST_BARE = 20  # letters and digits: a word or two are anybody's
Forms = tuple[str, str]
BINARY = {".png", ".jpg", ".gif", ".ico", ".inv", ".woff", ".woff2", ".ttf", ".otf", ".eot"}


class SolutionError(ValueError):
    """A chapter from which the solutions cannot be taken; the message says where and why."""


@dataclass(frozen=True)
class Block:
    """A directive or fenced block as a whole, or one line of text."""

    line: int
    text: str
    name: str = ""

    @property
    def follows_a_solution(self) -> bool:
        """Whether this goes when all between it and a solution went."""
        return not self.text.strip() or (
            self.name == "code-cell" and bool(HIDDEN.search(self.text))
        )

    @property
    def hides_a_solution(self) -> bool:
        """Whether a solution stands inside something else, where it cannot be taken out."""
        inner = self.text if not self.name else self.text.partition("\n")[2]
        return self.name != "code-cell" and bool(NESTED.search(inner))


@dataclass(frozen=True)
class Chapter:
    """One page, taken apart."""

    path: Path
    kept: str
    solutions: str


@dataclass(frozen=True)
class Leak:
    """One line of a solution in one file."""

    file: Path
    chapter: str
    line: str

    def __str__(self) -> str:
        return f"{self.file}: {self.line!r} is in a solution of {self.chapter}"


def blocks(text: str, path: Path) -> Iterator[Block]:
    """The page in pieces, so that what a code cell prints is never taken for a directive."""
    lines = enumerate(text.splitlines(keepends=True), 1)
    for number, line in lines:
        fence = FENCE.match(line)
        if not fence:
            yield Block(number, line)
            continue
        body = [line]
        while not _closes(body, fence["mark"]):
            body.append(next(lines, (0, ""))[1])
            if not body[-1]:
                raise SolutionError(f"{path}:{number}: {line.strip()!r} is never closed")
        yield Block(number, "".join(body), fence["name"] or "")


def _closes(body: list[str], mark: str) -> bool:
    last = body[-1].strip()
    return len(body) > 1 and set(last) == {mark[0]} and len(last) >= len(mark)


def take_apart(text: str, path: Path) -> Chapter:
    """Part a page into what students get and its solutions.

    Raises
    ------
    SolutionError
        If a fence or a solution is not closed, ends without a start, or is inside a box.
    """
    kept, solutions = [], []
    gate, goes = None, False
    for block in blocks(text, path):
        if gate and block.name in ("exercise-start", "solution-start"):
            break
        if not gate and block.name != "solution" and block.hides_a_solution:
            raise SolutionError(f"{path}:{block.line}: a solution inside a list or box")
        if block.name == "solution-end" and not gate:
            raise SolutionError(f"{path}:{block.line}: a solution ends that never started")
        gate = block if block.name == "solution-start" else gate
        goes = bool(gate) or block.name == "solution" or (goes and block.follows_a_solution)
        (solutions if goes else kept).append(block.text)
        gate = None if block.name == "solution-end" else gate
    if gate:
        first = gate.text.splitlines()[0]
        raise SolutionError(f"{path}:{gate.line}: {first!r} has no {{solution-end}}")
    return Chapter(path, "".join(kept), "".join(solutions))


def dangling(chapters: Iterable[Chapter]) -> list[str]:
    """What is kept but points to what is not, a sentence each."""
    chapters = list(chapters)
    gone = {name for chapter in chapters for name in _names(chapter.solutions)}
    gone -= {name for chapter in chapters for name in _names(chapter.kept)}
    pointers = [re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])") for name in sorted(gone)]
    return [
        f"{chapter.path}: {found[0]!r} points into a solution; it stands in "
        f"{_line_of(chapter.kept, found)!r}"
        for chapter in chapters
        for pointer in [POINTER, *pointers]
        for found in pointer.finditer(chapter.kept)
    ]


def _names(text: str) -> set[str]:
    return {found[found.lastgroup] for found in NAMED.finditer(text)}


def _line_of(text: str, found: re.Match) -> str:
    end = text.find("\n", found.end())
    return text[text.rfind("\n", 0, found.start()) + 1 : end if end >= 0 else None]


def secrets(chapters: Iterable[Chapter], public: str) -> dict[str, str]:
    """Lines of solutions that stand nowhere in public: line -> chapter."""
    known = _forms(public)
    return {
        line.strip(): chapter.path.name
        for chapter in chapters
        for line in chapter.solutions.splitlines()
        if len(squeeze(line)) >= SHORTEST and not _occurs(_forms(line), known)
    }


def find_leaks(folder: Path, lines: Mapping[str, str]) -> list[Leak]:
    """Every given line in any file of a folder, however the page dresses it.

    Raises
    ------
    ValueError
        If there is nothing to look for, as then nothing is proved.
    """
    if not lines:
        raise ValueError("no solution has a line of its own: were there any chapters?")
    wanted = {line: _forms(line) for line in lines}
    files = [f for f in sorted(folder.rglob("*")) if f.is_file() and f.suffix not in BINARY]
    return [Leak(file, lines[line], line) for file in files for line in _lines_in(file, wanted)]


def _lines_in(file: Path, wanted: Mapping[str, Forms]) -> list[str]:
    text = _forms(readable(file))
    return [line for line, forms in wanted.items() if _occurs(forms, text)]


def _forms(text: str) -> Forms:
    """A text as it is, and as markup leaves it."""
    return squeeze(text), bare(text)


def _occurs(line: Forms, text: Forms) -> bool:
    """Whether a line stands in a text in either form."""
    return line[0] in text[0] or (len(line[1]) >= SHORTEST_BARE and line[1] in text[1])


def bare(text: str) -> str:
    """Letters and digits alone: backticks, dollars and stars are gone from a page."""
    return re.sub(r"[\W_]+", "", text)
