"""The files of an inbox: loose, in folders, in archives. Read, never unpacked.

Nothing here trusts a name or a size: how deep, how many and how large is limited, links
are not followed, and what cannot be read says why and what to do. Archives that students
packed are not opened: whoever packs an archive chooses all the names in it.
"""

import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

from .inert import line

LARGEST = 20 << 20  # bytes of a notebook
DEEPEST = 10  # folders in folders
MOST = 20_000  # files of an archive or a folder
LONGEST_NAME = 200  # characters that are shown of it

JUNK = {"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini", ".ipynb_checkpoints"}
JUNK_STARTS = ("._", ".~", "~$")
LINK = "is a link, which is not followed"
UNREADABLE = (".rar", ".7z", ".tar", ".gz", ".tgz", ".xz", ".bz2")


@dataclass(frozen=True)
class Member:
    """One file: its place in its source, its time, how to read it or why not to."""

    parts: tuple[str, ...]
    origin: str
    when: float = 0.0
    read: Callable[[], bytes] = bytes
    problem: str = ""

    @property
    def suffix(self) -> str:
        """The end of its name, in small letters."""
        return Path(self.parts[-1]).suffix.lower()


@dataclass
class Source:
    """What lies in an inbox under one name; `problem` if it cannot be read at all."""

    name: str
    members: list[Member] = field(default_factory=list)
    problem: str = ""


def sources(inbox: Path, handed_in: Callable[[str], bool]) -> Iterator[Source]:
    """Each archive and each folder of an inbox, and its loose files as one more.

    An archive of which `handed_in` says, by its name, that a student packed it is a file.
    """
    loose = Source(inbox.name)
    for path in sorted(inbox.iterdir()) if inbox.is_dir() else []:
        if is_junk(path.name):
            continue
        found = _source(path, handed_in)
        if isinstance(found, Source):
            yield found
        else:
            loose.members.append(found)
    yield loose


def is_empty(inbox: Path) -> bool:
    """Whether nobody put anything in an inbox."""
    return not inbox.is_dir() or all(is_junk(path.name) for path in inbox.iterdir())


def stray(inboxes: Path) -> list[Path]:
    """What lies beside the inboxes of the assignments, where nobody looks for it."""
    paths = sorted(inboxes.iterdir()) if inboxes.is_dir() else []
    return [path for path in paths if not path.is_dir() and not is_junk(path.name)]


def is_junk(name: str) -> bool:
    """Whether a system or Jupyter made this, not a person."""
    return name in JUNK or name.startswith(JUNK_STARTS)


def _source(path: Path, handed_in: Callable[[str], bool]) -> Source | Member:
    name = line(path.name, LONGEST_NAME)
    try:
        when = path.lstat().st_mtime
        if path.is_dir() and not path.is_symlink():
            return _folder(path, name)
        zipped = path.suffix.lower() == ".zip" and path.is_file() and not path.is_symlink()
        if zipped and not handed_in(path.name):
            return _archive(path, name, when)
        return _file((path.name,), path)
    except OSError as error:
        return Source(name, problem=f"cannot be read ({error.strerror})")


def _file(parts: tuple[str, ...], path: Path) -> Member:
    """A file on the disk, if it is a regular one."""
    found, origin = path.lstat(), line("/".join(parts), LONGEST_NAME)
    if stat.S_ISLNK(found.st_mode):
        return Member(parts, origin, problem=LINK)
    if not stat.S_ISREG(found.st_mode):
        return Member(parts, origin, problem="is no regular file")
    return Member(parts, origin, found.st_mtime, partial(_read_file, path))


def _read_file(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(LARGEST + 1)


# -- folders -----------------------------------------------------------------------------


def _folder(path: Path, name: str) -> Source:
    """A folder's files, those of its folders included.

    What is wrong with a folder in it may be one student's, and stops no other.
    """
    members, waiting = [], [(path.name,)]
    while waiting:
        place = waiting.pop()
        try:
            files, folders = _listed(path.parent, place)
        except OSError as error:
            files, folders = [_closed(place, f"cannot be read ({error.strerror})")], []
        members += files
        waiting += folders
        if len(members) + len(waiting) > MOST:
            return Source(name, problem=f"holds more than {MOST:,} files")
    return Source(name, members, "" if members else "is an empty folder")


def _listed(root: Path, place: tuple[str, ...]) -> tuple[list[Member], list[tuple[str, ...]]]:
    """The files in one folder, and the folders."""
    if len(place) > DEEPEST:
        return [_closed(place, f"has more than {DEEPEST} folders in folders")], []
    files, folders = [], []
    for path in sorted(root.joinpath(*place).iterdir()):
        if is_junk(path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            folders.append((*place, path.name))
        else:
            files.append(_file((*place, path.name), path))
    return files, folders


def _closed(place: tuple[str, ...], problem: str) -> Member:
    """A folder that is not looked into."""
    return Member(place, line("/".join(place), LONGEST_NAME), problem=problem)


# -- archives ----------------------------------------------------------------------------


def _archive(path: Path, name: str, when: float) -> Source:
    try:
        archive = zipfile.ZipFile(path)
        infos = [info for info in archive.infolist() if not _is_junk_member(info)]
    except PermissionError:
        raise
    except Exception:  # whatever a damaged table of contents does to its reader
        return Source(name, problem="is damaged, or no zip archive: download it again")
    if len(infos) > MOST:
        return Source(name, problem=f"holds more than {MOST:,} files")
    if any(info.flag_bits & 1 for info in infos):
        return Source(name, problem="is encrypted: unpack it, and put its folder in the inbox")
    members = [_member(archive, info, name, when) for info in infos]
    return Source(name, members, "" if members else "is an empty archive")


def _is_junk_member(info: zipfile.ZipInfo) -> bool:
    return info.is_dir() or any(map(is_junk, info.filename.split("/")))


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, newest: float) -> Member:
    path = info.filename.replace("\\", "/").split("/")
    parts = tuple(part for part in path if part != ".")
    origin = f"{name}: {line(info.filename, LONGEST_NAME)}"
    if not parts or ".." in parts or "" in parts or parts[0].endswith(":"):
        return Member(parts, origin, problem="has a path that leads out of its archive")
    if stat.S_ISLNK(info.external_attr >> 16):
        return Member(parts, origin, problem=LINK)
    # a server's clock may be of another time zone, but nothing is younger than its archive
    return Member(parts, origin, min(_seconds(info), newest), partial(_read, archive, info))


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as file:
        return file.read(LARGEST + 1)


def _seconds(info: zipfile.ZipInfo) -> float:
    try:
        return datetime(*info.date_time).timestamp()
    except (ValueError, OverflowError):
        return 0.0
