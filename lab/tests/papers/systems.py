"""The commands of each system's README, on small sets in the official layouts, and settings that make them short."""

import json
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
from lab.tests.papers.cam.drawn_sets import CLASSES, draw_thing, noise, save, write_ilsvrc, write_questions
from lab.tests.papers.layouts import write_dexycb, write_freihand, write_ho3d, write_interhand, write_mano

from sonjit._util.data_files import ASSETS
from sonjit.media import open_source
from sonjit.results.skeletons import load_skeleton

_TRUNK = {"side": 32, "depth": 10, "width": 8, "channels": 8, "held_out": 4}
_MANO = {"size": "tiny"}


@dataclass(frozen=True)
class System:
    """A system of `sonjit_lab.papers`."""

    write: Callable[[Path], object]  # writes the data that the commands name into a folder
    data: str  # that data in words
    published: tuple[str, str]  # table and row with the result of the paper; no row if its images are of another kind
    settings: dict[str, dict[str, object]]  # settings of each recipe that make it small
    submissions: dict[str, int | None] = field(default_factory=dict)  # files for servers and their rows, if known


def commands_of(name: str) -> list[list[str]]:
    """Return the words of the commands in the README of a system."""
    text = (resources.files("sonjit_lab.papers") / name / "README.md").read_text("utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [shlex.split(line)[1:] for block in blocks for line in block.splitlines()]


def shortened(words: Sequence[str], settings: dict[str, dict[str, object]], steps: int) -> list[str]:
    """Return a command with few steps, if it is a training."""
    if words[0] != "train":
        return list(words)
    short = {"batch": 2, "workers": 0, "save_every": steps} | settings[words[1]]
    return [*words, "--steps", str(steps), *(f"--set={key}={value}" for key, value in short.items())]


def _interhand(root: Path) -> None:
    for seed, split in enumerate(("train", "test"), 3):
        write_interhand(root / "InterHand2.6M", split, seed)


def _handoccnet(root: Path) -> None:
    fields = write_mano(root)["right"]
    for split in ("train", "evaluation"):
        write_ho3d(root / "HO3D_v2", fields, split)
    for split in ("training", "evaluation"):
        write_freihand(root / "FreiHAND", fields, split)


def _deformer(root: Path) -> None:
    write_dexycb(root / "DexYCB", write_mano(root), training=True)


def _cam(root: Path) -> None:
    write_ilsvrc(root / "ILSVRC")
    write_questions(root / "VQA", (("train2014", 20), ("val2014", 6)))


def _mask_rcnn(root: Path) -> None:
    """Write discs and squares with masks in COCO's layout."""
    rng = np.random.default_rng(0)
    root = root / "COCO"
    (root / "annotations").mkdir(parents=True)
    for split, count in (("train2017", 10), ("val2017", 4)):
        images, annotations = [], []
        for number in range(count):
            rgb, kind = noise(rng), int(rng.integers(len(CLASSES)))
            x_min, y_min, x_max, y_max = draw_thing(rgb, rng, CLASSES[kind])
            save(root / split / f"{number:012}.jpg", rgb)
            images.append({"id": number, "file_name": f"{number:012}.jpg", "width": 64, "height": 48})
            annotations.append({
                "id": number + 1, "image_id": number, "category_id": kind + 1, "iscrowd": 0,
                "area": (x_max - x_min) * (y_max - y_min), "bbox": [x_min, y_min, x_max - x_min, y_max - y_min],
                "segmentation": [[x_min, y_min, x_max, y_min, x_max, y_max, x_min, y_max]],
            })  # fmt: skip
        categories = [{"id": kind, "name": name} for kind, name in enumerate(CLASSES, 1)]
        labels = {"images": images, "annotations": annotations, "categories": categories}
        (root / f"annotations/instances_{split}.json").write_text(json.dumps(labels))


def _mediapipe_hands(root: Path) -> None:
    """Write frames of the bundled clip with their exact keypoints."""
    truth = json.loads((ASSETS / "demo.json").read_text("utf-8"))["frames"]
    with open_source(ASSETS / "demo.mp4") as source:
        frames = {frame.index: frame.rgb for frame in source if frame.index % 20 == 0 and frame.index < 120}
    for folder, chosen in (("train", range(0, 80, 20)), ("test", range(80, 120, 20))):
        images, annotations = [], []
        (root / "hands" / folder / "images").mkdir(parents=True)
        for index in chosen:
            height, width = frames[index].shape[:2]
            image = {"id": index, "file_name": f"{index:04}.png", "width": width, "height": height}
            images.append(image | {"sequence": f"part {index // 40}"})
            path = root / "hands" / folder / "images" / f"{index:04}.png"
            cv2.imwrite(str(path), np.ascontiguousarray(frames[index][..., ::-1]))
            for hand in truth[index]["hands"]:
                points = np.array(hand["xy"])
                annotations.append({
                    "id": len(annotations) + 1, "image_id": index, "category_id": 1,
                    "hand_side": hand["handedness"].lower(),
                    "bbox": [*points.min(0).tolist(), *np.ptp(points, 0).tolist()],
                    "keypoints": [value for x, y in hand["xy"] for value in (x, y, 2)],
                })  # fmt: skip
        names = list(load_skeleton("hand_mediapipe21").keypoints)
        labels = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": 1, "name": "hand", "keypoints": names}],
        }
        (root / "hands" / folder / "dataset.json").write_text(json.dumps(labels))


SYSTEMS = {
    "interhand": System(
        _interhand,
        "InterHand2.6M's layout: 8 images to train on, 8 others",
        ("interhand2.6m", "InterNet, trained on SH+IH, test H+M, 5 fps"),
        {"internet": {**_TRUNK, "hidden": 8}, "rootnet": _TRUNK},
    ),
    "handoccnet": System(
        _handoccnet,
        "HO-3D's and FreiHAND's layouts: 7 and 16 images to train on, 7 and 4 others",
        ("ho3d-v2", "HandOccNet"),
        {"handoccnet": _MANO},
        {"pred.json": 7, "freihand.json": 4},
    ),
    "deformer": System(
        _deformer,
        "DexYCB's layout: 80 recordings to train on, 24 other images",
        ("dexycb-occlusion", "Deformer"),
        {"deformer": {**_MANO, "discriminator_channels": 8, "images": 4, "held_out": 2}},
        {"s0.txt": 23},
    ),
    "cam": System(
        _cam,
        "ILSVRC's and VQA's layouts: 12 drawn images to train on, 12 others; 40 questions, 12 others",
        ("ilsvrc-loc", "GoogLeNet-GAP"),
        {
            "cam-ilsvrc": {"network": "cam-small", "pretrained": "false", "size": 48, "batch": 4, "held_out": 4},
            "vqa": {"network": "cam-small", "size": 32, "batch": 8},
        },
    ),
    "mask_rcnn": System(
        _mask_rcnn,
        "COCO's layout: 10 drawn images to train on, 4 others",
        ("coco-instances", "Mask R-CNN, ResNet-101, test"),
        {
            "mask-rcnn-r50": {
                "size": "small",
                "trunk_weights": "",
                "freeze": "",
                "max_side": 0,
                "side": 64,
                "depth": 10,
                "width": 8,
                "channels": 16,
                "hidden": 32,
                "samples": 64,
                "held_out": 2,
            }
        },
        {"results.json": None},
    ),
    "mediapipe_hands": System(
        _mediapipe_hands,
        "4 rendered images to train on, 2 others of the same two people",
        ("mediapipe-hands-paper", ""),
        {"hand-full": {}},
    ),
}
"""Systems by their folder."""
