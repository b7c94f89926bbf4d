"""`sonjit annotate auto`, `train`, `rank`: labels by machine, what it learns from people, and where it needs them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from sonjit.multiview.project import Project


def auto(
    project: Path,
    /,
    *,
    fps: float = 30.0,
    model: Literal["full", "lite"] = "full",
    network: str | None = None,
    jobs: int = 1,
    workers: Literal["pool", "ray"] = "pool",
    leave_out: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Label all instants by machine; a run that was stopped goes on. People then go where `rank` sends them.

    Example: `sonjit annotate auto desk --fps 30 --jobs 4`, mark some frames on the page, `sonjit annotate train desk`,
    and `sonjit annotate auto desk` again.

    Args:
        project: Folder made by `sonjit annotate new`.
        fps: Instants a second, by their numbers.
        model: Which of Sonjit's hands.
        network: Folder that `sonjit annotate train --network` wrote: looks again instead of Sonjit's own.
        jobs: Processes.
        workers: A pool of processes here, or Ray on a cluster whose machines see the project under the same path.
        leave_out: Go on without cameras that do not fit the others.
    """
    from sonjit.cli.report import progress
    from sonjit.multiview.annotator import AnnotatorSettings, annotate

    os.environ.setdefault("SONJIT_THREADS", "1")
    settings = AnnotatorSettings(model, network or "", fps, leave_out)
    opened = _open(project)
    try:
        with progress(None, "chunks") as advance:
            done = annotate(opened, settings, jobs=jobs, workers=workers, expect=advance.expect, advance=advance)
    finally:
        opened.close()
    for line in done.problems:
        sys.stderr.write(f"sonjit: {line}\n")
    share = 100 * done.labelled / max(done.joints, 1)
    before = f", {done.kept} looked at before" if done.kept else ""
    sys.stderr.write(
        f"{done.frames} instants{before}: {done.labelled} of {done.joints} joints labelled ({share:.1f} %); wrote "
        f"{done.folder}\n"
    )
    return 1 if done.problems else 0


def train(
    project: Path,
    /,
    *,
    network: Annotated[bool, Parameter(negative="")] = False,
    steps: int = 20000,
    setting: Annotated[list[str] | None, Parameter(name="--set", negative="")] = None,
    device: str = "cpu",
) -> None:
    """Learn from what people marked: where they put each joint, and with --network a detector of the project's own.

    Args:
        project: Folder made by `sonjit annotate new`; `auto` has run, and people marked some instants in two views.
        network: Also train the 2D detector on all views of those instants; `auto --network` then looks with it.
        steps: Of the network's training.
        setting: Of the recipe keypoint-detector, as key=value; may be repeated.
        device: Of torch.
    """
    import numpy as np

    from sonjit.multiview.annotator_labels import human_frames, write_lessons
    from sonjit.multiview.annotator_runs import FOLDER, learn

    opened = _open(project)
    try:
        offsets = learn(opened)
        frames = human_frames(opened)
        size = 1000 * float(np.linalg.norm(offsets.values_m[:, :, 0], axis=-1).mean())
        sys.stderr.write(f"people put joints {size:.1f} mm from the machine's, by {len(frames)} instants\n")
        if not network:
            return
        lessons = opened.folder / FOLDER / "lessons"
        data = write_lessons(opened, frames, lessons)
        _train_network(data, lessons / "images", opened.folder / FOLDER / "network", steps, setting or [], device)
    finally:
        opened.close()


def rank(project: Path, /, *, count: int = 20) -> None:
    """List the instants that need a human most, and why; the page goes through them by its button.

    Args:
        project: Folder made by `sonjit annotate new`.
        count: How many.
    """
    from rich.console import Console
    from rich.table import Table

    opened = _open(project)
    try:
        needs = sorted(opened.store.needs().items(), key=lambda item: -item[1].score)[:count]
    finally:
        opened.close()
    table = Table("instant", "need", "why", box=None, header_style="bold")
    for frame, need in needs:
        table.add_row(str(frame), f"{need.score:.2f}", need.why or "–")
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _train_network(data: Path, images: Path, out: Path, steps: int, given: list[str], device: str) -> None:
    from sonjit.cli.train import show_progress
    from sonjit.training.recipes import TrainingRequest, run_recipe

    settings: dict[str, Any] = {"steps": str(steps), **dict(one.split("=", 1) for one in given if "=" in one)}
    with show_progress() as shown:
        request = TrainingRequest(
            "keypoint-detector", out, data=data, images=images, device=device, settings=settings, progress=shown
        )
        told = run_recipe(request)
    sys.stdout.write(json.dumps({name: str(value) for name, value in told.items()}, indent=1) + "\n")


def _open(project: Path) -> Project:
    from sonjit.multiview.project import open_project

    return open_project(project)
