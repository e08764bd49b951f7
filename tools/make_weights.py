"""Train the weights that the course ships, from the recipes in snnlib.

A file is replaced only when its training has finished, so an interrupted run
leaves the old weights whole.
"""

import argparse
from pathlib import Path

from snnlib.cnn.evaluating import evaluate
from snnlib.cnn.quantized import fine_tune, restore_relu
from snnlib.cnn.shipped import (
    ASSETS,
    NETWORKS,
    QUANTIZED,
    RECIPES,
    facts_of,
    load_trained_cnn,
    weights_file,
)
from snnlib.cnn.training import fit
from snnlib.data import load_digits
from snnlib.simulation import simulate
from snnlib.spiking.conversion import convert
from snnlib.spiking.encoding import ConstantEncoder
from snnlib.storage import save_tensors

SEED = 0
IMAGES_PER_CLASS = {"digits": 500, "mnist": None, "deep": None}


def make_weights(name: str, folder: Path) -> None:
    """Train one network and write its weights with what is known of them."""
    cnn, recipe = NETWORKS[name](seed=SEED), RECIPES[name]
    train = load_digits("train", per_class=IMAGES_PER_CLASS[name])
    history = fit(cnn, train, recipe, seed=SEED)
    measured = {
        "accuracy_on_5000": evaluate(cnn, load_digits("test")).accuracy,
        "accuracy_on_10000": evaluate(cnn, load_digits("test", per_class=None)).accuracy,
    }
    facts = facts_of(recipe, SEED, history, **measured)
    save_tensors(folder / weights_file(name).name, cnn.state_dict(), facts)
    print(name, measured)


def make_quantized(name: str, folder: Path) -> None:
    """Fine-tune one network for few steps and write its weights with what is known of them."""
    how = QUANTIZED[name]
    train = load_digits("train", per_class=None)
    cnn, history = fine_tune(load_trained_cnn(how.start), train, how, seed=SEED)
    relu, scales = restore_relu(cnn)
    test, snn = load_digits("test", per_class=None), convert(relu, thresholds=scales)
    accuracy = simulate(snn, test, steps=4, encoder=ConstantEncoder()).accuracy
    measured = {f"accuracy_on_10000_after_{t}": accuracy[t - 1].item() for t in (1, 2, 4)}
    facts = facts_of(how.recipe, SEED, history, **measured)
    facts |= {"start": how.start, "levels": how.levels, "percentile": how.percentile}
    save_tensors(folder / weights_file(name).name, cnn.state_dict(), facts)
    print(name, measured)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=[*RECIPES, *QUANTIZED])
    parser.add_argument("--folder", type=Path, default=ASSETS, help="where the files go")
    options = parser.parse_args()
    for name in options.names:
        make = make_quantized if name in QUANTIZED else make_weights
        make(name, options.folder)
