"""Branches, pools and batch norms in every place where they can stand, written as users do."""

import pytest
import torch
from forwards import Net
from nets import random_images, settle
from sameness import assert_same
from torch import nn
from torch.nn import functional as F

from snnlib import (
    ConstantEncoder,
    PoissonEncoder,
    activation_scales,
    conversion_report,
    convert,
    normalize_weights,
)
from snnlib.cnn.tracing import trace
from snnlib.engines import clock, event

SHAPE = (1, 8, 8)


def conv(inputs, outputs, size=3, **options):
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, **options)


def three_branches(n, x):
    return n.fc(F.relu(n.a(x) + n.b(x) + n.c(x)).mean((2, 3)))


def norm_after_sum(n, x):
    return n.fc(F.relu(n.norm(n.a(x) + n.b(x))).flatten(1))


def norm_after_identity(n, x):
    x = F.relu(n.a(x))
    return n.fc(F.relu(n.norm(n.b(x) + x)).flatten(1))


def pooled_shortcut(n, x):
    x = F.relu(n.a(x))
    return n.fc(F.relu(n.b(x) + n.c(F.avg_pool2d(x, 2))).flatten(1))


def pooled_identity(n, x):
    x = F.relu(n.a(x))
    return n.fc(F.relu(n.b(x) + F.avg_pool2d(x, 2)).flatten(1))


def max_pooled_identity(n, x):
    x = F.relu(n.a(x))
    return n.fc(F.relu(n.b(x) + F.max_pool2d(x, 2)).flatten(1))


def nested(n, x):
    x = F.relu(n.a(x))
    inner = F.relu(n.b(x) + x)
    return n.fc(F.relu(n.c(inner) + x).flatten(1))


def shortcut_from_the_image(n, x):
    return n.fc(F.relu(n.b(F.relu(n.a(x))) + x).flatten(1))


def identity_of_features(n, x):
    x = torch.flatten(F.relu(n.a(x)), 1)
    return n.fc(F.relu(n.b(x) + x))


def sum_at_the_end(n, x):
    return n.fc(F.relu(n.a(x)).flatten(1)) + n.b(x.flatten(1))


def norm_of_the_image(n, x):
    return n.fc(F.relu(n.a(n.norm(x))).flatten(1))


def neurons_for_the_image(n, x):
    return n.fc(F.relu(n.a(F.relu(n.norm(x)))).flatten(1))


def depthwise(n, x):
    return n.fc(F.relu(n.c(F.relu(n.b(F.relu(n.a(x)))))).mean([-1, -2]))


def pool_used_twice(n, x):
    x = F.relu(n.a(x))
    return n.fc(F.relu(n.b(n.pool(x)) + n.c(n.pool(x))).flatten(1))


def branches_behind_a_pool(n, x):
    x = n.pool(F.relu(n.a(x)))
    return n.fc(F.relu(n.b(x) + n.c(x) + x).flatten(1))


def branches_behind_a_norm(n, x):
    x = F.relu(n.norm(F.relu(n.a(x))))
    return n.fc(F.relu(n.b(x) + n.c(x)).flatten(1))


BRANCHES = {"a": conv(1, 4), "b": conv(4, 4), "c": conv(4, 4, 1), "fc": nn.Linear(256, 3)}
HALVES = {"a": conv(1, 4), "b": nn.Conv2d(4, 4, 3, 2, 1), "c": nn.Conv2d(4, 4, 1)}
POOLED = {**BRANCHES, "pool": nn.AvgPool2d(2), "fc": nn.Linear(64, 3)}
NETS = [
    Net(three_branches, a=conv(1, 4), b=conv(1, 4, 1), c=conv(1, 4, 5), fc=nn.Linear(4, 3)),
    Net(norm_after_sum, **{**BRANCHES, "b": conv(1, 4, 5)}, norm=nn.BatchNorm2d(4)),
    Net(norm_after_identity, **BRANCHES, norm=nn.BatchNorm2d(4)),
    Net(pooled_shortcut, **HALVES, fc=nn.Linear(64, 3)),
    Net(pooled_identity, **HALVES, fc=nn.Linear(64, 3)),
    Net(max_pooled_identity, **HALVES, fc=nn.Linear(64, 3)),
    Net(nested, **BRANCHES),
    Net(shortcut_from_the_image, a=conv(1, 4), b=conv(4, 1), fc=nn.Linear(64, 3)),
    Net(identity_of_features, a=conv(1, 2), b=nn.Linear(128, 128), fc=nn.Linear(128, 3)),
    Net(sum_at_the_end, a=conv(1, 2), fc=nn.Linear(128, 3), b=nn.Linear(64, 3)),
    Net(norm_of_the_image, norm=nn.BatchNorm2d(1), a=nn.Conv2d(1, 3, 3), fc=nn.Linear(108, 3)),
    Net(neurons_for_the_image, norm=nn.BatchNorm2d(1), a=conv(1, 3), fc=nn.Linear(192, 3)),
    Net(
        depthwise,
        a=conv(1, 40),
        b=conv(40, 40, groups=40, bias=False),
        c=nn.Conv2d(40, 33, 1),
        fc=nn.Linear(33, 3),
    ),
    Net(pool_used_twice, **POOLED),
    Net(branches_behind_a_pool, **POOLED),
    Net(branches_behind_a_norm, **BRANCHES, norm=nn.BatchNorm2d(4)),
]


@pytest.fixture(params=NETS, ids=lambda net: net._forward.__name__)
def net(request):
    """With random weights, and a readout that some image activates."""
    net = settle(request.param.float(), 1, 1.2)
    net.fc.weight.data.abs_()
    return net


@pytest.fixture
def images():
    return random_images(0, 6, SHAPE)


@torch.no_grad()
def test_its_stages_compute_what_it_does(net, images):
    *_, (_, outputs) = trace(net, SHAPE).run(images.double())
    assert torch.allclose(outputs, net.double()(images.double()), rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("channelwise", [False, True])
def test_balancing_keeps_its_outputs(net, images, channelwise):
    scales = activation_scales(net, images, channelwise=channelwise)
    balanced = normalize_weights(net, scales)
    gap = (balanced(images) * scales[-1] - net(images)).abs().max()
    assert gap <= 1e-5 * net(images).abs().max()
    again = activation_scales(balanced, images, channelwise=channelwise)
    assert all(torch.allclose(s, torch.ones(()), rtol=1e-5) for s in again)


@torch.no_grad()
def test_its_spiking_outputs_approach_it(net, images):
    balanced = normalize_weights(net, activation_scales(net, images))
    snn, index = convert(balanced, input_shape=SHAPE), torch.arange(len(images))
    *_, last = clock.prepare(snn, steps=256, encoder=ConstantEncoder())(images, index)
    gap = (last.potential / 256 - balanced(images)).abs().mean()
    assert gap < 0.02 * balanced(images).abs().mean()


@pytest.mark.parametrize("pooling", ["linear", "spiking"])
@pytest.mark.parametrize("encoder", [PoissonEncoder(0.8), ConstantEncoder()])
def test_both_engines_give_the_same_for_it(net, images, pooling, encoder):
    scales = activation_scales(net, images, channelwise=True)
    snn = convert(net, thresholds=scales, input_shape=SHAPE, pooling=pooling, readout="spikes")
    assert event.why_not(snn) is None
    assert_same(snn, images, steps=17, encoder=encoder)
    assert len(conversion_report(net, snn).layers) >= len(scales)
