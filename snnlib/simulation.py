"""Classify over time, and keep what happened (chapter 6, *Classify, one time step at a time*)."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm.auto import tqdm

from snnlib.cnn.evaluating import confusion_counts
from snnlib.cnn.threads import one_thread
from snnlib.data import Digits, check_images
from snnlib.engines import Engine, Prepared, Run, StepOutput, clock, event
from snnlib.engines.clock import exact_arithmetic
from snnlib.spiking.decisions import UNDECIDED, decide, lead
from snnlib.spiking.encoding import Encoder, PoissonEncoder
from snnlib.spiking.network import SpikingNetwork

Stop = Callable[[Tensor], Tensor]
ENGINES: dict[str, Engine] = {"clock": clock, "event": event}


@dataclass(frozen=True)
class StepReport:
    """Where a running simulation stands, as given to ``on_step``.

    Attributes
    ----------
    step : int
        Just finished, counted from 1.
    images : int
        How many images have reached this step.
    accuracy : float
        Share of them that are right at this step.
    """

    step: int
    images: int
    accuracy: float


@dataclass(frozen=True, eq=False)
class SimulationResult:
    """What a simulation found; T steps, N images, C classes.

    Attributes
    ----------
    labels : Tensor [N]
        int64, the true classes.
    predictions : Tensor [T, N]
        int64, the decision after each step; -1 undecided.
    confusion : Tensor [T, C, C]
        int64, true class (row) by decision (column); undecided images are in no column.
    spike_counts : dict of str to Tensor [T]
        int64, spikes of all images in each step, of "input" and then of each layer in order;
        "input" is missing when it is a constant current, the output when it only accumulates.
    synaptic_operations : Tensor [T]
        int64, additions caused by the spikes of each step, over all images: every spike
        times its fan-out.
    engine : str
        The engine that ran.
    margins : Tensor [T, N]
        float64, by how much each decision leads, see ``lead``.
    steps_used : Tensor [N]
        int64, steps until each image stopped: T, or fewer with ``stop``.  A stopped image
        keeps its decision and its margin, and causes no more spikes.
    """

    labels: Tensor
    predictions: Tensor
    confusion: Tensor
    spike_counts: dict[str, Tensor]
    synaptic_operations: Tensor
    engine: str
    margins: Tensor
    steps_used: Tensor

    @property
    def accuracy(self) -> Tensor:
        """[T] float64, share of images whose decision is right; undecided is wrong."""
        return (self.predictions == self.labels).double().mean(1)

    @property
    def undecided(self) -> Tensor:
        """[T] float64, share of images without a decision yet."""
        return (self.predictions == UNDECIDED).double().mean(1)

    def steps_to(self, accuracy: float) -> int | None:
        """The first step with at least this accuracy.

        Parameters
        ----------
        accuracy : float
            A share, in [0, 1].

        Returns
        -------
        int or None
            Counted from 1; None if there is none.
        """
        reached = (self.accuracy >= accuracy).nonzero()
        return int(reached[0]) + 1 if len(reached) else None


@dataclass(frozen=True, eq=False)
class Recording:
    """Every spike and potential of one image.

    Attributes
    ----------
    image : Tensor [C, H, W]
    input : Tensor [T, C, H, W]
        Spikes, or the constant current.
    spikes : dict of str to Tensor [T, ...]
        Of each layer that spikes.
    potentials : dict of str to Tensor [T, ...]
        After each step's reset, in units of the threshold (the output that only
        accumulates: in units of threshold 1).
    decisions : Tensor [T]
        int64, -1 undecided.
    """

    image: Tensor
    input: Tensor
    spikes: dict[str, Tensor]
    potentials: dict[str, Tensor]
    decisions: Tensor

    @property
    def output(self) -> Tensor:
        """[T, classes]: output spikes so far, or the output potential if it never spikes."""
        name = list(self.potentials)[-1]
        return self.spikes[name].cumsum(0) if name in self.spikes else self.potentials[name]


def simulate(
    snn: SpikingNetwork,
    digits: Digits,
    *,
    steps: int = 40,
    encoder: Encoder = PoissonEncoder(),
    engine: str = "auto",
    batch_size: int = 500,
    stop: Stop | None = None,
    on_step: Callable[[StepReport], None] | None = None,
    progress: bool = False,
) -> SimulationResult:
    """Show every image to the network for ``steps`` time steps, from cleared potentials.

    Parameters
    ----------
    snn : SpikingNetwork
    digits : Digits
    steps : int
        At least 1.
    encoder : PoissonEncoder or ConstantEncoder
        What each step's input is; image i of ``digits`` gets the spikes of index i.
    engine : str
        "clock" updates every neuron at every step, on any device; "event" only works where
        spikes arrive, on the CPU, compiled by numba.  Both give the same spikes.  "auto"
        takes "event" if it can run the network, and the result says which ran.
    batch_size : int
        [images] at a time; changes speed and memory, never a spike.
    stop : callable, optional
        Which images have seen enough: takes the margins [N] of the images that still run,
        gives a bool for each; a ``MarginStop``, say.  All end at ``steps`` at the latest.
    on_step : callable, optional
        Called with a StepReport after each step of each batch.  With
        batch_size >= len(digits) every step covers the whole set.
    progress : bool
        Draw a progress bar.

    Returns
    -------
    SimulationResult

    Raises
    ------
    ValueError
        For other arguments or images that do not fit the network.

    Notes
    -----
    A decision is the class with the highest output potential, or with the most output
    spikes if the output spikes.  Then an image whose output has not spiked is
    undecided (-1) and counts as wrong; ties go to the higher output potential, then
    to the lower class.

    Memory does not grow with ``steps``, but for the decisions and their margins.
    """
    check_steps(steps)
    _check_run(snn, digits, batch_size)
    options = {"steps": steps, "encoder": encoder, "drops": stop is not None}
    name, run = _prepare(engine, snn, digits, **options)
    tally = _Tally(digits, steps, snn.readout)
    with tqdm(total=steps * len(digits), desc="image steps", disable=not progress) as bar:
        for places in torch.arange(len(digits)).split(batch_size):
            outputs = run(digits.images[places].to(snn.device), places)
            for report in _show(outputs, tally, places, stop):
                bar.update(len(places))
                if on_step:
                    on_step(report)
    return tally.result(name)


def _show(outputs: Run, tally: "_Tally", places: Tensor, stop: Stop | None) -> Iterator[StepReport]:
    """One batch through all steps, with a report after each."""
    running, goes_on = places, None
    with closing(outputs):  # even if the caller raises, the network is left at rest
        for step in range(tally.steps):
            tally.hold(step, places)
            if len(running):
                margins = tally.add(step, running, outputs.send(goes_on))
                goes_on = _who_goes_on(margins, stop)
                running = running if goes_on is None else running[goes_on]
            yield tally.report(step, places)


def _who_goes_on(margins: Tensor, stop: Stop | None) -> Tensor | None:
    """A mask [N], or None if nothing can stop."""
    if stop is None:
        return None
    stopped = torch.as_tensor(stop(margins))
    if stopped.dtype != torch.bool or stopped.shape != margins.shape:
        raise ValueError(
            f"stop gave {stopped.dtype} {list(stopped.shape)} for {len(margins)} images; "
            "it has to give one bool for each."
        )
    return ~stopped


@one_thread()
def record(
    snn: SpikingNetwork,
    image: Tensor,
    *,
    steps: int = 40,
    encoder: Encoder = PoissonEncoder(),
    index: int = 0,
) -> Recording:
    """Show one image for ``steps`` steps and keep everything.

    Parameters
    ----------
    snn : SpikingNetwork
    image : Tensor [C, H, W]
    steps : int
        At least 1.
    encoder : PoissonEncoder or ConstantEncoder
    index : int
        Place of the image in its data set: gives it the spikes that ``simulate`` gives it.

    Returns
    -------
    Recording

    Raises
    ------
    ValueError
        For another number of steps or an image that does not fit the network.
    """
    check_steps(steps)
    batch = image.unsqueeze(0)
    check_images(batch)
    stream = encoder.stream(batch, torch.tensor([index]))
    snn = snn.exact_for(steps)
    trace = _Trace(snn)
    snn.reset()
    for step in range(steps):
        with exact_arithmetic():
            trace.add(stream(step))
    snn.reset()
    return trace.recording(image)


class _Tally:
    """Gathers what the batches give, step by step."""

    def __init__(self, digits: Digits, steps: int, readout: str) -> None:
        self.digits, self.steps, self.readout = digits, steps, readout
        self.predictions = torch.full((steps, len(digits)), UNDECIDED)
        self.margins = torch.zeros(steps, len(digits), dtype=torch.float64)
        self.used = torch.zeros(len(digits), dtype=torch.int64)
        self.spikes: dict[str, Tensor] = {}
        self.operations = torch.zeros(steps, dtype=torch.int64)
        self.seen, self.right = [0] * steps, [0] * steps

    def hold(self, step: int, places: Tensor) -> None:
        """What an image that has stopped decided stands."""
        if step > 0:
            for rows in (self.predictions, self.margins):
                rows[step, places] = rows[step - 1, places]

    def add(self, step: int, running: Tensor, output: StepOutput) -> Tensor:
        """One step of the images that still run; returns their margins."""
        given = output.counts, output.potential, self.readout
        margins = lead(*given).cpu()
        self.predictions[step, running] = decide(*given).cpu()
        self.margins[step, running] = margins
        self.used[running] = step + 1
        for name, spikes in output.spikes.items():
            steps = self.spikes.setdefault(name, torch.zeros_like(self.operations))
            steps[step] += spikes
        self.operations[step] += output.synaptic_operations
        return margins

    def report(self, step: int, places: Tensor) -> StepReport:
        """How the batches so far stand at a step."""
        self.seen[step] += len(places)
        right = self.predictions[step, places] == self.digits.labels[places]
        self.right[step] += int(right.sum())
        return StepReport(step + 1, self.seen[step], self.right[step] / self.seen[step])

    def result(self, engine: str) -> SimulationResult:
        labels, classes = self.digits.labels, len(self.digits.class_names)
        confusion = [confusion_counts(labels, row, classes) for row in self.predictions]
        return SimulationResult(
            labels,
            self.predictions,
            torch.stack(confusion),
            self.spikes,
            self.operations,
            engine,
            self.margins,
            self.used,
        )


class _Trace:
    """Gathers every spike and potential of one image."""

    def __init__(self, snn: SpikingNetwork) -> None:
        self.snn, self.counts = snn, torch.zeros(())
        self.inputs, self.decisions = [], []
        self.spikes = {layer.name: [] for layer in snn.layers if layer.spiking}
        self.potentials = {layer.name: [] for layer in snn.layers}

    def add(self, x: Tensor) -> None:
        self.inputs.append(x[0])
        for layer, output in self.snn.propagate(self.snn.input_current(x)):
            unit = layer.neuron.threshold if layer.spiking else 1.0
            self.potentials[layer.name].append((layer.v / unit)[0])
            if layer.spiking:
                self.spikes[layer.name].append(output[0])
        self.counts = self.counts + (output if layer.spiking else torch.zeros_like(output))
        self.decisions.append(decide(self.counts, layer.v, self.snn.readout))

    def recording(self, image: Tensor) -> Recording:
        spikes = {name: torch.stack(rows) for name, rows in self.spikes.items()}
        potentials = {name: torch.stack(rows) for name, rows in self.potentials.items()}
        return Recording(
            image, torch.stack(self.inputs), spikes, potentials, torch.cat(self.decisions)
        )


def check_steps(steps: int) -> None:
    """Raise unless ``steps`` is a whole number, at least 1.

    Parameters
    ----------
    steps : int

    Raises
    ------
    ValueError
        For anything else.
    """
    if steps < 1 or steps != int(steps):
        raise ValueError(f"steps is {steps}; give a whole number, at least 1.")


def _check_run(snn: SpikingNetwork, digits: Digits, batch_size: int) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; give at least 1 image.")
    if digits.images.shape[1:] != snn.input_shape:
        raise ValueError(
            f"images have shape {list(digits.images.shape[1:])}, but the network takes "
            f"{list(snn.input_shape)}; convert it with that input_shape."
        )
    classes = len(snn.layers[-1].weight)
    if classes != len(digits.class_names):
        raise ValueError(
            f"the network has {classes} outputs for {len(digits.class_names)} classes; "
            "give Digits as many class_names."
        )


def _prepare(engine: str, snn: SpikingNetwork, digits: Digits, **options) -> tuple[str, Prepared]:
    """For "auto" the event engine wherever it can run: it was faster at every rate measured."""
    if engine not in ("auto", *ENGINES):
        raise ValueError(f'engine is {engine!r}; choose "auto" or one of {list(ENGINES)}.')
    if engine != "auto":
        return engine, ENGINES[engine].prepare(snn, **options)
    if not event.numba_is_there():
        warnings.warn("numba is missing: the slower clock engine runs instead.", stacklevel=3)
    if event.takes(options["encoder"], digits.images[:1]):
        with suppress(event.EngineError):
            return "event", event.prepare(snn, **options)
    return "clock", clock.prepare(snn, **options)
