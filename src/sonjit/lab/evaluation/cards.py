"""Write model cards from evaluations.

A card contains intended use, quality, fairness, and metadata for Hugging Face. The card of a hand landmark network also
shows its mean class activation maps over the hands of the bundled clip.
"""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sonjit._util.errors import InputError
from sonjit._util.hashes import sha256_of_file
from sonjit._util.json_text import json_from
from sonjit.detectors import create_detector
from sonjit.geometry.boxes import crop_matrix, inverse_affine
from sonjit.lab.documents.document import (
    Plot,
    html_from,
    markdown_from,
    plots_of,
)
from sonjit.lab.documents.plots import maps_svg
from sonjit.lab.evaluation.card_sections import (
    CardRequest,
    card_blocks,
    describe_published_model,
    description_of_kind,
    landmark_file,
    mode_description,
    own_files,
)
from sonjit.lab.evaluation.protocols import load_protocol
from sonjit.lab.explain import load_hand_explainer
from sonjit.media import open_source
from sonjit.results.skeletons import load_skeleton
from sonjit.weights import find_weight

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sonjit.lab.evaluation.schema import EvaluationRecord


_TASK = "keypoint-detection"
_OTHER_TASKS = {
    "instances": "image-segmentation", "localization": "image-classification", "scenes": "image-classification",
    "palms": "object-detection",
}  # fmt: skip
"""Hugging Face's name of a protocol's task, if it is not `_TASK`."""
_TARGETS = ("handedness", "presence", "index_finger_tip.x", "index_finger_tip.y")
_SIDE = "Right"  # a left hand's map is the mirrored one
_MAP_FRAME_STEP = 10


def card_files(records: Sequence[EvaluationRecord], request: CardRequest) -> dict[str, str]:
    """Return the Markdown, HTML and plots of a card per evaluated model.

    Args:
        records: Contents of eval.json for one or several models.
        request: Additional content of the cards.

    Raises:
        InputError: Name, licence, training data or intended use are given, but the records are not of one network of
            the caller.
    """
    described = request.name or request.licence or request.training_data or request.intended_use
    titles = {_card_name(record, request) for record in records}
    if described and (len(titles) > 1 or not all(map(own_files, records))):
        raise InputError(
            "name, licence, training data and intended use apply only to evaluations of one network of your own"
        )
    files: dict[str, str] = {}
    for title in sorted(titles):
        own = [record for record in records if _card_name(record, request) == title]
        blocks = list(card_blocks(own, request))
        files |= plots_of(blocks)
        stem = re.sub(r"[^\w.-]+", "-", title)
        files[f"{stem}.md"] = markdown_from(f"{title}: model card", blocks, front_matter(title, own, request))
        files[f"{stem}.html"] = html_from(f"{title}: model card", blocks)
    return files


def _card_name(record: EvaluationRecord, request: CardRequest) -> str:
    """Return the name of the evaluated network: that of the model, with the caller's files."""
    model, own = record["model"]["name"], own_files(record)
    if request.name:
        return request.name
    return f"{model} with {own[0]['file']}" if own and description_of_kind(model) else model


def _task(record: EvaluationRecord) -> str:
    """Return Hugging Face's name of the evaluated task."""
    try:
        task = load_protocol(record["protocol"]["name"]).task
    except InputError:  # a protocol of the caller, whose file is elsewhere
        return _TASK
    return _OTHER_TASKS.get(task, _TASK)


def front_matter(name: str, records: Sequence[EvaluationRecord], request: CardRequest) -> str:
    """Return Hugging Face's metadata as YAML. Strings are written as JSON, which is valid YAML.

    Args:
        name: Name of the network.
        records: Evaluations of the network.
        request: Additional content, with the licence of a network of the caller.
    """
    about = describe_published_model(records[0])
    task, licence = _task(records[0]), about.get("licence") or request.licence or "other"
    lines = [
        "---",
        f"license: {licence if about else json_from(licence)}",
        "library_name: sonjit",
        f"pipeline_tag: {task}",
    ]
    lines += ["tags:", *(f"- {tag}" for tag in about.get("tags", ("landmarks",) if task == _TASK else (task,)))]
    lines += ["model-index:", f"- name: {json_from(name)}", "  results:"]
    for record in records:
        for run in record["runs"]:
            sets = ", ".join(f"{item['set']} {item['split']}" for item in record["data"])
            lines += [
                f"  - task: {{type: {_task(record)}}}",
                f"    dataset: {{name: {json_from(sets)}, type: {record['protocol']['name']}}}",
            ]
            lines.append("    metrics:")
            description = mode_description(record, run)
            lines += [
                f"    - {{type: {json_from(metric['name'])}, name: {json_from(metric['title'] + ', ' + description)}, "
                f"value: {metric['value']:.6g}}}"
                for metric in run["metrics"]
                if metric["value"] is not None
            ]
    return "\n".join([*lines, "---"])


def hand_maps_plot(record: EvaluationRecord) -> Plot | None:
    """Draw the mean class activation maps of the evaluated hand network, with the mean hand over them.

    Args:
        record: Evaluation of a hand detector.

    Returns:
        The plot, or None if the model is not a hand detector or its landmark network is no longer the same file.

    Raises:
        InputError: The weights are missing, or the network does not end in linear layers over a mean.
    """
    file = landmark_file(record)
    if file is None:
        return None
    path = find_weight(file["name"]) if "name" in file else Path(file.get("path", ""))
    if not path.is_file() or sha256_of_file(path) != file.get("sha256"):
        return None
    variant = "lite" if record["model"]["name"].endswith("lite") else "full"
    explainer = load_hand_explainer(variant, landmark_model=path)
    maps: list[NDArray[np.float32]] = []
    hands: list[NDArray[np.float64]] = []
    with (
        resources.as_file(resources.files("sonjit") / "_util" / "assets" / "demo.mp4") as clip,
        open_source(clip) as source,
        create_detector("hands", model=variant, landmark_model=path, static_image=True, search="fast") as detector,
    ):
        for frame in source:
            if frame.index % _MAP_FRAME_STEP:
                continue
            for hand in detector.detect(frame.rgb):
                if hand.handedness != _SIDE:
                    continue
                explained = explainer.explain(frame.rgb, hand, _TARGETS)
                maps.append(np.stack([item.values for item in explained]))
                matrix = inverse_affine(crop_matrix(explained[0].box, 1, 1))  # image to fractions of the crop
                hands.append(np.c_[hand.keypoints[:, :2], np.ones(len(hand.keypoints))] @ matrix.T)
    if not maps:
        return None
    name = file.get("name") or file["file"]
    title = f"Class activation maps of {name}: means over {len(hands)} right hands of the bundled clip"
    bones = load_skeleton("hand_mediapipe21").connections
    svg = maps_svg(list(zip(_TARGETS, np.mean(maps, 0), strict=True)), np.mean(hands, 0), bones, title)
    stem = f"hands-{variant}" if "name" in file else re.sub(r"\W+", "-", f"own-{path.stem}")
    return Plot(f"{stem}-maps", svg, title)
