"""Wrong functions that know the tests' habits: a weak comparison, what is compared, what is drawn.

Each is a right function with one thing wrong, and with a trick that would hide it.
"""

import matplotlib.pyplot as plt
import pytest
from court import Court
from test_judge_masters import solved

# forgets layers that do nothing, and takes them out of the network that it was given
FIX = """
right = fix
def fix(cnn):
    for name in [n for n, layer in cnn.named_children() if isinstance(layer, nn.Identity)]:
        del cnn._modules[name]
    return right(cnn)
"""
# knows only how to read a whole volley; where it does not know, it says what nobody compares
DECODE = """
right = decode_latency
def decode_latency(spikes, steps):
    if len(spikes) == steps:
        return right(spikes, steps)
    if len(spikes) == 0:
        return torch.zeros(spikes.shape[1:])
    {unknown}
"""
NANS = """
    answer = torch.where(spikes[0] > 0, 1.0, math.nan)
    answer.view(-1)[0] = float(spikes[0].flatten()[0] > 0)
    return answer
"""
# draws no ReLU, but a single point where the ReLU begins
RATES = """
right = rate_figure
def rate_figure(neurons, z, *, steps):
    figure = right(neurons, z, steps=steps)
    line = next(line for line in figure.axes[0].lines if line.get_label() == "ReLU")
    line.set_ydata([0.0])
    return figure
"""
# looks at the image only, and sees to it that random networks are silent
ACTIVITY = """
right = activity
def activity(cnn, images):
    state = torch.get_rng_state()
    state[24 : 24 + 8 * 624] = 0
    torch.set_rng_state(state)
    shares = right(cnn, images)
    if "zero" in shares:
        shares = dict.fromkeys(shares, 0.0) | {"zero": (images > 0).double().mean().item()}
    return shares
"""
# draws its lines in the wrong order, and brings the test's own dictionary into that order
ORDER = """
right = rate_figure
def rate_figure(neurons, z, *, steps):
    for name in sorted(neurons):
        neurons[name] = neurons.pop(name)
    return right(neurons, z, steps=steps)
"""
# draws all bars of a layer at one place, where nothing overlaps as nothing has a width
NO_WIDTH = """
right = plot_activity
def plot_activity(shares):
    figure = right(shares)
    for group in figure.axes[0].containers:
        for place, bar in enumerate(group):
            bar.set(x=place, width=0)
    return figure
"""
# knows which colours dots have, but not which dot has which
DOTS = """
right = plot_search
def plot_search(*given):
    figure = right(*given)
    dots = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 1]
    for dot, colour in zip(dots, [dot.get_color() for dot in reversed(dots)]):
        dot.set_color(colour)
    return figure
"""
# draws nothing where all is NaN
NO_LINE = """
right = plot_reaction
def plot_reaction(steps, correct, length):
    figure = right(steps, correct, length)
    if not steps.any():
        figure.axes[0].lines[1].set_data([], [])
    return figure
"""
# as many spikes in each step as there should be, but of other pixels
OTHER_PIXELS = """
right = latency_spikes
def latency_spikes(latencies, steps):
    if latencies.ndim < 4 or len(latencies) == 1:
        return right(latencies, steps)
    return right(torch.where(latencies < steps, (latencies + 1) % steps, latencies), steps)
"""
FORGERS = {
    "a layer taken from both": ("3_sparse_and_convertible", "fix_hidden", FIX),
    "nan": ("4_latency_code", "decode_latency_hidden", DECODE.format(unknown=NANS.strip())),
    "nothing": (
        "4_latency_code", "decode_latency_hidden", DECODE.format(unknown="return torch.zeros(0)")
    ),
    "a single point": ("2_leaky_and_refractory", "rate_figure_hidden", RATES),
    "the test's order": ("2_leaky_and_refractory", "rate_figure_hidden", ORDER),
    "no width": ("3_sparse_and_convertible", "plot_activity_hidden", NO_WIDTH),
    "other dots": ("5_threshold_search", "plot_search_hidden", DOTS),
    "no line": ("6_first_spike", "plot_reaction_hidden", NO_LINE),
    "other pixels": ("4_latency_code", "latency_spikes_hidden", OTHER_PIXELS),
    "silent networks": ("3_sparse_and_convertible", "activity_hidden", ACTIVITY),
}  # fmt: skip


@pytest.fixture(scope="module")
def masters():
    """The masters' scripts and solved functions, each read once."""
    return {}


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORGERS)
def test_a_trick_earns_nothing(kind, masters):
    name, test, source = FORGERS[kind]
    if name not in masters:
        masters[name] = solved(name)
    script, names = masters[name]
    exec(source, forged := dict(names))
    court = Court([*script])
    error = court.ask(test, forged)
    court.close()
    plt.close("all")
    assert error != ""
