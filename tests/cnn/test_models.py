import re
from collections import OrderedDict

import pytest
import torch
from nets import conv, linear, tiny_cnn
from torch import nn

from snnlib import ResidualBlock, check_constraints, convert, deep_cnn, digit_cnn


def altered(**changes) -> nn.Sequential:
    """digit_cnn with some layers replaced, or left out where the replacement is None."""
    layers = OrderedDict(digit_cnn().named_children())
    layers.update(changes)
    return nn.Sequential(OrderedDict((k, v) for k, v in layers.items() if v is not None))


def infinite_weights() -> nn.Conv2d:
    layer = conv(1, 12, 5)
    layer.weight.data[3] = float("inf")
    return layer


class TwoInputs(nn.Module):
    """A layer that no chain can call."""

    def forward(self, a, b):
        return a + b


def test_the_network_has_29740_weights_and_no_bias():
    parameters = dict(digit_cnn().named_parameters())
    assert list(parameters) == ["conv1.weight", "conv2.weight", "output.weight"]
    assert sum(p.numel() for p in parameters.values()) == 29_740


def test_the_network_maps_digits_to_ten_outputs():
    assert digit_cnn()(torch.zeros(3, 1, 28, 28)).shape == (3, 10)


def test_a_seed_gives_the_same_weights_and_another_seed_others():
    weight = digit_cnn(seed=1).output.weight
    assert torch.equal(weight, digit_cnn(seed=1).output.weight)
    assert not torch.equal(weight, digit_cnn(seed=2).output.weight)


def test_making_a_network_leaves_the_random_state_as_it_was():
    before = torch.get_rng_state()
    digit_cnn(seed=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_deep_network_has_what_chapter_3_rules_out():
    cnn = deep_cnn()
    kinds = [type(layer) for layer in cnn.modules()]
    assert sum(kind in (nn.Conv2d, nn.Linear) for kind in kinds) == 8
    assert kinds.count(nn.BatchNorm2d) == 5
    assert {nn.MaxPool2d, nn.Dropout, ResidualBlock} <= set(kinds)
    assert cnn.conv.bias is not None
    assert cnn(torch.zeros(3, 1, 28, 28)).shape == (3, 10)
    assert check_constraints(cnn) == ["The network is a DeepCNN; write it as one nn.Sequential."]


@pytest.mark.parametrize(("outputs", "stride"), [(4, 1), (4, 2), (6, 1), (6, 2)])
def test_a_residual_block_adds_what_came_in(outputs, stride):
    block, x = ResidualBlock(4, outputs, stride).eval(), torch.rand(2, 4, 8, 8)
    torch.nn.init.zeros_(block.norm2.weight)  # the convolutions give nothing
    with torch.no_grad():
        assert torch.equal(block(x), block.shortcut(x).relu())
    assert isinstance(block.shortcut, nn.Identity) == ((outputs, stride) == (4, 1))


def test_a_seed_gives_the_same_deep_network_and_leaves_the_random_state():
    before = torch.get_rng_state()
    weight = deep_cnn(seed=1).output.weight
    assert torch.equal(weight, deep_cnn(seed=1).output.weight)
    assert not torch.equal(weight, deep_cnn(seed=2).output.weight)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_network_of_the_course_can_be_converted():
    assert check_constraints(digit_cnn()) == []


def test_layers_that_are_silent_when_predicting_are_allowed():
    assert check_constraints(altered(pool2=nn.Dropout(0.5), output=linear(4096, 10))) == []
    without = altered(conv2=nn.Identity(), relu2=nn.Identity(), output=linear(432, 10))
    assert check_constraints(without) == []


def test_networks_of_other_shapes_are_allowed():
    assert check_constraints(tiny_cnn(), input_shape=(1, 6, 6)) == []
    mlp = nn.Sequential(nn.Flatten(), linear(784, 20), nn.ReLU(), linear(20, 10))
    assert check_constraints(mlp) == []


@pytest.mark.parametrize(
    ("cnn", "fault"),
    [
        (altered(conv2=nn.Conv2d(12, 64, 5)), r"Layer conv2 \(Conv2d\) has a bias.*bias=False"),
        (altered(output=nn.Linear(1024, 10)), r"Layer output \(Linear\) has a bias.*bias=False"),
        (altered(relu1=nn.Sigmoid()), r"Layer relu1 \(Sigmoid\) does not convert.*use nn.ReLU"),
        (altered(relu2=nn.Tanh()), r"Layer relu2 \(Tanh\) does not convert.*use nn.ReLU"),
        (altered(relu2=nn.LeakyReLU()), r"Layer relu2 \(LeakyReLU\) does not convert.*use nn.ReLU"),
        (
            altered(pool1=nn.MaxPool2d(2)),
            r"Layer pool1 \(MaxPool2d\) does not convert.*use nn.AvgPool2d",
        ),
        (
            altered(relu1=nn.BatchNorm2d(12)),
            r"Layer relu1 \(BatchNorm2d\) does not .*without it",
        ),
        (altered(softmax=nn.Softmax(1)), r"Layer softmax \(Softmax\) does not convert.*drop it"),
        (altered(relu2=nn.PReLU()), r"Layer relu2 \(PReLU\) is unknown here; use Conv2d, Linear"),
        (altered(relu1=nn.Upsample(24)), r"Layer relu1 \(Upsample\) is unknown here"),
        (altered(pool2=nn.AvgPool2d(2, ceil_mode=True)), r"Layer pool2 .*use ceil_mode=False"),
        (
            altered(pool2=nn.AvgPool2d(2, 2, 1, count_include_pad=False), output=linear(1600, 10)),
            r"Layer pool2 .*use count_include_pad=True",
        ),
        (altered(conv1=conv(1, 12, 5, padding_mode="circular")), r"Layer conv1 .*padding_mode="),
        (
            altered(conv2=conv(12, 64, 5, padding="same"), output=linear(2304, 10)),
            r'Layer conv2 .*padding="same"; give it as a number',
        ),
        (altered(conv1=infinite_weights()), r"Layer conv1 .*NaN or infinite"),
        (altered(relu1=None), r"Layer conv1 \(Conv2d\) has no ReLU after it; put nn.ReLU\(\)"),
        (altered(relu1=None, pool1=None), r"Layer conv1 \(Conv2d\) has no ReLU after it"),
        (altered(relu2=None, pool2=None, output=linear(4096, 10)), r"Layer conv2 .*has no ReLU"),
        (altered(relu3=linear(10, 10)), r"Layer output \(Linear\) has no ReLU after it"),
        (altered(output=None), r"Layer flatten \(Flatten\) is the last layer; end with nn.Linear"),
        (altered(last=nn.ReLU()), r"Layer last \(ReLU\) is the last layer; end with nn.Linear"),
        (altered(flatten=None, output=linear(4, 10)), "Layer output .*"),
        (altered(flatten=nn.Flatten(2), output=linear(16, 10)), "Layer .*"),
        (altered(flatten=nn.Flatten(0)), "Layer .*"),
        (altered(output=linear(1000, 10)), r"Layer output .*it receives \[1024\]"),
    ],
)
def test_each_fault_names_its_layer_and_its_fix(cnn, fault):
    faults = check_constraints(cnn)
    assert any(re.match(fault, text) for text in faults), faults


def test_a_pool_before_its_relu_is_told_to_change_places():
    cnn = nn.Sequential(conv(1, 2, 5), nn.AvgPool2d(2), nn.ReLU(), nn.Flatten(), linear(288, 10))
    assert any(
        "Layer 1 (AvgPool2d) stands before a ReLU" in text for text in check_constraints(cnn)
    )


def test_all_faults_are_listed_at_once():
    cnn = altered(
        conv1=nn.Conv2d(1, 12, 5),
        relu1=nn.Sigmoid(),
        pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(12, 64, 5),
        relu2=nn.BatchNorm2d(64),
        flatten=nn.PReLU(),
        output=None,
    )
    faults = check_constraints(cnn)
    for name in ("conv1", "relu1", "pool1", "conv2", "relu2", "flatten"):
        assert any(f"Layer {name} " in text for text in faults)
    assert any("end with nn.Linear" in text for text in faults)


@pytest.mark.parametrize("input_shape", [(3, 28, 28), (1, 32, 32), (1, 4, 4)])
def test_a_network_for_other_images_is_refused(input_shape):
    (fault,) = check_constraints(digit_cnn(), input_shape=input_shape)
    assert f"does not fit input_shape {input_shape}" in fault
    assert "give the shape of your images" in fault


@pytest.mark.parametrize(
    "layer",
    [
        nn.MultiheadAttention(28, 1),
        nn.LSTM(28, 28),
        nn.MaxPool2d(1, return_indices=True),
        TwoInputs(),
    ],
)
def test_a_layer_that_no_chain_can_call_is_reported_and_not_run_into(layer):
    faults = check_constraints(nn.Sequential(layer, nn.Flatten(), linear(784, 10)))
    assert f"Layer 0 ({type(layer).__name__})" in faults[0]


def test_a_layer_that_is_used_twice_is_converted_twice_or_refused():
    pool = nn.AvgPool2d(3, 1, padding=1)
    layers = [conv(1, 2, 3), nn.ReLU(), pool, conv(2, 2, 3), nn.ReLU(), pool, nn.Flatten()]
    cnn = nn.Sequential(*layers, linear(1152, 10))
    assert check_constraints(cnn) or str(convert(cnn)).count("sum_pool") == 2


def test_weights_that_are_used_twice_are_refused():
    layer = conv(1, 1, 3, padding=1)
    cnn = nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU(), nn.Flatten(), linear(784, 10))
    assert any("Layer 2 (Conv2d)" in text for text in check_constraints(cnn))


def test_a_network_that_is_no_sequence_is_refused():
    assert check_constraints(nn.Linear(784, 10, bias=False)) == [
        "The network is a Linear; write it as one nn.Sequential."
    ]


def test_a_network_without_layers_is_refused():
    assert check_constraints(nn.Sequential()) == [
        "The network has no layers; start from digit_cnn()."
    ]


def test_checking_leaves_the_network_as_it_was():
    cnn = digit_cnn().train()
    before = {name: weight.clone() for name, weight in cnn.state_dict().items()}
    check_constraints(cnn)
    assert cnn.training
    assert all(torch.equal(weight, before[name]) for name, weight in cnn.state_dict().items())
