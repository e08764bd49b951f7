"""One process behind bubblewrap: no network, nothing to read, limits on everything.

Inside, a submission sees the system's programs, this Python, `snnlib`, and an empty
folder of its own. It does not see the masters, the grade book, other submissions or
its own notebook. Jupyter starts ``python -m grading.sandbox CONNECTION_FILE`` as if it
were the kernel; this process starts the kernel in the sandbox and watches it.

Linux only. Source of the method: nbgrader's advice to grade in a container, done with
bubblewrap (https://github.com/containers/bubblewrap).
"""

import json
import math
import os
import shlex
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import psutil

from .compiled import lent
from .files import write_whole

INSIDE = Path(__file__).with_name("inside.py")
JUDGING = Path(__file__).with_name("judging")
KERNEL = [sys.executable, "-m", "ipykernel_launcher", "--HistoryManager.hist_file=:memory:", "-f"]
NOBODY = 200_000  # and above: users that own nothing, one for each sandbox
SYSTEM = ["/usr", "/etc/alternatives", "/etc/fonts", "/etc/ld.so.cache", "/etc/localtime"]
FONTS = "/tmp/matplotlib"
ENTRY = 0.25  # MiB that a file or folder counts at least
MOST_ENTRIES = 10_000
CROWDED_SECONDS = 5  # for which more threads may be busy than allowed, all in all
MEBI = 1 << 20


class SandboxError(RuntimeError):
    """The sandbox cannot be used here; the message says why and what to install."""


@dataclass(frozen=True)
class Limits:
    """What one submission may use; sizes in MiB, times in seconds."""

    cell_seconds: int = 20
    seconds: int = 600
    memory: int = 4096  # resident, all processes together
    data: int = 3072  # writable memory of one process, which fails cleanly beyond it
    processes: int = 128  # threads count as processes
    busy: int = 4  # threads that compute at once; honest code has one
    file: int = 64
    disk: int = 256
    output: int = 4  # that a cell may print or draw
    outputs: int = 32  # all cells together

    @classmethod
    def from_environment(cls) -> "Limits":
        """The limits that GRADING_LIMITS states, or the defaults."""
        return cls(**json.loads(os.environ.get("GRADING_LIMITS", "{}")))


@dataclass(frozen=True)
class Usage:
    """What one submission used."""

    seconds: float
    peak_memory: float
    killed: str = ""


def command(
    program: list[str], limits: Limits, writable: Path, readable: Iterable[Path] = ()
) -> list[str]:
    """The bubblewrap command that runs a program in the sandbox.

    Parameters
    ----------
    program
        What to run inside.
    limits
        What it may use.
    writable
        The only folder of this system that it may write to.
    readable
        What it may read beside the system, this Python and the library.
    """
    as_root = os.geteuid() == 0  # root needs no user namespace, and gives up root inside
    lent = [o for p in readable for o in (*_way_to(p), "--ro-bind", str(p), str(p))]
    return [
        _bubblewrap(), "--die-with-parent", "--new-session",
        "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts",
        *([] if as_root else ["--unshare-user"]),
        "--proc", "/proc", "--dev", "/dev",
        *_scratch("/dev/shm", limits), *_scratch("/tmp", limits),
        *_read_only(), *_fonts(), *_kernels(limits), *lent,
        *_way_to(writable), "--bind", str(writable), str(writable),
        "--ro-bind", str(INSIDE), "/inside.py",
        "--remount-ro", "/dev", "--remount-ro", "/",
        "--chdir", "/tmp", "--clearenv", *_environment(),
        sys.executable, "/inside.py", json.dumps(asdict(limits)), f"{user()}", *program,
    ]  # fmt: skip


def user() -> int:
    """Whom root becomes inside; of its own, as the limit on processes counts by user."""
    return NOBODY + os.getpid() % 1_000_000


def _bubblewrap() -> str:
    if not (path := shutil.which("bwrap")):
        raise SandboxError(
            "bubblewrap is not installed, so nothing was graded. Install it (on Debian and "
            "Ubuntu: apt install bubblewrap), or pass --unsandboxed to run the students' code "
            "with your own rights"
        )
    return path


def _read_only() -> list[str]:
    """What a submission may read: the system, this Python, the library."""
    library = Path(find_spec("snnlib").origin).parent
    places = [*SYSTEM, sys.prefix, sys.base_prefix, str(library)]
    options = ["--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib"]
    options += ["--symlink", "usr/lib64", "/lib64"]
    for place in dict.fromkeys(places):
        if place == "/usr" or not place.startswith("/usr/"):
            options += [*_way_to(Path(place)), "--ro-bind-try", place, place]
    return options


def _scratch(place: str, limits: Limits) -> list[str]:
    """An empty folder in memory that anyone may write to, of limited size."""
    return ["--perms", "1777", "--size", str(limits.disk * MEBI), "--tmpfs", place]


def _way_to(place: Path) -> list[str]:
    """Make the folders above a place: those that bubblewrap makes let only root pass."""
    return [o for folder in reversed(place.parents[:-1]) for o in ("--dir", str(folder))]


@cache
def font_lists() -> str:
    """Matplotlib's lists of fonts, which take seconds to make, as one text.

    Whoever grades a class finds them once and tells each sandbox in GRADING_FONTS.
    """
    import matplotlib as mpl

    return os.pathsep.join(map(str, Path(mpl.get_cachedir()).glob("fontlist-*.json")))


def _fonts() -> list[str]:
    """Lend matplotlib's lists of fonts."""
    found = os.environ["GRADING_FONTS"] if "GRADING_FONTS" in os.environ else font_lists()
    lists = [Path(path) for path in found.split(os.pathsep) if path]
    options = ["--perms", "1777", "--dir", FONTS]
    return [*options, *(o for f in lists for o in ("--ro-bind", f"{f}", f"{FONTS}/{f.name}"))]


def _kernels(limits: Limits) -> list[str]:
    """Lend what the library compiled, in a folder of the submission's own."""
    folder, files = lent()
    binds = [o for file in files for o in ("--ro-bind", str(file), str(file))]
    return [*_scratch(str(folder), limits), *binds] if files else []


def _environment() -> list[str]:
    values = {
        "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/tmp", "TMPDIR": "/tmp",
        "IPYTHONDIR": "/tmp/ipython", "MPLCONFIGDIR": FONTS, "MPLBACKEND": "agg",
        "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
    }  # fmt: skip
    return [option for item in values.items() for option in ("--setenv", *item)]


def require_sandbox() -> None:
    """Raise `SandboxError` unless a sandbox starts here, and can read the library."""
    library = Path(find_spec("snnlib").origin).parent
    closed = [p for p in library.rglob("*") if not p.stat().st_mode & stat.S_IROTH]
    if closed and os.geteuid() == 0:  # which gives root up inside
        raise SandboxError(
            f"{closed[0]} can be read by its owner only, so no submission could use it. "
            f"Run: chmod -R a+rX {shlex.quote(str(library))}"
        )
    trial = [_bubblewrap(), "--ro-bind", "/", "/", "--unshare-pid", "--unshare-net", "true"]
    run = subprocess.run(trial, capture_output=True, text=True)
    if run.returncode:
        raise SandboxError(
            f"bubblewrap is installed but cannot start: {run.stderr.strip()}. Where the system "
            "forbids user namespaces, allow them (on Ubuntu: sysctl -w "
            "kernel.apparmor_restrict_unprivileged_userns=0) or grade as root"
        )


def watch(process: subprocess.Popen, shared: Path, limits: Limits, report: Path) -> None:
    """Wait for the sandbox to end; end it when it uses too much.

    The report is kept up to date, as Jupyter may kill this process at any time.
    """
    parent = int(os.environ.get("JPY_PARENT_PID", os.getppid()))  # it may be gone already
    start, seconds, crowded, peak, killed = time.monotonic(), 0.0, 0.0, 0.0, ""
    while process.poll() is None:
        family, before, seconds = _family(process.pid), seconds, time.monotonic() - start
        crowded += seconds - before if _busy(family) > limits.busy else 0
        memory, disk = _resident(family), _size(shared, limits.disk) + _unnamed(family, shared)
        peak = max(peak, memory)
        if os.getppid() != parent:
            killed = "grading was interrupted"
        if crowded > CROWDED_SECONDS:  # the others' time would pass meanwhile
            killed = f"kept more than {limits.busy} threads busy"
        killed = killed or _excess(memory, disk, seconds, limits)
        if killed:
            process.kill()  # everything inside dies with bubblewrap
            process.wait()
        write_whole(report, json.dumps(asdict(Usage(seconds, peak, killed))))
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.1)


def _excess(memory: float, disk: float, seconds: float, limits: Limits) -> str:
    if memory > limits.memory:
        return f"used more than {limits.memory} MiB of memory"
    if disk > limits.disk:
        return f"wrote more than {limits.disk} MiB, or very many files and folders"
    if seconds > limits.seconds:
        return f"ran longer than {limits.seconds} s"
    return ""


def _family(pid: int) -> list[psutil.Process]:
    """A process and its descendants."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    return []


def _busy(family: list[psutil.Process]) -> int:
    """Threads that compute, or would if there were a core for them."""
    count = 0
    for process in family:
        with suppress(OSError):  # it ended just now
            for thread in os.scandir(f"/proc/{process.pid}/task"):
                state = Path(thread.path, "stat").read_text().rpartition(") ")[2]
                count += state.startswith("R")
    return count


def _resident(family: list[psutil.Process]) -> float:
    """Memory of processes [MiB]; those that just ended count nothing."""
    total = 0
    for process in family:
        with suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total / MEBI


def _unnamed(family: list[psutil.Process], folder: Path) -> float:
    """What lies on a folder's disk although it was removed, because it is still open [MiB]."""
    device, total = folder.stat().st_dev, 0.0
    for process in family:
        with suppress(OSError):  # it ended just now
            for entry in os.scandir(f"/proc/{process.pid}/fd"):
                with suppress(OSError):
                    found = os.stat(entry.path)
                    unnamed = stat.S_ISREG(found.st_mode) and not found.st_nlink
                    total += found.st_blocks * 512 if unnamed and found.st_dev == device else 0
    return total / MEBI


def _size(folder: Path, enough: float) -> float:
    """What lies in a folder and all folders in it [MiB], links not followed.

    Nothing is as small as `ENTRY`, and a folder that cannot be looked into is too large:
    so neither many files nor deep folders take long to count.
    """
    total, folders = 0.0, [str(folder)]
    while folders and total <= enough:
        try:
            entries = list(islice(os.scandir(folders.pop()), MOST_ENTRIES))
        except FileNotFoundError:
            continue  # removed just now
        except OSError:
            return math.inf  # no right to look, or too deep
        folders += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        total += sum(map(_entry_size, entries))
    return total


def _entry_size(entry: os.DirEntry) -> float:
    with suppress(OSError):
        return max(ENTRY, entry.stat(follow_symlinks=False).st_size / MEBI)
    return ENTRY


def main() -> int:
    """Be the kernel that Jupyter asked for."""
    connection_file = Path(sys.argv[1])
    limits = Limits.from_environment()
    if os.geteuid() == 0:
        for path in (connection_file.parent, connection_file):
            os.chown(path, user(), user(), follow_symlinks=False)
    # its stderr too: a submission would speak there for nbgrader
    quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    shared, judged = connection_file.parent, Path(os.environ["GRADING_JUDGE"])
    start = command([*KERNEL, str(connection_file)], limits, shared, [JUDGING, judged])
    process = subprocess.Popen(start, **quiet)
    watch(process, shared, limits, Path(os.environ["GRADING_USAGE"]))
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
