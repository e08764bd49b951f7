"""What the figures of the tests are drawn from."""

import torch

from snnlib import ConstantEncoder, Diagnosis, History
from snnlib.study.diagnosis import LayerDiagnosis, Piece, Suggestion
from snnlib.study.experiments import PIECES, LayerErrors
from snnlib.study.sweep import Sweep, all_cells

NAMES = tuple("0123456789")
IMAGE = torch.rand(1, 28, 28, generator=torch.Generator().manual_seed(0))
SPIKES = torch.tensor([0.0, 0, 1, 0, 1, 1])  # [T]
POTENTIAL = torch.tensor([0.3, 0.6, 0.2, 0.9, 0.4, 0.1])  # [T]
LAYERS = {"conv1": torch.rand(50) * 2, "conv2": torch.rand(40) * 3, "output": torch.rand(10)}
COUNTS = {name: torch.ones(5) for name in ("input", "conv1", "conv2")}  # {layer: [T]}
TIMES = [(1000.0, 3e-6), (2000.0, 4e-6), (3000.0, 5e-6)]  # operations, seconds
PARTS = {
    name: Piece(0.0, 0.1, share) for name, share in zip(PIECES, (0, 0.7, 0.3, 0, 0, 0), strict=True)
}
CONV1 = LayerDiagnosis("conv1", 50, 0.9, 0.5, Piece(0.0, 0.1), PARTS, (), (), (1,), 1.5)
EVIDENCE = Suggestion(99.0, 2, {99.0: {1: 0.5, 2: 0.9, 4: 0.9}, 100.0: {1: 0.4, 2: 0.8, 4: 0.9}})
DIAGNOSIS = Diagnosis(
    (CONV1,), 9, 2, ConstantEncoder(), 0.9, "clipping", "scales too small", EVIDENCE
)
RATES = torch.arange(8) / 4  # of 8 neurons in 4 steps, if they could
ERRORS = LayerErrors(
    RATES,
    RATES.clamp(max=1),
    {
        name: (RATES.clamp(max=1) - RATES) * (name == "clipping")
        for name in PIECES  # the only cause
    },
)
SWEEP = Sweep({cell: {1: 0.5 + 0.01 * cell.seed, 8: 0.9} for cell in all_cells(2)}, {})
HISTORY = History((2.0, 1.0, 0.5), (0.7, 0.8, 0.9), (0.65, 0.75, 0.85))
RACE = (
    {
        "many": {"fast": [1.0, 3.0, 1.5], "slow": [20.0]},
        "alone": {"slow": [40.0], "fast": [2.0]},
    },
    {"fast": 0.99, "slow": 0.9},
    {"fast": "ours", "slow": "peer"},
)
