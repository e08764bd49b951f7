"""Run every notebook, or those that are named, and compare outputs that must not change.

A cell tagged `nbval-check-output` must print again what is stored in the notebook.
"""

import subprocess
import sys
from pathlib import Path

import digests

CHAPTERS = Path(__file__).parent.parent / "chapters"

OPTIONS = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=300"]
OPTIONS += ["--numprocesses=2", "--dist=loadfile"]
WARNINGS = ["-W", "ignore"]  # those of the notebook machinery; the library's are errors in tests/


def main() -> int:
    notebooks = sys.argv[1:] or [str(CHAPTERS)]
    command = [sys.executable, "-m", "pytest", *OPTIONS, *WARNINGS, *notebooks]
    return subprocess.run(command, env=digests.environment()).returncode


if __name__ == "__main__":
    sys.exit(main())
