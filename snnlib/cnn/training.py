"""Train a CNN (chapter 3, *A CNN that can be converted*)."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from snnlib.cnn.evaluating import check_fit, evaluate
from snnlib.cnn.threads import one_thread
from snnlib.data import Digits

SCHEDULES = ("constant", "one-cycle")


@dataclass(frozen=True)
class Recipe:
    """How to train.  The defaults are the options of MathWorks' example.

    Parameters
    ----------
    epochs : int
        Passes over the training images.
    lr : float
        Learning rate; the highest one, under "one-cycle".
    momentum : float
        Of stochastic gradient descent, in [0, 1).
    batch_size : int
        [images]
    nesterov : bool
        Look ahead along the momentum.
    weight_decay : float
        Pull of the weights towards zero.
    schedule : str
        "constant", or "one-cycle": warm up, then decay to zero (Smith 2018).
    augment : bool
        Turn, scale, shift and shear each image a little, anew in each epoch.
    dropout : float
        Share of the last layer's inputs silenced while training, in [0, 1); of an
        nn.Sequential.  Any other network has nn.Dropout where it needs it.

    Raises
    ------
    ValueError
        For a number outside its range.
    """

    epochs: int = 15
    lr: float = 0.05
    momentum: float = 0.5
    batch_size: int = 40
    nesterov: bool = False
    weight_decay: float = 0.0
    schedule: str = "constant"
    augment: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        ranges = {
            "epochs": self.epochs >= 1,
            "lr": self.lr > 0,
            "momentum": 0 <= self.momentum < 1,
            "batch_size": self.batch_size >= 1,
            "weight_decay": self.weight_decay >= 0,
            "schedule": self.schedule in SCHEDULES,
            "dropout": 0 <= self.dropout < 1,
        }
        for name, fits in ranges.items():
            if not fits:
                raise ValueError(f"{name} is {getattr(self, name)!r}; see Recipe for its range.")


BETTER = Recipe(
    lr=0.1,
    momentum=0.9,
    nesterov=True,
    weight_decay=1e-4,
    schedule="one-cycle",
    augment=True,
    dropout=0.5,
)


@dataclass(frozen=True)
class History:
    """What happened in each epoch.

    Attributes
    ----------
    loss : tuple of float
        Mean cross-entropy of the training images, as they were learned from.
    accuracy : tuple of float
        Share of them that were right, likewise.
    validation_accuracy : tuple of float
        Share of the validation images right after the epoch; () without any.
    """

    loss: tuple[float, ...] = ()
    accuracy: tuple[float, ...] = ()
    validation_accuracy: tuple[float, ...] = ()


@one_thread()
def fit(
    cnn: nn.Module,
    digits: Digits,
    recipe: Recipe = Recipe(),
    *,
    validation: Digits | None = None,
    seed: int = 0,
    progress: bool = True,
    on_epoch: Callable[[History], None] | None = None,
) -> History:
    """Train ``cnn`` in place on ``digits``, with one thread of torch.

    Parameters
    ----------
    cnn : nn.Module
    digits : Digits
    recipe : Recipe
    validation : Digits, optional
        Evaluated after each epoch.
    seed : int
        Of the order of images, the augmentation and the dropout.
    progress : bool
        Draw a progress bar.
    on_epoch : callable, optional
        Called with the History so far after each epoch.

    Returns
    -------
    History

    Raises
    ------
    ValueError
        Where the images or the recipe's dropout do not fit the network, or if the loss
        stops being a number (then the learning rate is too high).
    """
    check_fit(cnn, digits.images, len(digits.class_names))
    if recipe.dropout and not isinstance(cnn, nn.Sequential):
        raise ValueError(
            f"dropout is {recipe.dropout}, but a {type(cnn).__name__} does not say which layer is "
            "its last; give dropout=0.0 and the network an nn.Dropout."
        )
    batches = math.ceil(len(digits) / recipe.batch_size)
    optimizer, scheduler = _optimizer(cnn, recipe, batches)
    history = History()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in tqdm(range(recipe.epochs), desc="epochs", disable=not progress):
            loss, accuracy = _train_epoch(cnn, digits, recipe, optimizer, scheduler)
            history = _extend(history, loss, accuracy, cnn, validation)
            if on_epoch:
                on_epoch(history)
    return history


def augment(images: Tensor) -> Tensor:
    """Each image turned, scaled, shifted and sheared at random, within what digits stand.

    Up to 12 degrees, 10 %, 2 of 28 pixels, and a shear of 0.15; drawn from
    torch's generator.

    Parameters
    ----------
    images : Tensor [N, C, H, W]

    Returns
    -------
    Tensor [N, C, H, W]
    """
    uniform = torch.rand(5, len(images)) * 2 - 1  # in [-1, 1)
    angle, scale = uniform[0] * math.radians(12), 1 + 0.1 * uniform[1]
    shear, shift = 0.15 * uniform[2], uniform[3:] * 2 * 2 / 28  # a picture spans [-1, 1]
    cos, sin = angle.cos() * scale, angle.sin() * scale
    rows = [cos, -sin + shear * cos, shift[0], sin, cos + shear * sin, shift[1]]
    grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), images.shape, align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def _optimizer(cnn: nn.Module, recipe: Recipe, batches: int) -> tuple:
    optimizer = torch.optim.SGD(
        cnn.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )
    if recipe.schedule == "constant":
        return optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.lr, total_steps=recipe.epochs * batches, cycle_momentum=False
    )


def _train_epoch(
    cnn: nn.Module, digits: Digits, recipe: Recipe, optimizer, scheduler
) -> tuple[float, float]:
    """One pass over the images in a new order; mean loss and accuracy along the way."""
    cnn.train()
    loss_sum, right = 0.0, 0
    for batch in torch.randperm(len(digits)).split(recipe.batch_size):
        images, labels = digits.images[batch], digits.labels[batch]
        scores = _scores(cnn, augment(images) if recipe.augment else images, recipe.dropout)
        loss = F.cross_entropy(scores, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        loss_sum += loss.item() * len(batch)
        right += (scores.argmax(1) == labels).sum().item()
    if not math.isfinite(loss_sum):
        raise ValueError(f"the loss is no longer a number; lower lr (now {recipe.lr}).")
    return loss_sum / len(digits), right / len(digits)


def _scores(cnn: nn.Module, images: Tensor, dropout: float) -> Tensor:
    """Outputs while training: dropout stands before the last layer, and only here."""
    if not dropout:
        return cnn(images)
    *hidden, output = cnn
    for layer in hidden:
        images = layer(images)
    return output(F.dropout(images, dropout))


def _extend(
    history: History, loss: float, accuracy: float, cnn: nn.Module, validation: Digits | None
) -> History:
    measured = () if validation is None else (evaluate(cnn, validation).accuracy,)
    return History(
        history.loss + (loss,),
        history.accuracy + (accuracy,),
        history.validation_accuracy + measured,
    )
