"""Ways to run a spiking network.  All give the same spikes, and are called as `Engine` says."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from snnlib.spiking.encoding import Encoder
from snnlib.spiking.network import SpikingNetwork


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
        Spikes of the step, summed over images and neurons: of "input", unless it is a
        constant current, and then of each layer that spikes, in order.
    synaptic_operations : int
        Additions that these spikes caused: each times its fan-out.
    """

    counts: Tensor
    potential: Tensor
    spikes: dict[str, int]
    synaptic_operations: int


Run = Generator[StepOutput, Tensor | None, None]  # takes a mask, or None to keep every image
Prepared = Callable[[Tensor, Tensor], Run]


class Engine(Protocol):
    """What each engine's module offers."""

    def prepare(
        self, snn: SpikingNetwork, *, steps: int, encoder: Encoder, drops: bool = False
    ) -> Prepared:
        """Make ready to simulate batches: the network is asked for its wiring once, as it is now.

        Parameters
        ----------
        snn : SpikingNetwork
            Left with cleared potentials.  Simulated as ``seeing`` the encoder.
        steps : int
            At least 1.
        encoder : Encoder
        drops : bool
            Masks will be sent.

        Returns
        -------
        callable
            Takes images [N, C, H, W] and index [N], the place of each image in its data set, on
            which its random spikes depend.  Simulates them from cleared potentials and yields a
            ``StepOutput`` a step.  Whoever iterates may send a mask [N] of the images that go on;
            the rest is dropped, and costs nothing more.

        Raises
        ------
        ValueError
            If ``steps`` is beyond what even float64 holds exactly; as ``SpikingNetwork.seeing``.
        """
