"""Many conversions: each cell is run once, whatever happens in between."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from joblib import parallel_config

from snnlib import (
    ConstantEncoder,
    PoissonEncoder,
    activation_scales,
    convert,
    load_digits,
    load_trained_cnn,
    simulate,
    weight_scales,
)
from snnlib.study import sweep
from snnlib.study.sweep import Cell, Setting, Sweep, all_cells, load_sweep, run_sweep, write_sweep

TOOL = Path(__file__).parent.parent.parent / "tools" / "sweep.py"
TINY = Setting("digits", per_class=2, train_per_class=2, steps=(1, 4))
CELLS = all_cells(2, balancings=("none", "data-max"), resets=("zero",))
TABLE = Sweep({cell: {1: 0.5 + i / 100, 4: 0.75} for i, cell in enumerate(CELLS)}, {"date": "now"})


def state_of(folder: Path) -> dict[str, tuple[str, int]]:
    """Every file with its content and when it was written."""
    return {p.name: (p.read_text(), p.stat().st_mtime_ns) for p in folder.glob("*.json")}


def tool(folder: Path, *options) -> list:
    tiny = ["--weights=digits", "--per-class=2", "--train-per-class=2", "--steps", "1", "4"]
    places = [f"--folder={folder}", f"--table={folder / 'table.csv'}"]
    return [sys.executable, TOOL, *tiny, "--seeds=3", "--jobs=1", *places, *options]


# ---- what is run


def test_a_constant_input_runs_once_and_random_spikes_with_each_seed():
    cells = all_cells()
    assert len(cells) == len(set(cells)) == 5 * 2 * (1 + 5)
    assert {cell.seed for cell in cells if cell.encoder == "constant"} == {0}
    assert {cell.seed for cell in cells if cell.encoder == "Poisson"} == {0, 1, 2, 3, 4}
    assert len({cell.name for cell in cells}) == 60


@pytest.mark.parametrize("balancing", sweep.BALANCINGS)
@pytest.mark.parametrize(("reset", "encoder"), [("zero", "Poisson"), ("subtract", "constant")])
def test_a_cell_is_what_its_name_says(balancing, reset, encoder):
    cnn, images = load_trained_cnn("digits"), load_digits("train", per_class=2).images
    scales = {
        "none": lambda: 1.0,
        "model-based": lambda: weight_scales(cnn),
        "data-max": lambda: activation_scales(cnn, images),
        "percentile": lambda: activation_scales(cnn, images, percentile=99.9),
        "channel-wise": lambda: activation_scales(cnn, images, percentile=99.9, channelwise=True),
    }[balancing]()
    seed = 3 if encoder == "Poisson" else 0
    stream = PoissonEncoder(1.0, seed=seed) if seed else ConstantEncoder()
    snn = convert(cnn, thresholds=scales, reset=reset)
    expected = simulate(snn, load_digits("test", per_class=2), steps=4, encoder=stream).accuracy
    found = sweep.run_cell(Cell(balancing, reset, encoder, seed), TINY)
    assert found == {1: expected[0].item(), 4: expected[3].item()}


@pytest.mark.slow
def test_processes_give_what_one_gives(tmp_path):
    one = run_sweep(CELLS, TINY, tmp_path / "one")
    with parallel_config(n_jobs=2):
        two = run_sweep(CELLS, TINY, tmp_path / "two")
    assert one == two
    assert list(one) == CELLS


# ---- stopped and resumed


@pytest.mark.slow
def test_a_sweep_that_is_killed_loses_and_repeats_nothing(tmp_path):
    folder = tmp_path / "killed"
    with subprocess.Popen(tool(folder), stderr=subprocess.DEVNULL) as process:
        while not folder.is_dir() or len(list(folder.glob("*.json"))) < 3:
            assert process.poll() is None
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
    before = state_of(folder)
    assert 3 <= len(before) < 40
    assert not (folder / "table.csv").exists()
    subprocess.run(tool(folder), check=True, capture_output=True)
    after = state_of(folder)
    assert len(after) == 5 * 2 * (1 + 3)
    assert {name: after[name] for name in before} == before  # not even written again
    subprocess.run(tool(folder), check=True, capture_output=True)
    assert state_of(folder) == after
    found = load_sweep(folder / "table.csv")
    assert found.accuracy == run_sweep(all_cells(3), TINY, tmp_path / "at once")


def test_a_cell_that_fails_keeps_those_before_it(tmp_path, monkeypatch):
    whole = sweep.run_cell

    def failing(cell, setting):
        if cell == CELLS[2]:
            raise RuntimeError("out of luck")
        return whole(cell, setting)

    monkeypatch.setattr(sweep, "run_cell", failing)
    with pytest.raises(RuntimeError, match="out of luck"):
        run_sweep(CELLS, TINY, tmp_path)
    before = state_of(tmp_path)
    assert set(before) == {f"{cell.name}.json" for cell in CELLS[:2]}
    monkeypatch.setattr(sweep, "run_cell", whole)
    run_sweep(CELLS, TINY, tmp_path)
    after = state_of(tmp_path)
    assert len(after) == len(CELLS)
    assert {name: after[name] for name in before} == before


def test_results_of_another_setting_are_neither_used_nor_lost(tmp_path):
    run_sweep(CELLS[:1], TINY, tmp_path)
    before = state_of(tmp_path)
    with pytest.raises(ValueError, match="another setting; choose another folder"):
        run_sweep(CELLS[:1], Setting("digits", 2, 2, (1, 5)), tmp_path)
    assert state_of(tmp_path) == before


@pytest.mark.parametrize("content", ["", "{", json.dumps({"weights": "digits"})])
def test_a_damaged_result_is_named(tmp_path, content):
    (tmp_path / f"{CELLS[0].name}.json").write_text(content)
    with pytest.raises(ValueError, match="is damaged; delete it"):
        run_sweep(CELLS[:1], TINY, tmp_path)


# ---- the table


def test_a_table_comes_back_as_it_was_written(tmp_path):
    write_sweep(TABLE, tmp_path / "table.csv")
    found = load_sweep(tmp_path / "table.csv")
    assert found == TABLE
    text = (tmp_path / "table.csv").read_text()
    assert text.startswith("# date: now\n# cells: 6\nbalancing,reset,encoder,seed,steps,accuracy\n")


def test_seeds_are_summed_up_as_mean_and_standard_deviation():
    cells = [Cell("none", "zero", "Poisson", seed) for seed in range(3)]
    table = Sweep({c: {4: a} for c, a in zip(cells, (0.9, 0.92, 0.97), strict=True)}, {})
    (spread,) = table.spread("none", "zero", "Poisson").values()
    assert spread.mean == pytest.approx(0.93)
    assert spread.std == pytest.approx(((0.03**2 + 0.01**2 + 0.04**2) / 2) ** 0.5)
    assert spread.runs == 3


def test_a_constant_input_has_no_spread():
    assert TABLE.spread("none", "zero", "constant")[4] == sweep.Spread(0.75, 0.0, 1)
    with pytest.raises(ValueError, match="no run with percentile"):
        TABLE.spread("percentile", "zero", "constant")


@pytest.mark.slow
def test_the_tool_says_how_a_table_was_made(tmp_path):
    subprocess.run(
        tool(tmp_path, "--balancings", "none", "--seeds=1"), check=True, capture_output=True
    )
    found = load_sweep(tmp_path / "table.csv")
    assert set(found.accuracy) == set(all_cells(1, balancings=("none",)))
    notes = found.provenance
    assert set(notes) >= {"command", "commit", "versions", "date", "machine", "scales"}
    assert "--per-class 2" in notes["command"]
    assert "--steps 1 4" in notes["command"]
    assert str(tmp_path) not in (tmp_path / "table.csv").read_text()


SPOILED = {
    "cut": lambda text: text[: len(text) // 2],
    "a row less": lambda text: text.rsplit("\n", 2)[0],
    "a cell less": lambda text: text.rsplit("\n", 3)[0],
    "a row twice": lambda text: text + text.splitlines()[-1] + "\n",
    "another column": lambda text: text.replace("balancing,", "balance,"),
    "no accuracy": lambda text: text.replace("0.75", "75"),
    "another name": lambda text: text.replace("data-max", "max"),
    "no notes": lambda text: text.replace("# cells: 6\n", ""),
    "something else": lambda text: "hello",
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_table_is_refused(tmp_path, name):
    path = tmp_path / "table.csv"
    write_sweep(TABLE, path)
    path.write_text(SPOILED[name](path.read_text()))
    with pytest.raises(ValueError, match="truncated or no table of a sweep"):
        load_sweep(path)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"make it with tools/sweep\.py"):
        load_sweep(tmp_path / "table.csv")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("max", "zero", "constant"), "balancing is 'max'; choose one of none"),
        (("none", "half", "constant"), "reset is 'half'"),
        (("none", "zero", "poisson"), "encoder is 'poisson'"),
        (("none", "zero", "constant", 1), "a constant input is not random"),
    ],
)
def test_an_unknown_cell_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Cell(*arguments)


@pytest.mark.parametrize("steps", [(), (0,), (1.5,)])
def test_unusable_steps_are_refused(steps):
    with pytest.raises(ValueError, match="steps is"):
        Setting(steps=steps)
