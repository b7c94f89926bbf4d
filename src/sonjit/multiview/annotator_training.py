"""Networks that a project's people teach, in folders that `sonjit annotate auto --network` takes."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Final

from sonjit.multiview.annotator_labels import human_frames, write_lessons
from sonjit.multiview.annotator_runs import FOLDER
from sonjit.multiview.second_look import HAND_NETWORK
from sonjit.training.recipes import TrainingRequest, no_progress, run_recipe

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sonjit.multiview.project import Project
    from sonjit.training.recipes import Progress

_USUAL: Final[Mapping[str, Mapping[str, str]]] = {
    HAND_NETWORK: {
        "steps": "300", "batch": "16", "rate": "1e-4", "held_out": "0",
        "freeze": ",".join(("stem", "first", *(f"blocks.{place}" for place in range(7)))),
    },
    "keypoint-detector": {"steps": "20000"},
}  # fmt: skip
"""What some hundred hands of one person need; what sees edges stays, which also halves the time."""


def train_network(
    project: Project,
    recipe: str,
    settings: Mapping[str, str],
    *,
    device: str = "cpu",
    progress: Progress = no_progress,
) -> tuple[Path, Mapping[str, object]]:
    """Train a network on every view of the instants that people marked; goes on with a run that was stopped.

    Args:
        project: whose marks count.
        recipe: `hand-full` goes on from the published hands, `keypoint-detector` begins anew.
        settings: of the recipe, as typed.
        device: of torch.
        progress: told after each step.

    Returns:
        The run's folder, another one for other marks or settings; and what the recipe tells.

    Raises:
        InputError: nobody marked a joint in two views, or a setting that the recipe does not have.
    """
    hands = recipe == HAND_NETWORK
    lessons = project.folder / FOLDER / f"lessons-{recipe}"
    data = write_lessons(project, human_frames(project), lessons, as_right=hands)
    chosen = {**_USUAL[recipe], **settings}
    said = json.dumps(chosen, sort_keys=True).encode()
    folder = project.folder / FOLDER / f"{recipe}-{hashlib.sha256(data.read_bytes() + said).hexdigest()[:8]}"
    request = TrainingRequest(
        recipe, folder, data=data, images=lessons / "images", device=device, settings=chosen,
        progress=progress, export="openvino" if hands else None,
    )  # fmt: skip
    return folder, run_recipe(request)
