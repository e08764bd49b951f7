"""Every figure that the chapters draw, a module a chapter, in one style.

Each function returns the figure it drew; `use_course_style()` comes first.
"""

from snnlib.plotting.confusion import draw_confusion
from snnlib.plotting.digits import (
    plot_class_balance,
    plot_digits,
    plot_pixel_histogram,
    plot_pixel_values,
)
from snnlib.plotting.live import LiveCurves
from snnlib.plotting.neuron import (
    plot_neuron,
    plot_potentials,
    plot_rate_curves,
    plot_rate_error,
)
from snnlib.plotting.simulation import (
    plot_accuracy,
    plot_confusion_at,
    plot_confusion_strip,
    plot_decision,
    plot_raster,
)
from snnlib.plotting.style import use_course_style

__all__ = [
    "LiveCurves",
    "draw_confusion",
    "plot_accuracy",
    "plot_class_balance",
    "plot_confusion_at",
    "plot_confusion_strip",
    "plot_decision",
    "plot_digits",
    "plot_neuron",
    "plot_pixel_histogram",
    "plot_pixel_values",
    "plot_potentials",
    "plot_raster",
    "plot_rate_curves",
    "plot_rate_error",
    "use_course_style",
]
