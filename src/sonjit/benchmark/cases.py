"""What is measured, as data."""

from __future__ import annotations

from dataclasses import dataclass

ONE_HAND_FRAMES = 75
"""Frames at the start of the bundled clip with exactly one hand in the picture; a second one enters after them."""


@dataclass(frozen=True)
class Case:
    """One configuration to measure.

    Attributes:
        name: for the table.
        kind, model, max_instances, static_image: as `create_detector` takes them.
        weights: names of the files that it loads, the landmark network last.
        clip_frames: how many frames of the bundled clip are used, played there and back; None for all.
    """

    name: str
    kind: str
    model: str
    max_instances: int
    static_image: bool
    weights: tuple[str, ...]
    clip_frames: int | None = None


_HANDS = {"full": ("palm-full", "hand-full"), "lite": ("palm-lite", "hand-lite")}

CASES = (
    *(Case(f"tracked, 1 of max 1, {m}", "hands", m, 1, False, w, ONE_HAND_FRAMES) for m, w in _HANDS.items()),
    *(Case(f"tracked, 1 of max 2, {m}", "hands", m, 2, False, w, ONE_HAND_FRAMES) for m, w in _HANDS.items()),
    *(Case(f"stills, max 2, {m}", "hands", m, 2, True, w) for m, w in _HANDS.items()),
)
