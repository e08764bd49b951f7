"""Tables as people have them: CSV of a learning platform, a spreadsheet or an editor.

Commas, semicolons and tabs separate columns, whichever the header has most of. UTF-8 and
marked UTF-16 are read. Any other encoding is refused, because a guess would change names.
What is written no spreadsheet takes for a formula.
"""

import codecs
import csv
import io
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .classroom import ClassroomError
from .inert import plain

DELIMITERS = ",;\t"
LONGEST = 1 << 24  # characters of a cell
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
MARKS = (codecs.BOM_UTF8, *UTF16)
FORMULA = re.compile(r"'*\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|'*[\t\r\n]")
# a spreadsheet that expects other separators ends a cell at these, quoted or not
INNER = re.compile(r"([;\t\n]|,(?!\s))([^\S\t\n]*)('*)([=+\-@\uff1d\uff0b\uff0d\uff20])")


@dataclass(frozen=True)
class Line:
    """One row: where it stands, and its values by column; "" is all without a name."""

    where: str
    values: dict[str, str]


@dataclass(frozen=True)
class Table:
    """A header, rows, and how the file separates columns."""

    header: list[str]
    lines: list[Line]
    delimiter: str = ","
    marked: bool = False  # with a byte order mark, as a spreadsheet may need it


def read_table(path: Path) -> Table:
    """Read a file of separated values.

    Of two columns with one name the first counts. Empty lines are left out.

    Raises
    ------
    ClassroomError
        If it is no text, its encoding is not known, or a row has more values than the
        header has columns; the message says how to save it.
    """
    content = path.read_bytes()
    text = _decoded(content, path)
    hint, _, rest = text.partition("\n")
    if hint.strip().lower() in ("sep=,", "sep=;"):  # a line for a spreadsheet
        text = rest
    delimiter = max(DELIMITERS, key=re.split(r"[\r\n]", text, maxsplit=1)[0].count)
    lines = _lines(text, delimiter, path)
    header = [name.strip() for name in next(lines, (0, []))[1]]
    rows = [_line(header, values, f"{path}, line {number}") for number, values in lines]
    return Table(header, rows, delimiter, content.startswith(MARKS))


def _decoded(content: bytes, path: Path) -> str:
    if content.startswith(b"PK\x03\x04"):
        raise ClassroomError(f"{path} is a spreadsheet's own file: export it as CSV (UTF-8)")
    encoding = "utf-16" if content.startswith(UTF16) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line, file = content[: error.start].count(b"\n") + 1, shlex.quote(str(path))
        raise ClassroomError(
            f"{path}, line {line}: not UTF-8, perhaps Latin-1 or Windows-1252. "
            "Save it as 'CSV UTF-8' in the spreadsheet, or convert it: "
            f"iconv -f WINDOWS-1252 -t UTF-8 {file} > new.csv && mv new.csv {file}"
        ) from None
    if "\0" in text:
        raise ClassroomError(f"{path} holds zero bytes: save it as 'CSV UTF-8'")
    return text


def _lines(text: str, delimiter: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """The number and the values of each row that is not empty."""
    csv.field_size_limit(LONGEST)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    number = 1
    try:
        for values in reader:
            if any(value.strip() for value in values):
                yield number, values
            number = reader.line_num + 1
    except csv.Error as error:
        raise ClassroomError(f"{path}, line {number}: no separated values ({error})") from None


def _line(header: list[str], values: list[str], where: str) -> Line:
    while len(values) > len(header) and not values[-1].strip():
        values.pop()
    if len(values) > len(header):
        raise ClassroomError(
            f"{where}: {len(values)} values for {len(header)} columns; "
            'put a value that holds the separator in quotes: "1,5"'
        )
    values += [""] * (len(header) - len(values))
    named = dict(zip(reversed(header), reversed(values), strict=True))
    unnamed = (value for name, value in zip(header, values, strict=True) if not name)
    return Line(where, named | {"": "".join(unnamed)})


def as_text(value: object) -> object:
    """A table's value, marked wherever a spreadsheet would run it as a formula."""
    if not isinstance(value, str):
        return value
    value = INNER.sub(r"\1\2'\3\4", plain(value))
    return f"'{value}" if FORMULA.match(value) else value


def from_text(value: str) -> str:
    """What `as_text` was given."""
    value = value[1:] if value.startswith("'") and FORMULA.match(value) else value
    return INNER.sub(lambda found: found[1] + found[2] + found[3][1:] + found[4], value)
