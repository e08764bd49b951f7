"""Each figure of the course is drawn once, from small data, with its labels."""

import io

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.text import Text
from small_data import (
    COUNTS,
    DIAGNOSIS,
    ERRORS,
    HISTORY,
    IMAGE,
    LAYERS,
    NAMES,
    POTENTIAL,
    RACE,
    RATES,
    SPIKES,
    SWEEP,
    TIMES,
)

from snnlib import MarginStop, convert, deep_cnn, digit_cnn, exit_curve, plotting
from snnlib.cnn.tracing import trace
from snnlib.export.nir import to_nir


def texts_of(figure) -> str:
    figure.canvas.draw()
    return "\n".join(text.get_text() for text in figure.findobj(Text) if text.get_visible())


DRAWINGS = {  # name: how it is drawn from (result, recording, digits), what must be written on it
    "draw_confusion": (
        lambda result, recording, digits: (result.confusion[-1], NAMES),
        ["decision", "true class", "right | wrong"],
    ),
    "plot_accuracy": (
        lambda result, recording, digits: ({"rate 1.0": result},),
        ["time step", "test accuracy", "rate 1.0"],
    ),
    "plot_activation_histograms": (
        lambda *_: (LAYERS,),
        ["activation", "number of activations", "conv1", "output"],
    ),
    "plot_architecture": (lambda *_: (digit_cnn(), (1, 28, 28)), ["12c5", "64c5", "19,200"]),
    "plot_class_balance": (
        lambda result, recording, digits: (digits, digits[:50]),
        ["class", "share of images", "100 images", "50 images"],
    ),
    "plot_confusion_at": (
        lambda result, recording, digits: (result, NAMES, 3),
        ["after step 3", "decision", "true class"],
    ),
    "plot_confusion_strip": (
        lambda result, recording, digits: (result, NAMES, (1, 6)),
        ["step 1", "step 6", "true class"],
    ),
    "plot_costs": (
        lambda *_: (COUNTS, {name: 900 * counts for name, counts in COUNTS.items()}),
        ["time step", "spikes per image, step", "thousands per image, step", "input", "conv2"],
    ),
    "plot_decision": (
        lambda result, recording, digits: (recording, NAMES, 7),
        ["time step", "output spikes so far", "a 7", "?"],
    ),
    "plot_diagnosis": (
        lambda *_: (DIAGNOSIS,),
        ["conv1: error 0.100", "share of", "clipping", "cause: scales", "99 %", "suggested"],
    ),
    "plot_digits": (lambda *_: (IMAGE.expand(3, 1, 28, 28), ["a", "b", "c"]), ["a", "b", "c"]),
    "plot_energy": (
        lambda *_: ([1, 40], {"spikes": {"int8": [0.1, 2]}}, [0.05, 0.06], {"int8": [2, 0.05]}),
        ["time steps", "energy / one CNN pass", "rate [spikes/step]", "break-even, int8"],
    ),
    "plot_exit": (
        lambda result, *_: ({"test": exit_curve(result)}, result, MarginStop(0.5)),
        ["mean steps", "accuracy", "steps used", "images", "margin 0.50", "steps on average"],
    ),
    "plot_factors": (
        lambda *_: ({1.0: (SPIKES / 2, SPIKES, POTENTIAL), 2.0: (SPIKES, SPIKES, POTENTIAL)},),
        ["time step", "membrane potential [threshold units]", "input for 1.5 spikes, sent 3"],
    ),
    "plot_ladders": (
        lambda *_: ({"sinabs": [("as imported", None), ("start", 0.5), ("no leak", 0.0)]},),
        ["sinabs", "as imported", "does not run", "+ start", "as a share of ours", "none"],
    ),
    "plot_margins": (
        lambda result, recording, digits: (digits, result, (0, 7), MarginStop(0.5)),
        ["time step", "margin\n[threshold units]", "steps used:"],
    ),
    "plot_mean_error": (
        lambda *_: ([1, 4], {"random": [0.4, 0.2], "regular": [0.3, 0.1]}, torch.ones(2) / 3),
        ["time steps T", "error of the mean", "random", "theory"],
    ),
    "plot_mean_images": (lambda *_: (IMAGE, {1: IMAGE, 8: IMAGE}), ["1 step", "8 steps", "image"]),
    "plot_neuron": (
        lambda *_: (torch.stack([SPIKES] * 3, 1), torch.rand(3), POTENTIAL, SPIKES, POTENTIAL),
        ["time step", "membrane potential", "threshold"],
    ),
    "plot_nir_graph": (
        lambda *_: (to_nir(convert(digit_cnn())),),
        ["Input", "SumPool2d", "weights 12 x 1 x 5 x 5", "v > 1, then v = 0", "start 0.5", "grid"],
    ),
    "plot_orders": (
        lambda *_: ({"early": (SPIKES, SPIKES, POTENTIAL), "late": (SPIKES, SPIKES, POTENTIAL)},),
        ["time step", "[threshold units]", "early: 3 spikes", "late", "input", "threshold"],
    ),
    "plot_output_counts": (
        lambda *_: ({"before": torch.arange(10), "after": torch.arange(10)}, 7),
        ["class", "output spikes in 40 steps", "before"],
    ),
    "plot_percentile": (
        lambda result, *_: (LAYERS, [torch.tensor(1.5)] * 3, result, 0.98),
        ["conv1: scale 1.50", "activation", "time step", "test accuracy"],
    ),
    "plot_piece_curves": (
        lambda *_: ({"a": {"clipping": [0.1, 0.1], "error": [0.2, 0.1]}, "b": {}}, [1, 99.9]),
        ["clipping", "error", "99.9", "steps", "RMS"],
    ),
    "plot_pieces": (
        lambda *_: ("conv2", ERRORS),
        ["conv2", "activation / scale", "rate [spikes/step]", "RMS [spikes/step]", "clipping"],
    ),
    "plot_pixel_histogram": (
        lambda result, recording, digits: (digits.images,),
        ["grey level, 0 black to 255 white", "share of pixels"],
    ),
    "plot_pixel_values": (
        lambda *_: (IMAGE, slice(4, 8), slice(6, 10)),
        ["column [pixels]", "row [pixels]", str(round(IMAGE[0, 4, 6].item() * 255))],
    ),
    "plot_pool_counts": (
        lambda *_: (torch.stack([SPIKES, 1 - SPIKES], 1), {"exact": SPIKES, "or": SPIKES + 0.5}),
        ["time step", "spikes so far", "input 2", "largest input: 3", "exact: 3", "or: 6"],
    ),
    "plot_pooling": (
        lambda *_: ({"apart": (SPIKES, 1 - SPIKES), "together": (SPIKES, SPIKES)},),
        ["time step", "train A", "max of", "rate 1.0"],
    ),
    "plot_potentials": (
        lambda *_: ({"subtract": (POTENTIAL, SPIKES, POTENTIAL)},),
        ["time step", "subtract: 3 spikes"],
    ),
    "plot_race": (lambda *_: RACE, ["many", "alone", "time of an image [ms]", "fast, 99.0%"]),
    "plot_raster": (
        lambda result, recording, digits: (recording,),
        ["time step", "neuron", "input", "conv1", "conv2", "output", "spikes/step"],
    ),
    "plot_rate_curves": (
        lambda *_: (torch.arange(4.0), {"zero": {"a": torch.ones(4)}, "subtract": {}}),
        ["input $z$ [threshold units/step]", "rate [spikes/step]", "ReLU"],
    ),
    "plot_rate_error": (
        lambda *_: ([8, 16], {"subtract": [0.1, 0.05]}),
        ["number of time steps $T$", "mean error [spikes/step]", "subtract"],
    ),
    "plot_rate_gaps": (
        lambda *_: (torch.arange(8.0), torch.zeros(8), {"ReLU": torch.relu, "abs": torch.abs}),
        ["input [thresholds/step]", "output [spikes/step]", "ReLU: off by 7"],
    ),
    "plot_rates": (
        lambda *_: ({10: LAYERS, 40: LAYERS}, LAYERS),
        ["rate [spikes/step]", "activation / scale", "conv1, 10 steps"],
    ),
    "plot_recipes": (
        lambda *_: ({"a": [0.1, 0.1, 0.1]}, {"a": HISTORY}),
        ["epoch", "learning rate", "accuracy while training"],
    ),
    "plot_responses": (
        lambda *_: (RATES, {"clipping": RATES.clamp(max=1), "b": RATES}),
        ["activation / scale", "rate [spikes/step]", "clipping", "error", "ReLU"],
    ),
    "plot_scale_curves": (
        lambda result, *_: ({"maximum": result, "99.9 %": result}, 0.98),
        ["time step", "test accuracy", "maximum", "CNN"],
    ),
    "plot_sizes": (
        lambda *_: ({"float32": 2000, "lab": 1000},),
        ["size [kB]", "float32", "2 kB, 100%", "1 kB, 50%"],
    ),
    "plot_spike_images": (
        lambda *_: (IMAGE, IMAGE.round().expand(3, 1, 28, 28)),
        ["image", f"{int(IMAGE.round().sum())} spikes"],
    ),
    "plot_spike_statistics": (
        lambda *_: ((torch.arange(9.0), torch.arange(9.0)), (torch.ones(9), torch.ones(9))),
        ["spikes in 20 steps", "share of windows", "steps between spikes"],
    ),
    "plot_stages": (
        lambda *_: (trace(deep_cnn().eval(), (1, 28, 28)),),
        ["input", "block1.conv2", "identity", "convolution\n1 x 1, stride 2", "max pool", "+ bias"],
    ),
    "plot_sweep": (
        lambda *_: (SWEEP, 0.98),
        ["time steps", "wrong decisions", "Poisson input, reset zero", "channel-wise", "CNN"],
    ),
    "plot_switches": (
        lambda result, *_: (dict.fromkeys(("example", "a", "b", "c", "d"), result),),
        ["time step", "test accuracy", "a", "b", "c", "d", "example"],
    ),
    "plot_times": (
        lambda *_: ({"clock": TIMES, "event": TIMES},),
        ["operations per image, step [thousand]", "time per image, step [µs]", '"event"'],
    ),
}
OPTIONS = {
    "plot_output_counts": {"steps": 40},
    "plot_piece_curves": {"xlabel": "steps", "ylabel": "RMS"},
    "plot_sizes": {"reference": "float32"},
    "plot_spike_statistics": {"window": 20},
}


def test_every_figure_of_the_course_is_in_this_gallery():
    functions = {name for name in vars(plotting) if name.startswith(("plot_", "draw_"))}
    assert functions == {*DRAWINGS, "plot_overview"}  # that one needs a network of full size


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_figure_is_drawn_in_the_course_style_with_its_labels(name, result, recording, digits):
    arguments, expected = DRAWINGS[name]
    with plt.rc_context():
        plotting.use_course_style()
        draw = getattr(plotting, name)
        figure = draw(*arguments(result, recording, digits), **OPTIONS.get(name, {}))
        written = texts_of(figure)
        figure.savefig(io.BytesIO())
    for text in expected:
        assert text in written
