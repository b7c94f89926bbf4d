"""`sonjit train` trains networks, `sonjit networks` lists them, and `sonjit export` writes one for other runtimes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from sonjit._util import InputError, JobError, json_from
from sonjit._util.data_files import json_values, key_values
from sonjit.cli.options import TO_FILE, TO_FOLDER
from sonjit.cli.progress import print_table
from sonjit_lab.training.recipes import (
    HeldOutChange,
    TrainingRequest,
    held_out_change,
    list_recipes,
    load_recipe,
    plan_recipe,
    run_recipe,
)
from sonjit_lab.training.signals import ignore_early_saves

if TYPE_CHECKING:
    from sonjit_lab.networks.registry import NetworkFacts
    from sonjit_lab.training.recipes import Progress

_MAX_SILENCE_S = 30


def train(
    recipe: str = "",
    /,
    *,
    out: Annotated[str | None, TO_FOLDER] = None,
    data: str | None = None,
    images: str | None = None,
    weights: str | None = None,
    extra_keypoints: str | None = None,
    steps: int | None = None,
    device: str = "cpu",
    precision: Literal["f32", "bf16"] | None = None,
    export: Literal["onnx", "openvino", "tflite"] | None = None,
    settings: Annotated[tuple[str, ...], Parameter(name="--set")] = (),
    smoke: Annotated[bool, Parameter(negative="")] = False,
    ablation: str | None = None,
    sweep: tuple[str, ...] = (),
    metric: str | None = None,
    require_better: Annotated[bool, Parameter(negative="")] = False,
    plan: Annotated[bool, Parameter(negative="")] = False,
    list_: Annotated[bool, Parameter(name="--list", negative="")] = False,
) -> None:
    """Train a network with one of Sonjit's recipes or your own TOML file.

    `sonjit train hand-full --data hands.json --images photos/ --out runs/mine --export onnx` fine-tunes the hand
    network on your own hands. `sonjit hands --landmark-model runs/mine/hand-full.onnx` then uses the new network.

    `sonjit train hand-full --data nails.json --images nails.mp4 --out runs/nails --extra-keypoints thumb_nail` adds a
    keypoint. An interrupted run continues when you rerun the command.

    Args:
        recipe: Name of a recipe such as hand-full, hand-lite, cam or mask-rcnn, or the path of a TOML file.
        out: Folder of the run: report.html, weights.safetensors, log.jsonl, settings.json, result.json and the last
            checkpoint. Default: runs/RECIPE.
        data: Annotations as a JSON file in COCO's format, or its folder.
        images: Folder of the images, or their video.
        weights: Initial weights: published, demo, or a path.
        extra_keypoints: Names of additional keypoints of a hand, separated by commas.
        steps: Number of optimizer steps.
        device: Device: cpu, gpu, cuda:1, mps or auto.
        precision: Number format of the computation. bf16 uses autocast with float32 weights.
        export: Also write the trained network for another runtime.
        settings: Setting of the recipe, e.g. learning_rate=0.0003. Can be repeated.
        smoke: Train at the small size, which finishes in minutes on a CPU.
        ablation: Name of a grid of the recipe. Each row is trained with each seed and compared with published results.
        sweep: Setting and its values, e.g. learning_rate=0.001,0.0003. Every combination is trained. Can be repeated.
        metric: Result that the table of a sweep compares, e.g. accuracy.
        require_better: Exit with status 1 if the network is not better on held-out data than before the training.
        plan: Print steps, hours by GPU, memory and disk of the training, from one small step on the data, and end.
        list_: List the recipes.
    """
    if list_:
        sys.stdout.write(_recipes())
        return
    if not recipe:
        raise InputError("sonjit train requires a recipe; sonjit train --list shows them")
    ignore_early_saves()
    typed = {"steps": steps, "extra_keypoints": extra_keypoints, "precision": precision}
    given = dict(key_values(settings))
    given |= {name: str(value) for name, value in typed.items() if value is not None}
    values = {key: texts.split(",") for key, texts in key_values(sweep, option="--sweep", form="NAME=VALUE,VALUE")}
    if bool(values) != (metric is not None):
        raise InputError("--sweep requires --metric, and --metric applies only to --sweep")
    if values and ablation:
        raise InputError("--sweep cannot be combined with --ablation")
    grid = "sweep" if values else ablation
    if grid and require_better:
        raise InputError("--require-better applies to one training, not to --sweep and --ablation")
    name = "-".join([Path(recipe).stem, *(["smoke"] if smoke else []), *([grid] if grid else [])])
    from sonjit_lab.training.processes import joined, process_count

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
            require_better=require_better,
        )
        if plan:
            if grid:
                raise InputError("--plan applies to one training, not to --sweep and --ablation")
            sys.stdout.write(f"{plan_recipe(request)}\n")
            return
        with joined(request) as process_request:
            if grid and process_count() > 1:
                raise InputError("torchrun shares the batches of one training: start --sweep and --ablation without it")
            results = {} if grid else run_recipe(process_request)
            table = _compare(process_request, ablation, values, metric or "") if grid else ""
            change = held_out_change(process_request.out) if results else None
            sys.stdout.write(table + _in_lines(results, change))
    if require_better and results and not (change and change.is_better):
        raise JobError(f"the training did not make the network better: {change or 'no data were held out'}")


def _in_lines(results: Mapping[str, object], change: HeldOutChange | None) -> str:
    """Return the results of a training and its change on held-out data as text."""
    lines = (f"{name}: {f'{value:.4g}' if isinstance(value, float) else value}\n" for name, value in results.items())
    last = f"{change or 'held-out: no data were evaluated before and after the training'}\n" if results else ""
    return "".join(lines) + last


def _compare(request: TrainingRequest, ablation: str | None, values: dict[str, list[str]], metric: str) -> str:
    """Run an ablation or a sweep, write its files and return its table."""
    from sonjit_lab.training.ablation import run_ablation, run_sweep, save_ablation

    def announce(line: str) -> None:
        sys.stderr.write(f"{line}\n")

    if ablation is not None:
        result = run_ablation(request, ablation, announce)
    else:
        result = run_sweep(request, values, metric, announce)
    return save_ablation(result, request.out)


def _recipes() -> str:
    """Return a list of recipes with their summaries, data and ablations."""
    lines: list[str] = []
    for name in list_recipes():
        recipe = load_recipe(name)
        lines += [f"{name}: {recipe.summary}", f"    from {recipe.data}"]
        lines += [f"    --ablation {key}: {grid.title}" for key, grid in recipe.ablation.items()]
    return "\n".join(lines) + "\n"


@contextmanager
def show_progress() -> Generator[Progress]:
    """Show progress on stderr: a bar on a terminal, otherwise a line at least every half minute while steps finish."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _LinePrinter(lambda line: console.print(line, highlight=False, soft_wrap=True))
        return
    columns = (MofNCompleteColumn(), BarColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)

        def update(done: int, steps: int, values: Mapping[str, float]) -> None:
            bar.update(task, completed=done, total=steps, description=_in_words(values, validation=False))
            if metrics := _in_words(values, validation=True):
                console.print(f"step {done} of {steps}: {metrics}", highlight=False, soft_wrap=True)

        yield update


class _LinePrinter:
    """Progress as lines: the first step, every tenth of the steps, each evaluation, and at least every half minute.

    `write` prints a line.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._first: tuple[int, float] | None = None
        self._last_done, self._printed = 0, time.monotonic()

    def __call__(self, done: int, steps: int, values: Mapping[str, float]) -> None:
        """Print a line if one is due."""
        now = time.monotonic()
        begins = self._first is None or done < self._last_done
        if begins:
            self._first = done, now
        self._last_done = done
        metrics = _in_words(values, validation=True)
        tenth = done == steps or done % max(steps // 10, 1) == 0
        if not (begins or tenth or metrics or now - self._printed >= _MAX_SILENCE_S):
            return
        self._printed = now
        assert self._first is not None
        start, started = self._first
        left = f", {_duration((now - started) / (done - start) * (steps - done))} left" if start < done < steps else ""
        words = ", ".join(part for part in (_in_words(values, validation=False), metrics) if part)
        self._write(f"step {done} of {steps}{left}: {words}")


def _in_words(values: Mapping[str, float], *, validation: bool) -> str:
    """Return the values as text: either those of the validation or the others."""
    chosen = ((name, value) for name, value in values.items() if name.startswith("validation ") == validation)
    return ", ".join(f"{name} {value:.3g}" for name, value in chosen)


def _duration(seconds: float) -> str:
    """Return a duration in the two largest units.

    >>> [_duration(value) for value in (9, 75, 3700)]
    ['9 s', '1 min 15 s', '1 h 1 min']
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def networks(pattern: str = "*", /, *, as_json: Annotated[bool, Parameter(name="--json", negative="")] = False) -> None:
    """List the networks with size, work, input, licence and weights.

    `sonjit networks "hand-*"` shows those of the hand. The work of one image is in millions of floating point
    operations, a multiply-add counted as two; "?" where it depends on what is in the image.

    Args:
        pattern: Pattern of names with * and ?.
        as_json: Print a JSON array instead, including paper and summary.
    """
    from sonjit_lab.networks import list_networks
    from sonjit_lab.networks.registry import describe_network

    names = list_networks(pattern)
    if not names:
        raise InputError(f"No network matches {pattern!r}. Choose from {', '.join(list_networks())}")
    facts = [describe_network(name) for name in names]
    if as_json:
        sys.stdout.write(json_from([_to_dict(network) for network in facts], 2) + "\n")
        return
    headings = ("name", "parameters", "MFLOP", "input", "licence", "weights")
    rows: list[tuple[str, ...]] = []
    for network in facts:
        inputs = ", ".join(
            f"{' x '.join(map(str, spec.shape))} in {spec.low:g}..{spec.high:g}" for spec in network.inputs
        )
        weights = "here" if network.is_local else network.weights
        work = f"{network.flops / 1e6:.0f}"
        rows.append((network.name, f"{network.parameters:,}", work, inputs, network.licence, weights))
    print_table(headings, rows, right=("parameters", "MFLOP"), wrapped=headings[1:])


def _to_dict(network: NetworkFacts) -> dict[str, object]:
    return {
        "name": network.name,
        "summary": network.summary,
        "source": network.source,
        "parameters": network.parameters,
        "flops": network.flops,
        "inputs": [
            {"name": spec.name, "shape": list(spec.shape), "range": [spec.low, spec.high]} for spec in network.inputs
        ],
        "licence": network.licence,
        "weights": network.weights,
        "here": network.is_local,
    }


def export(
    name: str,
    /,
    *,
    out: Annotated[str, TO_FILE],
    weights: str | None = None,
    to: Literal["onnx", "openvino", "tflite"] | None = None,
    dynamic_batch: Annotated[bool, Parameter(negative="")] = False,
    settings: Annotated[tuple[str, ...], Parameter(name="--set")] = (),
) -> None:
    """Write a network as ONNX, OpenVINO IR or TFLite, and report the difference from PyTorch.

    `sonjit export hand-full --weights runs/thumb/weights.safetensors --set keypoints=22 --out hand.onnx` writes a
    network for `sonjit hands photo.jpg --landmark-model hand.onnx`.

    Args:
        name: Name of the network, from `sonjit networks`.
        out: File to write: .onnx, .tflite, or .xml with a .bin file.
        weights: published, demo, or the path of a .safetensors, .pt or .tflite file. Default: published.
        to: Format. Default: the format of the file ending.
        dynamic_batch: Accept batches of any size.
        settings: Option of the network, e.g. keypoints=22. Can be repeated.
    """
    from sonjit_lab.networks import create_network, network_entry
    from sonjit_lab.networks.export import export_network
    from sonjit_lab.papers.mask_rcnn.files import export_mask_rcnn

    entry = network_entry(name)
    if weights is None and entry.weight is None:
        raise InputError(f"{name} has no published weights: give --weights ({entry.where or 'a checkpoint'})")
    if name.startswith("mask-rcnn"):
        if settings or dynamic_batch:
            option = "--set" if settings else "--dynamic-batch"
            raise InputError(f"{option} does not apply to Mask R-CNN, whose run contains its options")
        exported = export_mask_rcnn(weights, Path(out), to)
    else:
        network = create_network(name, weights or "published", **json_values(settings))
        exported = export_network(network, network.inputs, Path(out), to=to, dynamic_batch=dynamic_batch)
    differences = ", ".join(f"{output} {value:.1e}" for output, value in exported.differences.items())
    sys.stdout.write(
        f"{exported.path}: {exported.size / 1e6:.1f} MB; "
        f"largest difference from PyTorch, as part of each output's range: {differences}\n"
    )
