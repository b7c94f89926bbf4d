"""Translate device names for OpenVINO, ONNX Runtime and PyTorch."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NotRequired, TypeAlias, TypedDict

from sonjit._util import InputError

if TYPE_CHECKING:
    import torch

ProviderChoice: TypeAlias = "tuple[str, dict[str, str]]"  # an execution provider of ONNX Runtime with its options
_SEVERAL: Final = ("AUTO", "MULTI", "HETERO")  # prefixes of OpenVINO before a list of devices, such as AUTO:GPU,CPU
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
"""Prefixes of the names of ONNX Runtime's providers by device. The first available provider is used."""
_END: Final = "ExecutionProvider"
_FLAGS: Final = (
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "i8mm",
    "bf16",
)
"""Instruction sets that affect the speed of networks."""


def openvino_device(device: str, available: Sequence[str]) -> str:
    """Return OpenVINO's name of a device; `CPU` for auto where there is nothing else.

    `device`: name in any case: `cpu`, `gpu`, `gpu.1`, `npu`, `auto`, or a list such as `auto:gpu,cpu`.
    """
    name = device.upper()
    if name == "AUTO":
        return "CPU" if list(available) == ["CPU"] else name
    first, _, listed = name.partition(":")
    devices = {*available, *(item.partition(".")[0] for item in available)}
    if missing := [
        item for item in (listed.split(",") if first in _SEVERAL and listed else [name]) if item not in devices
    ]:
        advice = (
            "; detectors with engine='onnxruntime' may have it" if missing[0].partition(":")[0] in _PROVIDERS else ""
        )
        raise InputError(f"OpenVINO has no device {missing[0]!r}{advice}; devices here: {', '.join(available)}")
    return name


def onnxruntime_providers(device: str, available: Sequence[str]) -> list[ProviderChoice]:
    """Return the execution providers of ONNX Runtime for a device, the CPU last.

    `device`: name in any case: `cpu`, `cuda`, `cuda:1`, `tensorrt`, `coreml`, `directml`, `gpu`, `npu`, or `auto`.
    """
    name, _, number = device.upper().partition(":")
    provider = next((item + _END for item in _PROVIDERS.get(name, ()) if item + _END in available), None)
    if provider is None or (number and not number.isdecimal()):
        raise InputError(
            f"ONNX Runtime has no device {device!r} here; providers: {', '.join(available)} "
            "(onnxruntime-gpu brings CUDA and TensorRT, onnxruntime-directml DirectML)"
        )
    chosen = [provider, *(["CUDA" + _END] if name == "TENSORRT" and "CUDA" + _END in available else [])]
    options = {"device_id": number} if number else {}
    return [*((item, options) for item in chosen if item != "CPU" + _END), ("CPU" + _END, {})]


def torch_device(device: str) -> torch.device:
    """Return PyTorch's device of a name such as `cuda:1` or `mps`, of `gpu` (the accelerator), or of `auto`."""
    import torch

    name, accelerator = device.lower(), torch.accelerator.current_accelerator(check_available=True)
    if name in ("gpu", "auto") and accelerator is not None:
        name = accelerator.type
    try:
        provider = torch.device("cpu" if name == "auto" else name)
        torch.empty(0, device=provider)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"--device {device}: PyTorch cannot use it here ({reason}); give cpu or auto") from None
    return provider


@cache
def _records() -> dict[str, str]:
    """Read the first value of each name in /proc/cpuinfo."""
    file = Path("/proc/cpuinfo")
    records: dict[str, str] = {}
    for line in file.read_text().splitlines() if file.is_file() else ():
        name, _, value = line.partition(":")
        records.setdefault(name.strip(), value.strip())
    return records


def processor_name() -> str:
    """Return the model of the processor, or its architecture if the model is unknown."""
    return _records().get("model name") or platform.processor() or platform.machine()


def processor_flags() -> frozenset[str]:
    """Return the instruction sets by their names in Linux; empty on other systems."""
    return frozenset((_records().get("flags") or _records().get("Features") or "").split())


class Machine(TypedDict):
    """Return time, operating system, processor, cores, relevant instruction sets and load."""

    date: str
    system: str
    cpu: str
    cores: int | None
    flags: list[str]
    load_before: float | None
    load_after: NotRequired[float | None]


def describe_machine() -> Machine:
    """Describe this machine. Call it before the measurement."""
    has = processor_flags()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": platform.platform(),
        "cpu": processor_name(),
        "cores": os.cpu_count(),
        "flags": [flag for flag in _FLAGS if flag in has],
        "load_before": load_average(),
    }


def load_average() -> float | None:
    """Return the mean number of runnable processes over the last minute; None where the system does not report it."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
