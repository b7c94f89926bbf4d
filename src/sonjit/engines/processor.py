"""Describe the processor of this machine."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path


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
