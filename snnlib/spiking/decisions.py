"""Which class a network decides for, and by how much (chapter 6, *Classify over time*)."""

import torch
from torch import Tensor

UNDECIDED = -1


@torch.no_grad()
def decide(counts: Tensor, potential: Tensor, readout: str) -> Tensor:
    """Decisions from output spikes and potentials, as ``simulate`` states them.

    Parameters
    ----------
    counts : Tensor [N, C]
        Output spikes so far.
    potential : Tensor [N, C]
        Output potential after the step.
    readout : str
        "spikes" or "potential".

    Returns
    -------
    Tensor [N]
        int64, -1 undecided.
    """
    if readout == "potential":
        return potential.argmax(1)
    most = counts.max(1, keepdim=True).values
    tied = torch.where(counts == most, potential, -torch.inf)
    return torch.where(most.squeeze(1) > 0, tied.argmax(1), UNDECIDED)


@torch.no_grad()
def lead(counts: Tensor, potential: Tensor, readout: str) -> Tensor:
    """By how much the decision leads: its evidence less that of the second best class.

    Parameters
    ----------
    counts, potential, readout
        As for ``decide``.

    Returns
    -------
    Tensor [N]
        float64 [threshold units], or [output spikes] for the readout "spikes".
    """
    evidence = (potential if readout == "potential" else counts).double()
    if evidence.shape[1] == 1:
        return torch.full((len(evidence),), torch.inf, dtype=torch.float64)
    first, second = evidence.topk(2, dim=1).values.unbind(1)
    return first - second
