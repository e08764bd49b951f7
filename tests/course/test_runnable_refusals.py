"""What cannot be translated is named by file and line, nothing is written, and the advice works."""

import subprocess
import sys
from pathlib import Path

import make_runnable
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from runnable.book import Book
from runnable.notebook import of_chapter
from runnable.passage import TranslationError

ROOT = make_runnable.ROOT
CONFIG = """\
repository: {url: ""}
bibtex_bibfiles: [references.bib]
html: {baseurl: ""}
parse:
  myst_enable_extensions: [amsmath, colon_fence, deflist, dollarmath, linkify, substitution]
"""
TOC = """\
root: index
parts:
  - numbered: true
    chapters: [{file: chapters/01_one}, {file: chapters/02_two}]
  - chapters: [{file: appendix/glossary}]
"""
GLOSSARY = """\
# Glossary

```{glossary}
spike
  An event. Its "height" does not matter.
```
"""
BIBLIOGRAPHY = """\
@book{both2020, author = {Ah, A. and Oh, B.}, title = {One}, year = {2020}, publisher = {P}}
@book{many2021, author = {Ah, A. and B, B. and C, C.}, title = {Two}, year = {2021},
      publisher = {P}, url = {https://example.org/two}}
"""
CODE = "```{code-cell} ipython3\nprint(1)\n```\n"
HEAD = f"(ch-one)=\n# One\n\n{CODE}\n"  # the text behind it begins in line 8
FIRST = 8


@pytest.fixture
def root(tmp_path) -> Path:
    """A course of two chapters and a glossary."""
    for folder in ("chapters", "appendix"):
        (tmp_path / folder).mkdir()
    (tmp_path / "_config.yml").write_text(CONFIG)
    (tmp_path / "_toc.yml").write_text(TOC)
    (tmp_path / "index.md").write_text("# Book\n")
    (tmp_path / "references.bib").write_text(BIBLIOGRAPHY)
    (tmp_path / "appendix/glossary.md").write_text(GLOSSARY)
    (tmp_path / "chapters/01_one.md").write_text(HEAD)
    (tmp_path / "chapters/02_two.md").write_text("(ch-two)=\n# Two\n")
    return tmp_path


def translated(root: Path, text: str, cells: int = 1) -> str:
    """The Markdown that a chapter of some text becomes."""
    (root / "chapters/01_one.md").write_text(HEAD + text)
    pair = new_notebook(metadata={"language_info": {"name": "python"}})
    outputs = [new_output("stream", text="1\n")]
    pair.cells = [new_code_cell("print(1)", execution_count=1, outputs=outputs)] * cells
    made = of_chapter(Book.read(root), "chapters/01_one", pair)
    return "\n\n".join(cell.source for cell in made.cells if cell.cell_type == "markdown")


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("One.\n\n```{margin} Note\nAside.\n```\n", 2, "directive {margin}"),
        (":::{tip}\nFirst.\n\n```{grid} 2\nTwo.\n```\n:::\n", 3, "directive {grid}"),
        ("- One\n\n  ```{note}\n  Two.\n  ```\n", 2, "{note} is not translated inside a list"),
        ("One.\n\nTwo and\n{kbd}`Ctrl` as well.\n", 3, "role {kbd}"),
        ("| a |\n|---|\n| {sub}`b` |\n", 2, "role {sub}"),
        ("See {numref}`fig-lost`.\n", 0, "nothing in the book is labelled 'fig-lost'"),
        ("A {term}`spoke`.\n", 0, "the glossary has no entry 'spoke'"),
        ("As {cite:t}`nobody1900` say.\n", 0, "references.bib has no 'nobody1900'"),
        ("See [it](03_three.md).\n", 0, "link '[it](03_three.md)' leads to no page"),
        ("See [it][two].\n\n[two]: 02_two.md\n", 0, "write [words](page.md)"),
        ("![A long description](lost.png)\n", 0, "no picture 'lost.png'"),
        ("```{figure} a.png\nOne.\n```\n", 0, "{figure} has a number, so give it a name"),
        ("```{tip} Mind\nNever closed.\n", 0, "directive {tip} is never closed"),
        ("```{image} lost.png\n```\n", 0, "no picture 'lost.png'"),
        ("It is {{ version }}.\n", 0, "substitution_inline is not translated"),
        ("Word\n: Its meaning.\n", 0, "dl_open is not translated"),
        ("One.[^1]\n\n[^1]: Two.\n", 0, "footnote_ref is not translated"),
        ("\\begin{align}\na\n\\end{align}\n", 0, "amsmath is not translated"),
        (CODE, 0, "executed pair has other code; run `make notebooks`"),
        (f"```{{snn-lab}}\n![What](x.png)\n```\n\n{CODE}", 0, "no cell shows this lab"),
    ],
)
def test_what_is_not_known_is_named_by_file_and_line(root, text, line, reason):
    cells = 2 if "snn-lab" in text else 1
    with pytest.raises(TranslationError) as refused:
        translated(root, text, cells)
    assert str(refused.value).startswith(f"chapters/01_one.md:{FIRST + line}: ")
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("A {term}`spike`.", 'A [spike](glossary.ipynb#spike "An event.").'),
        ("{term}`Spikes\n<spike>` are.", '[Spikes](glossary.ipynb#spike "An event.") are.'),
        (
            "{cite:t}`many2021,both2020`",
            "[Ah et al. (2021)](https://example.org/two) and Ah and Oh (2020)",
        ),
        ("So {cite:p}`both2020`.", "So (Ah and Oh, 2020)."),
        (
            "See {ref}`ch-two` and {ref}`it <ch-two>`.",
            "See [Two](02_two.ipynb) and [it](02_two.ipynb).",
        ),
        ("See {doc}`02_two`.", "See [Two](02_two.ipynb)."),
        (
            'See [two](02_two.md "Two"), [it](ch-two).',
            "See [two](02_two.ipynb), [it](02_two.ipynb).",
        ),
        ("In [the **list**](../appendix/glossary.md).", "In [the **list**](glossary.ipynb)."),
        ("$$\na\n= b\n$$ (eq-a)\n\nBy {eq}`eq-a`.", "$$ a = b \\tag{1.1} $$\n\nBy (1.1)."),
        ("In $a =\nb$ it is.", "In $a = b$ it is."),
        ("Code `{term}` and `$a$ (ch-one)=` stays.", "Code `{term}` and `$a$ (ch-one)=` stays."),
        ("```python\n{term}`spike`\n```", "```python\n{term}`spike`\n```"),
        ("> {term}`spike`", '> [spike](glossary.ipynb#spike "An event.")'),
        (
            "| a | {term}`spike` |\n|---|---|\n| a | b |",
            '| a | [spike](glossary.ipynb#spike "An event.") |',
        ),
        ("% a comment\nText.", "Text."),
        (":::{tip} Mind\n$$\na\n$$\n:::", "> **Mind**\n>\n> $$ a $$"),
        ("```{note}\nMind.\n```", "> **Note**\n>\n> Mind."),
        (
            ":::{admonition} Is `a < b` or $a$?\n:class: question dropdown\n\nYes.\n:::",
            "<summary><b>Is <code>a &lt; b</code> or $a$?</b></summary>\n\nYes.\n\n</details>",
        ),
    ],
)
def test_what_is_known_becomes_plain(root, text, plain):
    assert plain in translated(root, text + "\n")


def test_a_figure_has_its_number_and_its_caption(root):
    (root / "chapters/a.png").write_bytes((ROOT / "_static/overview.png").read_bytes())
    figure = (
        "```{figure} a.png\n:name: fig-a\n:alt: A long description\n\nOf {term}`spike`s.\n```\n"
    )
    text = translated(root, f"{figure}\nSee {{numref}}`fig-a`, {{numref}}`figure %s <fig-a>`.\n")
    assert "![A long description](data:image/png;base64,iVBOR" in text
    assert "![Of $a$](data:image/png;base64," in translated(root, "![Of $a$](a.png)\n")
    assert '\n\n**Fig. 1.1.** Of [spike](glossary.ipynb#spike "An event.")s.' in text
    assert text.endswith("See Fig. 1.1, figure 1.1.")


def test_advice_about_a_footnote_and_a_formula_works(root):
    assert "One (two)." in translated(root, "One (two).\n")
    aligned = "$$\n\\begin{aligned}\na\n\\end{aligned}\n$$\n"
    assert "$$ \\begin{aligned} a \\end{aligned} $$" in translated(root, aligned)


def test_the_command_ends_with_the_reason_and_writes_nothing(root):
    (root / "chapters/01_one.md").write_text(f"{HEAD}{{kbd}}`Ctrl`\n")
    pair = new_notebook(metadata={"language_info": {"name": "python"}})
    pair.cells = [new_code_cell("print(1)")]
    nbformat.write(pair, root / "chapters/01_one.ipynb")
    program = f"import make_runnable, pathlib; make_runnable.ROOT = pathlib.Path({str(root)!r}); "
    program += "make_runnable.NOTEBOOKS = make_runnable.ROOT / 'notebooks'; make_runnable.main()"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT / "tools", capture_output=True, text=True
    )
    assert run.returncode == 1
    assert "chapters/01_one.md:8: the role {kbd} is not translated" in run.stderr
    assert "no notebook was written" in run.stderr
    assert not (root / "notebooks").exists()
