"""Whatever is handed in becomes a notebook that is safe to grade, or is refused by name."""

import json
from copy import deepcopy

import pytest
from grading.blank import student_version
from grading.inert import as_typed
from grading.masters import read_master, to_nbgrader
from grading.members import LARGEST
from grading.submission import NotGradableError, OtherAssignmentError, prepare
from nbformat.v4 import new_code_cell, new_markdown_cell
from school import MASTERS


@pytest.fixture(scope="module")
def released():
    return student_version(to_nbgrader(read_master("1_demo", MASTERS)))


@pytest.fixture
def mine(released):
    return deepcopy(released)


def handed_in(notebook) -> bytes:
    return json.dumps(notebook).encode()


def names(notebook) -> list[str]:
    return [c.metadata["nbgrader"]["grade_id"] for c in notebook.cells if "nbgrader" in c.metadata]


def test_an_untouched_notebook_needs_no_fixing(mine, released):
    prepared = prepare(handed_in(mine), released)
    assert not prepared.notes
    assert [c.source for c in prepared.notebook.cells] == [c.source for c in released.cells]
    assert [c.metadata for c in prepared.notebook.cells] == [
        c.metadata if "nbgrader" in c.metadata else {} for c in released.cells
    ]


def test_outputs_attachments_and_foreign_metadata_are_dropped(mine, released):
    mine.cells[1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x"}]
    mine.metadata["kernelspec"]["name"] = "evil"
    prepared = prepare(handed_in(mine), released).notebook
    assert prepared.metadata == released.metadata
    assert not any(cell.get("outputs") for cell in prepared.cells)


def test_missing_tests_are_put_back_behind_their_task(mine, released):
    mine.cells = [c for c in mine.cells if "leak" not in names_of(c) or names_of(c) == "leak"]
    prepared = prepare(handed_in(mine), released)
    assert names(prepared.notebook) == names(released)
    assert prepared.notes == [
        "cells that were missing, and put back: leak_test, leak_hidden",
    ]


def names_of(cell) -> str:
    return cell.metadata.get("nbgrader", {}).get("grade_id", "")


def test_a_missing_solution_is_not_put_back_over_the_students_own(mine, released):
    solution = next(c for c in mine.cells if names_of(c) == "leak")
    solution.metadata = {}
    prepared = prepare(handed_in(mine), released)
    assert names(prepared.notebook).count("leak") == 0
    assert any(c.source == solution.source for c in prepared.notebook.cells)


def test_a_repeated_cell_counts_once(mine, released):
    place = next(i for i, c in enumerate(mine.cells) if names_of(c) == "spikes_test")
    mine.cells.insert(place, deepcopy(mine.cells[place]))
    prepared = prepare(handed_in(mine), released)
    assert names(prepared.notebook) == names(released)
    assert "twice" in prepared.notes[0]


# -- answers beside their cells ----------------------------------------------------------

BELOW = "text in cells next to an answer's was moved into it: why_answer"
ASTRAY = "not answered, but there is text in other cells: look there: why_answer"


def put(notebook, offset, text):
    """Add a text cell beside the answer; 0 is directly above, 1 directly below."""
    place = next(i for i, c in enumerate(notebook.cells) if names_of(c) == "why_answer")
    notebook.cells.insert(place + offset, new_markdown_cell(text))


def answer_of(prepared):
    return next(as_typed(c.source) for c in prepared.notebook.cells if names_of(c) == "why_answer")


@pytest.mark.parametrize("offset", [0, 1])
def test_an_answer_in_a_cell_of_its_own_is_moved_into_the_stubs(mine, released, offset):
    put(mine, offset, "Because it shrinks.")
    prepared = prepare(handed_in(mine), released)
    assert answer_of(prepared) == "Because it shrinks."
    assert prepared.notes == [BELOW]
    assert len(prepared.notebook.cells) == len(released.cells)


def test_several_cells_make_one_answer_in_their_order(mine, released):
    for offset, text in [(1, "third"), (1, "second"), (0, "first")]:
        put(mine, offset, text)
    assert answer_of(prepare(handed_in(mine), released)) == "first\n\nsecond\n\nthird"


@pytest.mark.parametrize("written", ["{stub}\n\nBecause.", "Because.\n\n{stub}", "\n Because. "])
def test_text_around_the_stub_is_the_answer(mine, released, written):
    mine.cells[-1].source = written.format(stub=mine.cells[-1].source)
    prepared = prepare(handed_in(mine), released)
    assert answer_of(prepared) == "Because."
    assert prepared.notes == []


@pytest.mark.parametrize("written", ["", "  \n", "{stub}  \n\n"])
def test_an_emptied_answer_counts_as_untouched(mine, released, written):
    stub = mine.cells[-1].source
    mine.cells[-1].source = written.format(stub=stub)
    assert answer_of(prepare(handed_in(mine), released)) == stub


def test_an_answer_far_away_is_pointed_out(mine, released):
    mine.cells.insert(1, new_markdown_cell("It forgets because each step keeps a share."))
    assert prepare(handed_in(mine), released).notes == [ASTRAY]


def test_an_answer_in_place_of_the_deleted_cell_is_found_or_pointed_out(mine, released):
    mine.cells[-1] = new_markdown_cell("Because it shrinks.")
    prepared = prepare(handed_in(mine), released)
    assert answer_of(prepared) == "Because it shrinks."


def test_the_assignments_own_text_is_nobodys_answer(mine, released):
    mine.cells.append(new_code_cell("1 + 1"))
    mine.cells.append(new_markdown_cell(released.cells[0].source + "\n"))
    assert prepare(handed_in(mine), released).notes == []


def test_changed_points_and_locks_are_undone(mine, released):
    for cell in mine.cells:
        if "nbgrader" in cell.metadata:
            cell.metadata["nbgrader"] |= {"points": 99, "locked": False, "grade": False}
    assert [c.metadata for c in prepare(handed_in(mine), released).notebook.cells] == [
        c.metadata if "nbgrader" in c.metadata else {} for c in released.cells
    ]


def test_a_notebook_without_labels_gets_every_test_and_a_note(mine, released):
    for cell in mine.cells:
        cell.metadata = {}
    prepared = prepare(handed_in(mine), released)
    assert prepared.unlabelled
    assert "leak_hidden" in names(prepared.notebook)


def test_another_assignments_notebook_is_refused(mine, released):
    for cell in mine.cells:
        if "nbgrader" in cell.metadata:
            cell.metadata["nbgrader"]["grade_id"] += "_of_another"
    with pytest.raises(OtherAssignmentError, match="none of its labelled cells"):
        prepare(handed_in(mine), released)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"cells": 3, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}',
        b'{"cells": [{"cell_type": "code"}], "nbformat": 4, "nbformat_minor": 5, "metadata": {}}',
        b'{"cells": [null], "nbformat": 4, "nbformat_minor": 5, "metadata": {}}',
        b"\xff\xfe\x00",
        b"PK\x03\x04 a zip",
        b"[" * 100_000,
    ],
)
def test_what_is_no_notebook_is_refused(content, released):
    with pytest.raises(NotGradableError, match="not a notebook"):
        prepare(content, released)


def test_a_huge_file_is_refused(released):
    with pytest.raises(NotGradableError, match="larger than 20 MiB"):
        prepare(b" " * (LARGEST + 1), released)


def test_half_a_character_does_not_stop_anything(mine, released):
    content = handed_in(mine).replace(b"Demo: three", b"Demo: \\ud800 three")
    json_text = json.dumps(prepare(content, released).notebook)
    json_text.encode("utf-8")
