"""Write the golden vectors of the lab's simulator: networks, images, and what Python finds.

Python and JavaScript are also compared with each other as the tests run; these vectors keep
both from drifting together.  Write them anew only when the spikes are meant to change.

Nothing in them depends on the machine: weights come from the shipped file with scales
stated here, or are whole numbers drawn at random, so that no rounding can differ.
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from snnlib import (
    PoissonEncoder,
    SpikingNetwork,
    convert,
    load_digits,
    load_trained_cnn,
    normalize_weights,
    record,
)
from snnlib.export.lab import at_threshold

GOLDEN = Path(__file__).parent.parent / "tests" / "live" / "golden.json"
SCALES = (4.625, 5.0625, 26.375)  # near those of 99.9 % of the activations
SHAPES = {"trained": (1, 28, 28), "plain": (1, 6, 6), "odd": (2, 9, 7)}
RUN = {"steps": 40, "rate": 0.4, "seed": 0, "index": 0, "threshold": 1.0}
ZERO = {"reset": "zero", "initial_potential": 0.0}
COUNTED = {"readout": "spikes"}
POOLS = {"pooling": "spiking"}

CASES = [  # network, its seed, options of convert, image, options of the run
    ("trained", 0, {}, 0, {}),
    ("trained", 0, {}, 11, {"rate": 1.0, "seed": 1}),
    ("trained", 0, {}, 22, {"rate": 0.1, "threshold": 0.5, "index": 9999}),
    ("trained", 0, {}, 33, {"threshold": 2.5, "rate": 0.9, "steps": 80}),
    ("trained", 0, COUNTED, 44, {"seed": 2**32 - 1}),
    ("trained", 0, ZERO, 55, {}),
    ("trained", 0, ZERO | COUNTED, 66, {"threshold": 0.7, "rate": 0.6}),
    ("trained", 0, POOLS, 77, {}),
    ("trained", 0, POOLS | ZERO | COUNTED, 88, {"rate": 1.0}),
    ("trained", 0, POOLS | COUNTED, 99, {"threshold": 1.2345678, "seed": 5}),
    ("plain", 0, {}, 0, {}),
    ("plain", 1, ZERO, 1, {"rate": 0.9}),
    ("plain", 2, COUNTED, 2, {"threshold": 0.6}),
    ("plain", 3, ZERO | COUNTED, 3, {"rate": 1.0, "threshold": 1.4}),
    ("plain", 4, POOLS, 4, {"seed": 123456789, "steps": 100}),
    ("plain", 5, POOLS | ZERO | COUNTED, 5, {"rate": 0.7}),
    ("odd", 0, {}, 0, {}),
    ("odd", 1, ZERO, 1, {"rate": 0.8, "index": 2**31 - 1}),
    ("odd", 2, COUNTED, 2, {"threshold": 0.77}),
    ("odd", 3, ZERO | COUNTED, 3, {"rate": 1.0, "threshold": 2.0}),
    ("odd", 4, POOLS, 4, {"rate": 0.25}),
    ("odd", 5, POOLS | ZERO | COUNTED, 5, {"seed": 7, "steps": 100}),
    ("odd", 6, {"initial_potential": 0.3}, 6, {"threshold": 1.1, "rate": 1.0}),
]


def make_vectors() -> list[dict]:
    """All vectors, as Python finds them now."""
    vectors = []
    for name, seed, options, image, run in CASES:
        facts = {"network": name, "seed": seed, "convert": options, "image": image}
        vector = facts | {"run": RUN | run}
        expected = measure(make_network(vector), make_image(vector), vector["run"])
        vectors.append(vector | {"expected": expected})
    return vectors


def make_network(vector: dict) -> SpikingNetwork:
    """The network of a vector, at threshold factor 1."""
    name = vector["network"]
    if name == "trained":
        scales = [torch.tensor(scale) for scale in SCALES]
        cnn = normalize_weights(load_trained_cnn("mnist"), scales)
    else:
        cnn = _random_cnn(name, vector["seed"])
    return convert(cnn, input_shape=SHAPES[name], **vector["convert"])


def _random_cnn(name: str, seed: int) -> nn.Sequential:
    """Weights are multiples of 1/64, a little above zero on average."""
    cnn = nn.Sequential(*(_plain() if name == "plain" else _odd())).eval()
    generator = np.random.default_rng(seed)
    for weight in cnn.parameters():
        units = generator.integers(-48, 64, tuple(weight.shape))
        weight.data = torch.from_numpy(units / 64).float()
    return cnn


def _plain() -> list[nn.Module]:
    conv = [nn.Conv2d(1, 4, 3, bias=False), nn.ReLU(), nn.AvgPool2d(2)]
    return [*conv, nn.Conv2d(4, 4, 2, bias=False), nn.ReLU(), nn.Flatten(), _linear(4, 3)]


def _odd() -> list[nn.Module]:
    """Groups, strides, padding, dilation and pools that overlap."""
    conv = nn.Conv2d(2, 6, (3, 2), stride=(1, 2), padding=1, groups=2, bias=False)
    wide = nn.Conv2d(6, 5, 2, dilation=2, padding=1, bias=False)
    layers = [conv, nn.ReLU(), nn.AvgPool2d(3, 2, padding=1), wide, nn.ReLU(), nn.Flatten()]
    return [*layers, _linear(50, 6), nn.ReLU(), _linear(6, 4)]


def _linear(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=False)


def make_image(vector: dict) -> Tensor:
    """[C, H, W]: a test image, or pixels at random."""
    if vector["network"] == "trained":
        return load_digits("test", per_class=10).images[vector["image"]]
    generator, shape = np.random.default_rng(vector["image"]), SHAPES[vector["network"]]
    grey = generator.integers(0, 256, shape).astype(np.float32)
    return torch.from_numpy(grey) / 255


def measure(snn: SpikingNetwork, image: Tensor, run: dict) -> dict:
    """What Python's ``record`` finds, in few words."""
    snn = at_threshold(snn, run["threshold"])
    encoder = PoissonEncoder(run["rate"], run["seed"])
    found = record(snn, image, steps=run["steps"], encoder=encoder, index=run["index"])
    spikes, last = {"input": found.input, **found.spikes}, snn.layers[-1].name
    counts = spikes[last].sum(0) if last in spikes else torch.zeros(len(snn.layers[-1].weight))
    return summary(spikes, counts, found.potentials[last], found.decisions)


def summary(
    spikes: dict[str, Tensor], counts: Tensor, potentials: Tensor, decisions: Tensor
) -> dict:
    """Of spikes [T, ...] by layer, output counts [classes], and of the output after each step
    potentials [T, classes] in float64 and decisions [T]."""
    return {
        "spikes": {name: int(rows.sum()) for name, rows in spikes.items()},
        "digests": {name: digest(rows.to(torch.uint8)) for name, rows in spikes.items()},
        "counts": counts.int().tolist(),
        "potentials": potentials[-1].numpy().astype("<f8").tobytes().hex(),
        "potentials_digest": digest(potentials),
        "decisions": decisions.tolist(),
    }


def digest(rows: Tensor) -> str:
    """SHA-256 of the numbers, little-endian."""
    values = rows.contiguous().numpy()
    return hashlib.sha256(values.astype(values.dtype.newbyteorder("<")).tobytes()).hexdigest()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--path", type=Path, default=GOLDEN, help="the file to write")
    path = parser.parse_args().path
    lines = [json.dumps(vector, separators=(",", ":")) for vector in make_vectors()]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(f"{len(lines)} vectors in {path}")
