"""A run's folder: its settings, its log, and the checkpoint from which it goes on.

The report of a run: a self-contained page from the files of its folder.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, NotRequired, TypedDict, cast

import torch

from sonjit.documents.document import Block, BulletList, Heading, Image, Plot, Table, Text, html_from, save_files
from sonjit.documents.plots import Line, lines_svg
from sonjit.errors import InputError, JobError
from sonjit.extras import require
from sonjit.files import atomic_file, write_text

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

WEIGHTS, CHECKPOINT, LOG, SETTINGS = "weights.safetensors", "checkpoint.pt", "log.jsonl", "settings.json"
"""Files of a run's folder."""

BOARD = "tensorboard"
"""Folder of TensorBoard's files, where they are asked for."""

BEST = "best.safetensors"
"""The weights with the best evaluation so far."""

RESULT = "result.json"
"""What a recipe returned, and the settings that it was given."""


class LogRow(TypedDict):
    """One step: a line of the log.

    Attributes:
        step: from 1.
        losses: by name, before the step.
        learning_rate: of the step.
        gradient_norm: before it is clipped.
        seconds: that the step took.
        waited_seconds: of them, for its batches.
        layer_gradients: root mean square of the gradient by layer, in some steps.
        evaluation: metrics by name, in some steps.
    """

    step: int
    losses: Mapping[str, float]
    learning_rate: float
    gradient_norm: float
    seconds: float
    waited_seconds: float
    layer_gradients: NotRequired[Mapping[str, float]]
    evaluation: NotRequired[Mapping[str, float]]


class RunState(TypedDict):
    """A checkpoint.

    Attributes:
        step: how many are done.
        stopped: the run has ended before its last step, for it got no better.
        best: first metric of the best evaluation so far.
        waited: evaluations since the best one.
        evaluation: the last one.
        parts: state dicts by name: network, optimizer, and the moving average where there is one.
    """

    step: int
    stopped: bool
    best: float | None
    waited: int
    evaluation: dict[str, float]
    parts: Mapping[str, Mapping[str, object]]


class RunFolder:
    """A run's folder.

    Whatever replaces a file is written beside it first, so that a process killed at any moment leaves whole files.

    Args:
        folder: made where it is missing.
        settings: everything that the run depends on: no run with others continues it.
        board: also write the log for TensorBoard.

    Raises:
        InputError: a folder that cannot be written to, or that holds a run with other settings.
        MissingExtraError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, settings: Mapping[str, object], *, board: bool = False) -> None:
        self.folder = folder
        self._board: SummaryWriter | None = None
        self._wants_board = board
        if board:
            require("tensorboard", "tensorboard=true")
        text = json.dumps(settings, indent=2, sort_keys=True) + "\n"
        try:
            file = folder / SETTINGS
            if not file.exists():
                write_text(file, text)
            elif file.read_text("utf-8") != text:
                raise InputError(f"{folder}: holds a run with other settings ({SETTINGS}); give another folder")
        except OSError as error:
            raise InputError(f"{folder}: cannot be written: {error.strerror}") from None

    def restore(self) -> RunState | None:
        """The last checkpoint, if there is one; the log loses what came after it."""
        file, log = self.folder / CHECKPOINT, self.folder / LOG
        state: RunState | None = None
        kept: list[str] = []
        if file.exists():
            try:
                state = torch.load(file, map_location="cpu", weights_only=True)
                assert state is not None
                kept = log.read_text("utf-8").splitlines(keepends=True)[: int(state["step"])]
            except Exception as error:  # torch's reader fails in any way on what is damaged
                raise InputError(
                    f"{file}: a damaged checkpoint ({type(error).__name__}); remove it to begin anew"
                ) from None
        write_text(log, "".join(kept))
        if self._wants_board:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(self.folder / BOARD, purge_step=len(kept) + 1)
        return state

    def log(self, row: LogRow) -> None:
        """Append a row to the log."""
        with (self.folder / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if self._board is not None:
            for name, value in _scalars(row):
                self._board.add_scalar(name, value, row["step"])

    def close(self) -> None:
        """Write what TensorBoard has not been given yet."""
        if self._board is not None:
            self._board.close()

    def save(self, state: RunState) -> None:
        """Write a checkpoint; the one before stays until this one is whole."""
        file = self.folder / CHECKPOINT
        with atomic_file(file) as draft:
            try:
                torch.save(dict(state), draft)
            except RuntimeError as error:  # where the disk refuses
                raise JobError(f"writing {file} failed: {error}") from None


def _scalars(row: LogRow) -> Iterator[tuple[str, float]]:
    for group in ("losses", "evaluation", "layer_gradients"):
        for name, value in row.get(group, {}).items():
            yield f"{group}/{name}", value
    for name in ("learning_rate", "gradient_norm", "seconds", "waited_seconds"):
        yield name, row[name]


REPORT, IMAGES = "report.html", "images"
"""A recipe's images are files of `images/` in the run's folder; their names become captions."""

_KINDS = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".svg": "image/svg+xml"}


def save_run_report(folder: Path, title: str) -> None:
    """Write `report.html` into a run's folder, of a finished run or one under way.

    Raises:
        InputError: the folder cannot be written to.
        JobError: the disk refuses.
    """
    save_files(folder, {REPORT: html_from(title, list(_blocks(folder)))})


def _blocks(folder: Path) -> Iterator[Block]:
    if results := _json(folder / RESULT).get("results"):
        yield Heading("Results")
        yield BulletList(tuple(f"{name}: {_in_words(value)}" for name, value in results.items()))
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
        yield Table(("setting", "value"), tuple((name, _in_words(value)) for name, value in settings.items()))


_LONG_WAIT = 0.1
"""Share of the steps' time from which waiting for batches is too much."""


def _curves(log: Sequence[LogRow]) -> Iterator[Block]:
    yield Heading("Losses")
    losses = [row["losses"] for row in log]
    names, steps = list(losses[-1]), [row["step"] for row in log]
    last = losses[-max(1, len(log) // 20) :]
    yield Table(
        ("loss", "first step", "mean of the last twentieth"),
        tuple(
            (name, f"{losses[0].get(name, 0):.4g}", f"{fmean(row.get(name, 0) for row in last):.4g}") for name in names
        ),
    )
    for at in range(0, len(names), 4):  # as many as there are colours
        lines = [Line(name, steps, [row.get(name, math.nan) for row in losses]) for name in names[at : at + 4]]
        yield Plot(f"losses-{at // 4 + 1}", lines_svg(lines, "step", "losses over steps"), "losses over steps")
    if evaluations := {row["step"]: row["evaluation"] for row in log if "evaluation" in row}:
        yield Heading("Evaluation")
        for name in list(evaluations.values())[-1]:
            values = [metrics.get(name, math.nan) for metrics in evaluations.values()]
            svg = lines_svg([Line(name, list(evaluations), values)], "step", f"{name} over steps")
            yield Plot(f"evaluation-{name}", svg, f"{name} over steps")
    seconds, waited = (sum(row[key] for row in log) for key in ("seconds", "waited_seconds"))
    more = "; more workers may help" if waited > _LONG_WAIT * seconds else ""
    yield Text(f"The network waited for its batches {waited / max(seconds, 1e-9):.0%} of {seconds:.0f} s{more}.")
    for key, what in (
        ("learning_rate", "Learning rate"),
        ("gradient_norm", "Norm of the gradient, before it is clipped"),
    ):
        yield Heading(what)
        line = Line(what, steps, [row[key] for row in log])
        yield Plot(key, lines_svg([line], "step", what, straight=key == "learning_rate"), what)


def _gradients(log: Sequence[LogRow]) -> Iterator[Block]:
    """Layers from the bottom up, at the beginning, half-way and at the end."""
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
        step = min(vanished, key=lambda one: vanished[one])
        yield Text(
            f"Gradients vanish towards the lower layers in {len(vanished)} of {len(by_step)} logged steps: at step "
            f"{step} they are {vanished[step]:.1g} of the upper layers' ({rule}). "
            "Try another initialisation, activation, norms or residuals."
        )
    else:
        yield Text(f"Gradients do not vanish towards the lower layers ({rule}).")


VANISHED = 1e-3
"""Below this part of the upper layers' gradients, those of the lower ones have vanished."""


def vanishing(layers: Mapping[str, float]) -> float | None:
    """Gradients of the lower third of the layers as a part of those of the upper third, where they have vanished.

    Args:
        layers: from the bottom up, as `layer_gradients` gives them; medians of the thirds are compared.

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
    """Whole lines of a log, which may still be written."""
    text = file.read_text("utf-8") if file.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _json(file: Path) -> dict[str, dict[str, object]]:
    return json.loads(file.read_text("utf-8")) if file.exists() else {}


def _in_words(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(_in_words, cast("list[object]", value))) or "–"
    return "–" if value is None or value == "" else str(value)
