"""Small networks as people write them, each for one thing that may be written so."""

import torch
from forwards import Net
from torch import nn
from torch.nn import functional as F

SHAPE = (3, 8, 8)
MEAN, STD = torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1), torch.tensor([0.2, 0.3, 0.4])


def conv(inputs, outputs, size=3, **options):
    return nn.Conv2d(inputs, outputs, size, **({"padding": size // 2} | options))


def last(output):
    """The usual end of a network of 8 x 8 maps."""

    def forward(net, x):
        return net.fc(output(net, x).mean((2, 3)))

    return forward


def first(n, x):
    return F.relu(n.a(x))


LAYERS = {"a": conv(3, 4), "b": conv(4, 4), "c": conv(8, 4), "fc": nn.LazyLinear(3)}
NORMS = {**LAYERS, "norm": nn.BatchNorm2d(4)}


class Flagged(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.fc = conv(3, 4), nn.LazyLinear(3)

    def forward(self, x, targets=None, return_features=False, **options):
        features = F.relu(self.a(x)).flatten(1)
        if return_features:
            return features
        out = self.fc(features)
        return out if targets is None else (out, F.cross_entropy(out, targets))


class Checked(nn.Module):
    """Its forward looks at shapes."""

    def __init__(self):
        super().__init__()
        self.a, self.fc = conv(3, 4), nn.LazyLinear(3)

    def forward(self, x):
        n, c, height, width = x.shape
        assert c == 3
        if x.dim() == 3:
            x = x.unsqueeze(0)
        x = F.relu(self.a(x))
        if height > 4:
            x = F.avg_pool2d(x, (height // 4, width // 4))
        return self.fc(x.reshape(n, -1))


def sizes_of_pool(n, x):
    x = first(n, x)
    x = F.avg_pool2d(x, x.size()[3])
    return n.fc(x.view(x.size(0), -1))


def length(n, x):
    return n.fc(first(n, x).view(len(x), -1))


def sizes_of_window(n, x):
    x = first(n, x)
    return n.fc(F.max_pool2d(x, kernel_size=x.shape[-2:]).flatten(1))


def two_squeezes(n, x):
    return n.fc(F.adaptive_avg_pool2d(first(n, x), 1).squeeze(-1).squeeze(-1))


def mean_of_a_row(n, x):
    x = first(n, x)
    return n.fc(x.view(*x.shape[:2], -1).mean(-1))


def sum_of_a_list(n, x):
    x = first(n, x)
    return sum([n.b(x), x, 0.5 * x])


def dropped_branch(n, x):
    x = first(n, x)
    return F.relu(torch.add(x, n.b(x), alpha=0.3) - 0.25 * x)


def joined_twice(n, x):
    x = first(n, x)
    y = F.relu(n.b(x))
    inner = torch.cat([x, y], 1)
    return F.relu(n.c(inner)) + F.relu(n.d(torch.cat([y, inner, x], dim=1)))


def joined_with_the_image(n, x):
    y = first(n, x)
    return F.relu(n.c(torch.cat([x, y, -n.b(y)], 1)))


def joined_sums(n, x):
    x = first(n, x)
    y = torch.cat([x, n.b(x)], 1)
    return F.relu(n.norm(y + torch.cat([n.b2(x), x], 1)))


def unequal_parts(n, x):
    x = first(n, x)
    return F.relu(torch.cat([n.one(x), n.three(x)], 1) + x)


def joined_features(n, x):
    x = first(n, x)
    rows = torch.cat([x.flatten(1), F.avg_pool2d(x, 2).flatten(1), x.mean((2, 3))], 1)
    return n.fc(rows)


def heads_joined(n, x):
    x = first(n, x).flatten(1)
    return torch.cat([n.fc(x), n.fc2(x)], 1)


def modules_made_inside(n, x):
    x = nn.ReLU()(n.a(x))
    x = nn.Sequential(nn.AvgPool2d(2), nn.Identity())(x)
    return n.fc(nn.Flatten()(x))


def classifier(*ends):
    return nn.Sequential(conv(3, 4), nn.ReLU(), *ends)


def through(*layers):
    """A network in one chain; its last layer adapts."""
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(3))


def norm(channels=4):
    return nn.BatchNorm2d(channels)


NETS = {
    "arguments with defaults": Flagged(),
    "a forward that looks at shapes": Checked(),
    "modules made inside": Net(modules_made_inside, **LAYERS),
    "window from x.size()": Net(sizes_of_pool, **LAYERS),
    "window from x.shape": Net(sizes_of_window, **LAYERS),
    "len(x)": Net(length, **LAYERS),
    "squeeze twice": Net(two_squeezes, **LAYERS),
    "mean of a row": Net(mean_of_a_row, **LAYERS),
    "sum([...])": Net(last(sum_of_a_list), **LAYERS),
    "alpha": Net(last(dropped_branch), **LAYERS),
    "add after ReLU": Net(last(lambda n, x: F.relu(n.b(x := first(n, x))) + x), **LAYERS),
    "add after ReLU, max": Net(
        last(lambda n, x: F.max_pool2d(F.relu(n.b(x := first(n, x))) + x, 2)), **LAYERS
    ),
    "constants": Net(last(lambda n, x: F.relu(1 - n.b(first(n, x)) * 2 + 0.1)), **LAYERS),
    "nested joins": Net(last(joined_twice), **LAYERS, d=conv(16, 4)),
    "joined with the image": Net(last(joined_with_the_image), **{**LAYERS, "c": conv(11, 4)}),
    "joined sums": Net(last(joined_sums), **LAYERS, b2=conv(4, 4), norm=norm(8)),
    "unequal parts": Net(last(unequal_parts), **LAYERS, one=conv(4, 1), three=conv(4, 3)),
    "joined features": Net(joined_features, **LAYERS),
    "joined heads": Net(heads_joined, **LAYERS, fc2=nn.LazyLinear(2)),
    "joined, grouped": Net(
        last(lambda n, x: F.relu(n.g(torch.cat([x := first(n, x), F.relu(n.b(x))], 1)))),
        **LAYERS,
        g=conv(8, 8, groups=8),
    ),
    "joined, pooled, flattened": Net(
        lambda n, x: n.fc(F.avg_pool2d(torch.cat([x := first(n, x), n.b(x)], 1), 2).flatten(1)),
        **LAYERS,
    ),
    "linear bottleneck": Net(
        last(lambda n, x: F.relu(n.b(n.b2(first(n, x))))), **LAYERS, b2=conv(4, 4)
    ),
    "convolution, global pool": classifier(conv(4, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    "wide convolution, global pool": classifier(conv(4, 5), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    "convolution, ReLU, global pool": classifier(
        conv(4, 5, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ),
    "convolution over all": classifier(nn.Conv2d(4, 5, 8), nn.Flatten()),
    "maps as classes": classifier(conv(4, 2), nn.Flatten()),
    "ReLU at the end": through(conv(3, 4), nn.ReLU()).append(nn.ReLU()),
    "norm, max pool": through(conv(3, 4), nn.ReLU(), norm(), nn.MaxPool2d(2)),
    "norm, padded convolution": through(
        conv(3, 4), nn.ReLU(), norm(), conv(4, 4, stride=2), nn.ReLU()
    ),
    "norm, padded average": through(conv(3, 4), nn.ReLU(), norm(), nn.AvgPool2d(3, 2, 1)),
    "average, norm, ReLU": through(conv(3, 4), nn.AvgPool2d(2), norm(), nn.ReLU()),
    "padded average, ReLU": through(conv(3, 4), nn.AvgPool2d(3, 1, 1), nn.ReLU()),
    "max pool, norm, ReLU": through(conv(3, 4), nn.MaxPool2d(2), norm(), nn.ReLU()),
    "max pool of averages": through(conv(3, 4), nn.ReLU(), nn.AvgPool2d(2), nn.MaxPool2d(2)),
    "max pool of pixels": through(nn.MaxPool2d(2), conv(3, 4), nn.ReLU()),
    "normalised, max pool of pixels": through(norm(3), nn.MaxPool2d(2), conv(3, 4), nn.ReLU()),
    "adaptive pool": through(conv(3, 4), nn.ReLU(), nn.AdaptiveAvgPool2d((4, 2))),
    "ceil mode that cuts nothing": through(conv(3, 4), nn.ReLU(), nn.AvgPool2d(2, ceil_mode=True)),
    "Threshold": through(conv(3, 4), nn.Threshold(0, 0)),
    "LeakyReLU(0)": through(conv(3, 4), nn.LeakyReLU(0.0)),
    "ReLU6": through(conv(3, 4), nn.ReLU6(), conv(4, 4), nn.Hardtanh(0, 0.7)),
    "clamp": Net(last(lambda n, x: n.b(n.a(x).clamp(0, 1)).clamp(min=0)), **LAYERS),
    "clipped after a max pool": through(conv(3, 4), nn.MaxPool2d(2), nn.ReLU6()),
    "same": through(nn.Conv2d(3, 4, (3, 5), padding="same", dilation=(2, 1)), nn.ReLU()),
    "same, even": through(nn.Conv2d(3, 4, (2, 4), padding="same"), nn.ReLU()),
    "same, even, dilated": through(nn.Conv2d(3, 4, 4, padding="same", dilation=3), nn.ReLU()),
    "ZeroPad2d": through(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 4, 3, stride=2), nn.ReLU()),
    "F.pad": Net(last(lambda n, x: F.relu(n.b(F.pad(first(n, x), (1, 2, 0, 1))))), **LAYERS),
    "F.pad with a number": Net(
        last(lambda n, x: F.relu(n.b(F.pad(first(n, x), (1, 2, 0, 1), value=0.3)))), **LAYERS
    ),
    "pad, average": through(nn.ZeroPad2d((0, 1, 2, 1)), nn.AvgPool2d(2), conv(3, 4), nn.ReLU()),
    "pad of a sum": Net(
        last(lambda n, x: F.relu(n.c(F.pad(torch.cat([x := first(n, x), n.b(x)], 1), (1,) * 4)))),
        **LAYERS,
    ),
    "upsampling": through(
        conv(3, 4), nn.ReLU(), nn.Upsample(scale_factor=(2, 3)), conv(4, 4), nn.ReLU()
    ),
    "upsampling before ReLU": through(conv(3, 4), nn.Upsample(size=16), norm(), nn.ReLU()),
    "upsampled sum": Net(
        last(lambda n, x: F.relu(n.b(n.up(F.avg_pool2d(y := first(n, x), 2)) + y * 0.5))),
        **LAYERS,
        up=nn.Upsample(scale_factor=2),
    ),
    "normalised by a layer": through(norm(3), conv(3, 4, 5), nn.ReLU()),
    "normalised by arithmetic": Net(
        last(lambda n, x: F.relu(n.a((x - MEAN) / STD.view(3, 1, 1)))), **LAYERS
    ),
    "normalised in place": Net(
        last(lambda n, x: F.relu(n.a(x.clone().sub_(MEAN).div_(STD[None, :, None, None])))),
        **LAYERS,
    ),
    "to [-1, 1]": Net(last(lambda n, x: F.relu(n.a(2 * x - 1))), **LAYERS),
    "normalised, grouped, pooled": through(
        norm(3), nn.AvgPool2d(2), conv(3, 6, groups=3), nn.ReLU()
    ),
}
