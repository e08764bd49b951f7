"""Networks as people write them: each computes, balanced, lowered and as spikes, what it did."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nets import random_images, settle
from own_networks import NETS, SHAPE
from sameness import assert_same
from torch import nn

from snnlib import (
    ConstantEncoder,
    PoissonEncoder,
    activation_scales,
    convert,
    normalize_weights,
)
from snnlib.cnn.lowering import lowered
from snnlib.cnn.tracing import trace
from snnlib.engines import clock, event

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


@pytest.fixture(params=NETS)
def net(request):
    """With random weights, biases and statistics, and no scale below zero."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = copy.deepcopy(NETS[request.param]).eval()
        net(torch.zeros(2, *SHAPE))  # so that lazy layers have weights
    net = settle(net, 1, 1.2)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.abs_()
    return net


@pytest.fixture
def images():
    return random_images(0, 5, SHAPE)


def outputs(graph, images):
    *_, (_, output) = graph.run(images.double())
    return output


def gap(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


@torch.no_grad()
def test_its_stages_compute_what_it_does(net, images):
    graph = trace(net, SHAPE)
    expected = net.double()(images.double())
    assert gap(outputs(graph, images), expected) <= 1e-12
    assert gap(outputs(lowered(graph, SHAPE), images), expected) <= 1e-12


@torch.no_grad()
@pytest.mark.parametrize("channelwise", [False, True])
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_balancing_keeps_its_outputs(net, images, channelwise, dtype, limit):
    try:
        scales = activation_scales(net, images, channelwise=channelwise)
    except ValueError:  # outputs that are negative everywhere
        pytest.skip("the readout is silent")
    net, images = net.to(dtype), images.to(dtype)
    balanced = normalize_weights(net, scales, input_shape=SHAPE)
    assert gap(balanced(images) * scales[-1], net(images)) <= limit
    assert gap(outputs(trace(balanced, SHAPE), images), balanced.double()(images.double())) < 1e-6


@pytest.mark.parametrize(
    "encoder", [PoissonEncoder(0.9), ConstantEncoder()], ids=["rate", "constant"]
)
def test_both_engines_give_the_same_for_it(net, images, encoder):
    snn = convert(net, thresholds=0.8, input_shape=SHAPE, pooling="linear")
    assert event.why_not(snn) is None
    if snn.clipped and encoder.gain < 1:  # refused, as darker images would not reach a ceiling
        encoder = PoissonEncoder(1.0)
    assert_same(snn, images, steps=9, encoder=encoder)


@torch.no_grad()
def test_its_spiking_outputs_approach_it(net, images):
    graph = trace(net, SHAPE)
    bounds = [
        a.abs().max().float().clamp(min=0.1)
        for s, a in graph.run(images.double())
        if s.kind != "max"
    ]
    snn, index = convert(net, thresholds=bounds, input_shape=SHAPE), torch.arange(len(images))
    unit = max(snn_scale(snn, source) for source in snn.layers[-1].sources)
    *_, last_step = clock.prepare(snn, steps=400, encoder=ConstantEncoder())(images, index)
    error = (last_step.potential / 400 * unit - net(images)).abs().mean()
    assert error < 0.03 * net(images).abs().mean() + 0.01 * unit


def snn_scale(snn, source):
    return next((la.scale.max().item() for la in snn.layers if la.name == source), 1.0)


# ---- drawn


NORMS = st.lists(
    st.tuples(st.floats(-1, 1), st.floats(0.1, 3)), min_size=2, max_size=2
)  # mean and deviation of each channel


@torch.no_grad()
@given(NORMS, st.integers(1, 4), st.integers(0, 2), st.integers(1, 2), st.integers(1, 2))
def test_normalisation_folds_exactly_with_any_padding(norms, kernel, padding, stride, groups):
    norm = nn.BatchNorm2d(2, affine=False, eps=0)
    norm.running_mean, norm.running_var = torch.tensor(norms).T.contiguous()
    norm.running_var.square_()
    conv = nn.Conv2d(2, 4, kernel, stride, padding, groups=groups)
    cnn = nn.Sequential(norm, conv, nn.ReLU(), nn.Flatten(), nn.LazyLinear(3)).eval().double()
    images = random_images(0, 3, (2, 6, 7)).double()
    cnn(images)
    cnn = settle_weights(cnn)
    graph = lowered(trace(cnn, (2, 6, 7)), (2, 6, 7))
    assert gap(outputs(graph, images), cnn(images)) <= 1e-10
    balanced = normalize_weights(cnn, [2.0, 3.0])
    assert gap(balanced(images) * 3, cnn(images)) <= 1e-10


def settle_weights(cnn):
    for layer in (cnn[1], cnn[-1]):
        settle(nn.Sequential(layer), 3)
    return cnn


@st.composite
def joins(draw):
    """A forward that joins, adds, pools and convolves at random, and its layers."""
    steps = draw(st.lists(st.sampled_from(JOINS), min_size=2, max_size=6))
    return steps, draw(st.integers(0, 1000))


JOINS = ("conv", "linear conv", "join", "join all", "add", "max", "average", "norm", "relu")


class Joined(nn.Module):
    """Maps of 4, 8, ... channels that are joined; convolutions bring them back to 4."""

    def __init__(self, steps):
        super().__init__()
        self.steps, self.fc = steps, nn.LazyLinear(3)
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.layers = nn.ModuleList(self._layer(step) for step in steps)

    def _layer(self, step):
        kinds = {"conv": 3, "linear conv": 3, "add": 1}
        if step in kinds:
            return nn.LazyConv2d(4, kinds[step], padding=kinds[step] // 2)
        return nn.LazyBatchNorm2d() if step == "norm" else nn.Identity()

    def forward(self, x):
        x = torch.relu(self.first(x))
        kept = [x]
        for step, layer in zip(self.steps, self.layers, strict=True):
            x = self._step(step, layer, x, kept)
            kept.append(x)
        return self.fc(torch.relu(x).mean((2, 3)))

    def _step(self, step, layer, x, kept):
        if step in ("conv", "linear conv"):
            x = layer(x)
            return torch.relu(x) if step == "conv" else x
        if step == "join":
            return torch.cat([x, kept[0]], 1)
        if step == "join all":
            return torch.cat(kept, 1)
        if step == "add":
            return torch.relu(layer(x)) + kept[0]
        pools = {"max": nn.functional.max_pool2d, "average": nn.functional.avg_pool2d}
        if step in pools:
            return pools[step](torch.relu(x), 3, 1, 1)
        return layer(x) if step == "norm" else torch.relu(x)


@torch.no_grad()
@given(joins())
def test_networks_that_join_at_random_compute_the_same(drawn):
    steps, seed = drawn
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        cnn = Joined(steps).eval()
        cnn(torch.zeros(1, 2, 6, 6))
    cnn, images = settle(cnn, seed).double(), random_images(seed, 3, (2, 6, 6)).double()
    graph = trace(cnn, (2, 6, 6))
    assert gap(outputs(graph, images), cnn(images)) <= 1e-10
    assert gap(outputs(lowered(graph, (2, 6, 6)), images), cnn(images)) <= 1e-10
    snn = convert(cnn.float(), input_shape=(2, 6, 6))
    assert event.why_not(snn) is None
