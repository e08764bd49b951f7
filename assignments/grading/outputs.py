"""Outputs that nothing runs, wherever a person may open them.

An output is printed text, an error, ``text/plain`` or ``image/png``; of a figure only the
parts are kept that hold its pixels. Nothing else that a kernel sent is kept.
"""

import base64
from binascii import crc32
from collections.abc import Iterator

from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.preprocessors import NbGraderPreprocessor

from .inert import line, plain

NEITHER = "(neither text nor a figure: not kept)"
SIGNATURE = b"\x89PNG\r\n\x1a\n"
PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
LONGEST = 500  # characters of a line of code
MOST_PIXELS = 1 << 23  # of one figure


def figure(encoded: object) -> str | None:
    """A PNG file in base64, made anew of its pixels; nothing if it is none."""
    try:
        data = base64.b64decode("".join(encoded.split()), validate=True)
        parts = [part for part in _parts(data) if part[0] in PIXELS]
        width, height = (int.from_bytes(parts[0][1][i : i + 4], "big") for i in (0, 4))
    except (AttributeError, IndexError, ValueError):
        return None
    whole = parts[0][0] == b"IHDR" and parts[-1] == (b"IEND", b"")
    if not whole or not 0 < width * height <= MOST_PIXELS:
        return None
    return base64.b64encode(SIGNATURE + b"".join(map(_chunk, parts))).decode()


def _parts(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG file up to its end: kind, content.

    Raises
    ------
    ValueError
        If it is no PNG file, or is cut off.
    """
    place, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        size = int.from_bytes(data[place : place + 4], "big")
        kind, content = data[place + 4 : place + 8], data[place + 8 : place + 8 + size]
        place += 12 + size
        if not data.startswith(SIGNATURE) or place > len(data):
            raise ValueError("no PNG file")
        yield kind, content


def _chunk(part: tuple[bytes, bytes]) -> bytes:
    kind, content = part
    check = crc32(kind + content).to_bytes(4, "big")
    return len(content).to_bytes(4, "big") + kind + content + check


def output(found: NotebookNode) -> NotebookNode:
    """What a person needs to see of one output of a cell."""
    if found.output_type == "stream":
        name = "stderr" if found.name == "stderr" else "stdout"
        return new_output("stream", name=name, text=_printed(_text(found.text)))
    if found.output_type == "error":
        trace = [plain(_text(part)) for part in found.traceback]
        named = {"ename": line(_text(found.ename)), "evalue": line(_text(found.evalue))}
        return new_output("error", traceback=trace, **named)
    data = {"text/plain": plain(_text(found.data.get("text/plain", NEITHER)))}
    if picture := figure(found.data.get("image/png")):
        data["image/png"] = picture
    return new_output("display_data", data=data)


def _printed(text: str) -> str:
    """What a terminal still shows: of a line that was written over, its last state."""
    lines = text.replace("\r\n", "\n").split("\n")
    return plain("\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines))


def _text(value: object) -> str:
    """The text of an output, which may be anything."""
    return value if isinstance(value, str) else ""


def _readable(code: str) -> str:
    """Code without the ends of lines that nobody reads, and that take minutes to colour."""
    lines = (
        f"{line[:LONGEST]} [cut]" if len(line) > LONGEST else line for line in code.split("\n")
    )
    return "\n".join(lines)


class Inert(NbGraderPreprocessor):
    """Reduce what a kernel sent to what a person needs to see; the last word on a notebook."""

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        """Drop all other metadata and outputs."""
        nb.metadata = _only(nb.metadata, "kernelspec")
        nb.metadata.language_info = {"name": "python"}
        for cell in nb.cells:
            cell.metadata = _only(cell.metadata, "nbgrader")
            cell.pop("attachments", None)
            if cell.cell_type == "code":
                cell.source = _readable(cell.source)
                cell.outputs = [output(found) for found in cell.outputs]
        return nb, resources


def _only(metadata: NotebookNode, name: str) -> NotebookNode:
    return NotebookNode({name: metadata[name]} if name in metadata else {})
