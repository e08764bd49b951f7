"""Networks that cannot be converted are refused by name, with the fix."""

import re

import pytest
import torch
from forwards import Forward, Style, up_to_conv2
from nets import Residual, deep_cnn, linear, settle
from torch import nn
from torch.nn import functional as F

from snnlib import ConversionError, convert
from snnlib.cnn.tracing import trace

SHAPE = (1, 8, 8)
MEAN_IMAGE = torch.linspace(0, 1, 64).view(SHAPE)


def by_data(net, x):
    x = up_to_conv2(net, x)
    if x.sum() > 0:
        x = x * 2
    return net.fc(x.flatten(1))


def loop_over_images(net, x):
    return torch.stack([net.fc(up_to_conv2(net, image[None]).flatten()) for image in x])


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
    "softmax": (
        lambda net, x: net.fc(up_to_conv2(net, x).flatten(1).softmax(1)),
        r"Operation softmax .*in the middle.*drop it",
    ),
    "softmax over images": (
        lambda net, x: net.fc(up_to_conv2(net, x).flatten(1)).softmax(0),
        r"Operation softmax .*drop it",
    ),
    "max pool without ReLU": (
        lambda net, x: net.fc(F.max_pool2d(net.conv2(net.conv1(x)), 2).flatten(1)),
        r"Layer max_pool2d .*has no ReLU before or after it; put nn.ReLU\(\) there and train",
    ),
    "twice": (
        lambda net, x: net.fc(F.relu(net.conv1(F.relu(net.conv1(x)[:, :1]))).flatten(1)),
        r"Layer conv1 \(Conv2d\) is used before; give each place",
    ),
    "product": (
        lambda net, x: net.fc((up_to_conv2(net, x) * up_to_conv2(net, x)).flatten(1)),
        r"Operation mul .*neurons only add",
    ),
    "joined along rows": (
        lambda net, x: net.fc(torch.cat([up_to_conv2(net, x)] * 2, 2)[:, :, :2].flatten(1)),
        r"Operation cat .*joins along axis 2; join channels",
    ),
    "divided by zero": (
        lambda net, x: net.fc(up_to_conv2(net, (x - 0.5) / torch.zeros(1)).flatten(1)),
        r"Operation truediv .*divides by zero.*a standard deviation above 0",
    ),
    "mean image": (
        lambda net, x: net.fc(up_to_conv2(net, x - MEAN_IMAGE).flatten(1)),
        r"Operation sub .*constant that differs within a map; give one number for each channel",
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
        r"Operation permute .*moves channels about",
    ),
    "no flatten": (
        lambda net, x: net.fc(F.adaptive_avg_pool2d(up_to_conv2(net, x), (4, 16))),
        r"Layer fc .*receives maps, not rows; put nn.Flatten|windows of different sizes",
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
    "Sigmoid": (with_layer(nn.Sigmoid()), r"Layer 2 \(Sigmoid\) .*use nn.ReLU"),
    "Softmax": (with_layer(nn.Softmax(1)), r"Layer 2 \(Softmax\) .*in the middle.*drop it"),
    "GroupNorm": (with_layer(nn.GroupNorm(2, 4)), r"Layer 2 \(GroupNorm\) .*use nn.BatchNorm2d"),
    "attention": (
        nn.Sequential(nn.Flatten(), nn.TransformerEncoderLayer(64, 2), nn.Linear(64, 3)),
        r"Layer 1 \(TransformerEncoderLayer\) .*attention",
    ),
    "GRU": (nn.Sequential(nn.Flatten(), nn.GRU(64, 3)), r"Layer 1 \(GRU\) .*feeds its output back"),
    "Upsample": (with_layer(nn.Upsample(8)), r"Layer 2 \(Upsample\) blends .*use mode="),
    "bilinear": (
        with_layer(nn.Upsample(scale_factor=2, mode="bilinear"), features=576),
        r"Layer 2 \(Upsample\) .*use mode=.nearest",
    ),
    "ceil": (
        with_layer(nn.AvgPool2d(4, ceil_mode=True), features=16),
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
        trace(nn.Sequential(*layers, nn.SiLU(), nn.Linear(5, 3)), SHAPE)
    assert len(caught.value.violations) == 3
