"""Search what to scale by and how long to run (chapter 7, *Where conversion loses accuracy*).

A few percentiles are tried with many numbers of steps, on the very images of a diagnosis; what
is suggested comes with all that was measured.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.utils.data import IterableDataset

from snnlib.cnn.balancing import Images, activation_scales
from snnlib.cnn.evaluating import AT_ONCE, outputs
from snnlib.reading import image_batches
from snnlib.simulation import simulate
from snnlib.spiking.conversion import convert
from snnlib.spiking.encoding import Encoder
from snnlib.spiking.network import SpikingNetwork
from snnlib.spiking.neurons import IFNeuron, MaxPooling

LONGEST = 64  # steps that suggestions try at least
GOOD_ENOUGH = 0.005  # of all decisions: what a suggestion may miss of the best


@dataclass(frozen=True)
class Suggestion:
    """What to scale by and how long to run, and why.

    Attributes
    ----------
    percentile : float
        The one with most decisions like the CNN's after as many steps as were diagnosed.
    steps : int
        The first number of steps within half a point of the best that was found with it.
    evidence : dict of float to dict of int to float
        Share of images decided like the CNN, by percentile and steps.
    """

    percentile: float
    steps: int
    evidence: dict[float, dict[int, float]]

    def rows(self) -> list[str]:
        """The evidence as lines of a table."""
        counts = next(iter(self.evidence.values()))
        rows = [
            f"suggested: percentile {self.percentile:g}, {self.steps} steps; "
            "decided like the CNN [%]:",
            f"  {'percentile':<11}" + "".join(f"{f'T={count}':>7}" for count in counts),
        ]
        for percentile, row in self.evidence.items():
            values = "".join(f"{100 * value:>7.1f}" for value in row.values())
            rows.append(f"  {percentile:<11g}{values}")
        return rows


def suggest(
    cnn: nn.Module,
    snn: SpikingNetwork,
    images: Images,
    steps: int,
    encoder: Encoder,
    percentiles: Sequence[float],
) -> Suggestion:
    """The best of some percentiles, and how many steps it takes.

    Parameters
    ----------
    cnn, snn, images, steps, encoder, percentiles
        As for ``diagnose``; at least one percentile.

    Returns
    -------
    Suggestion

    Raises
    ------
    ValueError
        As ``activation_scales`` does.
    """
    target = _Decided(cnn, images)
    longest = max(LONGEST, steps)
    counts = sorted({steps, *(2**i for i in range(longest.bit_length()))})
    channelwise = any(layer.scale.ndim for layer in snn.layers)
    evidence = {}
    for percentile in percentiles:
        scales = activation_scales(cnn, images, percentile=percentile, channelwise=channelwise)
        other = convert(cnn, thresholds=scales, **_options_of(snn))
        accuracy = simulate(other, target, steps=longest, encoder=encoder).accuracy
        evidence[percentile] = {count: accuracy[count - 1].item() for count in counts}
    best = max(evidence, key=lambda p: (evidence[p][steps], sum(evidence[p].values())))
    goal = max(evidence[best].values()) - GOOD_ENOUGH
    return Suggestion(best, min(t for t, a in evidence[best].items() if a >= goal), evidence)


class _Decided(IterableDataset):
    """Images with what the CNN decides as their labels: here it is the truth.

    Asked anew each time, as a DataLoader may well give images in another order.
    """

    def __init__(self, cnn: nn.Module, images: Images) -> None:
        self.cnn, self.images = cnn, images

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in image_batches(self.images, AT_ONCE):
            yield from zip(batch.images, outputs(self.cnn, batch.images).argmax(1), strict=True)


def _options_of(snn: SpikingNetwork) -> dict:
    """With which ``convert`` made a network."""
    options = {"readout": snn.readout, "input_shape": snn.input_shape}
    for layer in snn.layers:
        neuron = layer.neuron
        if isinstance(neuron, MaxPooling):
            options["max_pooling"] = neuron.rule
        if isinstance(neuron, IFNeuron):
            options["reset"] = neuron.reset_rule
            options["initial_potential"] = (neuron.initial / neuron.threshold).max().item()
        if isinstance(neuron, IFNeuron) and layer.weight is None:
            options["pooling"] = "spiking"
    return options
