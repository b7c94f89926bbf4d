"""Device names, including those of runtimes that are not installed."""

import cv2
import numpy as np
import pytest

from sonjit import InputError
from sonjit.engines import EngineOptions, load_engine
from sonjit.engines.devices import onnxruntime_providers, openvino_device, torch_device

_ALL = [f"{name}ExecutionProvider" for name in ("Tensorrt", "CUDA", "Azure", "CPU")]


@pytest.mark.parametrize(
    ("device", "available", "name"),
    [
        ("cpu", ["CPU"], "CPU"), ("auto", ["CPU"], "CPU"), ("auto", ["CPU", "GPU"], "AUTO"),
        ("gpu", ["CPU", "GPU.0", "GPU.1"], "GPU"), ("gpu.1", ["CPU", "GPU.0", "GPU.1"], "GPU.1"),
        ("NPU", ["CPU", "NPU"], "NPU"), ("auto:npu,cpu", ["CPU", "NPU"], "AUTO:NPU,CPU"),
    ],
)  # fmt: skip
def test_openvino_names(device, available, name):
    assert openvino_device(device, available) == name


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("gpu", "no device 'GPU'"),
        ("auto:npu", "no device 'NPU'"),
        ("cuda", "'CUDA'; detectors with engine='onnxruntime' may have it"),
    ],
)
def test_what_openvino_has_not_is_one_line(device, words):
    with pytest.raises(InputError, match=f"{words}.*; devices here: CPU$"):
        openvino_device(device, ["CPU"])


@pytest.mark.parametrize(
    ("device", "available", "names"),
    [
        ("cpu", _ALL, ["CPU"]), ("cuda", _ALL, ["CUDA", "CPU"]), ("gpu", _ALL, ["CUDA", "CPU"]),
        ("tensorrt", _ALL, ["Tensorrt", "CUDA", "CPU"]), ("auto", _ALL[2:], ["CPU"]),
        ("DirectML", ["DmlExecutionProvider", "CPUExecutionProvider"], ["Dml", "CPU"]),
        ("auto", ["CoreMLExecutionProvider", "CPUExecutionProvider"], ["CoreML", "CPU"]),
    ],
)  # fmt: skip
def test_onnx_runtime_names(device, available, names):
    assert [name.removesuffix("ExecutionProvider") for name, _ in onnxruntime_providers(device, available)] == names


def test_onnx_runtime_takes_the_number_of_a_gpu():
    assert onnxruntime_providers("cuda:1", _ALL)[0] == ("CUDAExecutionProvider", {"device_id": "1"})


@pytest.mark.parametrize("device", ["cuda", "gpu", "cuda:x", "azure"])
def test_what_onnx_runtime_has_not_is_one_line(device):
    with pytest.raises(InputError, match=f"no device '{device}' here; providers: .*CPU.*onnxruntime-gpu brings CUDA"):
        onnxruntime_providers(device, _ALL[2:] if device != "cuda:x" else _ALL)


_NAMES = {
    "palm-full": (0, 1), "palm-lite": (0, 1), "hand-full": (0, 1), "hand-lite": (0, 1), "face-short": (-1, 1),
    "face-full": (-1, 1), "face-mesh": (0, 1), "iris": (0, 1), "pose-detector": (-1, 1), "body-full": (0, 1),
    "body-lite": (0, 1), "person-detector": (-1, 1),
}  # fmt: skip


@pytest.mark.nightly_after(3)
@pytest.mark.slow
@pytest.mark.parametrize("name", _NAMES)
def test_a_published_network_gives_the_same_on_both_runtimes(name, photo, need):
    """Allow 2e-4 of the values, also for masks with steep edges."""
    (path,), results = need(name).values(), []
    for engine in ("openvino", "onnxruntime"):
        network = load_engine(path, EngineOptions(engine=engine, precision="f32"), value_range=_NAMES[name])
        network.input[0] = cv2.resize(photo, network.input.shape[2:0:-1])
        results.append([output.copy() for output in network.run()])
    for result, other in zip(*results, strict=True):
        assert result.shape == other.shape
        np.testing.assert_allclose(other, result, rtol=0, atol=2e-4 * max(1.0, np.abs(result).max()))


@pytest.mark.parametrize("device", ["toaster", "cuda:99", "gpu:x"])
def test_what_torch_has_not_is_one_line(device):
    pytest.importorskip("torch")
    with pytest.raises(InputError, match=f"--device {device}: PyTorch cannot use it here .*; give cpu or auto$"):
        torch_device(device)
