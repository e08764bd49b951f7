"""Small networks and images for tests; `small_cnns` draws them for hypothesis."""

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from snnlib import SpikingNetwork, activation_scales, convert


def conv(*args: int, **options) -> nn.Conv2d:
    return nn.Conv2d(*args, bias=False, **options)


def linear(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=False)


def fill_randomly(cnn: nn.Sequential, seed: int, gain: float = 1.0) -> nn.Sequential:
    """The network with normal weights, `gain` times as wide as would keep signals level."""
    generator = torch.Generator().manual_seed(seed)
    for weight in cnn.parameters():
        fan_in = weight[0].numel()
        weight.data.normal_(0, gain * (2 / fan_in) ** 0.5, generator=generator)
    return cnn.eval()


def random_images(seed: int, count: int, shape: tuple[int, int, int]) -> Tensor:
    """[count, *shape], some pixels exactly 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(count, *shape, generator=generator) * 1.4 - 0.2).clamp(0, 1)


def tiny_cnn(seed: int = 0) -> nn.Sequential:
    """Two convolutions, a pool and a linear layer for images of 6 x 6 and 3 classes."""
    layers = [conv(1, 4, 3), nn.ReLU(), nn.AvgPool2d(2), conv(4, 4, 2), nn.ReLU()]
    return fill_randomly(nn.Sequential(*layers, nn.Flatten(), linear(4, 3)), seed, gain=1.5)


@st.composite
def small_cnns(draw, classes: int = 3) -> tuple[nn.Sequential, tuple[int, int, int]]:
    """A network of 1 to 3 weight layers, of any geometry, and its input shape [C, H, W]."""
    shape = tuple(draw(st.integers(low, high)) for low, high in ((1, 4), (4, 7), (4, 7)))
    layers = draw(st.lists(_pools(), max_size=2))
    convolutions = draw(st.integers(0, 2))
    for _ in range(convolutions):
        layers += [draw(_convs(_shape_after(layers, shape))), nn.ReLU(), nn.Dropout(0.5)]
        layers += draw(st.lists(_pools(), max_size=2))
    layers.append(nn.Flatten())
    (inputs,) = _shape_after(layers, shape)
    if convolutions < 2 and draw(st.booleans()):
        layers += [linear(inputs, 5), nn.ReLU()]
        inputs = 5
    cnn = nn.Sequential(*layers, linear(inputs, classes))
    seed, gain = draw(st.integers(0, 10**6)), draw(st.sampled_from([0.7, 1.5]))
    return fill_randomly(cnn, seed, gain), shape


@st.composite
def _convs(draw, shape: tuple[int, int, int]) -> nn.Conv2d:
    """A convolution that images of that shape fit."""
    channels, *size = shape
    groups = draw(st.sampled_from([g for g in (1, 2, 4) if channels % g == 0]))
    kernel = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    dilation = draw(st.integers(1, 2))
    least = [max(0, dilation * (k - 1) + 1 - n) for k, n in zip(kernel, size, strict=True)]
    return conv(
        channels,
        groups * draw(st.integers(1, 2)),
        kernel,
        stride=draw(st.integers(1, 2)),
        padding=tuple(max(n, draw(st.integers(0, 2))) for n in least),
        dilation=dilation,
        groups=groups,
    )


@st.composite
def _pools(draw) -> nn.AvgPool2d:
    return nn.AvgPool2d(
        draw(st.sampled_from([2, (2, 3)])),
        draw(st.integers(1, 2)),
        padding=1,
        divisor_override=draw(st.sampled_from([None, None, 3])),
    )


def _shape_after(layers: list[nn.Module], shape: tuple[int, int, int]) -> tuple[int, ...]:
    return tuple(nn.Sequential(*layers)(torch.zeros(1, *shape)).shape[1:])


class Residual(nn.Module):
    """A branch that adds to its own input, or to a convolution of it, before a ReLU."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


def settle(cnn: nn.Module, seed: int, gain: float = 1.0) -> nn.Module:
    """The network as after training: random weights, biases, and statistics of batch norms."""
    generator = torch.Generator().manual_seed(seed)
    for module in cnn.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            fan_in = module.weight[0].numel()
            module.weight.data.normal_(0, gain * (2 / fan_in) ** 0.5, generator=generator)
            if module.bias is not None:
                module.bias.data.normal_(0, 0.2, generator=generator)
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.3, 3, generator=generator)
            module.weight.data.normal_(1, 0.4, generator=generator)
            module.bias.data.normal_(0, 0.2, generator=generator)
    return cnn.eval()


def deep_cnn(seed: int = 0, classes: int = 10) -> nn.Sequential:
    """Of the kind of chapter 9: 8 weight layers, biases, batch norms, a max pool, branches."""
    first = [nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)]
    same = Residual(_body(6, 6, 1), nn.Identity())
    half = Residual(_body(6, 8, 2), nn.Sequential(conv(6, 8, 1, stride=2), nn.BatchNorm2d(8)))
    end = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 12), nn.BatchNorm1d(12), nn.ReLU()]
    cnn = nn.Sequential(*first, same, half, *end, nn.Dropout(0.5), nn.Linear(12, classes))
    return settle(cnn, seed)


def _body(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        conv(inputs, outputs, 3, stride=stride, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
    )


@st.composite
def any_cnns(draw, classes: int = 3, max_pools: bool = True):
    """A network of 3 to 6 weight layers with biases, batch norms, pools and branches, and the
    shape [C, H, W] of its images."""
    shape = tuple(draw(st.integers(low, high)) for low, high in ((1, 3), (5, 8), (5, 8)))
    layers, channels = [], shape[0]
    for _ in range(draw(st.integers(1, 2))):
        outputs = draw(st.integers(2, 5))
        layers += [*draw(_blocks(channels, outputs)), *draw(_poolings(max_pools))]
        channels = outputs
    layers.append(nn.Flatten())
    (features,) = _shape_after(settle(nn.Sequential(*layers), 0), shape)
    hidden = draw(st.integers(3, 6))
    norm = [nn.BatchNorm1d(hidden)] if draw(st.booleans()) else []
    layers += [nn.Linear(features, hidden, bias=draw(st.booleans())), *norm, nn.ReLU()]
    if draw(st.booleans()):
        body = nn.Sequential(linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, hidden))
        layers.append(Residual(body, nn.Identity()))
    cnn = nn.Sequential(*layers, nn.Linear(hidden, classes, bias=draw(st.booleans())))
    return settle(cnn, draw(st.integers(0, 10**6)), draw(st.sampled_from([0.7, 1.2]))), shape


@st.composite
def _blocks(draw, inputs: int, outputs: int) -> list[nn.Module]:
    """Convolution, perhaps a batch norm, ReLU; or a residual block of these."""
    first = nn.Conv2d(inputs, outputs, 3, padding=1, bias=draw(st.booleans()))
    first = [first, *([nn.BatchNorm2d(outputs)] if draw(st.booleans()) else [])]
    kind = draw(st.sampled_from(["plain", "identity", "conv"]))
    if kind == "plain":
        return [*first, nn.ReLU()]
    if kind == "conv":
        body = [conv(inputs, 3, 2, padding=1), nn.ReLU(), nn.Conv2d(3, outputs, 2)]
        return [Residual(nn.Sequential(*body), nn.Sequential(*first))]
    body = [nn.Conv2d(outputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs)]
    return [*first, nn.ReLU(), Residual(nn.Sequential(*body), nn.Identity())]


@st.composite
def _poolings(draw, max_pools: bool) -> list[nn.Module]:
    kinds = [[], [nn.AvgPool2d(2)], [nn.AvgPool2d(3, 2, 1)]]
    if max_pools:
        kinds += [[nn.MaxPool2d(2)], [nn.MaxPool2d(3, 2, 1)], [nn.MaxPool2d(2, 1, ceil_mode=True)]]
    return draw(st.sampled_from(kinds))


def scaled(cnn: nn.Module, images: Tensor, factor: float = 1.0, **options) -> SpikingNetwork:
    """Converted with 99.9th percentiles times a factor."""
    scales = activation_scales(cnn, images, percentile=99.9)
    return convert(cnn, thresholds=[s * factor for s in scales], **options)
