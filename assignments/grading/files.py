"""Write a file whole or not at all, so that an interrupted run leaves no half files."""

import hashlib
import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write text under a temporary name, then give it its own in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def digest(*contents: bytes | str) -> str:
    """Changes when any of the contents does."""
    total = hashlib.sha256()
    for content in contents:
        data = content.encode() if isinstance(content, str) else content
        total.update(hashlib.sha256(data).digest())
    return total.hexdigest()
