"""How many threads compute (chapter 3, *A CNN that can be converted*).

Two threads of torch wait for each other after every layer, and they wait without letting go of
their cores.  On an idle machine that saves a little time; where other programs keep the
cores busy, each waits for a partner that does not run, and small networks take many times as
long.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread of torch; the number before is restored, also after an error.

    Serves in a ``with``, or as ``@one_thread()`` of a function that is no generator.  Results
    stay the same.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
