"""The page *Run it at scale*: its code runs, on a local Dask cluster too."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from snnlib.study import sweep
from snnlib.study.sweep import Setting, all_cells, run_sweep

PAGE = Path(__file__).parent.parent.parent / "appendix" / "at_scale.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.M | re.S)
SETTING = Setting("digits", per_class=20, train_per_class=100, steps=(1, 4, 16))
CELLS = all_cells(2, balancings=("none", "percentile"))


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What the page's sweep gives in one process."""
    return run_sweep(CELLS, SETTING, tmp_path_factory.mktemp("expected"))


def run(code: str, folder: Path) -> str:
    """Prints of a program that is a file of its own, as a reader would run it."""
    (folder / "program.py").write_text(code)
    command = [sys.executable, "-W", "error::FutureWarning", "program.py"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=os.environ, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def results_in(folder: Path) -> dict:
    """What the files of a sweep say; a call with all results there runs nothing."""
    assert len(list(folder.glob("*.json"))) == len(CELLS)
    return run_sweep(CELLS, SETTING, folder)


def dask_block() -> str:
    (block,) = [block for block in BLOCKS if "dask" in block]
    return block


@pytest.mark.slow
def test_the_first_cells_of_the_page_run_one_after_the_other(tmp_path, expected):
    run(BLOCKS[0], tmp_path)
    assert results_in(tmp_path / "sweep") == expected


@pytest.mark.slow
def test_a_local_dask_cluster_goes_on_where_one_process_stopped(tmp_path, expected):
    pytest.importorskip("distributed", reason='Dask is missing: pip install -e ".[scale]"')
    folder = tmp_path / "sweep"
    run_sweep(CELLS[:5], SETTING, folder)
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.json")}
    printed = run(dask_block(), tmp_path)
    after = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.json")}
    assert {name: after[name] for name in before} == before
    assert results_in(folder) == expected
    assert printed.splitlines() == [f"{cell.name} {row}" for cell, row in expected.items()]


def test_one_line_is_the_difference():
    """Between processes and a cluster: the sweep itself is called alike."""
    processes, cluster = BLOCKS[1], dask_block()
    call = 'accuracy = run_sweep(cells, setting, "sweep")'
    assert call in BLOCKS[0]
    assert call in processes
    assert call in cluster
    assert "with parallel_config(n_jobs=2):" in processes
    assert 'with parallel_config(backend="dask"):' in cluster


def test_what_the_page_says_of_chapter_7_is_so():
    assert len(all_cells()) == 60
    assert len(CELLS) == 12
    assert len(sweep._test_images(SETTING)) == 200
    assert Setting().per_class is None
