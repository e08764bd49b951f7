import shutil
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent / "assignments")]


def pytest_collection_modifyitems(items):
    """Student code is never run without its sandbox, not even here."""
    if shutil.which("bwrap"):
        return
    skip = pytest.mark.skip(reason="bubblewrap is not installed (.ci/run installs it)")
    for item in items:
        if item.path.name in (
            "test_class.py",
            "test_compiled.py",
            "test_grade.py",
            "test_formgrader.py",
            "test_interrupts.py",
            "test_one_record.py",
        ):
            item.add_marker(skip)


@pytest.fixture
def inbox(tmp_path):
    """An empty one."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder
