"""Description of this machine for reports of evaluations and benchmarks."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from typing import Final, NotRequired, TypedDict

from sonjit.engines.processor import processor_flags, processor_name

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
