"""The user's own images: with a COCO file, with tables that Sonjit wrote, or sorted into a folder per class.

In a COCO file, keypoints with the names of a known skeleton are reordered to it. A category without such names may
state the order as `keypoint_order`, such as `mano`. In addition to COCO's fields an annotation may have `hand_side`,
`hand_presence` (0: no hand), `keypoints3d` (K x 3, millimetres in the camera's frame), `derived` (indices of keypoints
that were computed from others) and `group` (region, skin_tone,
gender, age...); an image `subject` (for splits), `sequence`, `frame`, `view`, `tags`, `camera` {K, R, t_m, distortion}
and `upright` (false: stored rotated, and labelled so). The images may be frames of a video: `frame`, or the file name,
such as `000012.png`, or `frame_000012.PNG` as CVAT writes it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sonjit._util import InputError, IntArray, data_files
from sonjit.geometry.cameras import FISHEYE, CalibratedCamera, check_camera
from sonjit.media import IMAGE_ENDINGS, TABLE_ENDINGS, load_frames, natural_key
from sonjit.results import Instance as Found
from sonjit.results.skeletons import side_of_name
from sonjit_lab.datasets import convert, label_tools, reading
from sonjit_lab.datasets.checks import check_labels
from sonjit_lab.datasets.coco import CocoSet, Record, keypoint_fields, mask_reader
from sonjit_lab.datasets.dataset import (
    Dataset,
    DatasetEntry,
    Identity,
    RecordDataset,
    box_from_corner,
    naming,
    size_of_image,
)
from sonjit_lab.datasets.sample import Instance, InstanceKind, Sample, VideoFrame

_IMAGE_FIELDS = ("subject", "sequence", "frame", "view", "tags", "upright", "reduced")
_NAME_FIELDS = ("subject", "sequence", "view")  # fields that a file may give as numbers
_OTHER_NAMES = {"seq_name": "sequence", "frame_idx": "frame"}  # fields of InterHand2.6M
_INSTANCE_FIELDS = ("group", "id", "causes")
_KINDS: dict[str, InstanceKind] = {"hand": "hand", "face": "face", "person": "body", "body": "body"}
_SIDES = {"left": "Left", "right": "Right", "unknown": None, "": None}

_HAND_KEYPOINTS = 21
_TOOL_ENDINGS = (".xml", ".yaml", ".yml", ".gz", ".zip")  # of labels that only tools write
_LABEL_FILES = ("dataset.json", "coco.json")  # labels of converted and of synthetic data sets
_VISIBLE = 0.5  # minimum visibility of a visible keypoint of a body


class Folder(CocoSet):
    """Images, or a video's frames, with a COCO file."""

    def __init__(
        self,
        entry: DatasetEntry,
        root: Path,
        split: str,
        annotations: Path,
        images: Path | None,
        *,
        order: str = "",
        data: Record | None = None,
    ) -> None:
        super().__init__(entry, root, split)
        self._order = order
        base = annotations.parent
        part = annotations.stem.rpartition("_")[2]  # CVAT writes images/default for instances_default.json
        folders = [folder / "images" for folder in (root, base, base.parent)]
        candidates = (*folders, *(folder / part for folder in folders), base, root, root / "data", base / "data")
        self._video = images if images and images.is_file() else None
        # File names of some sets begin with the folder of the images.
        folders = [images, images.parent] if images else list(filter(Path.is_dir, candidates))
        self.read(annotations, *folders, data=data)
        self._orders = {
            key: reading.skeleton_of_names(item.get("keypoints") or ()) for key, item in self.category_records.items()
        }
        self._check_names()
        self._marks_hidden = any(_has_visible(label) for _, labels in self.records for label in labels)
        for index in range(len(self.records)):
            try:
                self._check(index)
            except InputError as error:
                self.wrong[index] = str(error)

    @property
    def keypoint_orders(self) -> dict[int, IntArray]:
        """Index of each keypoint of the labels in the file's order, by category; results of other programs have it."""
        orders = {number: order for number, (_, order) in self._orders.items() if order is not None}
        for number, category in self.category_records.items():
            if (stated := category.get("keypoint_order") or self._order) and number not in orders:
                orders[number] = reading.skeleton_of_order(str(stated), (), _HAND_KEYPOINTS)[1]
        return orders

    def _check_names(self) -> None:
        """Refuse an image that is there twice, whose labels would each count as complete."""
        ids: dict[tuple[str, str], object] = {}
        with naming(self.annotations):
            for image, _ in self.records:
                name = str(image["file_name"]), str(image.get("frame")) if self._video else ""
                if (first := ids.setdefault(name, image["id"])) != image["id"]:
                    number = image["id"]
                    raise ValueError(f"the images {first} and {number} are both {name[0]}; use one id for both")

    def _check(self, index: int) -> None:
        """Refuse a record with a wrong label."""
        with naming(f"{self.annotations}, sample {index}"):
            check_labels(self.sample(self.records[index]))

    def image(self, image: Record) -> tuple[Path | VideoFrame, str]:
        if self._video is None:
            return super().image(image)
        name = str(image["file_name"])
        index = str(image.get("frame", Path(name).stem.removeprefix("frame_")))
        if not index.isdecimal():
            raise InputError(f"{name} is no frame of {self._video}: add the field frame, or name it frame_000012.png")
        return VideoFrame(self._video, int(index)), name

    def about(self, image: Record, annotations: list[Record]) -> Mapping[str, object]:
        given = {_OTHER_NAMES.get(name, name): value for name, value in image.items()} | image
        fields = {name: given[name] for name in _IMAGE_FIELDS if given.get(name) is not None}
        fields |= {name: _text(fields, name) for name in _NAME_FIELDS if name in fields}
        if "frame" in fields and not str(fields["frame"]).isdecimal():
            raise InputError(f"{image['file_name']}: frame is {fields['frame']!r}; must be a whole number from 0")
        fields |= {"frame": int(fields["frame"])} if "frame" in fields else {}
        groups = (annotation.get("group") or {} for annotation in annotations)
        subjects = {_text(group, "subject") for group in groups if "subject" in group}
        if "subject" not in fields and len(subjects) == 1:
            fields["subject"] = subjects.pop()
        camera = image.get("camera")
        if isinstance(camera, Mapping):
            fields["camera"] = _camera(camera, image["file_name"], self.pixel_centre)
        elif camera is not None:  # its name, as in InterHand2.6M's files
            fields.setdefault("view", _text(image, "camera"))
        return {"upright": True} | fields

    def instances(self, annotation: Record, image: Record) -> Iterator[Instance]:
        if annotation.get("hand_presence", 1) == 0:
            return
        location = f"{image['file_name']}, annotation {annotation.get('id')}"
        category = self.category_records.get(annotation["category_id"])
        if category is None:
            raise InputError(f"{location}: category_id {annotation['category_id']} is not among the categories")
        named = side_of_name(str(category["name"])) if _kind(category, "") == "hand" else None
        side = str(annotation.get("hand_side", named) or "").lower()
        if side not in _SIDES:
            raise InputError(f"{location}: hand_side is {annotation['hand_side']!r}; left or right is known")
        box = box_from_corner(annotation, "bbox")
        if box is None and annotation.get("bbox") is not None:
            raise InputError(f"{location}: bbox {annotation['bbox']} is empty; correct or remove it")
        yield Instance(
            kind=_kind(category, side),
            side=_SIDES[side],  # pyright: ignore[reportArgumentType]  # the table's values
            box=box,
            area_px2=annotation.get("area"),
            category=category["name"],
            category_id=category["id"],
            crowd=bool(annotation.get("iscrowd", 0)),
            extra={name: annotation[name] for name in _INSTANCE_FIELDS if name in annotation},
            read_mask=mask_reader(annotation, image),
            **self._keypoints(annotation, category),
        )

    def _keypoints(self, annotation: Record, category: Record) -> Record:
        if not annotation.get("keypoints"):
            return {}
        names = category.get("keypoints") or ()
        count = len(names) or len(annotation["keypoints"]) // 3
        result = keypoint_fields(annotation, "keypoints", count, has_visibility=self._marks_hidden)
        flags = np.reshape(np.array(annotation["keypoints"], np.float64), (-1, 3))[:, 2]
        if unknown := set(flags.tolist()) - {0, 1, 2}:
            raise InputError(
                f"annotation {annotation.get('id')}: keypoints has the flag {min(unknown):g}; must be 0 if unlabelled, "
                "1 if hidden, or 2 if visible"
            )
        result["keypoints_px"] = result["keypoints_px"] - self.pixel_centre
        if points := annotation.get("keypoints3d"):
            points_m = np.array(points, np.float64).reshape(-1, 3) / 1000  # null is NaN
            if len(points_m) != count:
                raise InputError(
                    f"annotation {annotation.get('id')}: keypoints3d has {len(points_m)} points; expected {count}"
                )
            result |= {"keypoints_m": points_m, "valid_m": np.isfinite(points_m).all(axis=1)}
        skeleton, order = self._orders[category["id"]]
        order_name = category.get("keypoint_order")
        if order_name or (self._order and (order is None or count == _HAND_KEYPOINTS)):
            skeleton, order = reading.skeleton_of_order(str(order_name or self._order), names, count)
        derived = annotation.get("derived") or ()
        if order is None:
            return result | {"keypoint_names": tuple(map(str, names)), "derived": tuple(derived)}
        result = {name: None if values is None else values[order] for name, values in result.items()}
        places = tuple(place for place, index in enumerate(order.tolist()) if index in derived)
        return result | {"skeleton": skeleton, "derived": places}


class ClassFolders(RecordDataset):
    """Images sorted into a folder per class."""

    def __init__(self, entry: DatasetEntry, root: Path, split: str) -> None:
        super().__init__(entry, root, split)
        folders = sorted((item for item in root.iterdir() if item.is_dir()), key=lambda item: natural_key(item.name))
        self._classes = [folder.name for folder in folders]
        self.keep(
            (
                (number, file.name)
                for number, folder in enumerate(folders)
                for file in sorted(folder.iterdir(), key=lambda item: natural_key(item.name))
                if file.suffix.lower() in IMAGE_ENDINGS
            ),
            str(root),
        )

    def categories(self) -> dict[int, str]:
        return dict(enumerate(self._classes))

    def identity(self, index: int) -> Identity:
        number, name = self.records[index]
        below = f"{self._classes[number]}/{name}"
        return Identity(below, image=self.root / below, dataset=self.entry.name)

    def sample(self, record: Any) -> Sample:  # noqa: ANN401  # JSON
        number, name = record
        item = Instance(kind="object", category=self._classes[number], category_id=number)
        return self.sample_of(f"{self._classes[number]}/{name}", [item], self.root)


def _kind(category: Record, side: str) -> InstanceKind:
    name = "hand" if side else str(category["name"]).lower()
    words = "".join(letter if letter.isalpha() else " " for letter in name).split()  # a handbag is no hand
    words += [word.removeprefix("left").removeprefix("right") for word in words]
    kinds: list[InstanceKind] = [kind for word, kind in _KINDS.items() if {word, f"{word}s"} & set(words)]
    return kinds[0] if kinds else "object"


def _has_visible(annotation: Record) -> bool:
    """Check whether an annotation has a keypoint with the flag of visible ones; some files have only 0 and 1."""
    keypoints = annotation.get("keypoints")
    if not isinstance(keypoints, list) or not keypoints:
        return False
    return any(row[-1:] == [2] for row in keypoints) if isinstance(keypoints[0], list) else 2 in keypoints[2::3]


def _text(record: Record, name: str) -> str:
    value = record[name]
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise InputError(f"{name} is {value!r:.60}; must be a name or a number")
    return str(value)


def _camera(camera: Mapping[str, Any], location: str, pixel_centre: float) -> CalibratedCamera:
    fields = {"K": "K", "R": "R", "t": "t_m", "distortion": "distortion"}
    with naming(f"{location}: camera"):
        arrays = {
            name: np.array(camera[key], np.float64) for name, key in fields.items() if camera.get(key) is not None
        }
    if "K" not in arrays:
        raise InputError(f"{location}: camera has no K (3 x 3, pixels)")
    if "model" not in camera and np.shape(arrays.get("distortion", ())) == (FISHEYE,):
        raise InputError(f'{location}: camera has 4 coefficients: add "model": "fisheye" or "model": "pinhole"')
    calibrated = CalibratedCamera(**arrays, model=camera.get("model", "pinhole"))
    check_camera(calibrated, f"{location}: camera")
    calibrated.K[:2, 2] -= pixel_centre
    return calibrated


def open_folder(
    entry: DatasetEntry,
    root: Path,
    split: str,
    *,
    annotations: str | None = None,
    images: str | None = None,
    order: str = "",
) -> Dataset:
    """Open the user's own images. `annotations` selects one of several label files, `images` their folder or video.

    Both are relative to `root`, or to the current folder if only that exists. `order` is that of keypoints whose names
    do not define it, see `reading.ORDERS`.
    """
    folder = root if root.is_dir() else root.parent
    file = root if root.is_file() else _annotation_file(root, annotations)
    image_folder = _below(folder, images) if images else None
    labels = None
    if file is None or label_tools.tool_of(file) or file.suffix.lower() in _TOOL_ENDINGS:
        labels = label_tools.find_labels(folder, file)
    if labels is not None:
        labels = labels.of_split(split)
        return Folder(entry, folder, split, labels.source, image_folder, order=order, data=labels.data)
    if split != "all":
        raise InputError(
            f"{root}: split={split} applies to labels of YOLO and CVAT that state splits; choose a file instead"
        )
    if file is None:
        if not any(path.suffix.lower() in IMAGE_ENDINGS for path in root.glob("*/*")):
            raise InputError(f"{root} contains neither a COCO file or table nor folders of images by class")
        _refuse_order(order, root)
        return ClassFolders(entry, root, split)
    content = data_files.read_json(file) if file.suffix.lower() == ".json" else {"frames": ()}
    if not isinstance(content, dict) or "frames" not in content:
        return Folder(entry, folder, split, file, image_folder, order=order, data=content)
    _refuse_order(order, file)
    return TableSet(entry, folder, split, file, image_folder)


def _refuse_order(order: str, source: Path) -> None:
    if order:
        raise InputError(f"order={order} does not apply to {source}, whose keypoints have names or which has none")


def _below(root: Path, name: str) -> Path:
    """Return a path below the root of a data set, or of the current folder if only that exists."""
    return root / name if (root / name).exists() or not Path(name).exists() else Path(name)


def _annotation_file(root: Path, name: str | None) -> Path | None:
    """Return the file with the labels, or None for images in one folder per class."""
    if not root.is_dir():
        raise InputError(f"{root}: no such file or folder")
    if name:
        file = _below(root, name)
        if not file.is_file():
            raise InputError(f"{root}: the annotation file {name} is not there")
        return file
    if (root / "dataset.json").is_file():
        return root / "dataset.json"
    candidates = (candidate for candidate in (root / "labels", root / "annotations", root) if candidate.is_dir())
    tables = (
        sorted(file for file in candidate.iterdir() if file.suffix.lower() in TABLE_ENDINGS) for candidate in candidates
    )
    files = next(filter(None, tables), [])
    if files and all(label_tools.tool_of(file) == "labelme" for file in files):
        return None
    if not files:
        files = [file for file in label_tools.coco_files(root) if file.name not in _LABEL_FILES]
    if len(files) > 1:
        first = files[0].relative_to(root) if files[0].parent.parent == root else files[0].name
        raise InputError(f"{root} contains {len(files)} annotation files; choose one, e.g. annotations={first}")
    if not files and (inner := next((file for name in _LABEL_FILES for file in sorted(root.glob(f"*/{name}"))), None)):
        raise InputError(
            f"{root} contains data sets and no labels of its own; choose one of them, such as {inner.parent}, or name "
            "them in the recipe's setting mix or sources"
        )
    return files[0] if files else None


class TableSet(RecordDataset):
    """Images of a table; sample ids are relative to `root`, and `images` is by default the table's own folder."""

    def __init__(self, entry: DatasetEntry, root: Path, split: str, table: Path, images: Path | None) -> None:
        super().__init__(entry, root, split)
        self._folders = [images] if images else [table.parent, root / "images", root]
        self._names = Counter[str]()
        self.keep(map(self._counted, _records(table)), str(table))

    def _counted(self, record: Record) -> Record:
        self._names[Path(record["image"]).name] += 1
        return record

    def sample(self, record: Any) -> Sample:  # noqa: ANN401  # JSON
        path = self._image(record["image"])
        if "width" in record:
            return convert.sample_from_dict(record, path)
        width, height = size_of_image(path, upright=True)
        defaults = {
            "dataset": self.entry.name,
            "id": record["image"],
            "width": width,
            "height": height,
            "upright": True,
        }
        defaults |= {"source": self.annotations, "licence": self.entry.licence}
        return convert.sample_from_dict(defaults | record, path)

    def _image(self, name: str) -> Path:
        """Return the file of an image, without its folder only if no other image has its name."""
        names = (name, Path(name).name) if self._names[Path(name).name] == 1 else (name,)
        candidates = [folder / candidate for candidate in names for folder in self._folders]
        return next((candidate for candidate in candidates if candidate.is_file()), candidates[0])


def _records(table: Path) -> Iterator[Record]:
    if table.suffix.lower() == ".parquet" and convert.is_dataset_parquet(table):
        yield from convert.records_from_parquet(table)
        return
    header, frames = load_frames(table)
    for frame in frames:
        source = frame.source or (header.source if len(frames) == 1 else None)
        if source is None:
            raise InputError(f"{table} describes a video: write its frames into a folder and run detection on it")
        instances = [convert.instance_to_dict(_instance(item)) for _, item in frame.instances()]
        yield {"image": source, "frame": frame.index, "instances": instances}


def _instance(result: Found) -> Instance:
    points = np.asarray(result.keypoints[:, :2], np.float64)
    return Instance(
        kind=result.kind,  # pyright: ignore[reportArgumentType]  # results use the same words
        side=result.handedness,
        skeleton=result.skeleton.name,
        keypoints_px=points,
        valid_px=np.asarray(np.isfinite(points).all(axis=1), np.bool_),
        visible=None if result.visibility is None else ~(result.visibility < _VISIBLE),
        box=result.box if np.isfinite(result.box).all() else None,
        extra={"score": result.score, "id": result.id},
    )
