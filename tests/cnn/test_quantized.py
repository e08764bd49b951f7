"""Activations with few levels, and networks that need few steps."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nets import Residual, conv, linear, random_images, tiny_cnn
from torch import nn
from torch.nn import functional as F

from snnlib import (
    ConstantEncoder,
    ConversionError,
    Digits,
    Recipe,
    activation_scales,
    convert,
    simulate,
)
from snnlib.cnn.quantized import (
    QCFS,
    QuantizedRecipe,
    fine_tune,
    quantize_activations,
    restore_relu,
)
from snnlib.study.experiments import error_pieces

SHAPE = (1, 6, 6)


@pytest.fixture
def tiny():
    """A network with its scales, images and labels."""
    cnn, images = tiny_cnn(), random_images(0, 60, SHAPE)
    scales = activation_scales(cnn, images)
    return cnn, scales, Digits(images, cnn(images).argmax(1), ("a", "b", "c"))


def quantised(cnn, levels, scales):
    cnn = copy.deepcopy(cnn)
    for i, scale in zip((1, 4), scales, strict=False):
        cnn[i] = QCFS(levels, scale)
    return cnn


# ---- the activation


@given(st.integers(1, 8), st.floats(0.1, 4), st.integers(0, 10**6))
def test_a_value_becomes_the_nearest_level(levels, scale, seed):
    x = torch.randn(2, 3, 40, generator=torch.Generator().manual_seed(seed)) * 2 * scale
    found = QCFS(levels, scale)(x)
    grid = torch.arange(levels + 1) * scale / levels
    nearest = (x[..., None] - grid).abs().amin(-1)
    torch.testing.assert_close((found - x).abs(), nearest, atol=1e-4 * scale, rtol=0)
    assert (found[..., None] - grid).abs().amin(-1).max() < 1e-5 * scale


def test_the_gradient_passes_the_floor_and_stops_at_the_ends():
    x = torch.tensor([[-1.0, 0.3, 0.9, 1.6, 3.0]], requires_grad=True)
    QCFS(2, 2.0)(x).sum().backward()
    assert x.grad.tolist() == [[0, 1, 1, 1, 0]]


def test_the_gradient_of_the_scale_is_that_of_the_paper():
    """1 where x is clipped from above, (y - x) / scale in between, 0 below."""
    scale, x = 2.0, torch.tensor([[-1.0, 0.3, 0.9, 1.6, 3.0]])
    qcfs = QCFS(2, scale)
    y = qcfs(x)
    y.sum().backward()
    by_scale = torch.where(x > scale, 1.0, torch.where(x < 0, 0.0, (y.detach() - x) / scale))
    assert qcfs.log_scale.grad.item() == pytest.approx(by_scale.sum().item() * scale, rel=1e-5)


def test_a_scale_stays_positive_however_it_is_trained():
    qcfs = QCFS(2, 0.1)
    optimizer = torch.optim.SGD(qcfs.parameters(), lr=5.0)
    for _ in range(20):
        optimizer.zero_grad()
        qcfs(torch.ones(1, 1)).sum().backward()
        optimizer.step()
    assert 0 < qcfs.scale < 0.1


def test_channels_may_have_scales_of_their_own():
    x = torch.rand(2, 3, 4, 4) * 3
    scales = torch.tensor([0.5, 1.0, 2.0])
    together = QCFS(4, scales)(x)
    apart = torch.stack([QCFS(4, s)(x[:, i]) for i, s in enumerate(scales)], 1)
    torch.testing.assert_close(together, apart)


@pytest.mark.parametrize("levels", [0, -1, 1.5])
def test_levels_that_cannot_be_are_refused(levels):
    with pytest.raises(ValueError, match="levels is"):
        QCFS(levels)


@pytest.mark.parametrize("scale", [0.0, -1.0, torch.nan, torch.inf, torch.ones(2, 2)])
def test_scales_that_cannot_be_are_refused(scale):
    with pytest.raises(ValueError, match="scale is"):
        QCFS(2, scale)


# ---- networks


def test_the_network_is_the_same_but_for_its_activations(tiny):
    cnn, scales, digits = tiny
    before = copy.deepcopy(cnn.state_dict())
    found = quantize_activations(cnn, 3, scales)
    expected = quantised(cnn, 3, scales)
    assert torch.equal(found(digits.images), expected(digits.images))
    assert all(torch.equal(before[name], value) for name, value in cnn.state_dict().items())
    assert isinstance(cnn[1], nn.ReLU)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_the_first_layer_is_what_its_neurons_give_in_that_many_steps(tiny, steps):
    cnn, scales, digits = tiny
    quantized = quantize_activations(cnn, steps, scales)
    relu, back = restore_relu(quantized)
    snn = convert(relu, thresholds=back, input_shape=SHAPE)
    rate = error_pieces(relu, snn, digits.images, steps)["0"].rate
    found = quantized[:2](digits.images).double() / scales[0]
    differ = (found - rate).abs() > 1e-5
    assert differ.double().mean() < 0.01  # weights are rounded: ties may go either way
    assert (found - rate).abs().max() <= 1 / steps + 1e-5


def test_one_step_gives_the_decisions_of_one_level(cnn, train, digits):
    quantized = quantize_activations(cnn, 1, activation_scales(cnn, train.images, percentile=99.0))
    relu, scales = restore_relu(quantized)
    result = simulate(convert(relu, thresholds=scales), digits, steps=1, encoder=ConstantEncoder())
    assert (result.predictions[0] == quantized(digits.images).argmax(1)).double().mean() >= 0.99


def test_the_way_back_is_the_network_and_its_scales(tiny):
    cnn, scales, digits = tiny
    relu, found = restore_relu(quantize_activations(cnn, 2, scales))
    assert torch.equal(relu(digits.images), cnn(digits.images))
    torch.testing.assert_close(torch.stack(found[:-1]), torch.stack(scales[:-1]))
    assert found[-1] == 1


def test_nested_layers_are_replaced_too():
    cnn = nn.Sequential(nn.Sequential(conv(1, 2, 3), nn.ReLU()), nn.Flatten(), linear(32, 3))
    found = quantize_activations(cnn, 2, [torch.tensor(0.5), torch.tensor(1.0)])
    assert isinstance(found[0][1], QCFS)
    assert restore_relu(found)[1][0] == pytest.approx(0.5)


def test_fine_tuning_learns_weights_and_scales(tiny):
    cnn, _, digits = tiny
    how = QuantizedRecipe("digits", 1, 99.0, Recipe(epochs=20, lr=0.05, batch_size=10))
    before = copy.deepcopy(cnn.state_dict())
    start = quantize_activations(cnn, 1, activation_scales(cnn, digits, percentile=99.0))
    found, history = fine_tune(cnn, digits, how, progress=False)
    again, _ = fine_tune(cnn, digits, how, progress=False)
    loss = [F.cross_entropy(c(digits.images), digits.labels).item() for c in (start, found)]
    assert loss[1] < 0.7 * loss[0]
    assert found[1].scale != start[1].scale
    assert len(history.loss) == 20
    assert all(
        torch.equal(a, b) for a, b in zip(found.parameters(), again.parameters(), strict=True)
    )
    assert all(torch.equal(before[name], value) for name, value in cnn.state_dict().items())


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = conv(1, 2, 3)

    def forward(self, x):
        return F.relu(self.conv(x))


def test_a_relu_that_is_no_layer_is_refused():
    cnn = nn.Sequential(Functional(), nn.Flatten(), linear(32, 3))
    with pytest.raises(ValueError, match=r"0 nn\.ReLU for 1 layers of neurons; write each ReLU"):
        quantize_activations(cnn, 2, [torch.tensor(1.0)] * 2)


def test_a_relu_used_twice_is_refused():
    relu = nn.ReLU()
    cnn = nn.Sequential(conv(1, 2, 3), relu, conv(2, 2, 3), relu, nn.Flatten(), linear(8, 3))
    with pytest.raises(ValueError, match="write each ReLU"):
        quantize_activations(cnn, 2, [torch.tensor(1.0)] * 3)


def test_a_network_that_is_no_sequence_is_refused():
    with pytest.raises(ValueError, match=r"cnn is a Residual; give an nn\.Sequential"):
        quantize_activations(Residual(nn.Identity(), nn.Identity()), 2, [])


def test_a_network_that_cannot_be_converted_is_refused():
    cnn = nn.Sequential(nn.Flatten(), linear(36, 4), nn.Sigmoid(), linear(4, 3))
    with pytest.raises(ConversionError, match="Sigmoid"):
        quantize_activations(cnn, 2, [torch.tensor(1.0)] * 2)


def test_a_wrong_number_of_scales_is_refused(tiny):
    cnn, scales, _ = tiny
    with pytest.raises(ValueError, match="2 scales for 3 weight layers"):
        quantize_activations(cnn, 2, scales[:2])


def test_there_is_no_way_back_without_a_way_there(tiny):
    with pytest.raises(ValueError, match="no QCFS; make it with quantize_activations"):
        restore_relu(tiny[0])
