import shutil

import numpy as np
import pytest
import torch

from snnlib import Digits, load_digits
from snnlib.data import MNIST_FILE

IMAGES, LABELS = torch.full((4, 1, 28, 28), 0.5), torch.tensor([0, 1, 2, 9])


def changed(value: float) -> torch.Tensor:
    images = IMAGES.clone()
    images[2, 0, 5, 5] = value
    return images


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_course_uses_500_images_of_each_class(split):
    digits = load_digits(split)
    assert digits.images.shape == (5000, 1, 28, 28)
    assert torch.bincount(digits.labels).tolist() == [500] * 10


@pytest.mark.parametrize(("split", "count"), [("train", 60_000), ("test", 10_000)])
def test_the_whole_split_ships(split, count):
    digits = load_digits(split, per_class=None)
    assert len(digits) == len(digits.labels) == count
    assert digits.class_names == tuple("0123456789")


def test_the_first_of_each_class_come_in_data_set_order():
    whole, few = load_digits("test", per_class=None), load_digits("test", per_class=3)
    seen, chosen = [0] * 10, []
    for place, label in enumerate(whole.labels.tolist()):
        seen[label] += 1
        if seen[label] <= 3:
            chosen.append(place)
    assert torch.equal(few.images, whole.images[chosen])
    assert torch.equal(few.labels, whole.labels[chosen])


def test_pixels_are_bytes_divided_by_255():
    images = load_digits("test", per_class=5).images
    assert images.dtype == torch.float32
    assert images.min() == 0
    assert images.max() == 1
    assert torch.equal(images, (images * 255).round() / 255)


def test_images_and_labels_belong_together():
    with np.load(MNIST_FILE) as arrays:
        pixels, labels = arrays["x_test"][:7], arrays["y_test"][:7]
    first = load_digits("test", per_class=None)[:7]
    assert first.labels.tolist() == labels.tolist() == [7, 2, 1, 0, 4, 1, 4]
    assert np.array_equal((first.images[:, 0] * 255).round().numpy(), pixels)


def test_loading_twice_gives_independent_copies():
    first = load_digits("test", per_class=None)
    first.images.zero_()
    first.labels.zero_()
    again = load_digits("test", per_class=None)
    assert again.images.any()
    assert again.labels.any()


def test_digits_say_how_many_they_are(digits):
    assert str(digits) == "Digits(100 images [1, 28, 28], 10 classes)"


def test_a_slice_or_a_mask_makes_smaller_digits(digits):
    assert len(digits[:7]) == 7
    nines = digits[digits.labels == 9]
    assert nines.labels.tolist() == [9] * 10
    assert nines.class_names == digits.class_names


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (IMAGES[:, 0], ValueError, r"images have shape \[4, 28, 28\].*unsqueeze"),
        (IMAGES[0], ValueError, r"images have shape \[1, 28, 28\]"),
        (IMAGES[:0], ValueError, "images are empty"),
        (IMAGES.double(), TypeError, "images are torch.float64; give a float32"),
        (IMAGES.to(torch.uint8), TypeError, "images are torch.uint8.*divide by 255"),
        (IMAGES.numpy(), TypeError, "images are ndarray"),
        (changed(float("nan")), ValueError, "images contain NaN"),
        (changed(1.01), ValueError, r"pixels span \[0.5, 1.01\]"),
        (changed(-0.01), ValueError, r"pixels span \[-0.01, 0.5\]"),
        (changed(float("inf")), ValueError, r"pixels span \[0.5, inf\]"),
    ],
)
def test_unusable_images_are_refused(images, error, message):
    with pytest.raises(error, match=message):
        Digits(images, LABELS[: len(images)])


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (LABELS[:3], ValueError, r"labels have shape \[3\]; expected \[4\]"),
        (LABELS.view(4, 1), ValueError, r"labels have shape \[4, 1\]"),
        (torch.tensor([0, 1, 2, 10]), ValueError, r"labels span 0..10; 10 classes allow 0..9"),
        (torch.tensor([0, 1, 2, -1]), ValueError, r"labels span -1..2"),
        (LABELS.float(), TypeError, "labels are torch.float32; give an int64"),
        ([0, 1, 2, 9], TypeError, "labels are list"),
    ],
)
def test_unusable_labels_are_refused(labels, error, message):
    with pytest.raises(error, match=message):
        Digits(IMAGES, labels)


def test_an_empty_selection_of_digits_is_refused(digits):
    with pytest.raises(ValueError, match="images are empty"):
        digits[:0]


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match=r"split is 'validation'.*train.*test"):
        load_digits("validation")


@pytest.mark.parametrize("per_class", [0, -1, 893])
def test_more_or_fewer_images_than_a_class_has_are_refused(per_class):
    with pytest.raises(ValueError, match=f"per_class is {per_class}; .*class, 5, has 892"):
        load_digits("test", per_class=per_class)


def test_a_missing_data_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"mnist.npz is missing"):
        load_digits("test", path=tmp_path / "mnist.npz")


def test_a_truncated_data_file_is_refused(tmp_path):
    path = tmp_path / "mnist.npz"
    path.write_bytes(MNIST_FILE.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"mnist.npz is truncated or altered"):
        load_digits("test", path=path)


def test_a_data_file_with_one_bit_altered_is_refused(tmp_path):
    path = tmp_path / "mnist.npz"
    content = bytearray(MNIST_FILE.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"mnist.npz is truncated or altered"):
        load_digits("test", path=path)


def test_an_intact_copy_of_the_data_file_is_read(tmp_path):
    shutil.copy(MNIST_FILE, tmp_path)
    copy = load_digits("test", per_class=2, path=tmp_path / "mnist.npz")
    assert torch.equal(copy.images, load_digits("test", per_class=2).images)
