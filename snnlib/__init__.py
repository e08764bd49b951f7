"""snnlib: from a convolutional network to a spiking one, one idea a module.

    digits --fit--> CNN --activation_scales, normalize_weights--> balanced CNN
           --convert--> SpikingNetwork --simulate--> SimulationResult

The chapters of the course derive each module; its docstring names the chapter.
"""

from snnlib.cnn.balancing import (
    activation_scales,
    fold_batch_norm,
    normalize_weights,
    weight_scales,
)
from snnlib.cnn.constraints import check_constraints
from snnlib.cnn.evaluating import Evaluation, evaluate
from snnlib.cnn.models import DeepCNN, ResidualBlock, deep_cnn, digit_cnn
from snnlib.cnn.shipped import load_trained_cnn, trained_facts
from snnlib.cnn.training import History, Recipe, fit
from snnlib.data import Digits, load_digits
from snnlib.reading import DataError
from snnlib.recording import Recording, record
from snnlib.simulation import SimulationResult, StepReport, simulate
from snnlib.spiking.conversion import ConversionError, convert
from snnlib.spiking.encoding import ConstantEncoder, PoissonEncoder, SignedEncoder
from snnlib.spiking.layer import SpikingLayer
from snnlib.spiking.network import SpikingNetwork
from snnlib.spiking.neurons import IFNeuron, Integrator, MaxPooling, if_step
from snnlib.spiking.report import ConversionReport, LayerReport, conversion_report
from snnlib.storage import StorageError
from snnlib.study.diagnosis import Diagnosis, diagnose
from snnlib.study.early_exit import (
    ExitCurve,
    MarginStop,
    calibrate_stop,
    exit_curve,
    stopping_steps,
)
from snnlib.study.energy import (
    ARITHMETIC,
    Arithmetic,
    Cost,
    break_even_rate,
    cnn_cost,
    mean_rate,
    snn_cost,
)

__version__ = "0.1.0"

__all__ = [
    "ARITHMETIC",
    "Arithmetic",
    "ConstantEncoder",
    "ConversionError",
    "ConversionReport",
    "Cost",
    "DataError",
    "DeepCNN",
    "Diagnosis",
    "Digits",
    "Evaluation",
    "ExitCurve",
    "History",
    "IFNeuron",
    "Integrator",
    "LayerReport",
    "MarginStop",
    "MaxPooling",
    "PoissonEncoder",
    "Recipe",
    "Recording",
    "ResidualBlock",
    "SignedEncoder",
    "SimulationResult",
    "SpikingLayer",
    "SpikingNetwork",
    "StepReport",
    "StorageError",
    "activation_scales",
    "break_even_rate",
    "calibrate_stop",
    "check_constraints",
    "cnn_cost",
    "conversion_report",
    "convert",
    "deep_cnn",
    "diagnose",
    "digit_cnn",
    "evaluate",
    "exit_curve",
    "fit",
    "fold_batch_norm",
    "if_step",
    "load_digits",
    "load_trained_cnn",
    "mean_rate",
    "normalize_weights",
    "record",
    "simulate",
    "snn_cost",
    "stopping_steps",
    "trained_facts",
    "weight_scales",
]
