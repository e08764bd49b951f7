"""Write a file whole or not at all, so that an interrupted run leaves no half files."""

import hashlib
import os
import re
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Write text or bytes under a temporary name, then give it its own in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    data = content.encode() if isinstance(content, str) else content
    try:
        partial.write_bytes(data)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_text(value: object) -> object:
    """A table's value, marked where a spreadsheet would run it as a formula."""
    formula = isinstance(value, str) and value.lstrip("'").startswith(FORMULA)
    return f"'{value}" if formula else value


def from_text(value: str) -> str:
    """What `as_text` was given."""
    marked = value.startswith("'") and value.lstrip("'").startswith(FORMULA)
    return value[1:] if marked else value


# what moves a terminal's cursor, turns the direction of writing, or is half a character
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(text: str, longest: int = 200) -> str:
    """A name from outside on one line, without control characters."""
    shown = CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def digest(*contents: bytes | str) -> str:
    """Changes when any of the contents does."""
    total = hashlib.sha256()
    for content in contents:
        data = content.encode() if isinstance(content, str) else content
        total.update(hashlib.sha256(data).digest())
    return total.hexdigest()
