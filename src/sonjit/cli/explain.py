"""`sonjit explain` and `sonjit segment`: saliency maps of images, and people, hands or objects as masks."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sonjit._util.errors import InputError
from sonjit.cli.options import ROWS, TO_EITHER, BatchOptions, Input
from sonjit.cli.progress import run_and_report
from sonjit.explanations import imagenet
from sonjit.explanations import task as task_module
from sonjit.media import Anonymise
from sonjit.runs import Inputs, Outputs
from sonjit.runs.inputs import is_video

_MAX_SIDE = 4096
_MAX_MAPS = 24  # in a picture, which shows them next to each other
_MANY = "For many files a folder, or a name with {name} in it."
_MAPS = f"Maps and numbers: {ROWS}. {_MANY}"
_RESULTS = f"File in COCO's results format or its rows: {ROWS}. {_MANY}"
_EXPLAIN = task_module.Explain()


def explain(
    *sources: Input,
    task: task_module.Explain = _EXPLAIN,
    save: Annotated[str | None, TO_EITHER, Parameter(help=_MAPS)] = None,
    draw: Annotated[str | None, TO_EITHER] = None,
    batch: BatchOptions = BatchOptions(),
) -> int:
    """Show which parts of an image are evidence for an output.

    The heat map is red for evidence for the output, and blue for evidence against it.

    `sonjit explain photo.jpg` draws the map of the most probable of ImageNet's 1,000 classes into photo-map.png. It
    needs `sonjit models pull classifiers` once.

    `sonjit explain photo.jpg --top 5 --boxes` draws the maps of the five most probable classes with their boxes, and
    `--of dome,palace` those of two classes.

    `sonjit explain photo.jpg --of handedness,presence --draw where.png` explains the hand landmark network. Each output
    equals the mean of its map plus a bias, exactly. If no hand is found, a text in the image states it.

    `sonjit explain photo.jpg --of index_finger_tip.x --hand 1 --save map.json` explains one coordinate of one hand.

    `sonjit explain photo.jpg --model cam-resnet50 --weights resnet50.pth --top 3 --draw where.png` explains another
    classifier.

    `sonjit explain photo.jpg --model cam-small,cam-resnet18 --weights a/,b/ --backprop --draw where.png` compares two
    classifiers: a column each, class activation maps above and saliency by backprop below.

    `sonjit explain photo.jpg --model cam-small --weights runs/vqa --ask "What colour is it?" --draw where.png` answers
    a question, and shows the regions behind the answer.

    Args:
        sources: Images, folders, globs and videos; or camera:0, rtsp://host/stream, or - for standard input.
        save: Maps and numbers.
        draw: Image or video to write with the maps over it. For many files a folder. Default for one photograph without
            --save: its name with -map.png, which must not exist.
    """
    for option, value in (("--hand", task.hand), ("--max-instances", task.max_instances), ("--top", task.top)):
        if value is not None and value < 1:
            raise InputError(f"{option} {value}: must be at least 1")
    if task.targets == ():
        raise InputError(f"--of {task.of!r}: at least one target is required")
    task = task.with_default_model()
    texts = {"weights": task.weights, "pooling": task.pooling, "names": task.names, "ask": task.ask}
    of_classifiers = [f"--{name}" for name, value in texts.items() if value is not None]
    of_classifiers += [f"--{name}" for name in ("boxes", "backprop") if getattr(task, name)]
    model_prefixes = (
        task_module.CLASSIFIERS if any(texts.values()) else (*task_module.CLASSIFIERS, *imagenet.IMAGE_MODELS)
    )
    if of_classifiers and not task.model.startswith(model_prefixes):
        hint = ". For hands use --landmark-model" if task.weights is not None else ""
        raise InputError(f"{', '.join(of_classifiers)} applies only to classifiers such as --model cam-small{hint}")
    inputs = Inputs.find(map(str, sources))
    file = Path(inputs.named[0])
    if task.of_classes and not (save or draw or inputs.files) and file.is_file() and not is_video(file):
        draw = f"{file.stem}-map.png"
        if Path(draw).exists():
            raise InputError(f"{draw} exists. Name the picture with --draw.")
    if draw and task.top > _MAX_MAPS:
        raise InputError(f"--top {task.top}: a picture shows at most {_MAX_MAPS} maps. Use --save without --draw.")
    return run_and_report(task, inputs, Outputs(save, draw), batch)


def segment(
    *sources: Input,
    weights: str | None = None,
    save: Annotated[str | None, TO_EITHER, Parameter(help=_RESULTS)] = None,
    draw: Annotated[str | None, TO_EITHER] = None,
    tasks: Annotated[bool, Parameter(negative="")] = False,
    steps: str | None = None,
    min_score: float = 0.5,
    min_side: int | None = None,
    ids: str | None = None,
    device: str = "cpu",
    anonymise: Anonymise = "none",
    batch: BatchOptions = BatchOptions(),
) -> int:
    """Find people and hands as boxes, categories and masks with Mask R-CNN, or the objects of other weights.

    `sonjit segment photo.jpg --draw drawn.png` draws people and hands.

    `sonjit segment clip.mp4 --weights maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth --save found.json --draw drawn.mp4`
    uses the weights of torchvision.

    `sonjit segment photo.jpg --weights runs/hands --steps steps/` draws each step of the network.

    `sonjit segment photo.jpg --weights runs/hand-masks --draw drawn.png` draws hands, held objects and arms. The hand
    detector proposes the hands.

    Args:
        sources: Images, folders, globs and videos; or camera:0, rtsp://host/stream, or - for standard input.
        weights: Folder of a run of `sonjit train mask-rcnn` or `hand-masks`, or torchvision's
            maskrcnn_resnet50_fpn[_v2] as .pth, or demo for placeholder weights, which find nothing. Default: the
            bundled network of people and hands.
        save: File in COCO's results format, or its rows.
        draw: Image or video to write, with masks, boxes, categories and confidences. For many files a folder.
        tasks: Draw each image four times: as classification, localization, semantic and instance segmentation.
        steps: Folder for an image of each step of the network on the first image. For many files a folder each.
        min_score: Minimum confidence, 0 to 1.
        min_side: Length of the resized image's short side in pixels. Default: the length for these weights.
        ids: COCO file whose images have the ids for image_id in --save. Default: the indices of the images.
        device: Device of the network: cpu, gpu, cuda:1, mps or auto.
        anonymise: In pictures: black draws on black, blur blurs all heads that a search finds,
            persons all people. Each removes the sound.
    """
    from sonjit.segmentation.task import Segment

    if not 0 <= min_score <= 1:
        raise InputError(f"--min-score {min_score}: must be between 0 and 1")
    if min_side is not None and not 32 <= min_side <= _MAX_SIDE:
        raise InputError(f"--min-side {min_side}: must be between 32 and {_MAX_SIDE}")
    if tasks and draw is None:
        raise InputError("--tasks requires --draw")
    if anonymise != "none" and (draw is None or steps is not None):
        reason = "requires --draw" if draw is None else "cannot be combined with --steps, which shows the image"
        raise InputError(f"--anonymise {reason}")
    task = Segment(weights, min_score, min_side, device, tasks, steps is not None, ids, anonymise)
    inputs, outputs = Inputs.find(map(str, sources)), Outputs(save, draw, figures=steps)
    return run_and_report(task, inputs, outputs, batch)
