"""What devices are called, for all three runtimes: the one place that knows their own names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from sonjit.errors import InputError

if TYPE_CHECKING:
    import torch

ProviderChoice: TypeAlias = "tuple[str, dict[str, str]]"
"""An execution provider of ONNX Runtime with its options."""

_SEVERAL: Final = ("AUTO", "MULTI", "HETERO")
"""OpenVINO's names before a list of devices, such as AUTO:GPU,CPU."""

_PROVIDERS: Final = {
    "CPU": ("CPU",),
    "CUDA": ("CUDA",),
    "TENSORRT": ("Tensorrt",),
    "COREML": ("CoreML",),
    "DIRECTML": ("Dml",),
    "GPU": ("CUDA", "ROCM", "MIGraphX", "Dml", "CoreML"),
    "NPU": ("QNN", "VitisAI", "CoreML"),
    "AUTO": ("CUDA", "ROCM", "MIGraphX", "Dml", "CoreML", "QNN", "CPU"),
}
"""By device, the beginnings of the names of ONNX Runtime's providers; the first that is there is taken."""

_END: Final = "ExecutionProvider"


def openvino_device(device: str, available: Sequence[str]) -> str:
    """OpenVINO's own name of a device.

    Args:
        device: in any case: `cpu`, `gpu`, `gpu.1`, `npu`, `auto`, or a list such as `auto:gpu,cpu`.
        available: OpenVINO's devices here.

    Returns:
        The name; `CPU` for auto where there is nothing else.

    Raises:
        InputError: it is not there; names what is.
    """
    name = device.upper()
    if name == "AUTO":
        return "CPU" if list(available) == ["CPU"] else name
    first, _, listed = name.partition(":")
    known = {*available, *(one.partition(".")[0] for one in available)}
    if missing := [one for one in (listed.split(",") if first in _SEVERAL and listed else [name]) if one not in known]:
        advice = (
            "; detectors with engine='onnxruntime' may have it" if missing[0].partition(":")[0] in _PROVIDERS else ""
        )
        raise InputError(f"OpenVINO has no device {missing[0]!r}{advice}; devices here: {', '.join(available)}")
    return name


def onnxruntime_providers(device: str, available: Sequence[str]) -> list[ProviderChoice]:
    """ONNX Runtime's execution providers for a device, the CPU as the last.

    Args:
        device: in any case: `cpu`, `cuda`, `cuda:1`, `tensorrt`, `coreml`, `directml`, `gpu`, `npu`, or `auto`, which
            takes the CPU where nothing else is there.
        available: ONNX Runtime's providers here.

    Raises:
        InputError: it is not there; names what is.
    """
    name, _, number = device.upper().partition(":")
    found = next((one + _END for one in _PROVIDERS.get(name, ()) if one + _END in available), None)
    if found is None or (number and not number.isdecimal()):
        raise InputError(
            f"ONNX Runtime has no device {device!r} here; providers: {', '.join(available)} "
            "(onnxruntime-gpu brings CUDA and TensorRT, onnxruntime-directml DirectML)"
        )
    chosen = [found, *(["CUDA" + _END] if name == "TENSORRT" and "CUDA" + _END in available else [])]
    options = {"device_id": number} if number else {}
    return [*((one, options) for one in chosen if one != "CPU" + _END), ("CPU" + _END, {})]


def torch_device(device: str) -> torch.device:
    """PyTorch's device.

    Args:
        device: PyTorch's own name, such as `cpu`, `cuda`, `cuda:1`, `mps` or `xpu`; `gpu` for the accelerator that is
            here; `auto` for that or, without one, the CPU.

    Raises:
        InputError: it is not there.
    """
    import torch

    name, accelerator = device.lower(), torch.accelerator.current_accelerator(check_available=True)
    if name in ("gpu", "auto") and accelerator is not None:
        name = accelerator.type
    try:
        found = torch.device("cpu" if name == "auto" else name)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"--device {device}: PyTorch cannot use it here ({reason}); give cpu or auto") from None
    return found
