"""Read files of predictions, and write predictions in the formats of challenge servers and toolkits.

FreiHAND and HO-3D require `pred.json`, joints and vertices of every image in order, in metres: FreiHAND in the camera's
frame; HO-3D in OpenGL's axes, joints in MANO's order and the hand moved to the data set's wrist. DexYCB's toolkit
requires lines of text with an image's number in its split and 63 numbers, the joints in millimetres. Sources: `pred.py`
of FreiHAND and HO-3D; the DexYCB toolkit's page on evaluation.
"""

import base64
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonjit._util import InputError, IntArray, data_files, files, json_from, unknown_name
from sonjit.media import load_frames
from sonjit.results import RESULT_TYPES, Box
from sonjit.results.skeletons import load_skeleton
from sonjit_lab.datasets import Sample, coco, mask_from_segmentation, reading
from sonjit_lab.datasets.hands_3d import FROM_OPENGL
from sonjit_lab.datasets.reading import skeleton_of_order
from sonjit_lab.evaluation.coco import PARTS, instance_result
from sonjit_lab.evaluation.landmarks import SKELETONS
from sonjit_lab.evaluation.predictions import (
    JournalLine,
    Mode,
    Model,
    Prediction,
    match_predictions,
    predictions_from_results,
)
from sonjit_lab.evaluation.protocols import Protocol

_ARRAYS = {
    "keypoints_px": ((None, 2), "(N, K, 2) pixels"),
    "visible": ((None,), "(N, K) 1 for a visible keypoint, 0 for a hidden one"),
    "keypoints_m": ((None, 3), "(N, K, 3) metres"),
    "vertices_m": ((None, 3), "(N, V, 3) metres"),
    "box": ((4,), "(N, 4) x_min, y_min, x_max, y_max"),
    "side": ((), "(N,) Right or Left"),
    "score": ((), "(N,)"),
    "instance": ((), "(N,) numbers of the sample's instances"),
    "category_id": ((), "(N,)"),
}
"""Arrays of an .npz in addition to `id`: their shape after the first axis, None for any size, and their content."""

_MAX_BEYOND = 1.05  # maximum edge of a box, as a share of its image's side, that is no sign of another form of box
_JOINTS, _VERTICES = 21, 778


class PredictionsModel(Model):
    """Predictions of a file, by sample.

    `.npz`: `id` (N,) names of samples, and any of `_ARRAYS`; the boolean `placed` means that 3D is in the camera's
    frame. Keypoints have the order of the data set's labels, which is MediaPipe's for hands, or that of the text
    `order`. `.json` in COCO's results format: by the image's id in the annotation file. `.json`, `.jsonl`, `.csv` or
    `.parquet` that Sonjit wrote for images: by their paths, of which one may be the end of the other.
    """

    modes = ("predictions",)

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise InputError(f"--predictions {path}: no such file")
        self._path = path
        self._sources = defaultdict[str, list[str]](list)  # of the frames of a table, by the name without its folder
        self._rows: Mapping[Any, Sequence[Any]]
        self._orders: Mapping[int, IntArray] = {}
        self._has_numbers = False  # the rows are records of COCO's results, by the number of their image
        if path.suffix == ".npz":
            arrays = data_files.read_npz(path)
            if "id" not in arrays or arrays["id"].ndim != 1:
                names = ", ".join(arrays) or "nothing"
                raise InputError(f"{path} requires id (N,), the name of each row's sample; it contains {names}")
            if unknown := arrays.keys() - _ARRAYS.keys() - {"id", "placed", "order"}:
                raise InputError(f"{path}: {unknown_name('array', min(unknown), ('id', 'placed', 'order', *_ARRAYS))}")
            skeleton = _reorder(path, arrays)
            ids = arrays["id"].astype(str).tolist()
            for name, array in arrays.items():
                if name in _ARRAYS:
                    _check_shape(path, name, array, len(ids))
            if "placed" in arrays and arrays["placed"].shape != ():
                raise InputError(f"{path}: placed is {arrays['placed'].shape}; must be one boolean")
            _check_values(path, arrays)
            placed = bool(arrays["placed"]) if "placed" in arrays else False
            rows: dict[str, list[Prediction]] = defaultdict(list)
            for row, name in enumerate(ids):
                fields: dict[str, Any] = {key: array[row] for key, array in arrays.items() if key in _ARRAYS}
                for key, kind in (("side", str), ("score", float), ("instance", int), ("category_id", int)):
                    if key in fields:
                        fields[key] = kind(fields[key])
                if "box" in fields:
                    fields["box"] = tuple(map(float, fields["box"]))
                if "visible" in fields:
                    fields["visible"] = np.asarray(fields["visible"]) > 0
                rows[name].append(Prediction(skeleton=skeleton, placed=placed, **fields))
            self._rows = rows
        elif (records := _coco_records(path)) is not None:
            self._rows, self._has_numbers = records, True
        else:
            self._rows = _from_frames(path)
            for source in self._rows:
                self._sources[Path(source).name].append(source)

    def use_orders(self, orders: Mapping[int, IntArray]) -> None:
        self._orders = orders

    def find(self, sample: Sample, rgb: NDArray[np.uint8], mode: Mode) -> list[Prediction]:
        predictions = self._rows.get(self._key(sample), [])
        if self._has_numbers:
            height, width = rgb.shape[:2]
            ordered = [_in_order(item, self._orders) for item in predictions]
            return [part for number, item in enumerate(ordered) for part in _from_record(item, height, width, number)]
        for prediction in predictions:
            if prediction.instance is not None and prediction.instance >= len(sample.instances):
                count = len(sample.instances)
                raise InputError(f"{self._path}: {sample.id} has {count} instances; there is no {prediction.instance}")
        return list(predictions)

    def _key(self, sample: Sample) -> str:
        """Return the key of a sample's predictions, which may have none."""
        if self._has_numbers:
            if sample.image_id is None:
                raise InputError(
                    f"{self._path}: COCO's results require ids of images, which {sample.dataset} lacks; "
                    "use an .npz with the ids of the samples"
                )
            return _image_key(sample.image_id)
        id_parts = Path(sample.id).parts
        fitting = [
            source
            for source in self._sources.get(id_parts[-1], ())
            if all(a == b for a, b in zip(reversed(id_parts), reversed(Path(source).parts), strict=False))
        ]
        if len(fitting) > 1 and sample.id not in fitting:
            raise InputError(
                f"{self._path}: {sample.id} may be {' or '.join(fitting[:2])}; use an .npz with the ids of the samples"
            )
        return sample.id if len(fitting) != 1 else fitting[0]

    def check(self, samples: Iterable[Sample], categories: Callable[[], Mapping[int, str]]) -> None:
        """Refuse predictions of another data set, and note records of unknown images and categories."""
        rows = self._rows
        sample_of_key: dict[str, str] = {}  # keys of the file, and the sample of each
        self.notes = notes = list[str]()
        name, key, beyond = None, "", 0
        for sample in samples:
            name = sample.id
            key = self._key(sample)
            if key not in rows:
                continue
            if sample_of_key.setdefault(key, name) != name:
                raise InputError(
                    f"{self._path}: {key} is {sample_of_key[key]} and {name}; use an .npz with the ids of the samples"
                )
            boxes = [record["bbox"] for record in rows[key] if record.get("bbox")] if self._has_numbers else ()
            far = (_MAX_BEYOND * sample.width, _MAX_BEYOND * sample.height)
            beyond += sum(x + width > far[0] or y + height > far[1] for x, y, width, height in boxes)
        if name is not None and rows and not sample_of_key:
            example = f"the image {key} ({name})" if self._has_numbers else name
            raise InputError(
                f"{self._path}: names no sample of the data set; it names {next(iter(rows))}, and the set {example}"
            )
        total, unknown = sum(map(len, rows.values())), [key for key in rows if key not in sample_of_key]
        if not rows:
            notes.append(f"{self._path} has no predictions")
        if unknown:
            count = sum(len(rows[key]) for key in unknown)
            notes.append(f"{count} of {total} predictions are of images that are not evaluated, such as {unknown[0]}")
        if self._has_numbers and rows:
            names = categories()
            ids = [record["category_id"] for items in rows.values() for record in items]
            if strange := [item for item in ids if item not in names]:
                listed = ", ".join(f"{item} ({title})" for item, title in list(names.items())[:5])
                notes.append(
                    f"{len(strange)} of {total} predictions have a category_id that the data set lacks, such as "
                    f"{strange[0]}; it has {listed or 'none'}"
                )
        if beyond:
            notes.append(
                f"{beyond} of {total} boxes reach beyond their image; bbox is x, y, width, height and not two corners"
            )


def _check_shape(path: Path, name: str, array: NDArray[Any], count: int) -> None:
    shape, what = _ARRAYS[name]
    fits = array.ndim == 1 + len(shape) and len(array) == count
    fits = fits and all(expected in (None, actual) for expected, actual in zip(shape, array.shape[1:], strict=True))
    if not fits:
        raise InputError(f"{path}: {name} is {array.shape}; must be {what} with N = {count}, as many as id has")
    if name != "side" and array.dtype.kind not in "biuf":
        raise InputError(f"{path}: {name} has {array.dtype}; must be numbers, {what}")


def _reorder(path: Path, arrays: dict[str, NDArray[Any]]) -> str | None:
    """Put keypoints of a stated order into that of their skeleton, and return it; None without the array `order`."""
    if "order" not in arrays:
        return None
    order = str(arrays.pop("order"))
    skeleton: str | None = None
    for name in ("keypoints_px", "visible", "keypoints_m"):
        if name in arrays:
            try:
                skeleton, indices = skeleton_of_order(order, (), arrays[name].shape[1])
            except InputError as error:
                raise InputError(f"{path}: {name}: {error}") from None
            arrays[name] = arrays[name][:, indices]
    if skeleton is None:
        raise InputError(f"{path}: order={order} applies to keypoints, which the file does not contain")
    return skeleton


def _check_values(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Refuse values with which predictions would silently belong to no instance."""
    if "side" in arrays and (unknown := set(arrays["side"].astype(str).tolist()) - {"Right", "Left"}):
        raise InputError(f"{path}: {unknown_name('side', min(unknown), ('Right', 'Left'))}")
    if "score" in arrays and not np.isfinite(arrays["score"]).all():
        raise InputError(f"{path}: score requires finite numbers")
    boxes = arrays.get("box")
    if boxes is not None and not (np.isfinite(boxes).all() and (boxes[:, :2] <= boxes[:, 2:]).all()):
        row = int(np.argmin(np.isfinite(boxes).all(1) & (boxes[:, :2] <= boxes[:, 2:]).all(1)))
        raise InputError(f"{path}: box of row {row} is {boxes[row].tolist()}; must be x_min, y_min, x_max, y_max")
    for name in ("instance", "category_id"):
        values = arrays.get(name)
        if values is not None and not ((values >= 0) & (values == np.floor(values))).all():
            raise InputError(f"{path}: {name} requires integers of at least 0")
    if "instance" in arrays:
        named = list(zip(arrays["id"].astype(str).tolist(), arrays["instance"].tolist(), strict=True))
        if len(set(named)) < len(named):
            raise InputError(f"{path}: two rows are of one instance")
    names, counts = np.unique(arrays["id"].astype(str), return_counts=True)
    if (counts > 1).any() and not arrays.keys() & {"instance", "side", "keypoints_px", "box"}:
        raise InputError(
            f"{path}: {names[counts > 1][0]} has several rows; several predictions of a sample require instance, side, "
            "keypoints_px or box"
        )


def _image_key(image_id: object) -> str:
    """Return the text by which ids are equal: 7, 7.0 and "7" are one id."""
    return str(int(image_id) if isinstance(image_id, float) and image_id.is_integer() else image_id)


def _coco_records(path: Path) -> Mapping[str, list[Mapping[str, Any]]] | None:
    """Return records of COCO's results format by image; None for another kind of file."""
    if path.suffix != ".json":
        return None
    data = data_files.read_json(path)
    if not isinstance(data, list):
        return None
    records: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for number, item in enumerate(data):
        if problem := _problem_of_record(item):
            raise InputError(f"{path}: record {number} {problem}")
        if bool(item.get("bbox")) != bool(data[0].get("bbox")):
            raise InputError(f"{path}: record {number} or record 0 lacks bbox; give it in all records or in none")
        records[_image_key(item["image_id"])].append(item)
    return records


def _problem_of_record(record: object) -> str | None:
    """Return the missing part of a record of COCO's results format, or None."""
    if not isinstance(record, dict) or not {"image_id", "category_id", "score"} <= record.keys():
        return "lacks image_id, category_id or score of COCO's results format"
    if type(record["image_id"]) not in (int, str) and not str(record["image_id"]).removesuffix(".0").isdecimal():
        return f"requires an integer or text image_id, not {record['image_id']!r}"
    if type(record["category_id"]) is not int:
        return f"requires an integer category_id, not {record['category_id']!r}"
    keypoints = [name for name in record if name == "keypoints" or name.endswith(("_kpts", "_score"))]
    for name in ("score", "bbox", *keypoints):
        if name in record and not _finite(record[name]):
            return f"requires finite numbers in {name}"
    if not isinstance(record["score"], int | float):
        return "requires one number in score"
    if record.get("bbox") and (np.shape(record["bbox"]) != (4,) or min(record["bbox"][2:]) < 0):
        return f"requires x, y, width, height in bbox, not {record['bbox']}"
    return None


def _finite(value: object) -> bool:
    """Return whether a value of JSON is a finite number or a list of them."""
    try:
        numbers = np.asarray(value)
    except ValueError:
        return False  # lists of different lengths
    return numbers.dtype.kind in "if" and bool(np.isfinite(numbers).all())


def _in_order(record: Mapping[str, Any], orders: Mapping[int, IntArray]) -> Mapping[str, Any]:
    """Return a record with its keypoints in the order of the labels instead of that of the annotation file."""
    order = orders.get(record["category_id"])
    points = np.reshape(record.get("keypoints", []), (-1, 3))
    return (
        record
        if order is None or len(points) != len(order)
        else {**record, "keypoints": points[order].ravel().tolist()}
    )


def _from_record(record: Mapping[str, Any], height: int, width: int, number: int) -> list[Prediction]:
    """Return the predictions of a record: an instance, or the parts of a person."""
    if "keypoints" in record:
        names = [name for name in PARTS if f"{name}_kpts" in record]  # the body's are in `keypoints`
        count = np.size(record["keypoints"]) // 3
        skeleton = "body_coco17" if names else SKELETONS.get(count, "body_coco17")
        body, flags = _points(record, "keypoints", len(load_skeleton(skeleton).keypoints))
        score, category = float(record["score"]), int(record["category_id"])
        person_score = float(record["wholebody_score"]) if "wholebody_score" in record else None
        part_of = partial(Prediction, person=number, person_score=person_score, category_id=category)
        flags = flags if names else None
        parts = [part_of(skeleton=skeleton, score=score, keypoints_px=body, visible=flags, box=_box(record))]
        for name in names:
            part = PARTS[name]
            points, flags = _points(record, f"{name}_kpts", len(part.sigmas))
            if name == "foot":
                points = np.concatenate([np.full_like(body, np.nan), points])
                flags = np.concatenate([np.zeros(len(body), np.bool_), flags])
            score_of = float(record.get(f"{name}_score", score))
            parts.append(
                part_of(skeleton=part.skeleton, side=part.side, score=score_of, keypoints_px=points, visible=flags)
            )
        return parts
    box = _box(record)
    mask = mask_from_segmentation(record["segmentation"], height, width) if "segmentation" in record else None
    of_mask = box is None and mask is not None
    if box is None and mask is not None:
        box = coco.box_from_mask(mask)
    category, score = record["category_id"], float(record["score"])
    return [Prediction(category_id=category, score=score, box=box, mask=mask, box_of_mask=of_mask)]


def _box(record: Mapping[str, Any]) -> Box | None:
    """Return the box of a record as x_min, y_min, x_max, y_max in pixels, or None without one."""
    return reading.box_from_xywh(record["bbox"]) if record.get("bbox") else None


def _points(record: Mapping[str, Any], field: str, count: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the keypoints (count, 2) of a flat list of x, y, flag, and where flags are positive (count,)."""
    values = np.asarray(record[field], np.float64)
    if values.shape != (3 * count,):
        raise InputError(
            f"{field} of image {record['image_id']}: {values.size} numbers; expected x, y and a flag of {count}"
            + ("" if field != "keypoints" else f", or of {', '.join(str(n) for n in SKELETONS if n != count)}")
        )
    points = values.reshape(count, 3)
    return points[:, :2], points[:, 2] > 0


def _from_frames(path: Path) -> dict[str, list[Prediction]]:
    header, frames = load_frames(path)
    rows: dict[str, list[Prediction]] = {}
    for frame in frames:
        source = frame.source or header.source
        if source is None:
            raise InputError(f"{path}: the frames have no image names; save from a folder of images as .json or .jsonl")
        if source in rows:
            raise InputError(f"{path}: two images are named {source}; use an .npz with the ids of the samples")
        rows[source] = predictions_from_results([result for kind in RESULT_TYPES for result in frame.results(kind)])
    return rows


def check_submission(protocol: Protocol, path: Path, modes: Sequence[str], skipped: Sequence[str]) -> None:
    """Refuse a submission that no server accepts, before any work: its rows are the images of the split in order."""
    if not protocol.submission:
        raise InputError(f"--submission applies only to protocols with a challenge server, not to {protocol.name}")
    ending = ".txt" if protocol.submission == "dexycb" else ".json"
    if path.suffix != ending:
        raise InputError(f"--submission {path}: {protocol.name} requires a {ending} file")
    if len(modes) > 1:
        raise InputError(f"--submission requires --mode. Choose from {', '.join(modes)}")
    if skipped:
        raise InputError(f"--submission requires all images, but {len(skipped)} are left out: {skipped[0]}")


def encode_submission(protocol: Protocol, sample: Sample, predictions: Sequence[Prediction]) -> str:
    """Return a sample's points for the server as base64 of (799, 3) or (21, 3) float64; "" if nothing was found.

    DexYCB's toolkit requires all labelled hands and no others: zeros if nothing was found, and "" without a hand. For
    COCO's server it is the JSON of the image's instances, without brackets.
    """
    if protocol.submission == "coco":
        image = {"image_id": sample.image_id}
        return ",".join(json_from({**image, **instance_result(item)}) for item in predictions)
    named = f"{sample.dataset} {sample.id}"
    hands = [(number, instance) for number, instance in enumerate(sample.instances) if instance.kind == "hand"]
    if protocol.submission == "dexycb" and not hands:
        return ""
    if len(hands) != 1:
        raise InputError(f"{named}: has {len(hands)} hands; a submission requires one hand per image")
    (number, hand), matches = hands[0], match_predictions(hands, predictions)
    if number not in matches:
        return base64.b64encode(bytes(8 * 3 * _JOINTS)).decode() if protocol.submission == "dexycb" else ""
    joints = _complete_points(matches[number].keypoints_m, _JOINTS, "joints", "joint", named)
    if protocol.submission == "dexycb":
        return base64.b64encode(joints.tobytes()).decode()
    vertices = _complete_points(matches[number].vertices_m, _VERTICES, "vertices", "vertex", named)
    if protocol.submission == "ho3d":
        if hand.keypoints_m is None:
            raise InputError(f"{named}: the data set has no wrist to move the hand to")
        wrist = hand.keypoints_m[0]
        shift = wrist - joints[0]
        vertices, moved = (vertices + shift) * FROM_OPENGL, (joints + shift) * FROM_OPENGL
        # To the last digit: the server divides by the distance of joints from the wrist.
        moved[(joints == joints[0]).all(1)] = wrist * FROM_OPENGL
        joints = np.empty_like(moved)
        joints[list(reading.MANO)] = moved
    return base64.b64encode(np.concatenate([joints, vertices]).tobytes()).decode()


def _complete_points(
    points: NDArray[np.floating] | None, count: int, nouns: str, noun: str, named: str
) -> NDArray[np.float64]:
    if points is None or points.shape != (count, 3):
        raise InputError(f"{named}: a submission requires {count} {nouns} in space")
    if (unknown := np.flatnonzero(~np.isfinite(points).all(1))).size:
        raise InputError(f"{named}: a submission requires known {nouns}; {noun} {unknown[0]} is unknown")
    return np.asarray(points, np.float64)


def save_submission(protocol: Protocol, path: Path, lines: Sequence[JournalLine]) -> int:
    """Write the results of `encode_submission` for all samples in order. Return the number of rows without a hand."""
    with files.atomic_file(path) as draft, draft.open("w", encoding="utf-8") as file:
        if protocol.submission == "coco":
            file.write(f"[{','.join(line.submission for line in lines if line.submission)}]\n")
            return 0
        if protocol.submission == "dexycb":
            points = {line.place: 1000 * _decode(line.submission) for line in lines if line.submission}
            file.writelines(",".join(map(str, (place, *row.ravel().tolist()))) + "\n" for place, row in points.items())
            return sum(not row.any() for row in points.values())
        file.write("[[")
        file.writelines(_rows(lines, slice(0, _JOINTS)))
        file.write("],[")
        file.writelines(_rows(lines, slice(_JOINTS, None)))
        file.write("]]\n")
    return sum(not line.submission for line in lines)


def _rows(lines: Sequence[JournalLine], part: slice) -> Iterator[str]:
    for number, line in enumerate(lines):
        yield ("," if number else "") + json_from(_decode(line.submission)[part].tolist())


def _decode(text: str) -> NDArray[np.float64]:
    if not text:
        return np.zeros((_JOINTS + _VERTICES, 3))
    return np.frombuffer(base64.b64decode(text), np.float64).reshape(-1, 3)
