"""A class of three, and what lies in the inbox of one of its assignments."""

import zipfile

from grading.roster import Student

ANNA = Student("anna", "Anna", "Ek", "anna@school.example", "501")
ZOE = Student("zoë.ł", "Zoë", "Łukasz Żuk", "zoe@school.example", "502")
STUDENTS = {s.id: s for s in (ANNA, ZOE)}
MALLORY = Student("mallory", "Mallory", "Mo", "m@school.example", "666")
CLASS = STUDENTS | {"mallory": MALLORY}
CANVAS, MOODLE = "ekanna_501_9001_x.ipynb", "Anna Ek_7_assignsubmission_file_/x.ipynb"
NOBODY = "belongs to nobody in the roster"


def archive(path, members, when=(2026, 3, 1, 12, 0, 0)):
    with zipfile.ZipFile(path, "a") as file:
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name, when), content)


def unused(collected) -> dict[str, str]:
    return {file.origin: file.reason for file in collected.unused}
