"""Small networks and images for tests; `small_cnns` draws them for hypothesis."""

import torch
from hypothesis import strategies as st
from torch import Tensor, nn


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
