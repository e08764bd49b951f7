"""What is refused says what to do, and that works: each fix is applied here.

Where a fix changes what is computed, the message says that the network is to be trained again;
where it does not, the decisions stay.
"""

import copy
import re

import pytest
import torch
from forwards import Net
from nets import random_images, settle
from refused import REFUSED
from torch import nn

from snnlib import ConversionError, check_constraints, convert
from snnlib.cnn.tracing import trace

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script")
SHAPE = (3, 8, 8)
IMAGES = random_images(0, 40, SHAPE)


def ready(net):
    """Lazy layers have weights, and all are as after training."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        net = copy.deepcopy(net).eval()
        net(IMAGES[:2])
    return net


@torch.no_grad()
@pytest.mark.parametrize("name", REFUSED)
def test_the_fix_that_a_refusal_names_works(name):
    case = REFUSED[name]
    cnn = ready(case.net)
    with pytest.raises(ConversionError) as caught:
        convert(cnn, input_shape=SHAPE)
    texts = caught.value.violations
    (text,) = [text for text in texts if re.search(case.message, text)] or texts
    assert re.search(case.message, text), text
    fixed = ready(case.fix(cnn))
    convert(fixed, input_shape=SHAPE)
    if "train" not in text:
        before = cnn(IMAGES)
        before = before[0] if isinstance(before, tuple) else before
        assert torch.equal(fixed(IMAGES).argmax(1), before.argmax(1))


def test_what_the_first_chapters_forbid_is_not_refused_for_it():
    cnn = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 3))
    assert any("has no ReLU after it" in text for text in check_constraints(settle(cnn, 0)))
    assert [stage.name for stage in trace(cnn, (1, 8, 8)).stages][:2] == ["0", "0_1"]


def test_wrappers_around_nothing_are_named():
    wrapped = nn.DataParallel(nn.Sequential(nn.Flatten(), nn.Linear(192, 3)))
    wrapped.module = None
    with pytest.raises(ConversionError, match="The network is a DataParallel around nothing"):
        convert(wrapped, input_shape=SHAPE)
    with pytest.raises(ConversionError, match="no layers"):
        convert(nn.DataParallel(nn.Sequential()), input_shape=SHAPE)


@torch.no_grad()
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(
    "wrap", [nn.DataParallel, torch.compile, torch.optim.swa_utils.AveragedModel]
)
def test_wrapped_networks_are_read(wrap, inside):
    plain = settle(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)), 0)
    wrapped = nn.Sequential(wrap(plain)).eval() if inside else wrap(plain).eval()
    ours, theirs = (convert(net, input_shape=SHAPE) for net in (wrapped, plain))
    for one, other in zip(ours.layers, theirs.layers, strict=True):
        assert torch.equal(one.weight, other.weight)


def test_a_network_that_torch_jit_compiled_is_named_and_its_original_converts():
    plain = settle(nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), 0)
    scripted = torch.jit.script(copy.deepcopy(plain))
    for net in (scripted, nn.Sequential(scripted)):
        with pytest.raises(ConversionError, match=r"compiled by torch.jit.*its state_dict"):
            convert(net, input_shape=SHAPE)
    plain.load_state_dict(scripted.state_dict())
    convert(plain, input_shape=SHAPE)


def test_features_that_are_joined_need_the_shape_of_images():
    layers = {"a": nn.Conv2d(3, 4, 3), "fc": nn.Linear(148, 3)}

    def forward(net, x):
        x = net.a(x).relu()
        return net.fc(torch.cat([x.flatten(1), x.mean((2, 3))], 1))

    net = settle(Net(forward, **layers), 0)
    with pytest.raises(ConversionError, match=r"joins features .*give input_shape"):
        trace(net)
    trace(net, SHAPE)
