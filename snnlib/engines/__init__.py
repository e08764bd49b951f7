"""Ways to run a spiking network.  All give the same spikes.

An engine is a function `run(snn, images, *, steps, encoder, index)` that yields one
`StepOutput` for each time step of one batch of images.  Whoever iterates may send it a
mask [N] of the images that go on; the rest is dropped, and costs nothing more.
"""

from collections.abc import Generator
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class StepOutput:
    """What one time step of one batch gave.

    Attributes
    ----------
    counts : Tensor [N, classes]
        Output spikes so far; zeros where the output does not spike.
    potential : Tensor [N, classes]
        Output potential after the step [threshold units].
    spikes : dict of str to int
        Spikes of the step by layer, summed over images and neurons; with "input",
        unless the input is a constant current.
    synaptic_operations : int
        Additions that these spikes caused: each times its fan-out.
    """

    counts: Tensor
    potential: Tensor
    spikes: dict[str, int]
    synaptic_operations: int


Run = Generator[StepOutput, Tensor | None, None]  # takes a mask, or None to keep every image
