"""Figures show what was measured."""

from dataclasses import dataclass, field, replace

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.patches import FancyBboxPatch
from matplotlib.text import Annotation
from small_data import COUNTS, DIAGNOSIS, ERRORS, HISTORY, NAMES, RACE, RATES, SPIKES, SWEEP, TIMES

from snnlib import (
    History,
    MarginStop,
    convert,
    deep_cnn,
    exit_curve,
    plotting,
    simulate,
    stopping_steps,
)
from snnlib.cnn.tracing import trace


@dataclass
class Handle:
    """Stands for the place in a notebook where a figure is shown."""

    shown: list = field(default_factory=list)

    def __call__(self, figure, display_id=None):
        self.shown.append(figure)
        return self

    def update(self, figure):
        self.shown.append(figure)


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
