"""Labels of labelme, CVAT ("for images" and "for video"), Label Studio and YOLO pose as COCO; others are named.

labelme writes a `.json` next to each image, with shapes whose `group_id` joins the points, the rectangle and the
polygon of an instance. CVAT writes one `.xml`, with the same groups. YOLO has a `.yaml` with `kpt_shape`, `names` and
splits, and for each image `images/a.jpg` a text `labels/a.txt`. Images without labels are samples without instances,
and a side is that of an attribute or of the name. Coordinates are taken as these tools write them.
Sources: https://github.com/wkentaro/labelme, https://docs.cvat.ai/docs/manual/advanced/xml_format,
https://docs.ultralytics.com/datasets/pose.
"""

import base64
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path, PureWindowsPath
from typing import Any, Final, NamedTuple
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
from numpy.typing import ArrayLike

from sonjit._util import BoolArray, InputError
from sonjit._util.records import load_yaml
from sonjit.media import IMAGE_ENDINGS, natural_key
from sonjit.media.sources.images import read_bytes
from sonjit.results.skeletons import load_skeleton, side_of_name
from sonjit_lab.datasets import reading
from sonjit_lab.datasets.dataset import naming, read_lines, size_of_image
from sonjit_lab.datasets.sample import HAND_SKELETON

Record = dict[str, Any]
_HIDDEN_FLAGS: Final = ("occluded", "hidden", "invisible")  # flags of labelme's shapes for hidden points
_PARTS: Final = ("train", "val", "test")  # splits of YOLO's .yaml
_HAND_WORDS: Final = ("hand", "손", "手", "main", "mano", "рука")
_SIDE_ATTRIBUTES: Final = ("hand_side", "side", "handedness")
_HEAD: Final = 1 << 16  # bytes that show the tool of a file
_COCO: Final = "export its labels as COCO"
_INTERFACE: Final = "Label Studio's interface"
_EXPORTS: Final = {
    "VGG Image Annotator": "in its menu Annotation, choose Export Annotations (COCO format)",
    "Supervisely": _COCO,
    "OpenPose": "write its points as COCO keypoints, with order=openpose",
    "CreateML": _COCO,
    "DeepLabCut": "write its points as COCO keypoints",
    "SLEAP": "export its labels as COCO keypoints",
    "Pascal VOC": _COCO,
    _INTERFACE: "export the project as COCO",
    "YOLO": "add the .yaml of the data set, with names and for keypoints kpt_shape",
}
"""What to export from the tools whose files are not read."""
_PACKED: Final = (".gz", ".zip", ".bz2", ".xz", ".7z", ".tar", ".tgz")
_LABEL_ENDINGS: Final = (
    ".json",
    ".jsonl",
    ".xml",
    ".csv",
    ".yaml",
    ".yml",
    ".h5",
    ".slp",
    ".mat",
    ".pkl",
    ".npz",
    ".txt",
    ".pts",
)
_PART_NAMES: Final = {"training": "train", "valid": "val", "validation": "val", "testing": "test"} | {
    name: name for name in _PARTS
}
"""Splits by the names that tools give them."""
_KINDS_OF_CVAT: Final = ("skeleton", "points", "mask", "polygon", "box")  # the first names an instance of several
_MIN_INSIDE: Final = 0.5  # share of a skeleton's points in its box
_MAX_BEYOND: Final = 0.05  # how far outside of 0 to 1 rounded fractions of an image may be
_LABEL_FOLDERS: Final = ("labels", "annotations", "annotation", "label", "ann", "anns")


class ToolLabels(NamedTuple):
    """Labels of a tool as a file in COCO's format would contain them."""

    source: Path  # file or folder of the labels
    data: Record  # images, annotations and categories; names of images are relative to the folder of the data set

    def of_split(self, split: str) -> "ToolLabels":
        """Return the labels of a split; `all` is the only one if the labels state none, or the same for all images.

        Raises:
            InputError: The labels have no such split, or several to choose from.
        """
        splits = [tuple(image.pop("splits", ())) for image in self.data["images"]]
        names = sorted({name for own in splits for name in own}, key=lambda name: (*_PARTS, name).index(name))
        known = ", ".join(names)
        if split == "all":
            if len(set(splits)) > 1:
                raise InputError(f"{self.source} has the splits {known}: choose one, such as split={names[0]}")
            return self
        if split not in names:
            raise InputError(f"{self.source} has no split {split}; {f'choose from {known}' if names else 'omit it'}")
        kept = [image for image, own in zip(self.data["images"], splits, strict=True) if split in own]
        ids = {image["id"] for image in kept}
        labels = [label for label in self.data["annotations"] if label["image_id"] in ids]
        return ToolLabels(self.source, self.data | {"images": kept, "annotations": labels})


def find_labels(root: Path, file: Path | None = None) -> ToolLabels | None:
    """Return the labels of a tool below a folder, or in a chosen file; None if there are none.

    Raises:
        InputError: The labels are of a tool that is not read, or damaged. The message names the file and the remedy.
    """
    files = [file] if file else sorted(_label_files(root), key=lambda path: natural_key(str(path)))
    yamls = [path for path in files if path.suffix.lower() in (".yaml", ".yml")]
    by_tool: dict[str, list[Path]] = {}
    for path in files:
        tool = tool_of(path)
        if tool is not None:
            by_tool.setdefault(tool, []).append(path)
    for tool, read in (("labelme", _labelme), ("CVAT", _cvat), ("Label Studio", _label_studio)):
        if label_files := by_tool.get(tool):
            return read(root, label_files)
    texts = [path for path in files if path.suffix.lower() == ".txt" and _is_yolo_text(path)]
    for path in yamls if texts or file else ():
        return _yolo(root, path)
    if texts:
        by_tool["YOLO"] = texts
    for tool, label_files in by_tool.items():
        if tool in _EXPORTS:
            raise InputError(f"{label_files[0]} is of {tool}, which is not read: {_EXPORTS[tool]}")
    for path in files:
        if path.suffix.lower() in _PACKED:
            raise InputError(f"{path} is packed: unpack it first")
    if others := [path for path in files if path not in yamls]:
        raise InputError(
            f"{others[0]} seems to contain labels in a form that is not read: export them as COCO, or move it "
            "elsewhere to read the folders of images as classes"
        )
    return None


def tool_of(path: Path) -> str | None:
    """Return the tool that wrote a file of labels, by its content; None for COCO, tables and other files."""
    ending = path.suffix.lower()
    head = _head(path)
    if ending == ".xml":
        for tag, tool in (
            ("<annotations", "CVAT"),
            ("<annotation", "Pascal VOC"),
            ("<View", _INTERFACE),
        ):
            if tag in head:
                return tool
    if ending == ".csv":
        first = head.partition("\n")[0]
        return (
            "VGG Image Annotator"
            if "region_shape_attributes" in first
            else "DeepLabCut"
            if first.startswith("scorer,")
            else None
        )
    if ending in (".h5", ".slp"):
        return "SLEAP" if ending == ".slp" or ".analysis." in path.name.lower() else "DeepLabCut"
    if ending != ".json":
        return None
    marks = (
        ("labelme", ('"shapes"', '"imagePath"')),
        ("VGG Image Annotator", ('"regions"', '"file_attributes"')),
        ("VGG Image Annotator", ('"_via_',)),
        ("Label Studio", ('"result"', '"original_width"')),
        ("Supervisely", ('"objects"', '"classTitle"')),
        ("OpenPose", ('"people"', '_keypoints_2d"')),
        ("CreateML", ('"annotations"', '"coordinates"', '"image"')),
    )
    writer = next((tool for tool, words in marks if all(word in head for word in words)), None)
    return writer if writer is None or '"categories"' not in head else None


def _head(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return file.read(_HEAD).decode("utf-8", "replace")


def coco_files(root: Path) -> list[Path]:
    """Return the JSON files below the folders of a root that seem to be in COCO's format."""
    json_files: list[Path] = []
    for path in sorted(root.glob("*/*.json")):
        words = _head(path)
        if (tool_of(path) is None and "coco" in path.name.lower()) or all(
            f'"{key}"' in words for key in ("images", "annotations")
        ):
            json_files.append(path)
    return json_files


def _label_files(root: Path) -> Iterator[Path]:
    """Yield files below a folder that may contain labels: those of tools, next to their images, or in `labels`."""
    for folder in (root, *sorted(path for path in root.rglob("*") if path.is_dir())):
        below = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
        images = {path.stem for path in below if path.suffix.lower() in IMAGE_ENDINGS}
        in_labels = any(part.lower() in _LABEL_FOLDERS for part in folder.relative_to(root).parts)
        for path in below:
            ending = path.suffix.lower()
            if ending in _PACKED:
                if Path(path.stem).suffix.lower() in _LABEL_ENDINGS or in_labels or path.stem.lower() in _LABEL_FOLDERS:
                    yield path
            elif ending in _LABEL_ENDINGS and (
                path.stem in images or in_labels or tool_of(path) or (folder == root and ending in (".yaml", ".yml"))
            ):
                yield path


def _is_yolo_text(path: Path) -> bool:
    """Check whether each line of a text begins with a class and four numbers, as YOLO's."""
    try:
        rows = [[float(value) for value in line.split()] for line in islice(read_lines(path), 8)]
    except (ValueError, InputError):
        return False
    return bool(rows) and all(len(row) >= 5 and row[0] == int(row[0]) for row in rows)


class _Coco:
    """A file in COCO's format while it is made."""

    def __init__(self) -> None:
        self.images: list[Record] = []
        self.annotations: list[Record] = []
        self._categories: dict[str, tuple[int, list[str]]] = {}

    def image(self, name: str, size: tuple[int, int], **more: object) -> None:
        """Add an image, to which the following annotations belong."""
        self.images.append({"id": len(self.images) + 1, "file_name": name, "width": size[0], "height": size[1]} | more)

    def category(self, name: str, keypoints: Sequence[str] = ()) -> int:
        """Return the id of a category, with further names of keypoints."""
        number, names = self._categories.setdefault(name, (len(self._categories) + 1, []))
        names += [keypoint for keypoint in keypoints if keypoint not in names]
        return number

    def add(
        self, name: str, points: Mapping[str, tuple[float, float, int]], side: str | None = None, **more: object
    ) -> None:
        """Add an instance with keypoints by name: x, y in pixels and COCO's flag. Sides are those of hands."""
        number = self.category(name, list(points))
        record = {"id": len(self.annotations) + 1, "image_id": len(self.images), "category_id": number}
        is_hand = any(word in name.lower() for word in _HAND_WORDS) or (points and _category_of(list(points)) == "hand")
        side = (side or side_of_name(name)) if is_hand else None
        fields = {key: value for key, value in more.items() if value is not None}
        fields |= {"hand_side": side.lower()} if side else {}
        self.annotations.append({**record, "iscrowd": 0, "points": dict(points), **fields})

    def data(self) -> Record:
        """Return the content of the file. Some of a hand's keypoints are those of a complete one."""
        hand = load_skeleton(HAND_SKELETON).keypoints
        for name, (number, keypoint_names) in self._categories.items():
            spelled = [reading.standard_name(point) for point in keypoint_names]
            if keypoint_names and "hand" in name.lower() and set(spelled) < set(hand):
                again = dict(zip(keypoint_names, spelled, strict=True))
                for label in self.annotations:
                    if label["category_id"] == number:
                        label["points"] = {again[point]: place for point, place in label["points"].items()}
                keypoint_names[:] = hand
        names = dict(self._categories.values())
        for label in self.annotations:
            points: dict[str, tuple[float, float, int]] = label.pop("points")
            if points and (keypoint_names := names[label["category_id"]]):
                rows = [points.get(name, (0.0, 0.0, 0)) for name in keypoint_names]
                label["keypoints"] = [value for row in rows for value in row]
                label["num_keypoints"] = sum(row[2] > 0 for row in rows)
        categories = [
            {"id": number, "name": name} | ({"keypoints": keypoint_names} if keypoint_names else {})
            for name, (number, keypoint_names) in self._categories.items()
        ]
        return {"images": self.images, "annotations": self.annotations, "categories": categories}


def _box(corners: ArrayLike) -> list[float]:
    """Return x, y, width, height in pixels around points (N, 2)."""
    points = np.asarray(corners, np.float64).reshape(-1, 2)
    low, size = points.min(0), np.ptp(points, axis=0)
    return [*low.tolist(), *size.tolist()]


def _labelme(root: Path, files: Sequence[Path]) -> ToolLabels:
    coco, labelled = _Coco(), set[Path]()
    for path in files:
        with naming(str(path)):
            content = json.loads(read_bytes(path))
            width, height = content.get("imageWidth"), content.get("imageHeight")
            image = path.parent / PureWindowsPath(str(content["imagePath"])).as_posix()
            if not image.is_file():
                image = _with_image_ending(path) or image
            size = (int(width), int(height)) if width and height else size_of_image(image, upright=True)
            coco.image(_relative(image, root), size)
            labelled.add(image.resolve())
            for shapes in _labelme_instances(content["shapes"]):
                _add_labelme(coco, shapes, size)
    for folder in sorted({image.parent for image in labelled if image.is_file()}):
        for image in _images_in(folder):
            if image.resolve() not in labelled:
                coco.image(_relative(image, root.resolve()), size_of_image(image, upright=True))
    return ToolLabels(files[0].parent, coco.data())


def _images_in(folder: Path) -> list[Path]:
    """Return the image files below a folder in natural order."""
    files = (path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_ENDINGS and path.name[0] != ".")
    return sorted(files, key=lambda path: natural_key(str(path)))


def _with_image_ending(path: Path) -> Path | None:
    """Return the image of a name with any ending."""
    endings = (ending for known in IMAGE_ENDINGS for ending in (known, known.upper()))
    return next((image for ending in endings if (image := path.with_suffix(ending)).is_file()), None)


def _labelme_instances(shapes: Sequence[Record]) -> Iterator[list[Record]]:
    """Yield the shapes of each instance: those with a `group_id`, all points without one, and each other shape."""
    groups: dict[object, list[Record]] = {}
    for index, shape in enumerate(shapes):
        group, is_point = shape.get("group_id"), shape.get("shape_type") == "point"
        groups.setdefault(("group", group) if group is not None else "points" if is_point else index, []).append(shape)
    outlines = [index for index in groups if isinstance(index, int)]
    if len(outlines) == 1 and "points" in groups:  # one hand, whose parts need no group
        low, high = (edge(shapes[outlines[0]]["points"], axis=0) for edge in (np.min, np.max))
        if all(((low <= shape["points"][0]) & (shape["points"][0] <= high)).all() for shape in groups["points"]):
            groups["points"] += groups.pop(outlines[0])
    yield from groups.values()


def _add_labelme(coco: _Coco, shapes: Sequence[Record], size: tuple[int, int]) -> None:
    import cv2

    points: dict[str, tuple[float, float, int]] = {}
    outlines: list[Record] = []
    masks: list[Record] = []
    for shape in shapes:
        name, kind = str(shape["label"]), shape.get("shape_type", "polygon")
        if kind == "point":
            if name in points:
                raise ValueError(f"two points of an instance are named {name}: give each instance its own group_id")
            ((x, y),) = shape["points"]
            hidden = any((shape.get("flags") or {}).get(flag) for flag in _HIDDEN_FLAGS)
            points[name] = float(x), float(y), 1 if hidden else 2
        elif kind in ("rectangle", "polygon", "mask"):
            outlines.append(shape)
            if kind == "mask":  # a PNG between the two corners of the shape
                png = np.frombuffer(base64.b64decode(shape["mask"]), np.uint8)
                if (mask := cv2.imdecode(png, cv2.IMREAD_GRAYSCALE)) is None:
                    raise ValueError(f"the mask of {name} is no PNG")
                left, top = (round(value) for value in np.min(shape["points"], axis=0).tolist())
                masks.append(_run_lengths(np.asarray(mask > 0, np.bool_), (left, top), size))
        else:
            raise ValueError(f"the shape {name} is a {kind}; points, rectangles, polygons and masks are read")
    names = [str(shape["label"]) for shape in outlines]
    flags = [flag for shape in shapes for flag, is_set in (shape.get("flags") or {}).items() if is_set]
    sides = {side for text in (*flags, *names, *points) if (side := side_of_name(str(text)))}
    side = sides.pop() if len(sides) == 1 else None
    prefix = f"{side}_".lower()
    if side and points and all(name.lower().startswith(prefix) for name in points):
        points = {name[len(prefix) :]: place for name, place in points.items()}
    polygons = [np.ravel(shape["points"]).tolist() for shape in outlines if shape.get("shape_type") == "polygon"]
    corners = [point for shape in outlines for point in shape["points"]] or [row[:2] for row in points.values()]
    if (polygons and masks) or len(masks) > 1:
        raise ValueError(f"{names[0]} has several masks: give each instance its own group_id")
    shape = {"bbox": _box(corners)} if len(corners) > 1 and min(_box(corners)[2:]) > 0 else {}
    coco.add(
        names[0] if names else _category_of(list(points)),
        points,
        side,
        segmentation=next(iter(masks), polygons or None),
        **shape,
    )


def _run_lengths(mask: BoolArray, corner: tuple[int, int], size: tuple[int, int]) -> Record:
    """Return COCO's run lengths of a part of a mask (h, w) at its left upper corner in an image of a size."""
    (width, height), (left, top) = size, corner
    if left < 0 or top < 0 or left + mask.shape[1] > width or top + mask.shape[0] > height:
        raise ValueError(f"a mask of {mask.shape[1]} x {mask.shape[0]} at {left}, {top} reaches beyond its image")
    whole = np.zeros((height, width), np.bool_)
    whole[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    column = np.concatenate([[False], whole.T.ravel(), [False]])  # the first run is of the background
    edges = np.flatnonzero(column[1:] != column[:-1])
    return {"size": [height, width], "counts": np.diff([0, *edges.tolist(), height * width]).tolist()}


def _category_of(names: Sequence[str]) -> str:
    """Return the category of points without an outline: a hand if their names are those of a hand."""
    hand = set(load_skeleton(HAND_SKELETON).keypoints)
    return "hand" if {reading.standard_name(name) for name in names} <= hand else "object"


def _cvat(root: Path, files: Sequence[Path]) -> ToolLabels:
    if len(files) > 1:
        raise InputError(f"{root} contains {len(files)} files of CVAT; choose one, e.g. annotations={files[0].name}")
    path = files[0]
    try:
        tree = ElementTree.fromstring(read_bytes(path))
    except ElementTree.ParseError as error:
        raise InputError(f"{path} is damaged: {error}") from None
    coco = _Coco()
    with naming(str(path)):
        for label in tree.iter("label"):  # the order of a skeleton's points in its project
            parent, name = label.findtext("parent"), label.findtext("name")
            if parent and name:
                coco.category(parent, [name])
        images = tree.findall("image")
        for image in sorted(images, key=lambda item: int(item.get("id", "0"))):
            size, subset = (int(image.attrib["width"]), int(image.attrib["height"])), image.get("subset")
            coco.image(image.attrib["name"], size, splits=(_PART_NAMES.get(subset.lower(), subset),) if subset else ())
            _add_cvat(coco, list(image), size)
        if not images:
            _add_cvat_tracks(coco, tree)
    return ToolLabels(path, coco.data())


def _add_cvat_tracks(coco: _Coco, tree: ElementTree.Element) -> None:
    """Add the frames of a video: all those of its task, or without their number up to the last one of a track."""
    width, height = (tree.findtext(f".//original_size/{name}") for name in ("width", "height"))
    frames: dict[int, list[ElementTree.Element]] = {}
    for number, track in enumerate(tree.findall("track")):
        for shape in track:
            shapes = frames.setdefault(int(shape.attrib["frame"]), [])
            if shape.get("outside") != "1":
                shape.set("label", track.attrib["label"])
                shape.set("group_id", shape.get("group_id") or track.get("group_id") or "0")
                shape.set("track", str(number))
                shapes.append(shape)
    if not frames or width is None or height is None:
        raise ValueError("no image, or no track and size of a video")
    size = int(width), int(height)
    job = next((found for name in ("task", "job") if (found := tree.find(f".//meta/{name}")) is not None), tree)
    first, last, count = (int(job.findtext(name) or -1) for name in ("start_frame", "stop_frame", "size"))
    last = max(last, max(first, 0) + count - 1 if last < 0 else last, *frames)
    step = int((job.findtext("frame_filter") or "step=1").rpartition("=")[2])
    for frame in sorted({*range(max(first, 0), last + 1, step), *frames}):
        coco.image(f"frame_{frame:06d}.PNG", size, frame=frame)
        _add_cvat(coco, frames.get(frame, []), size)


class _Shape(NamedTuple):
    """A shape of CVAT in an image."""

    kind: str  # skeleton, box, polygon, mask or points
    name: str
    side: str | None
    group: str | None
    points: dict[str, tuple[float, float, int]]
    box: list[float] | None  # x, y, width, height in pixels
    segmentation: Any


def _add_cvat(coco: _Coco, elements: Sequence[ElementTree.Element], size: tuple[int, int]) -> None:
    """Add the instances of an image."""
    shapes = [_cvat_shape(element, size) for element in elements if element.tag not in ("tag", "attribute")]
    for parts in _cvat_instances(shapes):
        main, *others = sorted(parts, key=lambda shape: _KINDS_OF_CVAT.index(shape.kind))
        points = {name: place for shape in parts for name, place in shape.points.items()}
        name = _category_of(list(points)) if main.kind == "points" and others else main.name
        boxes = [shape.box for shape in parts if shape.kind == "box"] or [shape.box for shape in parts if shape.box]
        outlines = [shape.segmentation for shape in parts if shape.segmentation is not None]
        polygons = [part for outline in outlines if isinstance(outline, list) for part in outline]
        sides = [shape.side for shape in parts if shape.side] + [
            side for shape in parts if (side := side_of_name(shape.name))
        ]
        segmentation = polygons or next(iter(outlines), None)
        coco.add(name, points, next(iter(sides), None), bbox=next(iter(boxes), None), segmentation=segmentation)


def _cvat_shape(element: ElementTree.Element, size: tuple[int, int]) -> _Shape:
    name, group = element.attrib.get("label", ""), element.get("group_id")
    points: dict[str, tuple[float, float, int]] = {}
    box = segmentation = None
    match element.tag:
        case "skeleton":
            points = {part.attrib["label"]: _cvat_point(part) for part in element.findall("points")}
        case "box":
            box = _cvat_box(element)
        case "polygon":
            corners = _cvat_places(element)
            box, segmentation = _box(corners), [np.ravel(corners).tolist()]
        case "mask":
            box, segmentation = _cvat_mask(element, size)
        case "points":
            flag, places = 1 if element.get("occluded") == "1" else 2, _cvat_places(element)
            named = [name] if len(places) == 1 and _is_grouped(group) else map(str, range(1, len(places) + 1))
            points = {point: (*place, flag) for point, place in zip(named, places, strict=True)}
        case other:
            raise ValueError(f"{name} is a {other}; skeletons, points, boxes, polygons, masks and tags are read")
    return _Shape(
        element.tag, name, _cvat_side(element), group if _is_grouped(group) else None, points, box, segmentation
    )


def _is_grouped(group: str | None) -> bool:
    return group not in (None, "", "0")


def _cvat_instances(shapes: Sequence[_Shape]) -> Iterator[list[_Shape]]:
    """Yield the shapes of each instance.

    Shapes of a group are one if it has one skeleton and one box at most. A box with the name of a skeleton, or
    `NAME_box` as Sonjit writes it, is that of the skeleton whose points it surrounds best.
    """
    instances: list[list[_Shape]] = []
    groups: dict[str | int, list[_Shape]] = {}
    for number, shape in enumerate(shapes):
        groups.setdefault(number if shape.group is None else shape.group, []).append(shape)
    for members in groups.values():
        count = {kind: sum(shape.kind == kind for shape in members) for kind in _KINDS_OF_CVAT}
        points = [name for shape in members if shape.kind == "points" for name in shape.points]
        if max(count["skeleton"], count["box"], count["mask"]) <= 1 and len(set(points)) == len(points):
            instances.append(members)
        else:
            instances += [[shape] for shape in members]
    alone = [members for members in instances if len(members) == 1 and members[0].kind == "box"]
    without = [members for members in instances if members[0].kind == "skeleton" and len(members) == 1]
    joined = [
        (_share_inside(skeleton[0], box[0]), -abs(number - index), number, index)
        for number, skeleton in enumerate(without)
        for index, box in enumerate(alone)
        if _plain(box[0].name).removesuffix("box").removesuffix("b") == _plain(skeleton[0].name)
    ]
    used: set[int] = set()
    found: set[int] = set()
    for share, _, number, index in sorted(joined, reverse=True):
        if share > _MIN_INSIDE and number not in found and index not in used:
            without[number] += alone[index]
            found.add(number)
            used.add(index)
    gone = [id(alone[index]) for index in used]
    yield from (members for members in instances if id(members) not in gone)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _share_inside(skeleton: _Shape, box: _Shape) -> float:
    """Return the share of a skeleton's points in a box, less if they fill little of it."""
    places = np.array([row[:2] for row in skeleton.points.values() if row[2] > 0]).reshape(-1, 2)
    if not len(places) or box.box is None:
        return 0.0
    low, extent = np.array(box.box[:2]), np.array(box.box[2:])
    inside = ((places >= low - 0.5) & (places <= low + extent + 0.5)).all(1).mean()
    fills = np.prod(np.minimum(np.ptp(places, axis=0) / np.maximum(extent, 1e-9), 1))
    return float(inside * (0.9 + 0.1 * fills))


def _cvat_mask(element: ElementTree.Element, size: tuple[int, int]) -> tuple[list[float], Record]:
    """Return the box and the run lengths of a mask, which CVAT stores by rows of its box."""
    left, top, width, height = (int(float(element.attrib[name])) for name in ("left", "top", "width", "height"))
    counts = [int(value) for value in element.attrib["rle"].split(",")]
    values = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    if len(values) != width * height:
        raise ValueError(f"the mask of {element.get('label')} has {len(values)} pixels; expected {width} x {height}")
    return [left, top, width, height], _run_lengths(values.reshape(height, width), (left, top), size)


def _cvat_places(shape: ElementTree.Element) -> list[tuple[float, float]]:
    pairs = [place.split(",") for place in shape.attrib["points"].split(";")]
    return [(float(x), float(y)) for x, y in pairs]


def _cvat_point(part: ElementTree.Element) -> tuple[float, float, int]:
    ((x, y),) = _cvat_places(part)
    return (0.0, 0.0, 0) if part.get("outside") == "1" else (x, y, 1 if part.get("occluded") == "1" else 2)


def _cvat_box(shape: ElementTree.Element) -> list[float]:
    """Return the box of a shape, around its corners if it is turned by degrees about its centre."""
    left, top, right, bottom = (float(shape.attrib[name]) for name in ("xtl", "ytl", "xbr", "ybr"))
    angle = np.radians(float(shape.get("rotation") or 0))
    if not angle:
        return _box([left, top, right, bottom])
    centre, half = np.array([left + right, top + bottom]) / 2, np.array([right - left, bottom - top]) / 2
    turn = np.abs([[np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    extent = (turn @ half).round(9)
    return _box([centre - extent, centre + extent])


def _cvat_side(shape: ElementTree.Element) -> str | None:
    stated = {item.get("name", "").lower(): (item.text or "").strip() for item in shape.findall("attribute")}
    return next((side for name in _SIDE_ATTRIBUTES if (side := side_of_name(stated.get(name, "")))), None)


def _label_studio(root: Path, files: Sequence[Path]) -> ToolLabels:
    """Read tasks as Label Studio exports them (JSON), or as Sonjit writes predictions for it."""
    coco = _Coco()
    for path in files:
        with naming(str(path)):
            for task in json.loads(read_bytes(path)):
                image = _image_of_task(root, task)
                size = size_of_image(image, upright=True)
                coco.image(_relative(image, root), size)
                versions = [one for one in task.get("annotations") or () if not one.get("was_cancelled")]
                versions = versions or task.get("predictions") or ()
                if len(versions) > 1:
                    raise ValueError(f"{image.name} has {len(versions)} annotations: export one of each task")
                for parts in _label_studio_instances(versions[0]["result"] if versions else ()):
                    _add_label_studio(coco, parts, size)
    return ToolLabels(files[0], coco.data())


def _image_of_task(root: Path, task: Record) -> Path:
    """Return the image of a task, whose address may have the folder and the prefix of an upload."""
    address = next((str(value) for key, value in task["data"].items() if key in ("image", "img", "image_url")), None)
    address = address or next(str(value) for value in task["data"].values() if isinstance(value, str))
    name = unquote(address.rpartition("?d=")[2])
    short = PureWindowsPath(name).name
    names = (name.lstrip("/"), short, short.partition("-")[2])  # an upload is called 1a2b3c4d-name.jpg
    places = (place / one for one in names if one for place in (root, root / "images"))
    image = next((place for place in places if place.is_file()), None)
    if image is None:
        raise InputError(f"the image {short} is neither in {root} nor in its folder images")
    return image


def _label_studio_instances(results: Sequence[Record]) -> Iterator[list[Record]]:
    """Yield the regions of each instance: those with one parent, and all points without a parent or shape."""
    regions: dict[str, list[Record]] = {}
    for number, result in enumerate(results):
        kind, key = str(result.get("type", "")), str(result.get("id", number))
        if result.get("image_rotation"):
            raise ValueError(f"the image is turned by {result['image_rotation']} degrees: turn the file and label it")
        if kind in ("relation", "textarea", "number", "rating") or (kind == "choices" and key not in regions):
            continue
        group = str(result.get("parentID") or ("points" if kind == "keypointlabels" else key))
        regions.setdefault(group, []).append(result)
    yield from regions.values()


def _add_label_studio(coco: _Coco, parts: Sequence[Record], size: tuple[int, int]) -> None:
    points: dict[str, tuple[float, float, int]] = {}
    names: list[str] = []
    box: list[float] | None = None
    polygons: list[list[float]] = []
    scale = np.array(size) / 100
    for part in parts:
        value, kind = part["value"], part["type"]
        label = next(iter(value.get(kind) or ()), "object") if kind != "choices" else ""
        match kind:
            case "keypointlabels":
                if label in points:
                    raise ValueError(f"two points of an instance are named {label}: give each instance a box as parent")
                points[str(label)] = (value["x"] * scale[0], value["y"] * scale[1], 2)
            case "rectanglelabels":
                corner, extent = (np.array([value[a], value[b]]) * scale for a, b in (("x", "y"), ("width", "height")))
                angle = np.radians(value.get("rotation") or 0)  # about the left upper corner
                turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
                box = _box(corner + np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * extent @ turn)
                names.append(label)
            case "polygonlabels":
                polygons.append(np.ravel(np.array(value["points"]) * scale).tolist())
                names.append(label)
            case "choices":
                names += map(str, value["choices"])
            case other:
                raise ValueError(f"a region is of {other}; keypoints, rectangles, polygons and choices are read")
    side = next((side for name in names if (side := side_of_name(name))), None)
    places = [row[:2] for row in points.values()]
    box = box or (_box(polygons[0]) if polygons else None)
    category = next(iter(names), None) or _category_of(list(points))
    shape = {"bbox": box or (_box(places) if len(places) > 1 else None), "segmentation": polygons or None}
    coco.add(category, points, side, **shape)


def _yolo(root: Path, path: Path) -> ToolLabels:
    about = load_yaml(path)
    coco = _Coco()
    with naming(str(path)):
        names = about["names"]
        names = (
            dict(enumerate(names)) if isinstance(names, list) else {int(key): str(name) for key, name in names.items()}
        )
        count, values = (int(value) for value in about.get("kpt_shape") or (0, 3))
        if values not in (2, 3):
            raise ValueError(f"kpt_shape has {values} numbers for a keypoint; 2 and 3 are known")
        given = about.get("kpt_names") or {}
        points = [str(name) for name in (next(iter(given.values()), ()) if isinstance(given, dict) else given)]
        if points and len(points) != count:
            raise ValueError(f"kpt_names has {len(points)} names, and kpt_shape {count} keypoints")
        for number in sorted(names):
            coco.category(str(names[number]))
        parts = _yolo_parts(about, path)
    if not parts:
        folder = root / "labels" if (root / "labels").is_dir() else path.parent / "labels"
        parts = {image: () for place in (folder.parent / "images", folder.parent) for image in _images_in(place)}
    texts = {image: _yolo_text(image) for image in parts}
    _refuse_orphans(set(filter(None, texts.values())), path)
    if not any(texts.values()):
        raise InputError(f"{path}: no labels/*.txt next to it")
    for image, text in texts.items():
        with naming(str(text or image)):
            size = size_of_image(image, upright=True)
            coco.image(_relative(image, root), size, splits=parts[image])
            for line in dict.fromkeys(read_lines(text)) if text else ():  # some tools write a line twice
                _add_yolo(coco, [float(value) for value in line.split()], names, size, (count, values))
    data = coco.data()
    for category in data["categories"]:
        if count:
            category["keypoints"] = points
    return ToolLabels(path, data)


def _yolo_parts(about: Mapping[str, Any], path: Path) -> dict[Path, tuple[str, ...]]:
    """Return the splits of each image of a .yaml: of its folders and lists of images, which exist here."""
    base = path.parent / str(about.get("path") or ".")
    bases = (base, path.parent) if base.is_dir() else (path.parent,)  # many files state a folder of another machine
    parts: dict[Path, tuple[str, ...]] = {}
    for name in _PARTS:
        places = about.get(name) or about.get({"val": "valid"}.get(name, name)) or ()
        for place in [places] if isinstance(places, str) else places:
            for image in _yolo_images(str(place), bases):
                parts[image] = (*dict.fromkeys((*parts.get(image, ()), name)),)
    return dict(sorted(parts.items(), key=lambda item: natural_key(str(item[0]))))


def _yolo_images(place: str, bases: Sequence[Path]) -> list[Path]:
    """Return the images of a folder or a list, relative to one of the folders; Roboflow's begin with a wrong `..`."""
    names = (place, place.removeprefix("../"))
    found = next((path for base in bases for name in names if (path := base / name).exists()), None)
    if found is None:
        return []
    if found.is_dir():
        return [Path(os.path.normpath(image)) for image in _images_in(found)]
    if found.suffix.lower() in IMAGE_ENDINGS:
        return [Path(os.path.normpath(found))]
    images: list[Path] = []
    for line in read_lines(found):
        name = PureWindowsPath(line.strip()).as_posix()
        candidates = [folder / name for folder in (found.parent, *bases)]
        image = next((path for path in candidates if path.is_file()), None)
        if image is None:
            raise InputError(f"{found}: the image {line.strip()} is missing")
        images.append(Path(os.path.normpath(image)))
    return images


def _yolo_text(image: Path) -> Path | None:
    """Return the labels of an image: in `labels` instead of the last `images` of its path, or next to it."""
    folders = list(image.parts)
    candidates = [image.with_suffix(".txt")]
    if "images" in folders:
        folders[len(folders) - 1 - folders[::-1].index("images")] = "labels"
        candidates.insert(0, Path(*folders).with_suffix(".txt"))
    candidates += [base / "labels" / image.relative_to(base).with_suffix(".txt") for base in list(image.parents)[:4]]
    return next((text for text in candidates if text.is_file()), None)


def _refuse_orphans(texts: set[Path], path: Path) -> None:
    """Refuse labels without an image in the folders of the labels that were read."""
    for folder in {path.parent / "labels", *(text.parent for text in texts if "labels" in text.parts)}:
        for text in sorted(folder.rglob("*.txt")) if folder.is_dir() else ():
            if text in texts or not _is_yolo_text(text):
                continue
            parts = list(text.with_suffix("").parts)
            parts[len(parts) - 1 - parts[::-1].index("labels")] = "images"
            above = Path(f"{folder.parent / text.relative_to(folder)}")
            if not any(_with_image_ending(place) for place in (Path(f"{Path(*parts)}.x"), text, above)):
                raise InputError(f"{text}: its image {Path(*parts[-2:])}.* is missing")


def _add_yolo(
    coco: _Coco, row: Sequence[float], names: Mapping[int, str], size: tuple[int, int], shape: tuple[int, int]
) -> None:
    """Add a line: class, centre and size of the box, and keypoints, all as fractions of the image."""
    count, values = shape
    number, *rest = row
    if int(number) not in names:
        raise ValueError(f"the class {number:g} is not among the names of the .yaml")
    scale = np.array(size, np.float64)
    if not count and len(rest) >= 6 and len(rest) % 2 == 0:  # the corners of an outline, as of segmentations
        corners = np.reshape(rest, (-1, 2))
        if not -_MAX_BEYOND <= corners.min() <= corners.max() <= 1 + _MAX_BEYOND:
            raise ValueError(f"the outline {rest[:4]}... has numbers outside of 0 to 1; must be fractions of the image")
        coco.add(names[int(number)], {}, bbox=_box(corners * scale), segmentation=[np.ravel(corners * scale).tolist()])
        return
    if len(rest) != 4 + count * values:
        raise ValueError(f"a line has {len(row)} numbers; expected {5 + count * values}, see kpt_shape")
    if not -_MAX_BEYOND <= min(rest[:4]) <= max(rest[:4]) <= 1 + _MAX_BEYOND:
        raise ValueError(f"the box {rest[:4]} has numbers outside of 0 to 1; must be fractions of the image")
    centre, extent = np.array(rest[:2]) * scale, np.array(rest[2:4]) * scale
    label: Record = {"bbox": [*(centre - extent / 2).tolist(), *extent.tolist()]}
    points = np.array(rest[4:], np.float64).reshape(-1, values)
    flags = points[:, 2] if values == 3 else np.where((points > 0).any(1), 2, 0)
    placed = np.where(flags[:, None] > 0, points[:, :2] * scale, 0)
    coco.add(names[int(number)], {}, **label)
    if count:
        rows = [value for (x, y), flag in zip(placed.tolist(), flags.tolist(), strict=True) for value in (x, y, flag)]
        coco.annotations[-1] |= {"keypoints": rows, "num_keypoints": int((flags > 0).sum())}


def _relative(image: Path, root: Path) -> str:
    return image.relative_to(root).as_posix() if image.is_relative_to(root) else str(image)
