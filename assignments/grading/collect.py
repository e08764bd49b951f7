"""Find what each student handed in, in LMS archives, in folders and in loose files.

Nothing in the inbox is changed. Where a student handed in several times, the newest
counts. Two that are equally old and differ are for a person to decide, and so are two in
one archive of a platform, which stamps its files when it packs them: one of them that
also lies there under the student's id is the decision, however old it says it is.
Whatever was not used is listed with its reason.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from .files import digest
from .members import UNREADABLE, Member, Source, sources
from .owners import SEVERAL, Owner, is_one_students, owners
from .roster import Student

NOTEBOOKS = 20  # of one student in one archive or folder
TOO_MANY = f"is one of more than {NOTEBOOKS} notebooks of one student"
UNREAD = "cannot be read: its archive is damaged, or packed in an unusual way; unpack it by hand"


@dataclass(frozen=True)
class Handed:
    """One file that a student handed in; `content` is read anew each time."""

    student: str
    read: Callable[[], bytes]
    digest: str
    when: float
    origin: str
    by_hand: bool = False  # it has the student's id, which only a person gives

    @property
    def content(self) -> bytes:
        """What the file holds, up to one byte more than a notebook may have."""
        return self.read()


@dataclass(frozen=True)
class Unused:
    """A file that was not used, why not, and whose it is, if that is known."""

    origin: str
    reason: str
    student: str = ""


@dataclass
class Collected:
    """What the inbox of one assignment holds.

    `places` maps a platform to the name of each student's file or folder there.
    """

    handed: dict[str, Handed] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)  # student -> what to know
    torn: set[str] = field(default_factory=set)  # students with two newest files
    unused: list[Unused] = field(default_factory=list)
    places: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))


@dataclass(frozen=True)
class _Found:
    """A file, whose it is, and when it was handed in."""

    member: Member
    owner: Owner
    when: float

    @property
    def student(self) -> str:
        """The owner's id."""
        return self.owner.student.id


def collect(inbox: Path, students: dict[str, Student]) -> Collected:
    """Read one assignment's inbox: ``*.zip``, ``<id>.ipynb``, ``<id>/*.ipynb``."""
    collected, found = Collected(), []
    for source in sources(inbox, partial(is_one_students, students=students)):
        found += _attributed(source, students, collected.unused)
    found = sorted(_of_one_number(found, collected.unused), key=lambda file: file.when)
    for file in found:
        if file.owner.platform:
            collected.places[file.owner.platform][file.student] = file.owner.place
    handed = defaultdict(list)
    for file in found:
        if new := _handed(file, collected.unused):
            handed[new.student].append(new)
    for student, files in handed.items():
        _settle(student, files, collected)
    return collected


def _attributed(
    source: Source, students: dict[str, Student], unused: list[Unused]
) -> Iterator[_Found]:
    """The files of a source with an owner; the others are listed."""
    if source.problem:
        unused.append(Unused(source.name, source.problem))
    unused += [Unused(m.origin, m.problem) for m in source.members if m.problem]
    usable = [member for member in source.members if not member.problem]
    owned = list(zip(usable, owners([m.parts for m in usable], students), strict=True))
    packed = max((member.when for member, owner in owned if owner.platform), default=0.0)
    notebooks = Counter()
    for member, owner in owned:
        if owner.student is None:
            unused.append(Unused(member.origin, _reason(member, owner.problem)))
            continue
        notebooks[owner.student.id] += member.suffix == ".ipynb"
        if notebooks[owner.student.id] > NOTEBOOKS:
            unused.append(Unused(member.origin, TOO_MANY))
            continue
        yield _Found(member, owner, packed if owner.platform else member.when)


def _of_one_number(found: list[_Found], unused: list[Unused]) -> Iterator[_Found]:
    """The files but those of a name that came with more than one number."""
    numbers = defaultdict(set)
    for file in found:
        if file.owner.claimed:
            numbers[file.owner.platform, file.student].add(file.owner.claimed)
    for file in found:
        if file.owner.claimed and len(numbers[file.owner.platform, file.student]) > 1:
            unused.append(Unused(file.member.origin, SEVERAL))
        else:
            yield file


def _handed(file: _Found, unused: list[Unused]) -> Handed | None:
    """The notebook that a student handed in; nothing, and a line, if it is none."""
    member = file.member
    if member.suffix != ".ipynb":
        unused.append(Unused(member.origin, _reason(member), file.student))
        return None
    try:
        content = member.read()
    except PermissionError as error:
        unused.append(Unused(member.origin, f"cannot be read ({error.strerror})"))
        return None
    except Exception:  # whatever a damaged archive does to its reader
        unused.append(Unused(member.origin, UNREAD))
        return None
    by_hand = not file.owner.platform
    return Handed(file.student, member.read, digest(content), file.when, member.origin, by_hand)


def _reason(member: Member, problem: str = "is no notebook (.ipynb)") -> str:
    """Why a file was not used, and what may help."""
    if member.suffix in (".zip", *UNREADABLE):
        whole = len(member.parts) == 1 and member.suffix == ".zip"
        or_else = ", or, if it is the whole class's, name it submissions.zip" if whole else ""
        return "is an archive: unpack it into a folder <id>" + or_else
    if member.suffix == ".ipynb":
        return f"{problem}: name it <id>.ipynb"
    if ".ipynb." in member.parts[-1].lower():
        return "does not end in .ipynb; if it is a notebook, rename it"
    return problem


def _settle(student: str, files: list[Handed], collected: Collected) -> None:
    """Let the newest file count, and note the others."""
    files = sorted(files, key=lambda file: (file.when, file.origin))
    last, certain = _newest(files)
    others = [file for file in files if file.digest != last.digest]
    collected.handed[student] = last
    if not certain:
        collected.torn.add(student)
    if others:
        collected.notes[student] = [
            f"handed in more than once: {last.origin} counts, {other.origin} does not"
            for other in others
        ]


def _newest(files: list[Handed]) -> tuple[Handed, bool]:
    """The newest file, and whether no other one may be meant."""
    tied = {file.digest for file in files if file.when == files[-1].when}
    chosen = [file for file in files if file.by_hand and file.digest in tied]
    if len(tied) > 1 and len({file.digest for file in chosen}) == 1:
        return chosen[-1], True
    return files[-1], len(tied) == 1
