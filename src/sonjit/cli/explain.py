"""`sonjit explain`: saliency maps of networks. `sonjit segment`: objects as coloured masks, by Mask R-CNN."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from sonjit.cli.options import SEVERAL, Input, Several
from sonjit.errors import InputError


def explain(
    *sources: Input,
    of: str | None = None,
    model: str = "full",
    hand: int | None = None,
    max_instances: int = 2,
    mirrored: Annotated[bool, Parameter(negative="")] = False,
    models_dir: str | None = None,
    landmark_model: str | None = None,
    weights: str | None = None,
    pooling: Literal["gap", "gmp"] | None = None,
    names: str | None = None,
    ask: str | None = None,
    top: int = 1,
    boxes: Annotated[bool, Parameter(negative="")] = False,
    backprop: Annotated[bool, Parameter(negative="")] = False,
    truth: str | None = None,
    save: str | None = None,
    draw: str | None = None,
    device: str = "cpu",
    running: Several = SEVERAL,
) -> int:
    """Show which parts of an image are evidence for an output, as a heat map: red for it, blue against it.

    `sonjit explain photo.jpg --of handedness,presence --draw where.png` asks the hand landmark network. Each number
    that it gives is the mean of its map plus a bias, exactly; where no hand is found, the image says so.

    `sonjit explain photo.jpg --of index_finger_tip.x --hand 1 --save map.json` asks for one coordinate of one hand.

    `sonjit explain photo.jpg --model cam-resnet50 --weights resnet50.pth --top 3 --draw where.png` asks a classifier.

    `sonjit explain photo.jpg --model cam-small,cam-resnet18 --weights a/,b/ --backprop --draw where.png` compares two:
    a column each, class activation maps above and saliency by backprop below.

    `sonjit explain photo.jpg --model cam-small --weights runs/vqa --ask "What colour is it?" --draw where.png` answers
    a question, and shows the regions behind the answer.

    Args:
        sources: Images, folders, globs and videos; or camera:0, rtsp://host/stream, or - for standard input.
        of: Hands: handedness (of the person's right hand), presence, or a coordinate such as wrist.x in pixels of the
            crop or wrist.x_m in metres; by default handedness. Classifiers: names or numbers of classes; by default
            the most probable. Several with commas are shown side by side.
        model: Of hands full or lite; or a classifier out of sonjit networks 'cam-*' or 'fc-*', several with commas.
        hand: Only this one, counted from 1.
        max_instances: How many hands to look for.
        mirrored: The input is a selfie view.
        models_dir: Folder with the published weight files.
        landmark_model: Hand landmark network of your own.
        weights: Folder of a run of sonjit train cam, or checkpoint of the classifier such as torchvision's; of several
            classifiers one each, with commas.
        pooling: Of a checkpoint that does not say it: gap (mean) or gmp (maximum).
        names: Text file with the classes' names, one a line; what sonjit train cam writes needs none.
        ask: Question to answer, with a run of sonjit train vqa as --weights; its classes are answers.
        top: How many of the classifier's most probable classes.
        boxes: Draw the box around the largest part above 20 % of a class's map, in red.
        backprop: Draw the gradient's saliency beside each class's map.
        truth: COCO file with labelled boxes, drawn in green in the images of the same file names.
        save: Maps and numbers: .json, .jsonl, .csv or .parquet; for many files a folder, or a name with {name} in it.
        draw: Image or video to write with the maps over it; for many files a folder.
        device: Where the networks run: of hands cpu, gpu, npu or auto; of classifiers cpu, gpu, cuda:1, mps or auto.
    """
    from sonjit.cli.report import report_job
    from sonjit.explain.run import CLASSIFIERS, Explain
    from sonjit.runs import Outputs

    for option, value in (("--hand", hand), ("--max-instances", max_instances), ("--top", top)):
        if value is not None and value < 1:
            raise InputError(f"{option} {value}: give at least 1")
    targets = None if of is None else tuple(part.strip() for part in of.split(",") if part.strip())
    if targets == ():
        raise InputError(f"--of {of!r}: name at least one target")
    of_classes = {"weights": weights, "pooling": pooling, "names": names, "ask": ask}
    given = [f"--{name}" for name, value in of_classes.items() if value is not None]
    given += [f"--{name}" for name, value in (("boxes", boxes), ("backprop", backprop)) if value]
    if given and not model.startswith(CLASSIFIERS):
        hint = "; for hands use --landmark-model" if weights is not None else ""
        raise InputError(f"{', '.join(given)}: of classifiers such as --model cam-small alone{hint}")

    processor = Explain(
        targets, model, hand, max_instances, mirrored, models_dir, landmark_model, weights, pooling, names, ask, top,
        boxes, backprop, truth, device,
    )  # fmt: skip
    return report_job(sources, processor, Outputs(save, draw), running)


def segment(
    *sources: Input,
    weights: str | None = None,
    save: str | None = None,
    draw: str | None = None,
    tasks: Annotated[bool, Parameter(negative="")] = False,
    steps: str | None = None,
    min_score: float = 0.5,
    min_side: int | None = None,
    device: str = "cpu",
    running: Several = SEVERAL,
) -> int:
    """Find objects as boxes, categories and masks, by Mask R-CNN.

    `sonjit segment photo.jpg --weights runs/hands --draw drawn.png` draws what a network of your own finds.

    `sonjit segment clip.mp4 --weights maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth --save found.json --draw drawn.mp4`
    takes the weights of torchvision.

    `sonjit segment photo.jpg --weights runs/hands --steps steps/` draws each step of the network.

    Args:
        sources: Images, folders, globs and videos; or camera:0, rtsp://host/stream, or - for standard input.
        weights: Folder of a run of `sonjit train mask-rcnn`, or torchvision's maskrcnn_resnet50_fpn[_v2] as .pth;
            demo tries it out with placeholder weights, which find nothing.
        save: File to write in COCO's results format, .json or .jsonl, or its rows as .csv or .parquet; for many files a
            folder, or a name with {name} in it.
        draw: Image or video to write, with masks, boxes, categories and confidences; for many files a folder.
        tasks: Draw each image four times: as classification, localization, semantic and instance segmentation.
        steps: Folder for an image of each step of the network on an input's first image; for many files a folder each.
        min_score: Least confidence, 0 to 1.
        min_side: What the short side of an image becomes, in pixels; by default what the weights are for.
        device: Where the network runs: cpu, gpu, cuda:1, mps or auto.
    """
    from sonjit.cli.report import report_job
    from sonjit.explain.segment import Segment
    from sonjit.runs import Outputs

    if not 0 <= min_score <= 1:
        raise InputError(f"--min-score {min_score}: give 0 to 1")
    if min_side is not None and min_side < 32:
        raise InputError(f"--min-side {min_side}: give at least 32")
    if tasks and draw is None:
        raise InputError("--tasks: says what --draw draws; give that, too")
    processor = Segment(weights, min_score, min_side, device, tasks)
    return report_job(sources, processor, Outputs(save, draw, figures=steps), running)
