"""Whether an object that a student's process described, or changed, is still what it was.

An attribute that hides a method would make an object of the judge do what a student
wants: equal everything, or be copied as something else. torch keeps layers, weights and
buffers in dicts of their own and hides no method, so nothing honest does either.

Names of layers and weights become source code where torch.fx follows a network, as the
library does to convert one. So a name holds nothing that could end a text there.
"""

import re
from collections.abc import Iterable
from itertools import chain

import torch
from torch import nn

from .wire import NotPlainError

HOLDERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)  # the layers of others have fixed names
CONTENT = {"_parameters": nn.Parameter, "_buffers": torch.Tensor, "_modules": nn.Module}

NAME = re.compile(r"[\w -]+")


def refuse_methods(kind: type, names: Iterable[object]) -> None:
    """Raise `NotPlainError` for attributes that would hide a method of a class."""
    for name in names:
        if type(name) is not str or name.startswith("__") or callable(getattr(kind, name, None)):
            raise NotPlainError(f"a {kind.__name__} with a {name!r} of its own"[:200])


def refuse_misplaced(network: nn.Module) -> None:
    """Raise `NotPlainError` unless layers and weights are where torch keeps them, and named."""
    for name, value in vars(network).items():
        held = value.values() if isinstance(value, dict) else [value]
        if any(_is_misplaced(part, CONTENT.get(name)) for part in held):
            raise NotPlainError(f"a {type(network).__name__} with something odd in {name!r}")
    refuse_methods(type(network), network._modules)
    for name in chain.from_iterable(vars(network)[kept] for kept in CONTENT):
        if type(name) is not str or not NAME.fullmatch(name):
            raise NotPlainError(f"a {type(network).__name__} with the name {name!r} in it"[:200])


def refuse_odd_network(network: nn.Module) -> None:
    """Raise `NotPlainError` for a new network that torch would not have made."""
    refuse_methods(type(network), vars(network))
    if not CONTENT.keys() <= vars(network).keys():
        raise NotPlainError(f"a {type(network).__name__} without weights or layers")
    refuse_misplaced(network)
    if network._modules and not isinstance(network, HOLDERS):
        raise NotPlainError(f"a {type(network).__name__} with layers of its own")


def _is_misplaced(part: object, wanted: type | None) -> bool:
    if wanted is None:
        return isinstance(part, nn.Module)
    return part is not None and not isinstance(part, wanted)
