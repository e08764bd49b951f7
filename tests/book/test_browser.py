"""The browser of the tests is found, or its absence said in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from browser import PROGRAMS, find_browser

HERE = Path(__file__).parent


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """An empty folder in which alone programs are looked for."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROMIUM", raising=False)
    return tmp_path


def install(path: Path) -> str:
    path.touch(mode=0o755)
    return str(path)


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_name_of_the_browser_is_known(programs, name):
    assert find_browser() is None
    assert install(programs / name) == find_browser()


def test_the_variable_chromium_comes_first(programs, monkeypatch):
    install(programs / "chromium")
    mine = install(programs / "my-browser")
    for name in ("my-browser", mine):
        monkeypatch.setenv("CHROMIUM", name)
        assert find_browser() == mine
    monkeypatch.setenv("CHROMIUM", "no-such-browser")
    assert find_browser() is None


def test_without_a_browser_one_line_says_so_and_other_tests_run(programs):
    chosen = "test_a_search or test_there_are_formulas"
    command = [sys.executable, "-m", "pytest", HERE / "test_pages.py", "-k", chosen]
    run = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PATH": ""})
    lines = [line for line in run.stdout.splitlines() if "Chromium" in line]
    assert lines == [
        "2 tests skipped: Chromium is missing "
        "(.ci/run installs it; the variable CHROMIUM may name one)"
    ]
    assert "1 passed, 2 skipped" in run.stdout
    assert run.returncode == 0
