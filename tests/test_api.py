"""The calls that are fixed, as checks outside the project make them; the page that lists all."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

import snnlib

KEYWORD, ANY = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
NONE = inspect.Parameter.empty
FIXED = {  # name: (parameters by position, keyword-only parameters), each with its default
    "load_digits": ({"split": NONE}, {"per_class": 500}),
    "Digits": ({"images": NONE, "labels": NONE, "class_names": tuple("0123456789")}, {}),
    "digit_cnn": ({}, {"seed": 0}),
    "check_constraints": ({"cnn": NONE}, {}),
    "fit": (
        {"cnn": NONE, "digits": NONE, "recipe": snnlib.Recipe()},
        {"validation": None, "seed": 0, "progress": True},
    ),
    "evaluate": ({"cnn": NONE, "digits": NONE}, {}),
    "load_trained_cnn": ({"name": "digits"}, {}),
    "activation_scales": (
        {"cnn": NONE, "images": NONE},
        {"percentile": 100.0, "channelwise": False},
    ),
    "weight_scales": ({"cnn": NONE}, {}),
    "normalize_weights": ({"cnn": NONE, "scales": NONE}, {}),
    "convert": (
        {"cnn": NONE},
        {
            "thresholds": 1.0,
            "reset": "subtract",
            "initial_potential": 0.5,
            "pooling": "linear",
            "readout": "potential",
            "input_shape": (1, 28, 28),
        },
    ),
    "PoissonEncoder": ({"max_rate": 0.4, "seed": 0}, {}),
    "ConstantEncoder": ({}, {}),
    "simulate": (
        {"snn": NONE, "data": NONE},
        {
            "steps": 40,
            "encoder": snnlib.PoissonEncoder(),
            "engine": "auto",
            "on_step": None,
            "progress": False,
        },
    ),
    "record": ({"snn": NONE, "image": NONE}, {"steps": 40}),
    "Recipe": ({"epochs": 15, "lr": 0.05, "momentum": 0.5, "batch_size": 40}, {}),
}


@pytest.mark.parametrize("name", FIXED)
def test_a_fixed_call_stays_as_it_is(name):
    by_position, by_keyword = FIXED[name]
    parameters = inspect.signature(getattr(snnlib, name)).parameters
    assert list(parameters)[: len(by_position)] == list(by_position)
    for parameter, default in {**by_position, **by_keyword}.items():
        assert parameters[parameter].default == default
        assert parameters[parameter].kind == (ANY if parameter in by_position else KEYWORD)


@pytest.mark.parametrize("name", FIXED)
def test_what_was_added_to_a_fixed_call_has_a_default(name):
    by_position, by_keyword = FIXED[name]
    for parameter, details in inspect.signature(getattr(snnlib, name)).parameters.items():
        assert parameter in by_position or parameter in by_keyword or details.default is not NONE


def test_every_public_name_has_a_docstring():
    assert [name for name in snnlib.__all__ if not getattr(snnlib, name).__doc__] == []


# -- the API page --------------------------------------------------------------------------

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "appendix" / "api.md").read_text()
# whose wing has one face: what is inside, only its maintainers call
INSIDES = ("snnlib.engines.event", "snnlib.export.nir_", "snnlib.live", "snnlib.plotting")


def listed() -> dict[str, list[str]]:
    """The modules of the page in their order, each with its names."""
    found: dict[str, list[str]] = {}
    for kind, name in re.findall(r"^\.\. (currentmodule|auto\w+):: (\S+)$", PAGE, flags=re.M):
        if kind in ("currentmodule", "automodule"):
            module = found.setdefault(name, [])
        else:
            module.append(name)
    return found


def sources() -> dict[str, ast.Module]:
    """Every module of the library by its name."""
    paths = (ROOT / "snnlib").rglob("*.py")
    names = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths}
    return {
        name.removesuffix(".__init__"): ast.parse(path.read_text()) for path, name in names.items()
    }


def public(module: ast.Module) -> set[str]:
    """Functions and classes whose names have no underscore in front."""
    defined = (node for node in module.body if isinstance(node, ast.FunctionDef | ast.ClassDef))
    return {node.name for node in defined if not node.name.startswith("_")}


@pytest.mark.parametrize(("module", "names"), listed().items())
def test_what_the_api_page_lists_is_there(module, names):
    face = importlib.import_module(module)
    assert [name for name in names if not hasattr(face, name)] == []
    owners = {name: getattr(face, name).__module__ for name in names}
    strangers = {n: owner for n, owner in owners.items() if owner != module}
    assert [n for n, owner in strangers.items() if not owner.startswith(INSIDES)] == []


def test_the_api_page_lists_every_public_name():
    page, faces = listed(), ("snnlib.widgets", *INSIDES)
    missing = {
        name: sorted(public(module) - set(page.get(name, [])))
        for name, module in sources().items()
        if not name.startswith(faces)
    }
    assert {name: names for name, names in missing.items() if names} == {}


def test_a_module_of_the_api_page_uses_only_those_above_it():
    places = {name: place for place, name in enumerate(listed())}
    wrong = [
        f"{name} uses {node.module}"
        for name, module in sources().items()
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom) and name in places
        if places.get(node.module, -1) > places[name]
    ]
    assert wrong == []
