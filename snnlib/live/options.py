"""What a lab shows and how it begins, for the directive and for the widget."""

from collections.abc import Iterable
from typing import Any

PANELS = (
    *("draw", "answer", "time", "settings", "maps", "neuron", "raster", "decision"),
    *("rates", "seeds", "questions"),
)
SLIDERS = ("steps", "threshold", "rate", "seed")
CHOICES = {"panels": PANELS, "sliders": SLIDERS}
SETTINGS = {
    **dict.fromkeys(("digit", "steps", "seed", "step", "neuron"), int),
    **{"threshold": float, "rate": float, "layer": str},
}


def lab_options(options: dict[str, Any]) -> dict[str, Any]:
    """The options of a lab as ``lab.mjs`` takes them.

    Parameters
    ----------
    options : dict
        ``panels``, ``sliders`` and ``layers``, each a list of names; ``label``; settings.

    Raises
    ------
    ValueError
        For an option or a name that the lab does not know.
    """
    known = {*CHOICES, "layers", "label", *SETTINGS}
    _check_names("option", options, known)
    for name, names in CHOICES.items():
        _check_names(name, options.get(name, ()), names)
    settings = {name: options[name] for name in SETTINGS if name in options}
    return {k: v for k, v in options.items() if k not in SETTINGS} | {"settings": settings}


def _check_names(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    for name in given:
        if name not in known:
            raise ValueError(f"{what}: the lab has no {name!r}; it has {', '.join(sorted(known))}.")
