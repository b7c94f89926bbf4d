"""Write the report of a run: a self-contained HTML page from the files of its folder."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import cast

from sonjit._util.data_files import read_json
from sonjit.lab.documents import (
    Block,
    BulletList,
    Heading,
    Image,
    Line,
    Plot,
    Table,
    Text,
    html_from,
    lines_svg,
    save_files,
    smooth_values,
)
from sonjit.lab.training.run_folder import ENVIRONMENT, IMAGES, LOG, RESULT, SETTINGS, LogRow

REPORT = "report.html"
"""File name of the report."""
VANISHED = 1e-3
"""Ratio of lower to upper layers' gradients below which the lower ones have vanished."""
_MEDIA_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".svg": "image/svg+xml"}
_MAX_WAIT = 0.1
"""Fraction of the duration spent waiting for batches above which the report recommends more workers."""


def save_run_report(folder: Path, title: str) -> None:
    """Write `report.html` into the folder of a finished or a running training.

    Raises:
        InputError: The folder is not writable.
        JobError: The file cannot be written.
    """
    save_files(folder, {REPORT: html_from(title, list(_blocks(folder)))})


def _blocks(folder: Path) -> Iterator[Block]:
    if results := _json(folder / RESULT).get("results"):
        yield Heading("Results")
        yield BulletList(tuple(f"{name}: {_format_value(value)}" for name, value in results.items()))
    log = _log(folder / LOG)
    if not log:
        yield Text("No step is finished.")
    else:
        yield from _curves(log)
        yield from _gradients(log)
    if images := sorted(file for file in (folder / IMAGES).glob("*") if file.suffix.lower() in _MEDIA_TYPES):
        yield Heading("Images")
        for file in images:
            media_type, data = _MEDIA_TYPES[file.suffix.lower()], base64.b64encode(file.read_bytes()).decode()
            yield Image(f"data:{media_type};base64,{data}", file.stem.replace("-", " "))
    if settings := _json(folder / SETTINGS):
        yield Heading("Settings")
        flat = {**settings, **settings.pop(ENVIRONMENT, {})}
        yield Table(("setting", "value"), tuple((name, _format_value(value)) for name, value in flat.items()))


def _curves(log: Sequence[LogRow]) -> Iterator[Block]:
    yield from _losses(log)
    evaluations = {row["step"]: row["evaluation"] for row in log if "evaluation" in row}
    if "evaluation_before" in log[0]:
        evaluations = {0: log[0]["evaluation_before"], **evaluations}
    if evaluations:
        yield from _evaluations(log, evaluations)
    yield _speed(log)
    for key, caption in (
        ("learning_rate", "Learning rate"),
        ("gradient_norm", "Norm of the gradient, before it is clipped"),
    ):
        yield Heading(caption)
        line = Line(caption, _steps(log), [row[key] for row in log])
        yield Plot(key, lines_svg([line], "step", caption, straight=key == "learning_rate"), caption)


def _losses(log: Sequence[LogRow]) -> Iterator[Block]:
    """Yield a table of the losses, and their curves."""
    yield Heading("Losses")
    losses = [row["losses"] for row in log]
    names = list(losses[-1])
    last = losses[-max(1, len(log) // 20) :]
    yield Table(
        ("loss", "first step", "mean of the last twentieth"),
        tuple(
            (name, f"{losses[0].get(name, 0):.4g}", f"{fmean(row.get(name, 0) for row in last):.4g}") for name in names
        ),
    )
    for start in range(0, len(names), 4):  # one for each colour
        lines = [
            line
            for colour, name in enumerate(names[start : start + 4])
            for line in _smooth_lines(name, _steps(log), [row.get(name, math.nan) for row in losses], colour)
        ]
        title = "losses over steps, with their moving means"
        yield Plot(f"losses-{start // 4 + 1}", lines_svg(lines, "step", title, logarithmic=True), title)


def _evaluations(log: Sequence[LogRow], evaluations: Mapping[int, Mapping[str, float]]) -> Iterator[Block]:
    """Yield the curves of the metrics by step, the first one also with the training loss."""
    yield Heading("Evaluation")
    steps, rows = list(evaluations), list(evaluations.values())
    metrics = {name: [row.get(name, math.nan) for row in rows] for name in rows[-1]}
    if len(steps) > 1:
        first, values = next(iter(metrics.items()))
        total = [sum(row["losses"].values()) for row in log]
        lines = [
            *_smooth_lines("training loss (left axis)", _steps(log), total, 0),
            Line(f"validation {first} (right axis)", steps, values, right=True, colour=1),
        ]
        title = f"training loss and validation {first} over steps"
        yield Plot("training-and-validation", lines_svg(lines, "step", title, logarithmic=True), title)
    for name, values in metrics.items():
        title = f"{name} over steps"
        yield Plot(f"evaluation-{name}", lines_svg([Line(name, steps, values)], "step", title), title)


def _speed(log: Sequence[LogRow]) -> Text:
    """Return the share of the time spent waiting for batches, and the images per second."""
    seconds, waited = (sum(row[key] for row in log) for key in ("seconds", "waited_seconds"))
    more = "; more workers may help" if waited > _MAX_WAIT * seconds else ""
    images = sum(row.get("images", 0) for row in log)
    rate = f" {images / max(seconds, 1e-9):.3g} images per second." if images else ""
    return Text(f"The network waited for its batches {waited / max(seconds, 1e-9):.0%} of {seconds:.0f} s{more}.{rate}")


def _steps(log: Sequence[LogRow]) -> list[int]:
    return [row["step"] for row in log]


def _smooth_lines(name: str, steps: Sequence[int], values: Sequence[float], colour: int) -> list[Line]:
    """Return a faint line of values and a line of their moving means."""
    return [Line("", steps, values, faint=True, colour=colour), Line(name, steps, smooth_values(values), colour=colour)]


def _gradients(log: Sequence[LogRow]) -> Iterator[Block]:
    """Yield the gradients of the layers, from the input to the output, at the start, the middle and the end."""
    by_step = {row["step"]: row["layer_gradients"] for row in log if "layer_gradients" in row}
    if not by_step:
        return
    steps = list(by_step)
    names = list(by_step[steps[-1]])
    chosen = dict.fromkeys((steps[0], steps[len(steps) // 2], steps[-1]))
    numbers = range(1, len(names) + 1)
    title = "gradient by layer"
    yield Heading("Gradients by layer")
    lines = [Line(f"step {step}", numbers, [by_step[step].get(name) or math.nan for name in names]) for step in chosen]
    yield Plot("gradients", lines_svg(lines, f"layer, from {names[0]} up to {names[-1]}", title), title)
    yield Text("Root mean square over the weights of a layer.")
    rule = f"medians of the lower and the upper third of the layers compared, threshold {VANISHED:g}"
    vanished = {step: part for step, layers in by_step.items() if (part := vanishing(layers)) is not None}
    if vanished:
        step = min(vanished, key=lambda logged: vanished[logged])
        yield Text(
            f"Gradients vanish towards the lower layers in {len(vanished)} of {len(by_step)} logged steps: at step "
            f"{step} they are {vanished[step]:.1g} of the upper layers' ({rule}). "
            "Try another initialisation, activation, norms or residuals."
        )
    else:
        yield Text(f"Gradients do not vanish towards the lower layers ({rule}).")


def vanishing(layers: Mapping[str, float]) -> float | None:
    """Return the ratio of the gradients of the lower to the upper third of the layers if they have vanished, else None.

    Args:
        layers: Gradients from `layer_gradients`, from the input to the output; medians of the thirds are compared.

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


def _log(file: Path) -> list[LogRow]:
    """Return the complete lines of a log that may still be written."""
    text = file.read_text("utf-8") if file.exists() else ""
    lines = (line for line in text.splitlines(keepends=True) if line.endswith("\n"))
    return [json.loads(line, object_hook=_null_to_nan) for line in lines]


def _null_to_nan(values: Mapping[str, object]) -> dict[str, object]:
    """Replace null by NaN, which strict JSON does not have."""
    return {name: math.nan if value is None else value for name, value in values.items()}


def _json(file: Path) -> dict[str, dict[str, object]]:
    return read_json(file) if file.exists() else {}


def _format_value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return (
            ", ".join(f"{name} {_format_value(item)}" for name, item in cast("dict[str, object]", value).items()) or "–"
        )
    if isinstance(value, list):
        return ", ".join(map(_format_value, cast("list[object]", value))) or "–"
    return "–" if value is None or value == "" else str(value)
