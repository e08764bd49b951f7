"""Hostile answers, opened as the instructors' page says, run nothing and can be read."""

import json
import random
import re
import subprocess
import sys
from pathlib import Path

import mutations
import nbformat
import pytest
from grading.classroom import Classroom
from grading.inert import plain
from grading.masters import read_master
from nbconvert.filters import markdown2html
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from nbgrader.api import Gradebook
from payloads import CALL, IMAGE, IMAGES, LINKS, SCRIPT, TEXTS
from school import MASTERS, environment, grade, hand_in, write_roster
from submissions import NO_TARGET

sys.path.append(str(Path(__file__).parent.parent / "book"))

from browser import find_browser, launched, served

pytestmark = pytest.mark.slow
NAME = "1_demo"
MASTER = read_master(NAME, MASTERS)
OUTPUTS = f"""
from IPython.display import HTML, Javascript, Markdown, display
display(HTML({SCRIPT!r}), Javascript({CALL!r}), Markdown({IMAGE!r}))
display({{"application/vnd.jupyter.widget-view+json": {{"model_id": "x"}}, "text/html": {IMAGE!r}}},
        raw=True, metadata={{"image/png": {{"alt": {IMAGE!r}}}}})
display({{"image/png": 'x" onerror="{CALL}', "image/svg+xml": "<svg onload='{CALL}'/>"}}, raw=True)
print({SCRIPT!r}, "\\x1b]8;;javascript:{CALL}\\x07look\\x1b]8;;\\x07")
raise type("<img src=x onerror={CALL}>", (Exception,), {{}})({SCRIPT!r})
"""


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """A place elsewhere, which sees who looks."""
    folder = tmp_path_factory.mktemp("outside")
    with served(folder) as address:
        yield address


@pytest.fixture(scope="module")
def texts(outside):
    return [text.replace("{server}", outside) for text in (TEXTS | LINKS | IMAGES).values()]


@pytest.fixture(scope="module")
def room(tmp_path_factory, texts):
    """A class of one, whose notebook is hostile wherever it can be, graded."""
    folder = tmp_path_factory.mktemp("class")
    (folder / "inbox" / NAME).mkdir(parents=True)
    write_roster(folder, ["mallory"])
    handed = mutations.right(MASTER, random.Random(0), NO_TARGET)
    notebook = json.loads(handed.content)
    answer = next(c for c in notebook["cells"] if "answer" in str(c["metadata"]))
    answer["source"] = "\n\n".join(texts)
    notebook["cells"] += [new_markdown_cell(text) for text in texts]
    notebook["cells"] += [new_code_cell(OUTPUTS), new_code_cell(f"# {SCRIPT}")]
    notebook["metadata"]["widgets"] = {SCRIPT: SCRIPT}
    handed.content = json.dumps(notebook).encode()
    hand_in(folder / "inbox" / NAME, "mallory", handed)
    run = grade(folder, NAME)
    assert run.returncode == 1, run.stderr
    return Classroom(folder)


@pytest.fixture(scope="module")
def formgrader(room, tmp_path_factory):
    """The address of a page of nbgrader's formgrader, as JupyterLab serves it."""
    home = str(tmp_path_factory.mktemp("home"))
    values = environment() | {"HOME": home, "JUPYTER_RUNTIME_DIR": home}
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--port=0"]
    command += ["--IdentityProvider.token=secret", f"--notebook-dir={room.work}"]
    here = {"cwd": room.work, "env": values, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **here) as server:
        try:
            found = (re.search(r"http://127\.0\.0\.1:\d+", line) for line in server.stderr)
            address = next(filter(None, found))[0]
            yield lambda page: f"{address}/formgrader/{page}?token=secret"
        finally:
            server.terminate()
            server.stderr.read()


@pytest.fixture(scope="module")
def browser():
    if find_browser() is None:
        pytest.skip("Chromium is missing (.ci/run installs it; the variable CHROMIUM may name one)")
    with launched() as browser:
        yield browser


@pytest.fixture
def look(browser, formgrader):
    """Open a page, and tell what it asked of other places."""
    context = browser.new_context()

    def look(page: str):
        opened, asked = context.new_page(), []
        opened.on("request", lambda request: asked.append(request.url))
        answer = opened.goto(formgrader(page), wait_until="load")
        assert answer.ok, page
        return opened, asked

    yield look
    context.close()


def submission(room) -> str:
    with Gradebook(room.gradebook, "snn") as book:
        return f"submissions/{book.find_submission_notebook(NAME, NAME, 'mallory').id}/"


def ran(page) -> bool:
    """Whether anything ran by itself, or does when all links are followed."""
    page.evaluate("document.querySelectorAll('main a').forEach(a => a.click())")
    return page.evaluate("window.pwned") is not None


@pytest.mark.parametrize("step", ["submitted", "autograded"])
def test_what_is_kept_holds_nothing_active(room, step):
    notebook = nbformat.read(room.notebook(step, NAME, "mallory"), as_version=4)
    assert set(notebook.metadata) <= {"assignment", "kernelspec", "language_info"}
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"nbgrader", "editable", "deletable", "tags"}
        assert cell.cell_type == "code" or "<script" not in markdown2html(cell.source)
        for found in cell.get("outputs", []):
            assert set(found.get("data", {})) <= {"text/plain", "image/png"}


def test_the_page_of_a_hostile_submission_runs_nothing(look, room, texts, outside):
    page, asked = look(submission(room))
    shown = page.locator("pre.answer").all_inner_texts()
    assert [text.split() for text in shown[1:]] == [plain(text).split() for text in texts]
    assert shown[0].split() == [word for text in texts for word in plain(text).split()]
    assert SCRIPT in page.locator("main").inner_text()
    assert not ran(page)
    assert not [url for url in asked if url.startswith(outside)]


@pytest.mark.parametrize("page", ["gradebook", f"gradebook/{NAME}/{NAME}", "manage_students"])
def test_the_tables_run_nothing(look, page):
    assert not ran(look(page)[0])


@pytest.mark.parametrize(
    "cell",
    [
        *map(new_markdown_cell, [SCRIPT, IMAGE, LINKS["link"], TEXTS["mermaid"]]),
        new_code_cell(outputs=[new_output("display_data", {"text/html": SCRIPT})]),
        new_code_cell(outputs=[new_output("display_data", {"application/javascript": CALL})]),
    ],
)
def test_the_same_would_run_if_it_were_kept_as_it_came(look, room, cell):
    path = room.notebook("autograded", NAME, "mallory")
    kept = path.read_text()
    notebook = nbformat.from_dict(json.loads(kept))
    notebook.cells = [cell]
    try:
        path.write_text(nbformat.writes(notebook))
        assert ran(look(submission(room))[0])
    finally:
        path.write_text(kept)


def test_an_image_elsewhere_would_be_asked_for(look, room, outside):
    path = room.notebook("autograded", NAME, "mallory")
    kept = path.read_text()
    notebook = nbformat.from_dict(json.loads(kept))
    notebook.cells = [new_markdown_cell(f"![x]({outside}/seen.png)")]
    try:
        path.write_text(nbformat.writes(notebook))
        assert f"{outside}/seen.png" in look(submission(room))[1]
    finally:
        path.write_text(kept)
