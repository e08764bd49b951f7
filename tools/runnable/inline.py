"""What stands inside a line: roles become words, links lead to notebooks, formulas stay whole."""

import base64
import mimetypes
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from markdown_it.token import Token

from runnable.book import GLOSSARY, Book, Label
from runnable.citations import ROLES as CITING
from runnable.myst import walk
from runnable.passage import Edit, Passage

TITLED = re.compile(r"^(?P<words>.+?)\s*<(?P<target>[^<>]+)>$", flags=re.S)
MATH = {"math_inline", "math_inline_double"}
PLAIN = {"text", "softbreak", "hardbreak", "code_inline", "html_inline", "text_special"}
PLAIN |= {"em_open", "em_close", "strong_open", "strong_close", "link_close"}


@dataclass
class Page:
    """A page on its way: whose it is, and what it came to cite and to show."""

    book: Book
    name: str
    cited: set[str] = field(default_factory=set)

    def linked(self, words: str, page: str, title: str = "", fragment: str = "") -> str:
        """Words that lead to a page, if there is a way."""
        address = self.book.link(self.name, page)
        return f"[{words}]({address}{fragment}{title})" if address else words

    def picture(self, path: str) -> bytes:
        """A picture, given its path from the page."""
        try:
            return (self.book.root / self.resolve(path)).read_bytes()
        except OSError:
            raise LookupError(f"there is no picture {path!r}") from None

    def embedded(self, path: str) -> str:
        """An address that holds a picture, since Colab shows no attachments."""
        kind, _ = mimetypes.guess_type(path)
        return f"data:{kind};base64,{base64.b64encode(self.picture(path)).decode()}"

    def resolve(self, path: str) -> str:
        """From the page's folder to the book's."""
        return posixpath.normpath(posixpath.join(posixpath.dirname(self.name), path))


def inline_edits(token: Token, passage: Passage, page: Page, starts: dict[int, int]) -> list[Edit]:
    """What must change in one run of text; `starts` says where to look for it in each line."""
    offsets = _offsets(token, passage, starts)
    edits = []
    for child in token.children or []:
        for start, end, text in _edits(child, token, passage, page):
            if None in (offsets[start], offsets[end]):
                raise passage.error(
                    token.map[0], "a bar in a cell of a table; write it as `\\vert`"
                )
            edits.append(Edit(offsets[start], offsets[end], text))
    return edits


def _offsets(token: Token, passage: Passage, starts: dict[int, int]) -> list[int | None]:
    """Where in the passage each character of a run of text stands."""
    offsets, lines = [], passage.lines
    for number, part in enumerate(token.content.split("\n"), token.map[0]):
        column = lines[number].find(part, starts.get(number, 0))
        if column < 0:  # an escaped bar in a table
            offsets += [None] * (len(part) + 1)
            continue
        starts[number] = column + len(part)
        first = passage.offset(number) + column
        offsets += range(first, first + len(part) + 1)
    return offsets


def _edits(child: Token, token: Token, passage: Passage, page: Page) -> Iterator[Edit]:
    """Changes for one token, in characters of the text that it is in."""
    start, end = child.meta.get("span", (0, 0))
    text = token.content[start:end]
    try:
        for edit in _changes(child, text, page):
            yield Edit(start + edit.start, start + edit.end, edit.text)
    except LookupError as wrong:
        line = token.map[0] + token.content.count("\n", 0, start)
        raise passage.error(line, wrong.args[0]) from None


def _changes(child: Token, text: str, page: Page) -> Iterator[Edit]:
    """Changes for one token, in characters of its own text."""
    if child.type == "myst_role":
        yield Edit(0, len(text), role(child.meta["name"], child.content, page))
    elif child.type in MATH:
        yield Edit(0, len(text), " ".join(text.split("\n")))
    elif child.type == "image":
        yield Edit(text.rindex("]("), len(text), f"]({page.embedded(child.attrGet('src'))})")
    elif child.type == "link_open":
        if child.markup not in ("linkify", "autolink"):
            yield from _link(child.attrGet("href"), text, page)
    elif child.type not in PLAIN:
        raise LookupError(f"{child.type} is not translated; write plain Markdown instead")


def _link(address: str, text: str, page: Page) -> Iterator[Edit]:
    """Lead to a notebook or to the published book; keep the words alone where neither is."""
    if urlsplit(address).scheme:
        return
    labels, target = page.book.labels, page.resolve(address).removesuffix(".md")
    label = labels.get(target) or labels.get(address)
    if label is None or "](" not in text:
        raise LookupError(
            f"the link {text!r} leads to no page and no label of the book; write [words](page.md)"
        )
    cut, link = text.rindex("]("), page.book.link(page.name, label.page)
    if link:
        yield Edit(cut, len(text), f"]({link})")
    else:
        yield Edit(0, 1, "")
        yield Edit(cut, len(text), "")


def role(name: str, content: str, page: Page) -> str:
    """What a role says, in words and links.

    Raises
    ------
    LookupError
        If the role, or what it refers to, is not known; its text is for the author.
    """
    titled = TITLED.match(content)
    words, target = (titled["words"], titled["target"]) if titled else ("", content)
    if name in CITING:
        return _cited(name, [key.strip() for key in content.split(",")], page)
    if name == "term":
        return term(words or target, target, page)
    if name in ("numref", "ref", "eq"):
        label = _label(target, page.book)
        return page.linked(_worded(words, label), label.page)
    if name == "doc":
        label = _label(page.resolve(target), page.book)
        return page.linked(words or label.words, label.page)
    raise LookupError(
        f"the role {{{name}}} is not translated; write plain Markdown, or add it to "
        "tools/runnable/inline.py"
    )


def _cited(name: str, keys: list[str], page: Page) -> str:
    page.cited |= set(keys)
    for key in keys:
        if key not in page.book.citations.data.entries:
            raise LookupError(f"references.bib has no {key!r}")
    return page.book.citations.cite(name, keys)


def _label(name: str, book: Book) -> Label:
    if name not in book.labels:
        raise LookupError(f"nothing in the book is labelled {name!r}")
    return book.labels[name]


def _worded(words: str, label: Label) -> str:
    """An own text for a number has %s in its place."""
    number = label.words.split()[-1]
    return words.replace("%s", number).replace("{number}", number) or label.words


def term(words: str, name: str, page: Page) -> str:
    """A word that leads to the glossary and shows its definition under the pointer."""
    if name.lower() not in page.book.terms:
        raise LookupError(f"the glossary has no entry {name!r}")
    entry = page.book.terms[name.lower()]
    sentence = re.split(r"(?<=\.)\s", said(entry.definition, page))[0]
    title = ' "{}"'.format(sentence.replace("\\", "\\\\").replace('"', '\\"'))
    return page.linked(words, GLOSSARY, title, f"#{entry.name.replace(' ', '-')}")


def said(passage: Passage, page: Page) -> str:
    """A passage as it is read aloud: the words alone."""
    pieces = []
    for token in walk(page.book.parser.parse(passage.text)):
        if token.type == "softbreak":
            pieces.append(" ")
        elif token.type == "myst_role":
            titled = TITLED.match(token.content)
            pieces.append(titled["words"] if titled else token.content)
        elif token.type not in ("inline",):
            pieces.append(token.content)
    return "".join(pieces)
