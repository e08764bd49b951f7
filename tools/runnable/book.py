"""What the pages of the book refer to: their numbers, titles, terms and addresses.

Numbers are counted as the book counts them: figures with a caption, labelled equations and
exercises, each from 1 in every numbered page of the table of contents.
"""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import yaml
from build_book import repository
from markdown_it import MarkdownIt
from markdown_it.token import Token

from runnable.citations import Citations
from runnable.myst import Directive, directive, parser
from runnable.passage import Passage

GLOSSARY = "appendix/glossary"
CODE = {"code-cell", "code-block", "code", "raw", "glossary"}  # in which no Markdown stands
KINDS = {"figure": "Fig. {}", "equation": "({})", "exercise": "Exercise {}"}


@dataclass(frozen=True)
class Label:
    """What a name stands for: words such as "Fig. 5.1" or a title, and the page they are on."""

    page: str
    words: str


@dataclass(frozen=True)
class Term:
    """An entry of the glossary."""

    name: str
    definition: Passage


@dataclass
class Book:
    """A folder of sources, read once."""

    root: Path
    repository: str  # its address, or nothing
    address: str  # of the published pages, or nothing
    parser: MarkdownIt
    citations: Citations
    numbers: dict[str, int] = field(default_factory=dict)  # of the numbered pages
    labels: dict[str, Label] = field(default_factory=dict)  # a page's own name is its title's
    terms: dict[str, Term] = field(default_factory=dict)  # by their names in small letters

    @staticmethod
    def read(root: Path) -> "Book":
        """Read configuration, table of contents, and every page for its labels."""
        config = yaml.safe_load((root / "_config.yml").read_text())
        toc = yaml.safe_load((root / "_toc.yml").read_text())
        book = Book(
            root,
            repository(config),
            config["html"].get("baseurl", "").rstrip("/"),
            parser(tuple(config["parse"]["myst_enable_extensions"])),
            Citations.read(root / config["bibtex_bibfiles"][0]),
        )
        for part in toc["parts"]:
            names = [chapter["file"] for chapter in part["chapters"]]
            if part.get("numbered"):
                book.numbers |= {n: i for i, n in enumerate(names, len(book.numbers) + 1)}
            for name in names:
                book.labels |= _labels(book, name)
        book.labels |= _labels(book, toc["root"])
        book.terms = {term.name.lower(): term for term in _terms(book)}
        return book

    def passage(self, page: str) -> Passage:
        """A page's text."""
        path = Path(f"{page}.md")
        return Passage(path, (self.root / path).read_text())

    def link(self, here: str, page: str) -> str:
        """How a notebook leads to a page: to another notebook, to the published book, or not."""
        if page == here:
            return ""
        if page in self.numbers or page == GLOSSARY:
            return f"{PurePosixPath(page).name}.ipynb"
        return f"{self.address}/{page}.html" if self.address else ""


def blocks(book: Book, passage: Passage) -> Iterator[tuple[Token, Directive | None]]:
    """Tokens of a passage with the directives that they are, and of all that is inside boxes."""
    for token in book.parser.parse(passage.text):
        found = directive(token, passage)
        yield token, found
        if found and found.name not in CODE:
            yield from blocks(book, found.body)


def _labels(book: Book, page: str) -> dict[str, Label]:
    """Names on one page."""
    labels, counts = {}, dict.fromkeys(KINDS, 0)
    target, in_heading = "", False
    for token, found in blocks(book, book.passage(page)):
        if token.type == "myst_target":
            target = token.content
        elif token.type == "inline" and in_heading:
            labels.setdefault(page, Label(page, token.content))
            labels[target or page], target = Label(page, token.content), ""
        elif numbered := _numbered(token, found):
            kind, name = numbered
            counts[kind] += 1
            number = f"{book.numbers.get(page, '')}.{counts[kind]}".lstrip(".")
            labels[name] = Label(page, KINDS[kind].format(number))
        in_heading = token.type == "heading_open"
    return labels


def _numbered(token: Token, found: Directive | None) -> tuple[str, str] | None:
    """Kind and name of what the book numbers, or None."""
    if token.type == "math_block_label":
        return "equation", token.info
    if found is None:
        return None
    figure = found.options.get("mystnb", {}).get("figure")
    if found.name == "figure" or figure:
        return "figure", _name((figure or found.options).get("name"), found)
    if found.name in ("exercise", "exercise-start"):
        return "exercise", _name(found.options.get("label"), found)
    return None


def _name(name: str | None, found: Directive) -> str:
    if not name:
        raise found.place.error(0, f"{{{found.name}}} has a number, so give it a name or label")
    return name


def _terms(book: Book) -> Iterator[Term]:
    """Entries of the glossary: a word at the margin, its definition indented below."""
    for _, found in blocks(book, book.passage(GLOSSARY)):
        if found and found.name == "glossary":
            yield from _entries(found.body)


def _entries(body: Passage) -> Iterator[Term]:
    lines = body.lines
    starts = [i for i, line in enumerate(lines) if line.strip() and not line.startswith(" ")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        definition = body.part(start + 1, end)
        text = textwrap.dedent(definition.text).rstrip()
        yield Term(lines[start].strip(), Passage(body.path, text, definition.first))
