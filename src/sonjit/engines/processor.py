"""This machine's processor, as Linux describes it."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path


@cache
def _records() -> dict[str, str]:
    """Linux's first record of each name in /proc/cpuinfo."""
    file = Path("/proc/cpuinfo")
    records: dict[str, str] = {}
    for line in file.read_text().splitlines() if file.is_file() else ():
        name, _, value = line.partition(":")
        records.setdefault(name.strip(), value.strip())
    return records


def processor_name() -> str:
    """Its model, or its architecture where that is all that is known."""
    return _records().get("model name") or platform.processor() or platform.machine()


def processor_flags() -> frozenset[str]:
    """Its instruction sets, by Linux's names; none elsewhere."""
    return frozenset((_records().get("flags") or _records().get("Features") or "").split())
