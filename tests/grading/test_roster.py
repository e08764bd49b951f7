"""Who is in the class: our own table, Canvas' and Moodle's exports, in any usual encoding."""

import re
import subprocess

import pytest
from grading.classroom import ClassroomError
from grading.collect import collect
from grading.roster import Student, by_name, read_roster

HEAD = "id,first_name,last_name,email,lms_user_id\n"
OWN = HEAD + 'anna,Anna,Ek,anna@x,501\nsøren,Søren,"Ødegård, jr.",s@x,502\n'
OWN_STUDENTS = [
    Student("anna", "Anna", "Ek", "anna@x", "501"),
    Student("søren", "Søren", "Ødegård, jr.", "s@x", "502"),
]
CANVAS = """\
Student,ID,SIS User ID,SIS Login ID,Section,Lab 1 (77),Notes,Lab 1 Current Score
,,,,,Manual Posting,,
    Points Possible,,,,,20.00,,(read only)
"Ek, Anna",501,00123,anna.ek,"A and B",12.50,,62.5
"Ødegård, Søren",502,,s+1@x.example,A,,,
"Points Possible, I.",503,,i@x.example,A,EX,,
Prince,504,,a prince,A,N/A,,
"Student, Test",599,,4f2a9c,A,,,
"""
CANVAS_STUDENTS = [
    Student("anna.ek", "Anna", "Ek", "", "501"),
    Student("s+1@x.example", "Søren", "Ødegård", "s+1@x.example", "502"),
    Student("i@x.example", "I.", "Points Possible", "i@x.example", "503"),
    Student("504", "", "Prince", "", "504"),
]
MOODLE = """\
First name,Last name,ID number,Institution,Department,Email address,Assignment: Lab 1 (Real)
Anna,Ek,00123,,,anna.ek@x.example,"12,50"
Søren,Ødegård,,,,s+1@x.example,-
"""


def read(tmp_path, text: str, encoding: str = "utf-8") -> list[Student]:
    path = tmp_path / "roster.csv"
    path.write_bytes(text.encode(encoding))
    return list(read_roster(path).values())


def test_roster_with_names_in_any_script(tmp_path):
    students = read(tmp_path, "\ufeff" + HEAD + "søren,Søren,Ødegård,s@x,1\n李,雷,李,l@x,2\n")
    assert [s.name for s in students] == ["Søren Ødegård", "雷 李"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_roster_is_taken_as_a_spreadsheet_saves_it(tmp_path, encoding, ending, separator):
    rows = [HEAD.strip().split(","), ["anna", "Anna", "Ek", "anna@x", "501"], [""] * 5]
    rows += [["søren", "Søren", '"Ødegård, jr."', "s@x", "502", ""]]
    text = ending.join(separator.join(row) for row in rows) + ending
    assert read(tmp_path, text, encoding) == OWN_STUDENTS
    assert read(tmp_path, "sep=;\n" + OWN.replace(",", ";").replace("d; j", "d, j")) == OWN_STUDENTS


@pytest.mark.parametrize(
    "head",
    ["ID, First name ,Last Name,EMAIL,LMS user id", "Id,firstname,LastName,E-Mail,LMS-User-ID"],
)
def test_headers_as_people_write_them(tmp_path, head):
    assert read(tmp_path, OWN.replace(HEAD, f"{head}\n")) == OWN_STUDENTS


def test_the_export_of_canvas_gradebook(tmp_path):
    assert read(tmp_path, CANVAS) == CANVAS_STUDENTS
    german = re.sub(r"(\d)\.(\d)", r"\1,\2", CANVAS.replace(",", ";").replace("; ", ", "))
    assert read(tmp_path, german, "utf-8-sig") == CANVAS_STUDENTS


def test_the_export_of_canvas_with_names_in_two_columns(tmp_path):
    text = "LastName,FirstName,ID,SIS Login ID,Section,Lab 1 (77)\n    Points Possible,,,,,20\n"
    text += "Ek,Anna,501,anna.ek,A,\nStudent,Test,599,4f2a9c,A,\n"
    assert read(tmp_path, text) == CANVAS_STUDENTS[:1]


def test_the_export_of_moodles_grades(tmp_path):
    anna = Student("anna.ek@x.example", "Anna", "Ek", "anna.ek@x.example")
    soren = Student("s+1@x.example", "Søren", "Ødegård", "s+1@x.example")
    assert read(tmp_path, MOODLE) == [anna, soren]
    assert read(tmp_path, MOODLE.replace("Last name", "Surname")) == [anna, soren]
    named = MOODLE.replace("Institution", "Username").replace("123,,", "123,anna,")
    assert read(tmp_path, named) == [Student("anna", *person(anna)), soren]
    hidden = MOODLE.replace("s+1@x.example", "").replace("Ødegård,,", "Ødegård,456,")
    assert read(tmp_path, hidden) == [anna, Student("456", "Søren", "Ødegård")]
    with pytest.raises(ClassroomError, match="line 3: id '' must be letters"):
        read(tmp_path, MOODLE.replace("s+1@x.example", ""))


def person(student: Student) -> tuple[str, ...]:
    return student.first_name, student.last_name, student.email


def test_a_roster_of_canvas_finds_what_canvas_packs(tmp_path):
    read(tmp_path, CANVAS)
    students = read_roster(tmp_path / "roster.csv")
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "ekanna_501_9001_x.ipynb").write_bytes(b"")
    (inbox / "studenttest_599_9002_x.ipynb").write_bytes(b"")
    collected = collect(inbox, students)
    assert set(collected.handed) == {"anna.ek"}
    assert [file.origin for file in collected.unused] == ["studenttest_599_9002_x.ipynb"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no column 'id'"),
        (HEAD, "lists no student"),
        (HEAD + ",,,,\n\n", "lists no student"),
        (CANVAS[: CANVAS.index('"Ek')], "lists no student"),
        ("name,email\nanna,a@x\n", "no column 'id'.*It has: name, email"),
        ("Vorname;Nachname;E-Mail-Adresse\n", "made with Moodle in English"),
        (HEAD + "anna,,,,\nanna,,,,\n", "line 3: 'anna' is there twice"),
        (HEAD + "anna,,,,\nANNA,,,,\n", "line 3: 'ANNA' is there twice"),
        (HEAD + "anna,,,,5\nben,,,,5\n", "line 3: 'ben' has the lms_user_id of 'anna'"),
        (HEAD + "anna,,,,5\nben,,,,05\n", "line 3: lms_user_id '05' must be Canvas's number"),
        (HEAD + "anna,,,,2.1E+16\n", "line 2: lms_user_id '2.1E.16' must be Canvas's number"),
        (CANVAS.replace("501", "5,01E+17", 1), "line 4: 9 values for 8 columns"),
        (CANVAS.replace("501", "5.01E+17", 1), "line 4: ID '5.01E.17' is no number of Canvas"),
        (HEAD + "../anna,,,,\n", "line 2: id '../anna' must be letters"),
        (HEAD + "*,,,,\n", "line 2: id"),
        (HEAD + f"{'a' * 101},,,,\n", "line 2: id"),
        (HEAD + ",Anna,Ek,,\n", "line 2: id ''"),
        (HEAD + 'anna,"Ek\n', "line 2: no separated values"),
        ("PK\3\4", "is a spreadsheet's own file: export it as CSV"),
        ("id\0,first_name\0\n", "holds zero bytes: save it as 'CSV UTF-8'"),
    ],
)
def test_a_roster_that_cannot_be_used_says_why(tmp_path, text, message):
    with pytest.raises(ClassroomError, match=message.replace("*,", r"\*,")):
        read(tmp_path, text)


def test_latin_1_is_named_with_a_conversion_that_works(tmp_path):
    with pytest.raises(ClassroomError, match="line 3: not UTF-8, perhaps Latin-1") as found:
        read(tmp_path, OWN, "latin-1")
    command = re.search("iconv .*", str(found.value))[0]
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    assert list(read_roster(tmp_path / "roster.csv").values()) == OWN_STUDENTS


def test_names_lose_what_moves_a_cursor_or_turns_a_line(tmp_path):
    (student,) = read(tmp_path, HEAD + 'anna,"\x1b[2JAn\u202ena",Ek,,\n')
    assert student.name == "Anna Ek"


def test_no_roster(tmp_path):
    with pytest.raises(ClassroomError, match="is missing: a CSV file with columns id"):
        read_roster(tmp_path / "roster.csv")


def test_latin_1_is_converted_also_where_a_path_has_an_apostrophe(tmp_path):
    folder = tmp_path / "it's ours"
    folder.mkdir()
    (folder / "roster.csv").write_bytes("id,first_name\nzoe,Zoë\n".encode("latin-1"))
    with pytest.raises(ClassroomError, match="Latin-1") as found:
        read_roster(folder / "roster.csv")
    subprocess.run(re.search("iconv .*", str(found.value))[0], shell=True, check=True, cwd=folder)
    assert read_roster(folder / "roster.csv")["zoe"].first_name == "Zoë"


def test_the_ends_of_lines_of_an_old_macintosh(tmp_path):
    path = tmp_path / "roster.csv"
    path.write_bytes(b'id;first_name\ranna;"A, B, C, D"\r')
    assert read_roster(path)["anna"].first_name == "A, B, C, D"


def test_an_id_that_no_file_can_have_is_refused(tmp_path):
    path = tmp_path / "roster.csv"
    path.write_text("id\n" + "李" * 66 + "\n", encoding="utf-8")
    assert read_roster(path)
    path.write_text("id\n" + "李" * 67 + "\n", encoding="utf-8")
    with pytest.raises(ClassroomError, match="at most 200 bytes"):
        read_roster(path)


@pytest.mark.parametrize(
    ("name", "same"),
    [("Zoe", True), ("ZOË", True), ("राम", True), ("रमा", False), ("रम", False)],
)
def test_accents_do_not_tell_names_apart_but_vowels_do(name, same):
    known = Student("a", "राम" if ord(name[0]) > 255 else "Zoë")
    assert (by_name([known], name) == known) is same
