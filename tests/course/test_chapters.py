"""The chapters as text: pairs agree, skeletons are complete, every figure can be read aloud."""

import re
from pathlib import Path

import digests
import jupytext
import nbformat
import pytest

ROOT = Path(__file__).parent.parent.parent
CHAPTERS = sorted((ROOT / "chapters").glob("*.md"))
SKELETON = ["Check yourself", "Exercises", "What you learned", "Further reading"]

each_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def executed(path: Path):
    return nbformat.read(path.with_suffix(".ipynb"), as_version=4)


def tags(cell) -> set[str]:
    return set(cell.metadata.get("tags", []))


def code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(path: Path) -> str:
    """The text of a chapter without its code cells."""
    return "\n".join(c.source for c in jupytext.read(path).cells if c.cell_type == "markdown")


def test_there_are_chapters():
    assert len(CHAPTERS) >= 6


@each_chapter
def test_notebook_is_the_executed_pair_of_its_source(path):
    source, pair = jupytext.read(path), executed(path)
    assert [(c.cell_type, c.source.strip()) for c in source.cells] == [
        (c.cell_type, c.source.strip()) for c in pair.cells
    ], f"run: .venv/bin/python tools/make_notebooks.py chapters/{path.name}"
    assert [tags(c) for c in source.cells] == [tags(c) for c in pair.cells]


@each_chapter
def test_notebook_was_made_by_the_library_and_the_text_as_they_are_now(path):
    assert digests.valid_pair(path), (
        f"chapters/{path.stem}.ipynb has no digest that fits: its text, the library, its data, the "
        "pinned versions or an output changed. Run `make notebooks` and commit what it writes"
    )


@each_chapter
def test_a_chapter_computes_with_one_thread_from_its_first_cell_on(path):
    assert "\ntorch.set_num_threads(1)" in code_cells(jupytext.read(path))[0].source


@each_chapter
def test_every_code_cell_was_executed_in_order(path):
    cells = [c for c in code_cells(executed(path)) if c.source.strip()]
    assert [c.execution_count for c in cells] == list(range(1, len(cells) + 1))


@each_chapter
def test_every_compared_cell_has_stored_text(path):
    compared = [c for c in code_cells(executed(path)) if "nbval-check-output" in tags(c)]
    assert len(compared) >= 2
    for cell in compared:
        assert cell.outputs, f"nothing stored to compare with for: {cell.source[:60]}"
        kinds = {kind for out in cell.outputs for kind in out.get("data", {"text/plain": 0})}
        assert kinds <= {"text/plain", "text/html"}


@each_chapter
def test_no_output_is_an_error_or_a_warning(path):
    for cell in code_cells(executed(path)):
        for output in cell.outputs:
            assert output.output_type != "error" or "raises-exception" in tags(cell)
            assert output.get("name") != "stderr", cell.source[:60]


@each_chapter
def test_chapter_has_the_skeleton(path):
    text = path.read_text()
    headings = re.findall(r"^## (.+)$", prose(path), flags=re.M)
    assert [h for h in headings if h in SKELETON] == SKELETON
    assert len(re.findall(r"^# ", prose(path), flags=re.M)) == 1
    assert re.search(r"^\(ch-[a-z]+\)=\n# ", text, flags=re.M)
    box = re.search(r"```\{admonition\} What you will learn\n:class: tip\n(.+?)```", text, re.S)
    assert box, "no box 'What you will learn'"
    assert "**Time**" in box[1]
    assert "**You need**" in box[1]
    assert len(re.findall(r"^- \*\*[A-Z]\w+\*\*", box[1], flags=re.M)) >= 3, "goals are verbs"


@each_chapter
def test_questions_have_folded_answers(path):
    part = prose(path).split("## Check yourself")[1].split("## Exercises")[0]
    questions = re.findall(r"\{admonition\} (.+)\n:class: (.+)", part)
    assert len(questions) >= 3
    assert all(title.endswith(("?", ".")) for title, _ in questions)
    assert all({"question", "dropdown"} <= set(classes.split()) for _, classes in questions)


@each_chapter
def test_no_title_ends_its_own_fence(path):
    broken = re.findall(r"^```+\{[^}\n]+\}.*`.*$", path.read_text(), flags=re.M)
    assert not broken, "a title with backticks needs a fence of colons, or it is shown as text"


@each_chapter
def test_exercises_are_gated_and_have_folded_solutions(path):
    text = path.read_text()
    labels = re.findall(r"\{exercise-start\}.*\n:label: (\S+)", text)
    assert len(labels) >= 2
    assert re.findall(r"\{solution-start\} (\S+)\n:class: dropdown", text) == labels
    assert text.count("{exercise-end}") == text.count("{solution-end}") == len(labels)


@each_chapter
def test_every_picture_has_alt_text_caption_and_a_place_in_the_text(path):
    for cell in code_cells(executed(path)):
        if not any("image/png" in out.get("data", {}) for out in cell.outputs):
            continue
        facts = cell.metadata.get("mystnb", {})
        where = cell.source[-60:]
        assert len(facts.get("image", {}).get("alt", "")) > 40, f"no alt text: {where}"
        assert len(facts.get("figure", {}).get("caption", "")) > 20, f"no caption: {where}"
        name = facts["figure"]["name"]
        assert name.startswith("fig-")
        assert f"{{numref}}`{name}`" in prose(path), f"{name} is not mentioned in the text"


@each_chapter
def test_every_cell_with_a_caption_made_a_picture(path):
    cells = [c for c in code_cells(executed(path)) if "figure" in c.metadata.get("mystnb", {})]
    assert len(cells) >= 3
    for cell in cells:
        pictures = [out for out in cell.outputs if "image/png" in out.get("data", {})]
        assert len(pictures) == 1, cell.metadata.mystnb.figure.name


@each_chapter
def test_claims_in_the_text_are_checked_out_of_sight(path):
    hidden = [c for c in code_cells(executed(path)) if {"remove-cell", "test"} <= tags(c)]
    assert len(hidden) >= 2
    assert all("assert" in cell.source for cell in hidden)


@each_chapter
def test_code_fits_the_page_and_needs_no_network(path):
    shown = [c for c in code_cells(executed(path)) if "remove-cell" not in tags(c)]
    for cell in shown:
        assert max(map(len, cell.source.splitlines()), default=0) <= 80, cell.source[:60]
        assert not re.search(r"\bpip install|sys\.path|https?://|urllib|requests", cell.source)


@each_chapter
def test_sliders_stand_behind_a_figure_and_leave_no_dead_output(path):
    for cell in code_cells(executed(path)):
        if "widgets." in cell.source and "import" not in cell.source:
            assert "remove-output" in tags(cell)
            assert not cell.outputs, "a stored widget would be stale"


def test_table_of_contents_lists_every_chapter():
    toc = (ROOT / "_toc.yml").read_text()
    listed = set(re.findall(r"file: (chapters/\S+)", toc))
    assert listed == {f"chapters/{path.stem}" for path in CHAPTERS}


def test_the_front_page_states_the_minutes_of_every_chapter():
    rows = re.findall(
        r"\((chapters/\w+\.md)\).*\| (\d+) \|$", (ROOT / "index.md").read_text(), re.M
    )
    stated = {
        f"chapters/{path.name}": re.search(r"\*\*Time\*\* (\d+) minutes", path.read_text())[1]
        for path in CHAPTERS
    }
    assert dict(rows) == stated
    assert 8 * 60 <= sum(map(int, stated.values())) <= 9 * 60  # "Eight to nine hours"
