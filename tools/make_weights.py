"""Train the weights that the course ships, from the recipes in snnlib.training.

A file is replaced only when its training has finished, so an interrupted run
leaves the old weights whole.
"""

import argparse
from pathlib import Path

from snnlib.data import load_digits
from snnlib.training import (
    ASSETS,
    NETWORKS,
    RECIPES,
    evaluate,
    facts_of,
    fit,
    save_trained_cnn,
    weights_file,
)

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
    save_trained_cnn(
        folder / weights_file(name).name, cnn, facts_of(recipe, SEED, history, **measured)
    )
    print(name, measured)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(RECIPES), help="digits, mnist, deep")
    parser.add_argument("--folder", type=Path, default=ASSETS, help="where the files go")
    options = parser.parse_args()
    for name in options.names:
        make_weights(name, options.folder)
