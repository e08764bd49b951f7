"""Each notebook runs to its end with nothing but the installed library, far from the repository."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import make_runnable
import pytest

NOTEBOOKS = sorted(
    path for path in (make_runnable.ROOT / "notebooks").glob("*.ipynb") if path.stem != "glossary"
)
NBVAL = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=300", "-W", "ignore", "-q"]
WHERE = "import snnlib; print(snnlib.__file__)"


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """A folder into which the library's wheel, and nothing else, is installed."""
    work = tmp_path_factory.mktemp("wheel")
    shutil.copytree(make_runnable.ROOT / "snnlib", work / "source/snnlib")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(make_runnable.ROOT / name, work / "source")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, "wheel", work / "source", *options, "-w", work], check=True)
    (wheel,) = work.glob("*.whl")
    subprocess.run([*pip, "install", wheel, *options, "--target", work / "site"], check=True)
    return work / "site"


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_with_the_wheel_alone(path, site, tmp_path):
    shutil.copy(path, tmp_path)
    environment = os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    here = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
    found = subprocess.run([sys.executable, "-c", WHERE], check=True, **here).stdout
    assert Path(found.strip()).is_relative_to(site)
    command = [sys.executable, "-m", "pytest", "--rootdir", ".", *NBVAL, path.name]
    run = subprocess.run([*command, "-p", "no:cacheprovider", "-p", "no:xdist"], **here)
    assert run.returncode == 0, run.stdout[-6000:]
