"""Archives that are not what they should be: damaged, packed by a student, or meant to do harm."""

import zipfile

import pytest
from grading.collect import NOTEBOOKS, collect
from grading.members import LARGEST, MOST
from grading.roster import Student
from inboxes import CANVAS, CLASS, STUDENTS, archive, unused


def damage(path, found: bytes, change: bytes) -> None:
    content = path.read_bytes()
    assert content.count(found) >= 1
    path.write_bytes(content.replace(found, change))


def cut(path):
    path.write_bytes(path.read_bytes()[:-30])


def encrypt(path):
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "origin", "reason"),
    [
        (lambda path: path.write_bytes(b"PK not really"), "", "is damaged, or no zip archive"),
        (lambda path: path.write_bytes(b""), "", "is damaged, or no zip archive"),
        (cut, "", "is damaged, or no zip archive"),
        (encrypt, "", "is encrypted: unpack it"),
        (lambda path: damage(path, b"content", b"CONTENT"), f": {CANVAS}", "cannot be read"),
        (lambda path: damage(path, b"PK\3\4", b"PK\3\5"), f": {CANVAS}", "cannot be read"),
    ],
)
def test_an_archive_that_cannot_be_read_is_named_and_the_others_count(
    inbox, change, origin, reason
):
    archive(inbox / "bad.zip", {CANVAS: b"content"})
    change(inbox / "bad.zip")
    archive(inbox / "good.zip", {"mallorymo_666_9002_y.ipynb": b""})
    collected = collect(inbox, CLASS)
    assert set(collected.handed) == {"mallory"}
    ((found, why),) = unused(collected).items()
    assert found == f"bad.zip{origin}"
    assert why.startswith(reason)


def test_a_compression_that_python_lacks_is_named(inbox):
    archive(inbox / "a.zip", {CANVAS: b"content"})
    content = bytearray((inbox / "a.zip").read_bytes())
    content[8] = content[content.index(b"PK\1\2") + 10] = 9  # Deflate64
    (inbox / "a.zip").write_bytes(content)
    assert "packed in an unusual way" in next(iter(unused(collect(inbox, CLASS)).values()))


@pytest.mark.parametrize(
    "name", ["../x.ipynb", "/etc/x.ipynb", "a/../../x.ipynb", "C:\\x.ipynb", "..\\x.ipynb"]
)
def test_a_path_out_of_the_archive_is_nobodys(inbox, name):
    archive(inbox / "a.zip", {name: b""})
    collected = collect(inbox, CLASS | {"x": Student("x")})
    assert not collected.handed
    assert list(unused(collected).values()) == ["has a path that leads out of its archive"]


@pytest.mark.parametrize(
    "name",
    [
        "zoelukaszzuk_502_9001_x.zip",
        "mallory_LATE_666_9001_x.zip",
        "Zoë Łukasz Żuk_7_assignsubmission_file_x.zip",
        "zoë.ł.zip",
        "ZOË.Ł.ZIP",
    ],
)
def test_an_archive_that_a_student_packed_gives_nobody_a_file(inbox, name):
    """It lies in the inbox if the platform's archive was unpacked there."""
    for member in (
        "anna.ipynb",
        "ekanna_501_9_x.ipynb",
        "Anna Ek_7_assignsubmission_file_/x.ipynb",
    ):
        archive(inbox / name, {member: b"{}"})
    collected = collect(inbox, STUDENTS)
    assert not collected.handed
    assert "is an archive: unpack it into a folder <id>, or" in unused(collected)[name]
    assert "anna" not in collected.places["canvas"] | collected.places["moodle"]
    (inbox / name).rename(inbox / "submissions.zip")  # as the message says
    assert set(collect(inbox, STUDENTS).handed) == {"anna"}


@pytest.mark.parametrize("separator", ["/", "\\", "\\x\\", "/./"])
@pytest.mark.parametrize("start", ["mallory_666_9001_", "Mal Lory_7_assignsubmission_file_"])
def test_a_file_name_with_folders_in_it_is_no_others(inbox, start, separator):
    archive(inbox / "submissions.zip", {f"{start}{separator}anna.ipynb": b"{}"})
    collected = collect(inbox, STUDENTS)
    assert not collected.handed
    assert len(collected.unused) == 1


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("zoelukaszzuk_502_9001_x", {"zoë.ł"}),
        ("mallory_LATE_666_9001_x", set()),
        ("Zoë Łukasz Żuk_7_assignsubmission_file_x", {"zoë.ł"}),
        ("zoë.ł", {"zoë.ł"}),
    ],
)
@pytest.mark.parametrize("member", ["anna.ipynb", "anna/x.ipynb", "ekanna_501_9_x.ipynb"])
def test_what_a_student_packed_is_no_others_once_it_is_unpacked(inbox, name, owner, member):
    (inbox / name / member).parent.mkdir(parents=True)
    (inbox / name / member).write_bytes(b"{}")
    assert set(collect(inbox, STUDENTS).handed) == owner


def test_a_link_in_an_archive_is_not_followed(inbox):
    info = zipfile.ZipInfo("anna.ipynb")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(inbox / "a.zip", "w") as file:
        file.writestr(info, "/etc/passwd")
    collected = collect(inbox, CLASS)
    assert not collected.handed
    assert unused(collected) == {"a.zip: anna.ipynb": "is a link, which is not followed"}


def test_a_bomb_is_not_unpacked(inbox):
    with zipfile.ZipFile(inbox / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(CANVAS, bytes(LARGEST * 3))
    assert len(collect(inbox, CLASS).handed["anna"].content) == LARGEST + 1


def test_more_files_than_a_class_has_are_not_read(inbox):
    with zipfile.ZipFile(inbox / "a.zip", "w") as file:
        for number in range(MOST + 1):
            file.writestr(zipfile.ZipInfo(f"x_501_{number}_y.ipynb"), b"")
    collected = collect(inbox, CLASS)
    assert not collected.handed
    assert unused(collected) == {"a.zip": "holds more than 20,000 files"}


def test_of_many_notebooks_of_one_student_only_some_are_read(inbox):
    names = [f"ekanna_501_{9000 + n}_x.ipynb" for n in range(NOTEBOOKS + 2)]
    archive(inbox / "a.zip", dict.fromkeys(names, b""))
    assert len(collect(inbox, CLASS).unused) == 2


@pytest.mark.parametrize("place", range(0, 400, 7))
def test_no_damage_to_an_archive_stops_the_class(inbox, place):
    archive(inbox / "a.zip", {"anna/x.ipynb": b"{}" * 100})
    content = bytearray((inbox / "a.zip").read_bytes())
    content[place % len(content)] ^= 0xFF
    (inbox / "a.zip").write_bytes(content)
    collect(inbox, STUDENTS)
