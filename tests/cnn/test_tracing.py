"""Any feed-forward ReLU network, read, folded and balanced; everything else refused by name."""

import copy
import re

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from nets import Residual, any_cnns, conv, deep_cnn, linear, random_images, settle, tiny_cnn
from torch import nn
from torch.nn import functional as F

from snnlib import (
    ConversionError,
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


def test_a_batch_norm_before_a_layer_that_pads_is_refused():
    cnn = nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Flatten())
    cnn = settle(nn.Sequential(*cnn, nn.Linear(128, 3)), 0)
    with pytest.raises(
        ConversionError, match=r"Layer 1 \(Conv2d\) pads .* shift of 0; set padding"
    ):
        trace(cnn, SHAPE)
    cnn[0].bias.data = cnn[0].running_mean * 0
    cnn[0].running_mean.zero_()
    trace(cnn, SHAPE)  # without a shift it is exact


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


class Style(nn.Module):
    """One network, written in another way by each subclass."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = conv(1, 3, 3), nn.Conv2d(3, 4, 2)
        self.fc, self.relu, self.dropout = nn.Linear(16, 3), nn.ReLU(), nn.Dropout(0.5)


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


# ---- refusals


class Forward(Style):
    """A network whose forward is given as a function."""

    def __init__(self, forward, **layers):
        super().__init__()
        self._forward = forward
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        return self._forward(self, x)


def up_to_conv2(net, x):
    return F.relu(net.conv2(F.avg_pool2d(F.relu(net.conv1(x)), 2)))


def by_data(net, x):
    x = up_to_conv2(net, x)
    if x.sum() > 0:
        x = x * 2
    return net.fc(x.flatten(1))


def loop_over_images(net, x):
    return torch.stack([net.fc(up_to_conv2(net, image[None]).flatten()) for image in x])


def add_after_relu(net, x):
    x = F.relu(net.conv1(x))
    x = x + F.max_pool2d(x, 3, 1, 1)
    return net.fc(F.relu(net.conv2(F.avg_pool2d(x, 2))).flatten(1))


def branch_before_relu(net, x):
    x = net.conv1(x)
    x = F.avg_pool2d(F.relu(x + F.relu(x)), 2)
    return net.fc(F.relu(net.conv2(x)).flatten(1))


def recurrent(net, x):
    output, _ = net.lstm(x.flatten(1))
    return net.fc(output)


def dropout_that_stays(net, x):
    return net.fc(F.dropout(up_to_conv2(net, x), 0.5).flatten(1))


def in_place(net, x):
    x = F.relu(net.conv1(x))
    y = x
    y += F.max_pool2d(x, 3, 1, 1)
    return net.fc(F.relu(net.conv2(F.avg_pool2d(F.relu(x), 2))).flatten(1))


BAD_FORWARDS = {
    "data": (by_data, r"forward of Forward depends on its data at line \d+: if x.sum\(\) > 0:"),
    "loop": (
        loop_over_images,
        r"forward of Forward depends on its data.*every image takes the same",
    ),
    "after ReLU": (
        add_after_relu,
        r"Operation add \(add\) adds branches that no ReLU follows; add b",
    ),
    "before ReLU": (
        branch_before_relu,
        r"Layer conv1 \(Conv2d\) leads to several places without a R",
    ),
    "in place": (in_place, r"computes something else than its layers say.*in place"),
    "dropout": (dropout_that_stays, r"Operation dropout \(dropout\) is unknown"),
    "recurrent": (recurrent, r"Layer lstm \(LSTM\) cannot be converted: it feeds its output back"),
    "sigmoid": (
        lambda net, x: net.fc(torch.sigmoid(up_to_conv2(net, x)).flatten(1)),
        r"Operation sigmoid \(sigmoid\) cannot be converted: .*use nn.ReLU",
    ),
    "leaky": (
        lambda net, x: net.fc(F.leaky_relu(up_to_conv2(net, x)).flatten(1)),
        r"Operation leaky_relu .*use nn.ReLU",
    ),
    "clamp": (
        lambda net, x: net.fc(up_to_conv2(net, x).clamp(0, 1).flatten(1)),
        r"Operation clamp \(clamp\) is unknown here; use Conv2d",
    ),
    "softmax": (
        lambda net, x: net.fc(up_to_conv2(net, x).flatten(1).softmax(1)),
        r"Operation softmax .*in the middle.*drop it",
    ),
    "softmax over images": (
        lambda net, x: net.fc(up_to_conv2(net, x).flatten(1)).softmax(0),
        r"Operation softmax .*drop it",
    ),
    "no ReLU": (
        lambda net, x: net.fc(net.conv2(F.avg_pool2d(F.relu(net.conv1(x)), 2)).flatten(1)),
        r"Layer conv2 \(Conv2d\) has no ReLU after it; put nn.ReLU\(\) there",
    ),
    "pool before ReLU": (
        lambda net, x: net.fc(F.relu(F.avg_pool2d(net.conv1(x), 3)).flatten(1)),
        r"Operation avg_pool2d .*stands before a ReLU; put the ReLU before it",
    ),
    "max pool without ReLU": (
        lambda net, x: net.fc(net.conv2(F.max_pool2d(net.conv1(x), 2)).flatten(1)),
        r"Operation max_pool2d .*has no ReLU before or after it",
    ),
    "max of averages": (
        lambda net, x: net.fc(F.max_pool2d(F.avg_pool2d(F.relu(net.conv1(x)), 2), 2).flatten(1)),
        r"Operation max_pool2d .*takes the largest of averages; put it before",
    ),
    "max of pixels": (
        lambda net, x: net.fc(F.relu(net.conv1(F.max_pool2d(x, 2))).flatten(1)),
        r"Operation max_pool2d .*pools the image itself; put a convolution before it",
    ),
    "twice": (
        lambda net, x: net.fc(F.relu(net.conv1(F.relu(net.conv1(x)[:, :1]))).flatten(1)),
        r"Layer conv1 \(Conv2d\) is used before; give each place",
    ),
    "product": (
        lambda net, x: net.fc((up_to_conv2(net, x) * up_to_conv2(net, x)).flatten(1)),
        r"Operation mul .*neurons only add",
    ),
    "constant": (
        lambda net, x: net.fc(F.relu(up_to_conv2(net, x) + 1.0).flatten(1)),
        r"Operation add .*adds what is no branch; put a constant into a layer's bias",
    ),
    "joined": (
        lambda net, x: net.fc(torch.cat([up_to_conv2(net, x), x], 1).flatten(1)),
        r"Operation cat .*branches are added, not joined",
    ),
    "functional weights": (
        lambda net, x: F.linear(up_to_conv2(net, x).flatten(1), net.fc.weight),
        r"Operation linear .*not those of a layer; use the nn.Module",
    ),
    "several outputs": (
        lambda net, x: (net.fc(up_to_conv2(net, x).flatten(1)), x),
        r"The forward returns something other than one tensor",
    ),
    "mixed images": (
        lambda net, x: net.fc(up_to_conv2(net, x).view(-1, 8)),
        r"Layer fc \(Linear\) does not fit|Operation view",
    ),
    "transposed": (
        lambda net, x: net.fc(up_to_conv2(net, x).permute(0, 2, 3, 1).flatten(1)),
        r"Operation permute .*is unknown here",
    ),
    "no flatten": (
        lambda net, x: net.fc(F.adaptive_avg_pool2d(up_to_conv2(net, x), (4, 16))),
        r"Layer fc .*receives maps, not rows; put nn.Flatten|windows of different sizes",
    ),
    "no output layer": (
        lambda net, x: up_to_conv2(net, x).flatten(1),
        r"Operation flatten .*is the last layer; end with nn.Linear",
    ),
}


@pytest.mark.parametrize("name", BAD_FORWARDS)
def test_a_forward_that_cannot_be_converted_is_refused_by_name(name):
    forward, message = BAD_FORWARDS[name]
    cnn = settle(Forward(forward, lstm=nn.LSTM(64, 16)), 0)
    if name != "recurrent":
        del cnn.lstm
    with pytest.raises(ConversionError) as caught:
        convert(cnn, input_shape=SHAPE)
    assert any(re.search(message, text) for text in caught.value.violations), caught.value


def with_layer(layer, *others, features=1):
    """Images of 8 x 8, a convolution, the layer, and a readout."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), layer, *others, nn.Flatten(), nn.Linear(features, 3)
    )


def spoiled(value, place):
    cnn = settle(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten()), 0)
    cnn = nn.Sequential(*cnn, nn.Linear(72, 3)).eval()
    cnn.get_submodule(place[0]).get_parameter(place[1]).data[0] = value
    return cnn


BAD_LAYERS = {
    "LeakyReLU": (with_layer(nn.LeakyReLU()), r"Layer 2 \(LeakyReLU\) .*use nn.ReLU"),
    "ReLU6": (with_layer(nn.ReLU6()), r"Layer 2 \(ReLU6\) .*use nn.ReLU"),
    "Sigmoid": (with_layer(nn.Sigmoid()), r"Layer 2 \(Sigmoid\) .*use nn.ReLU"),
    "Softmax": (with_layer(nn.Softmax(1)), r"Layer 2 \(Softmax\) .*in the middle.*drop it"),
    "GroupNorm": (with_layer(nn.GroupNorm(2, 4)), r"Layer 2 \(GroupNorm\) .*use nn.BatchNorm2d"),
    "attention": (
        nn.Sequential(nn.Flatten(), nn.TransformerEncoderLayer(64, 2), nn.Linear(64, 3)),
        r"Layer 1 \(TransformerEncoderLayer\) .*attention",
    ),
    "GRU": (nn.Sequential(nn.Flatten(), nn.GRU(64, 3)), r"Layer 1 \(GRU\) .*feeds its output back"),
    "Upsample": (with_layer(nn.Upsample(12)), r"Layer 2 \(Upsample\) is unknown here; use"),
    "ceil": (
        with_layer(nn.AvgPool2d(4, ceil_mode=True)),
        r"Layer 2 \(AvgPool2d\) .*use ceil_mode=False",
    ),
    "border": (
        with_layer(nn.AvgPool2d(3, 1, 1, count_include_pad=False)),
        r"Layer 2 \(AvgPool2d\) .*use count_include_pad=True",
    ),
    "uneven": (
        with_layer(nn.AdaptiveAvgPool2d(4), features=64),
        r"Layer 2 .*windows of different sizes",
    ),
    "uneven max": (with_layer(nn.AdaptiveMaxPool2d(4), features=64), r"Layer 2 .*no fixed window"),
    "indices": (with_layer(nn.MaxPool2d(2, return_indices=True)), r"Layer 2 \(MaxPool2d\)"),
    "no statistics": (
        with_layer(nn.BatchNorm2d(4, track_running_stats=False)),
        r"Layer 2 \(BatchNorm2d\) measures each batch; use track_running_stats=True",
    ),
    "circular": (
        with_layer(nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), nn.ReLU()),
        r'Layer 2 \(Conv2d\) pads with "circular"; use padding_mode="zeros"',
    ),
    "even": (
        with_layer(nn.Conv2d(4, 4, 2, padding="same"), nn.ReLU()),
        r"Layer 2 \(Conv2d\) has padding=.*one side more",
    ),
    "3d": (with_layer(nn.Conv3d(4, 4, 1)), r"Layer 2 \(Conv3d\) is unknown here"),
    "NaN": (spoiled(float("nan"), ("0", "weight")), r"Layer 0 .*NaN or infinite; train"),
    "infinite bias": (spoiled(float("inf"), ("4", "bias")), r"Layer 4 .*NaN or infinite; train"),
    "NaN norm": (spoiled(float("nan"), ("1", "weight")), r"Layer 1 \(BatchNorm2d\) .*NaN or inf"),
    "no forward": (
        nn.Sequential(Style(), nn.Linear(64, 3)),
        r"The forward of Sequential cannot be followed.*NotImplementedError|Style",
    ),
    "empty": (nn.Sequential(nn.Sequential()), "no layers; start from digit_cnn"),
    "linear": (nn.Linear(64, 3), r"The network is a Linear; put it into an nn.Sequential"),
    "lazy": (nn.Sequential(nn.Flatten(), nn.LazyLinear(3)), r"Layer 1 .*no weights yet; show it"),
    "function": (F.relu, r"The network is a function; give an nn.Module"),
}


@pytest.mark.parametrize("name", BAD_LAYERS)
def test_a_layer_that_cannot_be_converted_is_refused_by_name(name):
    cnn, message = BAD_LAYERS[name]
    cnn = cnn.eval() if isinstance(cnn, nn.Module) else cnn
    with pytest.raises(ConversionError) as caught:
        trace(cnn, SHAPE)
    assert any(re.search(message, text) for text in caught.value.violations), caught.value


def test_batch_norm_in_training_mode_is_refused():
    with pytest.raises(ConversionError, match=r"Layer 1 \(BatchNorm2d\) is in training .*cnn.eval"):
        convert(deep_cnn().train(), input_shape=SHAPE)


def test_a_layer_that_is_named_input_is_refused():
    cnn = nn.Sequential()
    for name, layer in {"flat": nn.Flatten(), "input": linear(64, 3)}.items():
        cnn.add_module(name, layer)
    with pytest.raises(ConversionError, match="Layer input has the name of the image"):
        trace(cnn, SHAPE)


def test_tied_weights_are_refused():
    cnn = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))
    cnn[3].weight = cnn[1].weight
    with pytest.raises(ConversionError, match=r"Layer 3 \(Linear\) is used before"):
        trace(cnn, SHAPE)


def test_branches_of_different_shapes_are_refused():
    cnn = Residual(nn.Conv2d(1, 4, 3, padding=1), nn.Identity())
    with pytest.raises(ConversionError, match=r"\(add\) adds branches of different shapes"):
        trace(nn.Sequential(cnn, nn.Flatten(), nn.Linear(256, 3)), SHAPE)


def test_several_inputs_are_refused():
    class Two(Style):
        def forward(self, x, y):
            return self.fc(up_to_conv2(self, x + y).flatten(1))

    with pytest.raises(ConversionError, match="takes another input, y; give it only one"):
        trace(Two(), SHAPE)


def test_every_fault_is_listed():
    layers = [nn.Conv2d(1, 4, 3), nn.Tanh(), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(144, 5)]
    with pytest.raises(ConversionError) as caught:
        trace(nn.Sequential(*layers, nn.Linear(5, 3)), SHAPE)
    assert len(caught.value.violations) == 3


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
