"""Weights on a grid of 2**-k, as neuromorphic chips store them (chapter 4).

Spikes are whole numbers.  If weights are whole multiples of 2**-k, so is every sum
of them, and a sum below 2**24 multiples is exact in float32: the order in which
it is added up cannot change a spike.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

WEIGHT_BITS = 15  # a weight is a sign and at most 15 bits
LEAST_BITS = 11  # fewer could cost accuracy; rather promise fewer exact steps
EXACT_UNITS = 2**24  # float32 holds every whole number up to here
EXACT_UNITS_WIDE = 2**53  # and float64 up to here


def fraction_bits(
    weights: Sequence[Tensor],
    *,
    spikes: Sequence[int],
    bias: Tensor | None = None,
    threshold: float = 0.0,
    steps: int = 1,
) -> int:
    """The k of the finest grid 2**-k on which potentials stay exact.

    Parameters
    ----------
    weights : sequence of Tensor [out, ...]
        All that feed the same neurons.
    spikes : sequence of int
        How many spikes a pool before each of the weights can add up in one step.
    bias : Tensor, optional
        Added to every neuron in every step.
    threshold : float
        Of the neurons.
    steps : int
        For how many steps potentials should be exact.  Fewer, but at least the current
        of one step, where that many would leave weights less than 11 bits.

    Returns
    -------
    int
    """
    largest = max((weight.abs().max().item() for weight in weights), default=0.0) or 1.0
    bits = math.floor(math.log2((2**WEIGHT_BITS - 1) / largest))
    least = bits - (WEIGHT_BITS - LEAST_BITS)

    def units(bits: int) -> float:
        return _units(weights, spikes, bias, bits)

    while bits > least and units(bits) * steps + threshold * 2.0**bits > EXACT_UNITS:
        bits -= 1
    while units(bits) > EXACT_UNITS:
        bits -= 1
    return bits


def on_grid(values: Tensor, bits: int) -> Tensor:
    """The nearest multiples of 2**-bits, as float32.

    Parameters
    ----------
    values : Tensor
    bits : int

    Returns
    -------
    Tensor
        Of the same shape; equal values halfway between go to the even multiple.
    """
    return ((values.double() * 2.0**bits).round() / 2.0**bits).float()


def largest_sum(weight: Tensor, low: float = 0.0, high: float = 1.0) -> float:
    """The largest sum of weighted inputs into one neuron, of either sign.

    Parameters
    ----------
    weight : Tensor [neurons or channels, ...]
    low, high : float
        The least and the largest input, around 0; of spikes 0 and 1.

    Returns
    -------
    float
    """
    rows = weight.double().flatten(1)
    up, down = rows.clamp(min=0).sum(1), rows.clamp(max=0).sum(1).neg()
    return torch.maximum(up * high - down * low, down * high - up * low).max().item()


def _units(
    weights: Sequence[Tensor], spikes: Sequence[int], bias: Tensor | None, bits: int
) -> float:
    """The largest current of one step, in multiples of 2**-bits, after rounding."""
    total = 0.0 if bias is None else on_grid(bias, bits).abs().max().item()
    for weight, count in zip(weights, spikes, strict=True):
        total += largest_sum(on_grid(weight, bits)) * count
    return total * 2.0**bits
