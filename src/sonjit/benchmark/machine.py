"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_FLAGS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "i8mm", "bf16")


def describe_machine() -> dict[str, Any]:
    """Time, operating system, processor, cores, the instruction sets that matter for networks, load."""
    info = _cpu_info()
    has = set((info.get("flags") or info.get("Features") or "").split())
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": platform.platform(),
        "cpu": info.get("model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "flags": [flag for flag in _FLAGS if flag in has],
        "load_before": load_average(),
    }


def load_average() -> float | None:
    """Processes that wanted to run over the last minute; None where the system does not tell."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _cpu_info() -> dict[str, str]:
    """Linux's first record of each name in /proc/cpuinfo."""
    file = Path("/proc/cpuinfo")
    info: dict[str, str] = {}
    for line in file.read_text().splitlines() if file.is_file() else ():
        name, _, value = line.partition(":")
        info.setdefault(name.strip(), value.strip())
    return info
