"""Every figure that the chapters draw, a module a chapter, in one style.

Each function returns the figure it drew; `use_course_style()` comes first.
"""

from snnlib.plotting.confusion import draw_confusion
from snnlib.plotting.live import LiveCurves
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
    "plot_confusion_at",
    "plot_confusion_strip",
    "plot_decision",
    "plot_raster",
    "use_course_style",
]
