"""Feedback tells a student what happened, and nothing that a hidden test says."""

import pytest
from grading.feedback import page, write_feedback
from grading.leaks import find_leaks
from grading.masters import Master, read_master
from grading.records import Record, Status
from grading.report import Row
from grading.roster import Student
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell
from school import MASTERS

MASTER = read_master("1_demo", MASTERS)
HIDDEN = next(p.source for p in MASTER.parts if p.grade_id == "leak_hidden")
ANNA = Student("anna", "Anna <b>", "Ek")


def row(tests: dict[str, str], comments: dict[str, str] | None = None, **points) -> Row:
    names = [part.grade_id for part in MASTER.parts if part.points]
    record = Record("anna", "1_demo", "key", Status.GRADED, ["a <note>"], tests)
    return Row(
        ANNA,
        record,
        dict.fromkeys(names, 0.0) | points,
        dict.fromkeys(names, "") | (comments or {}),
    )


def test_points_remarks_and_comments_are_shown():
    text = page(MASTER, row({"leak_test": ""}, {"why_answer": "well said"}, leak_test=2.0))
    assert "<td>2 of 2</td><td>passed</td>" in text
    assert "well said" in text
    assert "2 of 12 points" in text


def test_failed_hidden_checks_say_what_they_try():
    tests = {"leak_hidden": "AssertionError: x", "spikes_hidden": "CellTimeoutError: x"}
    text = page(MASTER, row(tests))
    assert "failed; they try another share, and input<" in text
    assert "took too long; they try a neuron at its threshold, and no neuron at all<" in text


def one_test(source: str) -> Master:
    """A master with a single test, for one point."""
    cell = new_code_cell(source, metadata={"task": {"test": "vote", "points": 1}})
    return Master("one", NotebookNode(cells=[MASTER.notebook.cells[0], cell]))


def test_a_single_point_is_one_point():
    text = page(one_test("assert vote"), row({}, {"vote_test": ""}, vote_test=1.0))
    assert "<strong>1 of 1 point</strong>" in text


def test_a_waiting_answer_is_not_called_zero():
    text = page(MASTER, row({}, why_answer=None))
    assert "? of 2" in text
    assert "needs a person" in text


def test_names_notes_and_comments_cannot_inject_html():
    text = page(MASTER, row({}, {"why_answer": "<script>alert(1)</script>"}))
    assert "<script>" not in text
    assert "Anna &lt;b&gt; Ek" in text
    assert "a &lt;note&gt;" in text


def test_the_fixed_message_of_a_visible_test_is_quoted():
    tests = {"leak_test": "AssertionError: half of 1 must be left"}
    assert "half of 1 must be left" in page(MASTER, row(tests))


@pytest.mark.parametrize(
    ("message", "remark"),
    [
        ("k = 1: expected [3], got [8]. ", "failed: k = 1"),
        ("k = 1, twice: expected [3], got [8]. ", "failed: k = 1, twice"),
        ("k = 9: expected [3], got [8]. ", "failed: run this test in your notebook"),
        ("k = 1", "failed: run this test in your notebook"),
    ],
)
def test_the_case_that_failed_is_named_but_no_value(message, remark):
    source = 'expect("k = 1", vote(1), [3])\nexpect("k = 1, twice", vote(1), [3], "a hint")'
    tests = {"vote_test": f"AssertionError: {message}"}
    text = page(one_test(source), row(tests, {"vote_test": ""}, vote_test=0.0))
    assert f"<td>{remark}</td>" in text
    assert "[8]" not in text


@pytest.mark.parametrize("kind", ["AssertionError", "ValueError", "Secret"])
def test_what_a_submission_made_up_is_not_quoted(kind, tmp_path):
    """Its code may have read hidden tests while they ran."""
    tests = {p.grade_id: f"{kind}: {HIDDEN}" for p in MASTER.parts if p.role != "answer"}
    write_feedback(tmp_path, MASTER, [row(tests)])
    assert find_leaks([tmp_path], [MASTER]) == []
    text = (tmp_path / "anna.html").read_text()
    assert "secret_potential" not in text
    assert "failed: run this test in your notebook" in text


def test_the_words_of_an_error_in_grading_are_not_repeated():
    broken = row({})
    broken.record.notes[:] = [f"could not be graded: ValidationError: {HIDDEN}"]
    text = page(MASTER, broken)
    assert "<li>could not be graded</li>" in text
    assert "ValidationError" not in text


def test_who_handed_nothing_in_gets_no_page(tmp_path):
    empty = Row(ANNA, Record("anna", "1_demo", "", Status.MISSING), {}, {})
    write_feedback(tmp_path, MASTER, [empty])
    assert list(tmp_path.iterdir()) == []
