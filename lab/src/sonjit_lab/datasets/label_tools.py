"""Labels of labelme, CVAT ("CVAT for images" and "for video") and YOLO pose, read as COCO; others are named.

labelme writes a `.json` next to each image, with shapes whose `group_id` joins the points, the rectangle and the
polygon of an instance. CVAT writes one `.xml`. YOLO has a `.yaml` with `kpt_shape` and `names`, and for each image
`images/a.jpg` a text `labels/a.txt`. Coordinates are taken as these tools write them.
Sources: https://github.com/wkentaro/labelme, https://docs.cvat.ai/docs/manual/advanced/xml_format,
https://docs.ultralytics.com/datasets/pose.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path, PureWindowsPath
from typing import Any, Final, NamedTuple
from xml.etree import ElementTree

import numpy as np
from numpy.typing import ArrayLike

from sonjit._util import InputError
from sonjit._util.records import load_yaml
from sonjit.media import IMAGE_ENDINGS, natural_key
from sonjit.media.sources.images import read_bytes
from sonjit.results.skeletons import load_skeleton
from sonjit_lab.datasets import reading
from sonjit_lab.datasets.dataset import naming, read_lines, size_of_image
from sonjit_lab.datasets.sample import HAND_SKELETON

Record = dict[str, Any]
_HIDDEN_FLAGS: Final = ("occluded", "hidden", "invisible")  # flags of labelme's shapes for hidden points
_SIDES: Final = ("left", "right")
_SIDE_ATTRIBUTES: Final = ("hand_side", "side", "handedness")
_HEAD: Final = 1 << 16  # bytes that show the tool of a file
_COCO: Final = "export its labels as COCO"
_INTERFACE: Final = "Label Studio's interface"
_EXPORTS: Final = {
    "VGG Image Annotator": "in its menu Annotation, choose Export Annotations (COCO format)",
    "Label Studio": "export the project as COCO, or its keypoints for CVAT or YOLO pose",
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
_MAX_BEYOND: Final = 0.05  # how far outside of 0 to 1 rounded fractions of an image may be
_LABEL_FOLDERS: Final = ("labels", "annotations", "annotation", "label", "ann", "anns")


class ToolLabels(NamedTuple):
    """Labels of a tool as a file in COCO's format would contain them."""

    source: Path  # file or folder of the labels
    data: Record  # images, annotations and categories; names of images are relative to the folder of the data set


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
    for tool, read in (("labelme", _labelme), ("CVAT", _cvat)):
        if label_files := by_tool.get(tool):
            return read(root, label_files)
    texts = [path for path in files if path.suffix.lower() == ".txt" and _is_yolo_text(path)]
    for path in yamls if texts or file else ():
        return _yolo(root, [path])
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
        return "SLEAP" if ending == ".slp" else "DeepLabCut"
    if ending != ".json":
        return None
    marks = (
        ("labelme", ('"shapes"', '"imagePath"')),
        ("VGG Image Annotator", ('"regions"', '"file_attributes"')),
        ("VGG Image Annotator", ('"_via_',)),
        ("Label Studio", ('"result"', '"original_width"')),
        ("Label Studio", ('"annotations"', '"predictions"', '"data"')),
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

    def add(self, name: str, points: Mapping[str, tuple[float, float, int]], **more: object) -> None:
        """Add an instance with keypoints by name: x, y in pixels and COCO's flag."""
        number = self.category(name, list(points))
        record = {"id": len(self.annotations) + 1, "image_id": len(self.images), "category_id": number}
        fields = {key: value for key, value in more.items() if value is not None}
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
            if keypoint_names := names[label["category_id"]]:
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


def _side_in(name: str) -> str | None:
    words = "".join(letter if letter.isalpha() else " " for letter in name.lower()).split()
    sides = [side for side in _SIDES if side in words]
    return sides[0] if len(sides) == 1 else None


def _labelme(root: Path, files: Sequence[Path]) -> ToolLabels:
    coco = _Coco()
    for path in files:
        with naming(str(path)):
            content = json.loads(read_bytes(path))
            width, height = content.get("imageWidth"), content.get("imageHeight")
            image = path.parent / PureWindowsPath(str(content["imagePath"])).as_posix()
            if not image.is_file():
                same = (path.with_suffix(ending) for ending in IMAGE_ENDINGS)
                image = next((other for other in same if other.is_file()), image)
            size = (int(width), int(height)) if width and height else size_of_image(image, upright=True)
            coco.image(_relative(image, root), size)
            for shapes in _labelme_instances(content["shapes"]):
                _add_labelme(coco, shapes)
    return ToolLabels(files[0].parent, coco.data())


def _labelme_instances(shapes: Sequence[Record]) -> Iterator[list[Record]]:
    """Yield the shapes of each instance: those with a `group_id`, all points without one, and each other shape."""
    groups: dict[object, list[Record]] = {}
    for index, shape in enumerate(shapes):
        group, is_point = shape.get("group_id"), shape.get("shape_type") == "point"
        groups.setdefault(("group", group) if group is not None else "points" if is_point else index, []).append(shape)
    yield from groups.values()


def _add_labelme(coco: _Coco, shapes: Sequence[Record]) -> None:
    points: dict[str, tuple[float, float, int]] = {}
    outlines: list[Record] = []
    for shape in shapes:
        name, kind = str(shape["label"]), shape.get("shape_type", "polygon")
        if kind == "point":
            if name in points:
                raise ValueError(f"two points of an instance are named {name}: give each instance its own group_id")
            ((x, y),) = shape["points"]
            hidden = any((shape.get("flags") or {}).get(flag) for flag in _HIDDEN_FLAGS)
            points[name] = float(x), float(y), 1 if hidden else 2
        elif kind in ("rectangle", "polygon"):
            outlines.append(shape)
        else:
            raise ValueError(f"the shape {name} is a {kind}; points, rectangles and polygons are read")
    names = [str(shape["label"]) for shape in outlines]
    sides = {side for text in (*names, *points) if (side := _side_in(text))}
    side = sides.pop() if len(sides) == 1 else None
    prefix = f"{side}_"
    if side and points and all(name.lower().startswith(prefix) for name in points):
        points = {name[len(prefix) :]: place for name, place in points.items()}
    polygons = [np.ravel(shape["points"]).tolist() for shape in outlines if shape.get("shape_type") != "rectangle"]
    corners = [point for shape in outlines for point in shape["points"]] or [row[:2] for row in points.values()]
    category = names[0] if names else _category_of(list(points))
    is_hand = "hand" in category.lower() or bool(points)
    shape = {"bbox": _box(corners)} if len(corners) > 1 and min(_box(corners)[2:]) > 0 else {}
    coco.add(category, points, hand_side=side if is_hand else None, segmentation=polygons or None, **shape)


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
            coco.image(image.attrib["name"], (int(image.attrib["width"]), int(image.attrib["height"])))
            _add_cvat(coco, list(image))
        if not images:
            _add_cvat_tracks(coco, tree)
    return ToolLabels(path, coco.data())


def _add_cvat_tracks(coco: _Coco, tree: ElementTree.Element) -> None:
    width, height = (tree.findtext(f".//original_size/{name}") for name in ("width", "height"))
    frames: dict[int, list[ElementTree.Element]] = {}
    for track in tree.findall("track"):
        for shape in track:
            if shape.get("outside") != "1":
                shape.set("label", track.attrib["label"])
                frames.setdefault(int(shape.attrib["frame"]), []).append(shape)
    if not frames or width is None or height is None:
        raise ValueError("no image, or no track and size of a video")
    for frame in sorted(frames):
        coco.image(f"frame_{frame:06d}.PNG", (int(width), int(height)), frame=frame)
        _add_cvat(coco, frames[frame])


def _add_cvat(coco: _Coco, shapes: Sequence[ElementTree.Element]) -> None:
    """Add the shapes of an image; a box `NAME_box`, as Sonjit writes it, is that of the skeleton NAME."""
    skeletons = [shape for shape in shapes if shape.tag == "skeleton"]
    boxes: dict[str, list[ElementTree.Element]] = {}
    for shape in shapes:
        if shape.tag == "box":
            boxes.setdefault(shape.attrib["label"], []).append(shape)
    for shape in shapes:
        name, side = shape.attrib.get("label", ""), _cvat_side(shape)
        skeleton_boxes = boxes.get(f"{name}_box", [])
        match shape.tag:
            case "skeleton":
                points = {part.attrib["label"]: _cvat_point(part) for part in shape.findall("points")}
                same = [other for other in skeletons if other.attrib["label"] == name]
                box = _cvat_box(skeleton_boxes[same.index(shape)]) if len(skeleton_boxes) == len(same) else None
                coco.add(name, points, bbox=box, hand_side=side)
            case "box":
                if name.removesuffix("_box") == name or not any(
                    skeleton.attrib["label"] == name[:-4] for skeleton in skeletons
                ):
                    coco.add(name, {}, bbox=_cvat_box(shape), hand_side=side)
            case "polygon":
                corners = _cvat_places(shape)
                coco.add(name, {}, bbox=_box(corners), segmentation=[np.ravel(corners).tolist()], hand_side=side)
            case "points":
                flag = 1 if shape.get("occluded") == "1" else 2
                places = _cvat_places(shape)
                coco.add(name, {str(number): (*place, flag) for number, place in enumerate(places, 1)}, hand_side=side)
            case "tag" | "attribute":
                pass
            case other:
                raise ValueError(f"{name} is a {other}; skeletons, points, boxes, polygons and tags are read")


def _cvat_places(shape: ElementTree.Element) -> list[tuple[float, float]]:
    pairs = [place.split(",") for place in shape.attrib["points"].split(";")]
    return [(float(x), float(y)) for x, y in pairs]


def _cvat_point(part: ElementTree.Element) -> tuple[float, float, int]:
    ((x, y),) = _cvat_places(part)
    return (0.0, 0.0, 0) if part.get("outside") == "1" else (x, y, 1 if part.get("occluded") == "1" else 2)


def _cvat_box(shape: ElementTree.Element) -> list[float]:
    return _box([float(shape.attrib[name]) for name in ("xtl", "ytl", "xbr", "ybr")])


def _cvat_side(shape: ElementTree.Element) -> str | None:
    stated = {item.get("name", "").lower(): (item.text or "").strip().lower() for item in shape.findall("attribute")}
    return next((stated[name] for name in _SIDE_ATTRIBUTES if stated.get(name) in _SIDES), None)


def _yolo(root: Path, files: Sequence[Path]) -> ToolLabels:
    path = files[0]
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
    folder = root / "labels" if (root / "labels").is_dir() else path.parent / "labels"
    texts = sorted(folder.rglob("*.txt"), key=lambda item: natural_key(str(item)))
    for text in texts:
        image = _yolo_image(folder, text)
        with naming(str(text)):
            size = size_of_image(image, upright=True)
            coco.image(_relative(image, root), size)
            for line in read_lines(text):
                _add_yolo(coco, [float(value) for value in line.split()], names, size, (count, values))
    if not texts:
        raise InputError(f"{path}: no labels/*.txt next to it")
    data = coco.data()
    for category in data["categories"]:
        if count:
            category["keypoints"] = points
    return ToolLabels(path, data)


def _yolo_image(folder: Path, text: Path) -> Path:
    """Return the image of a text of labels: in `images` instead of `labels`, or next to it."""
    below = text.relative_to(folder)
    stems = (folder.parent / "images" / below, folder.parent / below, text)
    for stem in stems:
        for ending in IMAGE_ENDINGS:
            for candidate in (stem.with_suffix(ending), stem.with_suffix(ending.upper())):
                if candidate.is_file():
                    return candidate
    raise InputError(f"{text}: its image images/{below.with_suffix('')}.* is missing")


def _add_yolo(
    coco: _Coco, row: Sequence[float], names: Mapping[int, str], size: tuple[int, int], shape: tuple[int, int]
) -> None:
    """Add a line: class, centre and size of the box, and keypoints, all as fractions of the image."""
    count, values = shape
    number, *rest = row
    if int(number) not in names:
        raise ValueError(f"the class {number:g} is not among the names of the .yaml")
    if len(rest) != 4 + count * values:
        raise ValueError(f"a line has {len(row)} numbers; expected {5 + count * values}, see kpt_shape")
    if not -_MAX_BEYOND <= min(rest[:4]) <= max(rest[:4]) <= 1 + _MAX_BEYOND:
        raise ValueError(f"the box {rest[:4]} has numbers outside of 0 to 1; must be fractions of the image")
    scale = np.array(size, np.float64)
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
