"""Whole lines: boxes become quotes or folds, formulas one line, pictures part of the text."""

from collections.abc import Callable
from xml.sax.saxutils import escape

from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.dollarmath import dollarmath_plugin

from runnable.inline import Page, inline_edits
from runnable.myst import FENCES, Directive, directive
from runnable.passage import Edit, Passage

BOXES = {"admonition", "attention", "caution", "danger", "error", "hint", "important", "note"}
BOXES |= {"seealso", "tip", "warning"}
GONE = {"myst_target", "myst_line_comment", "myst_block_break"}
MATH = {"math_block", "math_block_label"}
PLAIN = {"hr", "code_block", "html_block", "front_matter", *FENCES}
OPENED = {"paragraph", "heading", "bullet_list", "ordered_list", "list_item", "blockquote"}
OPENED |= {"table", "thead", "tbody", "tr", "th", "td"}
PLAIN |= {f"{name}_{end}" for name in OPENED for end in ("open", "close")}


def translated(passage: Passage, page: Page) -> str:
    """A passage in plain Markdown.

    Raises
    ------
    TranslationError
        If something in it is not known here.
    """
    edits, starts = [], {}
    for token in page.book.parser.parse(passage.text):
        if token.type == "inline":
            edits += inline_edits(token, passage, page, starts)
        elif found := directive(token, passage):
            edits.append(_of_lines(token, passage, _directive(token, found, page)))
        elif token.type in MATH:
            edits.append(_formula(token, passage, page))
        elif token.type in GONE:
            start, end = map(passage.offset, token.map)
            edits.append(Edit(start, end, ""))
        elif token.type not in PLAIN:
            message = f"{token.type} is not translated; write plain Markdown instead"
            raise passage.error(token.map[0] if token.map else 0, message)
    return passage.edited(edits)


def _of_lines(token: Token, passage: Passage, text: str) -> Edit:
    start, end = token.map
    return Edit(passage.offset(start), min(passage.offset(end) - 1, len(passage.text)), text)


def _formula(token: Token, passage: Passage, page: Page) -> Edit:
    """A formula in one line, which tools read inside quotes too, and its number as a tag."""
    start, end = token.map
    before = passage.lines[start].index("$$")
    number = ""
    if token.type == "math_block_label":
        number = rf" \tag{{{page.book.labels[token.info].words.strip('()')}}}"
    text = f"$$ {' '.join(token.content.split())}{number} $$"
    return Edit(passage.offset(start) + before, passage.offset(end) - 1, text)


def _directive(token: Token, found: Directive, page: Page) -> str:
    if token.level or found.name not in DIRECTIVES:
        where = "inside a list or quote " if token.level else ""
        raise found.place.error(
            0,
            f"the directive {{{found.name}}} is not translated {where}for notebooks; write plain "
            "Markdown, or add it to tools/runnable/blocks.py",
        )
    return DIRECTIVES[found.name](found, page)


def _box(found: Directive, page: Page) -> str:
    """A quote with a bold title, or a fold where the page has one."""
    title = translated(Passage(found.body.path, found.argument, found.place.first), page)
    body = translated(found.body, page)
    if "dropdown" in found.classes:
        return folded(title, body)
    return quoted(f"**{title or found.name.capitalize()}**\n\n{body.strip()}")


def _picture(found: Directive, page: Page) -> str:
    """A picture and, below it, the caption that a figure has."""
    try:
        picture = f"![{found.options.get('alt', '')}]({page.embedded(found.argument)})"
    except LookupError as wrong:
        raise found.place.error(0, wrong.args[0]) from None
    if found.name == "image":
        return picture
    return f"{picture}\n\n{caption(found.options.get('name', ''), found.body, page)}"


DIRECTIVES: dict[str, Callable[[Directive, Page], str]] = {
    **dict.fromkeys(BOXES, _box),
    "image": _picture,
    "figure": _picture,
}


def caption(name: str, text: Passage, page: Page) -> str:
    """A figure's number and what is said below it."""
    words = page.book.labels[name].words if name in page.book.labels else "Figure"
    return f"**{words}.** {translated(text, page).strip()}"


def quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.strip().split("\n"))


def folded(title: str, text: str) -> str:
    """Text that opens when its title, in Markdown, is clicked on."""
    return f"<details>\n<summary>{_as_html(title)}</summary>\n\n{text.strip()}\n\n</details>"


def _as_html(title: str) -> str:
    """A line as HTML, since Markdown is not read inside a summary; formulas stay as they are."""
    md = MarkdownIt("commonmark").use(dollarmath_plugin)
    md.add_render_rule("math_inline", lambda _, tokens, i, *__: f"${escape(tokens[i].content)}$")
    return f"<b>{md.renderInline(title)}</b>"


def fenced(text: str, language: str = "") -> str:
    """Text as it is, in a fence that nothing in it closes."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
