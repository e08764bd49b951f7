r"""Text that nothing runs, wherever a person may open it.

Two rules, each by construction and not by a search for what is bad:

- A written answer is shown as it was typed. It is kept as one block ``<pre>`` in which
  every character but letters, digits, spaces and ``. ,`` is a numeric entity: a program
  that renders Markdown, HTML or formulas finds nothing there to render.
- A single line (a name, a note, a message) holds no control character, nothing that turns
  the direction of writing, no half character, and no more than `LONGEST_LINE` characters.
"""

import html
import re

LONGEST_LINE = 1_000
LONGEST_ANSWER = 50_000  # characters; a page has about 3,000
OPEN, CLOSE = '<pre class="answer" style="white-space: pre-wrap">', "</pre>"
ESCAPE_SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, movements of the cursor
    r"|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)"  # titles of windows, links
    r"|\x1b[ -/]*[0-~]?"
)
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls, but tabs and ends of lines
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # turn the direction of writing
    "\u2028\u2029\ud800-\udfff]"  # other ends of lines, half characters
)


def plain(text: str) -> str:
    """Text with its lines and tabs, without anything else that a terminal or page obeys."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return UNSEEN.sub("", ESCAPE_SEQUENCE.sub("", text))


def line(text: str, longest: int = LONGEST_LINE) -> str:
    """One plain line, not too long."""
    text = " ".join(plain(text[: 10 * longest]).split())
    return text if len(text) <= longest else f"{text[:longest]} ..."


def written(text: str) -> str:
    """Markdown that shows a text as it was typed; `as_typed` gives the text back."""
    text = plain(text)
    if (more := len(text) - LONGEST_ANSWER) > 0:
        text = f"{text[:LONGEST_ANSWER]}\n[{more} more characters are in the file handed in]"
    return OPEN + "".join(map(_entity, text)) + CLOSE


def _entity(character: str) -> str:
    return character if character.isalnum() or character in " \n.," else f"&#{ord(character)};"


def as_typed(source: str) -> str:
    """The text of which `written` made this, or what else stands there."""
    if source.startswith(OPEN) and source.endswith(CLOSE):
        return html.unescape(source[len(OPEN) : -len(CLOSE)])
    return source
