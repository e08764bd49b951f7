"""Any feed-forward ReLU network, read, folded and balanced."""

import copy

import pytest
import torch
from forwards import Forward, Style, up_to_conv2
from hypothesis import assume, given
from hypothesis import strategies as st
from nets import any_cnns, conv, deep_cnn, linear, random_images, settle, tiny_cnn
from torch import nn
from torch.nn import functional as F

from snnlib import (
    activation_scales,
    convert,
    digit_cnn,
    fold_batch_norm,
    normalize_weights,
)
from snnlib.cnn.tracing import trace

SHAPE = (1, 8, 8)


def largest_gap(a, b):
    """Relative to the largest output; 0 between networks that are silent."""
    return ((a - b).abs().max() / b.abs().max().clamp(min=1e-30)).item()


def outputs_of(graph, images):
    *_, (_, output) = graph.run(images.double())
    return output


@torch.no_grad()
def scales_or_skip(cnn, shape, *, channelwise):
    try:
        return activation_scales(cnn, random_images(1, 20, shape), channelwise=channelwise)
    except ValueError:  # a dead layer: draw another network
        assume(False)


# ---- what is read computes the same


@torch.no_grad()
@given(any_cnns())
def test_stages_compute_what_the_network_does(drawn):
    cnn, shape = drawn
    cnn, images = cnn.double(), random_images(0, 5, shape).double()
    for graph in (trace(cnn, shape), trace(cnn)):
        assert largest_gap(outputs_of(graph, images), cnn(images)) <= 1e-10


@torch.no_grad()
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@given(drawn=any_cnns())
def test_folding_batch_norms_keeps_the_outputs(dtype, limit, drawn):
    cnn, shape = drawn
    cnn, images = cnn.to(dtype), random_images(0, 5, shape).to(dtype)
    folded = fold_batch_norm(cnn)
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in folded.modules())
    assert largest_gap(folded(images), cnn(images)) <= limit


@torch.no_grad()
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@given(drawn=any_cnns(), channelwise=st.booleans())
def test_balancing_divides_the_outputs_by_the_last_scale(dtype, limit, drawn, channelwise):
    cnn, shape = drawn
    scales = scales_or_skip(cnn, shape, channelwise=channelwise)
    cnn, images = cnn.to(dtype), random_images(2, 5, shape).to(dtype)
    balanced = normalize_weights(cnn, scales)
    assert largest_gap(balanced(images) * scales[-1], cnn(images)) <= limit


@given(any_cnns(), st.booleans())
def test_balanced_activations_reach_1(drawn, channelwise):
    cnn, shape = drawn
    scales = scales_or_skip(cnn, shape, channelwise=channelwise)
    again = activation_scales(normalize_weights(cnn, scales), random_images(1, 20, shape))
    assert [scale.item() for scale in again] == pytest.approx([1.0] * len(scales), rel=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("pools", [[], [nn.AvgPool2d(2)], [nn.AdaptiveAvgPool2d(4)]])
def test_a_batch_norm_before_a_layer_without_padding_folds_into_it(groups, pools):
    layers = [nn.BatchNorm2d(2), *pools, nn.Conv2d(2, 4, 3, groups=groups), nn.ReLU()]
    layers += [nn.BatchNorm2d(4), nn.Flatten()]
    (features,) = nn.Sequential(*layers).eval()(torch.zeros(1, 2, 8, 8)).shape[1:]
    cnn = settle(nn.Sequential(*layers, nn.Linear(features, 3)), 0).double()
    images = random_images(3, 5, (2, 8, 8)).double()
    assert largest_gap(fold_batch_norm(cnn)(images), cnn(images)) <= 1e-10
    assert isinstance(fold_batch_norm(cnn), nn.Sequential)


@torch.no_grad()
def test_a_batch_norm_before_a_layer_that_pads_makes_a_bias_for_each_neuron():
    cnn = nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Flatten())
    cnn = settle(nn.Sequential(*cnn, nn.Linear(128, 3)), 0).double()
    images = random_images(3, 5, SHAPE).double()
    assert largest_gap(fold_batch_norm(cnn)(images), cnn(images)) <= 1e-10
    assert convert(cnn, input_shape=SHAPE).layers[0].bias.shape == (2, 8, 8)
    cnn[0].bias.data = cnn[0].running_mean * 0
    cnn[0].running_mean.zero_()
    assert convert(cnn, input_shape=SHAPE).layers[0].bias.shape == (2, 1, 1)


@torch.no_grad()
def test_a_batch_norm_behind_relu_may_be_followed_by_relu():
    layers = [nn.ReLU(), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 3)]
    cnn = settle(nn.Sequential(nn.Conv2d(1, 3, 3), *layers), 0).double()
    images = random_images(4, 5, SHAPE).double()
    assert largest_gap(outputs_of(trace(cnn, SHAPE), images), cnn(images)) <= 1e-10
    assert largest_gap(normalize_weights(cnn, [2.0, 3.0, 5.0])(images) * 5, cnn(images)) <= 1e-10


def test_a_network_without_branches_keeps_its_layers():
    cnn = settle(nn.Sequential(conv(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2)), 0)
    cnn = nn.Sequential(cnn, nn.Flatten(), nn.Linear(18, 3)).eval()
    balanced = normalize_weights(cnn, [2.0, 3.0])
    kinds = [type(m).__name__ for m in balanced.modules()]
    assert kinds == [
        "Sequential",
        "Sequential",
        "Conv2d",
        "Identity",
        "ReLU",
        "MaxPool2d",
        "Flatten",
        "Linear",
    ]


@pytest.mark.parametrize("change", [fold_batch_norm, lambda c: normalize_weights(c, [2.0] * 7)])
def test_networks_are_left_as_they_were(change):
    cnn = deep_cnn()
    before = copy.deepcopy(cnn.state_dict())
    changed = change(cnn)
    for parameter in changed.parameters():
        parameter.data.zero_()
    assert all(torch.equal(value, before[name]) for name, value in cnn.state_dict().items())


# ---- however it is written


class Functional(Style):
    def forward(self, x):
        x = F.avg_pool2d(F.relu(self.conv1(x)), 2)
        x = F.dropout(F.relu(self.conv2(x)), training=self.training)
        return self.fc(torch.flatten(x, 1))


class OneReLU(Style):
    def forward(self, x):
        x = F.adaptive_avg_pool2d(self.relu(self.conv1(x)), (3, 3))
        x = self.dropout(self.relu(self.conv2(x)))
        return F.log_softmax(self.fc(x.view(x.size(0), -1)), dim=1)


class Methods(Style):
    def forward(self, x):
        x = F.avg_pool2d(self.conv1(x).relu(), kernel_size=2, stride=2)
        x = self.conv2(x).clamp(min=0).contiguous()
        return self.fc(x.reshape(x.shape[0], x.shape[1] * x.shape[2] * x.shape[3]))


class InPlace(Style):
    def forward(self, x):
        x = torch.relu_(self.conv1(x))
        x = nn.functional.avg_pool2d(x, (2, 2))
        return self.fc(F.relu(self.conv2(x), inplace=True).flatten(1)).softmax(1)


class ReluTwice(Style):
    def forward(self, x):
        x = F.relu(F.avg_pool2d(torch.relu(self.conv1(x)), 2))
        return self.fc(self.relu(self.conv2(x).flatten(1)).view(-1, 16))


class Nested(Style):
    def __init__(self):
        super().__init__()
        self.front = nn.Sequential(nn.Sequential(self.conv1, nn.ReLU()), nn.AvgPool2d(2))

    def forward(self, x):
        return self.fc(torch.flatten(torch.max_pool2d(F.relu(self.conv2(self.front(x))), 1), 1))


class Keywords(Style):
    def forward(self, x):
        x = F.avg_pool2d(input=F.relu(input=self.conv1(x)), kernel_size=2)
        x = F.relu(self.conv2(x.to(torch.float32)).clone())
        return self.fc(torch.flatten(input=x, start_dim=1))


STYLES = [Keywords, Functional, OneReLU, Methods, InPlace, ReluTwice]


@pytest.mark.parametrize("style", STYLES)
def test_every_style_gives_the_same_spiking_network(style):
    torch.manual_seed(0)
    cnn = settle(style(), 0)
    layers = [cnn.conv1, nn.ReLU(), nn.AvgPool2d(2), cnn.conv2, nn.ReLU(), nn.Flatten(), cnn.fc]
    ours, plain = (convert(net, input_shape=SHAPE) for net in (cnn, nn.Sequential(*layers)))
    assert [layer.name for layer in ours.layers] == ["conv1", "conv2", "fc"]
    for layer, other in zip(ours.layers, plain.layers, strict=True):
        assert torch.equal(layer.weight, other.weight)
        assert layer.fraction_bits == other.fraction_bits
        assert [type(op) for op in layer.synapse] == [type(op) for op in other.synapse]


def test_nested_modules_and_max_pools_of_every_kind_are_read():
    assert [stage.kind for stage in trace(settle(Nested(), 0), SHAPE).stages] == [
        "relu",
        "relu",
        "max",
        "output",
    ]


@torch.no_grad()
def test_a_max_pool_before_its_relu_is_read_as_one_behind_it():
    layers = [nn.Conv2d(1, 3, 3), nn.MaxPool2d(2), nn.Dropout(), nn.ReLU(), nn.Flatten()]
    cnn = settle(nn.Sequential(*layers, nn.Linear(27, 3)), 0).double()
    images = random_images(5, 5, SHAPE).double()
    graph = trace(cnn, SHAPE)
    assert [stage.kind for stage in graph.stages] == ["relu", "max", "output"]
    assert largest_gap(outputs_of(graph, images), cnn(images)) <= 1e-10


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_padding_may_be_a_word(padding):
    cnn = nn.Sequential(nn.Conv2d(1, 2, (3, 5), padding=padding), nn.ReLU(), nn.Flatten())
    (features,) = cnn(torch.zeros(1, *SHAPE)).shape[1:]
    cnn = settle(nn.Sequential(*cnn, nn.Linear(features, 3)), 0).double()
    images = random_images(6, 2, SHAPE).double()
    assert largest_gap(outputs_of(trace(cnn, SHAPE), images), cnn(images)) <= 1e-10


def test_weights_that_are_computed_are_read_as_they_are():
    cnn = tiny_cnn()
    nn.utils.parametrizations.weight_norm(cnn[0])
    images = random_images(7, 2, (1, 6, 6))
    assert largest_gap(normalize_weights(cnn, [2.0, 2.0, 2.0])(images) * 2, cnn(images)) <= 1e-5


def test_what_was_folded_and_dropped_is_listed():
    graph = trace(deep_cnn(), SHAPE)
    assert graph.folded == (
        "1",
        "4.body.1",
        "4.body.4",
        "5.body.1",
        "5.body.4",
        "5.shortcut.1",
        "9",
    )
    assert "11" in graph.dropped


# ---- what counts, and what does not


def test_the_network_of_the_course_is_a_chain():
    graph = trace(digit_cnn(), (1, 28, 28))
    assert graph.is_chain
    assert [stage.name for stage in graph.stages] == ["conv1", "conv2", "output"]


def test_what_leads_nowhere_is_left_out():
    def forward(net, x):
        torch.sigmoid(F.avg_pool2d(x, 2))
        return net.fc(up_to_conv2(net, x).flatten(1))

    names = [stage.name for stage in trace(settle(Forward(forward), 0), SHAPE).stages]
    assert names == ["conv1", "conv2", "fc"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_networks_of_any_precision_are_read(dtype):
    assert len(trace(deep_cnn().to(dtype), SHAPE).stages) == 8


@pytest.mark.parametrize("softmax", [nn.Softmax(1), nn.LogSoftmax(-1), nn.Softmax()])
def test_a_softmax_at_the_end_is_dropped_and_listed(softmax):
    cnn = nn.Sequential(nn.Flatten(), linear(64, 5), nn.ReLU(), linear(5, 3), softmax).eval()
    graph = trace(cnn, SHAPE)
    assert graph.dropped == ("4",)
    images = random_images(8, 5, SHAPE)
    expected = cnn[:4](images)
    assert torch.allclose(outputs_of(graph, images).float(), expected, atol=1e-6)
