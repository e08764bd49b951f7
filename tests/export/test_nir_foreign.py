"""NIR graphs of other programs are read by NIR's own rule."""

import numpy as np
import pytest
import torch
from graphs import foreign, nir, through_file
from nets import random_images
from torch import nn

from snnlib import PoissonEncoder, record
from snnlib.engines import event
from snnlib.export.nir import NIRError, from_nir


def by_nirs_rule(layer, spikes, threshold):
    """The spikes of one layer, step by step: above the threshold, then to 0."""
    v, given_ = 0.0, []
    for x in spikes:
        v = v + layer.input_current(x).double()
        fired = v > threshold
        v = torch.where(fired, 0.0, v)
        given_.append(fired)
    return torch.stack(given_).float()


@pytest.mark.parametrize("threshold", [1.0, 0.77, 2.5])
def test_another_programs_graph_is_read_by_nirs_own_rule(threshold):
    snn = from_nir(foreign(threshold))
    images = random_images(0, 3, (1, 6, 6))
    stream = PoissonEncoder(0.8).stream(images)
    spikes = torch.stack([stream(step) for step in range(30)])
    expected = by_nirs_rule(snn.layers[0], spikes, threshold)
    found = torch.stack([next(snn.propagate(snn.input_current(x)))[1] for x in spikes])
    assert torch.equal(found, expected)
    assert found.sum() > 100
    assert snn.readout == "potential"
    assert snn.layers[0].neuron.initial == 0


def test_a_potential_equal_to_the_threshold_gives_no_spike_by_nirs_rule():
    ones = np.ones((1, 1, 1), np.float32)
    graph = nir.NIRGraph.from_list(
        nir.Input(np.array([1, 1, 1])),
        nir.Conv2d((1, 1), np.ones((1, 1, 1, 1), np.float32), 1, 0, 1, 1, np.zeros(1, np.float32)),
        nir.IF(ones, 2 * ones),
        nir.Flatten(np.array([1, 1, 1]), 0, -1),
        nir.Linear(np.ones((1, 1), np.float32)),
        nir.Output(np.array([1])),
    )
    recording = record(from_nir(graph), torch.ones(1, 1, 1), steps=9, encoder=PoissonEncoder(1.0))
    (spikes,) = list(recording.spikes.values())[:1]
    assert spikes.flatten().tolist() == [0, 0, 1] * 3


def test_weights_are_rounded_to_16_bits_and_only_a_little(tmp_path):
    graph = foreign()
    snn = from_nir(through_file(graph, tmp_path))
    weights = graph.nodes["conv2d"].weight
    assert np.abs(snn.layers[0].weight.numpy() - weights).max() <= 2.0**-11 * np.abs(weights).max()
    units = snn.layers[0].weight * 2.0 ** snn.layers[0].fraction_bits
    assert torch.equal(units, units.round())
    assert units.abs().max() < 2**15
    assert event.why_not(snn) is None


@pytest.mark.parametrize("kind", ["AvgPool2d", "SumPool2d"])
def test_averages_of_another_program_become_sums_with_smaller_weights(kind):
    two, none = np.array([2, 2]), np.array([0, 0])
    snn = from_nir(foreign(pool=getattr(nir, kind)(two, two, none)))
    x = random_images(0, 2, (1, 6, 6)).round()
    mean = nn.functional.avg_pool2d(x, 2) * (4 if kind == "SumPool2d" else 1)
    given_ = foreign(pool=getattr(nir, kind)(two, two, none)).nodes["conv2d"]
    expected = nn.functional.conv2d(mean, torch.tensor(given_.weight), torch.tensor(given_.bias))
    assert torch.allclose(snn.input_current(x), expected, atol=1e-3)


def test_a_graph_that_ends_on_if_is_read_by_its_spikes():
    assert from_nir(foreign(end=nir.IF(np.ones(4), np.ones(4)))).readout == "spikes"


def test_a_graph_that_ends_on_i_is_read_by_its_potential():
    assert from_nir(foreign(end=nir.I(np.ones(4)))).readout == "potential"


def test_the_time_of_a_step_belongs_to_r():
    snn = from_nir(foreign(r=1e4), dt=1e-4)
    assert torch.equal(snn.layers[0].weight, from_nir(foreign()).layers[0].weight)
    with pytest.raises(NIRError, match=r"r = 10000, but r \* dt must be 1: give dt = 1 / r"):
        from_nir(foreign(r=1e4))


def test_a_graph_of_single_layers_reads_too():
    """Two arms that add up at the output."""
    four_by = [np.eye(4, dtype=np.float32) * factor for factor in (1, 2)]
    shape = np.array([4, 1, 1])
    nodes = {
        "input": nir.Input(shape),
        "f": nir.Flatten(shape, 0, -1),
        "a": nir.Linear(four_by[0]),
        "b": nir.Linear(four_by[1]),
        "output": nir.Output(np.array([4])),
    }
    edges = [("input", "f"), ("f", "a"), ("f", "b"), ("a", "output"), ("b", "output")]
    snn = from_nir(nir.NIRGraph(nodes, edges))
    assert torch.equal(snn.step(torch.ones(1, 4, 1, 1)), torch.full((1, 4), 3.0).double())
