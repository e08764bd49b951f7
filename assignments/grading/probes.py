"""Cells that must fail: proof that a submission's tests can still fail.

A submission shares its process with the tests, so it can disable `assert`, replace
`torch.allclose` or silence errors. After each test the grader runs a probe with
numbers drawn anew: each of its false statements must raise, and the probe itself must
stop with a word that only the grader knows. A probe that does not fail as it should
marks the submission as tampered.

This raises the bar, it does not prove honesty: code in the same process can always
tell probes from tests if it tries hard enough.
"""

import secrets
from dataclasses import dataclass

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

FALSE = [
    "{a} == {b}",
    "{a} >= {b}",
    "abs({a} - {b}) < 1e-6",
    "[{a}] == [{b}]",
    "isinstance({a}, str)",
    "not {b}",
    "__import__('math').isclose({a}, {b})",
    "__import__('torch').equal(__import__('torch').tensor({a}), __import__('torch').tensor({b}))",
    "__import__('torch').allclose("
    "__import__('torch').tensor({a}), __import__('torch').tensor({b}))",
    "__import__('numpy').allclose({a}, {b})",
    "__import__('numpy').array_equal([{a}], [{b}])",
]


@dataclass(frozen=True)
class Probe:
    """A cell that must stop with ``AssertionError: word``."""

    cell: NotebookNode
    word: str

    def failed_as_it_should(self) -> bool:
        """Whether the executed cell says that its tests still test."""
        errors = [o for o in self.cell.outputs if o.output_type == "error"]
        return [(e.ename, e.evalue) for e in errors] == [("AssertionError", self.word)]


def draw_probe() -> Probe:
    """A probe that no earlier one resembles."""
    word, lines = secrets.token_hex(8), ["caught = 0"]
    for form in secrets.SystemRandom().sample(FALSE, len(FALSE)):
        a, b = secrets.randbelow(10**6) / 1000, 1001 + secrets.randbelow(10**6) / 1000
        lines += ["try:", f"    assert {form.format(a=a, b=b)}"]
        lines += ["except AssertionError:", "    caught += 1"]
    # the word is put together only where every statement was caught
    lines.append(f"assert False, bytes.fromhex({word.encode().hex()!r}).decode()[caught - {len(FALSE)}:]")
    return Probe(new_code_cell("\n".join(lines)), word)
