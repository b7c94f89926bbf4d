"""Write the report of a run: a self-contained HTML page from the files of its folder."""

import base64
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import cast

from sonjit._util.data_files import read_json
from sonjit.report import documents as docs
from sonjit_lab.training.run_folder import ENVIRONMENT, IMAGES, LOG, RESULT, SETTINGS, LogRow

REPORT = "report.html"  # file name of the report
VANISHED = 1e-3  # ratio of lower to upper layers' gradients below which the lower ones have vanished
_MEDIA_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".svg": "image/svg+xml"}
_MAX_WAIT = 0.1  # fraction of the duration spent waiting for batches above which the report recommends more workers


def save_run_report(folder: Path, title: str) -> None:
    """Write `report.html` into the folder of a finished or a running training."""
    docs.save_files(folder, {REPORT: docs.html_from(title, list(_blocks(folder)))})


def _blocks(folder: Path) -> Iterator[docs.Block]:
    results, settings = (read_json(file) if (file := folder / name).exists() else {} for name in (RESULT, SETTINGS))
    if results.get("results"):
        yield docs.Heading("Results")
        yield docs.BulletList(tuple(f"{name}: {_format_value(value)}" for name, value in results["results"].items()))
    log = _read_log(folder / LOG)
    yield from _curves(log) if log else [docs.Text("No step is finished.")]
    if images := sorted(file for file in (folder / IMAGES).glob("*") if file.suffix.lower() in _MEDIA_TYPES):
        yield docs.Heading("Images")
        for file in images:
            media_type, data = _MEDIA_TYPES[file.suffix.lower()], base64.b64encode(file.read_bytes()).decode()
            yield docs.Image(f"data:{media_type};base64,{data}", file.stem.replace("-", " "))
    if settings:
        yield docs.Heading("Settings")
        flat = {**settings, **settings.pop(ENVIRONMENT, {})}
        yield docs.Table(("setting", "value"), tuple((name, _format_value(value)) for name, value in flat.items()))


def _read_log(file: Path) -> list[LogRow]:
    """Return the complete lines of a log that may still be written, with NaN for null."""
    text = file.read_text("utf-8") if file.exists() else ""

    def null_to_nan(values: Mapping[str, object]) -> dict[str, object]:
        return {name: math.nan if value is None else value for name, value in values.items()}

    lines = (line for line in text.splitlines(keepends=True) if line.endswith("\n"))
    return [json.loads(line, object_hook=null_to_nan) for line in lines]


def _curves(log: Sequence[LogRow]) -> Iterator[docs.Block]:
    """Yield the losses, metrics, speed, learning rate and gradients over the steps."""
    steps, losses = [row["step"] for row in log], [row["losses"] for row in log]
    names, last = list(losses[-1]), losses[-max(1, len(log) // 20) :]
    yield docs.Heading("Losses")
    firsts = ((name, losses[0].get(name, 0), fmean(row.get(name, 0) for row in last)) for name in names)
    rows = tuple((name, f"{first:.4g}", f"{mean:.4g}") for name, first, mean in firsts)
    yield docs.Table(("loss", "first step", "mean of the last twentieth"), rows)
    for start in range(0, len(names), 4):  # one for each colour
        lines = [
            line
            for colour, name in enumerate(names[start : start + 4])
            for line in _smooth_lines(name, steps, [row.get(name, math.nan) for row in losses], colour)
        ]
        title = "losses over steps, with their moving means"
        yield docs.Plot(f"losses-{start // 4 + 1}", docs.lines_svg(lines, "step", title, logarithmic=True), title)
    evaluations = {row["step"]: row["evaluation"] for row in log if "evaluation" in row}
    if "evaluation_before" in log[0]:
        evaluations = {0: log[0]["evaluation_before"], **evaluations}
    if evaluations:
        yield from _metrics(steps, [sum(row.values()) for row in losses], evaluations)
    seconds, waited = (sum(row[key] for row in log) for key in ("seconds", "waited_seconds"))
    more = "; more workers may help" if waited > _MAX_WAIT * seconds else ""
    images = sum(row.get("images", 0) for row in log)
    rate = f" {images / max(seconds, 1e-9):.3g} images per second." if images else ""
    yield docs.Text(
        f"The network waited for its batches {waited / max(seconds, 1e-9):.0%} of {seconds:.0f} s{more}.{rate}"
    )
    captions = {"learning_rate": "Learning rate", "gradient_norm": "Norm of the gradient, before it is clipped"}
    for key, caption in captions.items():
        yield docs.Heading(caption)
        line = docs.Line(caption, steps, [row[key] for row in log])
        yield docs.Plot(key, docs.lines_svg([line], "step", caption, straight=key == "learning_rate"), caption)
    gradients = {row["step"]: row["layer_gradients"] for row in log if "layer_gradients" in row}
    if gradients:
        yield from _gradients(gradients)


def _metrics(
    steps: Sequence[int], total: Sequence[float], evaluations: Mapping[int, Mapping[str, float]]
) -> Iterator[docs.Block]:
    """Yield the curves of the metrics by step, the first one also with the training loss."""
    yield docs.Heading("Evaluation")
    evaluated, rows = list(evaluations), list(evaluations.values())
    metrics = {name: [row.get(name, math.nan) for row in rows] for name in rows[-1]}
    if len(evaluated) > 1:
        first, values = next(iter(metrics.items()))
        validation = docs.Line(f"validation {first} (right axis)", evaluated, values, right=True, colour=1)
        lines = [*_smooth_lines("training loss (left axis)", steps, total, 0), validation]
        title = f"training loss and validation {first} over steps"
        yield docs.Plot("training-and-validation", docs.lines_svg(lines, "step", title, logarithmic=True), title)
    for name, values in metrics.items():
        title = f"{name} over steps"
        yield docs.Plot(
            f"evaluation-{name}", docs.lines_svg([docs.Line(name, evaluated, values)], "step", title), title
        )


def _gradients(by_step: Mapping[int, Mapping[str, float]]) -> Iterator[docs.Block]:
    """Yield the gradients of the layers, from the input to the output, at the start, the middle and the end."""
    steps = list(by_step)
    names = list(by_step[steps[-1]])
    numbers, title = range(1, len(names) + 1), "gradient by layer"
    yield docs.Heading("Gradients by layer")
    lines = [
        docs.Line(f"step {step}", numbers, [by_step[step].get(name) or math.nan for name in names])
        for step in dict.fromkeys((steps[0], steps[len(steps) // 2], steps[-1]))
    ]
    yield docs.Plot("gradients", docs.lines_svg(lines, f"layer, from {names[0]} up to {names[-1]}", title), title)
    yield docs.Text("Root mean square over the weights of a layer.")
    rule = f"medians of the lower and the upper third of the layers compared, threshold {VANISHED:g}"
    vanished = {step: part for step, layers in by_step.items() if (part := vanishing(layers)) is not None}
    if vanished:
        step = min(vanished, key=lambda logged: vanished[logged])
        yield docs.Text(
            f"Gradients vanish towards the lower layers in {len(vanished)} of {len(by_step)} logged steps: at step "
            f"{step} they are {vanished[step]:.1g} of the upper layers' ({rule}). "
            "Try another activation, norms or residuals."
        )
    else:
        yield docs.Text(f"Gradients do not vanish towards the lower layers ({rule}).")


def _smooth_lines(name: str, steps: Sequence[int], values: Sequence[float], colour: int) -> list[docs.Line]:
    """Return a faint line of values and a line of their moving means."""
    return [
        docs.Line("", steps, values, faint=True, colour=colour),
        docs.Line(name, steps, docs.smooth_values(values), colour=colour),
    ]


def vanishing(layers: Mapping[str, float]) -> float | None:
    """Return the ratio of the gradients of the lower to the upper third of the layers if they have vanished, else None.

    >>> vanishing({"a": 1e-6, "b": 1e-4, "c": 1e-1})
    1e-05
    >>> vanishing({"a": 1e-2, "b": 1e-4, "c": 1e-1}) is None
    True
    """
    values = list(layers.values())
    third = len(values) // 3
    if third == 0:
        return None
    low, high = median(values[:third]), median(values[-third:])
    if high == 0 or low / high >= VANISHED:
        return None
    return round(low / high, 12)


def _format_value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        items = cast("dict[str, object]", value).items()
        return ", ".join(f"{name} {_format_value(item)}" for name, item in items) or "–"
    if isinstance(value, list):
        return ", ".join(map(_format_value, cast("list[object]", value))) or "–"
    return "–" if value is None or value == "" else str(value)
