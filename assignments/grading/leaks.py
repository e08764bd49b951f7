"""No line of a solution or hidden test may stand in anything students can read."""

import html
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .masters import (
    FOLDER,
    Master,
    master_names,
    open_text,
    read_master,
    secret_lines,
    squeeze,
    squeeze_lines,
)

LIBRARY = FOLDER.parent / "snnlib"
BINARY = {".png", ".jpg", ".npz", ".safetensors", ".whl", ".woff", ".woff2", ".ttf", ".pyc"}


@dataclass(frozen=True)
class Leak:
    """One secret line in one file."""

    file: Path
    assignment: str
    line: str

    def __str__(self) -> str:
        return f"{self.file}: {self.line!r} is a solution or hidden test of {self.assignment}"


def all_masters(folder: Path = FOLDER) -> list[Master]:
    """Every assignment in a folder."""
    return [read_master(name, folder) for name in master_names(folder)]


def find_leaks(places: Iterable[Path], masters: Iterable[Master]) -> list[Leak]:
    """Every secret line found under the given files and folders.

    A line that the library has too, or that any assignment shows openly, is no secret.

    Raises
    ------
    FileNotFoundError
        If a place does not exist: a check of nothing proves nothing.
    ValueError
        If the masters hold no secret.
    """
    masters = list(masters)
    public = [squeeze_lines(path.read_text()) for path in LIBRARY.rglob("*.py")]
    public = "\n".join(public + [open_text(master) for master in masters])
    secrets = [(m.name, k, v) for m in masters for k, v in secret_lines(m).items()]
    secrets = [secret for secret in secrets if secret[1] not in public]
    if not secrets:
        raise ValueError("the masters hold no solution and no hidden test: is the folder right?")
    return [leak for file in _files(places) for leak in _leaks_of(file, secrets)]


def _leaks_of(file: Path, secrets: list[tuple[str, str, str]]) -> Iterator[Leak]:
    text = readable(file)
    for assignment, key, line in secrets:
        if key in text:
            yield Leak(file, assignment, line)


def _files(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        if not place.exists():
            raise FileNotFoundError(f"{place} does not exist, so it cannot be checked for leaks")
        for file in [place] if place.is_file() else sorted(place.rglob("*")):
            if file.is_file() and file.suffix not in BINARY:
                yield file


def readable(file: Path) -> str:
    """All text in a file, squeezed; notebooks and web pages as their readers see them."""
    text = file.read_text(errors="replace")
    if file.suffix in (".ipynb", ".json"):
        with suppress(json.JSONDecodeError):  # then it is searched as it stands
            text += "\n" + "\n".join(_strings(json.loads(text)))
    if file.suffix == ".html":
        text += "\n" + html.unescape(re.sub(r"<[^>]+>", "", text))
    return squeeze(text)


def _strings(value: object) -> Iterator[str]:
    """Every text in a JSON document, as it reads without its escapes."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)
