"""NIR graphs, as files and as other programs may write them."""

import numpy as np
import pytest

nir = pytest.importorskip("nir", reason="nir is missing: pip install nir h5py")


def through_file(graph, folder):
    nir.write(folder / "network.nir", graph)
    return nir.read(folder / "network.nir")


def foreign(threshold=1.0, reset=0.0, r=1.0, pool=None, weight=None, end=None):
    """Input, maybe a pool, Conv2d, IF, Flatten, Affine, as another program may write them."""
    rng = np.random.default_rng(0)
    size = 6 if pool is None else 3
    shape = (3, size - 1, size - 1)
    full = np.ones(shape, np.float32)
    weight = rng.normal(size=(3, 1, 2, 2)).astype(np.float32) if weight is None else weight
    nodes = [
        nir.Input(np.array([1, 6, 6])),
        *([pool] if pool is not None else []),
        nir.Conv2d((size, size), weight, 1, 0, 1, 1, rng.normal(size=3).astype(np.float32) / 4),
        nir.IF(r * full, threshold * full, reset * full),
        nir.Flatten(np.array(shape), 0, -1),
        nir.Linear(rng.normal(size=(4, int(np.prod(shape)))).astype(np.float32)),
        *([end] if end is not None else []),
        nir.Output(np.array([4])),
    ]
    return nir.NIRGraph.from_list(nodes)
