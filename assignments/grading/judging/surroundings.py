"""What a function could disturb beside its arguments: the same on both sides of a call.

The global random generators of torch and numpy, and which figures pyplot holds open,
travel with each call and each reply, as far as they changed.
"""

import sys

import numpy as np
import torch

MOST_FIGURES, LARGEST_NUMBER = 200, 1_000_000
WORDS = 624  # of the state of numpy's generator


class Surroundings:
    """One side's memory of what the other side knows."""

    def __init__(self) -> None:
        self._known: dict[str, object] = {}

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
