"""Build the book: execute what changed, stop at any warning, check that pages came out.

Sphinx caches executed chapters by their text alone.  A changed library must run
them again, so its fingerprint is kept beside the cache.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
BUILD = ROOT / "_build"


def fingerprint() -> str:
    """Changes whenever the library, its data or the pinned packages do."""
    digest = hashlib.sha256()
    files = [p for p in (ROOT / "snnlib").rglob("*") if p.is_file() and p.suffix != ".pyc"]
    for path in sorted([*files, ROOT / "requirements.txt", ROOT / "constraints.txt"]):
        digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()


def forget_stale_executions() -> None:
    mark = BUILD / "library.sha256"
    if not mark.exists() or mark.read_text() != fingerprint():
        shutil.rmtree(BUILD, ignore_errors=True)
        BUILD.mkdir()
        mark.write_text(fingerprint())


def main() -> int:
    forget_stale_executions()
    shutil.rmtree(BUILD / "html", ignore_errors=True)  # old pages would hide their warnings
    command = [Path(sys.executable).with_name("jupyter-book"), "build", ".", "-n", "-W"]
    return subprocess.run([*command, "--keep-going", "--all"], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
