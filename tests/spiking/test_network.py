import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nets import conv, linear, random_images, small_cnns, tiny_cnn
from torch import nn

from snnlib import (
    ConstantEncoder,
    PoissonEncoder,
    SpikingLayer,
    SpikingNetwork,
    StorageError,
    convert,
    digit_cnn,
)
from snnlib.engines.clock import exact_arithmetic
from snnlib.storage import load_tensors, save_tensors

SHAPE = (1, 6, 6)
IMAGES = random_images(0, 3, SHAPE)


def run(snn, encoder=PoissonEncoder(0.8), images=IMAGES, steps=12):
    """Everything that the output says, [T, N, classes], from a cleared state."""
    snn.reset()
    return torch.stack([snn.step(encoder.encode(images, step)) for step in range(steps)])


@pytest.fixture
def tiny():
    return convert(tiny_cnn(), input_shape=SHAPE)


def by_hand() -> SpikingNetwork:
    """One hidden neuron that adds two pixels, one output that takes its spikes three times."""
    cnn = nn.Sequential(nn.Flatten(), linear(2, 1), nn.ReLU(), linear(1, 1))
    cnn[1].weight.data.copy_(torch.tensor([[0.5, 0.25]]))
    cnn[3].weight.data.fill_(3.0)
    return convert(cnn, input_shape=(1, 1, 2), initial_potential=0.0)


def test_a_network_worked_out_by_hand():
    snn, both = by_hand(), torch.ones(1, 1, 1, 2)
    outputs = [snn.step(both).item() for _ in range(4)]  # 0.75, 1.5 -> 0.5, 1.25 -> 0.25, 1 -> 0
    assert outputs == [0, 3, 6, 9]
    assert [layer.v.item() for layer in snn.layers] == [0, 9]


def test_the_state_lasts_until_it_is_cleared(tiny):
    first = run(tiny)
    carried_over = torch.stack(
        [tiny.step(PoissonEncoder(0.8).encode(IMAGES, step)) for step in range(12)]
    )
    assert not torch.equal(carried_over, first)
    assert torch.equal(run(tiny), first)


def test_there_is_no_potential_before_the_first_step_and_after_reset(tiny):
    assert all(layer.v is None for layer in tiny.layers)
    tiny.step(IMAGES.round())
    assert [tuple(layer.v.shape) for layer in tiny.layers] == [(3, 4, 4, 4), (3, 4, 1, 1), (3, 3)]
    tiny.reset()
    assert all(layer.v is None for layer in tiny.layers)


def test_layers_are_named_and_shaped_as_in_the_cnn():
    snn = convert(digit_cnn(), pooling="spiking")
    assert [layer.name for layer in snn.layers] == ["conv1", "pool1", "conv2", "pool2", "output"]
    assert all(isinstance(layer, SpikingLayer) for layer in snn.layers)
    assert snn.layers[1].weight is None
    assert snn.layers[2].weight.shape == (64, 12, 5, 5)


@pytest.mark.parametrize("readout", ["spikes", "potential"])
def test_the_readout_is_known(readout):
    snn = convert(tiny_cnn(), input_shape=SHAPE, readout=readout)
    assert snn.readout == readout
    assert f"readout {readout}" in str(snn)
    assert f"exact for {snn.exact_steps} steps" in str(snn)


@pytest.mark.parametrize("shape", [(3, 1, 6, 5), (3, 2, 6, 6), (1, 6, 6)])
def test_an_input_of_another_shape_is_refused(tiny, shape):
    with pytest.raises(ValueError, match=r"input has shape .*; expected \[N, 1, 6, 6\]"):
        tiny.step(torch.zeros(shape))


def test_steps_beyond_what_is_exact_are_refused(tiny):
    x = torch.zeros(1, *SHAPE)
    for _ in range(tiny.exact_steps):
        tiny.step(x)
    message = f"exact for {tiny.exact_steps} steps only; call reset"
    with pytest.raises(RuntimeError, match=message):
        tiny.step(x)
    tiny.reset()
    tiny.step(x)


def test_potentials_beyond_float32_from_the_start_are_refused():
    cnn = tiny_cnn()
    cnn[0].weight.data *= 1e-6  # its grid is so fine that the threshold 1 exceeds 2**24 units
    snn = convert(cnn, input_shape=SHAPE)
    assert snn.exact_steps == 0
    with pytest.raises(RuntimeError, match="exact for 0 steps only"):
        snn.step(IMAGES.round())


@given(small_cnns())
def test_a_potential_that_only_falls_is_exact_to_the_last_step(drawn):
    cnn, shape = drawn
    first = next(cnn.parameters())
    first.data = -first.data.abs()
    snn, white = convert(cnn, input_shape=shape), torch.ones(1, *shape)
    layer, steps = snn.layers[0], min(snn.exact_steps, 2000)
    for _ in range(steps):
        layer(white)
    start = layer.neuron.initial if layer.spiking else 0
    assert torch.equal(layer.v.double(), layer.synapse(white).double() * steps + start)


@given(small_cnns(), st.sampled_from([PoissonEncoder(0.8), ConstantEncoder()]))
def test_a_wide_copy_gives_the_same_spikes(drawn, encoder):
    cnn, shape = drawn
    snn, images = convert(cnn, input_shape=shape, readout="spikes"), random_images(3, 2, shape)
    assert torch.equal(run(snn, encoder, images), run(snn.wide(), encoder, images))


def test_a_wide_copy_is_exact_for_longer_and_keeps_the_original(tiny):
    before = tiny.exact_steps
    wide = tiny.wide()
    assert wide.exact_steps > 1000 * before
    assert tiny.exact_steps == before
    wide.step(IMAGES.round())
    assert wide.layers[0].v.dtype == torch.float64
    assert tiny.layers[0].v is None


def test_making_a_wide_copy_keeps_the_state_of_the_original(tiny):
    tiny.step(IMAGES.round())
    before = tiny.layers[0].v.clone()
    tiny.wide()
    assert torch.equal(tiny.layers[0].v, before)


@given(
    small_cnns(),
    st.sampled_from(["subtract", "zero"]),
    st.sampled_from(["linear", "spiking"]),
    st.sampled_from(["potential", "spikes"]),
)
def test_a_loaded_network_gives_the_same_outputs(tmp_path_factory, drawn, reset, pooling, readout):
    cnn, shape = drawn
    path = tmp_path_factory.mktemp("networks") / "snn.safetensors"
    options = {"reset": reset, "pooling": pooling, "readout": readout, "input_shape": shape}
    snn = convert(cnn, thresholds=0.8, initial_potential=0.3, **options)
    snn.save(path)
    loaded, images = SpikingNetwork.load(path), random_images(4, 2, shape)
    assert str(loaded) == str(snn)
    for encoder in (PoissonEncoder(0.8), ConstantEncoder()):
        assert torch.equal(run(loaded, encoder, images), run(snn, encoder, images))


def test_thresholds_of_channels_are_saved_too(tmp_path):
    scales = [torch.tensor([0.5, 1.0, 2.0, 4.0]), torch.tensor([1.0, 3.0, 0.7, 1.0]), 1.0]
    snn = convert(tiny_cnn(), thresholds=scales, input_shape=SHAPE, readout="spikes")
    snn.save(tmp_path / "snn.safetensors")
    loaded = SpikingNetwork.load(tmp_path / "snn.safetensors")
    assert torch.equal(run(loaded), run(snn))


def test_weights_are_saved_in_16_bits(tiny, tmp_path):
    tiny.save(tmp_path / "snn.safetensors")
    tensors, _ = load_tensors(tmp_path / "snn.safetensors")
    assert {tensors[f"{i}.weight"].dtype for i in range(3)} == {torch.int16}


def test_a_file_of_another_kind_is_no_network(tmp_path):
    save_tensors(tmp_path / "cnn.safetensors", digit_cnn().state_dict(), {"recipe": {}})
    with pytest.raises(StorageError, match=r"cnn.safetensors holds no spiking network"):
        SpikingNetwork.load(tmp_path / "cnn.safetensors")


def test_a_missing_network_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"snn.safetensors is missing"):
        SpikingNetwork.load(tmp_path / "snn.safetensors")


def test_an_altered_network_file_is_refused(tiny, tmp_path):
    path = tmp_path / "snn.safetensors"
    tiny.save(path)
    path.write_bytes(path.read_bytes().replace(b"subtract", b"zero    "))
    with pytest.raises(StorageError, match=r"snn.safetensors was altered"):
        SpikingNetwork.load(path)


def test_fan_outs_count_the_synapses_that_leave_each_neuron():
    cnn = nn.Sequential(conv(1, 2, 2), nn.ReLU(), nn.Flatten(), linear(8, 3))
    fan_outs = convert(cnn, input_shape=(1, 3, 3)).fan_outs()
    assert list(fan_outs) == ["input", "0"]
    assert fan_outs["input"].tolist() == [[[2, 4, 2], [4, 8, 4], [2, 4, 2]]]
    assert torch.equal(fan_outs["0"], torch.full((2, 2, 2), 3.0))


def test_fan_outs_reach_through_a_linear_pool_and_end_at_a_spiking_one():
    fan_outs = {
        pooling: convert(tiny_cnn(), pooling=pooling, input_shape=SHAPE).fan_outs()
        for pooling in ("linear", "spiking")
    }
    assert torch.equal(fan_outs["linear"]["0"], torch.full((4, 4, 4), 4.0))
    assert torch.equal(fan_outs["spiking"]["0"], torch.full((4, 4, 4), 1.0))
    assert torch.equal(fan_outs["spiking"]["2"], torch.full((4, 2, 2), 4.0))


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_simulation_lifts_a_reduced_precision_and_sets_it_back(precision):
    backends = [
        torch.backends.mkldnn.matmul,
        torch.backends.mkldnn.conv,
        torch.backends.cuda.matmul,
        torch.backends.cudnn.conv,
    ]
    torch.set_float32_matmul_precision(precision)
    before = [backend.fp32_precision for backend in backends]
    with exact_arithmetic():
        assert [backend.fp32_precision for backend in backends] == ["ieee"] * 4
    assert [backend.fp32_precision for backend in backends] == before
