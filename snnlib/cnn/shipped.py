"""The trained weights that the course ships (chapters 3, 7 and 9)."""

from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import nn

from snnlib.cnn.models import deep_cnn, digit_cnn
from snnlib.cnn.quantized import QuantizedRecipe, quantize_activations
from snnlib.cnn.training import BETTER, History, Recipe
from snnlib.storage import load_tensors

ASSETS = Path(__file__).parent.parent / "assets"
RECIPES = {  # what the shipped weights were trained with
    "digits": replace(BETTER, epochs=60),
    "mnist": replace(BETTER, epochs=30, batch_size=100),
    "deep": replace(BETTER, epochs=15, batch_size=100, dropout=0.0),  # it has an nn.Dropout
}
# What the shipped weights were fine-tuned with.  Chosen among eight (1 to 3 levels, two learning
# rates, 4 to 8 epochs) on 5,000 training images that were held out of the fine-tuning, though not
# of the training before it; differences among those with 2 levels were no larger than chance.
QUANTIZED = {
    "mnist_qcfs": QuantizedRecipe(
        "mnist", 2, 99.0, replace(BETTER, lr=0.02, epochs=4, batch_size=100)
    ),
}


def load_trained_cnn(name: str = "digits") -> nn.Module:
    """A network of the course with shipped weights.

    Parameters
    ----------
    name : str
        "digits": ``digit_cnn()``, trained on the 5,000 images of load_digits("train");
        "mnist": on all 60,000; "deep": ``deep_cnn()``, on all 60,000; "mnist_qcfs": "mnist"
        fine-tuned with QCFS activations, which ``restore_relu`` makes ready for ``convert``.
        ``RECIPES`` and ``QUANTIZED`` hold how, ``trained_facts`` what came of it.

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
        Recipe, seed, history, accuracy; of fine-tuned weights also with what it began.
    """
    return load_tensors(weights_file(name))[1]


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


def weights_file(name: str) -> Path:
    """Where the shipped weights of that name lie.

    Parameters
    ----------
    name : str
        As for ``load_trained_cnn``.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        For another name.
    """
    if name not in NETWORKS:
        raise ValueError(f"no weights named {name!r}; choose one of {', '.join(NETWORKS)}.")
    return ASSETS / f"digit_cnn_{name}.safetensors"


def _quantized_cnn() -> nn.Sequential:
    """``digit_cnn()`` with QCFS activations of any scale."""
    return quantize_activations(
        digit_cnn(), QUANTIZED["mnist_qcfs"].levels, [torch.tensor(1.0)] * 3
    )


NETWORKS = {
    "digits": digit_cnn,
    "mnist": digit_cnn,
    "deep": deep_cnn,
    "mnist_qcfs": _quantized_cnn,
}
