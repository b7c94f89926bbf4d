"""What was predicted elsewhere, or earlier by `sonjit hands --save`: files of predictions by sample."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sonjit.datasets import mask_from_segmentation
from sonjit.errors import InputError
from sonjit.evaluation.detector_models import predictions_from_results
from sonjit.evaluation.images import image_number
from sonjit.evaluation.predictions import Prediction
from sonjit.files import read_arrays
from sonjit.media import load_frames
from sonjit.results import RESULT_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from sonjit.datasets import Sample
    from sonjit.evaluation.predictions import Mode

_ARRAYS = {
    "keypoints_px": ((None, 2), "(N, K, 2) pixels"),
    "visible": ((None,), "(N, K) 1 where a keypoint is seen, 0 where it is hidden"),
    "keypoints_m": ((None, 3), "(N, K, 3) metres"),
    "vertices_m": ((None, 3), "(N, V, 3) metres"),
    "box": ((4,), "(N, 4) x_min, y_min, x_max, y_max"),
    "side": ((), "(N,) Right or Left"),
    "score": ((), "(N,)"),
    "instance": ((), "(N,) numbers of the sample's instances"),
    "category_id": ((), "(N,)"),
}
"""Arrays of an .npz beside `id`: their shape after the first axis, None for any, and what they hold."""


class PredictionsModel:
    """A file of predictions, by sample.

    `.npz`: `id` (N,) names of samples, and any of `_ARRAYS`; `placed`, a boolean, says that 3D is in the
    camera's space. `.json` in COCO's results format: by the image's number. `.json`, `.jsonl`, `.csv` or `.parquet`
    that Sonjit wrote for a folder: by the images' names.

    Raises:
        InputError: a missing or damaged file; an array of a wrong shape, with what it should be.
    """

    modes: tuple[Mode, ...] = ("predictions",)

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise InputError(f"--predictions {path}: no such file")
        self._path = path
        self._by_id: Mapping[str, list[Prediction]] = {}
        self._by_number: Mapping[int, list[Mapping[str, Any]]] = {}
        if path.suffix == ".npz":
            self._by_id = _from_arrays(path)
        elif (records := _coco_records(path)) is not None:
            self._by_number = records
        else:
            self._by_id = _from_frames(path)

    def find(self, sample: Sample, rgb: NDArray[np.uint8], mode: Mode) -> list[Prediction]:
        """What the file says of a sample."""
        del mode
        if self._by_number:
            height, width = rgb.shape[:2]
            records = enumerate(self._by_number.get(image_number(sample), []))
            return [part for number, one in records for part in _from_record(one, height, width, number)]
        return self._by_id.get(sample.id) or self._by_id.get(Path(sample.id).name) or []

    def check(self, samples: Iterable[Sample]) -> None:
        """Refuse predictions of something else.

        Raises:
            InputError: the file says nothing of any of these samples.
        """
        name = None
        for sample in samples:
            name = sample.id
            if name in self._by_id or Path(name).name in self._by_id or image_number(sample) in self._by_number:
                return
        if name is not None:
            named = next(iter(self._by_id or self._by_number), "nothing")
            raise InputError(f"{self._path}: names no sample of the data set; it names {named}, and the set {name}")

    def begin(self, mode: Mode) -> None:
        """Nothing is kept from image to image."""

    def close(self) -> None:
        """Nothing is held."""


def _from_arrays(path: Path) -> dict[str, list[Prediction]]:
    arrays = read_arrays(path)
    if "id" not in arrays or arrays["id"].ndim != 1:
        raise InputError(f"{path}: needs id (N,), the name of each row's sample; it holds {_list(arrays)}")
    if unknown := arrays.keys() - _ARRAYS.keys() - {"id", "placed"}:
        raise InputError(f"{path}: unknown array {min(unknown)!r}; known: id, placed, {', '.join(_ARRAYS)}")
    ids = arrays["id"].astype(str).tolist()
    for name, array in arrays.items():
        if name in _ARRAYS:
            _check_shape(path, name, array, len(ids))
    placed = bool(arrays["placed"]) if "placed" in arrays else False
    rows: dict[str, list[Prediction]] = defaultdict(list)
    for row, name in enumerate(ids):
        held: dict[str, Any] = {key: array[row] for key, array in arrays.items() if key in _ARRAYS}
        for key, kind in (("side", str), ("score", float), ("instance", int), ("category_id", int)):
            if key in held:
                held[key] = kind(held[key])
        if "box" in held:
            held["box"] = tuple(map(float, held["box"]))
        if "visible" in held:
            held["visible"] = np.asarray(held["visible"]) > 0
        rows[name].append(Prediction(skeleton=None, placed=placed, **held))
    return rows


def _check_shape(path: Path, name: str, array: NDArray[Any], count: int) -> None:
    shape, what = _ARRAYS[name]
    fits = array.ndim == 1 + len(shape) and len(array) == count
    fits = fits and all(wanted in (None, given) for wanted, given in zip(shape, array.shape[1:], strict=True))
    if not fits:
        raise InputError(f"{path}: {name} is {array.shape}; give {what} with N = {count}, as many as id has")
    if name != "side" and not np.issubdtype(array.dtype, np.number):
        raise InputError(f"{path}: {name} holds {array.dtype}; give numbers, {what}")


def _coco_records(path: Path) -> Mapping[int, list[Mapping[str, Any]]] | None:
    """Records of COCO's results format by image; None where the file is something else."""
    if path.suffix != ".json":
        return None
    try:
        data: Any = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from None
    if not isinstance(data, list):
        return None
    records: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for number, one in enumerate(data):
        if not isinstance(one, dict) or not {"image_id", "category_id", "score"} <= one.keys():
            raise InputError(f"{path}: record {number} lacks image_id, category_id or score of COCO's results format")
        records[int(one["image_id"])].append(one)
    return records


_PARTS: dict[str, tuple[str, str | None, int]] = {
    "foot": ("body_coco23", None, 6),
    "face": ("face_300w68", None, 68),
    "lefthand": ("hand_mediapipe21", "Left", 21),
    "righthand": ("hand_mediapipe21", "Right", 21),
}
"""Of COCO-WholeBody's results beside `keypoints`: skeleton, side and number of keypoints in NAME_kpts."""


def _from_record(one: Mapping[str, Any], height: int, width: int, number: int) -> list[Prediction]:
    """A record's thing; of a person the parts that it has keypoints of."""
    if "keypoints" in one:
        return _people(one, number)
    box = None
    if "bbox" in one:
        x, y, wide, high = map(float, one["bbox"])
        box = x, y, x + wide, y + high
    mask = mask_from_segmentation(one["segmentation"], height, width) if "segmentation" in one else None
    if box is None and mask is not None and mask.any():
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
    return [Prediction(category_id=int(one["category_id"]), score=float(one["score"]), box=box, mask=mask)]


def _people(one: Mapping[str, Any], number: int) -> list[Prediction]:
    """Body with feet, face and hands of a record in the results format of COCO's keypoints or of COCO-WholeBody."""
    body = _triples(one, "keypoints", 17)
    parts = [Prediction(skeleton="body_coco17", score=float(one["score"]), keypoints_px=body, person=number)]
    for name, (skeleton, side, count) in _PARTS.items():
        if f"{name}_kpts" in one:
            points = _triples(one, f"{name}_kpts", count)
            score = float(one.get(f"{name}_score", one["score"]))
            if name == "foot":
                points = np.concatenate([np.full_like(body, np.nan), points])
            parts.append(Prediction(skeleton=skeleton, side=side, score=score, keypoints_px=points, person=number))
    return parts


def _triples(one: Mapping[str, Any], field: str, count: int) -> NDArray[np.float64]:
    """Keypoints (count, 2) of a flat list of x, y, flag; NaN where all are zero: nothing was predicted."""
    values = np.asarray(one[field], np.float64)
    if values.shape != (3 * count,):
        raise InputError(f"{field} of image {one['image_id']}: {values.size} numbers; give x, y and a flag of {count}")
    points = values.reshape(count, 3)
    return points[:, :2] if (points[:, 2] > 0).any() else np.full((count, 2), np.nan)


def _from_frames(path: Path) -> dict[str, list[Prediction]]:
    header, frames = load_frames(path)
    rows: dict[str, list[Prediction]] = {}
    for frame in frames:
        source = frame.source or header.source
        if source is None:
            raise InputError(f"{path}: its frames name no images; save from a folder of images as .json or .jsonl")
        name = Path(source).name
        if name in rows:
            raise InputError(f"{path}: two of its images are named {name}; give an .npz with the samples' ids")
        rows[name] = predictions_from_results([one for kind in RESULT_TYPES for one in frame.results(kind)])
    return rows


def _list(arrays: Mapping[str, Any]) -> str:
    return ", ".join(arrays) or "nothing"
