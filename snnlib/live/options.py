"""What a lab shows and how it begins, for the directive and for the widget."""

from collections.abc import Iterable
from typing import Any

PANELS = (
    *("draw", "answer", "time", "settings", "maps", "neuron", "raster", "decision"),
    *("rates", "seeds", "questions"),
)
SLIDERS = ("steps", "threshold", "rate", "seed")
VIEWS = {  # what a chapter shows of the lab: only what it teaches
    "neuron": {
        "label": "Live lab: one neuron at work",
        "panels": ["draw", "settings", "time", "maps", "neuron"],
        "sliders": ["threshold"],
        "layers": ["input", "conv1", "conv2"],
    },
    "spikes": {
        "label": "Live lab: an image as spikes",
        "panels": ["draw", "maps", "time", "settings"],
        "sliders": ["rate", "steps", "seed"],
        "layers": ["input"],
    },
    "rates": {
        "label": "Live lab: rates against ReLU",
        "panels": ["draw", "answer", "time", "settings", "rates"],
        "sliders": ["threshold", "steps"],
    },
    "decision": {
        "label": "Live lab: a decision over time",
        "panels": ["draw", "answer", "time", "settings", "raster", "decision", "seeds"],
        "sliders": ["steps", "rate", "seed"],
    },
    "taste": {
        "label": "Live lab: draw a digit",
        "panels": ["draw", "answer", "time"],
    },
    "everything": {"label": "The live lab"},
}
CHOICES = {"panels": PANELS, "sliders": SLIDERS}
SETTINGS = {
    **dict.fromkeys(("digit", "steps", "seed", "step", "neuron"), int),
    **{"threshold": float, "rate": float, "layer": str},
}


def lab_options(options: dict[str, Any]) -> dict[str, Any]:
    """The options of a lab as ``mount.mjs`` takes them.

    Parameters
    ----------
    options : dict
        ``view``, one of `VIEWS`, and what is to differ from it: ``panels``, ``sliders``
        and ``layers``, each a list of names; ``label``; settings.

    Raises
    ------
    ValueError
        For an option or a name that the lab does not know.
    """
    view = options.get("view", "everything")
    _check_names("view", [view], VIEWS)
    options = VIEWS[view] | {name: value for name, value in options.items() if name != "view"}
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
