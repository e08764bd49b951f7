"""A drawing on the lab's pad becomes an image as MNIST has it."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from node import Call, JavaScriptError
from torch import Tensor
from torch.nn import functional as F

from snnlib import SpikingNetwork, load_digits, simulate
from snnlib.export.lab import lab_network
from snnlib.live.exhibit import exhibited_network

PAD = 280
SEVEN = np.array([[0.15, 0.1], [0.85, 0.1], [0.4, 0.95]])  # x, y of its corners, of 1


@pytest.fixture(scope="module")
def chosen():
    """The first 20 test images of each class."""
    return load_digits("test", per_class=20)


@pytest.fixture(scope="module")
def snn() -> SpikingNetwork:
    return exhibited_network()


@pytest.fixture(scope="module")
def predictions(snn, chosen) -> Tensor:
    """[T, N], of the images themselves, in Python."""
    return simulate(snn, chosen, steps=40).predictions


def normalize(node, ink: np.ndarray) -> np.ndarray:
    """[28, 28] of ink [height, width]."""
    height, width = ink.shape
    args = (ink.astype(np.float32), width, height)
    return node.call("drawing", "normalizeDrawing", *args).reshape(28, 28)


def decisions(node, snn, images: list[np.ndarray]) -> Tensor:
    """[T, N], of what the lab sees."""
    network = Call("network", "readNetwork", (lab_network(snn),))
    found = []
    for index, image in enumerate(images):
        pixels = Call("drawing", "pixelsOf", (image.flatten(),))
        options = {"steps": 40, "rate": 0.4, "index": index}
        found.append(node.call("simulation", "simulate", network, pixels, options, key="decisions"))
    return torch.from_numpy(np.stack(found, axis=1))


def line_drawing(corners: np.ndarray, pen: float, size: int = PAD) -> np.ndarray:
    """Ink [size, size] of a round pen so many cells wide that goes from corner to corner."""
    y, x = np.mgrid[:size, :size] + 0.5
    distance = np.full((size, size), np.inf)
    for a, b in pairwise(corners):
        along = ((x - a[0]) * (b - a)[0] + (y - a[1]) * (b - a)[1]) / max(((b - a) ** 2).sum(), 1)
        nearest = a + along.clip(0, 1)[..., None] * (b - a)
        distance = np.minimum(distance, np.hypot(x - nearest[..., 0], y - nearest[..., 1]))
    return (pen / 2 - distance + 0.5).clip(0, 1)


def extent(image: np.ndarray) -> tuple[int, int]:
    """Height and width of what is not 0."""
    rows, columns = image.any(1).nonzero()[0], image.any(0).nonzero()[0]
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def is_centred(image: np.ndarray) -> bool:
    """As the images of MNIST are: the pixel (14, 14) holds the centre of mass."""
    grey = image.astype(float)
    centre = (np.mgrid[:28, :28] * grey).sum((1, 2)) / grey.sum()  # y, x
    return bool(((centre >= 13.5) & (centre < 14.5)).all())


def test_the_images_of_mnist_are_centred(chosen):
    assert all(is_centred(255 * image) for image in chosen.images[:, 0].numpy())


# ---- the images of MNIST come back


def test_enlarged_digits_come_back_as_they_were(node, chosen):
    for image in chosen.images[:, 0].numpy():
        original = (255 * image).round().astype(np.uint8)
        assert (normalize(node, image.repeat(10, 0).repeat(10, 1)) == original).all()


PATHS = {  # from the pixels to the pad; bilinear blurs as a pen does
    "nearest": lambda images: F.interpolate(images, scale_factor=10),
    "bilinear": lambda images: F.interpolate(images, scale_factor=10, mode="bilinear"),
    "small, in a corner": lambda images: F.pad(
        F.interpolate(images, scale_factor=5, mode="bilinear"), (0, 140, 140, 0)
    ),
    "large, black and white": lambda images: (
        F.interpolate(images, scale_factor=14, mode="bilinear")[..., 56:-56, 56:-56] > 0.5
    ).float(),
}


@pytest.mark.parametrize("path", PATHS)
def test_drawn_digits_are_classified_as_well_as_in_python(node, snn, chosen, predictions, path):
    drawings = PATHS[path](chosen.images)[:, 0].numpy()
    assert drawings.shape == (200, PAD, PAD)
    found = decisions(node, snn, [normalize(node, ink) for ink in drawings])
    right, wanted = (x[-1] == chosen.labels for x in (found, predictions))
    assert abs(right.double().mean() - wanted.double().mean()) <= 0.01
    if path == "nearest":  # the same images, so the same decisions after every step
        assert torch.equal(found.long(), predictions)


def test_without_the_normaliser_accuracy_is_lost(node, snn, chosen, predictions):
    """The comparison can fail: a digit in a corner of the pad, only made smaller."""
    drawings = F.pad(chosen.images, (0, 28, 28, 0))
    seen = (255 * F.avg_pool2d(drawings, 2)).byte().numpy()
    right = decisions(node, snn, list(seen))[-1] == chosen.labels
    assert right.double().mean() < (predictions[-1] == chosen.labels).double().mean() - 0.3


# ---- the form of MNIST


@given(
    rows=st.lists(st.lists(st.integers(0, 4), min_size=13, max_size=13), min_size=1, max_size=17),
    top=st.integers(0, 40),
    left=st.integers(0, 40),
)
def test_where_one_draws_does_not_matter(node, rows, top, left):
    ink = np.array(rows) / 4
    height, width = ink.shape
    first, moved = np.zeros((2, 60, 60))
    first[:height, :width] = ink
    moved[top : top + height, left : left + width] = ink
    image = normalize(node, first)
    assert (image == normalize(node, moved)).all()
    if image.any():
        assert max(extent(image)) <= 20
        assert is_centred(image)


@pytest.mark.parametrize(("height", "width"), [(203, 77), (61, 140), (97, 97), (200, 1)])
def test_grey_is_the_exact_average_of_the_ink(node, height, width):
    ink = np.random.default_rng(0).random((height, width)).astype(np.float32)
    pad = np.zeros((240, 150))
    pad[10 : 10 + height, 5 : 5 + width] = ink
    longest = max(height, width)
    fine = ink.repeat(20, 0).repeat(20, 1)  # a pixel is `longest` of these a side
    fine = np.pad(fine, [(0, -n % longest) for n in fine.shape])
    rows, columns = fine.shape[0] // longest, fine.shape[1] // longest
    averages = fine.reshape(rows, longest, columns, longest).mean((1, 3))
    image = normalize(node, pad)
    y, x = (image.any(axis).nonzero()[0][0] for axis in (1, 0))
    found = image[y : y + rows, x : x + columns]
    assert abs(found - 255 * averages).max() <= 0.5 + 1e-3
    assert image.sum() == found.sum()


@pytest.mark.parametrize("size", [70, 100, 140, 180, 230])
def test_how_large_one_draws_hardly_matters(node, size):
    """With a pen that is as much larger."""
    usual = normalize(node, line_drawing(40 + 200 * SEVEN, 20)).astype(int)
    image = normalize(node, line_drawing(25 + size * SEVEN, size / 10)).astype(int)
    assert extent(image)[0] == 20
    assert abs(image - usual).mean() < 3  # of 255
    assert abs(normalize(node, line_drawing(40 + 200 * SEVEN[:2], 20)) - usual).mean() > 20


@pytest.mark.parametrize("pen", [12, 16, 20, 28, 36])
def test_a_seven_is_a_seven_with_any_pen(node, snn, pen):
    image = normalize(node, line_drawing(50 + 180 * SEVEN, pen))
    assert max(extent(image)) == 20
    assert is_centred(image)
    assert decisions(node, snn, [image])[-1] == 7


def test_a_wider_pen_gives_more_ink(node):
    ink = [normalize(node, line_drawing(50 + 180 * SEVEN, p)).sum() for p in (8, 12, 20, 28, 36)]
    assert ink == sorted(ink)
    assert ink[-1] > 2 * ink[0]


# ---- little ink, and much


@pytest.mark.parametrize("level", [0, 0.0019])
def test_an_empty_drawing_is_empty(node, level):
    assert not normalize(node, np.full((PAD, PAD), level)).any()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 300), (300, 1), (28, 28), (97, 281)])
def test_pads_of_any_size_work(node, height, width):
    assert not normalize(node, np.zeros((height, width))).any()
    image = normalize(node, np.ones((height, width)))
    assert image.max() == 255 or min(height, width) == 1
    assert max(extent(image)) == 20


@pytest.mark.parametrize("place", [(0, 0), (140, 140), (279, 0), (279, 279)])
def test_one_cell_is_one_faint_pixel_at_most(node, place):
    ink = np.zeros((PAD, PAD))
    ink[place] = 1
    image = normalize(node, ink)
    assert image.astype(bool).sum() == 1
    assert image[14, 14] == round(255 * (3 / 10) ** 2)
    assert not normalize(node, ink * 0.005).any()  # too little for a grey of 1


def test_a_dot_stays_a_dot(node):
    dot = normalize(node, line_drawing(np.array([[60.0, 200.0]] * 2), 22))
    assert max(extent(dot)) <= 8  # 2.2 pixels on the pad, enlarged three times
    assert dot[14, 14] == 255


@pytest.mark.parametrize("angle", [0, 45, 90])
def test_a_line_is_20_pixels_long(node, angle):
    along = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
    line = normalize(node, line_drawing(np.array([[20.0, 20], 20 + 220 * along]), 20))
    assert max(extent(line)) == 20
    if angle != 45:
        assert min(extent(line)) <= 3
    assert is_centred(line)


def test_a_heavy_corner_keeps_the_digit_inside(node):
    """Its centre of mass would push the other end out of the frame."""
    ink = np.zeros((PAD, PAD))
    ink[50:90, 40:80], ink[60:64, 40:240] = 1, 0.02
    image = normalize(node, ink)
    assert extent(image)[1] == 20
    assert image.any(0).nonzero()[0][-1] == 27


# ---- refusals


@pytest.mark.parametrize(("width", "height"), [(5, 5), (0, 0), (6, 4.5), (-5, -5)])
def test_another_number_of_values_is_refused(node, width, height):
    with pytest.raises(JavaScriptError, match=r"^RangeError: ink has 24 values; give"):
        node.call("drawing", "normalizeDrawing", np.zeros(24, np.float32), width, height)


@pytest.mark.parametrize("value", [-0.01, 1.01, np.nan, np.inf])
def test_values_that_are_no_ink_are_refused(node, value):
    with pytest.raises(JavaScriptError, match=r"^RangeError: ink has a value outside \[0, 1\]"):
        normalize(node, np.full((5, 5), value))
