"""What the simulators found once, they find today: Python, both engines, and simulation.mjs."""

import copy
import json

import pytest
import torch
from make_lab_vectors import GOLDEN, make_image, make_network, make_vectors, measure, summary
from node import in_pythons_order, simulate_in_lab

from snnlib import PoissonEncoder
from snnlib.engines import clock, event
from snnlib.export.lab import at_threshold, lab_network

VECTORS = json.loads(GOLDEN.read_text())


def names(vector: dict) -> str:
    return f"{vector['network']}-{vector['image']}"


def measure_in_lab(node, snn, image, run: dict) -> dict:
    """As ``measure``, of what simulation.mjs finds."""
    found, shapes = simulate_in_lab(node, lab_network(snn), image, **run), snn.shapes()
    rows = {"input": found["input"], **found["spikes"]}
    spikes = {name: in_pythons_order(x, shapes[name]) for name, x in rows.items()}
    last = snn.layers[-1].name
    counts, potentials = (
        in_pythons_order(x, shapes[last]) for x in (found["counts"], found["potentials"][last])
    )
    return summary(spikes, counts[-1], potentials, torch.from_numpy(found["decisions"]))


def test_the_vectors_are_many_and_differ():
    assert len(VECTORS) >= 20
    options = [vector["convert"] for vector in VECTORS]
    assert {x.get("reset", "subtract") for x in options} == {"subtract", "zero"}
    assert {x.get("pooling", "linear") for x in options} == {"linear", "spiking"}
    assert {x.get("readout", "potential") for x in options} == {"potential", "spikes"}
    assert len({vector["run"]["rate"] for vector in VECTORS}) >= 5
    assert len({vector["run"]["threshold"] for vector in VECTORS}) >= 5
    found = [vector["expected"] for vector in VECTORS]
    assert len({x["potentials_digest"] for x in found}) == len(VECTORS)
    assert all(all(x["spikes"].values()) for x in found)  # no layer is silent


def test_python_finds_what_it_found():
    """Also that the file was written by the tool as it stands."""
    assert make_vectors() == VECTORS


@pytest.mark.parametrize("vector", VECTORS, ids=names)
def test_the_lab_finds_what_python_found(node, vector):
    found = measure_in_lab(node, make_network(vector), make_image(vector), vector["run"])
    assert found == vector["expected"]


@pytest.mark.parametrize("engine", [clock, event], ids=["clock", "event"])
@pytest.mark.parametrize("vector", VECTORS, ids=names)
def test_both_engines_find_what_python_found(engine, vector):
    run, expected = vector["run"], vector["expected"]
    snn = at_threshold(make_network(vector), run["threshold"])
    encoder, index = PoissonEncoder(run["rate"], run["seed"]), torch.tensor([run["index"]])
    image = make_image(vector).unsqueeze(0)
    outputs = list(engine.prepare(snn, steps=run["steps"], encoder=encoder)(image, index))
    for name, total in expected["spikes"].items():
        assert sum(output.spikes[name] for output in outputs) == total, name
    last, neuron = outputs[-1], snn.layers[-1].neuron
    counts = last.counts.expand(last.potential.shape)  # [1, classes]
    assert counts[0].int().tolist() == expected["counts"]
    unit = neuron.threshold.double() if snn.layers[-1].spiking else 1.0
    assert (last.potential[0].double() / unit).numpy().tobytes().hex() == expected["potentials"]


@pytest.mark.parametrize("vector", VECTORS[::4], ids=names)
@pytest.mark.parametrize(("layer", "change"), [(0, 2.0**-4), (-1, None)])
def test_a_wrong_network_is_found_out(node, vector, layer, change):
    """The weights of one output by a unit of the grid, which the potentials tell; those of one
    map of the first layer by more, as only its spikes are kept."""
    snn, image, run = make_network(vector), make_image(vector), vector["run"]
    changed = copy.deepcopy(snn)
    wrong = changed.layers[layer]
    wrong.weight[0] += change or 2.0**-wrong.fraction_bits
    for found in (measure(changed, image, run), measure_in_lab(node, changed, image, run)):
        assert found != vector["expected"]
    assert measure_in_lab(node, snn, image, run) == vector["expected"]
