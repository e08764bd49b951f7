"""Write the table of network families in the appendix: what converts, and what is refused.

    python tools/family_table.py

Each row is found by converting, not written by hand; a test sees that the page is up to date.
"""

import copy
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from snnlib import ConversionError, convert

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "appendix" / "families.md"
HEAD = """# Which networks convert

A row for each kind of network that we tried, made by `tools/family_table.py`, which converts
each of them. Those that convert compute what the CNN computes, balanced or not, on both engines.
A fix that ends on *train it again* changes what the network computes; any other keeps its
decisions.

| Network | Converts? | Layers of neurons, or the fix |
|---|---|---|
"""


def table(groups: dict[str, dict[str, nn.Module]], shapes: dict[str, tuple[int, int, int]]) -> str:
    """The page.

    Parameters
    ----------
    groups : dict of str to dict of str to nn.Module
        Networks by group and name.
    shapes : dict of str to tuple of int
        (C, H, W) of the images of each group.

    Returns
    -------
    str
        In Markdown.
    """
    rows = (
        row(name, cnn, shapes[group])
        for group, nets in groups.items()
        for name, cnn in nets.items()
    )
    return HEAD + "".join(rows)


def row(name: str, cnn: nn.Module, shape: tuple[int, int, int]) -> str:
    """A row of the table, found by converting.

    Parameters
    ----------
    name : str
    cnn : nn.Module
    shape : tuple of int
        (C, H, W) of its images.

    Returns
    -------
    str
    """
    cnn = copy.deepcopy(cnn).eval()
    with torch.no_grad():
        cnn(torch.zeros(2, *shape))  # so that lazy layers have weights
    try:
        layers = len(convert(cnn, input_shape=shape).layers)
    except ConversionError as refusal:
        fix = re.sub(r" at line \d+: [^;]* \(", " (", " ".join(refusal.violations))
        fix = fix.replace("|", r"\|")
        return f"| {name} | refused | {fix} |\n"
    return f"| {name} | yes | {layers} layers |\n"


def groups_of_tests() -> Iterator[tuple[str, dict[str, nn.Module], tuple[int, int, int]]]:
    """The networks that the tests know: families, small networks, and what is refused.

    Yields
    ------
    tuple
        (group, networks by name, shape of images)
    """
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "cnn")]
    import families
    import own_networks
    import refused

    made = {name: make() for name, make in families.FAMILIES.items()}
    yield "families", made, families.SHAPE
    yield "small", own_networks.NETS, own_networks.SHAPE
    nets = {name: case.net for name, case in refused.REFUSED.items()}
    yield "refused", nets, own_networks.SHAPE


def page() -> str:
    """The page as it should be."""
    torch.manual_seed(0)
    found = list(groups_of_tests())
    return table({g: nets for g, nets, _ in found}, {g: shape for g, _, shape in found})


if __name__ == "__main__":
    PAGE.write_text(page())
