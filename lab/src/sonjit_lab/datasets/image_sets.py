"""Faces with landmarks, hands without a third dimension, and a folder of photographs.

300W, 300VW (https://ibug.doc.ic.ac.uk/resources/300-W/ and 300-VW/): `.pts` files count pixels from 1; `origin` is
subtracted. WFLW (https://wywu.github.io/projects/LAB/WFLW.html) has 98 points per face; faces of an image are a sample.

OneHand10K and CMU Panoptic use MediaPipe's order of keypoints, in COCO's format
(https://mmpose.readthedocs.io/en/latest/dataset_zoo/2d_hand_keypoint.html) or in CMU's own
(http://domedb.perception.cs.cmu.edu/handdb.html).

HaGRID (https://github.com/hukenovs/hagrid): boxes and landmarks are shares of the image's sides. The landmarks come
from MediaPipe, so they are no truth for such a network. Many images are mirrored, so the side is unknown.

The folder of photographs contains `hands.json`, `people.json` or both, an object per image with `width`, `height`,
`crowd` (boxes), and `hands` {box, side, clear, hidden, view, skin, note} or `people` {box, face or null, clear,
face_clear, note}. A box is `[x_min, y_min, x_max, y_max]` in pixels of the displayed image. Only `box` is required.
`clear: false` marks instances that may be found or missed, and `crowd` areas of such instances. `side` is the person's
own hand, null if unclear. Other keys of the files begin with `_`: `_split` {"choose": [file, ...], "report": [...]}
separates images for choosing settings from images to report.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sonjit._util import FloatArray, InputError, data_files
from sonjit.results import Box
from sonjit_lab.datasets import dataset
from sonjit_lab.datasets.checks import check_labels
from sonjit_lab.datasets.coco import CocoSet, Record, keypoint_fields, mask_reader
from sonjit_lab.datasets.sample import HAND_SKELETON, Instance, InstanceKind, Sample, Side

_POINTS = 68
_IMAGES = (".png", ".jpg", ".jpeg")
_SPLIT_OF_FOLDER = {
    "afw": "train",
    "trainset": "train",
    "testset": "common",
    "ibug": "challenging",
    "01_Indoor": "test",
    "02_Outdoor": "test",
}
_PARTS = {"full": ("common", "challenging")}
_CATEGORIES = {
    "category 1": (
        114, 124, 125, 126, 150, 158, 401, 402, 505, 506, 507, 508, 509, 510, 511, 514, 515, 518, 519, 520, 521, 522,
        524, 525, 537, 538, 540, 541, 546, 547, 548,
    ),
    "category 2": (203, 208, 211, 212, 213, 214, 218, 224, 403, 404, 405, 406, 407, 408, 409, 412, 550, 551, 553),
    "category 3": (410, 411, 516, 517, 526, 528, 529, 530, 531, 533, 557, 558, 559, 562),
}  # fmt: skip
"""300VW's test videos by difficulty: good light, unconstrained light, and unconstrained conditions (Shen et al.
2015).
"""
_CATEGORY_OF_VIDEO = {f"{video:03}": name for name, videos in _CATEGORIES.items() for video in videos}
_WFLW_POINTS = 98
_ATTRIBUTES = ("pose", "expression", "illumination", "make_up", "occlusion", "blur")
_JOINTS = 21
_COCO_FILES = {
    "onehand10k": ("onehand10k", "{Split}/source"),
    "panoptic-hand": ("panoptic", "hand_labels/manual_{split}"),
}
_MAX_FRACTION = 1.25  # largest edge of HaGRID's boxes, as a share of the image's side
_TAG_FIELDS = ("leading_hand", "leading_conf", "united_bbox", "united_label", "meta")
_LABEL_FILES: dict[str, tuple[InstanceKind, ...]] = {"hands": ("hand",), "people": ("body", "face")}
"""Kinds of instances that each file labels."""
_ALL = "all"
_LABELLED_SIDES: dict[str | None, Side | None] = {"Left": "Left", "Right": "Right", None: None}
_WORDS = ("hidden", "view", "note", "skin")


class FacePoints(dataset.RecordDataset):
    """Every `.pts` file of the split below the root, with its image."""

    def __init__(self, entry: dataset.DatasetEntry, root: Path, split: str, origin: float) -> None:
        super().__init__(entry, root, split)
        self._origin = origin
        self.keep(self._find_labels(), str(self.need(".")))

    def sample(self, record: Any) -> Sample:  # noqa: ANN401  # JSON
        points_name, image_name = record
        file, stem = self.root / points_name, Path(image_name).stem
        face = Instance(
            kind="face",
            skeleton="face_300w68",
            keypoints_px=points_from_pts(file) - self._origin,
            valid_px=np.ones(_POINTS, np.bool_),
        )
        is_video = self.entry.name == "300vw"
        sequence = image_name.split("/")[0] if is_video else None
        frame = int(stem) if is_video and stem.isdecimal() else None
        places = {_SPLIT_OF_FOLDER.get(part) for part in Path(points_name).parts}  # halves of the full test set
        half = next((name for name in _PARTS["full"] if name in places), None)
        subset = _CATEGORY_OF_VIDEO.get(sequence) if sequence else half
        tags = {"subset": subset} if subset else {}
        return self.sample_of(image_name, [face], file, sequence=sequence, frame=frame, tags=tags)

    def _find_labels(self) -> Iterator[tuple[str, str]]:
        """Yield `.pts` files and their images, below the root."""
        for file in sorted(self.root.rglob("*.pts")):
            is_video = file.parent.name == "annot"
            if is_video == (self.entry.name == "300vw") and self._is_in_split(file.relative_to(self.root)):
                stems = file.with_suffix(""), file.parent.parent / "imgs" / file.stem
                images = [stem.with_name(stem.name + ending) for stem in stems for ending in _IMAGES]
                image = next((image for image in images if image.is_file()), images[0])
                yield file.relative_to(self.root).as_posix(), image.relative_to(self.root).as_posix()

    def _is_in_split(self, file: Path) -> bool:
        if self.entry.name == "300vw":
            category = _CATEGORY_OF_VIDEO.get(file.parts[0])
            return self.split == "all" or (category is None) == (self.split == "train")
        splits = [_SPLIT_OF_FOLDER[part] for part in self.root.parts + file.parts if part in _SPLIT_OF_FOLDER][-1:]
        return self.split == "all" or not set(splits).isdisjoint(_PARTS.get(self.split, (self.split,)))


def points_from_pts(path: Path) -> FloatArray:
    """Return the points (68, 2) of a `.pts` file as stored."""
    lines = dataset.read_lines(path)
    start = next((number for number, line in enumerate(lines) if line.strip() == "{"), len(lines))
    try:
        points = np.array([line.split() for line in lines[start + 1 : -1]], np.float64)
    except ValueError:
        raise InputError(f"{path}: each line between the braces must have x and y") from None
    if points.shape != (_POINTS, 2) or lines[-1].strip() != "}":
        raise InputError(f"{path}: has {len(points)} points; expected {_POINTS} between braces. Is the file complete?")
    return points


class CocoFaces(CocoSet):
    """Faces in COCO's form."""

    def __init__(self, entry: dataset.DatasetEntry, root: Path, split: str, origin: float) -> None:
        super().__init__(entry, root, split)
        self._origin = origin
        self.read(_coco_file(root, split), root / "images", root)

    def instances(self, annotation: Record, image: Record) -> Iterator[Instance]:
        points = keypoint_fields(annotation, "keypoints", _POINTS, has_visibility=False)
        points["keypoints_px"] -= self._origin
        box = dataset.box_from_corner(annotation, "bbox")
        yield Instance(kind="face", skeleton="face_300w68", box=box, **points)


def _coco_file(root: Path, split: str) -> Path:
    name = {"common": "valid_common", "challenging": "valid_challenge", "full": "valid"}.get(split, split)
    return root / "annotations" / f"face_landmarks_300w_{name}.json"


def open_300w(entry: dataset.DatasetEntry, root: Path, split: str, *, origin: float | None = None) -> dataset.Dataset:
    """Open 300W in either form. By default `origin` is 1 for `.pts` files and 0 for files in COCO's form."""
    if _coco_file(root, split).is_file():
        return CocoFaces(entry, root, split, 0 if origin is None else origin)
    return FacePoints(entry, root, split, 1 if origin is None else origin)


def open_300vw(entry: dataset.DatasetEntry, root: Path, split: str, *, origin: float = 1) -> dataset.Dataset:
    """Open 300VW, whose pixels count from `origin`."""
    return FacePoints(entry, root, split, origin)


class Wflw(dataset.RecordDataset):
    """Images of one list."""

    def __init__(self, entry: dataset.DatasetEntry, root: Path, split: str) -> None:
        super().__init__(entry, root, split)
        name = f"list_98pt_test/list_98pt_{split.replace('-', '_')}"
        if split in ("train", "test"):
            name = f"list_98pt_rect_attr_train_test/list_98pt_rect_attr_{split}"
        self._file = self.need(f"WFLW_annotations/{name}.txt")
        faces: dict[str, list[str]] = {}
        for number, line in enumerate(dataset.read_lines(self._file), 1):
            fields = line.split()
            if len(fields) <= 2 * _WFLW_POINTS:
                raise InputError(
                    f"{self._file}, line {number}: {len(fields)} fields; expected {2 * _WFLW_POINTS} numbers"
                )
            faces.setdefault(fields[-1], []).append(line)
        self.keep(faces.items(), str(self._file))

    def sample(self, record: Any) -> Sample:  # noqa: ANN401  # JSON
        name, lines = record
        return self.sample_of(f"WFLW_images/{name}", (_face(line.split()[:-1]) for line in lines), self.annotations)


def _face(fields: list[str]) -> Instance:
    """Return a face of a line: points first, then rectangle and attributes in some of the lists."""
    numbers = np.array(fields, np.float64)
    points, rest = numbers[: 2 * _WFLW_POINTS].reshape(_WFLW_POINTS, 2), numbers[2 * _WFLW_POINTS :].tolist()
    is_full = len(rest) == 4 + len(_ATTRIBUTES)
    return Instance(
        kind="face",
        skeleton="face_wflw98",
        keypoints_px=points,
        valid_px=np.ones(_WFLW_POINTS, np.bool_),
        box=(rest[0], rest[1], rest[2], rest[3]) if is_full else None,
        extra=dict(zip(_ATTRIBUTES, map(int, rest[4:]), strict=True)) if is_full else {},
    )


class CocoWflw(CocoSet):
    """WFLW in COCO's form."""

    def __init__(self, entry: dataset.DatasetEntry, root: Path, split: str) -> None:
        super().__init__(entry, root, split)
        self.read(_wflw_file(root, split), root / "WFLW_images", root)

    def instances(self, annotation: Record, image: Record) -> Iterator[Instance]:
        points = keypoint_fields(annotation, "keypoints", _WFLW_POINTS, has_visibility=False)
        yield Instance(kind="face", skeleton="face_wflw98", box=dataset.box_from_corner(annotation, "bbox"), **points)


def _wflw_file(root: Path, split: str) -> Path:
    return root / "annotations" / f"face_landmarks_wflw_{split.replace('-', '_')}.json"


def open_wflw(entry: dataset.DatasetEntry, root: Path, split: str) -> dataset.Dataset:
    """Open the file in COCO's form, or else the set's own lists."""
    return (CocoWflw if _wflw_file(root, split).is_file() else Wflw)(entry, root, split)


class CocoHands(CocoSet):
    """Hands in COCO's format: a keypoint's flag is 1 where it is known."""

    def __init__(self, entry: dataset.DatasetEntry, root: Path, split: str) -> None:
        super().__init__(entry, root, split)
        stem, folder = _COCO_FILES[entry.name]
        annotations = self.need(f"annotations/{stem}_{split}.json")
        self.read(annotations, root / folder.format(split=split, Split=split.capitalize()), root)

    def instances(self, annotation: Record, image: Record) -> Iterator[Instance]:
        ending = Path(image["file_name"]).stem[-2:] if self.entry.name == "panoptic-hand" else ""
        sides: dict[str, Side] = {"_l": "Left", "_r": "Right"}
        yield Instance(
            kind="hand",
            side=sides.get(ending),
            skeleton=HAND_SKELETON,
            box=dataset.box_from_corner(annotation, "bbox"),
            area_px2=annotation.get("area"),
            category="hand",
            category_id=annotation["category_id"],
            extra={name: annotation[name] for name in ("head_size", "dataset") if name in annotation},
            read_mask=None if _is_octagon(annotation) else mask_reader(annotation, image),
            **keypoint_fields(annotation, "keypoints", _JOINTS, has_visibility=False),
        )


class PanopticHands(dataset.RecordDataset):
    """CMU's own layout: a JSON file next to each image of `hand_labels`."""

    def __init__(self, entry: dataset.DatasetEntry, root: Path, split: str) -> None:
        super().__init__(entry, root, split)
        self._folder = self.need(f"hand_labels/manual_{split}")
        self.keep((file.stem for file in sorted(self._folder.glob("*.json"))), str(self._folder))

    def sample(self, record: Any) -> Sample:  # noqa: ANN401  # JSON
        path = self._folder / f"{record}.jpg"
        size = dataset.size_of_image(path)
        file = path.with_suffix(".json")
        labels = data_files.read_json(file)
        points, flags = dataset.points_with_flags(labels, "hand_pts", _JOINTS)
        hand = Instance(
            kind="hand",
            side="Left" if labels["is_left"] else "Right",
            skeleton=HAND_SKELETON,
            keypoints_px=points,
            valid_px=flags > 0,
        )
        return self.sample_of(path.relative_to(self.root).as_posix(), [hand], file, size)


def open_panoptic(entry: dataset.DatasetEntry, root: Path, split: str) -> dataset.Dataset:
    """Open the file in COCO's format, or else CMU's own."""
    in_coco_form = (root / "annotations" / f"panoptic_{split}.json").is_file()
    return (CocoHands if in_coco_form else PanopticHands)(entry, root, split)


def _is_octagon(annotation: Record) -> bool:
    """Check whether the segmentation is only the box with its edge midpoints, as mmpose's files fill the field."""
    box, polygons = dataset.box_from_corner(annotation, "bbox"), annotation.get("segmentation")
    if box is None or not polygons or len(polygons[0]) != 16:
        return False
    x_min, y_min, x_max, y_max = box
    corners = zip(polygons[0][::2], polygons[0][1::2], strict=True)
    return all(min(abs(x - x_min), abs(x - x_max), abs(y - y_min), abs(y - y_max)) < 1 for x, y in corners)


class Hagrid(dataset.RecordDataset):
    """Images of all gestures, by gesture."""

    def __init__(self, entry: dataset.DatasetEntry, root: Path, split: str) -> None:
        super().__init__(entry, root, split)
        folder = root / "annotations" / split  # version 2's
        if not folder.is_dir():
            folder = self.need(f"ann_{split}")
        self.keep(_hagrid_records(folder), str(folder))

    def sample(self, record: Any) -> Sample:  # noqa: ANN401  # JSON
        gesture, name, labels = record
        candidates = f"{self.split}/{gesture}/{name}.jpg", f"images/{gesture}/{name}.jpg", f"{gesture}/{name}.jpg"
        image_path = next(
            (image_path for image_path in candidates if (self.root / image_path).is_file()), candidates[0]
        )
        size = dataset.size_of_image(self.root / image_path)
        source = f"{self.annotations}/{gesture}.json"
        boxes, names = labels["bboxes"], labels["labels"]
        if len(boxes) != len(names):
            raise InputError(f"{source}: {name} has {len(boxes)} bboxes and {len(names)} labels")
        landmarks: list[Any] = labels.get("hand_landmarks") or labels.get("landmarks") or []
        landmarks = landmarks if len(landmarks) == len(boxes) else [[]] * len(boxes)
        scale = np.array(size, np.float64)
        return self.sample_of(
            image_path,
            (_hagrid_hand(f"{source}: {name}", *item, scale) for item in zip(boxes, names, landmarks, strict=True)),
            source,
            size,
            subject=labels.get("user_id"),
            tags={"gesture": gesture} | {key: labels[key] for key in _TAG_FIELDS if key in labels},
        )


def _hagrid_hand(named: str, box: list[float], label: str, landmarks: list[list[float]], scale: FloatArray) -> Instance:
    if len(box) != 4 or len(landmarks) not in (0, 21):
        raise InputError(f"{named}: a bbox has {len(box)} numbers, not 4, or {len(landmarks)} landmarks, not 21")
    if max(box[0] + box[2], box[1] + box[3]) > _MAX_FRACTION:
        raise InputError(
            f"{named}: the bbox {box} reaches beyond the image; must be x, y, width, height as shares of it"
        )
    corner, size = np.array(box[:2], np.float64) * scale, np.array(box[2:], np.float64) * scale
    (x_min, y_min), (x_max, y_max) = corner.tolist(), (corner + size).tolist()
    points = np.array(landmarks, np.float64) * scale if len(landmarks) else None
    return Instance(
        kind="hand",
        skeleton=None if points is None else HAND_SKELETON,
        keypoints_px=points,
        valid_px=None if points is None else np.ones(len(points), np.bool_),
        box=(x_min, y_min, x_max, y_max),
        category=label,
    )


def _hagrid_records(folder: Path) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for file in sorted(folder.glob("*.json")):
        labels = data_files.read_json(file)
        if not isinstance(labels, dict) or not labels:
            raise InputError(f"{file}: not names of images with their labels")
        for name, item in labels.items():
            yield file.stem, name, item


class Photographs(dataset.RecordDataset):
    """Images labelled by either file; `tags["labelled"]` of a sample lists the labelled kinds of instances."""

    def __init__(self, entry: dataset.DatasetEntry, root: Path, split: str) -> None:
        super().__init__(entry, root, split)
        files = {name: self.root / f"{name}.json" for name in _LABEL_FILES}
        labels = {name: _labels(file) for name, file in files.items() if file.is_file()}
        if not labels:
            self.need("hands.json")
        images = dict.fromkeys(image for value in labels.values() for image in value if not image.startswith("_"))
        if split != _ALL:
            chosen = {image for value in labels.values() for image in (value.get("_split") or {}).get(split, ())}
            if unknown := chosen - images.keys():
                raise InputError(f"{self.root}: the split {split} lists {min(unknown)}, which has no labels")
            images = [image for image in images if image in chosen]
            _check_parts(self.root, labels.values())
        self.keep(
            ((image, {name: item[image] for name, item in labels.items() if image in item}) for image in images),
            ", ".join(str(files[name]) for name in labels),
        )

    def sample(self, record: Any) -> Sample:  # noqa: ANN401  # JSON
        image, labels = record
        sizes = {(value["width"], value["height"]) for value in labels.values()}
        if len(sizes) > 1:
            raise InputError(f"{self.annotations}: {image} has two sizes: {sorted(sizes)}")
        labelled = self.sample_of(
            image,
            (
                instance
                for name, label in labels.items()
                for instance in _instances(name, label, f"{name}.json: {image}")
            ),
            self.annotations,
            sizes.pop(),
            upright=True,
            tags={"labelled": [kind for name in labels for kind in _LABEL_FILES[name]]},
        )
        check_labels(labelled)
        return labelled


def _check_parts(root: Path, files: Iterable[Mapping[str, Any]]) -> None:
    """Refuse an image in several parts of a split: settings would be chosen on the images that are reported."""
    part_of: dict[str, str] = {}
    for labels in files:
        for part, images in (labels.get("_split") or {}).items():
            for image in images:
                if (other := part_of.setdefault(image, part)) != part:
                    raise InputError(f"{root}: _split lists {image} in {other} and in {part}; list it in one of them")


def _labels(file: Path) -> Mapping[str, Any]:
    labels = data_files.read_json(file)
    if not isinstance(labels, dict):
        raise InputError(f"{file}: not names of images with their labels")
    return labels


def _instances(name: str, label: Mapping[str, Any], location: str) -> Iterator[Instance]:
    for item in label[name]:
        if name == "hands":
            if (side := item.get("side")) not in _LABELLED_SIDES:
                raise InputError(f"{location}: side is {side!r}; Left, Right or null is known")
            yield _instance("hand", item["box"], item, clear=item.get("clear", True), side=_LABELLED_SIDES[side])
            continue
        yield _instance("body", item["box"], item, clear=item.get("clear", True))
        if item.get("face"):
            yield _instance("face", item["face"], item, clear=item.get("face_clear", True))
    for box in label.get("crowd", ()):
        for kind in _LABEL_FILES[name]:
            yield Instance(kind=kind, box=_box(box), crowd=True)


def _instance(
    kind: InstanceKind, box: object, label: Mapping[str, Any], *, clear: bool, side: Side | None = None
) -> Instance:
    words = {name: label[name] for name in _WORDS if label.get(name) not in (None, "")}
    return Instance(kind=kind, side=side, box=_box(box), extra={"clear": bool(clear)} | words)


def _box(numbers: Any) -> Box:  # noqa: ANN401  # JSON
    x_min, y_min, x_max, y_max = map(float, numbers)
    if not (x_min < x_max and y_min < y_max):
        raise ValueError(f"box {numbers} is empty; expected [x_min, y_min, x_max, y_max] in pixels")
    return x_min, y_min, x_max, y_max
