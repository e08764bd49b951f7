"""A probe fails where tests can fail, and only there."""

import pytest
from grading.check import run
from grading.probes import draw_probe
from nbformat.v4 import new_code_cell, new_notebook, new_output

SHADOWS = "abs = isinstance = bytes = torch = math = numpy = caught = 3"


def executed(probe, before: str):
    notebook = new_notebook(cells=[new_code_cell(before), probe.cell])
    probe.cell.outputs = run(notebook, timeout=60).cells[1].outputs
    return probe


@pytest.mark.parametrize("before", ["pass", SHADOWS, "import torch\ndef leak(v): return v"])
def test_honest_code_lets_it_fail(before):
    assert executed(draw_probe(), before).failed_as_it_should()


@pytest.mark.parametrize(
    "before",
    [
        "import torch; torch.equal = lambda *a: True",
        "import numpy; numpy.allclose = lambda *a, **k: True",
        "import builtins; builtins.abs = lambda x: 0",
        "import builtins; builtins.AssertionError = ValueError",
        "get_ipython().set_custom_exc((Exception,), lambda *a, **k: None)",
    ],
)
def test_code_that_disables_tests_is_found(before):
    probe = executed(draw_probe(), before)
    assert not probe.failed_as_it_should()
    assert not probe.timed_out()


def test_no_two_probes_are_alike():
    assert len({draw_probe().cell.source for _ in range(20)}) == 20


def test_a_busy_kernel_proves_nothing():
    probe = draw_probe()
    probe.cell.outputs = [new_output("error", ename="CellTimeoutError", evalue="", traceback=[])]
    assert probe.timed_out()
    assert not probe.failed_as_it_should()
