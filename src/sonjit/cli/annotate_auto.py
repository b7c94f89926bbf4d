"""`sonjit annotate auto`, `train`, `rank`: labels by machine, what it learns from people, and where it needs them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from sonjit.errors import InputError

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
        network: Folder that `sonjit annotate train --network` wrote: looks once more, after Sonjit's own.
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
    network: Literal["hand-full", "keypoint-detector"] | None = None,
    steps: int | None = None,
    setting: Annotated[list[str] | None, Parameter(name="--set", negative="")] = None,
    device: str = "cpu",
) -> None:
    """Learn from what people marked: where they put each joint, and with --network a network of the project's own.

    Example: `sonjit annotate train desk --network hand-full` fine-tunes Sonjit's hands in some minutes.

    Args:
        project: Folder made by `sonjit annotate new`; `auto` has run, and people marked some instants in two views.
        network: Also train on all views of those instants: hand-full goes on from the published hands,
            keypoint-detector begins anew and needs a GPU. `auto --network` then looks with it.
        steps: Of the network's training; 300 for hand-full and 20000 for keypoint-detector.
        setting: Of the recipe of that name, as key=value; may be repeated.
        device: Of torch.
    """
    import numpy as np

    from sonjit.multiview.annotator_labels import human_frames
    from sonjit.multiview.annotator_runs import learn

    settings = ({} if steps is None else {"steps": str(steps)}) | _settings(setting or [])
    opened = _open(project)
    try:
        offsets = learn(opened)
        size = 1000 * float(np.linalg.norm(offsets.values_m[:, :, 0], axis=-1).mean())
        count = len(human_frames(opened))
        sys.stderr.write(f"people put joints {size:.1f} mm from the machine's, by {count} instants\n")
        if network:
            _train_network(opened, network, settings, device)
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


def _train_network(project: Project, recipe: str, settings: dict[str, str], device: str) -> None:
    from sonjit.cli.train import show_progress
    from sonjit.multiview.annotator_training import train_network

    with show_progress() as shown:
        folder, told = train_network(project, recipe, settings, device=device, progress=shown)
    sys.stdout.write(json.dumps({name: str(value) for name, value in told.items()}, indent=1) + "\n")
    sys.stderr.write(f"look with it: sonjit annotate auto {project.folder} --network {folder}\n")


def _settings(given: list[str]) -> dict[str, str]:
    for one in given:
        if "=" not in one:
            raise InputError(f"--set {one}: write key=value")
    return dict(one.split("=", 1) for one in given)


def _open(project: Path) -> Project:
    from sonjit.multiview.project import open_project

    return open_project(project)
