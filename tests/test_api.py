"""The calls that are fixed, as checks outside the project make them."""

import inspect

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
