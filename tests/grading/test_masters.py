"""Masters: the short labels, what is secret, and that each earns all or nothing."""

import re

import pytest
from grading.blank import student_version
from grading.check import check_master, run
from grading.masters import (
    FOLDER,
    MasterError,
    in_points,
    master_names,
    read_master,
    secret_lines,
    to_nbgrader,
)
from grading.sandbox import Limits
from school import MASTERS

DEMO = (MASTERS / "1_demo.md").read_text()


@pytest.fixture
def write(tmp_path):
    """Write a changed demo master, read it."""

    def changed(old: str, new: str):
        assert old in DEMO
        (tmp_path / "1_demo.md").write_text(DEMO.replace(old, new))
        return read_master("1_demo", tmp_path)

    return changed


def test_labels_become_nbgraders():
    cells = to_nbgrader(read_master("1_demo", MASTERS)).cells
    labels = [c.metadata["nbgrader"] for c in cells if "nbgrader" in c.metadata]
    assert [(x["grade_id"], x["grade"], x["locked"], x.get("points")) for x in labels[:3]] == [
        ("leak", False, False, None),
        ("leak_test", True, True, 2),
        ("leak_hidden", True, True, 3),
    ]
    assert labels[-1]["grade_id"] == "why_answer"
    assert labels[-1]["solution"]


def test_secrets_are_solutions_hidden_tests_and_answers():
    secret = secret_lines(read_master("1_demo", MASTERS)).values()
    assert "faded = keep * v" in secret
    assert "assert float(secret_potential) == 1.5" in secret
    assert "one for the repetition." in secret
    assert "def leak(v, x, keep):" not in secret
    assert not any("half of 1 must be left" in line for line in secret)


def test_an_assignment_that_does_not_exist_names_those_that_do():
    with pytest.raises(MasterError, match=r"no assignment '9_none'; there are: 1_demo"):
        read_master("9_none", MASTERS)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{test: leak, points: 2}", "{trial: leak, points: 2}", "must name one role"),
        ("{test: leak, points: 2}", "{test: leak}", "test of 'leak': points belong"),
        ("{solution: leak}", "{solution: leak, points: 1}", "solution of 'leak': points belong"),
        (
            "{test: spikes, points: 1}",
            "{test: leak, points: 1}",
            "more than one cell for leak_test",
        ),
        ("{solution: draw}", "{solution: paint}", "test of 'draw': no solution to test"),
        ("    ### BEGIN SOLUTION\n    faded", "    faded", "put it between ### BEGIN SOLUTION"),
        (":task: {solution: leak}\n", "", "solution outside a cell"),
        ('{"answer": "why"', '{"test": "why"', "must be a code cell, is markdown"),
        (', about: "another share, and input"', "", "hidden of 'leak': say in one line"),
        ('about: "another share, and input"', "about: 3", "hidden of 'leak': say in one line"),
        ("share, and input", "share,\\nand input", "hidden of 'leak': say in one line"),
        ("{test: leak, points: 2}", "{test: leak, points: 2, about: x}", "about belongs to hidden"),
    ],
)
def test_a_master_that_would_go_wrong_is_refused(write, old, new, message):
    with pytest.raises(MasterError, match=re.escape(message)):
        write(old, new)


def test_a_fix_that_the_message_gives_works(write):
    wrong = ', about: "another share, and input"'
    with pytest.raises(MasterError, match="say in one line what it tries") as refused:
        write(wrong, "")
    fix = str(refused.value).split("such as ")[1]
    assert write(wrong, f", {fix}").parts[2].about == "other sizes, and N = 0"


def test_students_see_points_limit_and_what_is_tried():
    cells = student_version(to_nbgrader(read_master("1_demo", MASTERS))).cells
    source = {
        c.metadata["nbgrader"]["grade_id"]: c.source for c in cells if "nbgrader" in c.metadata
    }
    assert source["spikes_test"].startswith("# Test of spikes: 1 point, within 20 seconds.\n")
    assert source["leak_hidden"].splitlines() == [
        "# Hidden checks of leak: 3 points, within 20 seconds.",
        "# They try another share, and input.",
    ]


def test_a_test_that_passes_says_so_and_one_that_fails_does_not(write):
    solved = run(to_nbgrader(write("faded + x", "faded - x")), 120)
    printed = {
        cell.metadata["nbgrader"]["grade_id"]: "".join(o.get("text", "") for o in cell.outputs)
        for cell in solved.cells
        if cell.metadata.get("nbgrader", {}).get("grade_id", "").endswith("_test")
    }
    assert printed == {
        "leak_test": "leak: passed\n",
        "spikes_test": "spikes: passed\n",
        "draw_test": "draw: passed\n",
    }
    blank = run(student_version(to_nbgrader(read_master("1_demo", MASTERS))), 120)
    assert not any("passed" in o.get("text", "") for c in blank.cells for o in c.get("outputs", []))


@pytest.mark.parametrize(
    ("number", "text"), [(1, "1 point"), (0.5, "0.5 points"), (20, "20 points")]
)
def test_points_in_words(number, text):
    assert in_points(number) == text


def test_a_solution_that_fails_its_own_test_is_found(write):
    wrong = check_master(write("faded + x", "faded - x"))
    assert [line.split(":")[1] for line in wrong] == [" the solution fails leak_hidden"]


def test_a_test_that_an_untouched_notebook_passes_is_found(write):
    hidden = DEMO.split("{hidden: leak")[1].split("\n\n", 1)[1].split("```")[0]
    wrong = check_master(write(hidden, "assert True\n"))
    assert wrong == ["1_demo: an untouched notebook passes leak_hidden"]


def test_there_are_six_assignments_of_twenty_points():
    masters = [read_master(name) for name in master_names()]
    assert [m.name[0] for m in masters] == list("123456")
    for master in masters:
        assert master.points == 20
        assert 4 <= len(master.tasks) <= 8
        roles = [part.role for part in master.parts]
        assert roles.count("hidden") >= 4
        assert 1 <= roles.count("answer") <= 2


@pytest.mark.parametrize("name", master_names())
def test_every_master_says_what_a_student_needs_to_know(name):
    text = (FOLDER / f"{name}.md").read_text()
    for words in ("**You will learn to", "**Time", "**Before you start", "**How it works"):
        assert words in text, words
    assert "figure" in text
    assert f"{Limits.cell_seconds} seconds" in text.replace("\n", " ")


def test_the_readme_for_students_states_the_limit_of_grading():
    text = (FOLDER / "student_readme.md").read_text()
    assert f"{Limits.cell_seconds} seconds" in text.replace("\n", " ")


@pytest.mark.parametrize("name", master_names())
def test_no_other_time_limit_is_stated(name):
    text = (FOLDER / f"{name}.md").read_text() + (FOLDER / "student_readme.md").read_text()
    stated = set(re.findall(r"(\w+)\s+seconds\b", text))
    assert stated == {str(Limits.cell_seconds)}
    assert "minute" not in re.sub(r"\*\*Time\*\* [\d to]+ minutes", "", text)


HELPER = re.compile(r"^def (expect\w*)\(.*?(?=^\S|\Z)", re.S | re.M)


def test_helpers_of_one_name_are_the_same_everywhere():
    found = {}
    for name in master_names():
        for helper in HELPER.finditer((FOLDER / f"{name}.md").read_text().replace("```", "\0")):
            found.setdefault(helper[1], set()).add(helper[0].split("\0")[0].strip())
    assert len(found) >= 2
    assert {name for name, versions in found.items() if len(versions) > 1} == set()


@pytest.mark.parametrize("name", master_names())
def test_solved_earns_everything_untouched_nothing_and_runs_to_its_end(name):
    assert check_master(read_master(name)) == []
