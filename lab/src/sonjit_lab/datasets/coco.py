"""Data sets, masks and results in COCO's format.

Source: https://cocodataset.org/#format-data. A record is an image with its annotations, as in the file. A data set in
this format is a subclass of `CocoSet` that defines its files and the meaning of its annotations. Masks are run lengths,
plain or packed into text, or polygons. Runs follow the columns and begin with the number of background pixels.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from sonjit._util import BoolArray, InputError, data_files, records
from sonjit.segmentation.coco import mask_functions
from sonjit_lab.datasets import dataset
from sonjit_lab.datasets.sample import CORNER_PIXEL, HAND_SKELETON, Instance, Sample, Side, VideoFrame

T = TypeVar("T")
RENDERED = "hands rendered by Sonjit"  # description of a file that `sonjit synth` writes
_MAX_CORNER = 1e6  # pixels: edges are drawn point by point
_VISIBLE = 2  # the flag of a keypoint that is not hidden
Record = dict[str, Any]
_PARTS: dict[str, tuple[Side | None, str, int]] = {
    "face": (None, "face_300w68", 68),
    "lefthand": ("Left", HAND_SKELETON, 21),
    "righthand": ("Right", HAND_SKELETON, 21),
}


def mask_from_segmentation(segmentation: object, height: int, width: int) -> BoolArray:
    """Return the mask of an annotation by the functions of faster-coco-eval, which equal those of pycocotools.

    Args:
        segmentation: Run lengths `{"size": [h, w], "counts": [...] or text}`, or a list of polygons `[x, y, x, y, ...]`
            in pixels.
        height: Height of the image.
        width: Width of the image.

    Returns:
        Mask (height, width).

    Raises:
        InputError: The segmentation is of neither form or of another size.
        MissingExtraError: faster-coco-eval is not installed.

    >>> mask_from_segmentation({"size": [2, 3], "counts": [1, 2, 3]}, 2, 3).astype(int)
    array([[0, 1, 0],
           [1, 0, 0]])
    >>> mask_from_segmentation([[1, 0, 3, 0, 3, 2, 1, 2]], 3, 4).astype(int)
    array([[0, 1, 1, 0],
           [0, 1, 1, 0],
           [0, 0, 0, 0]])
    """
    functions, encoded = mask_functions(), _checked_segmentation(segmentation, height, width)
    if isinstance(encoded, list):
        if not encoded:
            return np.zeros((height, width), np.bool_)
        encoded = functions.merge(_checked(functions.frPyObjects, encoded, height, width))
    elif not isinstance(encoded.get("counts"), str | bytes):
        encoded = _checked(functions.frPyObjects, encoded, height, width)
    return _checked(functions.decode, encoded).reshape(height, width).astype(np.bool_)


def _checked_segmentation(segmentation: object, height: int, width: int) -> Mapping[str, Any] | list[list[float]]:
    """Return run lengths of an image's size, or polygons; refuse others."""
    if isinstance(segmentation, Mapping):
        if segmentation.get("size") != [height, width]:
            raise InputError(f"a mask of size {segmentation.get('size')} does not fit an image of {[height, width]}")
        return cast("Mapping[str, Any]", segmentation)
    if isinstance(segmentation, Sequence) and not isinstance(segmentation, str):
        return [_polygon(part) for part in segmentation]
    raise InputError(f"a segmentation is run lengths or a list of polygons, not {type(segmentation).__name__}")


def _checked(function: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401
    try:
        return function(*arguments)
    except (ValueError, TypeError, RuntimeError, KeyError, OverflowError) as error:
        raise InputError(f"a mask's run lengths are damaged: {records.one_line(error)}") from None


def _polygon(corners: object) -> list[float]:
    try:
        numbers = np.asarray(corners, np.float64)
    except (TypeError, ValueError, OverflowError):
        numbers = np.zeros(0)
    if numbers.ndim != 1 or len(numbers) < 6 or len(numbers) % 2 or not (np.abs(numbers) < _MAX_CORNER).all():
        raise InputError("a polygon is a list x, y, x, y, ... of at least three corners in pixels")
    return numbers.tolist()


def box_from_mask(mask: BoolArray) -> tuple[float, float, float, float] | None:
    """Return the box x_min, y_min, x_max, y_max around all pixels of a mask (H, W); None if it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


class CocoSet(dataset.RecordDataset):
    """Images with annotations in COCO's format. A loader calls `read` once, at the end of its `__init__`."""

    def read(self, annotations: Path, *images: Path, data: Record | None = None) -> None:
        """Read a JSON file of annotations, or its content; its file names may be relative to `images`, the most likely
        folder first.
        """
        self._folders = [
            (str(folder), folder.relative_to(self.root).as_posix() if folder.is_relative_to(self.root) else str(folder))
            for folder in images
        ]
        data = data_files.read_json(annotations) if data is None else data
        if not isinstance(data, dict):
            raise InputError(f"{annotations} is not in COCO's format: it has no images, annotations and categories")
        with dataset.naming(str(annotations)):
            self.category_records: dict[int, Record] = {category["id"]: category for category in data["categories"]}
            if len(self.category_records) < len(data["categories"]):
                raise ValueError("two categories have one id")
            self._pixel_centre = pixel_centre(data.get("info") or {})
            licences = data.get("licenses") or []
            self._licences: dict[int, str] = {licence["id"]: licence["name"] for licence in licences if "id" in licence}
        self.keep(_by_image(data), str(annotations))

    @property
    def pixel_centre(self) -> float:
        """Position of the first pixel's centre in the file, 0 or 0.5, see `CORNER_PIXEL`."""
        return self._pixel_centre

    def identity(self, index: int) -> dataset.Identity:
        with dataset.naming(f"{self.annotations}, sample {index}"):
            image, annotations = self.records[index]
            path, name = self.image(image)
            about = self.about(image, annotations)
        subject, sequence, view, frame = (
            None if about.get(key) is None else str(about[key]) for key in ("subject", "sequence", "view", "frame")
        )
        file = path if isinstance(path, Path) else None
        return dataset.Identity(name, subject, sequence, file, self.entry.name, view, frame)

    def sample(self, record: Any) -> Sample:  # noqa: ANN401  # JSON
        image, annotations = record
        path, name = self.image(image)
        size = int(image["width"]), int(image["height"])
        instances = (instance for annotation in annotations for instance in self.instances(annotation, image))
        licence = self._licences.get(image.get("license"), self.entry.licence)
        more = {"image_id": image["id"], **self.about(image, annotations)}
        return self.sample_of(name, instances, self.annotations, size, image=path, licence=licence, **more)

    def image(self, image: Record) -> tuple[Path | VideoFrame, str]:
        folders, name = self._folders, str(image["file_name"])
        if "\\" in name and not any(Path(folder, name).is_file() for folder, _ in folders):
            name = name.replace("\\", "/")  # of a label tool on Windows
        candidates = folders if len(folders) == 1 else (folder for folder in folders if Path(folder[0], name).is_file())
        folder, below = next(iter(candidates), folders[0])
        return Path(folder, name), name if below == "." else f"{below}/{name}"

    def categories(self) -> dict[int, str]:
        return {item: str(self.category_records[item]["name"]) for item in sorted(self.category_records)}

    def about(self, image: Record, annotations: list[Record]) -> Mapping[str, object]:
        return {}

    def instances(self, annotation: Record, image: Record) -> Iterator[Instance]:
        category = self.category_records.get(annotation["category_id"])
        if category is None:
            raise ValueError(f"annotation {annotation.get('id')}: category_id {annotation['category_id']} is not known")
        keypoints: Record = {}
        if "keypoints" in annotation:
            keypoints = {"skeleton": "body_coco17"} | keypoint_fields(annotation, "keypoints", 17, has_visibility=True)
            keypoints["keypoints_px"] = keypoints["keypoints_px"] - self._pixel_centre
        yield Instance(
            kind="body" if keypoints else "object",
            box=dataset.box_from_corner(annotation, "bbox"),
            area_px2=annotation.get("area"),
            category=category["name"],
            category_id=category["id"],
            crowd=bool(annotation.get("iscrowd", 0)),
            extra={"id": annotation.get("id")},
            read_mask=mask_reader(annotation, image),
            **keypoints,
        )


def pixel_centre(info: Mapping[str, Any]) -> float:
    """Return the position of the first pixel's centre in a file, 0 or 0.5, by its `info`.

    >>> pixel_centre({}), pixel_centre({"pixel_centre": 0.5})
    (0.0, 0.5)
    """
    default = CORNER_PIXEL if info.get("description") == RENDERED else 0.0  # of renders before the field existed
    value = info.get("pixel_centre", default)
    if value not in (0, CORNER_PIXEL):
        raise ValueError(f"info.pixel_centre is {value!r}; must be 0 or 0.5")
    return float(value)


def keypoint_fields(annotation: Record, field: str, count: int, *, has_visibility: bool) -> Record:
    """Return the fields of an instance for keypoints stored as x, y, flag, which may separate hidden (1) from visible
    (2).
    """
    points, flags = dataset.points_with_flags(annotation, field, count)
    return {"keypoints_px": points, "valid_px": flags > 0, "visible": flags >= _VISIBLE if has_visibility else None}


def mask_reader(annotation: Record, image: Record) -> Any:  # noqa: ANN401  # a partial or None
    """Return a function that reads an annotation's mask, or None. Parts with fewer than three corners are left out."""
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, list):
        segmentation = [part for part in segmentation if not isinstance(part, list) or len(part) >= 6]
    if not segmentation:
        return None
    arguments = segmentation, int(image["height"]), int(image["width"])
    location = f"{image['file_name']}, annotation {annotation.get('id')}"
    _located(location, _checked_segmentation, *arguments)
    return partial(_located, location, mask_from_segmentation, *arguments)


def _located(location: str, function: Callable[..., T], *arguments: object) -> T:
    """Call a function and name the location in its errors."""
    try:
        return function(*arguments)
    except InputError as error:
        raise InputError(f"{location}: {error}") from None


def _by_image(data: Record) -> Iterator[tuple[Record, list[Record]]]:
    annotations: dict[Any, list[Record]] = defaultdict(list)
    numbers: set[Any] = set()
    for annotation in data["annotations"]:
        annotations[annotation["image_id"]].append(annotation)
        if (number := annotation.get("id")) is not None:
            if number in numbers:
                raise ValueError(f"two annotations have the id {number}")
            numbers.add(number)
    _check_corners(data["images"], annotations)
    ids: set[Any] = set()
    for image in data["images"]:
        if image["id"] in ids:
            raise ValueError(f"two images have the id {image['id']}")
        ids.add(image["id"])
        yield image, annotations.get(image["id"], [])
    if orphans := annotations.keys() - ids:
        raise ValueError(f"annotations of the image {min(map(str, orphans))}, which is not among the images")


def _check_corners(images: Sequence[Record], annotations: Mapping[Any, list[Record]]) -> None:
    """Refuse boxes that fit their images as two corners, and as x, y, width and height reach beyond them."""
    beyond = 0
    for image in images:
        width, height = float(image["width"]) + 1, float(image["height"]) + 1  # some boxes are rounded
        for annotation in annotations.get(image["id"], ()):
            box = annotation.get("bbox")
            if not isinstance(box, list) or len(box) != 4:
                continue
            x, y, third, fourth = map(float, box)
            if not (x < third <= width and y < fourth <= height):
                return
            beyond += x + third > width or y + fourth > height
    if beyond:
        raise ValueError(f"{beyond} boxes reach beyond their image: bbox is x, y, width, height and not two corners")


class Coco(CocoSet):
    """COCO: people's keypoints, or with `labels="instances"` all objects with masks."""

    def __init__(self, entry: dataset.DatasetEntry, root: Path, split: str, *, labels: str = "keypoints") -> None:
        files = {"keypoints": "person_keypoints", "instances": "instances"}
        if labels not in files:
            raise InputError(f"{entry.name}: labels is {' or '.join(map(repr, files))}, not {labels!r}")
        super().__init__(entry, root, split)
        self.read(self.need(f"annotations/{files[labels]}_{split}.json"), root / split)


class CocoWholeBody(CocoSet):
    """COCO-WholeBody: the labelled body, feet, face and hands of each person."""

    def __init__(self, entry: dataset.DatasetEntry, root: Path, split: str) -> None:
        super().__init__(entry, root, split)
        name = split.removesuffix("2017")
        self.read(self.need(f"annotations/coco_wholebody_{name}_v1.0.json"), root / split)

    def instances(self, annotation: Record, image: Record) -> Iterator[Instance]:
        person = {"person": annotation["id"]}
        body = keypoint_fields(annotation, "keypoints", 17, has_visibility=True)
        feet = keypoint_fields(annotation, "foot_kpts", 6, has_visibility=True)
        both: Record = {name: np.concatenate([values, feet[name]]) for name, values in body.items()}
        yield Instance(
            kind="body",
            skeleton="body_coco23",
            **both,
            box=dataset.box_from_corner(annotation, "bbox"),
            area_px2=annotation.get("area"),
            category="person",
            category_id=annotation["category_id"],
            crowd=bool(annotation.get("iscrowd", 0)),
            extra=person,
            read_mask=mask_reader(annotation, image),
        )
        for part, (side, skeleton, count) in _PARTS.items():
            if annotation[f"{part}_valid"]:
                yield Instance(
                    kind="hand" if side else "face",
                    side=side,
                    skeleton=skeleton,
                    box=dataset.box_from_corner(annotation, f"{part}_box"),
                    extra=person,
                    **keypoint_fields(annotation, f"{part}_kpts", count, has_visibility=False),
                )
