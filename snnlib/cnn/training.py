"""Train a CNN, measure it, load one trained before (chapter 3, *A CNN that can be converted*)."""

import math
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from snnlib.cnn.models import deep_cnn, digit_cnn
from snnlib.data import Digits
from snnlib.storage import load_tensors, save_tensors

ASSETS = Path(__file__).parent.parent / "assets"
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
RECIPES = {  # what the shipped weights were trained with
    "digits": replace(BETTER, epochs=60),
    "mnist": replace(BETTER, epochs=30, batch_size=100),
    "deep": replace(BETTER, epochs=15, batch_size=100, dropout=0.0),  # it has an nn.Dropout
}
NETWORKS = {"digits": digit_cnn, "mnist": digit_cnn, "deep": deep_cnn}


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


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How a CNN does on labelled images.

    Attributes
    ----------
    accuracy : float
        Share of right predictions.
    predictions : Tensor [N]
        int64, the class of the highest output.
    confusion : Tensor [C, C]
        int64, images of each true class (row) by predicted class (column).
    """

    accuracy: float
    predictions: Tensor
    confusion: Tensor


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
    """Train ``cnn`` in place on ``digits``.

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
    check_fit(cnn, digits)
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


@torch.no_grad()
def evaluate(cnn: nn.Module, digits: Digits) -> Evaluation:
    """Predict every image of ``digits`` and compare with its label.

    Parameters
    ----------
    cnn : nn.Module
    digits : Digits

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        Where the images do not fit the network.
    """
    check_fit(cnn, digits)
    predictions = outputs(cnn, digits.images).argmax(1)
    confusion = confusion_counts(digits.labels, predictions, len(digits.class_names))
    accuracy = (predictions == digits.labels).double().mean().item()
    return Evaluation(accuracy, predictions, confusion)


@torch.no_grad()
def outputs(cnn: nn.Module, images: Tensor, *, batch_size: int = 500) -> Tensor:
    """Outputs of a network that only predicts, batch by batch; its mode is kept.

    Parameters
    ----------
    cnn : nn.Module
    images : Tensor [N, C, H, W]
    batch_size : int
        [images]

    Returns
    -------
    Tensor [N, classes]
    """
    training = cnn.training
    cnn.eval()
    try:
        return torch.cat([cnn(batch) for batch in images.split(batch_size)])
    finally:
        cnn.train(training)


def confusion_counts(labels: Tensor, predictions: Tensor, classes: int) -> Tensor:
    """How often each true class was predicted as each class.

    Parameters
    ----------
    labels, predictions : Tensor [N]
        int64; an undecided prediction (-1) is counted in no cell.
    classes : int
        C

    Returns
    -------
    Tensor [C, C]
        int64, true class (row) by predicted class (column).
    """
    decided = predictions >= 0
    cells = labels[decided] * classes + predictions[decided]
    return torch.bincount(cells, minlength=classes**2).view(classes, classes)


def check_fit(cnn: nn.Module, digits: Digits) -> None:
    """Raise unless one image passes through ``cnn`` and gives an output per class.

    Parameters
    ----------
    cnn : nn.Module
    digits : Digits

    Raises
    ------
    ValueError
        For images of another shape or another number of outputs.
    """
    shape = list(digits.images.shape[1:])
    try:
        classes = outputs(cnn, digits.images[:1]).shape[1:]
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"images of shape {shape} do not fit the network: {reason}") from error
    if classes != (len(digits.class_names),):
        raise ValueError(
            f"the network gives {list(classes)} outputs for {len(digits.class_names)} classes; "
            "end it with nn.Linear(..., number of classes)."
        )


def load_trained_cnn(name: str = "digits") -> nn.Module:
    """``digit_cnn()`` or ``deep_cnn()`` with shipped weights.

    Parameters
    ----------
    name : str
        "digits": trained on the 5,000 images of load_digits("train"); "mnist": on all
        60,000; "deep": ``deep_cnn()``, on all 60,000.  ``RECIPES`` holds how,
        ``trained_facts`` what came of it.

    Returns
    -------
    nn.Sequential or DeepCNN

    Raises
    ------
    ValueError
        For another name or an altered file.
    FileNotFoundError
        For a missing file.
    """
    tensors, _ = load_tensors(weights_file(name))
    cnn = NETWORKS[name]()
    cnn.load_state_dict(tensors)
    return cnn.eval()


def trained_facts(name: str = "digits") -> dict:
    """What is known of shipped weights.

    Parameters
    ----------
    name : str
        As for ``load_trained_cnn``.

    Returns
    -------
    dict
        Recipe, seed, history, accuracy.
    """
    return load_tensors(weights_file(name))[1]


def save_trained_cnn(path: str | Path, cnn: nn.Module, facts: dict) -> None:
    """Write weights and the facts about them to one file, whole or not at all.

    Parameters
    ----------
    path : str or Path
    cnn : nn.Module
    facts : dict
        As made by ``facts_of``.
    """
    save_tensors(path, cnn.state_dict(), facts)


def facts_of(recipe: Recipe, seed: int, history: History, **accuracy: float) -> dict:
    """The record that travels with trained weights, ready for JSON.

    Parameters
    ----------
    recipe : Recipe
    seed : int
    history : History
    **accuracy : float
        Measured, by name.

    Returns
    -------
    dict
    """
    return {"recipe": asdict(recipe), "seed": seed, "history": asdict(history), **accuracy}


def weights_file(name: str, names: Collection[str] = RECIPES) -> Path:
    """Where the shipped weights of that name lie.

    Parameters
    ----------
    name : str
        One of ``names``.
    names : collection of str
        That there are; default ``RECIPES``.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        For another name.
    """
    if name not in names:
        raise ValueError(f"no weights named {name!r}; choose one of {', '.join(names)}.")
    return ASSETS / f"digit_cnn_{name}.safetensors"


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
