"""Data sets in COCO's format: pictures with boxes, masks, keypoints and categories.

Source: https://cocodataset.org/#format-data. Boxes become (x_min, y_min, x_max, y_max) in pixels.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sonjit.datasets.coco_masks import mask_from_segmentation
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
    """One object in a picture.

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
        """(height, width) of the picture; the filled box where the file holds no mask."""
        if self.segmentation:
            return mask_from_segmentation(self.segmentation, height, width)
        filled = np.zeros((height, width), np.bool_)
        x_min, y_min, x_max, y_max = (max(round(edge), 0) for edge in self.box)
        filled[y_min:y_max, x_min:x_max] = True
        return filled


@dataclass(frozen=True, eq=False)
class CocoPicture:
    """One picture of a data set.

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
        pictures: in the order of the file.
    """

    path: Path
    categories: tuple[CocoCategory, ...]
    pictures: tuple[CocoPicture, ...]


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
        pictures = tuple(
            CocoPicture(
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
    _check(file, categories, pictures, set(instances))
    return CocoData(file, categories, pictures)


def read_pictures(data: CocoData, images: Path | None = None) -> Iterator[tuple[CocoPicture, NDArray[np.uint8]]]:
    """The pictures of a data set, (H, W, 3) uint8 RGB each, with what stands in them.

    Args:
        data: of which.
        images: the folder that the file names are relative to, by default `images` beside the annotations where that
            holds them, else the annotations' own; or a video whose frame n is the picture of the file name n, e.g.
            `000012.png` for frame 12, or of the id n where the name is no number.

    Raises:
        InputError: a picture is missing, cannot be read or has another size than the annotations say.
    """
    if images is None:
        beside = data.path.parent / "images"
        images = beside if (beside / data.pictures[0].name).is_file() else data.path.parent
    found = _from_folder(data, images) if images.is_dir() else _from_video(data, images)
    for picture, rgb in found:
        if rgb.shape[:2] != (picture.height, picture.width):
            raise InputError(
                f"{images}: {picture.name} has {rgb.shape[1]} x {rgb.shape[0]} pixels "
                f"and the annotations say {picture.width} x {picture.height}"
            )
        yield picture, rgb


def _from_folder(data: CocoData, folder: Path) -> Iterator[tuple[CocoPicture, NDArray[np.uint8]]]:
    for picture in data.pictures:
        if not (folder / picture.name).is_file():
            raise InputError(f"{picture.name} is not in {folder}: name the folder or the video of the pictures")
        with open_source(folder / picture.name) as source:
            for frame in source:
                yield picture, frame.rgb
                break


def _from_video(data: CocoData, video: Path) -> Iterator[tuple[CocoPicture, NDArray[np.uint8]]]:
    wanted = {_frame_number(picture): picture for picture in data.pictures}
    with open_source(video) as source:
        if source.kind != "video":
            raise InputError(f"{video}: give the folder of the pictures, or the video that they are frames of")
        for frame in source:
            if (picture := wanted.pop(frame.index, None)) is not None:
                yield picture, frame.rgb
            if not wanted:
                return
    missing = min(wanted)
    raise InputError(f"{video} has no frame {missing} for the picture {wanted[missing].name}: is it the right video?")


def _frame_number(picture: CocoPicture) -> int:
    stem = Path(picture.name).stem
    return int(stem) if stem.isdecimal() else picture.id


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


def _check(
    file: Path, categories: tuple[CocoCategory, ...], pictures: tuple[CocoPicture, ...], orphans: set[int]
) -> None:
    if not pictures:
        raise InputError(f"{file} names no pictures")
    if orphans:
        raise InputError(f"{file}: annotations of the picture {min(orphans)}, which is not among the images")
    known = {one.id for one in categories}
    unknown = {one.category_id for picture in pictures for one in picture.instances} - known
    if unknown:
        raise InputError(f"{file}: annotations of the category {min(unknown)}, which is not among the categories")
    if len({picture.id for picture in pictures}) < len(pictures):
        raise InputError(f"{file}: two images have the same id")
