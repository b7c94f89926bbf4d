"""Kinds of detectors that a TOML file describes: keypoint networks of other projects, as ONNX or TFLite files.

A file `rtmpose.toml` next to its network adds the kind `rtmpose`. Sources of the decoders: Jiang et al. 2023, RTMPose,
section 3.2 (SimCC); Xiao et al. 2018, Simple Baselines, section 2 (maps, with a shift of a quarter pixel); Huang et al.
2020, The Devil is in the Details, section 4 (unbiased coordinates) with Zhang et al. 2020, Distribution-Aware
Coordinate Representation, section 3.2 (refined peaks); Maji et al. 2022, YOLO-Pose, section 3. Results equal those of
mmpose 1.3 and ultralytics 8 for equal boxes.
"""

import re
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

import cv2
import numpy as np

from sonjit._util import Float32Array, FloatArray, Image, IndexArray, InputError, already_registered, data_files
from sonjit.detectors import interfaces, kinds, tracking
from sonjit.detectors.options import CommonOptions, SidedOptions
from sonjit.detectors.search.load import load_network
from sonjit.detectors.search.network import HandBox, PersonBox, has_small, new_people
from sonjit.engines import load_engine
from sonjit.geometry.boxes import Box, RotatedBox, box_around, box_from_corners, box_iou, crop
from sonjit.geometry.windows import windows
from sonjit.results import Points, Result, Value, register_result, schema
from sonjit.results.skeletons import Skeleton, load_skeleton, mirrored_order

Decoded: TypeAlias = tuple[FloatArray, FloatArray]
"""Keypoints (K, 2) as fractions of the crop, and their scores (K,)."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_VISIBLE = 0.3
"""Minimum score of a keypoint that counts for the score and the next box of an instance, as in mmpose's drawings."""
_MIN_BOX = 0.3  # default minimum score of a new box
_HAND = 0.65  # side of a hand, relative to its crop in the published search
_MARGIN = 1.25  # size of the box of a tracked instance, relative to its visible keypoints
_PADDING = 1.25  # size of the crop relative to the box, as in mmpose
_GREY = 114
_SAME_BOX = 0.7
"""Border of the input of YOLO networks, and maximum IoU of the boxes of two instances, as in ultralytics."""
_PLACE = 2  # values of a keypoint without a score, x and y
_DIMS = (3, 2)  # values of a keypoint with and without a score
_STRIDES = ((8, 16, 32), (8, 16, 32, 64))  # strides of the maps of yolo networks
_TOLERANCE = 1e-3  # of scores in half precision
_LEAST_FRACTION = 0.01  # a coordinate that is nowhere larger is the score of an absent class
_MAX_FRACTION = 2.0  # maximum coordinate of objects in fractions of the input; one in pixels would be a dot
_SHIFT = 0.25
_BLUR_PX, _FLOOR, _CEILING, _EPSILON = 11, 1e-3, 50.0, float(np.finfo(np.float32).eps)
"""Side of the Gaussian before peaks are refined, limits of the map, and regularisation of the step, as in mmpose."""


@dataclass(frozen=True)
class SkeletonPart:
    """Keypoints of a network, in its order."""

    skeleton: str = ""  # name of a known skeleton, see `sonjit.results.skeletons.list_skeletons`
    prefix: str = ""  # text before the names of its keypoints
    keypoints: tuple[str, ...] = ()  # names of the keypoints, in place of a known skeleton
    connections: tuple[tuple[int, int], ...] = ()  # index pairs of these keypoints to draw as lines

    def load(self) -> Skeleton:
        """Return the skeleton of this part, which must be known or have valid connections."""
        if bool(self.skeleton) == bool(self.keypoints):
            raise InputError("a part needs either skeleton or keypoints")
        if self.skeleton:
            if self.connections:
                raise InputError(f"{self.skeleton} has its own connections. Give connections only with keypoints")
            return load_skeleton(self.skeleton)
        if any(not 0 <= end < len(self.keypoints) for pair in self.connections for end in pair):
            raise InputError(f"connections must be between 0 and {len(self.keypoints) - 1}")
        return Skeleton("", self.keypoints, (-1,) * len(self.keypoints), self.connections, {})


@dataclass(frozen=True)
class NetworkFile:
    """Content of the file."""

    network: str  # model file, relative to this file. Its input is one image.
    # Outputs of the network. simcc: logits along x (1, K, W) and y (1, K, H). heatmap: maps (1, K, h, w). heatmap_udp:
    # maps with unbiased coordinates, as in ViTPose. yolo: instances with boxes, (1, 4 + C + 3 K, N) with C classes
    # before or (1, N, 6 + 3 K) after the suppression of duplicates, in pixels or fractions of the input.
    decoder: Literal["simcc", "heatmap", "heatmap_udp", "yolo"]
    parts: tuple[SkeletonPart, ...]  # keypoints of an instance
    # Per channel, subtracted from the bytes of the image, and by which the rest is divided
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (255.0, 255.0, 255.0)
    channels: Literal["rgb", "bgr"] = "rgb"  # order of the channels
    # Source of the boxes that are cropped. Default: people. yolo networks have their own boxes.
    boxes: Literal["people", "hands", "image"] | None = None
    input: tuple[int, int] | None = None  # width and height of the input in pixels, if the network has no fixed ones
    # Order of the outputs of a simcc network. Default: found from their lengths; x first if they are equal.
    axes: Literal["xy", "yx"] | None = None
    classes: int | None = None  # number of classes of a yolo network. Default: found from its outputs.
    summary: str = "Find instances with a network of your own."  # line for the command line

    @cached_property
    def skeleton(self) -> Skeleton:
        """Keypoints and connections of all parts."""
        names: list[str] = []
        connections: list[tuple[int, int]] = []
        parents: list[int] = []
        for part in self.parts:
            skeleton, first = part.load(), len(names)
            names += [part.prefix + name for name in skeleton.keypoints]
            connections += [(first + a, first + b) for a, b in skeleton.connections]
            parents += [parent + first if parent >= 0 else -1 for parent in skeleton.parents]
        return Skeleton("", tuple(names), tuple(parents), tuple(connections), {})


@dataclass(frozen=True, eq=False)
class NetworkObservation:
    """Observation of an instance; see `Observation`."""

    score: float
    keypoints: Float32Array
    visibility: Float32Array  # scores (K,) float32 of the keypoints, 0..1
    keypoints_3d: None = None
    left: None = None
    colours: None = None


@dataclass(eq=False, repr=False, slots=True)
class NetworkResult(Result):
    """Instance that a network of the user found."""

    score: float  # score of the box of a yolo network; otherwise the mean score of the visible keypoints, 0..1
    keypoints: Float32Array  # keypoints (K, 3) as float32: x, y in pixels of the input; z is NaN
    visibility: Float32Array  # scores (K,) as float32 of the keypoints, 0..1
    id: int | None = None  # track id, stable while the instance is tracked; None for stills


def register_network_file(path: Path) -> kinds.KindEntry:
    """Register the kind that a file describes. Its name is the stem of the file.

    Raise InputError if the file is missing or invalid, or its kind has no name or a name in use.

    Example:
        >>> register_network_file(Path("rtmpose.toml")).name  # doctest: +SKIP
        'rtmpose'
    """
    content, name = data_files.read_toml(path, NetworkFile), path.stem
    if not _NAME.fullmatch(name):
        raise InputError(f"{path}: rename it. A kind has a name of lower-case letters, digits and _, such as rtmpose")
    is_same = name in kinds.KINDS and issubclass(kinds.KINDS[name].result, NetworkResult)
    if name in {*kinds.KINDS, *schema.RESULT_TYPES} and not is_same:
        raise InputError(already_registered("kind", name))
    if content.decoder == "yolo" and content.boxes is not None:
        raise InputError(f"{path}: boxes={content.boxes!r} has no effect with decoder='yolo'")
    if content.decoder != "yolo" and content.classes is not None:
        raise InputError(f"{path}: classes={content.classes} has no effect with decoder={content.decoder!r}")
    if content.decoder != "simcc" and content.axes is not None:
        raise InputError(f"{path}: axes={content.axes!r} has no effect with decoder={content.decoder!r}")
    if min(1 if content.classes is None else content.classes, *(content.input or (1,))) < 1:
        raise InputError(f"{path}: input and classes must be positive")
    try:
        skeleton = replace(content.skeleton, name=f"{name}{len(content.skeleton.keypoints)}")
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if not skeleton.keypoints or min(content.std) <= 0 or not np.isfinite([*content.mean, *content.std]).all():
        raise InputError(f"{path}: parts must have keypoints, and std must be positive")
    weight = path.parent / content.network
    result = _result_type(name, skeleton)
    has_sides = mirrored_order(skeleton.keypoints) != list(range(len(skeleton.keypoints)))

    def load(options: CommonOptions) -> CroppedNetwork | CompleteNetwork:
        if options.detector_model or options.landmark_model:
            raise InputError(f"detector_model and landmark_model have no effect with {name}: {path} names its network")
        _refuse_idle_options(options, content)
        network = CompleteNetwork if content.decoder == "yolo" else CroppedNetwork
        return network(content, weight, result, options)

    entry = kinds.KindEntry(
        name=name,
        result=register_result(result),
        summary=content.summary,
        plural=f"{name} instances",
        models={"own": kinds.Model("own", {}, _MIN_BOX)},
        model_help=f"The network of {path.name}.",
        load=load,
        options=SidedOptions if has_sides else CommonOptions,
        instances=(name,),
    )
    kinds.KINDS.add(name, entry, replace=is_same)
    return entry


def _refuse_idle_options(options: CommonOptions, content: NetworkFile) -> None:
    """Check that no option is ignored. Values that describe what happens anyway are accepted."""
    accepted: dict[str, tuple[float, ...]] = {}
    if content.decoder == "yolo":  # it searches every image, and its detections are present
        accepted = {
            "search_interval": (CommonOptions.search_interval, 1),
            "min_presence_score": (CommonOptions.min_presence_score, 0),
        }
    elif content.boxes == "image":
        accepted = {"min_detection_score": (_MIN_BOX, CommonOptions.min_detection_score, 0)}
    for name, values in accepted.items():
        if getattr(options, name) not in values:
            cause = 'boxes = "image"' if content.boxes else 'decoder = "yolo"'
            raise InputError(f"{name}={getattr(options, name)!r} has no effect with {cause}")


def _result_type(name: str, skeleton: Skeleton) -> type[NetworkResult]:
    """Return the result type of a kind. It is an attribute of this module, so that other processes can read results."""
    count, visibility = len(skeleton.keypoints), schema.PointScore("visibility", "score", column="visibility")
    made = type(
        f"Result_{name}",
        (NetworkResult,),
        {
            "__slots__": (),
            "__module__": __name__,
            "kind": name,
            "list_name": name,
            "skeletons": {count: skeleton},
            "schema": (
                Value("score", "score"),
                Points("keypoints", "keypoints", ("x", "y", "z"), (visibility,), flat_counts=(count,)),
                Value("id", "id", full=True),
                Value("box", "box", full=True, is_box=True),
            ),
        },
    )
    globals()[made.__name__] = made
    return made


class _Networks(interfaces.Kind[NetworkObservation, NetworkResult]):
    """Base of the kinds that a file describes. Raise InputError for outputs that the decoder does not take."""

    def __init__(self, content: NetworkFile, path: Path, result: type[NetworkResult], options: CommonOptions) -> None:
        low, high = (
            tuple((value - mean) / std for mean, std in zip(content.mean, content.std, strict=True))
            for value in (0.0, 255.0)
        )
        self._engine = load_engine(path, options.running, value_range=(low, high), size=content.input)
        self._content = content
        self._type = result
        self.networks = {"landmark": path.name}
        self._height, self._width = self._engine.input.shape[1:3]
        names = content.skeleton.keypoints
        self._count = len(names)
        is_mirrored = isinstance(options, SidedOptions) and options.mirrored
        self._order = np.array(mirrored_order(names)) if is_mirrored else np.arange(self._count)
        try:
            self._decode(self._engine.run())
        except (ValueError, IndexError):
            shapes = ", ".join(" x ".join(map(str, output.shape)) for output in self._engine.run())
            classes = f" and {content.classes} classes" if content.classes else ""
            is_one = content.decoder == "yolo" and re.fullmatch(r"1 x \d+ x \d+", shapes)
            hint = ". Give classes in the TOML file" if is_one and not classes else ""
            raise InputError(
                f"{path}: gives {shapes}, which is not {content.decoder} of {self._count} keypoints{classes}{hint}"
            ) from None

    @abstractmethod
    def _decode(self, outputs: list[Float32Array]) -> object:
        """Decode the outputs of the network, or raise a ValueError or IndexError if they have other shapes."""

    def _run(self) -> list[Float32Array]:
        """Run the network on its input, an image in the order RGB."""
        image = self._engine.input[0]
        if self._content.channels == "bgr":
            image[:] = image[..., ::-1].copy()
        return self._engine.run()

    def _observation(self, score: float, points: FloatArray, scores: FloatArray) -> NetworkObservation:
        """Return an observation from keypoints (K, 2) in pixels of the image and their scores (K,)."""
        keypoints = np.column_stack([points, np.full(len(points), np.nan)])[self._order].astype(np.float32)
        visibility = scores.clip(0, 1)[self._order].astype(np.float32)
        return NetworkObservation(min(max(float(score), 0.0), 1.0), keypoints, visibility)

    def result(
        self, rgb: Image, observation: NetworkObservation, track: tracking.Track[NetworkObservation] | None
    ) -> NetworkResult:
        number = None if track is None else track.id
        return self._type(observation.score, observation.keypoints, observation.visibility, number)


class CroppedNetwork(_Networks):
    """Detect instances by a network that finds the keypoints of one instance in a crop."""

    def __init__(self, content: NetworkFile, path: Path, result: type[NetworkResult], options: CommonOptions) -> None:
        super().__init__(content, path, result, options)
        self._network = None if content.boxes == "image" else load_network(options)

    def _decode(self, outputs: list[Float32Array]) -> Decoded:
        points, scores = _DECODERS[self._content.decoder](self._ordered(outputs))
        if len(points) != self._count:
            raise ValueError(len(points))
        return points, scores

    def _ordered(self, outputs: Sequence[Float32Array]) -> Sequence[Float32Array]:
        """Return logits along x before those along y, and maps (1, K, h, w) of a network with (1, h, w, K)."""
        if self._content.decoder == "simcc":
            along_x, along_y = outputs[:2]
            lengths = along_x.shape[-1], along_y.shape[-1]
            fits, fits_reversed = self._has_aspect(*lengths), self._has_aspect(*lengths[::-1])
            is_reversed = self._content.axes == "yx" if self._content.axes else fits_reversed and not fits
            if fits != fits_reversed and is_reversed != fits_reversed:
                raise ValueError(lengths)
            return [along_y, along_x] if is_reversed else outputs
        _, first, second, last = outputs[0].shape
        has_keypoints_last = last == self._count and (
            first != self._count or (self._has_aspect(second, first) and not self._has_aspect(last, second))
        )
        return [np.ascontiguousarray(np.moveaxis(outputs[0], -1, 1))] if has_keypoints_last else outputs

    def _has_aspect(self, width: int, height: int) -> bool:
        """Check whether a width and a height have the ratio of the input."""
        return width * self._height == height * self._width

    def find(self, rgb: Image, min_score: float) -> list[RotatedBox]:
        """Return upright boxes of people or hands in an image (H, W, 3), best first."""
        height, width = rgb.shape[:2]
        if self._network is None:
            return [RotatedBox(width / 2, height / 2, width, height, 0.0)]
        people: list[PersonBox] = []
        hands: list[HandBox] = []
        for count in (1, 2):
            for window in windows(width, height, count, fewer=True):
                more, its_hands = self._network.find(rgb, window, min_score, min_score)
                people += new_people(more, people)
                hands += its_hands
            if not has_small(people, rgb):
                break
        if self._content.boxes != "hands":
            return [box_from_corners(person.box) for person in sorted(people, key=lambda person: -person.score)]
        boxes = [hand.box for hand in sorted(hands, key=lambda hand: -hand.score)]
        return [RotatedBox(box.cx, box.cy, _HAND * box.width, _HAND * box.width) for box in boxes]

    def observe(self, rgb: Image, box: RotatedBox) -> NetworkObservation:
        """Run the network on the crop of a box of an image (H, W, 3), in pixels."""
        width, height = _PADDING * box.width, _PADDING * box.height
        aspect = self._width / self._height
        width, height = max(width, height * aspect), max(height, width / aspect)
        more_x, more_y = 0.0, 0.0
        if self._content.decoder == "heatmap_udp":  # the centres of the outer pixels are on the edges of the box
            more_x, more_y = width / (self._width - 1), height / (self._height - 1)
        around = RotatedBox(box.cx + more_x / 2, box.cy + more_y / 2, width + more_x, height + more_y)
        crop(rgb, around, self._width, self._height, border="zero", out=self._engine.input[0])
        points, scores = self._decode(self._run())
        placed = (points - 0.5) * (width, height) + (box.cx, box.cy)
        visible = scores[scores > _VISIBLE]
        return self._observation(float(visible.mean()) if len(visible) else float(scores.max()), placed, scores)

    def follow(self, track: tracking.Track[NetworkObservation]) -> RotatedBox:
        """Return the box around the visible keypoints."""
        observation = track.observation
        visible = observation.visibility > _VISIBLE
        box = box_from_corners(box_around(observation.keypoints[visible] if visible.any() else observation.keypoints))
        return box._replace(width=max(_MARGIN * box.width, 1.0), height=max(_MARGIN * box.height, 1.0))


class _YoloLayout(NamedTuple):
    """Order of the values in the output of a yolo network."""

    columns_first: bool  # (C, N), not (N, C)
    classes: int  # number of classes; 0 for rows of corners, score and class after the suppression of duplicates
    dims: int  # values of a keypoint: x, y and, if there are three, its score


def _yolo_layout(values: FloatArray, count: int, classes: int | None, size: tuple[int, int]) -> _YoloLayout:
    """Return the layout of the output (A, B) of a yolo network with `count` keypoints, of any image.

    The number of candidates follows from the input size and the usual strides. Scores are between 0 and 1, which
    places of keypoints in pixels are not. Raise an IndexError if no layout fits.
    """
    first, last = values.shape
    cells = [sum((size[0] // stride) * (size[1] // stride) for stride in strides) for strides in _STRIDES]
    allowed = [classes] if classes else range(1, max(first, last))
    rows = [_YoloLayout(columns_first=False, classes=0, dims=dims) for dims in _DIMS if last == 6 + dims * count]
    for dims in _DIMS:
        given = last - 4 - dims * count
        if given in allowed and (given == 1 or given == classes or first in cells):
            rows.append(_YoloLayout(columns_first=False, classes=given, dims=dims))
    columns = [
        _YoloLayout(columns_first=True, classes=first - 4 - dims * count, dims=dims)
        for dims in _DIMS
        if first - 4 - dims * count in allowed
    ]
    if first in cells and first != last:  # every cell, before the suppression of duplicates
        rows, columns = [layout for layout in rows if layout.classes], []
    elif last in cells:
        rows = []
    fitting = [layout for layout in (*rows, *columns) if _fits(values, count, layout)]
    usual = [layout for layout in (*rows, *columns) if layout.classes == (classes or 1)]
    return (fitting or usual)[0]


def _fits(values: FloatArray, count: int, layout: _YoloLayout) -> bool:
    """Check whether the values in an output (A, B) are possible: scores, class numbers, and places of keypoints."""
    rows = values.T if layout.columns_first else values
    start = 4 + layout.classes if layout.classes else 6
    points = rows[:, start:].reshape(len(rows), count, layout.dims)
    keypoint_scores = points[..., _PLACE:].reshape(len(rows), -1)
    scores = np.hstack([rows[:, 4:start] if layout.classes else rows[:, 4:5], keypoint_scores])
    if not np.all((scores >= -_TOLERANCE) & (scores <= 1 + _TOLERANCE)):
        return False
    if not layout.classes:
        return bool(np.all(rows[:, 5] == np.round(rows[:, 5])))
    return bool(np.all(np.abs(points[..., :_PLACE]).max(axis=0) > _LEAST_FRACTION))  # of some cell


class CompleteNetwork(interfaces.SearchedKind[NetworkObservation, NetworkResult], _Networks):
    """Detect instances by a network that finds all of them in the complete image."""

    _layout: _YoloLayout | None = None  # known after the first run

    def __init__(self, content: NetworkFile, path: Path, result: type[NetworkResult], options: CommonOptions) -> None:
        _Networks.__init__(self, content, path, result, options)
        self.refusal = f"{path.name} has its own boxes and accepts no given boxes"

    def _decode(self, outputs: list[Float32Array]) -> FloatArray:
        """Return rows (N, 6 + 3 K) of corners, score, class, and keypoints with scores, in the unit of the output."""
        (rows,) = outputs[0].astype(np.float64)
        if self._layout is None:
            self._layout = _yolo_layout(rows, self._count, self._content.classes, (self._width, self._height))
        columns_first, classes, dims = self._layout
        rows = rows.T if columns_first else rows
        boxes = rows[:, :4]
        labels = rows[:, 4:6]
        start = 6
        if classes:
            start = 4 + classes
            boxes = np.hstack([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2])
            labels = np.column_stack([rows[:, 4:start].max(axis=1), rows[:, 4:start].argmax(axis=1)])
        points = rows[:, start:].reshape(len(rows), self._count, dims)
        if dims == _PLACE:
            points = np.concatenate([points, np.ones((*points.shape[:2], 1))], axis=2)
        return np.hstack([boxes, labels, points.reshape(len(rows), -1)])

    def search(self, rgb: Image, min_score: float) -> list[NetworkObservation]:
        """Return the instances in an image (H, W, 3), best first."""
        (height, width), image = rgb.shape[:2], self._engine.input[0]
        gain = min(self._height / height, self._width / width)
        inner = max(round(width * gain), 1), max(round(height * gain), 1)
        corner = round((self._width - inner[0]) / 2 - 0.1), round((self._height - inner[1]) / 2 - 0.1)
        image[:] = _GREY
        image[corner[1] : corner[1] + inner[1], corner[0] : corner[0] + inner[0]] = cv2.resize(rgb, inner)
        rows = self._decode(self._run())
        rows = rows[rows[:, 4] > min_score]
        rows = rows[np.argsort(-rows[:, 4], kind="stable")]
        points = rows[:, 6:].reshape(len(rows), self._count, 3)
        places = (self._in_pixels(points[..., :2]) - corner) / gain
        kept: list[tuple[Box, float]] = []  # as the network gives them, with their classes, which are independent
        instances: list[NetworkObservation] = []
        for row, place, keypoints in zip(rows, places, points, strict=True):
            x_min, y_min, x_max, y_max = row[:4].tolist()
            box = (x_min, y_min, x_max, y_max)
            if all(label != row[5] or box_iou(box, other) <= _SAME_BOX for other, label in kept):
                kept.append((box, row[5]))
                instances.append(self._observation(row[4], place, keypoints[:, 2]))
        return instances

    def _in_pixels(self, points: FloatArray) -> FloatArray:
        """Return points (N, M, 2) in pixels of the input. Fractions of the input, as in TFLite exports, are scaled."""
        largest = np.abs(points).max(axis=(1, 2), initial=0)
        is_fraction = bool(largest.any()) and np.median(largest[largest > 0]) <= _MAX_FRACTION
        return points * (self._width, self._height) if is_fraction else points

    def follow(self, track: tracking.Track[NetworkObservation]) -> RotatedBox:
        """Return the box around the keypoints. No network runs on it."""
        return box_from_corners(box_around(track.observation.keypoints))


def _from_simcc(outputs: Sequence[Float32Array]) -> Decoded:
    """Decode logits along both axes, (1, K, W) and (1, K, H)."""
    (along_x,), (along_y,) = outputs[:2]
    points = np.stack([logits.argmax(axis=1) / logits.shape[1] for logits in (along_x, along_y)], axis=1)
    return points, np.minimum(along_x.max(axis=1), along_y.max(axis=1)).astype(np.float64)


def _from_maps(outputs: Sequence[Float32Array]) -> Decoded:
    """Decode maps (1, K, h, w) by their peaks, shifted by a quarter pixel towards the higher neighbour."""
    (maps,) = outputs[0]
    (rows, columns), (peaks, scores) = maps.shape[1:], _peaks(maps)
    points = peaks.astype(np.float64)
    for k, (x, y) in enumerate(peaks.tolist()):
        if 1 < x < columns - 1 and y > 0:
            points[k, 0] += _SHIFT * np.sign(maps[k, y, x + 1] - maps[k, y, x - 1])
        if 1 < y < rows - 1 and x > 0:
            points[k, 1] += _SHIFT * np.sign(maps[k, y + 1, x] - maps[k, y - 1, x])
    return points / (columns, rows), scores


def _from_unbiased_maps(outputs: Sequence[Float32Array]) -> Decoded:
    """Decode maps (1, K, h, w) by their peaks, moved by a Newton step on the logarithm of the blurred map."""
    (maps,) = outputs[0]
    (rows, columns), (peaks, scores) = maps.shape[1:], _peaks(maps)
    if min(rows, columns) < 2:  # the outer pixels are the edges of the box
        raise ValueError(maps.shape)
    points = peaks.astype(np.float64)
    for k, (x, y) in enumerate(peaks.tolist()):
        blurred = cv2.GaussianBlur(maps[k], (_BLUR_PX, _BLUR_PX), 0, borderType=cv2.BORDER_CONSTANT)
        if (peak := float(blurred.max())) > 0:  # a network may suppress a map completely
            blurred *= maps[k].max() / peak
        around = np.pad(np.log(blurred.clip(_FLOOR, _CEILING)), 1, mode="edge")[y : y + 3, x : x + 3]
        (a, b, _), (d, e, f), (_, h, i) = around.astype(np.float64).tolist()
        across = (i - f - h + 2 * e - d - b + a) / 2
        hessian = np.array([[f - 2 * e + d, across], [across, h - 2 * e + b]]) + _EPSILON * np.eye(2)
        step = np.linalg.solve(hessian, ((f - d) / 2, (h - b) / 2))
        points[k] -= step.clip(-1, 1)  # a peak is within a pixel; steps on flat maps are arbitrary
    return points / (columns - 1, rows - 1), scores


def _peaks(maps: Float32Array) -> tuple[IndexArray, FloatArray]:
    """Return the columns and rows (K, 2) of the maxima of maps (K, h, w), and their values (K,)."""
    flat = maps.reshape(len(maps), -1)
    best = flat.argmax(axis=1)
    rows, columns = np.unravel_index(best, maps.shape[1:])
    return np.stack([columns, rows], axis=1), flat[np.arange(len(flat)), best].astype(np.float64)


_DECODERS: Final[Mapping[str, Callable[[Sequence[Float32Array]], Decoded]]] = {
    "simcc": _from_simcc,
    "heatmap": _from_maps,
    "heatmap_udp": _from_unbiased_maps,
}
