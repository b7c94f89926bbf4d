"""The report of a run: one page, from what stands in the run's folder, that needs nothing beside it."""

from __future__ import annotations

import base64
import json
from statistics import fmean
from typing import TYPE_CHECKING, Any

from sonjit.documents.document import Heading, Image, Plot, Points, Table, Text, html_from, save_files
from sonjit.documents.plots import Line, lines_svg
from sonjit.training.loop import VANISHED, vanishing
from sonjit.training.run_folder import LOG, RESULT, SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from sonjit.documents.document import Block

REPORT, IMAGES = "report.html", "images"
"""A recipe's images are files of `images/` in the run's folder; their names tell what they show."""

_KINDS = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".svg": "image/svg+xml"}
_OURS = ("step", "rate", "gradient", "layers", "evaluation")


def save_run_report(folder: Path, title: str) -> None:
    """Write `report.html` into a run's folder, of a finished run or one under way.

    Raises:
        InputError: the folder cannot be written to.
        JobError: the disk refuses.
    """
    save_files(folder, {REPORT: html_from(title, list(_blocks(folder)))})


def _blocks(folder: Path) -> Iterator[Block]:
    result: Mapping[str, Any] = _json(folder / RESULT).get("told", {})
    if result:
        yield Heading("What came of it")
        yield Points(tuple(f"{name}: {_shown(value)}" for name, value in result.items()))
    log = _log(folder / LOG)
    if not log:
        yield Text("No step is done yet.")
    else:
        yield from _curves(log)
        yield from _gradients(log)
    if images := sorted(file for file in (folder / IMAGES).glob("*") if file.suffix.lower() in _KINDS):
        yield Heading("Images")
        for file in images:
            kind, data = _KINDS[file.suffix.lower()], base64.b64encode(file.read_bytes()).decode()
            yield Image(f"data:{kind};base64,{data}", file.stem.replace("-", " "))
    if settings := _json(folder / SETTINGS):
        yield Heading("Settings")
        yield Table(("setting", "value"), tuple((name, _shown(value)) for name, value in settings.items()))


def _curves(log: Sequence[Mapping[str, Any]]) -> Iterator[Block]:
    yield Heading("Losses")
    names = [name for name in log[-1] if name not in _OURS]
    steps = [line["step"] for line in log]
    last = log[-max(1, len(log) // 20) :]
    yield Table(
        ("loss", "first step", "mean of the last twentieth"),
        tuple(
            (name, f"{log[0].get(name, 0):.4g}", f"{fmean(line.get(name, 0) for line in last):.4g}") for name in names
        ),
    )
    for at in range(0, len(names), 4):  # as many as there are colours
        some = [Line(name, steps, [line.get(name, float("nan")) for line in log]) for name in names[at : at + 4]]
        yield Plot(f"losses-{at // 4 + 1}", lines_svg(some, "step", "losses over steps"), "losses over steps")
    if judged := [line for line in log if "evaluation" in line]:
        yield Heading("Evaluation")
        for name in judged[-1]["evaluation"]:
            values = [line["evaluation"].get(name, float("nan")) for line in judged]
            svg = lines_svg([Line(name, [line["step"] for line in judged], values)], "step", f"{name} over steps")
            yield Plot(f"evaluation-{name}", svg, f"{name} over steps")
    for key, what in (("rate", "Learning rate"), ("gradient", "Norm of the gradient, before it is cut")):
        yield Heading(what)
        line = Line(what, steps, [line[key] for line in log])
        yield Plot(key, lines_svg([line], "step", what, straight=key == "rate"), what)


def _gradients(log: Sequence[Mapping[str, Any]]) -> Iterator[Block]:
    """Layers from the bottom up, at the beginning, half-way and at the end."""
    told = [line for line in log if line.get("layers")]
    if not told:
        return
    names = list(told[-1]["layers"])
    chosen = {line["step"]: line["layers"] for line in (told[0], told[len(told) // 2], told[-1])}
    numbers = range(1, len(names) + 1)
    title = "gradient by layer"
    yield Heading("Gradients by layer")
    lines = [Line(f"step {step}", numbers, [_positive(at.get(one)) for one in names]) for step, at in chosen.items()]
    yield Plot("gradients", lines_svg(lines, f"layer, from {names[0]} up to {names[-1]}", title), title)
    yield Text("Root mean square over the weights of a layer.")
    rule = f"medians of the lower and the upper third of the layers compared, threshold {VANISHED:g}"
    gone = [(line["step"], part) for line in told if (part := vanishing(line["layers"])) is not None]
    if gone:
        step, part = min(gone, key=lambda one: one[1])
        yield Text(
            f"Gradients vanish towards the lower layers in {len(gone)} of {len(told)} looks: at step {step} they are "
            f"{part:.1g} of the upper layers' ({rule}). Try another initialisation, activation, norms or residuals."
        )
    else:
        yield Text(f"Gradients do not vanish towards the lower layers ({rule}).")


def _positive(value: float | None) -> float:
    return value or float("nan")


def _log(file: Path) -> list[dict[str, Any]]:
    """Whole lines of a log, which may still be written."""
    text = file.read_text("utf-8") if file.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _json(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text("utf-8")) if file.exists() else {}


def _shown(value: Any) -> str:  # noqa: ANN401  # anything of JSON
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "–"
    return "–" if value is None or value == "" else str(value)
