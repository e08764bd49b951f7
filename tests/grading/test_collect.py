"""Who handed in what: LMS archives, loose files, strangers, second thoughts."""

import os
import unicodedata
from dataclasses import replace

import pytest
from grading.collect import collect
from grading.members import DEEPEST, LARGEST
from grading.roster import Student
from inboxes import ANNA, CANVAS, CLASS, MOODLE, NOBODY, STUDENTS, archive, unused


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
    assert unused(collected) == {
        "a.zip: ../../anna_evil/x.ipynb": "has a path that leads out of its archive",
        "a.zip: nobody_1_2_x.ipynb": f"{NOBODY}: name it <id>.ipynb",
        "mallory.ipynb": f"{NOBODY}: name it <id>.ipynb",
    }


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


# -- whose it is -------------------------------------------------------------------------

OTHERS = {
    "canvas": ["zo_LATE_502_9003_z-1.ipynb", "zo_502_text.html"],
    "moodle": ["Zoë Łukasz Żuk_9_assignsubmission_file/y/z.ipynb"],
    "": [],
}


def owner(inbox, name, others="", students=CLASS) -> str:
    """Who gets the file of this name in an archive, with others of a platform."""
    archive(inbox / "a.zip", {name: b"this"} | dict.fromkeys(OTHERS[others], b"other"))
    handed = collect(inbox, students).handed.values()
    return "".join(file.student for file in handed if file.content == b"this")


@pytest.mark.parametrize("others", ["", "canvas"])
@pytest.mark.parametrize(
    ("name", "student"),
    [
        (CANVAS, "anna"),
        ("anything_501_9001_x.ipynb", "anna"),
        ("ekanna_501_9001_2026_11_29_x.ipynb", "anna"),
        ("ekanna_501_9005_ekanna_501_9001_x.ipynb", "anna"),
        # file names, which students choose
        ("mallorymo_666_9002_501_9001_x.ipynb", ""),
        ("mallorymo_666_9002_ekanna_501_9001_x.ipynb", ""),
        ("stranger_999_9002_ekanna_501_9001_x.ipynb", ""),
        ("mallorymo_666_9002_Anna Ek_7_assignsubmission_file_x.ipynb", "mallory"),
        ("mallorymo_666_9002_anna.ipynb", "mallory"),
        # their own names, from which Canvas takes away only a part of what is misleading
        ("ekanna_501_666_9002_x.ipynb", ""),
        ("ekanna_501_77_666_9002_x.ipynb", ""),
        ("501_666_9002_x.ipynb", "mallory"),
        ("_666_9002_x.ipynb", "mallory"),
        # Moodle's numbers are of another kind
        ("anon_a1b2c_9001_x.ipynb", ""),
        ("anon_99999_9001_x.ipynb", ""),
    ],
)
def test_a_canvas_name_counts_for_its_number_or_for_nobody(inbox, name, student, others):
    assert owner(inbox, name, others) == student


@pytest.mark.parametrize("others", ["", "moodle"])
@pytest.mark.parametrize(
    ("name", "student"),
    [
        (MOODLE, "anna"),
        ("Anna Ek_7_assignsubmission_file/x.ipynb", "anna"),
        ("Anna Ek_7_assignsubmission_file_x.IPYNB", "anna"),
        ("Ek Anna_501_assignsubmission_file/deep/er/x.ipynb", "anna"),
        ("Stranger_501_assignsubmission_file_/x.ipynb", ""),
        ("Stranger_501_assignsubmission_file_/anna.ipynb", ""),
        ("Stranger_8_assignsubmission_file_/Anna Ek_7_assignsubmission_file_/x.ipynb", ""),
        ("_8_assignsubmission_file_/Anna Ek_7_assignsubmission_file_/x.ipynb", ""),
        ("Participant_501_assignsubmission_file_/x.ipynb", ""),
    ],
)
def test_a_moodle_name_counts_for_the_name_and_never_by_its_number(inbox, name, student, others):
    assert owner(inbox, name, others) == student


def test_a_name_that_fits_both_is_decided_by_the_whole_archive_or_by_nobody(inbox):
    both = "Mallory Mo_9_assignsubmission_file_ekanna_501_9001_x.ipynb"
    assert owner(inbox, both) == ""
    assert list(unused(collect(inbox, CLASS)).values()) == [
        "has a name like those of Canvas and like those of Moodle: name it <id>.ipynb"
    ]
    (inbox / "a.zip").unlink()
    assert owner(inbox, both, "moodle") == "mallory"


@pytest.mark.parametrize("wrapper", ["", "./", "submissions/", "a_1_2/deeper/", "mo_7_x/"])
@pytest.mark.parametrize("name", [CANVAS, MOODLE, "anna.ipynb", "ANNA/x.ipynb"])
@pytest.mark.parametrize("packed", [True, False])
def test_folders_on_top_do_not_matter(inbox, wrapper, name, packed):
    if packed:
        archive(inbox / "week 1 (2).ZIP", {f"{wrapper}{name}": b"", "__MACOSX/._x": b""})
    else:
        (inbox / wrapper / name).parent.mkdir(parents=True, exist_ok=True)
        (inbox / wrapper / name).write_bytes(b"")
        (inbox / wrapper / ".DS_Store").write_bytes(b"")
    collected = collect(inbox, CLASS)
    assert set(collected.handed) == {"anna"}
    assert not collected.unused


def test_an_archive_of_both_platforms_and_neither(inbox):
    mixed = {CANVAS: b"1", "Mallory Mo_9_assignsubmission_file/y.ipynb": b"2", "zoë.ł.ipynb": b"3"}
    archive(inbox / "a.zip", mixed)
    handed = collect(inbox, CLASS).handed
    assert {s: file.content for s, file in handed.items()} == {
        "anna": b"1",
        "mallory": b"2",
        "zoë.ł": b"3",
    }


def test_of_two_people_with_one_name_only_a_number_tells(inbox):
    twins = {s.id: s for s in (ANNA, Student("anna2", "Anna", "Ek", "", "503"))}
    names = ["Anna Ek_7_assignsubmission_file_/x.ipynb", "Anna Ek_8_assignsubmission_file_/x.ipynb"]
    archive(inbox / "moodle.zip", dict.fromkeys(names, b"{}"))
    assert not collect(inbox, twins).handed
    archive(inbox / "canvas.zip", {"ekanna_503_9001_x.ipynb": b"", CANVAS: b"{}"})
    assert set(collect(inbox, twins).handed) == {"anna", "anna2"}


@pytest.mark.parametrize(
    "names",
    [
        ["Anna Ek_7_assignsubmission_file_/x.ipynb", "Anna Ek_9_assignsubmission_file_/x.ipynb"],
        ["ekanna_7_9001_x.ipynb", "ek-anna_9_9002_x.ipynb"],
    ],
)
def test_a_name_taken_by_another_counts_for_neither(inbox, names):
    unnumbered = {s.id: replace(s, lms_user_id="") for s in CLASS.values()}
    archive(inbox / "a.zip", {names[0]: b"1"})
    assert collect(inbox, unnumbered).handed["anna"].content == b"1"
    archive(inbox / "b.zip", {names[1]: b"2"})
    collected = collect(inbox, unnumbered)
    assert not collected.handed
    assert set(unused(collected).values()) == {"might be of more than one student"}


def test_who_has_a_number_is_not_found_by_name(inbox):
    assert owner(inbox, "ekanna_999_9001_x.ipynb") == ""


def test_a_student_without_a_name_is_not_found_by_an_empty_one(inbox):
    alone = {"anna": Student("anna")}
    archive(inbox / "a.zip", {"_7_assignsubmission_file_/x.ipynb": b"", "—_8_9_x.ipynb": b""})
    assert not collect(inbox, alone).handed


# -- which one counts --------------------------------------------------------------------


def test_two_of_one_platform_archive_are_for_a_person_whatever_their_times(inbox):
    archive(inbox / "a.zip", {CANVAS: b"this"}, (2026, 3, 1, 12, 0, 0))
    archive(inbox / "a.zip", {"ekanna_501_9002_y.ipynb": b"that"}, (2026, 3, 1, 12, 0, 2))
    assert collect(inbox, CLASS).torn == {"anna"}
    (inbox / "anna.ipynb").write_bytes(b"that")  # as the instructor decides
    collected = collect(inbox, CLASS)
    assert not collected.torn
    assert collected.handed["anna"].origin == "anna.ipynb"


@pytest.mark.parametrize("name", ["anna.ipynb", "anna/x.ipynb"])
@pytest.mark.parametrize("age", [0, 1000])
def test_of_two_the_one_put_there_by_hand_is_the_decision_whatever_its_time(inbox, name, age):
    """Most programs that unpack a file keep its time, which is that of the archive or older."""
    names = ["ekanna_501_9001_a.ipynb", "ekanna_501_9002_b.ipynb"]
    archive(inbox / "a.zip", {names[0]: b"right", names[1]: b"wrong"})
    assert collect(inbox, STUDENTS).torn == {"anna"}
    packed = collect(inbox, STUDENTS).handed["anna"].when
    (inbox / name).parent.mkdir(exist_ok=True)
    (inbox / name).write_bytes(b"right")
    os.utime(inbox / name, (packed - age, packed - age))
    collected = collect(inbox, STUDENTS)
    assert (collected.handed["anna"].content, collected.torn) == (b"right", set())
    archive(inbox / "b.zip", {names[0]: b"newer"}, when=(2026, 4, 1, 12, 0, 0))
    assert collect(inbox, STUDENTS).handed["anna"].content == b"newer"


def test_two_of_one_name_are_two(inbox):
    archive(inbox / "a.zip", {CANVAS: b"this"})
    with pytest.warns(UserWarning, match="Duplicate name"):
        archive(inbox / "a.zip", {CANVAS: b"that"})
    assert collect(inbox, CLASS).torn == {"anna"}
    for number, name in enumerate(["anna.ipynb", "ANNA.ipynb"]):
        (inbox / name).write_bytes(name.encode())
        os.utime(inbox / name, (2_000_000_000 + number,) * 2)
    collected = collect(inbox, CLASS)
    assert collected.handed["anna"].origin == "ANNA.ipynb"
    assert len(collected.notes["anna"]) == 3


def test_an_older_third_file_does_not_settle_what_two_newest_are(inbox):
    for name, content, when in [("1", b"this", 9), ("2", b"that", 9), ("3", b"old", 1)]:
        path = inbox / "anna" / f"{name}.ipynb"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (when, when))
    assert collect(inbox, CLASS).torn == {"anna"}


def test_a_server_whose_clock_is_ahead_does_not_win_for_ever(inbox):
    archive(inbox / "a.zip", {CANVAS: b"first"}, (2100, 1, 1, 0, 0, 0))
    (inbox / "anna.ipynb").write_bytes(b"repaired")
    os.utime(inbox / "a.zip", (1_000_000_000, 1_000_000_000))
    assert collect(inbox, CLASS).handed["anna"].content == b"repaired"


# -- what is not used is listed ----------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("anna.pdf", "is no notebook (.ipynb)"),
        ("anna/work.pdf", "is no notebook (.ipynb)"),
        ("anna.ipynb.txt", "does not end in .ipynb; if it is a notebook, rename it"),
        ("submissions.rar", "is an archive: unpack it into a folder <id>"),
        ("anna/work.zip", "is an archive: unpack it into a folder <id>"),
        ("unknown/anna.ipynb", None),
        ("unknown.ipynb", f"{NOBODY}: name it <id>.ipynb"),
        ("unknown/x.pdf", NOBODY),
    ],
)
def test_every_loose_file_that_is_not_used_is_listed(inbox, name, reason):
    (inbox / name).parent.mkdir(exist_ok=True)
    (inbox / name).write_bytes(b"")
    assert unused(collect(inbox, CLASS)) == ({name: reason} if reason else {})


def test_who_handed_in_a_pdf_as_well_is_known(inbox):
    archive(inbox / "a.zip", {CANVAS: b"", "ekanna_501_9002_plot.pdf": b""})
    (extra,) = collect(inbox, CLASS).unused
    assert (extra.origin, extra.student) == ("a.zip: ekanna_501_9002_plot.pdf", "anna")


def test_what_is_no_file_is_listed(inbox, tmp_path):
    (inbox / "anna").mkdir()
    os.mkfifo(inbox / "mallory.ipynb")
    os.symlink(tmp_path, inbox / "loop")
    os.symlink(inbox / "missing", inbox / "b.zip")
    (inbox / "zoë.ł").mkdir()
    os.symlink("/etc/passwd", inbox / "zoë.ł" / "x.ipynb")
    link = "is a link, which is not followed"
    assert unused(collect(inbox, CLASS)) == {
        "anna": "is an empty folder",
        "mallory.ipynb": "is no regular file",
        "loop": link,
        "b.zip": link,
        "zoë.ł/x.ipynb": link,
    }


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", ["anna.ipynb", "a.zip"])
def test_what_may_not_be_read_is_named(inbox, name):
    (inbox / name).touch(mode=0)
    assert unused(collect(inbox, CLASS)) == {name: "cannot be read (Permission denied)"}


def test_folders_without_end_are_named_and_end(inbox):
    deep = inbox / "anna"
    for _ in range(DEEPEST + 1):
        deep = deep / "d"
    deep.mkdir(parents=True)
    (inbox / "mallory").mkdir()
    (inbox / "mallory" / "x.ipynb").write_bytes(b"")
    collected = collect(inbox, CLASS)
    assert set(collected.handed) == {"mallory"}
    deepest = "/".join(["anna", *"d" * DEEPEST])
    assert unused(collected) == {deepest: "has more than 10 folders in folders"}


def test_one_students_deep_folders_hide_no_other_in_an_unpacked_archive(inbox):
    unpacked = inbox / "2_demo"
    (unpacked / "Zoë Łukasz Żuk_7_assignsubmission_file").joinpath(*"d" * DEEPEST).mkdir(
        parents=True
    )
    anna = unpacked / "Anna Ek_8_assignsubmission_file" / "x.ipynb"
    anna.parent.mkdir()
    anna.write_bytes(b"")
    collected = collect(inbox, STUDENTS)
    assert set(collected.handed) == {"anna"}
    assert list(unused(collected).values()) == ["has more than 10 folders in folders"]


def test_names_cannot_move_the_cursor_or_turn_the_line(inbox):
    (inbox / "\x1b[2Jx\n\u202ey.ipynb").write_bytes(b"")
    (inbox / os.fsdecode(b"\xff.ipynb")).write_bytes(b"")
    archive(inbox / "a.zip", {"x" * 300 + ".ipynb": b""})
    origins = list(unused(collect(inbox, CLASS)))
    assert all(origin.isprintable() and len(origin) < 220 for origin in origins)
    assert len(origins) == 3
