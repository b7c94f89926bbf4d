"""Data sets in COCO's format: images with boxes, masks, keypoints and categories.

Source: https://cocodataset.org/#format-data. Boxes become (x_min, y_min, x_max, y_max) in pixels.

Masks and results as COCO writes them: run lengths, plain or packed into text, and polygons.

Runs go down the columns, beginning with how many pixels are empty. Source: the format of the COCO data set,
https://cocodataset.org/#format-data; the packed form is that of its reference tools.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sonjit.errors import InputError
from sonjit.media import open_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from sonjit.datasets.sample import Side
    from sonjit.results import Box

_SIDES: dict[object, Side] = {"left": "Left", "right": "Right"}


@dataclass(frozen=True)
class CocoCategory:
    """A kind of object, with the names of its keypoints."""

    id: int
    name: str
    keypoints: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class CocoInstance:
    """One object in an image.

    Attributes:
        category_id: of its kind.
        box: x_min, y_min, x_max, y_max in pixels.
        segmentation: as the file holds it, see `mask_from_segmentation`; None without one.
        keypoints: (K, 3) x, y in pixels and 0 unknown, 1 hidden, 2 visible; None without any.
        crowd: a group that stands for many.
        side: whose hand it is, the person's own; None where the annotation does not say.
        keypoints_m: (K, 3) metres in the camera's frame, NaN where unknown; None without any.
    """

    category_id: int
    box: Box
    segmentation: Any = None
    keypoints: NDArray[np.float32] | None = None
    crowd: bool = False
    side: Side | None = None
    keypoints_m: NDArray[np.float64] | None = None

    def mask(self, height: int, width: int) -> NDArray[np.bool_]:
        """(height, width) of the image; the filled box where the file holds no mask."""
        if self.segmentation:
            return mask_from_segmentation(self.segmentation, height, width)
        filled = np.zeros((height, width), np.bool_)
        x_min, y_min, x_max, y_max = (max(round(edge), 0) for edge in self.box)
        filled[y_min:y_max, x_min:x_max] = True
        return filled


@dataclass(frozen=True, eq=False)
class CocoImage:
    """One image of a data set.

    Attributes:
        id: in the file.
        name: of its file.
        width: pixels.
        height: pixels.
        instances: what stands in it.
    """

    id: int
    name: str
    width: int
    height: int
    instances: tuple[CocoInstance, ...]


@dataclass(frozen=True, eq=False)
class CocoData:
    """A data set.

    Attributes:
        path: of the annotation file.
        categories: in the order of their ids.
        images: in the order of the file.
    """

    path: Path
    categories: tuple[CocoCategory, ...]
    images: tuple[CocoImage, ...]


def load_coco(path: Path) -> CocoData:
    """Read the annotations of a data set.

    Args:
        path: the JSON file; or a folder that holds one, itself or in `annotations/`.

    Raises:
        InputError: no such file, or one that is not in COCO's format, with what is wrong in it.
    """
    file = _annotation_file(path)
    try:
        data: Any = json.loads(file.read_text("utf-8"))
        categories = tuple(
            CocoCategory(int(one["id"]), str(one["name"]), tuple(map(str, one.get("keypoints", ()))))
            for one in sorted(data["categories"], key=lambda one: one["id"])
        )
        instances: dict[int, list[CocoInstance]] = defaultdict(list)
        for one in data["annotations"]:
            instances[int(one["image_id"])].append(_instance(one))
        images = tuple(
            CocoImage(
                int(one["id"]),
                str(one["file_name"]),
                int(one["width"]),
                int(one["height"]),
                tuple(instances.pop(int(one["id"]), ())),
            )
            for one in data["images"]
        )
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None
    except KeyError as error:
        raise InputError(f"{file} is not in COCO's format: {error} is missing") from None
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{file} is not in COCO's format: {error}") from None
    _check(file, categories, images, set(instances))
    return CocoData(file, categories, images)


def read_images(data: CocoData, images: Path | None = None) -> Iterator[tuple[CocoImage, NDArray[np.uint8]]]:
    """The images of a data set, (H, W, 3) uint8 RGB each, with what stands in them.

    Args:
        data: of which.
        images: the folder that the file names are relative to, by default `images` beside the annotations where that
            holds them, else the annotations' own; or a video whose frame n is the image of the file name n, e.g.
            `000012.png` for frame 12, or of the id n where the name is no number.

    Raises:
        InputError: an image is missing, cannot be read or has another size than the annotations say.
    """
    if images is None:
        beside = data.path.parent / "images"
        images = beside if (beside / data.images[0].name).is_file() else data.path.parent
    found = _from_folder(data, images) if images.is_dir() else _from_video(data, images)
    for image, rgb in found:
        if rgb.shape[:2] != (image.height, image.width):
            raise InputError(
                f"{images}: {image.name} has {rgb.shape[1]} x {rgb.shape[0]} pixels "
                f"and the annotations say {image.width} x {image.height}"
            )
        yield image, rgb


def _from_folder(data: CocoData, folder: Path) -> Iterator[tuple[CocoImage, NDArray[np.uint8]]]:
    for image in data.images:
        if not (folder / image.name).is_file():
            raise InputError(f"{image.name} is not in {folder}: name the folder or the video of the images")
        with open_source(folder / image.name) as source:
            for frame in source:
                yield image, frame.rgb
                break


def _from_video(data: CocoData, video: Path) -> Iterator[tuple[CocoImage, NDArray[np.uint8]]]:
    wanted = {_frame_number(image): image for image in data.images}
    with open_source(video) as source:
        if source.kind != "video":
            raise InputError(f"{video}: give the folder of the images, or the video that they are frames of")
        for frame in source:
            if (image := wanted.pop(frame.index, None)) is not None:
                yield image, frame.rgb
            if not wanted:
                return
    missing = min(wanted)
    raise InputError(f"{video} has no frame {missing} for the image {wanted[missing].name}: is it the right video?")


def _frame_number(image: CocoImage) -> int:
    stem = Path(image.name).stem
    return int(stem) if stem.isdecimal() else image.id


def _annotation_file(path: Path) -> Path:
    if not path.is_dir():
        if not path.exists():
            raise InputError(f"{path}: no such file or folder")
        return path
    files = sorted([*path.glob("*.json"), *path.glob("annotations/*.json")])
    if len(files) != 1:
        named = f": {', '.join(file.name for file in files[:3])}" if files else ""
        raise InputError(f"{path} holds {len(files)} annotation files{named}; name the JSON file itself")
    return files[0]


def _instance(one: Any) -> CocoInstance:  # noqa: ANN401  # JSON
    x, y, width, height = (float(value) for value in one["bbox"])
    if not (width > 0 and height > 0 and np.isfinite([x, y, width, height]).all()):
        raise InputError(
            f"annotation {one.get('id')} has the box {one['bbox']}, which holds nothing; mend or remove it"
        )
    keypoints = np.array(one["keypoints"], np.float32).reshape(-1, 3) if one.get("keypoints") else None
    box = (x, y, x + width, y + height)
    points_m = np.array(one["keypoints3d"], np.float64).reshape(-1, 3) / 1000 if one.get("keypoints3d") else None
    return CocoInstance(
        int(one["category_id"]),
        box,
        one.get("segmentation"),
        keypoints,
        crowd=bool(one.get("iscrowd", 0)),
        side=_SIDES.get(one.get("hand_side")),
        keypoints_m=points_m,
    )


def _check(file: Path, categories: tuple[CocoCategory, ...], images: tuple[CocoImage, ...], orphans: set[int]) -> None:
    if not images:
        raise InputError(f"{file} names no images")
    if orphans:
        raise InputError(f"{file}: annotations of the image {min(orphans)}, which is not among the images")
    known = {one.id for one in categories}
    unknown = {one.category_id for image in images for one in image.instances} - known
    if unknown:
        raise InputError(f"{file}: annotations of the category {min(unknown)}, which is not among the categories")
    if len({image.id for image in images}) < len(images):
        raise InputError(f"{file}: two images have the same id")


_BITS, _MORE, _SIGN, _FIRST = 5, 0x20, 0x10, 48  # of one character: its payload, two flags, the code of zero
_SHIFT = 4  # fractional bits of OpenCV's polygon corners


def mask_from_segmentation(segmentation: object, height: int, width: int) -> NDArray[np.bool_]:
    """The mask of an annotation.

    Args:
        segmentation: `{"size": [h, w], "counts": [...] or text}`, or a list of polygons `[x, y, x, y, ...]` in pixels.
        height: of the image.
        width: of the image.

    Returns:
        (height, width).

    Raises:
        InputError: neither of both, or of another size.

    >>> mask_from_segmentation({"size": [2, 3], "counts": [1, 2, 3]}, 2, 3).astype(int)
    array([[0, 1, 0],
           [1, 0, 0]])
    >>> mask_from_segmentation([[1, 0, 3, 0, 3, 2, 1, 2]], 3, 4).astype(int)
    array([[0, 1, 1, 0],
           [0, 1, 1, 0],
           [0, 0, 0, 0]])
    """
    if isinstance(segmentation, Mapping):
        return _mask_from_rle(segmentation, height, width)
    if isinstance(segmentation, Sequence) and not isinstance(segmentation, str):
        return _mask_from_polygons(segmentation, height, width)
    raise InputError(f"a segmentation is run lengths or a list of polygons, not {type(segmentation).__name__}")


def rle_from_mask(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """A mask (H, W) as packed run lengths.

    >>> rle_from_mask(np.array([[False, True, False], [True, False, False]]))
    {'size': [2, 3], 'counts': '123'}
    """
    runs = _runs(mask.T.ravel())
    text: list[str] = []
    for index, run in enumerate(runs):
        left = run - runs[index - 2] if index > 2 else run
        more = True
        while more:
            part = left & 0x1F
            left >>= _BITS
            more = left != (-1 if part & _SIGN else 0)
            text.append(chr((part | (_MORE if more else 0)) + _FIRST))
    return {"size": [mask.shape[0], mask.shape[1]], "counts": "".join(text)}


def coco_result(
    image_id: int, category_id: int, box: Sequence[float], score: float, mask: NDArray[np.bool_] | None = None
) -> dict[str, Any]:
    """One record of COCO's results format.

    Args:
        image_id: in the data set.
        category_id: in the data set.
        box: x_min, y_min, x_max, y_max in pixels.
        score: 0..1.
        mask: (H, W) of the image.

    >>> coco_result(3, 1, (10, 20, 14.5, 26), 0.75)
    {'image_id': 3, 'category_id': 1, 'bbox': [10, 20, 4.5, 6], 'score': 0.75}
    """
    x_min, y_min, x_max, y_max = (round(edge, 2) for edge in box)
    bbox = [x_min, y_min, round(x_max - x_min, 2), round(y_max - y_min, 2)]
    record = {"image_id": image_id, "category_id": category_id, "bbox": bbox, "score": round(score, 5)}
    return record if mask is None else record | {"segmentation": rle_from_mask(mask)}


def _runs(column_major: NDArray[np.bool_]) -> list[int]:
    changes = np.flatnonzero(np.diff(column_major)) + 1
    edges = [0, *([0] if column_major.size and column_major[0] else []), *changes.tolist(), column_major.size]
    return [end - start for start, end in pairwise(edges)]


def _mask_from_rle(rle: Mapping[Any, Any], height: int, width: int) -> NDArray[np.bool_]:
    counts = rle.get("counts")
    if rle.get("size") != [height, width]:
        raise InputError(f"a mask of size {rle.get('size')} does not fit an image of size {[height, width]}")
    runs = _unpacked(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(isinstance(run, int) and run >= 0 for run in runs):
        raise InputError("a mask's counts are a text or a list of whole numbers")
    if sum(runs) > height * width:
        raise InputError(f"a mask's counts add up to {sum(runs)} pixels and the image has {height * width}")
    flat = np.zeros(height * width, np.bool_)
    flat[: sum(runs)] = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(width, height).T


def _unpacked(text: str) -> list[int]:
    runs: list[int] = []
    value = shift = 0
    for character in text:
        part = ord(character) - _FIRST
        if not 0 <= part < 2 * _MORE:
            raise InputError(f"a mask's counts hold {character!r}, which is no part of packed run lengths")
        value |= (part & 0x1F) << shift
        shift += _BITS
        if not part & _MORE:
            value -= (1 << shift) if part & _SIGN else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs


def _mask_from_polygons(polygons: Sequence[Any], height: int, width: int) -> NDArray[np.bool_]:
    """Pixels whose centres lie inside of any polygon, but for those on its edge, which OpenCV decides."""
    import cv2

    mask = np.zeros((height, width), np.uint8)
    for polygon in polygons:
        try:
            corners = np.asarray(polygon, np.float64).reshape(-1, 2)
        except (TypeError, ValueError):
            corners = np.zeros((0, 2))
        if len(corners) < 3 or not (np.abs(corners) < 1e6).all():
            raise InputError("a polygon is a list x, y, x, y, ... of at least three corners in pixels")
        # OpenCV's pixel centres lie at whole numbers, and it fills the edge too: a hair inwards keeps 2 of 2 pixels.
        middle = corners.mean(axis=0)
        inner = corners - 0.5 - np.sign(corners - middle) * 0.45
        cv2.fillPoly(mask, [np.round(inner * (1 << _SHIFT)).astype(np.int32)], 1, cv2.LINE_8, _SHIFT)
    return mask.astype(np.bool_)
