"""`sonjit explain`: where a network looked."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from sonjit.errors import InputError

if TYPE_CHECKING:
    from sonjit.explain.run import Explains
    from sonjit.media import Source


def explain(
    source: Annotated[str, Parameter(name="INPUT")],
    /,
    *,
    of: str | None = None,
    model: str = "full",
    hand: int | None = None,
    max_instances: int = 2,
    mirrored: Annotated[bool, Parameter(negative="")] = False,
    models_dir: str | None = None,
    landmark_model: str | None = None,
    weights: str | None = None,
    names: str | None = None,
    top: int = 1,
    boxes: Annotated[bool, Parameter(negative="")] = False,
    backprop: Annotated[bool, Parameter(negative="")] = False,
    save: str | None = None,
    draw: str | None = None,
    limit: int | None = None,
) -> int:
    """Show which parts of an image speak for an answer, as a heat map: red for it, blue against it.

    `sonjit explain photo.jpg --of handedness,presence --draw where.png` asks the hand landmark network. Each number
    that it gives is the mean of its map plus a bias, exactly; where no hand is found, that is said.

    `sonjit explain photo.jpg --of index_finger_tip.x --hand 1 --save map.json` asks for one coordinate of one hand.

    `sonjit explain photo.jpg --model cam-resnet50 --weights resnet50.pth --top 3 --draw where.png` asks a classifier.

    Args:
        source: An image, a folder, a glob in quotes, a video or camera:0.
        of: Hands: handedness (of the person's right hand), presence, or a coordinate such as wrist.x in pixels of the
            crop or wrist.x_m in metres; by default handedness. Classifiers: names or numbers of classes; by default
            the most probable. Several with commas stand side by side.
        model: Of hands full or lite; or a classifier out of sonjit networks 'cam-*'.
        hand: Only this one, counted from 1.
        max_instances: How many hands to look for.
        mirrored: The input is a selfie view.
        models_dir: Folder with the published weight files.
        landmark_model: Hand landmark network of your own.
        weights: Checkpoint of the classifier.
        names: Text file with the classes' names, one a line; what sonjit train cam writes needs none.
        top: How many of the classifier's most probable classes.
        boxes: Draw the box around the largest part above 20 % of a class's map.
        backprop: Draw the gradient's saliency beside each class's map.
        save: JSON file with maps and numbers.
        draw: Image, folder or video with the maps over it.
        limit: Stop after so many frames.
    """
    from sonjit.cli.report import progress
    from sonjit.explain.run import explain_source

    for option, value in (("--hand", hand), ("--max-instances", max_instances), ("--top", top), ("--limit", limit)):
        if value is not None and value < 1:
            raise InputError(f"{option} {value}: give at least 1")
    wanted = None if of is None else [part.strip() for part in of.split(",") if part.strip()]
    if wanted == []:
        raise InputError(f"--of {of!r}: name at least one target")
    if weights is not None and not model.startswith("cam-"):
        raise InputError("--weights is for classifiers such as --model cam-small; for hands use --landmark-model")

    def make(opened: Source) -> Explains:
        if model.startswith("cam-"):
            return _classes(model, weights, names, wanted, top=top, boxes=boxes, backprop=backprop)
        from sonjit.detectors import create_detector
        from sonjit.explain.explainers import HandsExplained
        from sonjit.explain.hands import load_hand_explainer

        shared: dict[str, Any] = {"models_dir": models_dir, "landmark_model": landmark_model, "mirrored": mirrored}
        explainer = load_hand_explainer(model, **shared)
        still = opened.kind in ("image", "folder")
        detector = create_detector("hands", model=model, max_instances=max_instances, static_image=still, **shared)
        targets = wanted or ["handedness"]
        return HandsExplained(detector, explainer, targets, number=hand, model=f"hands-{model}")

    with progress(None, "frames") as advance:
        summary = explain_source(
            source, make, save=save, draw=draw, limit=limit, opened=advance.expect, advance=advance
        )
    for line in summary.lines:
        sys.stdout.write(line + "\n")
    for line in summary.problems:
        sys.stderr.write(f"sonjit: {line}\n")
    wrote = " and ".join(path for path in (save, draw) if path)
    frames = "1 frame" if summary.frames == 1 else f"{summary.frames} frames"
    found = f"{summary.explained} map{'' if summary.explained == 1 else 's'}"
    if not summary.explained:
        found = "no hand found" if hand is None else f"no hand {hand} found"
    sys.stderr.write(f"{frames}, {found}{f'; wrote {wrote}' if wrote else ''}\n")
    return 1 if summary.problems else 0


def _classes(name: str, weights: str | None, names: str | None, wanted: list[str] | None, **options: Any) -> Explains:  # noqa: ANN401
    """The classifier in a checkpoint; what `sonjit train cam` wrote beside it says its classes and size."""
    from sonjit.explain.explainers import ClassesExplained
    from sonjit.networks import create_network, load_checkpoint, network_entry

    size = network_entry(name).inputs[0].shape[-1]
    if weights is None:
        raise InputError(f"{name}: name its checkpoint with --weights; untrained, its maps mean nothing")
    path = Path(weights)
    held = {key.removeprefix("module."): value for key, value in load_checkpoint(path).items()}
    head = held.get("head.weight", held.get("fc.weight") if name.startswith("cam-resnet") else None)
    if head is None:
        raise InputError(f"{path}: holds no layer of classes for {name}; train it first")
    settings = _settings_beside(path)
    pooling = settings.get("pooling", "gap")
    network = create_network(name, path, classes=len(head), pooling=pooling).eval()
    known: list[str] = _lines(Path(names)) if names else list(settings.get("classes", []))
    classes = None if wanted is None else [_class_number(one, known, len(head)) for one in wanted]
    return ClassesExplained(network, int(settings.get("size", size)), known, classes=classes, **options)


def _settings_beside(path: Path) -> dict[str, Any]:
    file = path.with_name("settings.json")
    try:
        return dict(json.loads(file.read_text("utf-8"))) if file.is_file() else {}
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{file}: cannot be read ({error}); remove it or copy it again") from None


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as names of classes, one a line ({error})") from None


def _class_number(wanted: str, names: list[str], count: int) -> int:
    if wanted in names:
        return names.index(wanted)
    if wanted.isdecimal() and int(wanted) < count:
        return int(wanted)
    known = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "") if names else f"0 to {count - 1}"
    raise InputError(f"--of {wanted}: no such class; known: {known}")
