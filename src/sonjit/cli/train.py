"""`sonjit train`: train a network from the command line, or continue a run that was stopped."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from sonjit.key_values import key_values

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from sonjit.training.recipes import Progress, TrainingRequest


def train(
    recipe: str = "",
    /,
    *,
    out: str | None = None,
    data: str | None = None,
    images: str | None = None,
    weights: str | None = None,
    extra_keypoints: str | None = None,
    steps: int | None = None,
    device: str = "cpu",
    precision: Literal["f32", "bf16"] | None = None,
    export: Literal["onnx", "openvino"] | None = None,
    settings: Annotated[tuple[str, ...], Parameter(name="--set")] = (),
    smoke: Annotated[bool, Parameter(negative="")] = False,
    ablation: str | None = None,
    list_: Annotated[bool, Parameter(name="--list", negative="")] = False,
) -> None:
    """Train a network by a recipe, Sonjit's own or a TOML file of yours.

    `sonjit train hand-full --data hands.json --images photos/ --out runs/mine --export onnx` fine-tunes the hand
    network on your own hands, and writes what `sonjit hands --landmark-model runs/mine/hand-full.onnx` runs.

    `sonjit train hand-full --data nails.json --images nails.mp4 --out runs/nails --extra-keypoints thumb_nail` adds a
    keypoint. A run that was stopped continues when it is called again.

    `torchrun --nproc-per-node 2 -m sonjit train cam --device cuda` trains with two GPUs.

    Args:
        recipe: What to train: hand-full, hand-lite, cam, mask-rcnn, ..., or the path of a recipe.
        out: Folder of the run: report.html, weights.safetensors, log.jsonl, settings.json, result.json and the last
            checkpoint. runs/RECIPE by default.
        data: Annotations: a JSON file in COCO's format, or the folder that holds it.
        images: Folder of the images, or the video that they are frames of.
        weights: To begin with: published, demo, or a path.
        extra_keypoints: Names of keypoints to add after a hand's 21, with commas.
        steps: Of the optimizer.
        device: cpu, gpu, cuda:1, mps or auto.
        precision: bf16 multiplies in bfloat16; weights stay float32.
        export: Write the trained network for another runtime too.
        settings: Setting of the recipe, e.g. learning_rate=0.0003; may be given several times.
        smoke: Train at the small size, which ends in minutes on a CPU.
        ablation: Run a grid of the recipe, each row with each seed, and show its table beside the published one.
        list_: Show what can be trained.
    """
    from sonjit.errors import InputError
    from sonjit.training.recipes import TrainingRequest, run_recipe

    if list_:
        sys.stdout.write(_recipes())
        return
    if not recipe:
        raise InputError("give a recipe; sonjit train --list shows them")
    typed = {"steps": steps, "extra_keypoints": extra_keypoints, "precision": precision}
    given = dict(key_values(settings))
    given |= {name: str(value) for name, value in typed.items() if value is not None}
    name = "-".join([Path(recipe).stem, *(["smoke"] if smoke else []), *([ablation] if ablation else [])])
    with show_progress() as progress:
        request = TrainingRequest(
            recipe=recipe,
            out=Path("runs", name) if out is None else Path(out),
            data=None if data is None else Path(data),
            images=None if images is None else Path(images),
            weights=weights,
            device=device,
            settings=given,
            progress=progress,
            export=export,
            smoke=smoke,
        )
        results = {} if ablation else run_recipe(request)
        table = _ablate(request, ablation) if ablation else ""
    lines = (f"{name}: {f'{value:.4g}' if isinstance(value, float) else value}\n" for name, value in results.items())
    sys.stdout.write(table + "".join(lines))


def _ablate(request: TrainingRequest, name: str) -> str:
    """Run a grid and write its files; gives its table."""
    from sonjit.training.ablation import run_ablation, save_ablation

    def announce(line: str) -> None:
        sys.stderr.write(f"{line}\n")

    result = run_ablation(request, name, announce)
    return save_ablation(result, request.out) if result.rows else ""


def _recipes() -> str:
    """Each recipe with its summary, data and ablations."""
    from sonjit.training.recipes import list_recipes, load_recipe

    lines: list[str] = []
    for name in list_recipes():
        recipe = load_recipe(name)
        lines += [f"{name}: {recipe.summary}", f"    from {recipe.data}"]
        lines += [f"    --ablation {key}: {grid.title}" for key, grid in recipe.ablation.items()]
    return "\n".join(lines) + "\n"


@contextmanager
def show_progress() -> Generator[Progress]:
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
