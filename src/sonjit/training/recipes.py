"""What `sonjit train` can train: one record per recipe, and the settings that `--set key=value` changes.

A recipe is a function from a `TrainingRequest` to what is worth telling at the end; it stands in a file of its own,
which is imported only when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, get_type_hints

from sonjit.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from sonjit.networks.export import Format

S = TypeVar("S")

Progress: TypeAlias = Callable[[int, int, Mapping[str, float]], None]
"""Told after each step: how many are done, of how many, and the losses."""


def no_progress(done: int, steps: int, losses: Mapping[str, float]) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class TrainingRequest:
    """What a recipe is asked to do.

    Attributes:
        recipe: its name, which may be that of a network.
        out: folder of the run; a run that was stopped goes on where it stopped.
        data: annotations, where the recipe takes any.
        images: the folder or video that the annotations speak of.
        weights: to begin with; None for the recipe's own.
        device: of torch, e.g. `cpu` or `cuda`.
        settings: the recipe's own, as typed: `{"steps": "200"}`.
        progress: told after each step.
        export: also write the trained network for another runtime, where the recipe can.
    """

    recipe: str
    out: Path
    data: Path | None = None
    images: Path | None = None
    weights: str | None = None
    device: str = "cpu"
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    progress: Progress = no_progress
    export: Format | None = None


@dataclass(frozen=True)
class Recipe:
    """One thing to train.

    Attributes:
        summary: one line.
        function: where it stands, `module:function`; it takes a `TrainingRequest` and gives a mapping of what is worth
            telling, such as `{"weights": path, "error_px": 0.8}`.
    """

    summary: str
    function: str


RECIPES: dict[str, Recipe] = {
    "cam": Recipe("tell left hands from right ones, and show where they are", "sonjit.training.cam:train_cam"),
    "hand-full": Recipe("fine-tune the hand landmark network, with more keypoints where asked for",
                        "sonjit.training.landmarks:train_landmarks"),
    "hand-lite": Recipe("the same for the smaller network", "sonjit.training.landmarks:train_landmarks"),
    "mask-rcnn": Recipe("train Mask R-CNN on a data set in COCO's format and judge it on pictures held out",
                        "sonjit.training.instances:train_instances"),
}  # fmt: skip


def run_recipe(request: TrainingRequest) -> Mapping[str, object]:
    """Train what is asked for.

    Raises:
        InputError: an unknown recipe or setting, or data that cannot be used.
    """
    recipe = RECIPES.get(request.recipe)
    if recipe is None:
        raise InputError(f"unknown recipe {request.recipe!r}; known: {', '.join(sorted(RECIPES))}")
    module, _, function = recipe.function.partition(":")
    return getattr(import_module(module), function)(request)


def settings_from(kind: type[S], given: Mapping[str, str]) -> S:
    """A recipe's settings: a dataclass of int, float, bool, str and tuple[str, ...], with what was typed put in.

    Raises:
        InputError: an unknown key, or a value of another type.
    """
    hints: dict[str, Any] = get_type_hints(kind)
    known = [item.name for item in fields(kind)]  # pyright: ignore[reportArgumentType]
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise InputError(f"unknown setting {', '.join(map(repr, unknown))}; known: {', '.join(known)}")
    return kind(**{name: _value(name, text, hints[name]) for name, text in given.items()})


def _value(name: str, text: str, kind: Any) -> object:  # noqa: ANN401  # a type
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise InputError(f"{name}={text}: give true or false")
        return text.lower() == "true"
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            raise InputError(f"{name}={text}: give {'a whole number' if kind is int else 'a number'}") from None
    return text if kind is str else tuple(part.strip() for part in text.split(",") if part.strip())
