"""Lend submissions the library's compiled kernels, which take seconds to make.

Numba keeps what it compiled beside the source, and reads it only where it could also
write. In the sandbox that folder is therefore one of the submission's own, which holds
the compiled files read-only.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

from .processes import run_to_end

COMPILE = """
from snnlib import ConstantEncoder, PoissonEncoder, convert, digit_cnn
from snnlib.engines import event

for encoder in (PoissonEncoder(), ConstantEncoder()):
    event.prepare(convert(digit_cnn()), steps=1, encoder=encoder)
"""


def compile_once() -> None:
    """Compile the kernels, unless that was done since their source changed.

    Without numba, or where nothing can be kept, submissions do without.
    """
    source = _source()
    kept = [path.stat().st_mtime for path in _cache().glob("kernels.*.nbi")]
    if source.exists() and max(kept, default=0.0) < source.stat().st_mtime:
        run_to_end([sys.executable, "-c", COMPILE])


def lent() -> tuple[Path, list[Path]]:
    """The folder that numba looks into, and the files that it should find there."""
    return _cache(), sorted(_cache().glob("kernels.*.nb?"))


def _source() -> Path:
    return Path(find_spec("snnlib").origin).parent / "engines" / "event" / "kernels.py"


def _cache() -> Path:
    return _source().parent / "__pycache__"
