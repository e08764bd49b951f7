"""What each student reads about their work: points, comments, which tests failed.

No text that a submission produced is repeated here, because its code may have read a
hidden test while it ran. A failed visible test is quoted by the message that the
released notebook has, where that message is fixed text; of failed hidden checks it is
said what they are about, as the master puts it.
"""

import ast
import html
from collections.abc import Iterable
from pathlib import Path

from .files import write_whole
from .masters import Master, Part, in_points
from .records import NOT_GRADED
from .report import Row

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>
:root {{ color-scheme: light dark; --line: #8886; }}
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; }}
td, th {{ padding: .4rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }}
td:nth-child(2), th:nth-child(2) {{ white-space: nowrap; text-align: right; }}
</style></head><body>
<h1>{title}</h1>
<p>{name}: <strong>{score} of {total}</strong>{status}</p>
<table><tr><th scope="col">Part</th><th scope="col">Points</th><th scope="col">Remark</th></tr>
{rows}
</table>{notes}
</body></html>
"""  # noqa: E501


def write_feedback(folder: Path, master: Master, rows: list[Row]) -> None:
    """One page a student who handed something in: ``<folder>/<student>.html``."""
    for row in rows:
        if row.record.key:
            write_whole(folder / f"{row.student.id}.html", page(master, row))


def page(master: Master, row: Row) -> str:
    """One student's feedback as a web page."""
    parts = [part for part in master.parts if part.points]
    notes = "".join(f"<li>{html.escape(_note(note))}</li>" for note in row.notes)
    return PAGE.format(
        title=html.escape(master.title),
        name=html.escape(row.student.name or row.student.id),
        score=f"{row.score:g}",
        total=in_points(master.points),
        status="" if row.status == "graded" else f" ({html.escape(row.status)})",
        rows="\n".join(_line(part, row) for part in parts),
        notes=f"<h2>Notes</h2><ul>{notes}</ul>" if notes else "",
    )


def _note(note: str) -> str:
    """A note without the words of an error, which may be those of a submission."""
    return NOT_GRADED if note.startswith(NOT_GRADED) else note


def _line(part: Part, row: Row) -> str:
    points = row.points[part.grade_id]
    earned = "?" if points is None else f"{points:g}"
    label = f"{part.task}, {LABELS[part.role]}"
    cells = [label, f"{earned} of {part.points:g}", _remark(part, row)]
    return "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"


LABELS = {"test": "test", "hidden": "hidden checks", "answer": "written answer"}


def _remark(part: Part, row: Row) -> str:
    if comment := row.comments[part.grade_id]:
        return comment
    if part.role == "answer":
        return ""
    error = row.record.tests.get(part.grade_id, "not run")
    if not error:
        return "passed"
    outcome = "took too long" if "CellTimeoutError" in error else "failed"
    if part.role == "hidden":
        return f"{outcome}; they try {part.about}"
    quoted = _quoted(part, error.split(": ", 1)[-1]) if outcome == "failed" else ""
    return quoted or f"{outcome}: run this test in your notebook"


def _quoted(part: Part, message: str) -> str:
    """What a visible test says that stands in it as fixed text; empty if nothing does.

    That is the message of an assert, or the case that a helper such as
    ``expect("k = 1", got, wanted)`` puts before what was expected.
    """
    source = "\n".join(line for line in part.source.splitlines() if not line.startswith("%"))
    nodes = list(ast.walk(ast.parse(source)))
    if message in _texts(node.msg for node in nodes if isinstance(node, ast.Assert)):
        return message
    calls = [node for node in nodes if isinstance(node, ast.Call) and node.args]
    cases = _texts(call.args[0] for call in calls)
    named = [case for case in cases if message.startswith(f"{case}: expected ")]
    return f"failed: {max(named, key=len)}" if named else ""


def _texts(nodes: Iterable[ast.AST | None]) -> set[str]:
    constants = [node.value for node in nodes if isinstance(node, ast.Constant)]
    return {value for value in constants if isinstance(value, str)}
