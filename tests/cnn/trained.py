"""Families of networks, trained for a moment on digits of 3 x 32 x 32."""

from functools import cache

import torch
from families import FAMILIES
from torch import Tensor, nn
from torch.nn import functional as F

from snnlib import Digits, load_digits

USUAL = (6, 2e-3)  # epochs, highest rate of learning
SLOW = {"SqueezeNet 1.1": (20, 4e-3)}  # narrow, without a batch norm
TINTS = torch.tensor([1.0, 0.8, 0.6]).view(1, 3, 1, 1)


@cache
def tinted(split: str, count: int) -> Digits:
    """Digits with a black border in three colours."""
    digits = load_digits(split)
    images = F.pad(digits.images[:count], (2, 2, 2, 2)) * TINTS
    return Digits(images, digits.labels[:count], digits.class_names)


def trained(name: str, seed: int = 0) -> nn.Module:
    """A network that is right on most digits."""
    epochs, rate = SLOW.get(name, USUAL)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        cnn, data = FAMILIES[name](), tinted("train", 5000)
        optimizer = torch.optim.AdamW(cnn.parameters(), lr=rate)
        batches = [b for _ in range(epochs) for b in torch.randperm(len(data)).split(50)]
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, len(batches))
        for places in batches:
            optimizer.zero_grad()
            _loss(cnn, data.images[places], data.labels[places]).backward()
            optimizer.step()
            schedule.step()
    return cnn.eval()


def _loss(cnn: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(cnn(images), labels)
