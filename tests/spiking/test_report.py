import pytest
import torch
from nets import deep_cnn, random_images
from torch import nn

from snnlib import activation_scales, conversion_report, convert, digit_cnn

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def report():
    cnn = deep_cnn(0)
    scales = activation_scales(cnn, random_images(0, 20, SHAPE), channelwise=True)
    return conversion_report(cnn, convert(cnn, thresholds=scales, input_shape=SHAPE))


def test_a_report_lists_each_layer():
    report = conversion_report(digit_cnn(), convert(digit_cnn(), thresholds=[2.0, 3.0, 5.0]))
    rows = [(la.name, la.count, la.scale, la.fan_out, la.parameters) for la in report.layers]
    assert rows == [
        ("conv1", 12 * 24 * 24, "2", 25 * 64, 300),
        ("conv2", 64 * 8 * 8, "3", 10, 19_200),
        ("output", 10, "5", 0, 10_240),
    ]
    assert report.layers[1].neurons == "spikes at 1.5, reset subtract"


def test_parameters_are_those_of_the_folded_network(report):
    weights = {"0": 6 * 9 + 6, "3": 0, "4.body.3": 6 * 6 * 9 + 6 + 6, "5.body.3": 8 * 72 + 48 + 8}
    found = {layer.name: layer.parameters for layer in report.layers}
    assert weights.items() <= found.items()


def test_nothing_is_folded_or_left_out_in_silence(report):
    assert report.folded[0] == "1"
    assert report.dropped == ("4.shortcut", "11")
    text = str(report)
    assert "Folded into weights and biases: 1, 4.body.1" in text
    assert "Left out, as they change no decision: 4.shortcut, 11." in text
    assert f"exact for {report.exact_steps} steps" in text


def test_the_columns_of_the_text_line_up(report):
    lines = str(report).splitlines()[: len(report.layers) + 1]
    start = lines[0].index("neurons")
    assert all(line[start - 1] == " " and line[start] != " " for line in lines)
    assert "conv + shortcut from 3 + bias" in str(report)


def test_a_notebook_shows_a_table(report):
    html = report._repr_html_()
    assert html.count("<tr>") == len(report.layers) + 1
    assert "max pooling (exact)" in html


def test_another_network_is_refused():
    cnn = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    torch.manual_seed(0)
    with pytest.raises(ValueError, match="snn has no layer 1; give the cnn"):
        conversion_report(cnn, convert(deep_cnn(0), input_shape=SHAPE))
