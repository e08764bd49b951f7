"""What a function could disturb beside its arguments: the same on both sides of a call.

The global random generators of torch and numpy, and which figures pyplot holds open,
travel with each call and each reply, as far as they changed.

A generator can be put into a state from which only zeros come, or numbers that somebody
chose. What a test draws after a call must not be a student's choice, so the judge takes
from them only *that* a generator moved, and moves its own to a state that depends on
theirs and on a secret.
"""

import hashlib
import sys

import numpy as np
import torch

MOST_FIGURES, LARGEST_NUMBER = 200, 1_000_000
WORDS = 624  # of the state of numpy's generator
SEEDS = {"torch": torch.manual_seed, "numpy": np.random.seed}


class Surroundings:
    """One side's memory of what the other side knows.

    Parameters
    ----------
    secret
        Where given, generators do not go where the other side wants, but somewhere else,
        the same place each time.
    """

    def __init__(self, secret: str = "") -> None:
        self._known: dict[str, object] = {}
        self._secret = secret

    def news(self) -> dict[str, object]:
        """What changed since the last `news` or `take`, as plain values."""
        now = {"torch": torch.get_rng_state(), "numpy": np.random.get_state()}
        now["figures"] = open_figures()
        news = {name: state for name, state in now.items() if not self._same(name, state)}
        self._known |= news
        return news

    def take(self, news: dict[str, object]) -> None:
        """Make this side as the other one is.

        Raises
        ------
        ValueError, TypeError
            For what no generator ever was in.
        """
        for name, put in (("torch", _set_torch), ("numpy", _set_numpy), ("figures", _set_figures)):
            if name in news:
                put(news[name])
                self._known[name] = news[name]
                if self._secret and name in SEEDS:
                    SEEDS[name](self._seed(news[name]))

    def _seed(self, state: object) -> int:
        told = f"{self._secret} {_plain(state)}".encode()
        return int.from_bytes(hashlib.sha256(told).digest()[:4])

    def _same(self, name: str, state: object) -> bool:
        return name in self._known and str(_plain(self._known[name])) == str(_plain(state))


def open_figures() -> list[int]:
    """The numbers of the figures that pyplot holds."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    return pyplot.get_fignums() if pyplot else []


def _plain(state: object) -> object:
    if isinstance(state, torch.Tensor):
        return state.numpy().tobytes()
    if isinstance(state, tuple):
        return [part.tobytes() if isinstance(part, np.ndarray) else part for part in state]
    return state


def _set_torch(state: object) -> None:
    if not isinstance(state, torch.Tensor) or state.dtype != torch.uint8:
        raise ValueError("no state of a generator")
    try:
        torch.set_rng_state(state)
    except RuntimeError:
        raise ValueError("no state of a generator") from None


def _set_numpy(state: object) -> None:
    name, words, place, *gauss = state
    # numpy itself would read beyond its words
    if name != "MT19937" or type(place) is not int or not 0 <= place <= WORDS:
        raise ValueError("no state of a generator")
    if not isinstance(words, np.ndarray) or words.dtype != np.uint32 or words.shape != (WORDS,):
        raise ValueError("no state of a generator")
    np.random.set_state((name, words, place, *gauss))


def _set_figures(numbers: object) -> None:
    """Hold exactly these figures, empty ones where there were none."""
    if open_figures() == numbers:
        return
    import matplotlib.pyplot as plt

    good = isinstance(numbers, list) and len(numbers) <= MOST_FIGURES
    if not good or any(type(n) is not int or not 0 <= n <= LARGEST_NUMBER for n in numbers):
        raise ValueError("no numbers of figures")
    for number in set(open_figures()) - set(numbers):
        plt.close(number)
    for number in sorted(set(numbers) - set(open_figures())):
        plt.figure(number)
