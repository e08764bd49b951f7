import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from snnlib import StorageError
from snnlib.storage import load_tensors, save_tensors, write_whole

TENSORS = {"b": torch.arange(6.0).view(2, 3), "a": torch.tensor(7, dtype=torch.int16)}
FACTS = {"reset": "subtract", "accuracy": 0.9871}


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_tensors(path, TENSORS, FACTS)
    return path


def alter(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))


def interrupted(path: Path) -> None:
    path.write_bytes(b"half of the n")
    raise KeyboardInterrupt


def test_tensors_and_facts_come_back_as_they_were(stored):
    tensors, facts = load_tensors(stored)
    assert facts == FACTS
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)


def test_a_tensor_that_is_not_contiguous_is_stored_as_it_looks(tmp_path):
    path = tmp_path / "turned.safetensors"
    save_tensors(path, {"turned": TENSORS["b"].T}, {})
    assert torch.equal(load_tensors(path)[0]["turned"], TENSORS["b"].T)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent.safetensors is missing"):
        load_tensors(tmp_path / "absent.safetensors")


def test_a_file_truncated_anywhere_is_refused(stored):
    content = stored.read_bytes()
    for length in range(len(content)):
        stored.write_bytes(content[:length])
        with pytest.raises(StorageError, match=r"weights.safetensors is truncated"):
            load_tensors(stored)


def test_altered_numbers_are_refused(stored):
    content = bytearray(stored.read_bytes())
    content[-1] ^= 1
    stored.write_bytes(content)
    with pytest.raises(StorageError, match=r"weights.safetensors was altered"):
        load_tensors(stored)


@pytest.mark.parametrize(("old", "new"), [(b"subtract", b"subtrakt"), (b"0.9871", b"0.9971")])
def test_altered_facts_are_refused(stored, old, new):
    alter(stored, old, new)
    with pytest.raises(StorageError, match=r"weights.safetensors was altered"):
        load_tensors(stored)


def test_a_renamed_tensor_is_refused(stored):
    alter(stored, b'"a"', b'"c"')
    with pytest.raises(StorageError, match=r"weights.safetensors was altered"):
        load_tensors(stored)


def test_a_file_with_any_one_bit_altered_is_refused(stored):
    content = stored.read_bytes()
    for place in range(len(content)):
        altered = bytearray(content)
        altered[place] ^= 1
        stored.write_bytes(altered)
        with pytest.raises(StorageError):
            load_tensors(stored)


def test_a_foreign_file_without_checksum_is_refused(tmp_path):
    path = tmp_path / "foreign.safetensors"
    save_file(TENSORS, path)
    with pytest.raises(StorageError, match="carries no checksum"):
        load_tensors(path)


class Trap:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("dump", [pickle.dump, torch.save])
def test_a_pickle_offered_as_weights_runs_no_code(tmp_path, dump):
    path, mark = tmp_path / "weights.safetensors", tmp_path / "code-ran"
    with path.open("wb") as file:
        dump(Trap(mark), file)
    with pytest.raises(StorageError, match="no safetensors file"):
        load_tensors(path)
    assert not mark.exists()


def test_an_interrupted_write_leaves_the_old_file_whole(stored):
    before = stored.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write_whole(stored, interrupted)
    assert stored.read_bytes() == before
    assert list(stored.parent.iterdir()) == [stored]


def test_an_interrupted_first_write_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "new", interrupted)
    assert list(tmp_path.iterdir()) == []


def test_who_reads_the_old_file_meanwhile_reads_it_whole(stored):
    before = stored.read_bytes()
    with stored.open("rb") as reader:
        save_tensors(stored, {"c": torch.ones(2)}, {})
        assert reader.read() == before


def test_a_finished_write_replaces_the_old_file(stored):
    save_tensors(stored, {"c": torch.ones(2)}, {})
    assert load_tensors(stored)[0].keys() == {"c"}
