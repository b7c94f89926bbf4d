"""Train a network on the marks of a project."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sonjit.lab.training.recipes import Progress, TrainingRequest, no_progress, run_recipe
from sonjit.studio.annotation.project import Project
from sonjit.studio.automatic.learning import human_frames, write_training_set
from sonjit.studio.automatic.run_folder import FOLDER
from sonjit.studio.automatic.second_pass import HAND_NETWORK

_DEFAULT_SETTINGS: Final[Mapping[str, Mapping[str, str]]] = {
    HAND_NETWORK: {
        "steps": "300", "batch": "16", "learning_rate": "1e-4", "held_out": "0", "augmentation.mirror": "0",
        "freeze": ",".join(("stem", "first", *(f"blocks.{block}" for block in range(7)))),
    },
    "keypoint-detector": {"steps": "20000"},
}  # fmt: skip
"""Settings for some hundred hands of one person. The first layers stay frozen, which also halves the time. No crop is
mirrored in training: a network for right hands must not learn to find adjacent left ones."""


def train_network(
    project: Project, recipe: str, settings: Mapping[str, str], *, device: str = "cpu", progress: Progress = no_progress
) -> tuple[Path, Mapping[str, object]]:
    """Train a network on every view of the frame sets that people marked, or resume a run.

    Args:
        project: Project with the marks.
        recipe: `hand-full` fine-tunes the published model, `keypoint-detector` is trained from scratch.
        settings: Settings of the recipe, as typed.
        device: Device of PyTorch, see `torch_device`.
        progress: Callback after each step.

    Returns:
        Folder of the run, which depends on marks and settings, and the recipe's result.

    Raises:
        InputError: No joint is marked in two views, or the recipe lacks a setting.
    """
    is_hand_network = recipe == HAND_NETWORK
    training_set = project.folder / FOLDER / f"training-set-{recipe}"
    data = write_training_set(project, human_frames(project), training_set, as_right=is_hand_network)
    all_settings = {**_DEFAULT_SETTINGS[recipe], **settings}
    options = json.dumps(all_settings, sort_keys=True).encode()
    folder = project.folder / FOLDER / f"{recipe}-{hashlib.sha256(data.read_bytes() + options).hexdigest()[:8]}"
    request = TrainingRequest(
        recipe, folder, data=data, images=training_set / "images", device=device, settings=all_settings,
        progress=progress, export="openvino" if is_hand_network else None,
    )  # fmt: skip
    return folder, run_recipe(request)
