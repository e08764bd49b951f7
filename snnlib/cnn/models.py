"""The CNNs of the course (chapter 3, *A CNN that can be converted*).

``digit_cnn`` keeps all constraints of the basic method; ``DeepCNN`` keeps none of them, and
chapter 9, *Lift the constraints*, converts it.
"""

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WEIGHTED = (nn.Conv2d, nn.Linear)


def digit_cnn(*, seed: int = 0) -> nn.Sequential:
    """The network of Diehl et al. 2015, 12c5-2s-64c5-2s-10, with random weights.

    Parameters
    ----------
    seed : int
        Of the weights.

    Returns
    -------
    nn.Sequential
        Input [N, 1, 28, 28], output [N, 10]; 29,740 weights and no bias.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(1, 12, 5, bias=False),  # [N, 12, 24, 24]
                relu1=nn.ReLU(),
                pool1=nn.AvgPool2d(2),  # [N, 12, 12, 12]
                conv2=nn.Conv2d(12, 64, 5, bias=False),  # [N, 64, 8, 8]
                relu2=nn.ReLU(),
                pool2=nn.AvgPool2d(2),  # [N, 64, 4, 4]
                flatten=nn.Flatten(),  # [N, 1024]
                output=nn.Linear(1024, 10, bias=False),  # [N, 10]
            )
        )


class ResidualBlock(nn.Module):
    """Two convolutions, added to what came in, then a ReLU (He et al. 2016).

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    stride : int
        Of the first convolution; where it or the channels change the shape, the shortcut
        is a convolution of 1 x 1 instead of the identity.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Activations [N, outputs, H', W'] of [N, inputs, H, W]."""
        y = F.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return F.relu(y + self.shortcut(x))


class DeepCNN(nn.Module):
    """Eight weight layers with biases, batch norms, max pools and two residual blocks.

    Written as one writes a network that nobody means to convert.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.pool = nn.MaxPool2d(2)
        self.block1 = ResidualBlock(16, 16)
        self.block2 = ResidualBlock(16, 32, stride=2)
        self.dropout = nn.Dropout(0.3)
        self.hidden = nn.Linear(32 * 3 * 3, 64)
        self.output = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [N, 10] for images [N, 1, 28, 28]."""
        x = F.relu(self.norm(self.conv(x)))  # [N, 16, 28, 28]
        x = self.block1(self.pool(x))  # [N, 16, 14, 14]
        x = self.pool(self.block2(x))  # [N, 32, 7, 7], then [N, 32, 3, 3]
        x = F.relu(self.hidden(self.dropout(x.flatten(1))))  # [N, 64]
        return self.output(x)


def deep_cnn(*, seed: int = 0) -> DeepCNN:
    """The network that chapter 9 converts, with random weights.

    Parameters
    ----------
    seed : int
        Of the weights.

    Returns
    -------
    DeepCNN
        Input [N, 1, 28, 28], output [N, 10].
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DeepCNN()


def weighted_layers(cnn: nn.Sequential) -> list[tuple[str, nn.Module]]:
    """The named convolutions and linear layers.

    Parameters
    ----------
    cnn : nn.Sequential

    Returns
    -------
    list of tuple
        (name, layer), in order.
    """
    return [(name, layer) for name, layer in cnn._modules.items() if isinstance(layer, WEIGHTED)]


def window_area(pool: nn.AvgPool2d) -> int:
    """How many inputs a pooling window covers.

    Parameters
    ----------
    pool : nn.AvgPool2d

    Returns
    -------
    int
    """
    return math.prod(pair(pool.kernel_size))


def pair(value: int | tuple[int, int]) -> tuple[int, int]:
    """What torch keeps as one number or two: rows, then columns.

    Parameters
    ----------
    value : int or tuple of int
        A kernel size, stride, padding or dilation.

    Returns
    -------
    tuple of int
    """
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)
