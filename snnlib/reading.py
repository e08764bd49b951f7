"""Images as people have them, a batch at a time (appendix, *Use your own network*).

A Digits, a torch Dataset or a DataLoader of (image, label): each gives batches of the size that
is asked for, and only one of them is held.  Whatever cannot be used is refused with its place.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from snnlib.data import Digits, Span, check_tensor, pixel_fault

Data = Digits | Dataset | DataLoader
FINITE: Span = (-math.inf, math.inf)


class DataError(ValueError):
    """An image or a label that cannot be read or used.

    Attributes
    ----------
    place : int
        Of the image, in the order in which the data are read, counted from 0.
    reason : str
        With the fix.
    result : SimulationResult or None
        What ``simulate`` had found until then.
    """

    def __init__(self, place: int, reason: str, result: Any = None) -> None:
        super().__init__(f"image {place:,}: {reason}")
        self.place, self.reason, self.result = place, reason, result


@dataclass(frozen=True, eq=False)
class Batch:
    """Some images that follow each other.

    Attributes
    ----------
    images : Tensor [N, ...]
        float32
    labels : sequence
        As they were found, [] for images alone; from ``batches`` a Tensor [N], int64.
    first : int
        The place of the first image in the data.
    """

    images: Tensor
    labels: Any
    first: int

    def __len__(self) -> int:
        return len(self.images)

    @property
    def places(self) -> Tensor:
        """[N], int64: of each image."""
        return torch.arange(self.first, self.first + len(self))


def batches(
    data: Data, size: int, classes: int, *, shape: torch.Size | None = None, span: Span = FINITE
) -> Iterator[Batch]:
    """Images with their classes.

    Parameters
    ----------
    data : Digits, Dataset or DataLoader
        Of (image, label): a float32 tensor and a whole number.
    size : int
        [images]; the last batch may have fewer.
    classes : int
    shape : torch.Size, optional
        That an image must have; default that of the first.
    span : tuple of float
        The least and the largest pixel that is allowed.

    Yields
    ------
    Batch

    Raises
    ------
    TypeError
        For other data.
    DataError
        For an image or a label that cannot be read or used, or no image.
    ValueError
        For Digits with another number of classes, and another size.
    """
    check_data(data)
    if isinstance(data, Digits) and len(data.class_names) != classes:
        raise ValueError(
            f"the network has {classes} outputs for {len(data.class_names)} classes; "
            "give Digits as many class_names."
        )
    for batch in image_batches(data, size, shape=shape, span=span):
        yield replace(batch, labels=class_labels(batch, classes))


def image_batches(
    data: Tensor | Data | Iterable,
    size: int,
    *,
    shape: torch.Size | None = None,
    span: Span = FINITE,
) -> Iterator[Batch]:
    """Images, whether or not there are labels.

    Parameters
    ----------
    data : Tensor [N, ...], Digits, Dataset, DataLoader, or an iterable of batches
        A batch is a tensor, or begins with one.
    size, shape, span
        As for ``batches``.

    Yields
    ------
    Batch

    Raises
    ------
    TypeError, DataError, ValueError
        As ``batches`` does.
    """
    if size < 1:
        raise ValueError(f"batch_size is {size}; give at least 1 image.")
    place = 0
    for batch in _regrouped(_parts(data, shape), size):
        fault = pixel_fault(batch.images, span)
        if fault:
            faults = (pixel_fault(image, span) for image in batch.images)
            inside = next(i for i, fault in enumerate(faults) if fault)
            raise DataError(batch.first + inside, pixel_fault(batch.images[inside], span))
        yield batch
        place = batch.first + len(batch)
    if place == 0:
        raise DataError(0, "images are empty; give at least one image.")


def class_labels(batch: Batch, classes: int) -> Tensor:
    """The labels of a batch, once checked.

    Parameters
    ----------
    batch : Batch
        From ``image_batches``.
    classes : int

    Returns
    -------
    Tensor [N]
        int64

    Raises
    ------
    DataError
        For a label that is missing, no whole number, or of no class.
    """
    if len(batch.labels) != len(batch):
        raise DataError(
            batch.first,
            "there is not one label for each image; give a Dataset of (image, label), or a "
            "DataLoader of one, with a batch_size.",
        )
    labels = [_class_of(label, classes, batch.first + i) for i, label in enumerate(batch.labels)]
    return torch.tensor(labels)


def check_data(data: Data) -> None:
    """Raise unless ``data`` are of a kind that ``batches`` reads.

    Parameters
    ----------
    data : Digits, Dataset or DataLoader

    Raises
    ------
    TypeError
        For anything else.
    """
    if not isinstance(data, (Digits, Dataset, DataLoader)):
        raise TypeError(f"data is {_described(data)}")


def count(data: Data) -> int | None:
    """How many images there are, if the data know.

    Parameters
    ----------
    data : Digits, Dataset or DataLoader

    Returns
    -------
    int or None
    """
    data = data.dataset if isinstance(data, DataLoader) else data
    try:
        return len(data)
    except TypeError:
        return None


# ---- reading


def _parts(data: Tensor | Data | Iterable, shape: torch.Size | None) -> Iterator[Batch]:
    """The data in the pieces in which they come, all of one shape and dtype."""
    first, whose = 0, "those before have" if shape is None else "the network takes"
    for images, labels in _pairs(data):
        shape = images.shape[1:] if shape is None and isinstance(images, Tensor) else shape
        _check_shape(images, shape, whose, first)
        matches = hasattr(labels, "__getitem__") and _length(labels) == len(images)
        if len(images):
            yield Batch(images.detach(), labels if matches else [], first)
        first += len(images)


def _pairs(data: Tensor | Data | Iterable) -> Iterator[tuple[Any, Any]]:
    """(images [N, ...], their labels or None)."""
    if isinstance(data, Tensor):
        check_tensor(data)
        yield data, None
    elif isinstance(data, Digits):
        yield data.images, data.labels
    elif isinstance(data, Dataset):
        for image, label in _guarded(_items(data), lambda image: 1):
            yield image[None] if isinstance(image, Tensor) else image, [label]
    elif isinstance(data, Iterable) and not isinstance(data, (str, bytes, np.ndarray)):
        yield from _guarded(data, _length)
    else:
        raise TypeError(f"images are {_described(data)}")


def _items(dataset: Dataset) -> Iterable:
    if isinstance(dataset, IterableDataset):
        return dataset
    try:
        return (dataset[i] for i in range(len(dataset)))
    except TypeError as error:
        raise TypeError(
            f"the length of {type(dataset).__name__} is not known; give it __len__, or make it an "
            "IterableDataset."
        ) from error


def _guarded(items: Iterable, images_of: Callable[[Any], int]) -> Iterator[tuple[Any, Any]]:
    """(image, label) of each item or batch, the label may be None; a failure says its place."""
    place, iterator = 0, None
    while True:
        try:
            iterator = iter(items) if iterator is None else iterator
            item = next(iterator)
        except StopIteration:
            return
        except Exception as error:
            reason = f"it could not be read ({type(error).__name__}: {error})."
            raise DataError(place, reason) from error
        is_pair = isinstance(item, (tuple, list))
        image, label = (*item[:2], None, None)[:2] if is_pair else (item, None)
        yield image, label
        place += images_of(image)


def _length(values: Any) -> int:
    """How many; 0 for what is no list of any kind."""
    try:
        return len(values)
    except TypeError:
        return 0


def _regrouped(parts: Iterable[Batch], size: int) -> Iterator[Batch]:
    """Batches of one size, however large the parts are."""
    held, total = [], 0
    for part in parts:
        held.append(part)
        total += len(part)
        if total >= size:
            whole, total = _joined(held), total % size
            full = len(whole) - total
            yield from (_cut(whole, begin, begin + size) for begin in range(0, full, size))
            held = [_cut(whole, full, len(whole))] if total else []
    if held:
        yield _joined(held)


def _joined(parts: list[Batch]) -> Batch:
    if len(parts) == 1:
        return parts[0]
    labels = [label for part in parts for label in part.labels]
    return Batch(torch.cat([part.images for part in parts]), labels, parts[0].first)


def _cut(batch: Batch, begin: int, end: int) -> Batch:
    return Batch(batch.images[begin:end], batch.labels[begin:end], batch.first + begin)


# ---- what is refused


def _check_shape(images: Any, shape: torch.Size | None, whose: str, place: int) -> None:
    if not isinstance(images, Tensor):
        raise DataError(place, _no_tensor(images))
    try:
        check_tensor(images)
    except TypeError as error:
        raise DataError(place, str(error)) from error
    if images.shape[1:] != shape:
        raise DataError(
            place,
            f"images have shape {list(images.shape[1:])}, but {whose} {list(shape)}; give all "
            "images, and convert(input_shape=...), one shape.",
        )


def _no_tensor(image: Any) -> str:
    kind = type(image).__name__
    return (
        f"it is a {kind}, not a tensor; give a Dataset of (image, label), with "
        "transforms.ToTensor() for photographs and torch.from_numpy(array).float() for arrays."
    )


def _class_of(label: Any, classes: int, place: int) -> int:
    """A label as a whole number."""
    shape = list(getattr(label, "shape", ()))
    if shape:
        raise DataError(place, f"its label has shape {shape}; give one number (label.argmax()).")
    value = label.item() if hasattr(label, "item") else label
    if value is None:
        raise DataError(place, "it has no label; give a Dataset of (image, label).")
    if not isinstance(value, int):
        raise DataError(
            place,
            f"its label is {value!r}, but accuracy counts classes, whole numbers; for a regression "
            "give labels of 0 and read the outputs of the result.",
        )
    if not 0 <= value < classes:
        raise DataError(
            place,
            f"its label is {value}; {classes} classes allow 0..{classes - 1}. "
            "Labels counted from 1: subtract 1.",
        )
    return value


def _described(data: Any) -> str:
    """What somebody gave in place of data, and what to give."""
    if isinstance(data, Tensor):
        return (
            f"a tensor {list(data.shape)}, without labels; give Digits(images, labels) or "
            "TensorDataset(images, labels)."
        )
    if isinstance(data, nn.Module):
        return "a network; the network comes first, then the data: simulate(snn, data)."
    kind = type(data).__name__
    if isinstance(data, np.ndarray):
        return "an array; give a tensor, torch.from_numpy(images).float(), with its labels."
    return (
        f"a {kind}; give a Digits, a torch Dataset or a DataLoader of (image, label), as "
        "TensorDataset(images, labels) is."
    )
