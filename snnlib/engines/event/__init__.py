"""The event-driven engine: work follows the spikes (chapter 8, *Count the spikes*).

A spike adds a few weights to a few potentials; where none arrives, nothing is computed.
Potentials are whole numbers, in units of 2**-k, so that sums are exact in any order, and
each spike is that of the clock-driven engine.

A network is laid out once (``limits``, ``layout``, ``routes``, which make a ``plan``); then
batches of images (``batch``) are given what they see (``sources``) by compiled ``kernels``.
"""

import importlib.util

import torch
from torch import Tensor

from snnlib.engines import Prepared, Run
from snnlib.engines.event.batch import compile_kernels, run_batch
from snnlib.engines.event.layout import make_plan
from snnlib.engines.event.limits import EngineError, check_expressible
from snnlib.engines.event.sources import are_spikes, source_of
from snnlib.spiking.encoding import Encoder, PoissonEncoder
from snnlib.spiking.network import SpikingNetwork, Wiring


def prepare(snn: SpikingNetwork, *, steps: int, encoder: Encoder, drops: bool = False) -> Prepared:
    """``Engine.prepare``: the network is laid out as it is now.

    With ``drops`` steps are computed one by one, as nothing is known of the images of the
    next.  An encoder of another kind will do if its ``stream`` gives spikes, or a
    ``constant`` current.

    Raises
    ------
    EngineError
        For what ``why_not`` says.
    ValueError
        For ``steps`` beyond what even float64 holds exactly; in the first step for an input
        that is neither spikes nor constant.
    """
    snn = snn.seeing(encoder)
    wiring = _wiring(snn)
    snn.exact_for(steps)
    snn.reset()
    plan, chunk = make_plan(wiring, steps, constant=encoder.constant), 1 if drops else None
    compile_kernels(plan)

    def batch(images: Tensor, index: Tensor) -> Run:
        source = source_of(snn, plan, encoder, images, index)
        return run_batch(plan, source, len(images), steps, chunk)

    return batch


def why_not(snn: SpikingNetwork) -> str | None:
    """What keeps the engine from running a network.

    Parameters
    ----------
    snn : SpikingNetwork

    Returns
    -------
    str or None
        A sentence with the fix; None if nothing does.
    """
    try:
        _wiring(snn)
    except EngineError as refusal:
        return refusal.reason
    return None


def takes(encoder: Encoder, image: Tensor) -> bool:
    """Whether an encoder gives what the engine takes: a constant current, or spikes.

    Parameters
    ----------
    encoder : Encoder
        Of one unknown here the first step is looked at.
    image : Tensor [1, ...]

    Returns
    -------
    bool
    """
    if encoder.constant or type(encoder) is PoissonEncoder:
        return True
    return are_spikes(encoder.stream(image, torch.zeros(1, dtype=torch.int64))(0))


def numba_is_there() -> bool:
    """Whether the compiler that the engine needs is installed."""
    return importlib.util.find_spec("numba") is not None


def _wiring(snn: SpikingNetwork) -> Wiring:
    """All that the engine asks a network, unless it cannot run it."""
    if not numba_is_there():
        raise EngineError('numba is missing; install it (pip install numba) or use engine="clock".')
    if snn.device.type != "cpu":
        raise EngineError(
            f'the network is on "{snn.device}"; the event engine runs on the CPU: snn.cpu().'
        )
    wiring = snn.wiring()
    check_expressible(wiring)
    return wiring
