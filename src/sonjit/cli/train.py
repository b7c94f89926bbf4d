"""`sonjit train`: train a network from the command line, and go on where a run was stopped."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from sonjit.training.recipes import Progress


def train(
    recipe: str,
    /,
    *,
    out: str,
    data: str | None = None,
    images: str | None = None,
    weights: str | None = None,
    extra_keypoints: str | None = None,
    steps: int | None = None,
    device: str = "cpu",
    export: Literal["onnx", "openvino"] | None = None,
    settings: Annotated[tuple[str, ...], Parameter(name="--set")] = (),
    smoke: bool = False,
) -> None:
    """Train a network by a recipe, Sonjit's own or a TOML file of yours.

    `sonjit train hand-full --data hands.json --images photos/ --out runs/mine --export onnx` fine-tunes the hand
    network on your own hands, and writes what `sonjit hands --landmark-model runs/mine/hand-full.onnx` runs.

    `sonjit train hand-full --data nails.json --images nails.mp4 --out runs/nails --extra-keypoints thumb_nail` adds a
    keypoint. A run that was stopped goes on where it stopped when it is called again.

    Args:
        recipe: What to train: hand-full, hand-lite, cam, mask-rcnn, ..., or the path of a recipe.
        out: Folder of the run: weights.safetensors, log.jsonl, settings.json and the last checkpoint.
        data: Annotations: a JSON file in COCO's format, or the folder that holds it.
        images: Folder of the pictures, or the video that they are frames of.
        weights: To begin with: published, demo, or a path.
        extra_keypoints: Names of keypoints to add after a hand's 21, with commas.
        steps: Of the optimizer.
        device: cpu, cuda or cuda:1.
        export: Write the trained network for another runtime too.
        settings: Setting of the recipe, e.g. rate=0.0003; may be given several times.
        smoke: Train at the small size, which ends in minutes on a CPU.
    """
    from sonjit.training.recipes import TrainingRequest, run_recipe

    given = dict(_pair(setting) for setting in settings)
    if steps is not None:
        given["steps"] = str(steps)
    if extra_keypoints is not None:
        given["extra_keypoints"] = extra_keypoints
    with _show_progress() as progress:
        told = run_recipe(
            TrainingRequest(
                recipe=recipe,
                out=Path(out),
                data=None if data is None else Path(data),
                images=None if images is None else Path(images),
                weights=weights,
                device=device,
                settings=given,
                progress=progress,
                export=export,
                smoke=smoke,
            )
        )
    lines = (f"{name}: {f'{value:.4g}' if isinstance(value, float) else value}\n" for name, value in told.items())
    sys.stdout.write("".join(lines))


def _pair(setting: str) -> tuple[str, str]:
    from sonjit.errors import InputError

    key, equals, value = setting.partition("=")
    if not equals:
        raise InputError(f"--set {setting}: give key=value")
    return key, value


@contextmanager
def _show_progress() -> Generator[Progress]:
    """A bar with the losses on a terminal's stderr, a line for every tenth of the way elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:

        def print_line(done: int, steps: int, losses: Mapping[str, float]) -> None:
            if done == steps or done % max(steps // 10, 1) == 0:
                console.print(f"step {done} of {steps}: {_in_words(losses)}", highlight=False, soft_wrap=True)

        yield print_line
        return
    columns = (MofNCompleteColumn(), BarColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, steps, losses: bar.update(task, completed=done, total=steps, description=_in_words(losses))


def _in_words(losses: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in losses.items())
