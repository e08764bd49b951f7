"""Measure a CNN on labelled images (chapter 3, *A CNN that can be converted*)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from snnlib.cnn.threads import one_thread
from snnlib.data import Digits
from snnlib.reading import Data, check_data, class_labels, image_batches

AT_ONCE = 500  # images


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


@torch.no_grad()
def evaluate(cnn: nn.Module, digits: Data) -> Evaluation:
    """Predict every image and compare with its label.

    Parameters
    ----------
    cnn : nn.Module
    digits : Digits, Dataset or DataLoader
        Of (image, label), a float32 tensor and a whole number; read in batches.

    Returns
    -------
    Evaluation

    Raises
    ------
    TypeError
        For other data.
    ValueError
        Where the images do not fit the network.
    DataError
        A ValueError: for an image or a label that cannot be read or used; it says which.
    """
    check_data(digits)
    classes = len(digits.class_names) if isinstance(digits, Digits) else None
    found = []
    for batch in image_batches(digits, AT_ONCE):
        classes = classes if found else check_fit(cnn, batch.images, classes)
        found.append((class_labels(batch, classes), outputs(cnn, batch.images).argmax(1)))
    labels, predictions = (torch.cat(parts) for parts in zip(*found, strict=True))
    accuracy = (predictions == labels).double().mean().item()
    return Evaluation(accuracy, predictions, confusion_counts(labels, predictions, classes))


@one_thread()
@torch.no_grad()
def outputs(cnn: nn.Module, images: Tensor, *, batch_size: int = AT_ONCE) -> Tensor:
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


def check_fit(cnn: nn.Module, images: Tensor, classes: int | None = None) -> int:
    """How many classes ``cnn`` tells apart in such images.

    Parameters
    ----------
    cnn : nn.Module
    images : Tensor [N, ...]
        Of which one is looked at.
    classes : int, optional
        That it has to tell apart.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        For images of another shape or another number of outputs.
    """
    shape = list(images.shape[1:])
    try:
        given = outputs(cnn, images[:1]).shape[1:]
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"images of shape {shape} do not fit the network: {reason}") from error
    if len(given) != 1 or given[0] != (classes or given[0]):
        raise ValueError(
            f"the network gives {list(given)} outputs for {classes or 'so many'} classes; "
            "end it with nn.Linear(..., number of classes)."
        )
    return given[0]
