"""Trained weights that travel with the course."""

import shutil

import pytest
import torch

from snnlib import (
    ConstantEncoder,
    DeepCNN,
    Recipe,
    StorageError,
    convert,
    digit_cnn,
    load_digits,
    load_trained_cnn,
    simulate,
    trained_facts,
)
from snnlib.cnn import shipped
from snnlib.cnn.quantized import restore_relu
from snnlib.cnn.shipped import NETWORKS, QUANTIZED, RECIPES, weights_file
from snnlib.storage import save_tensors


def same_weights(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def assets(tmp_path, monkeypatch):
    """A copy of the shipped weights, in place of them."""
    for name in NETWORKS:
        shutil.copy(weights_file(name), tmp_path)
    monkeypatch.setattr(shipped, "ASSETS", tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_weights_know_how_they_were_made(name):
    facts = trained_facts(name)
    assert Recipe(**facts["recipe"]) == RECIPES[name]
    assert len(facts["history"]["loss"]) == facts["recipe"]["epochs"]


def test_the_shipped_weights_are_loaded_ready_to_predict():
    cnn = load_trained_cnn("mnist")
    assert not cnn.training
    assert not same_weights(cnn.state_dict(), load_trained_cnn("digits").state_dict())


def test_the_deep_network_is_loaded_with_its_batch_norms_settled():
    cnn = load_trained_cnn("deep")
    assert isinstance(cnn, DeepCNN)
    assert not any(module.training for module in cnn.modules())
    assert (cnn.norm.running_var != 1).all()


def test_unknown_weights_are_refused():
    known = "digits, mnist, deep, mnist_qcfs"
    for load in (load_trained_cnn, trained_facts):
        with pytest.raises(ValueError, match=f"no weights named 'letters'; choose one of {known}"):
            load("letters")


def test_weights_can_be_stored_and_loaded_again(assets):
    cnn = digit_cnn(seed=5)
    save_tensors(weights_file("digits"), cnn.state_dict(), {"note": "untrained"})
    assert same_weights(cnn.state_dict(), load_trained_cnn("digits").state_dict())
    assert trained_facts("digits") == {"note": "untrained"}


def test_missing_weights_are_named(assets):
    weights_file("mnist").unlink()
    with pytest.raises(FileNotFoundError, match=r"digit_cnn_mnist.safetensors is missing"):
        load_trained_cnn("mnist")


def test_truncated_weights_are_refused(assets):
    path = weights_file("digits")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StorageError, match=r"digit_cnn_digits.safetensors is truncated"):
        load_trained_cnn("digits")


@pytest.mark.parametrize("name", NETWORKS)
def test_altered_weights_are_refused(assets, name):
    path = weights_file(name)
    content = bytearray(path.read_bytes())
    content[-1000] ^= 64
    path.write_bytes(content)
    with pytest.raises(StorageError, match=rf"digit_cnn_{name}.safetensors was altered"):
        load_trained_cnn(name)


def test_an_altered_accuracy_is_refused(assets):
    path, fact = weights_file("digits"), str(trained_facts("digits")["accuracy_on_5000"]).encode()
    content = path.read_bytes()
    path.write_bytes(content.replace(fact, fact[:-1] + b"9", 1))
    assert path.read_bytes() != content
    with pytest.raises(StorageError, match=r"digit_cnn_digits.safetensors was altered"):
        trained_facts("digits")


def test_fine_tuned_weights_know_how_they_were_made():
    facts, how = trained_facts("mnist_qcfs"), QUANTIZED["mnist_qcfs"]
    assert Recipe(**facts["recipe"]) == how.recipe
    assert (facts["start"], facts["levels"], facts["percentile"]) == (
        how.start,
        how.levels,
        how.percentile,
    )
    assert len(facts["history"]["loss"]) == how.recipe.epochs


def test_fine_tuned_weights_need_one_step():
    relu, scales = restore_relu(load_trained_cnn("mnist_qcfs"))
    digits = load_digits("test", per_class=20)
    snn = convert(relu, thresholds=scales)
    assert simulate(snn, digits, steps=1, encoder=ConstantEncoder()).accuracy[0] >= 0.97
