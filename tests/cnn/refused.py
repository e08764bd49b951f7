"""Networks that are refused, and the fix that each message names, as it is applied."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from forwards import Net
from torch import nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Refused:
    """A network, what is said of it, and what that makes of it."""

    net: nn.Module
    message: str
    fix: Callable[[nn.Module], nn.Module]


def with_layer(layer):
    """A convolution, ReLU, the layer, and a readout."""
    layers = (nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), layer, nn.Flatten(), nn.LazyLinear(3))
    return nn.Sequential(*layers)


def layer(kind, message, *instead):
    """Refused for one layer; it gives way to another, or to none."""
    (new,) = instead or (nn.Identity(),)
    return Refused(with_layer(kind), message, lambda cnn: with_layer(new))


def forward(old, message, new, **layers):
    """Refused for its forward; that gives way to another."""
    layers = {"a": nn.Conv2d(3, 4, 3, padding=1), "fc": nn.LazyLinear(3)} | layers
    return Refused(Net(old, **layers), message, lambda cnn: _with_forward(cnn, new))


def _with_forward(cnn, new):
    cnn = copy.deepcopy(cnn)
    cnn._forward = new
    cnn.fc = (
        nn.LazyLinear(3) if isinstance(cnn.fc, nn.Linear) and "again" in new.__name__ else cnn.fc
    )
    return cnn


def _head(features):
    """A forward of these features, with weights of its own."""

    def again(n, x):
        return n.fc(features(n, x).flatten(1))

    return again


def _tied(n, x):
    return n.fc(F.relu(n.b(F.relu(n.b(F.relu(n.a(x)))))).flatten(1))


def _untied(n, x):
    return n.fc(F.relu(n.again(F.relu(n.b(F.relu(n.a(x)))))).flatten(1))


def _untie(cnn):
    cnn = copy.deepcopy(cnn)
    cnn.again, cnn._forward = copy.deepcopy(cnn.b), _untied
    return cnn


def _in_place(n, x):
    x = F.relu(n.a(x))
    y = x
    y += F.max_pool2d(x, 3, 1, 1)
    return n.fc((x + y).flatten(1))


def _not_in_place(n, x):
    x = F.relu(n.a(x))
    y = x + F.max_pool2d(x, 3, 1, 1)
    return n.fc((y + y).flatten(1))


def _negative_norm():
    norm = nn.BatchNorm2d(4)
    norm.weight.data.fill_(-1.0)
    return norm


def _by_data(n, x):
    x = F.relu(n.a(x))
    return n.fc((x * 2 if x.sum() > 0 else x).flatten(1))


def _relu(n, x):
    return F.relu(n.a(x))


AGAIN = ".*train it again"
MEAN_IMAGE = torch.linspace(0, 1, 192).view(3, 8, 8)
REFUSED = {
    "leaky ReLU": layer(nn.LeakyReLU(), "use nn.ReLU" + AGAIN, nn.ReLU()),
    "sigmoid, tanh, ELU, GELU, SiLU": layer(nn.SiLU(), "use nn.ReLU" + AGAIN, nn.ReLU()),
    "softmax in the middle": layer(nn.Softmax(1), "drop it" + AGAIN),
    "group or layer norm": layer(
        nn.GroupNorm(2, 4), "use nn.BatchNorm2d" + AGAIN, nn.BatchNorm2d(4)
    ),
    "averages of different windows": layer(
        nn.AdaptiveAvgPool2d(3), "use nn.AvgPool2d" + AGAIN, nn.AvgPool2d(2)
    ),
    "averages that are cut off": layer(
        nn.AvgPool2d(3, ceil_mode=True), "use ceil_mode=False" + AGAIN, nn.AvgPool2d(3)
    ),
    "averages that leave out padding": layer(
        nn.AvgPool2d(3, 1, 1, count_include_pad=False),
        "use count_include_pad=True" + AGAIN,
        nn.AvgPool2d(3, 1, 1),
    ),
    "max pools of different windows": layer(
        nn.AdaptiveMaxPool2d(3), r"use nn.MaxPool2d\(2\)" + AGAIN, nn.MaxPool2d(2)
    ),
    "bilinear upsampling": layer(
        nn.Upsample(scale_factor=2, mode="bilinear"),
        'use mode="nearest"' + AGAIN,
        nn.Upsample(scale_factor=2),
    ),
    "transposed convolution": layer(
        nn.ConvTranspose2d(4, 4, 2, 2),
        "use nn.Upsample.*nn.Conv2d" + AGAIN,
        nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(4, 4, 3, padding=1)),
    ),
    "padding that reflects": layer(
        nn.ReflectionPad2d(1), "use nn.ZeroPad2d" + AGAIN, nn.ZeroPad2d(1)
    ),
    "circular convolution": layer(
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"),
        'use padding_mode="zeros"' + AGAIN,
        nn.Conv2d(4, 4, 3, padding=1),
    ),
    "batch norm that measures": layer(
        nn.BatchNorm2d(4, track_running_stats=False),
        "use track_running_stats=True" + AGAIN,
        nn.BatchNorm2d(4),
    ),
    "max pool behind a batch norm with negative scale": Refused(
        with_layer(nn.Sequential(_negative_norm(), nn.MaxPool2d(2))),
        "put the batch norm before the ReLU" + AGAIN,
        lambda cnn: nn.Sequential(*(cnn[0], nn.BatchNorm2d(4), cnn[1], nn.MaxPool2d(2), *cnn[3:])),
    ),
    "max pool without ReLU": forward(
        lambda n, x: n.fc(F.max_pool2d(n.a(x), 2).flatten(1)),
        r"has no ReLU.*put nn.ReLU\(\)" + AGAIN,
        lambda n, x: n.fc(F.max_pool2d(F.relu(n.a(x)), 2).flatten(1)),
    ),
    "weights in two places": Refused(
        Net(
            _tied,
            a=nn.Conv2d(3, 4, 3, padding=1),
            b=nn.Conv2d(4, 4, 3, padding=1),
            fc=nn.LazyLinear(3),
        ),
        r"is used before; give each place a layer of its own, copy.deepcopy\(layer\)",
        _untie,
    ),
    "product of signals": forward(
        lambda n, x: n.fc((_relu(n, x) * _relu2(n, x)).flatten(1)),
        "leave it out" + AGAIN,
        lambda n, x: n.fc(_relu(n, x).flatten(1)),
        b=nn.Conv2d(3, 4, 3, padding=1),
    ),
    "change in place": forward(_in_place, r"do not change a tensor in place", _not_in_place),
    "condition on the data": forward(
        _by_data,
        "take the condition or loop out" + AGAIN,
        lambda n, x: n.fc(_relu(n, x).flatten(1)),
    ),
    "functional weights": forward(
        lambda n, x: F.linear(_relu(n, x).flatten(1), n.fc.weight, n.fc.bias),
        "use the nn.Module",
        lambda n, x: n.fc(_relu(n, x).flatten(1)),
        fc=nn.Linear(256, 3),
    ),
    "channels moved about": forward(
        lambda n, x: n.fc(_relu(n, x).permute(0, 2, 3, 1).flatten(1)),
        "nn.Flatten" + AGAIN,
        lambda n, x: n.fc(_relu(n, x).flatten(1)),
    ),
    "joined along rows": forward(
        lambda n, x: n.fc(torch.cat([y := _relu(n, x), y], 2).flatten(1)),
        r"torch.cat\(..., 1\)" + AGAIN,
        _head(lambda n, x: torch.cat([y := _relu(n, x), y], 1)),
    ),
    "normalisation with zero deviation": forward(
        lambda n, x: n.fc(torch.nan_to_num(_relu(n, x / torch.zeros(3, 1, 1))).flatten(1)),
        "a standard deviation above 0" + AGAIN,
        lambda n, x: n.fc(_relu(n, x / torch.ones(3, 1, 1)).flatten(1)),
    ),
    "mean image": forward(
        lambda n, x: n.fc(_relu(n, x - MEAN_IMAGE).flatten(1)),
        "give one number for each channel" + AGAIN,
        lambda n, x: n.fc(_relu(n, x - MEAN_IMAGE.mean((1, 2), keepdim=True)).flatten(1)),
    ),
    "several outputs": forward(
        lambda n, x: (n.fc(_relu(n, x).flatten(1)), x),
        "something other than one tensor; return that",
        lambda n, x: n.fc(_relu(n, x).flatten(1)),
    ),
}


def _relu2(n, x):
    return F.relu(n.b(x))
