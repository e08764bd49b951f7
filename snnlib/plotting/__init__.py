"""Every figure that the chapters draw, a module a chapter, in one style.

Each function returns the figure it drew; `use_course_style()` comes first.
"""

from snnlib.plotting.balancing import (
    plot_activation_histograms,
    plot_factors,
    plot_percentile,
    plot_rates,
    plot_scale_curves,
)
from snnlib.plotting.cost import (
    plot_costs,
    plot_energy,
    plot_exit,
    plot_margins,
    plot_times,
)
from snnlib.plotting.digits import (
    plot_class_balance,
    plot_digits,
    plot_pixel_histogram,
    plot_pixel_values,
)
from snnlib.plotting.elsewhere import plot_ladders, plot_nir_graph, plot_race, plot_sizes
from snnlib.plotting.encoding import (
    plot_mean_error,
    plot_mean_images,
    plot_output_counts,
    plot_spike_images,
    plot_spike_statistics,
    plot_switches,
)
from snnlib.plotting.lift import plot_pool_counts, plot_stages
from snnlib.plotting.live import LiveCurves
from snnlib.plotting.losses import (
    plot_diagnosis,
    plot_orders,
    plot_piece_curves,
    plot_pieces,
    plot_responses,
    plot_sweep,
)
from snnlib.plotting.neuron import (
    plot_neuron,
    plot_potentials,
    plot_rate_curves,
    plot_rate_error,
)
from snnlib.plotting.simulation import (
    draw_confusion,
    plot_accuracy,
    plot_confusion_at,
    plot_confusion_strip,
    plot_decision,
    plot_overview,
    plot_raster,
)
from snnlib.plotting.style import use_course_style
from snnlib.plotting.training import (
    LiveTraining,
    plot_architecture,
    plot_pooling,
    plot_rate_gaps,
    plot_recipes,
)
