"""Networks that differ in their forward alone."""

from nets import conv
from torch import nn
from torch.nn import functional as F


class Style(nn.Module):
    """One network, written in another way by each subclass."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = conv(1, 3, 3), nn.Conv2d(3, 4, 2)
        self.fc, self.relu, self.dropout = nn.Linear(16, 3), nn.ReLU(), nn.Dropout(0.5)


class Net(nn.Module):
    """Any layers, and a forward that is given as a function of them."""

    def __init__(self, forward, **layers):
        super().__init__()
        self._forward = forward
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        return self._forward(self, x)


class Forward(Net):
    """The layers of Style, and others."""

    def __init__(self, forward, **layers):
        super().__init__(forward, **dict(Style().named_children()), **layers)


def up_to_conv2(net, x):
    return F.relu(net.conv2(F.avg_pool2d(F.relu(net.conv1(x)), 2)))
