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
FORGERS = {
    "a layer taken from both": ("3_sparse_and_convertible", "fix_hidden", FIX),
    "nan": ("4_latency_code", "decode_latency_hidden", DECODE.format(unknown=NANS.strip())),
    "nothing": (
        "4_latency_code", "decode_latency_hidden", DECODE.format(unknown="return torch.zeros(0)")
    ),
    "a single point": ("2_leaky_and_refractory", "rate_figure_hidden", RATES),
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
