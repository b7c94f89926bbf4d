"""`sonjit segment`: objects of images and videos as coloured masks, by Mask R-CNN."""

from __future__ import annotations

from sonjit.cli.options import SEVERAL, Input, Several
from sonjit.errors import InputError


def segment(
    *sources: Input,
    weights: str | None = None,
    save: str | None = None,
    draw: str | None = None,
    steps: str | None = None,
    min_score: float = 0.5,
    min_side: int | None = None,
    device: str = "cpu",
    running: Several = SEVERAL,
) -> int:
    """Find objects as boxes, categories and masks, by Mask R-CNN.

    `sonjit segment photo.jpg --weights runs/hands --draw drawn.png` draws what a network of one's own finds.

    `sonjit segment clip.mp4 --weights maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth --save found.json --draw drawn.mp4`
    takes the weights of torchvision.

    `sonjit segment photo.jpg --weights runs/hands --steps steps/` draws each step of the network.

    Args:
        sources: Images, folders, globs in quotes and videos; or camera:0, or - for standard input.
        weights: Folder of a run of `sonjit train mask-rcnn`, or torchvision's maskrcnn_resnet50_fpn[_v2] as .pth;
            demo gives weights that mean nothing.
        save: File to write in COCO's results format, .json or .jsonl, or its rows as .csv or .parquet; for many files a
            folder, or a name with {name} in it.
        draw: Image or video to write, with masks, boxes, categories and confidences; for many files a folder.
        steps: Folder for an image of each step of the network on an input's first image; for many files a folder each.
        min_score: Least confidence, 0 to 1.
        min_side: What the short side of an image becomes, in pixels; by default what the weights are for.
        device: Of torch, e.g. cpu or cuda.
    """
    from sonjit.cli.report import report_job
    from sonjit.explain.segment import Segment
    from sonjit.runs import Outputs

    if not 0 <= min_score <= 1:
        raise InputError(f"--min-score {min_score}: give 0 to 1")
    if min_side is not None and min_side < 32:
        raise InputError(f"--min-side {min_side}: give at least 32")
    processor = Segment(weights, min_score, min_side, device)
    return report_job(sources, processor, Outputs(save, draw, figures=steps), running)
