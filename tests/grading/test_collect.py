"""Who handed in what: LMS archives, loose files, strangers, second thoughts."""

import os
import unicodedata
import zipfile

import pytest
from grading.classroom import ClassroomError
from grading.collect import LARGEST, collect
from grading.roster import Student, read_roster

ANNA = Student("anna", "Anna", "Ek", "anna@school.example", "501")
ZOE = Student("zoë.ł", "Zoë", "Łukasz Żuk", "zoe@school.example", "502")
STUDENTS = {s.id: s for s in (ANNA, ZOE)}


@pytest.fixture
def inbox(tmp_path):
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


def archive(path, members, when=(2026, 3, 1, 12, 0, 0)):
    with zipfile.ZipFile(path, "a") as file:
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name, when), content)


def test_canvas_archive_by_user_number_or_name(inbox):
    names = ["ekanna_501_9001_1_demo.ipynb", "zoelukaszzuk_LATE_502_9002_1_demo-1.ipynb"]
    archive(inbox / "submissions.zip", dict.fromkeys(names, b"{}"))
    assert set(collect(inbox, STUDENTS).handed) == {"anna", "zoë.ł"}


def test_moodle_archive_by_name_even_if_its_number_is_anothers(inbox):
    names = ["Zoë Łukasz Żuk_501_assignsubmission_file_/1_demo.ipynb"]
    names += ["Anna Ek_7_assignsubmission_file_1_demo.ipynb"]
    archive(inbox / "moodle.zip", dict.fromkeys(names, b"{}"))
    assert set(collect(inbox, STUDENTS).handed) == {"anna", "zoë.ł"}


def test_loose_files_and_folders_whatever_their_unicode_form(inbox):
    (inbox / unicodedata.normalize("NFD", "ZOË.Ł.ipynb")).write_bytes(b"1")
    (inbox / "anna").mkdir()
    (inbox / "anna" / "fünf löwen.ipynb").write_bytes(b"2")
    handed = collect(inbox, STUDENTS).handed
    assert {student: file.content for student, file in handed.items()} == {
        "anna": b"2",
        "zoë.ł": b"1",
    }


def test_strangers_are_named_and_not_graded(inbox):
    (inbox / "mallory.ipynb").write_bytes(b"{}")
    archive(inbox / "a.zip", {"../../anna_evil/x.ipynb": b"{}", "nobody_1_2_x.ipynb": b"{}"})
    collected = collect(inbox, STUDENTS)
    assert not collected.handed
    assert sorted(collected.unknown) == [
        "a.zip: ../../anna_evil/x.ipynb",
        "a.zip: nobody_1_2_x.ipynb",
        "mallory.ipynb",
    ]


def test_the_newest_of_two_submissions_counts_and_the_other_is_named(inbox):
    archive(inbox / "b.zip", {"ekanna_501_1_x.ipynb": b"old"}, (2026, 3, 1, 0, 0, 0))
    archive(inbox / "a.zip", {"ekanna_501_2_x-1.ipynb": b"new"}, (2026, 3, 2, 0, 0, 0))
    collected = collect(inbox, STUDENTS)
    assert collected.handed["anna"].content == b"new"
    assert "b.zip" in collected.notes["anna"][0]
    assert not collected.torn


def test_two_equally_old_submissions_are_for_a_person(inbox):
    archive(inbox / "a.zip", {"ekanna_501_1_x.ipynb": b"this", "ekanna_501_2_y.ipynb": b"that"})
    assert collect(inbox, STUDENTS).torn == {"anna"}


def test_the_same_file_twice_is_one_submission(inbox):
    archive(inbox / "a.zip", {"ekanna_501_1_x.ipynb": b"this", "ekanna_501_2_y.ipynb": b"this"})
    collected = collect(inbox, STUDENTS)
    assert not collected.torn
    assert not collected.notes


def test_a_broken_archive_is_named(inbox):
    (inbox / "broken.zip").write_bytes(b"PK not really")
    assert "broken.zip: cannot be read" in collect(inbox, STUDENTS).unknown[0]


def test_a_huge_file_is_not_read_to_its_end(inbox):
    with open(inbox / "anna.ipynb", "wb") as file:
        file.truncate(LARGEST * 10)
    assert len(collect(inbox, STUDENTS).handed["anna"].content) == LARGEST + 1


def test_a_link_is_not_followed(inbox, tmp_path):
    (tmp_path / "secret.ipynb").write_text("{}")
    os.symlink(tmp_path / "secret.ipynb", inbox / "anna.ipynb")
    assert not collect(inbox, STUDENTS).handed


def test_an_inbox_that_does_not_exist_is_empty(tmp_path):
    assert not collect(tmp_path / "none", STUDENTS).handed


HEAD = "id,first_name,last_name,email,lms_user_id\n"


def test_roster_with_names_in_any_script(tmp_path):
    path = tmp_path / "roster.csv"
    path.write_text("\ufeff" + HEAD + "søren,Søren,Ødegård,s@x,1\n李,雷,李,l@x,2\n", "utf-8")
    assert [s.name for s in read_roster(path).values()] == ["Søren Ødegård", "雷 李"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD, "lists no student"),
        ("name,email\nanna,a@x\n", "no column 'id'"),
        (HEAD + "anna,,,,\nanna,,,,\n", "line 3: 'anna' is there twice"),
        (HEAD + "../anna,,,,\n", "line 2: id '../anna' must be letters"),
        (HEAD + "*,,,,\n", "line 2: id"),
        (HEAD + ",Anna,Ek,,\n", "line 2: id ''"),
    ],
)
def test_a_roster_that_cannot_be_used_says_why(tmp_path, text, message):
    (tmp_path / "roster.csv").write_text(text)
    with pytest.raises(ClassroomError, match=message.replace("*", r"\*")):
        read_roster(tmp_path / "roster.csv")


def test_no_roster(tmp_path):
    with pytest.raises(ClassroomError, match="is missing: a CSV file with columns id"):
        read_roster(tmp_path / "roster.csv")


def test_what_cannot_be_read_is_that_hand_ins_own_trouble(inbox):
    (inbox / "anna.ipynb").mkdir()
    (inbox / "zoë.ł").mkdir()
    (inbox / "zoë.ł" / "x.ipynb").mkdir()
    collected = collect(inbox, STUDENTS)
    assert "x.ipynb cannot be read: Is a directory" in collected.notes["zoë.ł"]
    assert collected.handed["zoë.ł"].content == b""


@pytest.mark.parametrize("place", range(0, 400, 7))
def test_no_damage_to_an_archive_stops_the_class(inbox, place):
    archive(inbox / "a.zip", {"anna/x.ipynb": b"{}" * 100})
    content = bytearray((inbox / "a.zip").read_bytes())
    content[place % len(content)] ^= 0xFF
    (inbox / "a.zip").write_bytes(content)
    collect(inbox, STUDENTS)
