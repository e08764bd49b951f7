"""Files are written whole or not at all, folders removed to the last, contents told apart."""

import hashlib
import os
import secrets
import stat
from itertools import count
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


def remove(folder: Path) -> None:
    """Remove a folder, however deep the folders in it are and whatever rights they have.

    What lies in a folder is moved to the top, level by level: no path gets long, and
    nothing calls itself. Nobody may be changing the folder at the same time.
    """
    found = _clear(folder)
    prefix = os.path.join(folder, secrets.token_hex(8))  # which nothing there has
    for number in count():
        if not found:
            break
        top = found.pop()
        for place, nested in enumerate(_clear(top)):
            found.append(f"{prefix}.{number}.{place}")
            os.rename(nested, found[-1])
        os.rmdir(top)
    os.rmdir(folder)


def _clear(folder: str | Path) -> list[str]:
    """Remove the files in a folder; return the folders in it, opened."""
    folders = []
    for entry in list(os.scandir(folder)):
        if entry.is_dir(follow_symlinks=False):
            os.chmod(entry.path, stat.S_IRWXU)
            folders.append(entry.path)
        else:
            os.unlink(entry.path)
    return folders


def digest(*contents: bytes | str) -> str:
    """Changes when any of the contents does."""
    total = hashlib.sha256()
    for content in contents:
        data = content.encode() if isinstance(content, str) else content
        total.update(hashlib.sha256(data).digest())
    return total.hexdigest()
