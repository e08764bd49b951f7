"""Classify over time (chapter 6, *Classify, one time step at a time*)."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import chain
from math import nan

import torch
from torch import Tensor
from tqdm.auto import tqdm

from snnlib.cnn.evaluating import confusion_counts
from snnlib.engines import Engine, Prepared, Run, StepOutput, clock, event
from snnlib.reading import Batch, Data, DataError, batches, count
from snnlib.spiking.decisions import UNDECIDED, decide, lead
from snnlib.spiking.encoding import Encoder, PoissonEncoder
from snnlib.spiking.gain import check_gain, span_of
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
    outputs : Tensor [N, C]
        float64, an estimate of what the CNN that was converted gives, in its own units, after
        the last step of each image: the output's potential / steps, in what it stands for
        (``SpikingNetwork.output_unit``), over the encoder's gain.  Under a constant input its
        error falls as 1 / steps.  From output spikes for the readout "spikes", which tell
        nothing of outputs below 0 and above their scale.  nan if the encoder does not say its
        gain.
    """

    labels: Tensor
    predictions: Tensor
    confusion: Tensor
    spike_counts: dict[str, Tensor]
    synaptic_operations: Tensor
    engine: str
    margins: Tensor
    steps_used: Tensor
    outputs: Tensor

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


def simulate(
    snn: SpikingNetwork,
    data: Data,
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
    data : Digits, Dataset or DataLoader
        Of (image, label); read in batches, never as a whole.  Labels are whole numbers, one
        for each output; for a regression let them be 0 and read the outputs of the result.
    steps : int
        At least 1.
    encoder : PoissonEncoder, ConstantEncoder, SignedEncoder or any ``Encoder``
        What each step's input is; image i of ``data`` gets the spikes of index i.  Biases are
        scaled by its gain, so that the network decides as its CNN does for every gain.
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
        batch_size >= len(data) every step covers the whole set.
    progress : bool
        Draw a progress bar.

    Returns
    -------
    SimulationResult

    Raises
    ------
    TypeError
        For something else than a spiking network, or than data.
    ValueError
        For other arguments; for a network with biases and an encoder that does not say its
        gain, or says a wrong one.
    DataError
        A ValueError: for an image or a label that cannot be read or used.  It says which, and
        its ``result`` is that of the batches before.

    Notes
    -----
    A decision is the class with the highest output potential, or with the most output
    spikes if the output spikes.  Then an image whose output has not spiked is
    undecided (-1) and counts as wrong; ties go to the higher output potential, then
    to the lower class.

    Memory grows neither with ``steps`` nor with the number of images, but for decisions,
    margins and outputs.
    """
    check_steps(steps)
    check_network(snn)
    about = {"classes": len(snn.layers[-1].weight), "shape": snn.input_shape}
    stream = batches(data, batch_size, **about, span=span_of(encoder))
    first = next(stream)
    check_gain(encoder, first.images)
    options = {"steps": steps, "encoder": encoder, "drops": stop is not None}
    name, run = _prepare(engine, snn, first.images[:1], **options)
    tally = _Tally(steps, snn, name, encoder)
    images = count(data)
    total = None if images is None else steps * images
    with tqdm(total=total, desc="image steps", disable=not progress) as bar:
        for batch in chain([first], _until_a_fault(stream, tally)):
            outputs = run(batch.images.to(snn.device), batch.places)
            for report in _show(outputs, tally, batch, stop):
                bar.update(len(batch))
                if on_step:
                    on_step(report)
    return tally.result()


def _until_a_fault(stream: Iterator[Batch], tally: "_Tally") -> Iterator[Batch]:
    """What was done is not lost with an image that cannot be read."""
    try:
        yield from stream
    except DataError as error:
        result = tally.result()
        done = f"{len(result.labels):,} images were simulated before; error.result tells of them."
        raise DataError(error.place, f"{error.reason}  {done}", result) from error


def _show(outputs: Run, tally: "_Tally", batch: Batch, stop: Stop | None) -> Iterator[StepReport]:
    """One batch through all steps, with a report after each."""
    block, running, goes_on = tally.open(batch), torch.arange(len(batch)), None
    with closing(outputs):  # even if the caller raises, the network is left at rest
        for step in range(tally.steps):
            block.hold(step)
            if len(running):
                output = outputs.send(goes_on)
                tally.count(step, output)
                margins = block.add(step, running, output, tally.readout)
                goes_on = _who_goes_on(margins, stop)
                running = running if goes_on is None else running[goes_on]
            yield tally.report(step)


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


@dataclass(eq=False)
class _Block:
    """What some images give, step by step."""

    labels: Tensor  # [N]
    predictions: Tensor  # [T, N]
    margins: Tensor  # [T, N]
    used: Tensor  # [N]
    per_step: Tensor  # [N, C], output potential or spikes a step

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def empty(cls, labels: Tensor, steps: int, classes: int) -> "_Block":
        """Before the first step."""
        images = len(labels)
        return cls(
            labels,
            torch.full((steps, images), UNDECIDED),
            torch.zeros(steps, images, dtype=torch.float64),
            torch.zeros(images, dtype=torch.int64),
            torch.zeros(images, classes, dtype=torch.float64),
        )

    @classmethod
    def joined(cls, blocks: Sequence["_Block"]) -> "_Block":
        """One behind the other."""
        return cls(
            torch.cat([block.labels for block in blocks]),
            torch.cat([block.predictions for block in blocks], dim=1),
            torch.cat([block.margins for block in blocks], dim=1),
            torch.cat([block.used for block in blocks]),
            torch.cat([block.per_step for block in blocks]),
        )

    def hold(self, step: int) -> None:
        """What an image that has stopped decided stands."""
        if step > 0:
            for rows in (self.predictions, self.margins):
                rows[step] = rows[step - 1]

    def add(self, step: int, running: Tensor, output: StepOutput, readout: str) -> Tensor:
        """One step of the images that still run; returns their margins."""
        given = output.counts, output.potential, readout
        margins = lead(*given).cpu()
        self.predictions[step, running] = decide(*given).cpu()
        self.margins[step, running] = margins
        self.used[running] = step + 1
        evidence = output.potential if readout == "potential" else output.counts
        self.per_step[running] = evidence.cpu().double() / (step + 1)
        return margins


class _Tally:
    """Gathers what the batches give."""

    def __init__(self, steps: int, snn: SpikingNetwork, engine: str, encoder: Encoder) -> None:
        self.steps, self.readout, self.engine = steps, snn.readout, engine
        self.unit = snn.output_unit.cpu() / getattr(encoder, "gain", nan)
        self.classes = len(snn.layers[-1].weight)
        self.blocks: list[_Block] = []
        self.spikes: dict[str, Tensor] = {}
        self.operations = torch.zeros(steps, dtype=torch.int64)
        self.seen, self.right = [0] * steps, [0] * steps

    def open(self, batch: Batch) -> _Block:
        """A place for what the next batch gives.

        Blocks of one size are joined, so that there are few, however many batches: small ones
        would lie scattered in memory, and keep it from being used again.
        """
        while len(self.blocks) > 1 and len(self.blocks[-1]) >= len(self.blocks[-2]):
            self.blocks[-2:] = [_Block.joined(self.blocks[-2:])]
        self.blocks.append(_Block.empty(batch.labels, self.steps, self.classes))
        return self.blocks[-1]

    def count(self, step: int, output: StepOutput) -> None:
        """The spikes of one step."""
        for name, spikes in output.spikes.items():
            steps = self.spikes.setdefault(name, torch.zeros_like(self.operations))
            steps[step] += spikes
        self.operations[step] += output.synaptic_operations

    def report(self, step: int) -> StepReport:
        """How the batches so far stand at a step."""
        block = self.blocks[-1]
        self.seen[step] += len(block.labels)
        self.right[step] += int((block.predictions[step] == block.labels).sum())
        return StepReport(step + 1, self.seen[step], self.right[step] / self.seen[step])

    def result(self) -> SimulationResult:
        """All batches so far."""
        whole = _Block.joined(self.blocks)
        confusion = [confusion_counts(whole.labels, row, self.classes) for row in whole.predictions]
        return SimulationResult(
            whole.labels,
            whole.predictions,
            torch.stack(confusion),
            self.spikes,
            self.operations,
            self.engine,
            whole.margins,
            whole.used,
            whole.per_step * self.unit,
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


def check_network(snn: SpikingNetwork) -> None:
    """Raise unless ``snn`` is a spiking network.

    Parameters
    ----------
    snn : SpikingNetwork

    Raises
    ------
    TypeError
        For anything else.
    """
    if not isinstance(snn, SpikingNetwork):
        raise TypeError(
            f"snn is a {type(snn).__name__}; give a spiking network: convert(cnn) makes one."
        )


def _prepare(engine: str, snn: SpikingNetwork, image: Tensor, **options) -> tuple[str, Prepared]:
    """For "auto" the event engine wherever it can run: it was faster at every rate measured."""
    if engine not in ("auto", *ENGINES):
        raise ValueError(f'engine is {engine!r}; choose "auto" or one of {list(ENGINES)}.')
    if engine != "auto":
        return engine, ENGINES[engine].prepare(snn, **options)
    if not event.numba_is_there():
        warnings.warn("numba is missing: the slower clock engine runs instead.", stacklevel=3)
    if event.takes(options["encoder"], image):
        with suppress(event.EngineError):
            return "event", event.prepare(snn, **options)
    return "clock", clock.prepare(snn, **options)
