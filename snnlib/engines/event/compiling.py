"""The compiled part of the event-driven engine, loaded or compiled when it is first needed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer

PATIENCE = 2.0  # [seconds] after which a first call says what takes so long


def compiled():
    """The kernels, imported when they are first needed: numba takes a second to load."""
    from snnlib.engines.event import kernels

    return kernels


@contextmanager
def announced() -> Iterator[None]:
    """Says so if what is done inside takes a while, unless the kernels were kept."""
    timer = Timer(PATIENCE, _announce)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _announce() -> None:
    if not compiled().encode.stats.cache_hits:  # what was kept is loaded, however slowly
        text = "Compiling the event engine, once for this installation (about 10 s) ..."
        print(text, file=sys.stderr, flush=True)
