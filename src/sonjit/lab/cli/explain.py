"""`sonjit explain`, `sonjit segment` and `sonjit mesh`: saliency maps, objects as masks, and hands as meshes."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sonjit._util.errors import InputError
from sonjit.cli.options import BatchOptions, Input, Lifting, lift_from, print_notes
from sonjit.cli.report import run_and_report
from sonjit.lab.explain import imagenet, run
from sonjit.lab.meshes.run import MeshHands
from sonjit.media import ANNOTATED_IMAGE_ENDINGS, Anonymise
from sonjit.runs import Inputs, Outputs
from sonjit.runs.inputs import is_many, is_video

_MAX_SIDE = 4096
_MAX_MAPS = 24  # in a picture, which shows them next to each other
_EXPLAIN, _MESHES, _LIFTING = run.Explain(), MeshHands(), Lifting()


def explain(
    *sources: Input,
    task: run.Explain = _EXPLAIN,
    save: str | None = None,
    draw: str | None = None,
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
        save: Maps and numbers: .json, .jsonl, .csv or .parquet. For many files a folder, or a name with {name} in it.
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
    known = run.CLASSIFIERS if any(texts.values()) else (*run.CLASSIFIERS, *imagenet.IMAGE_MODELS)
    if of_classifiers and not task.model.startswith(known):
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
    save: str | None = None,
    draw: str | None = None,
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
        save: File in COCO's results format, .json or .jsonl, or its rows as .csv or .parquet. For many files a folder,
            or a name with {name} in it.
        draw: Image or video to write, with masks, boxes, categories and confidences. For many files a folder.
        tasks: Draw each image four times: as classification, localization, semantic and instance segmentation.
        steps: Folder for an image of each step of the network on the first image. For many files a folder each.
        min_score: Minimum confidence, 0 to 1.
        min_side: Length of the resized image's short side in pixels. Default: the length for these weights.
        ids: COCO file whose images have the ids for image_id in --save. Default: the indices of the images.
        device: Device of the network: cpu, gpu, cuda:1, mps or auto.
        anonymise: In pictures: black draws on black, blur blurs the detected faces. Both remove the sound.
    """
    from sonjit.lab.explain.segment import Segment

    if not 0 <= min_score <= 1:
        raise InputError(f"--min-score {min_score}: must be between 0 and 1")
    if min_side is not None and not 32 <= min_side <= _MAX_SIDE:
        raise InputError(f"--min-side {min_side}: must be between 32 and {_MAX_SIDE}")
    if tasks and draw is None:
        raise InputError("--tasks requires --draw")
    task = Segment(weights, min_score, min_side, device, tasks, steps is not None, ids, anonymise)
    inputs, outputs = Inputs.find(map(str, sources)), Outputs(save, draw, figures=steps)
    return run_and_report(task, inputs, outputs, batch)


def mesh(
    *sources: Input,
    task: MeshHands = _MESHES,
    save: str | None = None,
    draw: str | None = None,
    figure: str | None = None,
    lifting: Lifting = _LIFTING,
    batch: BatchOptions = BatchOptions(),
) -> int:
    """Turn the hands of an image or video into meshes.

    `sonjit mesh clip.mp4 --draw clip-meshes.mp4 --save hands.glb` poses a rigged hand to the keypoints, with one
    length per bone for the full video, and writes it animated. It needs `sonjit models pull rigs` once.

    `sonjit mesh clip.mp4 --save hands.bvh` writes the motion, a file for each hand.

    `sonjit mesh photo.jpg --save hands.obj` writes the mesh. `--save 'meshes/{index}.obj'` writes one file per image.

    `sonjit mesh photo.jpg --model handoccnet --weights snapshot.pth.tar --mano MANO_RIGHT.pkl --draw over.png` predicts
    MANO's mesh with a network.

    `sonjit mesh clip.mp4 --lift internet --lift-weights snapshot_20.pth.tar --save hands.glb` poses the rigged hand to
    the joints that InterNet predicts, in camera space.

    Files are in metres, y up, z towards the viewer, with the camera at the origin. Without --camera they assume a view
    of 60 degrees, and the overlay aligns each mesh with its keypoints by weak perspective. A lifted mesh is drawn where
    the camera sees it.

    Args:
        sources: Images, folders, globs and videos; or camera:0, rtsp://host/stream, or - for standard input.
        save: .json with the parameters, .obj, .glb (animated for the rig) or .bvh (the rig in a video). For many files
            a folder of .glb, or a name with {name} in it.
        draw: Image or video to write with the meshes over it. For many files a folder.
        figure: Image to write of the maps in handoccnet: the visible parts of the first hand, and the attention. For
            many files a folder.
    """
    if task.max_instances < 1:
        raise InputError(f"--max-instances {task.max_instances}: must be at least 1")
    network_options = {"--weights": task.weights, "--mano": task.mano, "--mano-left": task.mano_left}
    if task.model == "rig" and (unused := [option for option, value in network_options.items() if value]):
        raise InputError(f"{', '.join(unused)} applies only to --model handoccnet or deformer")
    if task.model != "deformer" and task.variant is not None:
        raise InputError(f"--variant {task.variant} applies only to --model deformer")
    if figure is not None and (task.model != "handoccnet" or task.anonymise != "none"):
        raise InputError(f"--figure {figure} applies only to --model handoccnet without --anonymise")
    if figure is not None and not is_many(figure) and Path(figure).suffix.lower() not in ANNOTATED_IMAGE_ENDINGS:
        raise InputError(f"--figure {figure}: name an image such as maps.png")
    if task.model != "rig" and lifting.lift is not None:
        raise InputError(f"--lift {lifting.lift} applies only to --model rig")
    if task.bones is not None and (task.model != "rig" or Path(save or "").suffix.lower() not in (".bvh", ".glb")):
        raise InputError(f"--bones {task.bones} requires --save with a .bvh or .glb file of the rig")
    lift = lift_from(lifting, mirrored=task.mirrored, independent=("camera",))
    inputs, outputs = Inputs.find(map(str, sources)), Outputs(save, draw, figures=figure)
    status = run_and_report(replace(task, camera=lifting.camera, lift=lift), inputs, outputs, batch)
    print_notes(lift)
    return status
