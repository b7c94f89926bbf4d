"""Write detections as labels that people correct: COCO keypoints, YOLO pose, CVAT and Label Studio.

Frames of videos are named as CVAT names them, `frame_000012.PNG`, in a folder per video if there are several.

Sources: COCO, data format. Ultralytics, pose datasets. CVAT, format "CVAT for images" 1.1. HumanSignal, predictions.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import Any, Final, NamedTuple
from xml.etree import ElementTree as ET

import numpy as np

from sonjit._util import FloatArray, InputError, IntArray, JobError, json_from
from sonjit._util.files import Draft, failing_as_job, xml_text
from sonjit.media.tables.base import Extras, FrameWriter, Header
from sonjit.media.tables.formats import TableFormat
from sonjit.results import Box, Frame, Hand, Instance, in_image
from sonjit.results.skeletons import Skeleton, load_skeleton, mirrored_order

Record = dict[str, Any]
YOLO_LABELS: Final = "labels"
"""Name of the folder with YOLO's label files next to their description."""
_LEAST_VISIBILITY: Final = 0.5
_POINT_PERCENT: Final = 0.5  # diameter of a keypoint in Label Studio in per cent of the width


class _Label(NamedTuple):
    """Instance in an image; the name is such as `left_hand`, flags (K,) are 0 outside, 1 hidden and 2 visible."""

    name: str
    kind: str
    side: str | None
    skeleton: Skeleton
    score: float
    track: int | None
    box: Box
    points: FloatArray
    flags: IntArray

    @property
    def point_names(self) -> list[str]:
        """Unique names of the keypoints."""
        names = list(self.skeleton.keypoints)
        return names if all(names) and len(set(names)) == len(names) else [str(k) for k in range(len(self.points))]


class _Image(NamedTuple):
    name: str
    width: int
    height: int
    frame: int | None
    labels: list[_Label]


class LabelWriter(FrameWriter):
    """Labels of one format for images or a video, in memory until the end; YOLO's are in the folder `labels`."""

    def __init__(
        self, make: Callable[[Path, Header, list[_Image]], dict[Path, str]], path: Path, header: Header, *_: object
    ) -> None:
        """Open labels, which have no further values. `make` returns the contents of all files."""
        super().__init__()
        self._format = make
        if self._format is _yolo and header.kind == "people":
            raise InputError(f"{path}: YOLO has one number of keypoints. Use sonjit hands, face or body")
        self._path = path
        self._header = header
        self._drafts = {path: Draft(path)}
        self._frames: list[tuple[int, bool, str | None, list[tuple[Instance, str]]]] = []

    def write(self, frame: Frame, extras: Extras | None = None) -> None:
        """Append one frame."""
        titled_instances = [(instance, instance.title.lower().replace(" ", "_")) for _, instance in frame.instances()]
        self._frames.append((frame.index, frame.time is not None, frame.source, titled_instances))

    def _complete(self) -> None:
        """Write all files as drafts, so that all or none are kept. Those of YOLO are in the draft of a folder."""
        files = self._format(self._path, self._header, list(self._images()))
        folder = self._path.parent / YOLO_LABELS
        with failing_as_job(self._path):
            for path, text in files.items():
                name = folder if path.is_relative_to(folder) else path
                if name not in self._drafts:
                    self._drafts[name] = Draft(name, folder=name == folder)
                target = self._drafts[name].path
                if name == folder:
                    target /= path.relative_to(folder)
                    target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, "utf-8")
        self.more_paths += [str(path) for path in files if path.suffix == ".xml" and path != self._path]

    def _finish(self) -> None:
        for draft in reversed(self._drafts.values()):  # the description of labels last
            draft.keep()

    def _abort(self) -> None:
        for draft in self._drafts.values():
            draft.drop()

    def _images(self) -> Iterator[_Image]:
        videos = Counter(Path(name).with_suffix("") for name in {item[2] for item in self._frames if item[1]} if name)
        for index, is_video, source, titled_instances in self._frames:
            size: Record = {**self.sources.get(source or "", {})}
            width, height = (size.get(name) or getattr(self._header, name) for name in ("width", "height"))
            if width is None or height is None:
                raise JobError(f"{self._path}: the size of {source} is unknown")
            name = source or PureWindowsPath(self._header.source or "image").name  # also splits at /
            if is_video:
                folder = Path(source) if source else Path()
                if source and videos[folder.with_suffix("")] == 1:  # not clip.mp4 and clip.mov
                    folder = folder.with_suffix("")
                name = (folder / f"frame_{index:06d}.PNG").as_posix()
            titled_instances = [(in_image(instance, width), title) for instance, title in titled_instances]
            labels = (_label(instance, title, width, height) for instance, title in titled_instances)
            frame = index if is_video else None
            yield _Image(name, width, height, frame, [label for label in labels if label is not None])


def _label(instance: Instance, name: str, width: int, height: int) -> _Label | None:
    """Return an instance with its box and keypoints inside the image; None if it is outside."""
    limits = np.array([width, height])
    low, high = np.clip(np.reshape(instance.box, (2, 2)), 0, limits).astype(np.float64).round(2).tolist()
    if not (low[0] < high[0] and low[1] < high[1]):
        return None
    points = instance.keypoints[:, :2].astype(np.float64)
    is_inside = np.all((points >= 0) & (points <= limits), axis=1, keepdims=True)  # not where NaN
    visibility = getattr(instance, "visibility", None)
    is_hidden = np.zeros(len(points), np.bool_) if visibility is None else visibility < _LEAST_VISIBILITY
    flags = np.where(is_inside[:, 0], np.where(is_hidden, 1, 2), 0)
    side = instance.side if isinstance(instance, Hand) else None
    points = np.where(is_inside, points, 0).round(2)
    return _Label(
        name,
        instance.kind,
        side,
        instance.skeleton,
        round(float(instance.score), 4),
        instance.id,
        (*low, *high),
        points,
        flags,
    )


def _coco(path: Path, header: Header, images: list[_Image]) -> dict[Path, str]:
    """Return a COCO file with scores, which `folder` data sets and COCO's programs read."""
    categories: dict[str, Record] = {}
    annotations: list[Record] = []
    for number, image in enumerate(images, 1):
        for label in image.labels:
            if label.kind not in categories:
                record = category_record(len(categories) + 1, label.kind, label.skeleton.name, label.point_names)
                categories[label.kind] = record
            x, y, right, bottom = label.box
            rows = zip(label.points.tolist(), label.flags.tolist(), strict=True)
            record = {
                "id": len(annotations) + 1,
                "image_id": number,
                "category_id": categories[label.kind]["id"],
                "iscrowd": 0,
                "bbox": [x, y, round(right - x, 2), round(bottom - y, 2)],
                "area": round((right - x) * (bottom - y), 2),
                "keypoints": [value for point, flag in rows for value in (*point, flag)],
                "num_keypoints": int((label.flags > 0).sum()),
                "score": label.score,
            }
            more = {"track_id": label.track, "hand_side": label.side and label.side.lower()}
            annotations.append(record | {name: value for name, value in more.items() if value is not None})
    records = [
        {"id": number, "file_name": image.name, "width": image.width, "height": image.height}
        | ({} if image.frame is None else {"frame": image.frame})
        for number, image in enumerate(images, 1)
    ]
    maker = " ".join(filter(None, ("Sonjit", header.version, header.model and f"with {header.model}")))
    info = {"description": f"Found by {maker}. Not checked by people."}
    data = {"info": info, "images": records, "annotations": annotations, "categories": list(categories.values())}
    return {path: json_from(data, spaced=True) + "\n"}


def _yolo(path: Path, header: Header, images: list[_Image]) -> dict[Path, str]:
    """Return the description of a data set, and a file of labels for each image."""
    names = list(dict.fromkeys(label.name for image in images for label in image.labels))
    count = next((len(label.points) for image in images for label in image.labels), 0)
    files = {path: f"train: images\nval: images\nkpt_shape: [{count}, 3]\nnames:\n"}
    files[path] += "".join(f"  {number}: {name}\n" for number, name in enumerate(names))
    files[path] += _flip_line(names, [label for image in images for label in image.labels])
    for image in images:
        size = np.array([image.width, image.height])
        lines: list[str] = []
        for label in image.labels:
            low, high = np.reshape(label.box, (2, 2)) / size
            points = np.column_stack([label.points / size, label.flags])
            values = " ".join(f"{value:.6f}" for value in (*(low + high) / 2, *high - low))
            values += "".join(f" {x:.6f} {y:.6f} {flag:.0f}" for x, y, flag in points)
            lines.append(f"{names.index(label.name)} {values}\n")
        parts = [part for part in Path(image.name).parts if part not in ("..", Path(image.name).anchor)]
        target = path.parent.joinpath(YOLO_LABELS, *parts).with_suffix(".txt")
        if target in files:
            raise InputError(f"{path}: YOLO has one label file, {target.name}, for {image.name} and another image")
        files[target] = "".join(lines)
    return files


def _flip_line(names: list[str], labels: list[_Label]) -> str:
    """Return the line that lets training mirror images, if keypoints have sides and the names of labels have none."""
    orders = {tuple(mirrored_order(label.point_names)) for label in labels}
    order = list(orders.pop()) if len(orders) == 1 else []
    has_sides = any(side in name for name in names for side in ("left", "right"))
    return "" if has_sides or order == sorted(order) else f"flip_idx: {order}\n"


def _cvat(path: Path, header: Header, images: list[_Image]) -> dict[Path, str]:
    """Return XML of skeletons and boxes, to upload to a task with labels of these names."""
    root = ET.Element("annotations")
    _child(root, "version").text = "1.1"
    frames = [number if image.frame is None else image.frame for number, image in enumerate(images)]
    ids = frames if len(set(frames)) == len(frames) else range(len(images))  # frames of several videos share numbers
    for number, image in zip(ids, images, strict=True):
        size = {"width": str(image.width), "height": str(image.height)}
        parent = _child(root, "image", id=str(number), name=image.name, **size)
        for label in image.labels:
            shared = {"source": "auto", "occluded": "0", "z_order": "0"}
            corners = {
                name: f"{value:.2f}" for name, value in zip(("xtl", "ytl", "xbr", "ybr"), label.box, strict=True)
            }
            _child(parent, "box", label=f"{label.name}_box", **shared, **corners)
            skeleton = _child(parent, "skeleton", label=label.name, **shared)
            for name, (x, y), flag in zip(label.point_names, label.points, label.flags, strict=True):
                hidden = {"outside": str(int(flag == 0)), "occluded": str(int(flag == 1))}
                _child(skeleton, "points", label=name, source="auto", points=f"{x:.2f},{y:.2f}", **hidden)
    ET.indent(root)
    return {path: ET.tostring(root, "unicode", xml_declaration=True) + "\n"}


def _label_studio(path: Path, header: Header, images: list[_Image]) -> dict[Path, str]:
    """Return tasks with predictions, and the labelling interface with their names."""
    tasks: list[Record] = []
    boxes, keypoints = dict[str, None](), dict[str, None]()
    for image in images:
        results: list[Record] = []
        shared = {"to_name": "image", "original_width": image.width, "original_height": image.height}
        for label in image.labels:
            scale = 100 / np.array([image.width, image.height])
            (x, y), (right, bottom) = (np.reshape(label.box, (2, 2)) * scale).round(4).tolist()
            box = {"x": x, "y": y, "width": round(right - x, 4), "height": round(bottom - y, 4), "rotation": 0}
            key = f"instance{len(results)}"
            kind = {"type": "rectanglelabels", "from_name": "label", "score": label.score}
            results.append({"id": key, **kind, **shared, "value": box | {"rectanglelabels": [label.name]}})
            boxes[label.name] = None
            places = (label.points * scale).round(4).tolist()
            for name, (x, y), flag in zip(label.point_names, places, label.flags, strict=True):
                keypoints[name] = None
                value = {"x": x, "y": y, "width": _POINT_PERCENT, "keypointlabels": [name]}
                kind = {"type": "keypointlabels", "from_name": "keypoint", "parentID": key}
                if flag:
                    results.append({"id": f"{key}-{name}", **kind, **shared, "value": value})
        score = min((label.score for label in image.labels), default=0.0)
        prediction = {"model_version": header.model or "sonjit", "score": score, "result": results}
        tasks.append({"data": {"image": image.name}, "predictions": [prediction]})
    view = ET.Element("View")
    _child(view, "Image", name="image", value="$image")
    for tag, name, labels in (("RectangleLabels", "label", boxes), ("KeyPointLabels", "keypoint", keypoints)):
        choices = _child(view, tag, name=name, toName="image")
        for value in labels:
            _child(choices, "Label", value=value)
    ET.indent(view)
    interface = ET.tostring(view, "unicode") + "\n"
    return {path: json_from(tasks, spaced=True) + "\n", path.with_suffix(".xml"): interface}


def _child(parent: ET.Element, tag: str, **attributes: str) -> ET.Element:
    return ET.SubElement(parent, tag, {name: xml_text(value) for name, value in attributes.items()})


def category_record(number: int, name: str, skeleton: str | None, keypoint_names: Sequence[str]) -> Record:
    """Return a category of COCO. The names of keypoints apply to skeletons that are not known."""
    record: Record = {"id": number, "name": name}
    try:
        definition = load_skeleton(skeleton or "")
    except InputError:  # a convention of the set's own
        return record | ({"keypoints": list(keypoint_names)} if keypoint_names else {})
    lines = [[a + 1, b + 1] for a, b in definition.connections]
    return record | {"keypoints": list(definition.keypoints), "skeleton": lines}


_LABELS: Final = partial(TableFormat, group="labels", noun="Labels")
COCO = _LABELS(partial(LabelWriter, _coco), summary="keypoints as in COCO, with scores")
YOLO = _LABELS(partial(LabelWriter, _yolo), summary="a pose data set for Ultralytics")
CVAT = _LABELS(partial(LabelWriter, _cvat), summary="skeletons and boxes for CVAT")
LABEL_STUDIO = _LABELS(partial(LabelWriter, _label_studio), summary="predictions for Label Studio")
