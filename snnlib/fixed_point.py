"""Weights on a grid of 2**-k, as neuromorphic chips store them (chapter 4).

Spikes are whole numbers.  If weights are whole multiples of 2**-k, so is every sum
of them, and a sum below 2**24 multiples is exact in float32: the order in which
it is added up cannot change a spike.
"""

import math

import torch
from torch import Tensor

WEIGHT_BITS = 15  # a weight is a sign and at most 15 bits
LEAST_BITS = 11  # fewer could cost accuracy; rather promise fewer exact steps
EXACT_UNITS = 2**24  # float32 holds every whole number up to here
EXACT_UNITS_WIDE = 2**53  # and float64 up to here


def fraction_bits(
    weight: Tensor, *, spikes: int = 1, threshold: float = 0.0, steps: int = 1
) -> int:
    """The k of the finest grid 2**-k on which potentials stay exact.

    Parameters
    ----------
    weight : Tensor [out, ...]
    spikes : int
        How many spikes a pool before the weights can add up in one step.
    threshold : float
        Of the neurons that the weights feed.
    steps : int
        For how many steps potentials should be exact.  Fewer, but at least the current
        of one step, where that many would leave weights less than 11 bits.

    Returns
    -------
    int
    """
    largest = weight.abs().max().item() or 1.0
    bits = math.floor(math.log2((2**WEIGHT_BITS - 1) / largest))
    least = bits - (WEIGHT_BITS - LEAST_BITS)
    while (
        bits > least and _units(weight, spikes, bits) * steps + threshold * 2.0**bits > EXACT_UNITS
    ):
        bits -= 1
    while _units(weight, spikes, bits) > EXACT_UNITS:
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


def largest_sum(weight: Tensor) -> float:
    """The largest sum of weights of one sign into one neuron.

    Parameters
    ----------
    weight : Tensor [neurons or channels, ...]

    Returns
    -------
    float
    """
    rows = weight.double().flatten(1)
    signs = rows.clamp(min=0).sum(1), rows.clamp(max=0).sum(1).neg()
    return torch.maximum(*signs).max().item()


def _units(weight: Tensor, spikes: int, bits: int) -> float:
    """The largest current of one step, in multiples of 2**-bits, after rounding."""
    return largest_sum(on_grid(weight, bits)) * spikes * 2.0**bits
