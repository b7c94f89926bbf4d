"""`sonjit segment`: objects of images and videos as coloured masks, by Mask R-CNN."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from sonjit.errors import InputError
from sonjit.files import Draft, Output, failing_as_job

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from sonjit.media import Source
    from sonjit.networks.mask_rcnn.mask_rcnn import Instances, Steps


def segment(
    source: Annotated[str, Parameter(name="INPUT", allow_leading_hyphen=True)],
    /,
    *,
    weights: str | None = None,
    save: str | None = None,
    draw: str | None = None,
    steps: str | None = None,
    min_score: float = 0.5,
    min_side: int | None = None,
    limit: int | None = None,
    device: str = "cpu",
) -> int:
    """Find objects as boxes, categories and masks, by Mask R-CNN.

    `sonjit segment photo.jpg --weights runs/hands --draw drawn.png` draws what a network of one's own finds.

    `sonjit segment clip.mp4 --weights maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth --save found.json --draw drawn.mp4`
    takes the weights of torchvision.

    `sonjit segment photo.jpg --weights runs/hands --steps steps/` draws each step of the network.

    Args:
        source: An image, a folder, a glob in quotes, a video, camera:0, or - for standard input.
        weights: Folder of a run of `sonjit train mask-rcnn`, or torchvision's maskrcnn_resnet50_fpn[_v2] as .pth;
            demo gives weights that mean nothing.
        save: File to write in COCO's results format: .json.
        draw: Image or video to write, with masks, boxes, categories and confidences; for a folder a folder.
        steps: Folder for an image of each step of the network on the first image.
        min_score: Least confidence, 0 to 1.
        min_side: What the short side of an image becomes, in pixels; by default what the weights are for.
        limit: Stop after so many images.
        device: Of torch, e.g. cpu or cuda.
    """
    import torch

    from sonjit.cli.report import progress
    from sonjit.explain.instances import draw_instances, results_from_instances
    from sonjit.media import open_drawing_writer, open_source
    from sonjit.networks.mask_rcnn.files import load_mask_rcnn

    if not 0 <= min_score <= 1:
        raise InputError(f"--min-score {min_score}: give 0 to 1")
    if (limit is not None and limit < 1) or (min_side is not None and min_side < 32):
        raise InputError("--limit must be at least 1 and --min-side at least 32")
    sides = {} if min_side is None else {"min_side": min_side, "max_side": min_side * 5 // 3}
    network, categories, *_ = load_mask_rcnn(weights, min_score=min_score, **sides)
    names, ids = [one.name for one in categories], [one.id for one in categories]
    count = instances = 0
    with open_source(source) as opened, ExitStack() as stack, torch.no_grad():
        on = _device(device)
        network.to(on)
        table = stack.enter_context(_Results(Path(save))) if save is not None else None
        drawing = stack.enter_context(open_drawing_writer(draw, opened)) if draw is not None else None
        advance = stack.enter_context(progress(opened.count if limit is None else limit, "images"))
        for frame in opened:
            pixels = torch.from_numpy(frame.rgb).to(on).permute(2, 0, 1).float() / 255
            (found,), between = network.find_with_steps([pixels])
            if steps is not None and not count:
                _draw_steps(Path(steps), frame.rgb, found, between, names)
            count, instances = count + 1, instances + len(found.boxes)
            if table is not None:
                number = _number(opened, frame.index)
                table.records += results_from_instances(found, frame.rgb.shape[:2], number, ids)
            if drawing is not None:
                drawing.write(draw_instances(frame.rgb, found, names), frame.time, index=frame.index)
            if table is None and drawing is None and steps is None:
                _tell(opened.frame_source(frame.index) or str(frame.index), found, names)
            advance()
            if limit is not None and count >= limit:
                break
        problems = list(opened.problems)
    for line in problems:
        sys.stderr.write(f"sonjit: {line}\n")
    wrote = " and ".join(output for output in (save, draw, steps) if output is not None)
    images, found_in_all = f"{count} image{'s' * (count != 1)}", f"{instances} instance{'s' * (instances != 1)}"
    sys.stderr.write(f"{images}, {found_in_all}{f'; wrote {wrote}' if wrote else ''}\n")
    return 1 if problems else 0


class _Results(Output):
    """Records in COCO's results format, written at the end."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        if path.suffix.lower() != ".json":
            raise InputError(f"{path}: COCO's results format is written as .json")
        self.records: list[dict[str, Any]] = []
        self._draft = Draft(path)

    def _finish(self) -> None:
        with failing_as_job(self._draft.final):
            self._draft.path.write_text(json.dumps(self.records) + "\n", "utf-8")
        self._draft.keep()

    def _abort(self) -> None:
        self._draft.drop()


def _number(source: Source, index: int) -> int:
    """The id of an image in COCO's results: the number that its file is named, as COCO's are, or its place."""
    stem = Path(source.frame_source(index) or "").stem
    return int(stem) if stem.isdecimal() else index


def _draw_steps(folder: Path, rgb: NDArray[np.uint8], found: Instances, steps: Steps, names: list[str]) -> None:
    from sonjit.explain.instances import step_images
    from sonjit.media.annotated.images import encode_image

    draft = Draft(folder, folder=True)
    try:
        for name, image in step_images(rgb, found, steps, names):
            with failing_as_job(folder / name):
                (draft.path / f"{name}.png").write_bytes(encode_image(image, ".png"))
        draft.keep()
    finally:
        draft.drop()


def _tell(name: str, found: Instances, names: list[str]) -> None:
    for label, score, box in zip(found.labels.tolist(), found.scores.tolist(), found.boxes.tolist(), strict=True):
        place = ", ".join(f"{edge:.0f}" for edge in box)
        sys.stdout.write(f"{name}: {names[label - 1]} {score:.2f} at {place}\n")


def _device(name: str) -> torch.device:
    """A device that is there."""
    import torch

    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"--device {name}: not usable here ({reason}); give cpu") from None
    return device
