"""A private folder in which Jupyter finds the sandboxed kernel and nothing else."""

import fcntl
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from .files import remove
from .sandbox import Limits, Usage, font_lists

KERNEL = "sandbox"
PREFIX = "grade-"


def sweep() -> None:
    """Remove the private folders of runs that were killed: nobody holds their locks."""
    for folder in _place().glob(f"{PREFIX}*"):
        with suppress(OSError):  # another user's, or a run's that just begins
            own = folder.lstat().st_uid == os.geteuid() and not folder.is_symlink()
            if own and (folder / "lock").is_file():
                with _locked(folder):
                    remove(folder)


def _place() -> Path:
    return Path(os.environ.get("GRADING_TMP", "/tmp"))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock, which the end of the process gives back as well."""
    with open(folder / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


@contextmanager
def private_folder(limits: Limits, script: list[dict]) -> Iterator[dict[str, str]]:
    """Yield the environment for one graded notebook; remove its folder afterwards.

    The sandbox shares only ``shared/``, where the kernel's connection file and sockets
    lie: there is no network, so they talk through files. Its path must be short, as the
    system allows 107 characters for the name of a socket; GRADING_TMP moves it. The
    judge's sockets lie in ``judge/``, where the kernel can connect, but change nothing.
    """
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=_place()))
    try:
        with _locked(folder):
            (folder / "shared").mkdir()
            (folder / "judge").mkdir()
            (folder / "judge").chmod(0o755)  # for the kernel's user, whatever the umask
            (folder / "script.json").write_text(json.dumps(script))
            _write_kernel(folder / "jupyter" / "kernels" / KERNEL)
            yield {
                "JUPYTER_PATH": str(folder / "jupyter"),
                "TMPDIR": str(folder / "shared"),
                "GRADING_LIMITS": json.dumps(asdict(limits)),
                "GRADING_FONTS": font_lists(),
                "GRADING_PREPARED": str(folder / "prepared.json"),
                "GRADING_USAGE": str(folder / "usage.json"),
                "GRADING_FOUND": str(folder / "found.json"),
                "GRADING_SCRIPT": str(folder / "script.json"),
                "GRADING_JUDGE": str(folder / "judge"),
                "GRADING_KERNEL": KERNEL,
            }
    finally:
        remove(folder)


def _write_kernel(folder: Path) -> None:
    folder.mkdir(parents=True)
    start = [sys.executable, "-m", f"{__package__}.sandbox", "{connection_file}"]
    # by message: a signal would reach bubblewrap, not the kernel
    kernel = {"argv": start, "display_name": KERNEL, "interrupt_mode": "message"}
    (folder / "kernel.json").write_text(json.dumps(kernel | {"language": "python"}))


def read_usage(environment: dict[str, str]) -> Usage:
    """What the sandbox measured; zeros if it never got that far."""
    path = Path(environment["GRADING_USAGE"])
    return Usage(**json.loads(path.read_text())) if path.exists() else Usage(0.0, 0.0)
