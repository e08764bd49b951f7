"""Handwritten digits, balanced and checked (chapter 1, *Load the digits*).

All 70,000 images of MNIST (LeCun, Bottou, Bengio and Haffner, 1998) ship inside
the package, so no chapter needs a network.
"""

import hashlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

MNIST_FILE = Path(__file__).parent / "assets" / "mnist.npz"
MNIST_SHA256 = "06af5dfe73b70e3bc1c36439982b18a8d76803db9b544f6fdf838a37fbb01b64"
DIGIT_NAMES = tuple("0123456789")

Span = tuple[float, float]
PIXELS: Span = (0.0, 1.0)  # black and white


@dataclass(frozen=True, eq=False)
class Digits:
    """Images and their labels, validated when made.

    Parameters
    ----------
    images : Tensor [N, C, H, W]
        float32, pixels in [0, 1]; MNIST has C, H, W = 1, 28, 28.
    labels : Tensor [N]
        int64, each an index into ``class_names``.
    class_names : tuple of str
        One name per class.

    Raises
    ------
    TypeError
        For another dtype, or class names that are no names.
    ValueError
        For an empty set, a wrong shape, NaN, a pixel outside [0, 1], or labels of
        another length or class.
    """

    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...] = DIGIT_NAMES

    def __post_init__(self) -> None:
        check_images(self.images)
        _check_names(self.class_names)
        _check_labels(self.labels, len(self.images), len(self.class_names))

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        shape = list(self.images.shape[1:])
        return f"Digits({len(self):,} images {shape}, {len(self.class_names)} classes)"

    def __getitem__(self, index: slice | Tensor) -> "Digits":
        """A smaller Digits: `digits[:100]`, or `digits[mask]`."""
        return Digits(self.images[index], self.labels[index], self.class_names)


def load_digits(
    split: str, *, per_class: int | None = 500, path: str | Path = MNIST_FILE
) -> Digits:
    """The first ``per_class`` images of each class, in the order of the data set.

    The default gives the 5,000 + 5,000 images that the course works with.

    Parameters
    ----------
    split : str
        "train" (60,000 images) or "test" (10,000).
    per_class : int or None
        [images]; None keeps the whole split, which is not exactly balanced.
    path : str or Path
        The file to read; its SHA-256 must be that of the shipped one.

    Returns
    -------
    Digits

    Raises
    ------
    FileNotFoundError
        If the file is missing.
    ValueError
        If the file is altered, the split is unknown, or a class has fewer images.
    """
    if split not in ("train", "test"):
        raise ValueError(f'split is {split!r}; ask for "train" or "test".')
    arrays = _read_mnist(Path(path))
    pixels, labels = arrays[f"x_{split}"], arrays[f"y_{split}"]
    if per_class is not None:
        chosen = _first_of_each_class(labels, per_class)
        pixels, labels = pixels[chosen], labels[chosen]
    images = torch.from_numpy(pixels).unsqueeze(1).float().div_(255)  # [N, 1, 28, 28]
    return Digits(images, torch.from_numpy(labels).long())


def check_images(images: Tensor) -> None:
    """Raise unless ``images`` are images.

    Parameters
    ----------
    images : Tensor
        Must be [N, C, H, W] float32, N > 0, with every pixel in [0, 1].

    Raises
    ------
    TypeError
        For another type or dtype.
    ValueError
        For another shape, no image, NaN, or a pixel outside [0, 1].
    """
    check_tensor(images)
    if images.ndim != 4:
        raise ValueError(
            f"images have shape {list(images.shape)}; expected [N, C, H, W]. "
            "Grey images without a channel axis: use images.unsqueeze(1).  Vectors: simulate "
            "takes a TensorDataset(vectors, labels)."
        )
    check_pixels(images)


def check_pixels(images: Tensor, span: Span = PIXELS) -> None:
    """Raise unless ``images``, of any shape, have pixels that can be shown.

    Parameters
    ----------
    images : Tensor [N, ...]
        Must be float32, N > 0.
    span : tuple of float
        The least and the largest pixel that is allowed.

    Raises
    ------
    TypeError
        For another type or dtype.
    ValueError
        For no image, NaN, or a pixel outside ``span``.
    """
    check_tensor(images)
    if images.numel() == 0:
        raise ValueError(f"images are empty (shape {list(images.shape)}); give at least one image.")
    fault = pixel_fault(images, span)
    if fault:
        raise ValueError(fault)


def check_tensor(images: Tensor) -> None:
    """Raise unless ``images`` are a float32 tensor.

    Parameters
    ----------
    images : Tensor

    Raises
    ------
    TypeError
        For another type or dtype.
    """
    if not isinstance(images, Tensor) or images.dtype != torch.float32:
        kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise TypeError(f"images are {kind}; give a float32 tensor (8-bit pixels: divide by 255).")


def pixel_fault(images: Tensor, span: Span = PIXELS) -> str | None:
    """What is wrong with pixels.

    Parameters
    ----------
    images : Tensor [N, ...]
        float32, N > 0.
    span : tuple of float
        The least and the largest pixel that is allowed.

    Returns
    -------
    str or None
        A sentence with the fix; None if nothing is.
    """
    low, high = (value.item() for value in torch.aminmax(images))
    if math.isnan(low) or math.isnan(high):
        return "images contain NaN; replace or drop those pixels."
    is_finite = math.isfinite(low) and math.isfinite(high)
    if is_finite and span[0] <= low and high <= span[1]:
        return None
    start = f"pixels span [{low:.4g}, {high:.4g}]"
    if not is_finite:
        return f"{start}; replace or drop those that are infinite."
    if span != PIXELS:
        return f"{start}; the encoder takes [{span[0]:.4g}, {span[1]:.4g}]: raise its limit."
    if low >= 0:
        return f"{start}; rates need [0, 1] (8-bit pixels: divide by 255)."
    return (
        f"{start}; rates need [0, 1].  Normalised images: show them as they were, with the "
        "normalisation as first layer of the network; or give simulate a "
        "TensorDataset(images, labels) and a SignedEncoder()."
    )


def _check_names(names: tuple[str, ...]) -> None:
    is_list = isinstance(names, Sequence) and not isinstance(names, str)
    if not is_list or not all(isinstance(name, str) for name in names):
        raise TypeError(
            f"class_names is {names!r}; give one name for each class, for instance "
            "tuple(map(str, range(10)))."
        )


def _check_labels(labels: Tensor, images: int, classes: int) -> None:
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64:
        kind = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise TypeError(f"labels are {kind}; give an int64 tensor (labels.long()).")
    if labels.shape != (images,):
        raise ValueError(f"labels have shape {list(labels.shape)}; expected [{images}], one each.")
    low, high = torch.aminmax(labels)
    if low < 0 or high >= classes:
        raise ValueError(
            f"labels span {low}..{high}; {classes} classes allow 0..{classes - 1}. "
            "Labels counted from 1: subtract 1."
        )


def _first_of_each_class(labels: np.ndarray, per_class: int) -> np.ndarray:
    available = np.bincount(labels)
    if not 1 <= per_class <= available.min():
        raise ValueError(
            f"per_class is {per_class}; the smallest class, {available.argmin()}, has "
            f"{available.min()} images. Choose 1 to {available.min()}, or None for the whole split."
        )
    rank = np.empty(len(labels), int)  # rank of each image within its class
    for digit, count in enumerate(available):
        rank[labels == digit] = np.arange(count)
    return rank < per_class


@lru_cache(maxsize=1)
def _read_mnist(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; restore it from the repository or reinstall.")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != MNIST_SHA256:
        raise ValueError(f"{path} is truncated or altered: its SHA-256 differs; restore the file.")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
