"""What the page of benchmarks reads was measured in full, and with the versions that are pinned."""

import csv
import json
import re
from pathlib import Path

import build_student_book
import pytest

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "benchmarks"
RESULTS = FOLDER / "results"
PAGE = ROOT / "appendix" / "benchmarks.md"
PEERS = {"SpikingJelly", "snnTorch", "sinabs", "Norse"}


def pins(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)$", path.read_text(), flags=re.M))


@pytest.fixture(scope="module")
def machine() -> dict:
    return json.loads((RESULTS / "machine.json").read_text())


def rows(name: str) -> list[dict[str, str]]:
    with (RESULTS / name).open() as file:
        return list(csv.DictReader(file))


def test_the_benchmarks_run_with_the_versions_of_the_course():
    course = pins(ROOT / "constraints.txt") | pins(ROOT / "requirements.txt")
    bench = pins(FOLDER / "requirements.txt")
    shared = set(bench) & set(course)
    assert {"torch", "numpy", "numba", "safetensors", "tqdm"} <= shared
    assert {name: bench[name] for name in shared} == {name: course[name] for name in shared}


def test_the_results_were_measured_with_the_pinned_versions(machine):
    pinned = pins(FOLDER / "requirements.txt") | pins(FOLDER / "peers.txt")
    used = {name: number.split("+")[0] for name, number in machine["versions"].items()}
    del used["python"]
    assert used == {name: pinned[name] for name in used}


def test_the_race_was_run_in_full(machine):
    assert (machine["images"], machine["alone"], machine["steps"]) == (1000, 50, 40)
    assert machine["threads"] == 2
    found = {
        (row["task"], row["contestant"], row["mode"], row["round"]) for row in rows("race.csv")
    }
    contestants = {(contestant, mode) for _, contestant, mode, _ in found}
    assert {contestant for contestant, _ in contestants} == {
        *PEERS,
        "event engine",
        "clock engine",
        "40 CNN passes",
    }
    rounds = map(str, range(1, machine["rounds"] + 1))
    assert machine["rounds"] >= 5
    assert found == {
        (task, *who, number)
        for number in rounds
        for who in contestants
        for task in ("many", "alone")
    }


def test_parity_was_compared_for_all_that_raced():
    raced = {(row["contestant"], row["mode"]) for row in rows("race.csv") if row["mode"]}
    compared = [row for row in rows("parity.csv") if row["setting"] == "as raced"]
    assert {(row["peer"], row["mode"]) for row in compared} == raced
    assert {row["layer"] for row in compared} == {"conv1", "conv2", "output", "decision"}


def test_every_simulator_that_imports_our_nir_file_ends_with_our_spikes():
    last = {(row["peer"], row["reset"]): row for row in rows("nir.csv")}
    assert set(last) == {(peer, reset) for peer in PEERS for reset in ("subtract", "zero")}
    for row in last.values():
        assert (row["images"], row["steps"], row["error"]) == ("100", "40", "")
        compared = ("conv1", "conv2", "potentials", "decisions")
        assert {row[f"{name}_differing"] for name in compared} == {"0"}


def test_the_page_finds_the_results_in_the_book_and_in_the_book_for_students(tmp_path):
    (place,) = re.findall(r'results = Path\("(.+)"\)', PAGE.read_text())
    build_student_book.copy_sources(tmp_path)
    for root in (ROOT, tmp_path):
        assert {path.name for path in (root / "appendix" / place).iterdir()} >= {
            "machine.json",
            "nir.csv",
            "parity.csv",
            "race.csv",
        }
