"""Data as people have them, a batch at a time, or a sentence that says which image is wrong."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from nets import fill_randomly, linear, random_images, tiny_cnn
from sameness import same_result, three_classes
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from snnlib import (
    ConstantEncoder,
    DataError,
    Digits,
    PoissonEncoder,
    SignedEncoder,
    activation_scales,
    convert,
    diagnose,
    digit_cnn,
    evaluate,
    record,
    simulate,
)
from snnlib.reading import batches, count, image_batches

SHAPE = (1, 6, 6)
IMAGES = random_images(0, 23, SHAPE)
LABELS = torch.arange(23) % 3
DIGITS = three_classes(IMAGES)


class Items(Dataset):
    """Items of any kind, one of them spoiled."""

    def __init__(self, items, at=None, spoiled=None):
        self.items, self.at, self.spoiled = list(items), at, spoiled

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        if i == self.at:
            if isinstance(self.spoiled, Exception):
                raise self.spoiled
            return self.spoiled
        return self.items[i]


class Stream(IterableDataset):
    def __iter__(self):
        yield from zip(IMAGES, LABELS.tolist(), strict=True)


PAIRS = list(zip(IMAGES, LABELS.tolist(), strict=True))
ALIKE = {
    "tensors": TensorDataset(IMAGES, LABELS),
    "small labels": TensorDataset(IMAGES, LABELS.to(torch.uint8)),
    "items": Items(PAIRS),
    "numpy labels": Items((image, np.int32(label)) for image, label in PAIRS),
    "more than a pair": TensorDataset(IMAGES, LABELS, LABELS),
    "stream": Stream(),
    "loader": DataLoader(TensorDataset(IMAGES, LABELS)),
    "large batches": DataLoader(Items(PAIRS), batch_size=20),
    "loader of a stream": DataLoader(Stream(), batch_size=4),
}


@pytest.fixture
def small():
    return convert(tiny_cnn(), input_shape=SHAPE)


# ---- all of them give the same


@pytest.mark.parametrize("kind", ALIKE)
@pytest.mark.parametrize("size", [1, 5, 23, 100])
def test_batches_have_the_size_that_is_asked_for_whatever_the_data(kind, size):
    found = list(batches(ALIKE[kind], size, 3))
    assert [len(batch) for batch in found] == [
        *[size] * (23 // size),
        *[23 % size] * (23 % size > 0),
    ]
    assert torch.equal(torch.cat([batch.images for batch in found]), IMAGES)
    assert torch.equal(torch.cat([batch.labels for batch in found]), LABELS)
    assert torch.equal(torch.cat([batch.places for batch in found]), torch.arange(23))


@pytest.mark.parametrize("kind", ALIKE)
def test_everything_that_takes_data_gives_the_same_for_all_kinds(small, kind):
    cnn, data = tiny_cnn(), ALIKE[kind]
    options = {"steps": 6, "batch_size": 9}
    assert same_result(simulate(small, data, **options), simulate(small, DIGITS, **options))
    assert torch.equal(evaluate(cnn, data).confusion, evaluate(cnn, DIGITS).confusion)
    scales = activation_scales(cnn, data, percentile=99)
    assert scales == activation_scales(cnn, IMAGES, percentile=99)
    found = [diagnose(cnn, small, x, 3, percentiles=(99.0,)) for x in (data, IMAGES)]
    assert str(found[0]) == str(found[1])


def test_a_shuffled_loader_is_diagnosed_against_what_the_cnn_says_of_each_image(small):
    loader = DataLoader(TensorDataset(IMAGES, LABELS), batch_size=5, shuffle=True)
    found = diagnose(tiny_cnn(), small, loader, 3, percentiles=(100.0,))
    plain = diagnose(tiny_cnn(), small, IMAGES, 3, percentiles=(100.0,))
    assert found.suggestion.evidence == plain.suggestion.evidence


def test_how_many_images_there_are_is_known_or_not():
    known = {kind: count(data) for kind, data in ALIKE.items()}
    assert known.pop("stream") is None
    assert known.pop("loader of a stream") is None
    assert set(known.values()) == {23}
    assert count(DIGITS) == 23


def test_progress_of_a_stream_has_no_end(small, capsys):
    simulate(small, Stream(), steps=2, progress=True)
    assert "46" in capsys.readouterr().err


@pytest.mark.parametrize("shape", [(20,), (2, 10), (2, 1, 10), (3, 2, 2)])
@pytest.mark.parametrize("encoder", [PoissonEncoder(0.6), ConstantEncoder(), SignedEncoder()])
def test_images_of_any_shape_can_be_shown(shape, encoder):
    features = torch.Size(shape).numel()
    cnn = nn.Sequential(nn.Flatten(), linear(features, 8), nn.ReLU(), linear(8, 3))
    snn = convert(fill_randomly(cnn, 0, 1.0), input_shape=shape)
    data = TensorDataset(torch.rand(9, *shape), torch.zeros(9, dtype=torch.int64))
    options = {"steps": 12, "encoder": encoder}
    clock = simulate(snn, data, engine="clock", **options)
    event = simulate(snn, data, engine="event", **options)
    assert same_result(clock, event)
    assert torch.equal(clock.outputs, event.outputs)
    recorded = record(snn, data[4][0], index=4, **options)
    assert torch.equal(recorded.decisions, clock.predictions[:, 4])
    assert len(activation_scales(cnn, data)) == 2
    assert evaluate(cnn, data).confusion.sum() == 9


# ---- what is wrong, and where


NAN = IMAGES[0].clone()
NAN[0, 2, 2] = torch.nan
SPOILED = {
    "shape": ((torch.ones(1, 7, 7), 0), r"images have shape \[1, 7, 7\], but"),
    "dtype": ((IMAGES[0].double(), 0), "images are torch.float64; give a float32 tensor"),
    "bytes": ((torch.ones(SHAPE, dtype=torch.uint8), 0), "8-bit pixels: divide by 255"),
    "NaN": ((NAN, 0), "images contain NaN; replace or drop"),
    "infinite": ((NAN.nan_to_num(torch.inf), 0), "infinite"),
    "array": ((IMAGES[0].numpy(), 0), r"it is a ndarray, not a tensor; .*torch.from_numpy"),
    "dict": ({"image": IMAGES[0]}, r"it is a dict, not a tensor; give a Dataset of \(image, label"),
    "none": (None, "it is a NoneType, not a tensor"),
    "no label": (IMAGES[0], r"it has no label; give a Dataset of \(image, label\)"),
    "class": ((IMAGES[0], 3), r"its label is 3; 3 classes allow 0..2. .*subtract 1"),
    "negative": ((IMAGES[0], -1), "its label is -1; 3 classes"),
    "float": ((IMAGES[0], 0.5), "its label is 0.5, but accuracy counts classes.*outputs of the"),
    "one-hot": ((IMAGES[0], torch.eye(3)[1]), r"label has shape \[3\]; give one number"),
    "word": ((IMAGES[0], "two"), "its label is 'two', but accuracy counts classes"),
    "failure": (OSError("disk is full"), r"it could not be read \(OSError: disk is full\)"),
    "index": (IndexError("17"), r"it could not be read \(IndexError: 17\)"),
}


@pytest.mark.parametrize("fault", SPOILED)
@pytest.mark.parametrize("engine", ["clock", "event"])
def test_the_place_is_named_what_was_done_is_told_and_the_network_is_at_rest(small, fault, engine):
    spoiled, message = SPOILED[fault]
    data = Items(PAIRS, at=17, spoiled=spoiled)
    with pytest.raises(DataError, match=rf"^image 17: .*{message}") as caught:
        simulate(small, data, steps=4, batch_size=5, engine=engine)
    assert "15 images were simulated before; error.result tells of them" in str(caught.value)
    expected = simulate(small, DIGITS[:15], steps=4, engine=engine)
    assert same_result(caught.value.result, expected)
    assert torch.equal(caught.value.result.outputs, expected.outputs)
    assert all(layer.v is None for layer in small.layers)
    again = simulate(small, Items(PAIRS), steps=4, engine=engine)
    assert same_result(again, simulate(small, DIGITS, steps=4, engine=engine))


@pytest.mark.parametrize("fault", SPOILED)
def test_evaluation_names_the_place_too(fault):
    spoiled, message = SPOILED[fault]
    with pytest.raises(DataError, match=rf"^image 17: .*{message}") as caught:
        evaluate(tiny_cnn(), Items(PAIRS, at=17, spoiled=spoiled))
    assert caught.value.place == 17


LABELLED = ("no label", "class", "negative", "float", "one-hot", "word")


@pytest.mark.parametrize("fault", SPOILED)
def test_scales_and_a_diagnosis_need_no_labels(small, fault):
    spoiled, message = SPOILED[fault]
    data = Items(PAIRS, at=17, spoiled=spoiled)
    calls = [
        lambda: activation_scales(tiny_cnn(), data),
        lambda: diagnose(tiny_cnn(), small, data, 2, percentiles=()),
    ]
    for call in calls:
        if fault in LABELLED:
            call()
        else:
            with pytest.raises(DataError, match=rf"^image 17: .*{message}"):
                call()


@pytest.mark.parametrize("fault", ["NaN", "class", "float", "failure"])
def test_a_loader_s_fault_is_told_by_the_image_or_the_batch(small, fault):
    spoiled, _ = SPOILED[fault]
    loader = DataLoader(Items(PAIRS, at=17, spoiled=spoiled), batch_size=4)
    with pytest.raises(DataError) as caught:
        simulate(small, loader, steps=2, batch_size=3)
    assert caught.value.place == (16 if fault in ("failure", "float") else 17)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (IMAGES, TypeError, r"data is a tensor \[23, 1, 6, 6\], without labels; give Digits"),
        (IMAGES.numpy(), TypeError, r"data is an array; give a tensor, torch.from_numpy"),
        (PAIRS, TypeError, r"data is a list; give a Digits, a torch Dataset or a DataLoader"),
        ((IMAGES, LABELS), TypeError, "data is a tuple; give a Digits"),
        ("mnist", TypeError, "data is a str"),
        (None, TypeError, "data is a NoneType"),
        (digit_cnn(), TypeError, r"data is a network; the network comes first"),
        (TensorDataset(IMAGES[:0], LABELS[:0]), DataError, "images are empty"),
        (DataLoader(TensorDataset(IMAGES)), DataError, "not one label for each image"),
        (DataLoader(Items(PAIRS), batch_size=None), DataError, "images have shape"),
        (Digits(IMAGES, LABELS), ValueError, "3 outputs for 10 classes"),
    ],
)
def test_wrong_objects_get_a_sentence(small, data, error, message):
    with pytest.raises(error, match=message):
        simulate(small, data)


def test_the_fixes_of_wrong_objects_work(small):
    for data in (
        TensorDataset(IMAGES, LABELS),
        TensorDataset(torch.from_numpy(IMAGES.numpy()).float(), LABELS),
        DataLoader(PAIRS, batch_size=5),
        TensorDataset(IMAGES, torch.zeros(23, dtype=torch.int64)),
    ):
        assert len(simulate(small, data, steps=2).labels) == 23


def test_case_11_no_call_ends_in_words_of_torch(small, digits):
    with pytest.raises(TypeError, match=r"over time steps, not at once; use simulate\(snn, data\)"):
        small(IMAGES)
    with pytest.raises(TypeError, match=r"class_names is 10; .*tuple\(map\(str, range\(10\)\)\)"):
        Digits(digits.images, digits.labels, 10)
    Digits(digits.images, digits.labels, tuple(map(str, range(10))))
    with pytest.raises(TypeError, match=r"snn is a Sequential; .*convert\(cnn\) makes one"):
        simulate(tiny_cnn(), DIGITS)
    with pytest.raises(TypeError, match=r"image is a Digits; give one image: digits.images\[0\]"):
        record(small, DIGITS)


def test_a_dataset_without_a_length_gets_a_sentence(small):
    class Endless(Dataset):
        def __getitem__(self, i):
            return PAIRS[0]

    with pytest.raises(TypeError, match="length of Endless is not known; give it __len__"):
        simulate(small, Endless())


def test_images_that_can_be_read_only_once_are_not_diagnosed(small):
    with pytest.raises(ValueError, match="only once; give a list of batches or a DataLoader"):
        diagnose(tiny_cnn(), small, iter(IMAGES.split(4)), 2)
    diagnose(tiny_cnn(), small, list(IMAGES.split(4)), 2, percentiles=())


def test_case_08_normalised_images_have_a_way_in(small):
    normalised = (IMAGES - 0.5) / 0.25
    with pytest.raises(ValueError, match=r"Normalised images.*TensorDataset.*SignedEncoder\(\)"):
        Digits(normalised, LABELS)
    data = TensorDataset(normalised, LABELS)
    with pytest.raises(DataError, match=r"^image 0: pixels span .*SignedEncoder\(\)"):
        simulate(small, data)
    scales = activation_scales(tiny_cnn(), data)
    snn = convert(tiny_cnn(), thresholds=scales, input_shape=SHAPE)
    result = simulate(snn, data, steps=200, encoder=SignedEncoder())
    expected = tiny_cnn()(normalised).double()
    assert (result.outputs - expected).abs().max() < 0.02 * expected.abs().max()
    found = diagnose(tiny_cnn(), snn, data, 64, encoder=SignedEncoder(), percentiles=(100.0,))
    assert found.agreement > 0.9


# ---- memory


PEAK = """
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from snnlib import activation_scales, convert, diagnose, evaluate, simulate

def peak():  # [MiB] of this process alone; ru_maxrss would include its parent's
    status = open("/proc/self/status").read()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024

class Made(Dataset):
    def __init__(self, count):
        self.count = count
    def __len__(self):
        return self.count
    def __getitem__(self, i):
        return torch.full((1, 28, 28), i % 256 / 255), i % 2

torch.set_num_threads(1)
torch.manual_seed(0)
cnn = nn.Sequential(nn.Conv2d(1, 1, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(49, 2)).eval()
nn.init.constant_(cnn[0].weight, 0.1)
snn = convert(cnn)

def everything(count):
    loader = DataLoader(Made(count), batch_size=500)
    assert len(simulate(snn, loader, steps=2).labels) == count
    evaluate(cnn, loader)
    activation_scales(cnn, loader)

everything(2000)
before = peak()
everything(100_000)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_does_not_grow_with_the_number_of_images():
    command = [sys.executable, "-c", PEAK]
    growth = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert float(growth) < 40  # 100,000 images are 300 MiB; what is said of them, 8


def test_no_more_than_a_batch_is_held():
    held, most = [], 0

    class Watched(Dataset):
        def __len__(self):
            return 40

        def __getitem__(self, i):
            held.append(i)
            return IMAGES[i % 23], 0

    for batch in batches(Watched(), 8, 3):
        most = max(most, len(held) - batch.first)
    assert most == 8
    assert len(list(image_batches(Watched(), 8))) == 5
