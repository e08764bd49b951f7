"""Families of networks, written as their originals are, convert unchanged."""

import copy
from functools import cache

import pytest
import torch
from families import FAMILIES, SHAPE
from nets import random_images, settle
from sameness import assert_same
from torch import nn
from trained import tinted, trained

from snnlib import (
    ConstantEncoder,
    PoissonEncoder,
    SpikingNetwork,
    activation_scales,
    conversion_report,
    convert,
    fold_batch_norm,
    normalize_weights,
    record,
    simulate,
)
from snnlib.cnn.tracing import trace
from snnlib.engines import event

IMAGES = random_images(0, 3, SHAPE)
# others need more than a moment before their decisions are as clear
TRAINED_ENOUGH = ["ResNet-18", "VGG-11 with batch norms", "SqueezeNet 1.1", "GoogLeNet"]


@cache
def settled(name):
    """With random weights and statistics, and the scales of its activations."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        cnn = settle(FAMILIES[name](), 0)
    for module in cnn.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.abs_()  # as training leaves it: no max pool behind a scale below 0
    return cnn, activation_scales(cnn, IMAGES)


def gap(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


@torch.no_grad()
@pytest.mark.parametrize("name", FAMILIES)
def test_reading_folding_and_balancing_keep_the_outputs(name):
    cnn, scales = settled(name)
    exact = copy.deepcopy(cnn).double()
    *_, (_, outputs) = trace(cnn, SHAPE).run(IMAGES.double())
    assert gap(outputs, exact(IMAGES.double())) <= 1e-10
    for net, images, limit in ((cnn, IMAGES, 1e-5), (exact, IMAGES.double(), 1e-10)):
        expected = net(images)
        assert gap(fold_batch_norm(net)(images), expected) <= limit
        assert gap(normalize_weights(net, scales)(images) * scales[-1], expected) <= limit


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("encoder", [PoissonEncoder(1.0), ConstantEncoder()])
def test_both_engines_give_the_same(name, encoder):
    cnn, scales = settled(name)
    snn = convert(cnn, thresholds=scales, input_shape=SHAPE)
    assert event.why_not(snn) is None
    assert_same(snn, IMAGES[:2], steps=6, encoder=encoder)


@pytest.mark.parametrize("name", FAMILIES)
def test_its_report_and_its_file_know_every_layer(name, tmp_path):
    cnn, scales = settled(name)
    snn = convert(cnn, thresholds=scales, input_shape=SHAPE)
    assert len(conversion_report(cnn, snn).layers) == len(snn.layers)
    snn.save(tmp_path / "snn.safetensors")
    loaded = SpikingNetwork.load(tmp_path / "snn.safetensors")
    assert str(loaded) == str(snn)
    given = {"steps": 4, "encoder": ConstantEncoder()}
    ours, theirs = (record(net, IMAGES[0], **given) for net in (snn, loaded))
    assert torch.equal(ours.output, theirs.output)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED_ENOUGH)
def test_trained_for_a_moment_it_decides_as_its_cnn(name):
    cnn, images = trained(name), tinted("test", 500)
    with torch.no_grad():
        decisions = cnn(images.images).argmax(1)
    scales = activation_scales(cnn, tinted("train", 500), channelwise=True)
    snn = convert(cnn, thresholds=scales, input_shape=SHAPE)
    for encoder in (PoissonEncoder(1.0), ConstantEncoder()):
        result = simulate(snn, images, steps=256, encoder=encoder)
        assert (result.predictions[-1] == decisions).float().mean() >= 0.99, encoder
