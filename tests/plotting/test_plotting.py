"""Each figure of the course is drawn once, from small data, and looked at from several sides."""

import io
from dataclasses import dataclass, field, replace

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.patches import FancyBboxPatch
from matplotlib.text import Annotation, Text

from snnlib import (
    ConstantEncoder,
    Diagnosis,
    History,
    MarginStop,
    PoissonEncoder,
    convert,
    deep_cnn,
    digit_cnn,
    exit_curve,
    plotting,
    record,
    simulate,
    stopping_steps,
)
from snnlib.cnn.tracing import trace
from snnlib.export.nir import to_nir
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


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def result(balanced, digits):
    return simulate(convert(balanced), digits, steps=6, encoder=PoissonEncoder(1.0))


@pytest.fixture(scope="module")
def undecided(cnn, digits):
    """A result in which no image is decided yet."""
    snn = convert(cnn, initial_potential=0.0, pooling="spiking", readout="spikes")
    return simulate(snn, digits, steps=2)


@pytest.fixture(scope="module")
def recording(balanced, digits):
    return record(convert(balanced, readout="spikes"), digits.images[0], steps=20)


@dataclass
class Handle:
    """Stands for the place in a notebook where a figure is shown."""

    shown: list = field(default_factory=list)

    def __call__(self, figure, display_id=None):
        self.shown.append(figure)
        return self

    def update(self, figure):
        self.shown.append(figure)


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
    functions = {name for name in plotting.__all__ if name.startswith(("plot_", "draw_"))}
    assert functions == set(DRAWINGS)


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


def test_accuracy_is_drawn_as_it_was_measured(result):
    (ax,) = plotting.plot_accuracy({"rate 1.0": result}, cnn_accuracy=0.97).axes
    curve, cnn = ax.lines
    assert curve.get_xdata().tolist() == [1, 2, 3, 4, 5, 6]
    assert list(curve.get_ydata()) == result.accuracy.tolist()
    assert set(cnn.get_ydata()) == {0.97}


def test_a_race_shows_the_median_and_the_spread_of_each_in_the_same_row():
    many, alone = plotting.plot_race(*RACE).axes
    assert [tuple(dot.get_xydata()[0]) for dot in many.lines] == [(1.5, 0), (20, 1)]
    assert [tuple(dot.get_xydata()[0]) for dot in alone.lines] == [(2, 0), (40, 1)]
    assert many.collections[0].get_segments()[0].tolist() == [[1, 0], [3, 0]]
    top, bottom = (many.transData.transform((1, row))[1] for row in (0, 1))
    assert top > bottom


def test_a_raster_has_a_dot_for_each_spike(recording):
    figure = plotting.plot_raster(recording, neurons=10**6)
    dots = [len(ax.collections[0].get_offsets()) for ax in figure.axes]
    assert dots[0] == recording.input.sum()
    assert dots[1:] == [spikes.sum() for spikes in recording.spikes.values()]


def test_a_raster_begins_at_step_1_and_ends_at_the_last(recording):
    white = replace(recording, input=torch.ones(20, 1, 28, 28))
    dots = plotting.plot_raster(white).axes[0].collections[0].get_offsets()
    assert (dots[:, 0].min(), dots[:, 0].max()) == (1, 20)


def test_a_decision_is_drawn_from_the_spikes_of_each_class(recording):
    curves = plotting.plot_decision(recording, NAMES, 7).axes[1]
    drawn = [line.get_ydata()[-1] for line in curves.lines[:10]]
    assert drawn == recording.spikes["output"].sum(0).tolist()


def test_a_confusion_chart_shows_every_count(result):
    assert not torch.equal(result.confusion[0], result.confusion[5])
    for step in (1, 6):
        chart, summary = plotting.plot_confusion_at(result, NAMES, step).axes
        confusion = result.confusion[step - 1]
        counts = [int(text.get_text()) for text in chart.texts]
        assert counts == confusion.flatten().tolist()
        shares = [bar.get_width() for bar in summary.patches[:10]]
        assert shares == pytest.approx((confusion.diagonal() / 10).tolist())


def test_undecided_images_count_as_wrong_in_the_row_summary(undecided):
    assert undecided.undecided.tolist() == [1, 1]
    _, summary = plotting.plot_confusion_at(undecided, NAMES, 1).axes
    assert [bar.get_width() for bar in summary.patches] == [0] * 10 + [1] * 10


@pytest.mark.parametrize("count", [1, 5])
def test_a_confusion_can_be_drawn_of_images_that_lack_some_classes(balanced, digits, count):
    few = simulate(convert(balanced), digits[:count], steps=2)
    plotting.plot_confusion_at(few, NAMES, 2).canvas.draw()
    plotting.plot_confusion_strip(few, NAMES, (1, 2)).canvas.draw()


def test_a_strip_may_have_one_chart(result):
    assert len(plotting.plot_confusion_strip(result, NAMES, (3,)).axes) == 1


def test_times_get_the_line_that_was_fitted():
    _, alone = plotting.plot_times({"clock": TIMES, "event": TIMES}).axes
    dots, line = alone.lines
    assert list(dots.get_xdata()) == [1, 2, 3]  # [thousand]
    assert list(dots.get_ydata()) == pytest.approx([3, 4, 5])  # [µs]
    assert line.get_ydata()[0] == pytest.approx(2)


def test_layers_of_the_same_colour_have_lines_of_their_own():
    spikes, operations = plotting.plot_costs(COUNTS, COUNTS).axes
    looks = [(line.get_color(), line.get_linestyle()) for line in spikes.lines]
    assert len(set(looks)) == 3
    assert list(operations.lines[0].get_ydata()) == pytest.approx([0.001] * 5)  # [thousands]


def test_an_energy_band_spans_the_arithmetics():
    rows = {"a": [0.1, 2.0], "b": [0.3, 1.0]}
    energy, _ = plotting.plot_energy([1, 40], {"spikes": rows}, [0.1, 0.1], rows).axes
    edges = [list(line.get_ydata()) for line in energy.lines[:2]]
    assert edges == [[0.1, 1.0], [0.3, 2.0]]


def test_margins_are_drawn_as_they_were_up_to_the_stop(result, digits):
    stop = MarginStop(0.5)
    _, ax = plotting.plot_margins(digits, result, (7,), stop).axes
    curve, threshold, stopped = ax.lines
    assert list(curve.get_ydata()) == result.margins[:, 7].tolist()
    assert set(threshold.get_ydata()) == {0.5}
    assert set(map(int, stopped.get_xdata())) == {int(stopping_steps(result, stop)[7])}


def test_the_steps_used_are_counted_and_the_rule_has_its_place(result):
    stop = MarginStop(0.5)
    curve, bars = plotting.plot_exit({"test": exit_curve(result)}, result, stop).axes
    here = exit_curve(result, torch.tensor([0.5]))
    (place,) = curve.lines[1].get_xydata().tolist()
    assert place == pytest.approx([here.mean_steps.item(), here.accuracy.item()])
    heights = [bar.get_height() for bar in bars.patches]
    assert heights == torch.bincount(stopping_steps(result, stop), minlength=7).tolist()


def test_a_drawn_network_has_a_box_a_stage_and_an_arrow_a_path():
    graph = trace(deep_cnn().eval(), (1, 28, 28))
    (ax,) = plotting.plot_stages(graph).axes
    paths = [path for stage in graph.stages for path in stage.paths]
    boxes = [patch for patch in ax.patches if isinstance(patch, FancyBboxPatch)]
    assert len(boxes) == 1 + len(graph.stages) == 10
    arrows = [text for text in ax.texts if isinstance(text, Annotation)]
    assert len(arrows) == len(paths) == 11


def test_pools_are_counted_step_by_step():
    inputs = torch.stack([SPIKES, SPIKES.flip(0)], 1)
    _, counts = plotting.plot_pool_counts(inputs, {"exact": SPIKES}).axes
    largest, exact = (line.get_ydata().tolist() for line in counts.lines)
    assert largest == [1, 2, 2, 3, 3, 3]
    assert exact == [0, 0, 1, 1, 2, 3]


def test_live_curves_grow_and_replace_points(monkeypatch):
    handle = Handle()
    monkeypatch.setattr("snnlib.plotting.live.display", handle)
    curves = plotting.LiveCurves(["SNN"], xlabel="time step", ylabel="accuracy", xmax=3)
    for x, y in ((1, 0.2), (2, 0.5), (1, 0.3), (3, 0.9)):
        curves.add(x, y)
    xs, ys = curves.curves[0].get_data()
    assert (list(xs), list(ys)) == ([1, 2, 3], [0.3, 0.5, 0.9])
    assert len(handle.shown) == 5  # at the start and after each point
    assert not plt.get_fignums()


def test_live_curves_can_skip_redrawing_but_never_the_last_point(monkeypatch):
    handle = Handle()
    monkeypatch.setattr("snnlib.plotting.live.display", handle)
    curves = plotting.LiveCurves(["a"], xlabel="x", ylabel="y", xmax=5, every=2)
    for x in range(1, 6):
        curves.add(x, 0.5)
    assert len(handle.shown) == 1 + 3  # the start, then points 2, 4 and 5


def test_live_training_draws_the_history_so_far(monkeypatch):
    handle = Handle()
    monkeypatch.setattr("snnlib.plotting.training.display", handle)
    live = plotting.LiveTraining(epochs=3)
    live(History((2.0,), (0.7,), (0.6,)))
    live(HISTORY)
    assert list(live.loss.lines[0].get_ydata()) == [2.0, 1.0, 0.5]
    assert [list(line.get_ydata()) for line in live.accuracy.lines] == [
        list(HISTORY.accuracy),
        list(HISTORY.validation_accuracy),
    ]
    assert len(handle.shown) == 3


@pytest.mark.parametrize("make", ["LiveCurves", "LiveTraining"])
def test_live_figures_work_outside_a_notebook_too(make, capsys):
    if make == "LiveTraining":
        plotting.LiveTraining(epochs=3)(HISTORY)
    else:
        plotting.LiveCurves(["a"], xlabel="x", ylabel="y", xmax=5).add(1, 0.5)


def test_a_diagnosis_without_a_suggestion_is_drawn_too():
    (ax,) = plotting.plot_diagnosis(replace(DIAGNOSIS, suggestion=None)).axes
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([0.7, 0.3])


def test_drawing_leaves_results_as_they_were(result, recording):
    before = result.confusion.clone(), recording.spikes["conv1"].clone()
    plotting.plot_confusion_at(result, NAMES, 2)
    plotting.plot_raster(recording)
    assert torch.equal(result.confusion, before[0])
    assert torch.equal(recording.spikes["conv1"], before[1])


def test_a_piece_that_is_not_there_has_no_bar_and_the_others_their_size():
    _, bars = plotting.plot_pieces("conv2", ERRORS).axes
    assert [label.get_text() for label in bars.get_yticklabels()] == ["clipping", "error"]
    rms = (RATES.clamp(max=1) - RATES).square().mean().sqrt().item()
    assert [bar.get_width() for bar in bars.patches] == pytest.approx([rms, rms])


def test_a_logarithmic_axis_leaves_out_a_piece_of_0_and_its_places_of_0():
    panels = {"a": {"noise": [0.0, 0.0], "unevenness": [0.0, 0.2]}}
    (ax,) = plotting.plot_piece_curves(panels, [1, 2], xlabel="x", ylabel="y").axes
    (line,) = ax.lines
    assert line.get_label() == "unevenness"
    assert line.get_ydata() == pytest.approx([float("nan"), 0.2], nan_ok=True)


def test_a_sweep_shows_the_mean_over_seeds_as_wrong_decisions():
    axes = plotting.plot_sweep(SWEEP, 0.98).axes
    assert len(axes) == 4
    for ax in axes[2:]:  # random spikes: two seeds, 0.50 and 0.51 after one step
        assert ax.lines[0].get_ydata() == pytest.approx([0.495, 0.1])
