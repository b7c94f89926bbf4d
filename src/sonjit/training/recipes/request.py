"""What a recipe is asked to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

    from sonjit.networks.export import Format

Progress: TypeAlias = Callable[[int, int, Mapping[str, float]], None]
"""Told after each step: how many are done, of how many, and the losses."""


def no_progress(done: int, steps: int, losses: Mapping[str, float]) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class TrainingRequest:
    """What a recipe is asked to do.

    Attributes:
        recipe: its name, or the path of its TOML file.
        out: folder of the run; a run that was stopped goes on where it stopped.
        data: annotations, where the recipe takes any.
        images: the folder or video that the annotations speak of.
        weights: to begin with; None for the recipe's own.
        device: of torch, e.g. `cpu` or `cuda`.
        settings: the recipe's own: as typed, `{"steps": "200"}`, or of their own type, `{"steps": 200}`.
        progress: told after each step.
        export: also write the trained network for another runtime, where the recipe can.
        smoke: at the small size, which ends in minutes on a CPU.
    """

    recipe: str
    out: Path
    data: Path | None = None
    images: Path | None = None
    weights: str | None = None
    device: str = "cpu"
    settings: Mapping[str, object] = field(default_factory=dict[str, object])
    progress: Progress = no_progress
    export: Format | None = None
    smoke: bool = False
