"""Networks that are small enough to compute by hand, on both runtimes."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sonjit import InputError
from sonjit.engines import EngineOptions, kept_networks, load_engine, model_file

ENGINES = ["openvino", "onnxruntime"]
SHAPES = {"NHWC": [1, 4, 6, 3], "NCHW": [1, 3, 4, 6]}


def save_model(path, nodes, shape, outputs, weights=()):
    """Write an ONNX file with one input `x` of a shape."""
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in dict(weights).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(params=SHAPES)
def echo(request, tmp_path):
    """Return a file and layout of a network that outputs its input and twice its input."""
    shape = SHAPES[request.param]
    nodes = [helper.make_node("Identity", ["x"], ["same"]), helper.make_node("Add", ["x", "x"], ["twice"])]
    return save_model(tmp_path / "echo.onnx", nodes, shape, {"same": shape, "twice": shape}), request.param


@pytest.fixture
def convolution(tmp_path):
    weights = {"w": np.random.default_rng(2).normal(size=(5, 3, 3, 3)).astype(np.float32)}
    node = helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[3, 3])
    return save_model(tmp_path / "conv.onnx", [node], SHAPES["NCHW"], {"y": [1, 5, 2, 4]}, weights)


@pytest.fixture
def image():
    return np.random.default_rng(4).integers(0, 256, (1, 4, 6, 3), np.uint8)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("value_range", [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (-0.5, 2.0)], ids=str)
def test_the_network_sees_the_image_in_its_layout_and_range(engine, value_range, echo, image):
    path, layout = echo
    network = load_engine(path, EngineOptions(engine=engine, precision="f32"), value_range=value_range)
    assert (network.input.shape, network.input.dtype) == (image.shape, np.uint8)
    network.input[:] = image
    same, twice = network.run()
    low, high = value_range
    expected = image / 255 * (high - low) + low
    if layout == "NCHW":
        expected = expected.transpose(0, 3, 1, 2)
    np.testing.assert_allclose(same, expected, atol=1e-4 * (high - low))
    np.testing.assert_allclose(twice, 2 * expected, atol=2e-4 * (high - low))
    assert same.dtype == np.float32


@pytest.mark.parametrize("engine", ENGINES)
def test_each_run_reads_the_current_content_of_the_input(engine, convolution, image):
    network = load_engine(convolution, EngineOptions(engine=engine))
    network.input[:] = 0
    first = network.run()[0].copy()
    network.input[:] = image
    second = network.run()[0].copy()
    network.input[:] = 0
    assert not np.allclose(first, second)
    np.testing.assert_array_equal(network.run()[0], first)


@pytest.mark.parametrize(
    ("shape", "words"), [([1, 8], "takes|shape"), ([1, 5, 4, 6], "neither 1 x H x W x 3 nor 1 x 3 x H x W")]
)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_network_that_takes_no_image_is_refused(engine, shape, words, tmp_path):
    node = helper.make_node("Identity", ["x"], ["y"])
    path = save_model(tmp_path / "odd.onnx", [node], shape, {"y": shape})
    with pytest.raises(InputError, match=words) as caught:
        load_engine(path, EngineOptions(engine=engine))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("engine", ENGINES)
def test_files_that_are_no_models_are_refused_in_one_line(engine, tmp_path):
    path = tmp_path / "text.onnx"
    path.write_text("this is no network\n" * 10)
    with pytest.raises(InputError, match=r"text\.onnx: not a model that") as caught:
        load_engine(path, EngineOptions(engine=engine))
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no such model file"):
        load_engine(tmp_path / "none.onnx", EngineOptions(engine=engine))


def test_a_folder_of_tfjs_is_refused_with_the_way_out(tmp_path):
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(InputError, match=r"models pull .*\.tflite, and python -m tf2onnx\.convert --tfjs"):
        load_engine(tmp_path / "model.json", EngineOptions())


@pytest.mark.parametrize(
    ("engine", "words"), [("openvino", "devices here: .*CPU"), ("onnxruntime", "providers: .*CPU")]
)
def test_an_unknown_device_lists_the_known_ones(engine, words, convolution):
    with pytest.raises(InputError, match=f"device 'TOASTER'.*{words}") as caught:
        load_engine(convolution, EngineOptions(engine=engine, device="TOASTER"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "name", "words"),
    [
        ({"precision": "bf16"}, "conv.onnx", "ONNX Runtime runs f32 here; use engine='openvino'"),
        ({}, "conv.xml", "ONNX Runtime runs .onnx and .tflite; use engine='openvino' for .xml"),
        ({}, "conv.tflite", "not a model that OpenVINO reads .no TFLite file"),
    ],
)
def test_files_that_onnx_runtime_cannot_run_are_refused(options, name, words, convolution):
    path = convolution.rename(convolution.with_name(name))
    if path.suffix == ".tflite":
        path.write_bytes(b"no network")
    with pytest.raises(InputError, match=words):
        load_engine(path, EngineOptions(engine="onnxruntime", **options))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"threads": -2}, "threads=-2: give 0 for all cores, or at most 1024"),
        ({"threads": 10**9}, "threads=1000000000: give 0 for all cores, or at most 1024"),
    ],
)
def test_options_are_checked_at_once(options, words):
    with pytest.raises(InputError, match=words):
        EngineOptions(**options)


@pytest.mark.parametrize(("given", "environment", "count"), [(None, None, 0), (None, "3", 3), (2, "3", 2), (0, "3", 0)])
def test_the_number_of_threads_is_that_of_the_call_or_of_the_environment(given, environment, count, monkeypatch):
    monkeypatch.delenv("SONJIT_THREADS", raising=False)
    if environment is not None:
        monkeypatch.setenv("SONJIT_THREADS", environment)
    assert EngineOptions(threads=given).thread_count == count


@pytest.mark.parametrize("text", ["many", "-1", "1.5", "", "1000000000", "9" * 5000])
def test_a_wrong_variable_is_named(text, monkeypatch):
    monkeypatch.setenv("SONJIT_THREADS", text)
    with pytest.raises(InputError, match=r"SONJIT_THREADS='.*' is not a number of threads"):
        _ = EngineOptions().thread_count
    monkeypatch.setenv("SONJIT_KEPT_NETWORKS", text)
    with pytest.raises(InputError, match=r"SONJIT_KEPT_NETWORKS='.*' is not a number of networks"):
        kept_networks()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("chosen", [(1,), (1, 0)], ids=str)
def test_only_requested_outputs_are_computed(engine, chosen, echo, image):
    every = load_engine(echo[0], EngineOptions(engine=engine, precision="f32"))
    some = load_engine(echo[0], EngineOptions(engine=engine, precision="f32"), outputs=chosen)
    every.input[:] = some.input[:] = image
    results = every.run()
    assert len(some.run()) == len(chosen)
    for given, number in zip(some.run(), chosen, strict=True):
        np.testing.assert_array_equal(given, results[number])


def test_the_folder_of_a_run_is_its_exported_network(tmp_path):
    with pytest.raises(InputError, match=r"is a folder without \.tflite, \.onnx, \.xml; write one with sonjit export"):
        model_file(tmp_path)
    for name in ("weights.safetensors", "hand-landmarks.onnx"):
        (tmp_path / name).touch()
    assert model_file(tmp_path) == model_file(tmp_path / "hand-landmarks.onnx") == tmp_path / "hand-landmarks.onnx"
    (tmp_path / "hand-landmarks.xml").touch()
    with pytest.raises(InputError, match=r"contains hand-landmarks\.onnx and hand-landmarks\.xml; give one of them"):
        model_file(tmp_path)
