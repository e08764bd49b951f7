"""What the pages for instructors print and list is what runs."""

import contextlib
import io
import re

import jupytext
import numpy as np
import pytest
import torch
from grading.collect import TOO_MANY
from grading.masters import FOLDER
from grading.members import DEEPEST, LINK, MOST
from grading.owners import BOTH, NOBODY, SEVERAL

import snnlib

PAGE = (FOLDER.parent / "appendix" / "instructors_misconceptions.md").read_text()
CHAPTERS = PAGE.split("\n## Chapter ")[1:]
DEMONSTRATION = re.compile(r"```python\n(.*?)```\n\nIt prints:\n\n```text\n(.*?)```", re.S)
MANUAL = (FOLDER.parent / "appendix" / "instructors_grading.md").read_text()
REASONS = [NOBODY, SEVERAL, BOTH, TOO_MANY, LINK.partition(",")[0]]
REASONS += [f"holds more than {MOST:,} files", f"has more than {DEEPEST} folders in folders"]


@pytest.mark.parametrize("reason", REASONS)
def test_the_manual_says_what_to_do_about_each_file_that_is_not_used(reason):
    table = MANUAL.partition("| Reason | Do |")[2].partition("\n\n")[0]
    assert reason in table


def test_every_demonstration_states_its_output():
    assert len(CHAPTERS) == 6
    assert len(DEMONSTRATION.findall(PAGE)) == PAGE.count("```python") == 18


@pytest.mark.parametrize("number", range(1, 7))
def test_demonstrations_print_what_the_page_says(number):
    names = {name: getattr(snnlib, name) for name in snnlib.__all__}
    names |= {"torch": torch, "np": np}
    names |= {split: snnlib.load_digits(split) for split in ("train", "test")}
    for cell in imports_and_data(number):
        exec(cell, names)
    for code, expected in DEMONSTRATION.findall(CHAPTERS[number - 1]):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, names)
        assert printed.getvalue() == expected, code


def imports_and_data(number: int) -> list[str]:
    """The first two code cells of a chapter, behind which a demonstration is pasted."""
    (path,) = (FOLDER.parent / "chapters").glob(f"{number:02d}_*.md")
    cells = [c for c in jupytext.read(path).cells if c.cell_type == "code"]
    return [cell.source for cell in cells[:2]]
