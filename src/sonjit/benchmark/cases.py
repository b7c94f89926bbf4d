"""What is measured, and on what machine."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NotRequired, TypedDict

from sonjit.detectors.kinds import KINDS

ONE_HAND_FRAMES = 75
"""Frames at the start of the bundled clip with exactly one hand in the image; a second one enters after them."""


@dataclass(frozen=True)
class Case:
    """One configuration to measure.

    Attributes:
        name: for the table.
        kind, model, max_instances, static_image, segmentation: as `create_detector` takes them.
        clip_frames: how many frames of the bundled clip are used, played there and back; None for all.
        copies: how often each image is in the frame, side by side.
        peer: whether MediaPipe can do the same: its wheel holds only the full body, and it finds one body at most.
        against: name of the case before, of which this one's cost is a multiple worth knowing.
    """

    name: str
    kind: str
    model: str
    max_instances: int
    static_image: bool
    clip_frames: int | None = None
    segmentation: bool = False
    copies: int = 1
    peer: bool = True
    against: str | None = None

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of the files that it loads."""
        return tuple(KINDS[self.kind].models[self.model].weights.values())

    @property
    def subject(self) -> str:
        """Whose images it needs: "hands", "face" or "body"."""
        return "body" if self.kind == "holistic" else self.kind


_HANDS, _MESHES, _BOXES = ("full", "lite"), ("mesh", "attention"), ("box", "box-full")
_FULL = "body: tracked, full"

CASES = (
    *(Case(f"hands: tracked, 1 of max 1, {m}", "hands", m, 1, False, ONE_HAND_FRAMES) for m in _HANDS),
    *(Case(f"hands: tracked, 1 of max 2, {m}", "hands", m, 2, False, ONE_HAND_FRAMES) for m in _HANDS),
    *(Case(f"hands: stills, max 2, {m}", "hands", m, 2, True) for m in _HANDS),
    *(Case(f"face: tracked, {m}", "face", m, 1, False) for m in _MESHES),
    *(Case(f"face: stills, {m}", "face", m, 1, True) for m in _MESHES),
    *(Case(f"face: {m}", "face", m, 1, False) for m in _BOXES),
    Case(_FULL, "body", "full", 1, False),
    Case("body: stills, full", "body", "full", 1, True),
    Case("body: tracked, full, masks", "body", "full", 1, False, segmentation=True),
    *(Case(f"body: tracked, {m}", "body", m, 1, False, peer=False) for m in ("lite", "heavy")),
    Case("body: tracked, 2 of max 2, full", "body", "full", 2, False, copies=2, peer=False, against=_FULL),
    Case("holistic: tracked, full", "holistic", "full", 1, False),
)

_FLAGS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "i8mm", "bf16")


class Machine(TypedDict):
    """Time, operating system, processor, cores, the instruction sets that matter for networks, load."""

    date: str
    system: str
    cpu: str
    cores: int | None
    flags: list[str]
    load_before: float | None
    load_after: NotRequired[float | None]


def describe_machine() -> Machine:
    """This machine, before anything is measured."""
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
    """Processes that wanted to run over the last minute; None where the system does not report it."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _cpu_info() -> dict[str, str]:
    """Linux's first record of each name in /proc/cpuinfo."""
    file = Path("/proc/cpuinfo")
    info: dict[str, str] = {}
    for line in file.read_text().splitlines() if file.is_file() else ():
        name, _, value = line.partition(":")
        info.setdefault(name.strip(), value.strip())
    return info
