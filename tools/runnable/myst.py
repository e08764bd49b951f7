"""MyST as the book reads it: the same parser, which here remembers where everything stands."""

import functools
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser

from runnable.passage import Passage

FENCES = ("fence", "colon_fence")
NAMED = re.compile(r"^\{(?P<name>[^}]+)\}\s*(?P<argument>.*)$")
OPTION = re.compile(r"^:(?P<key>[\w-]+):(?: +(?P<value>.*))?$")
PLACED = {"myst_role", "math_inline", "image", "link"}  # inline rules whose place is remembered


@dataclass(frozen=True)
class Directive:
    """A fence with a name in braces."""

    name: str
    argument: str
    options: dict[str, Any]
    body: Passage
    place: Passage  # all of it

    @property
    def classes(self) -> set[str]:
        return set(self.options.get("class", "").split())


@functools.cache
def parser(extensions: tuple[str, ...]) -> MarkdownIt:
    """The book's parser; tokens of inline rules in PLACED have their span in `meta`."""
    md = create_md_parser(MdParserConfig(enable_extensions=set(extensions)), RendererHTML)
    for rule in list(md.inline.ruler.__rules__):
        if rule.name in PLACED:
            md.inline.ruler.at(rule.name, _placing(rule.fn))
    return md


def _placing(rule: Callable[[StateInline, bool], bool]) -> Callable[[StateInline, bool], bool]:
    """The same rule, which stores in its first token from where to where it read."""

    def placed(state: StateInline, silent: bool) -> bool:
        start, before = state.pos, len(state.tokens)
        if not rule(state, silent):
            return False
        for token in state.tokens[before:]:
            if token.type != "text":  # which waited to be written
                token.meta = {**token.meta, "span": (start, state.pos)}
                break
        return True

    return placed


def directive(token: Token, passage: Passage) -> Directive | None:
    """The directive that a token of a passage is, or None if it is none."""
    if token.type not in FENCES or not (named := NAMED.match(token.info.strip())):
        return None
    place = passage.part(*token.map)
    if not place.lines[-1].strip().endswith(token.markup):
        raise place.error(0, f"the directive {{{named['name']}}} is never closed")
    inside = place.part(1, len(place.lines) - 1)
    options, length = _options(inside)
    body = inside.part(length, len(inside.lines))
    return Directive(named["name"], named["argument"].strip(), options, body, place)


def _options(inside: Passage) -> tuple[dict[str, Any], int]:
    """What stands at a directive's beginning, as YAML or `:key: value`, and on how many lines."""
    lines, options = inside.lines, {}
    if lines[0].strip() == "---" and "---" in lines[1:]:
        length = lines[1:].index("---") + 2
        return yaml.safe_load("\n".join(lines[1 : length - 1])) or {}, length
    for found in itertools.takewhile(bool, map(OPTION.match, lines)):
        options[found["key"]] = found["value"] or ""
    return options, len(options)


def walk(tokens: list[Token]) -> Iterator[Token]:
    """Tokens and, behind each, those inside it."""
    for token in tokens:
        yield token
        yield from walk(token.children or [])
