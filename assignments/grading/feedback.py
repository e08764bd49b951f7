"""What each student reads about their work: points, comments, which tests failed.

No text that a submission produced is repeated here, because its code may have read a
hidden test while it ran. A failed visible test is quoted by the message that the
released notebook has, where that message is fixed text.
"""

import ast
import html
from pathlib import Path

from .files import write_whole
from .masters import Master, Part
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
<p>{name}: <strong>{score} of {total} points</strong>{status}</p>
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
        total=f"{master.points:g}",
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
    if "CellTimeoutError" in error:
        return "took too long"
    if part.role == "test" and (message := error.split(": ", 1)[-1]) in _messages(part):
        return message
    return "failed" if part.role == "hidden" else "failed: run this test in your notebook"


def _messages(part: Part) -> set[str]:
    """The fixed messages of a test's asserts."""
    source = "\n".join(line for line in part.source.splitlines() if not line.startswith("%"))
    asserts = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Assert)]
    constants = [n.msg.value for n in asserts if isinstance(n.msg, ast.Constant)]
    return {message for message in constants if isinstance(message, str)}
