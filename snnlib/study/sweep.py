"""Accuracy of many conversions over time (chapter 7, *Where conversion loses accuracy*).

Every way to balance with every reset and every encoder, on all test images: each is a cell,
run once to the longest time, which gives all shorter ones.  Cells know nothing of each
other, so joblib can share them out among processes, or the machines of a cluster.  A cell's
result is a file that is whole or absent; a run that was killed goes on where it stopped.
"""

import csv
import hashlib
import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path

from joblib import Parallel, delayed
from torch import Tensor, nn
from tqdm.auto import tqdm

from snnlib.cnn.balancing import activation_scales, weight_scales
from snnlib.cnn.shipped import ASSETS, load_trained_cnn, weights_file
from snnlib.data import Digits, load_digits
from snnlib.simulation import simulate
from snnlib.spiking.conversion import convert
from snnlib.spiking.encoding import ConstantEncoder, PoissonEncoder
from snnlib.storage import write_whole

SWEEP_FILE = ASSETS / "conversion_sweep.csv"
BALANCINGS = ("none", "model-based", "data-max", "percentile", "channel-wise")
RESETS = ("subtract", "zero")
ENCODERS = ("constant", "Poisson")
PERCENTILE = 99.9  # of "percentile" and "channel-wise"
COLUMNS = ("balancing", "reset", "encoder", "seed", "steps", "accuracy")


@dataclass(frozen=True, order=True)
class Cell:
    """One conversion, run once.

    Parameters
    ----------
    balancing : str
        One of BALANCINGS: weights as trained; ``weight_scales``; ``activation_scales`` by
        the maximum, the 99.9th percentile, and that percentile of each channel.
    reset : str
        "subtract" or "zero".
    encoder : str
        "constant", or "Poisson" with a white pixel at 1 spike/step.
    seed : int
        Of the random spikes; 0 for a constant input, which is not random.

    Raises
    ------
    ValueError
        For another name, or another seed with a constant input.
    """

    balancing: str
    reset: str
    encoder: str
    seed: int = 0

    def __post_init__(self) -> None:
        for field, known in (("balancing", BALANCINGS), ("reset", RESETS), ("encoder", ENCODERS)):
            if getattr(self, field) not in known:
                raise ValueError(
                    f"{field} is {getattr(self, field)!r}; choose one of {', '.join(known)}."
                )
        if self.seed and self.encoder == "constant":
            raise ValueError(f"seed is {self.seed}; a constant input is not random, give 0.")

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.balancing}_{self.reset}_{self.encoder}_{self.seed}"


@dataclass(frozen=True)
class Setting:
    """What all cells of a sweep have in common.

    Parameters
    ----------
    weights : str
        Of ``load_trained_cnn``.
    per_class : int or None
        Test images; None for all 10,000.
    train_per_class : int
        Training images from which scales are measured.
    steps : tuple of int
        After which accuracy is kept.

    Raises
    ------
    ValueError
        For steps that are no whole numbers above 0, or none.
    """

    weights: str = "mnist"
    per_class: int | None = None
    train_per_class: int = 500
    steps: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)

    def __post_init__(self) -> None:
        if not self.steps or any(t < 1 or t != int(t) for t in self.steps):
            raise ValueError(f"steps is {self.steps}; give whole numbers of at least 1.")


@dataclass(frozen=True)
class Spread:
    """What several runs gave.

    Attributes
    ----------
    mean, std : float
        Of accuracy; the sample standard deviation, 0 for one run.
    runs : int
        One for a constant input, which gives the same again and again.
    """

    mean: float
    std: float
    runs: int


@dataclass(frozen=True)
class Sweep:
    """A table of accuracies.

    Attributes
    ----------
    accuracy : dict of Cell to dict of int to float
        By cell and number of steps.
    provenance : dict of str to str
        How the table was made.
    """

    accuracy: dict[Cell, dict[int, float]]
    provenance: dict[str, str]

    def spread(self, balancing: str, reset: str, encoder: str) -> dict[int, Spread]:
        """Mean and standard deviation over seeds.

        Parameters
        ----------
        balancing, reset, encoder : str
            As of a ``Cell``.

        Returns
        -------
        dict of int to Spread
            By number of steps.

        Raises
        ------
        ValueError
            If there is no such run.
        """
        wanted = (balancing, reset, encoder)
        runs = [
            row for c, row in self.accuracy.items() if (c.balancing, c.reset, c.encoder) == wanted
        ]
        if not runs:
            raise ValueError(f"there is no run with {', '.join(wanted)}; see BALANCINGS.")
        return {steps: _spread([run[steps] for run in runs]) for steps in runs[0]}


def all_cells(
    seeds: int = 5,
    *,
    balancings: Sequence[str] = BALANCINGS,
    resets: Sequence[str] = RESETS,
    encoders: Sequence[str] = ENCODERS,
) -> list[Cell]:
    """Every combination, with a constant input once.

    Parameters
    ----------
    seeds : int
        0 to seeds - 1.
    balancings, resets, encoders : sequence of str

    Returns
    -------
    list of Cell

    Raises
    ------
    ValueError
        For an unknown name.
    """
    combinations = product(balancings, resets, encoders)
    return [
        Cell(*names, seed)
        for names in combinations
        for seed in range(1 if names[-1] == "constant" else seeds)
    ]


def run_cell(cell: Cell, setting: Setting) -> dict[int, float]:
    """Accuracy of one cell.

    Parameters
    ----------
    cell : Cell
    setting : Setting

    Returns
    -------
    dict of int to float
        By number of steps.
    """
    cnn, scales = _balanced(setting, cell.balancing)
    snn = convert(cnn, thresholds=1.0 if scales is None else scales, reset=cell.reset)
    constant = cell.encoder == "constant"
    encoder = ConstantEncoder() if constant else PoissonEncoder(1.0, seed=cell.seed)
    result = simulate(snn, _test_images(setting), steps=max(setting.steps), encoder=encoder)
    return {steps: result.accuracy[steps - 1].item() for steps in setting.steps}


def run_sweep(
    cells: Sequence[Cell], setting: Setting, folder: str | Path, *, progress: bool = False
) -> dict[Cell, dict[int, float]]:
    """Run the cells that ``folder`` does not hold yet, wherever joblib is told to.

    ``with joblib.parallel_config(n_jobs=2):`` around the call takes two processes,
    ``with joblib.parallel_config(backend="dask"):`` the cluster of the Dask client.

    Parameters
    ----------
    cells : sequence of Cell
    setting : Setting
    folder : str or Path
        A file a cell, written as soon as its result arrives; only this process writes.
    progress : bool
        Draw a progress bar.

    Returns
    -------
    dict of Cell to dict of int to float
        Accuracy by cell and number of steps, in the order of ``cells``.

    Raises
    ------
    ValueError
        If the folder holds results of another setting, or a damaged file.
    """
    folder, facts = Path(folder), _facts(setting)
    folder.mkdir(parents=True, exist_ok=True)
    files = {cell: folder / f"{cell.name}.json" for cell in cells}
    done = {cell: _read(path, facts) for cell, path in files.items()}
    missing = [cell for cell, row in done.items() if row is None]
    work = Parallel(return_as="generator_unordered")(
        delayed(_labelled)(cell, setting) for cell in missing
    )
    bar = tqdm(work, total=len(missing), desc="cells", disable=not progress)
    for cell, row in bar:
        text = json.dumps({**facts, "accuracy": row})
        write_whole(files[cell], lambda path, text=text: path.write_text(text))
        done[cell] = row
    return done


def write_sweep(sweep: Sweep, path: str | Path) -> None:
    """Write a table with its provenance, whole or not at all.

    Parameters
    ----------
    sweep : Sweep
    path : str or Path
    """
    rows = [
        (*asdict(cell).values(), steps, accuracy)
        for cell, row in sorted(sweep.accuracy.items(), key=lambda item: _order(item[0]))
        for steps, accuracy in row.items()
    ]
    notes = {**sweep.provenance, "cells": len(sweep.accuracy)}
    lines = [f"# {key}: {value}" for key, value in notes.items()]
    lines += [",".join(map(str, row)) for row in (COLUMNS, *rows)]
    write_whole(path, lambda partial: partial.write_text("\n".join(lines) + "\n"))


def load_sweep(path: str | Path = SWEEP_FILE) -> Sweep:
    """Read a table that ``write_sweep`` wrote; the one of chapter 7 ships with the course.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Sweep

    Raises
    ------
    FileNotFoundError
        For a missing file.
    ValueError
        For one that is truncated or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; make it with tools/sweep.py.")
    lines = path.read_text().splitlines()
    notes = [line[2:].split(": ", 1) for line in lines if line.startswith("# ")]
    try:
        provenance = dict(notes)
        accuracy = _table(csv.DictReader(line for line in lines if not line.startswith("#")))
        if len(accuracy) != int(provenance.pop("cells")):
            raise ValueError("cells are missing")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is truncated or no table of a sweep ({error}).") from error
    return Sweep(accuracy, provenance)


def _table(rows: Iterable[Mapping[str, str]]) -> dict[Cell, dict[int, float]]:
    """Raises where something is missing, twice there, or no accuracy."""
    accuracy: dict[Cell, dict[int, float]] = {}
    for row in rows:
        cell = Cell(row["balancing"], row["reset"], row["encoder"], int(row["seed"]))
        of_cell, value = accuracy.setdefault(cell, {}), float(row["accuracy"])
        if int(row["steps"]) in of_cell or not 0 <= value <= 1:
            raise ValueError(f"{cell.name} after {row['steps']} steps")
        of_cell[int(row["steps"])] = value
    if len({tuple(row) for row in accuracy.values()}) != 1:
        raise ValueError("some numbers of steps are missing")
    return accuracy


def _spread(values: list[float]) -> Spread:
    std = statistics.stdev(values) if len(values) > 1 else 0.0
    return Spread(math.fsum(values) / len(values), std, len(values))


def _order(cell: Cell) -> tuple:
    """As the names are listed above."""
    places = BALANCINGS.index(cell.balancing), RESETS.index(cell.reset)
    return (*places, ENCODERS.index(cell.encoder), cell.seed)


def _labelled(cell: Cell, setting: Setting) -> tuple[Cell, dict[int, float]]:
    return cell, run_cell(cell, setting)


def _facts(setting: Setting) -> dict:
    """What a result depends on besides its cell, as JSON gives it back."""
    content = weights_file(setting.weights).read_bytes()
    facts = asdict(setting) | {"weights_sha256": hashlib.sha256(content).hexdigest()}
    return json.loads(json.dumps(facts))


def _read(path: Path, facts: dict) -> dict[int, float] | None:
    """The result of a cell, None if there is none."""
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text())
        row = content.pop("accuracy")
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path} is damaged; delete it, and its cell runs again.") from error
    if content != facts:
        raise ValueError(f"{path} is the result of another setting; choose another folder.")
    return {int(steps): accuracy for steps, accuracy in row.items()}


@lru_cache(maxsize=1)
def _test_images(setting: Setting) -> Digits:
    """Kept from cell to cell, as are scales; both depend on the setting alone."""
    return load_digits("test", per_class=setting.per_class)


@lru_cache(maxsize=len(BALANCINGS))
def _balanced(setting: Setting, balancing: str) -> tuple[nn.Module, list[Tensor] | None]:
    cnn = load_trained_cnn(setting.weights)
    if balancing == "none":
        return cnn, None
    if balancing == "model-based":
        return cnn, weight_scales(cnn)
    images = load_digits("train", per_class=setting.train_per_class)
    percentile = 100.0 if balancing == "data-max" else PERCENTILE
    options = {"percentile": percentile, "channelwise": balancing == "channel-wise"}
    return cnn, activation_scales(cnn, images, **options)
