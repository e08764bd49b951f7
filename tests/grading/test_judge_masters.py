"""The six masters before the judge: what is right passes, however written, and nothing else."""

import matplotlib.pyplot as plt
import pytest
import torch
from court import Court
from grading.masters import master_names, read_master, to_nbgrader
from grading.script import judges_script
from torch import nn


def erase(value) -> None:
    """Leave nothing of an argument."""
    if isinstance(value, torch.Tensor) and value.numel():
        value.data.zero_()
    elif isinstance(value, nn.Module):
        for weight in value.parameters():
            weight.data.zero_()
    elif isinstance(value, (list, dict)):
        value.clear()
    elif hasattr(value, "images"):
        value.images.zero_(), value.labels.zero_()


def zeros(like) -> torch.Tensor:
    return torch.zeros_like(like) if isinstance(like, torch.Tensor) else torch.zeros(2)


RESULTS = {
    "the argument": lambda first: first,
    "zeros": zeros,
    "two zeros": lambda first: (zeros(first), zeros(first)),
    "zero": lambda first: 0.0,
    "false": lambda first: zeros(first).bool(),
    "whole": lambda first: zeros(first).long(),
    "nothing": lambda first: None,
    "list": lambda first: [],
    "dict": lambda first: {},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", master_names())
def test_functions_that_erase_their_arguments_earn_nothing(name):
    script = judges_script(to_nbgrader(read_master(name)))
    tests = [step for step in script if "test" in step]
    court = Court(script)
    passed = []
    for kind, result in RESULTS.items():

        def function(*positional, result=result, **named):
            values = [*positional, *named.values()]
            answer = result(values[0] if values else None)
            for value in values:
                erase(value)
            return answer

        names = dict.fromkeys(tests[0]["functions"], function)
        passed += [(step["name"], kind) for step in tests if not court.ask(step["name"], names)]
    court.close()
    assert passed == []


# -- nothing that is right is refused -----------------------------------------------------


def solved(name: str) -> tuple[list[dict], dict]:
    """A master's script, and its functions as its solutions define them."""
    notebook = to_nbgrader(read_master(name))
    script, names = judges_script(notebook), {}
    for cell in notebook.cells:
        label = cell.metadata.get("nbgrader", {})
        shown = "raises-exception" in cell.metadata.get("tags", [])
        if cell.cell_type == "code" and not label.get("grade") and not shown:
            exec(cell.source.replace("%xmode Minimal", ""), names)
    plt.close("all")
    return script, names


PLOT_INK = {
    "add_subplot": """
def plot_ink(images, labels):
    sums = images.sum((1, 2, 3)).numpy().astype(float)
    known = np.unique(labels.numpy())
    quartiles = np.array([np.quantile(sums[labels.numpy() == c], [.25, .5, .75]) for c in known])
    figure = plt.figure()
    panel = figure.add_subplot()
    panel.plot(known, quartiles[:, 1], linestyle="none", marker="s")
    panel.vlines(known, quartiles[:, 0], quartiles[:, 2])
    panel.set_xticks(known, [f"class {c}" for c in known])
    panel.set(xlabel="class", ylabel="ink [full pixels]")
    panel.set_ylim(bottom=0)
    figure.suptitle("ink")
    plt.close(figure)
    return figure
""",
    "without pyplot": """
def plot_ink(images, labels):
    from matplotlib.figure import Figure
    known = labels.unique().tolist()
    figure = Figure()
    panel = figure.subplots()
    middle, bars = [], []
    for c in known:
        ink = images[labels == c].double().sum((1, 2, 3))
        low, half, high = ink.quantile(torch.tensor([.25, .5, .75]).double()).tolist()
        middle.append(half)
        bars.append([(c, high), (c, low)])
    panel.plot(known, middle, "o")
    panel.add_collection(LineCollection(bars))
    panel.set_title("ink", loc="right")
    panel.set(xlabel="class", ylabel="ink [full pixels]", xticks=known, ylim=(0, 300))
    return figure
""",
}
PLOT_REACTION = {
    "pyplot's state": """
def plot_reaction(steps, right, length):
    figure = plt.figure(figsize=(5, 3))
    at = np.arange(1, length + 1)
    given = (steps.numpy()[None] > 0) & (steps.numpy()[None] <= at[:, None])
    plt.plot(at, 100 * given.mean(1), "g^:", label="answered")
    with np.errstate(invalid="ignore"):
        correct = 100 * (given & right.numpy()).sum(1) / given.sum(1)
    plt.plot(at, correct, label="right, of those answered")
    plt.xlabel("time step"), plt.ylabel("share [%]"), plt.ylim(-5, 105)
    plt.title("reaction", loc="left")
    plt.legend()
    plt.close()
    return figure
""",
}
SEARCH = {
    "semilogx, left open": """
import numpy as np
def plot_search(candidates, curves, cnn_accuracy):
    figure = plt.figure()
    panel = plt.gca()
    order = sorted(range(len(candidates)), key=lambda i: candidates[i])
    for color, (steps, shares) in zip(METHODS, curves.items()):
        x = np.array([candidates[i] for i in order])
        y = 100 * np.array([shares[i] for i in order])
        panel.semilogx(x, y, base=2, color=color, label=f"{steps} steps")
        panel.semilogx(x[[y.argmax()]], [y.max()], "o", base=2, color=color, label="_dot")
    panel.axhline(100 * cnn_accuracy, ls="--", c=REFERENCE, label="CNN")
    panel.set_xlabel("threshold [threshold units]")
    panel.set_ylabel("training accuracy [%]")
    panel.set_title("search")
    panel.legend()
    return figure
""",
}
LATENCY = {
    "an object that is called": """
class Volleys:
    def __init__(self, images, cycle):
        self.late, self.cycle = latency(images, cycle), cycle
    def __call__(self, step):
        return (self.late == step % self.cycle).float()
class LatencyEncoder:
    constant = False
    def __init__(self, cycle):
        self.cycle = cycle
    def stream(self, images, index=None):
        return Volleys(images, self.cycle)
""",
}
SPLIT = {
    "a list": """
def stratified_split(labels, fraction, seed):
    draw = np.random.default_rng(seed)
    validation = []
    for value in np.unique(labels.numpy()):
        members = np.flatnonzero(labels.numpy() == value)
        draw.shuffle(members)
        validation += members[: int(round(fraction * len(members)))].tolist()
    kept = torch.ones(len(labels), dtype=torch.bool)
    kept[validation] = False
    return [kept.nonzero().view(-1), (~kept).nonzero().view(-1)]
""",
}
VARIANTS = {
    "1_honest_data": {"plot_ink": PLOT_INK, "stratified_split": SPLIT},
    "4_latency_code": {"LatencyEncoder": LATENCY},
    "5_threshold_search": {"plot_search": SEARCH},
    "6_first_spike": {"plot_reaction": PLOT_REACTION},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", master_names())
def test_masters_and_their_honest_variants_pass(name):
    script, names = solved(name)
    tests = [step["name"] for step in script if "test" in step]
    court = Court(script)
    failed = {test: error for test in tests if (error := court.ask(test, names))}
    for task, variants in VARIANTS.get(name, {}).items():
        for kind, source in variants.items():
            exec(source, variant := dict(names))
            for test in (f"{task}_test", f"{task}_hidden"):
                if error := court.ask(test, variant):
                    failed[f"{test}, {kind}"] = error
    court.close()
    plt.close("all")
    assert failed == {}
