"""Cells that must fail: tell a notebook in which tests cannot fail from an honest one.

Points come from the judge. But where a visible test passes in the notebook and not
before the judge, a person wants to know why. The notebook may have other data than it
was given, or a class of its own, and be honest. Or it has disabled `assert`, replaced
`torch.allclose`, silenced errors. Then the grader runs a probe with numbers drawn anew:
each of its false statements must raise, and the probe itself must stop with a word that
only the grader knows. A notebook in which it does not is called tampered.
"""

import secrets
from dataclasses import dataclass

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

FALSE = [
    "{a} == {b}",
    "{a} >= {b}",
    "[{a}] == [{b}]",
    "not {b}",
    "builtins.abs({a} - {b}) < 1e-6",
    "builtins.isinstance({a}, builtins.str)",
    "math.isclose({a}, {b})",
    "torch.equal(torch.tensor({a}), torch.tensor({b}))",
    "torch.allclose(torch.tensor({a}), torch.tensor({b}))",
    "numpy.allclose({a}, {b})",
    "numpy.array_equal([{a}], [{b}])",
]
MODULES = ["builtins", "math", "torch", "numpy"]


@dataclass(frozen=True)
class Probe:
    """A cell that must stop with ``AssertionError: word``."""

    cell: NotebookNode
    word: str

    @property
    def errors(self) -> list[tuple[str, str]]:
        """What the executed cell stopped with."""
        return [(o.ename, o.evalue) for o in self.cell.outputs if o.output_type == "error"]

    def failed_as_it_should(self) -> bool:
        """Whether false statements still raise."""
        return self.errors == [("AssertionError", self.word)]

    def timed_out(self) -> bool:
        """Whether the kernel was still busy with something else, which proves nothing."""
        return [name for name, _ in self.errors] == ["CellTimeoutError"]


def draw_probe() -> Probe:
    """A probe that no earlier one resembles."""
    word, lines = secrets.token_hex(8), ["_caught = 0"]
    for form in secrets.SystemRandom().sample(FALSE, len(FALSE)):
        a, b = secrets.randbelow(10**6) / 1000, 1001 + secrets.randbelow(10**6) / 1000
        lines += ["try:", f"    assert {_own_modules(form.format(a=a, b=b))}"]
        lines += ["except AssertionError:", "    _caught += 1"]
    spelled = f"bytes.fromhex({word.encode().hex()!r}).decode()"
    # the whole word comes out only where every statement was caught
    lines.append(f"assert False, {_own_modules(f'builtins.{spelled}')}[_caught - {len(FALSE)}:]")
    return Probe(new_code_cell("\n".join(lines)), word)


def _own_modules(statement: str) -> str:
    """A student may have given any of these names to something else."""
    for module in MODULES:
        statement = statement.replace(f"{module}.", f"__import__('{module}').")
    return statement
