"""What is kept of a submission shows what was written, and nothing of it can run."""

import base64
import io
import struct
import zlib

import matplotlib.pyplot as plt
import pytest
from bs4 import BeautifulSoup
from grading.inert import LONGEST_ANSWER, as_typed, line, plain, written
from grading.outputs import Inert, figure, output
from grading.tables import as_text, from_text
from hypothesis import given
from hypothesis import strategies as st
from nbconvert.filters import markdown2html
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from payloads import IMAGES, LINKS, TEXTS

ALL = TEXTS | LINKS | IMAGES


def rendered(source: str) -> BeautifulSoup:
    """As nbgrader's pages render a cell."""
    return BeautifulSoup(markdown2html(source), "html.parser")


@pytest.mark.parametrize("text", ALL.values(), ids=ALL.keys())
def test_a_written_answer_is_shown_as_typed(text):
    page = rendered(written(text))
    assert [tag.name for tag in page.find_all(True)] == ["pre"]
    assert page.get_text().strip() == plain(text).strip()
    assert as_typed(written(text)) == plain(text)


@given(st.text(st.sampled_from("<>&;#$\\`[]()!*_-~|:/.\"'={}\n\t\r ax1\x00\x1b\u202e\ud800")))
def test_whatever_is_typed_stays_text(text):
    page = rendered(written(text))
    assert [tag.name for tag in page.find_all(True)] == ["pre"]
    assert as_typed(written(text)) == plain(text)


def test_these_texts_would_do_something_elsewhere():
    """Else the tests above prove nothing."""
    texts = [*TEXTS.values(), *LINKS.values()]
    active = [
        text
        for text in texts
        if rendered(text).find_all(["script", "img", "a", "svg", "iframe", "style", "form"])
    ]
    assert len(active) > len(texts) / 2


def test_a_formula_a_fence_and_letters_of_all_kinds_are_readable():
    text = 'If $a < b$ & "c":\n\n```html\n<b>ß, 漢字, 🙂</b>\n```'
    assert rendered(written(text)).get_text() == text + "\n"


def test_a_very_long_answer_is_cut_and_says_so():
    answer = as_typed(written("[a](b)" * 10**6))
    assert len(answer) < LONGEST_ANSWER + 100
    assert answer.endswith("[5950000 more characters are in the file handed in]")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]8;;http://evil\x07look\x1b]8;;\x07", "look"),
        ("\x1b]never ended", "never ended"),
        ("a\x00b\x08\x7f\x9bc", "abc"),
        ("txt.\u202efdp.exe", "txt.fdp.exe"),
        ("half \ud800", "half "),
        ("a\r\nb\rc\td", "a\nb\nc\td"),
        ("👩‍🔬 Zoë Łukasz 李雷", "👩‍🔬 Zoë Łukasz 李雷"),
    ],
)
def test_control_characters_go_and_letters_stay(text, shown):
    assert plain(text) == shown


def test_a_line_is_one_line_and_not_endless():
    assert line("a\n\n b\u2028c") == "a bc"
    assert len(line("x" * 10**7)) < 1100


@pytest.mark.parametrize("text", ["\x1b]" * 10**6, "\x1b[" * 10**6, "x" * 4 * 10**6, "\r" * 10**6])
def test_a_flood_of_control_characters_is_read_once(text):
    output(new_output("stream", text=text))


# -- figures and outputs ------------------------------------------------------------------


def png(**text) -> bytes:
    plt.figure(figsize=(1, 1)).savefig(file := io.BytesIO(), metadata=text)
    plt.close()
    return file.getvalue()


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_of_a_figure_the_pixels_stay():
    data = png(Comment="<script>")
    kept = base64.b64decode(figure(encoded(data + b"<script>")))
    assert b"script" not in kept
    assert (plt.imread(io.BytesIO(kept)) == plt.imread(io.BytesIO(data))).all()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<script>",
        b"\x89PNG\r\n\x1a\n",
        png()[:200],
        png().replace(b"IHDR", b"IHDX"),
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">II5B", 10**5, 10**5, 8, 2, 0, 0, 0)),
        b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b""),
        b"GIF89a",
    ],
)
def test_what_is_no_figure_is_not_kept(data):
    assert figure(encoded(data)) is None


@pytest.mark.parametrize("value", [None, 3, [], {}, "no base64", 'x" onerror="pwn()', "ÿ"])
def test_what_is_no_text_is_no_figure(value):
    assert figure(value) is None


def test_outputs_are_reduced_to_text_and_figures():
    rich = dict.fromkeys(["text/html", "image/svg+xml", "text/markdown", "text/latex"], "<b>")
    rich |= {"application/javascript": "pwn()", "text/plain": "\x1b[1mseen", "x/y": "a"}
    kept = output(new_output("display_data", rich, metadata={"image/png": {"alt": '"'}}))
    assert (kept.data, kept.metadata) == ({"text/plain": "seen"}, {})
    kept = output(new_output("execute_result", {"image/png": encoded(png())}))
    assert set(kept.data) == {"text/plain", "image/png"}
    kept = output(new_output("stream", text="10 %\r100 %\r\n\x1b[2Kdone", name="stdout"))
    assert kept.text == "100 %\ndone"
    kept = output(new_output("error", ename="\x1b[1mE", evalue="a\nb", traceback=["\x1b[1m<b>"]))
    assert (kept.ename, kept.evalue, kept.traceback) == ("E", "a b", ["<b>"])


def test_of_a_notebook_only_what_grading_needs_is_kept():
    label, spec = {"grade_id": "a"}, {"name": "python3", "display_name": "Python"}
    cell = new_code_cell("1", metadata={"nbgrader": label, "collapsed": True, "tags": ['"><b>']})
    text = new_markdown_cell("x", attachments={"a": {"image/svg+xml": "<svg>"}})
    notebook = new_notebook(cells=[cell, text], metadata={"widgets": {}, "kernelspec": spec})
    kept, _ = Inert().preprocess(notebook, {})
    assert kept.metadata == {"kernelspec": spec, "language_info": {"name": "python"}}
    assert [c.metadata for c in kept.cells] == [{"nbgrader": label}, {}]
    assert "attachments" not in kept.cells[1]


def test_code_that_takes_minutes_to_colour_is_cut():
    source = "x = 1\n" + "a." * 50_000
    kept, _ = Inert().preprocess(new_notebook(cells=[new_code_cell(source)]), {})
    assert kept.cells[0].source == "x = 1\n" + "a." * 250 + " [cut]"


# -- tables -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1",
        "-1",
        "@a",
        "\t=1",
        " =1",
        "\n=1",
        "'=1",
        "''=1",
        "\uff1d1",
        "'t Hooft",
        "a=1",
        "",
    ],
)
def test_a_spreadsheet_sees_text_and_its_file_gives_the_text_back(text):
    kept = as_text(text)
    assert from_text(kept) == text
    assert not kept.lstrip().startswith(tuple("=+-@\uff1d"))
    assert kept == text or text.strip(" '\t\n")[0] in "=+-@\uff1d"


@pytest.mark.parametrize("separator", [";", "; ", "\n", "\t", ","])
@pytest.mark.parametrize("answer", ["=cmd|' /C calc'!A0", "'=1", "@SUM(A1)", "\uff0b1"])
def test_a_spreadsheet_that_expects_other_separators_sees_text_as_well(separator, answer):
    text = f"a{separator}{answer}{separator}b{separator}{answer}"
    kept = as_text(text)
    assert not any(
        cell.lstrip().startswith(tuple("=+-@\uff1d\uff0b")) for cell in kept.split(separator)
    )
    assert from_text(kept) == text
    assert as_text(f"=1{separator}=1").startswith("'=1")


@given(st.text(alphabet=" ;,\t\n'=-a"))
def test_whatever_is_marked_comes_back(text):
    assert from_text(as_text(text)) == text


def test_prose_is_not_marked():
    for text in ("It is 1, -2 or +3; so = is right.", "a-b; c", "x,\ny"):
        assert as_text(text) == text


def test_control_characters_reach_no_table():
    assert as_text("\x1b[31m\x00=1") == "'=1"
