"""Labels written in each format and read by the data set `folder`: keypoints, sides, boxes, masks and backgrounds."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from sonjit import Hand
from sonjit.media import Header, open_writer
from sonjit.results import Frame
from sonjit.results.skeletons import load_skeleton
from sonjit_lab.datasets import Dataset, convert_dataset, dataset_entry, open_dataset
from sonjit_lab.datasets.sample import HAND_SKELETON, Instance, Sample

NAMES = load_skeleton(HAND_SKELETON).keypoints
SIZE = WIDTH, HEIGHT = 240, 180
SIDES = ("Left", "Right", "Right")  # of the hands in two images; the third image is a background
PLACES = ((0, (30, 40)), (0, (130, 50)), (1, (70, 60)))  # image, and left upper corner of the hand
_RNG = np.random.default_rng(0)
POINTS = [np.array(corner) + _RNG.uniform(0, 70, (21, 2)).round(2) for _, corner in PLACES]


def mask_of(points: np.ndarray) -> np.ndarray:
    """Return the mask of a hand, whose outline is a hexagon around its points."""
    centre, reach = points.mean(0), 45
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    return cv2.fillPoly(mask, [outline_of(centre, reach)], 1).astype(bool)


def outline_of(centre: np.ndarray, reach: float) -> np.ndarray:
    angles = np.arange(6) * np.pi / 3
    return (centre + reach * np.stack([np.cos(angles), np.sin(angles)], 1)).round().astype(np.int32)


def box_of(points: np.ndarray) -> np.ndarray:
    return np.concatenate([points.min(0) - 4, points.max(0) + 4])


def write_images(root: Path) -> list[Path]:
    (root / "images").mkdir(parents=True)
    files = [root / "images" / f"{name}.png" for name in "abc"]
    for number, file in enumerate(files):
        cv2.imwrite(str(file), np.full((HEIGHT, WIDTH, 3), 60 + 20 * number, np.uint8))
    return files


def _by_image() -> list[list[int]]:
    return [[index for index, (image, _) in enumerate(PLACES) if image == number] for number in range(3)]


def write_results(root: Path, name: str) -> None:
    """Write results of Sonjit, as `sonjit hands images/ --save NAME` does."""
    with open_writer(root / name, Header("images", None, None, None, "net", "hands")) as writer:
        writer.sources.update({f"images/{letter}.png": {"width": WIDTH, "height": HEIGHT} for letter in "abc"})
        for number, chosen in enumerate(_by_image()):
            frame = Frame(number, None, source=f"images/{'abc'[number]}.png")
            for index in chosen:
                points = np.c_[POINTS[index], np.zeros(21)].astype(np.float32)
                frame.add([Hand(SIDES[index], 0.9, points, points, handedness_score=0.9)])
            writer.write(frame)


class _Samples(Dataset):
    """Samples in memory."""

    def __init__(self, samples: list[Sample], root: Path) -> None:
        super().__init__(dataset_entry("folder"), root, "all")
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def load(self, index: int) -> Sample:
        return self._samples[index]


def write_converted(root: Path, name: str) -> None:
    """Write samples, as `sonjit datasets convert` does."""
    samples = [
        Sample(
            dataset="folder",
            id=f"images/{'abc'[number]}.png",
            image=root / "images" / f"{'abc'[number]}.png",
            width=WIDTH,
            height=HEIGHT,
            instances=tuple(
                Instance(
                    kind="hand",
                    side=SIDES[index],
                    skeleton=HAND_SKELETON,
                    keypoints_px=POINTS[index],
                    valid_px=np.ones(21, bool),
                    box=tuple(box_of(POINTS[index]).tolist()),
                    read_mask=lambda index=index: mask_of(POINTS[index]),
                )
                for index in chosen
            ),
        )
        for number, chosen in enumerate(_by_image())
    ]
    convert_dataset(_Samples(samples, root), root / name)


def write_labelme(root: Path, outline: str) -> None:
    for number, chosen in enumerate(_by_image()):
        shapes = []
        for index in chosen:
            shapes += [
                {"label": name, "points": [point.tolist()], "group_id": index, "shape_type": "point"}
                for name, point in zip(NAMES, POINTS[index], strict=True)
            ]
            label = f"{SIDES[index].lower()}_hand"
            mask = mask_of(POINTS[index])
            (x, y, width, height) = cv2.boundingRect(mask.astype(np.uint8))
            shape = {
                "rectangle": {"points": box_of(POINTS[index]).reshape(2, 2).tolist()},
                "polygon": {"points": outline_of(POINTS[index].mean(0), 45).tolist()},
                "mask": {
                    "points": [[x, y], [x + width - 1, y + height - 1]],
                    "mask": base64.b64encode(
                        cv2.imencode(".png", mask[y : y + height, x : x + width].astype(np.uint8))[1].tobytes()
                    ).decode(),
                },
            }[outline]
            shapes.append({"label": label, "group_id": index, "shape_type": outline} | shape)
        if chosen:
            content = {
                "shapes": shapes,
                "imagePath": f"{'abc'[number]}.png",
                "imageWidth": WIDTH,
                "imageHeight": HEIGHT,
            }
            (root / "images" / f"{'abc'[number]}.json").write_text(json.dumps(content))


def _cvat_shapes(index: int, outline: str, frame: str = "") -> list[str]:
    side = f'<attribute name="side">{SIDES[index].lower()}</attribute>'
    points = "".join(
        f'<points label="{name}" outside="0" occluded="0" points="{x},{y}"/>'
        for name, (x, y) in zip(NAMES, POINTS[index].tolist(), strict=True)
    )
    shared = f'occluded="0" group_id="{index + 1}" {frame}'
    left, top, right, bottom = box_of(POINTS[index]).tolist()
    mask = mask_of(POINTS[index])
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    runs = np.diff(np.flatnonzero(np.diff(np.r_[-1, mask[y : y + height, x : x + width].ravel().astype(int), -1])))
    runs = [0, *runs.tolist()] if mask[y, x] else runs.tolist()
    place = f'left="{x}" top="{y}" width="{width}" height="{height}"'
    corners = ";".join(f"{x},{y}" for x, y in outline_of(POINTS[index].mean(0), 45).tolist())
    shapes = {
        "box": f'<box xtl="{left}" ytl="{top}" xbr="{right}" ybr="{bottom}" LABEL {shared}/>',
        "polygon": f'<polygon points="{corners}" LABEL {shared}/>',
        "mask": f'<mask rle="{", ".join(map(str, runs))}" {place} LABEL {shared}/>',
    }
    return [f"<skeleton LABEL {shared}>{points}{side}</skeleton>", shapes[outline]]


def write_cvat(root: Path, outline: str) -> None:
    images = "".join(
        f'<image id="{number}" name="images/{"abc"[number]}.png" width="{WIDTH}" height="{HEIGHT}">'
        + "".join(shape.replace("LABEL", 'label="hand"') for index in chosen for shape in _cvat_shapes(index, outline))
        + "</image>"
        for number, chosen in enumerate(_by_image())
    )
    (root / "annotations.xml").write_text(f"<annotations><version>1.1</version>{images}</annotations>")


def write_cvat_video(root: Path, outline: str) -> None:
    tracks = ""
    for index, (image, _) in enumerate(PLACES):
        for shape in _cvat_shapes(index, outline, f'frame="{image}" keyframe="1"'):
            tracks += f'<track id="0" label="hand" group_id="{index + 1}">{shape.replace("LABEL", "")}</track>'
    size = f"<original_size><width>{WIDTH}</width><height>{HEIGHT}</height></original_size>"
    task = f"<task><size>3</size><start_frame>0</start_frame><stop_frame>2</stop_frame>{size}</task>"
    (root / "annotations.xml").write_text(f"<annotations><meta>{task}</meta>{tracks}</annotations>")
    for number, letter in enumerate("abc"):
        (root / "images" / f"{letter}.png").rename(root / "images" / f"frame_{number:06d}.PNG")


def write_label_studio(root: Path, outline: str) -> None:
    tasks = []
    scale = 100 / np.array(SIZE)
    for number, chosen in enumerate(_by_image()):
        result = []
        for index in chosen:
            left, top, right, bottom = (box_of(POINTS[index]) * np.tile(scale, 2)).tolist()
            corners = (outline_of(POINTS[index].mean(0), 45) * scale).tolist()
            label = f"{SIDES[index].lower()} hand"
            value = {
                "rectanglelabels": {"x": left, "y": top, "width": right - left, "height": bottom - top, "rotation": 0},
                "polygonlabels": {"points": corners},
            }[outline]
            result.append({"id": f"b{index}", "type": outline, "value": value | {outline: [label]}})
            for name, (x, y) in zip(NAMES, (POINTS[index] * scale).tolist(), strict=True):
                point = {"x": x, "y": y, "width": 0.5, "keypointlabels": [name]}
                result.append(
                    {"id": f"{index}{name}", "type": "keypointlabels", "parentID": f"b{index}", "value": point}
                )
        image = f"/data/upload/1/1a2b3c4d-{'abc'[number]}.png"
        annotation = {"id": number, "result": result, "was_cancelled": False}
        tasks.append({"id": number, "annotations": [annotation], "predictions": [], "data": {"image": image}})
    (root / "export.json").write_text(
        json.dumps(tasks, indent=1).replace('"result"', '"original_width": 9, "result"', 1)
    )


def write_coco(root: Path, side: str) -> None:
    """Write COCO's own format, with the side as a category or as `hand_side`."""
    categories = [
        {"id": number, "name": name, "keypoints": list(NAMES)} for number, name in ((1, "left_hand"), (2, "right_hand"))
    ]
    images = [{"id": n, "file_name": f"{'abc'[n]}.png", "width": WIDTH, "height": HEIGHT} for n in range(3)]
    labels = []
    for index, (image, _) in enumerate(PLACES):
        x, y, right, bottom = box_of(POINTS[index]).tolist()
        number = 1 + (SIDES[index] == "Right")
        label = {
            "id": index,
            "image_id": image,
            "category_id": number if side == "category" else 1,
            "iscrowd": 0,
            "bbox": [x, y, right - x, bottom - y],
            "segmentation": [outline_of(POINTS[index].mean(0), 45).ravel().tolist()],
            "keypoints": np.c_[POINTS[index], np.full(21, 2)].ravel().tolist(),
        }
        labels.append(label | ({} if side == "category" else {"hand_side": SIDES[index].lower()}))
    if side != "category":
        categories = [{**categories[0], "name": "hand"}]
    (root / "dataset.json").write_text(json.dumps({"images": images, "annotations": labels, "categories": categories}))


def write_yolo(root: Path, names: str) -> None:
    """Write YOLO pose with the classes `names`, and its splits as folders."""
    (root / "labels").mkdir()
    for number, chosen in enumerate(_by_image()):
        lines = []
        for index in chosen:
            low, high = box_of(POINTS[index]).reshape(2, 2) / SIZE
            values = [*((low + high) / 2), *(high - low), *np.c_[POINTS[index] / SIZE, np.full(21, 2)].ravel()]
            label = names.split(",").index(f"{SIDES[index]}Hand")
            lines.append(f"{label} " + " ".join(f"{value:.8g}" for value in values))
        if lines:
            (root / "labels" / f"{'abc'[number]}.txt").write_text("\n".join(lines))
    points = ", ".join(NAMES)
    (root / "data.yaml").write_text(
        f"path: .\ntrain: images\nval: images\nkpt_shape: [21, 3]\nnames: [{names}]\nkpt_names: {{0: [{points}]}}\n"
    )


def read_back(root: Path, name: str) -> dict[str, str]:
    """Write a format into an empty folder, read it, and return what came back as "3 of 3"."""
    write_images(root)
    write, options = FORMATS[name]
    write(root)
    data: Dataset = open_dataset("folder", root, check="none", **options)
    samples = sorted(data, key=lambda sample: sample.id)
    hands = [hand for sample in samples for hand in sample.instances]
    found = dict.fromkeys(("keypoints", "sides", "boxes", "masks"), 0)
    for hand, points, side in zip(hands, POINTS, SIDES, strict=False):
        off = np.inf if hand.keypoints_px is None else np.nanmax(np.abs(hand.keypoints_px - points))
        found["keypoints"] += bool(off < 0.02 and hand.skeleton == HAND_SKELETON)
        found["sides"] += hand.side == side
        mask = hand.mask()
        # Results have the box of the network's crop; the box of an outline is that of its corners.
        exact = box_of(points) if not name.startswith("Sonjit") else None
        box = None if hand.box is None else np.array(hand.box)
        inside = box is not None and (points >= box[:2] - 0.02).all() and (points <= box[2:] + 0.02).all()
        loose = name.endswith(WITHOUT_BOXES) or exact is None
        found["boxes"] += bool(box is not None and (loose or (inside and np.abs(box - exact).max() < 0.02)))
        truth = mask_of(points)
        found["masks"] += bool(mask is not None and (mask & truth).sum() / (mask | truth).sum() > 0.95)
    table = {what: f"{count} of {len(POINTS)}" for what, count in found.items()}
    table["backgrounds"] = f"{sum(not sample.instances for sample in samples)} of 1"
    table["images"] = f"{len(samples)} of 3"
    return {what: "–" if what in LOSES.get(name, ()) else text for what, text in table.items()}


def rows() -> list[list[str]]:
    """Return the table of all formats."""
    import tempfile

    lines = [["Format", "keypoints", "sides", "boxes", "masks", "backgrounds", "images"]]
    for name in FORMATS:
        with tempfile.TemporaryDirectory() as folder:
            lines.append([name, *read_back(Path(folder) / "set", name).values()])
    return lines


Write = Callable[[Path], None]
FORMATS: dict[str, tuple[Write, dict[str, object]]] = {
    "Sonjit `.json`": (lambda root: write_results(root, "labels.json"), {"annotations": "labels.json"}),
    "Sonjit `.jsonl`": (lambda root: write_results(root, "labels.jsonl"), {"annotations": "labels.jsonl"}),
    "Sonjit `.csv`": (lambda root: write_results(root, "labels.csv"), {"annotations": "labels.csv"}),
    "Sonjit `.parquet`": (lambda root: write_results(root, "labels.parquet"), {"annotations": "labels.parquet"}),
    "Sonjit `.coco.json`": (lambda root: write_results(root, "x.coco.json"), {}),
    "Sonjit `.yolo.yaml`": (lambda root: write_results(root, "x.yolo.yaml"), {"order": "mediapipe"}),
    "Sonjit `.cvat.xml`": (lambda root: write_results(root, "x.cvat.xml"), {}),
    "Sonjit `.labelstudio.json`": (lambda root: write_results(root, "x.labelstudio.json"), {}),
    "`datasets convert` to `.json`": (lambda root: write_converted(root, "dataset.json"), {}),
    "`datasets convert` to `.parquet`": (
        lambda root: write_converted(root, "labels.parquet"),
        {"annotations": "labels.parquet"},
    ),
    "COCO, `hand_side`": (lambda root: write_coco(root, "field"), {}),
    "COCO, categories by side": (lambda root: write_coco(root, "category"), {}),
    "labelme, rectangles": (lambda root: write_labelme(root, "rectangle"), {}),
    "labelme, polygons": (lambda root: write_labelme(root, "polygon"), {}),
    "labelme, masks": (lambda root: write_labelme(root, "mask"), {}),
    "CVAT for images, boxes": (lambda root: write_cvat(root, "box"), {}),
    "CVAT for images, polygons": (lambda root: write_cvat(root, "polygon"), {}),
    "CVAT for images, masks": (lambda root: write_cvat(root, "mask"), {}),
    "CVAT for video, boxes": (lambda root: write_cvat_video(root, "box"), {}),
    "CVAT for video, masks": (lambda root: write_cvat_video(root, "mask"), {}),
    "Label Studio, rectangles": (lambda root: write_label_studio(root, "rectanglelabels"), {}),
    "Label Studio, polygons": (lambda root: write_label_studio(root, "polygonlabels"), {}),
    "YOLO pose, classes by side": (lambda root: write_yolo(root, "LeftHand,RightHand"), {}),
}
"""Functions that write the labels below a folder of three images, and options to read them, by format."""
LOSES: dict[str, tuple[str, ...]] = {
    name: ("masks",)
    for name in FORMATS
    if name.startswith(("Sonjit", "YOLO")) or name.endswith(("rectangles", "boxes"))
}
"""What a format, or its chosen shapes, cannot represent."""
WITHOUT_BOXES = ("polygons", "masks")  # whose boxes are those of the outlines
