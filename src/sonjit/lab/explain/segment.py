"""Find objects as masks, the task of `sonjit segment`, and draw them and each step of Mask R-CNN.

Mask R-CNN or `hand-masks` finds the objects. For the latter, Sonjit's hand detector proposes hands. Results are in
COCO's format.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonjit._util.arrays import BoolArray, Float32Array, FloatArray, Image, IntArray
from sonjit._util.data_files import read_json
from sonjit._util.errors import InputError, pluralize
from sonjit._util.files import atomic_folder
from sonjit.detectors.create import create_detector
from sonjit.engines.devices import torch_device
from sonjit.geometry.boxes import RotatedBox, box_iou, crop, crop_matrix, inverse_affine
from sonjit.lab.datasets import coco_result
from sonjit.lab.datasets.coco import CocoResult
from sonjit.lab.explain.overlay import draw_title
from sonjit.lab.explain.overlay import grid as panel_grid
from sonjit.lab.networks.checkpoints import saved_network
from sonjit.lab.networks.mask_rcnn import mask_rcnn
from sonjit.lab.networks.mediapipe_hands import PARTS, HandMaskNetwork, wide_box
from sonjit.lab.networks.registry import create_network
from sonjit.media import Anonymise, Source, SourceFrame
from sonjit.media.drawing.instances import PERSON_COLOURS, draw_tint
from sonjit.media.drawing.strokes import Colour, Label, draw_captions, draw_labels, draw_path
from sonjit.media.sources.images import encode_image
from sonjit.media.tables.base import ColumnType
from sonjit.runs.frame_tables import Record, RecordTable
from sonjit.runs.task import Outputs, Summary, Task, Worker

CATEGORIES: Final = (
    mask_rcnn.Category(1, "left_hand"),
    mask_rcnn.Category(2, "right_hand"),
    mask_rcnn.Category(3, "arm"),
    mask_rcnn.Category(4, "object"),
)
_LABELS: Final = {"Left": 1, "Right": 2, "arm": 3, "object": 4}
_ARM_SCALE: Final = 1.6
"""Side of the crop for arms, which reach farther than hands and objects, relative to the network's crop."""
_MASK_SIDE: Final = 56
_MIN_SHARE: Final = 0.01  # least share of a crop that an arm or an object covers
_SAME: Final = 0.5  # IoU of boxes from which two objects or arms are one, seen from two hands


class HandMaskFinder:
    """Find hands with a score of at least `min_score`, held objects and arms, with a network in eval mode."""

    def __init__(self, network: HandMaskNetwork, *, min_score: float = 0.5, max_hands: int = 20) -> None:
        self._network, self._min_score = network, min_score
        self._detector = create_detector("hands", max_instances=max_hands, static_image=True)

    @torch.no_grad()
    def find(self, rgb: Image) -> mask_rcnn.DetectedInstances:
        """Return the instances in an image (H, W, 3), uint8 RGB, best first."""
        found: list[_Found] = []
        for hand in self._detector.detect(rgb):
            near = wide_box(hand.keypoints)
            far = near._replace(width=near.width * _ARM_SCALE, height=near.height * _ARM_SCALE)
            parts = self._read(rgb, near)
            arm = self._read(rgb, far)["arm"]
            for label, mask, box, share in (
                (_LABELS[hand.handedness], parts["hand"], near, 0.0),
                (_LABELS["object"], parts["object"], near, _MIN_SHARE),
                (_LABELS["arm"], arm, far, _MIN_SHARE),
            ):
                inside = mask >= 0.5
                if not inside.any() or inside.mean() < share:
                    continue
                score = hand.score * float(mask[inside].mean())
                placed = mask_in_image(mask, box, rgb.shape[:2])
                if placed is not None and score >= self._min_score:
                    found.append(_Found(score, label, *placed))
        return _instances(_without_duplicates(sorted(found, key=lambda item: -item.score)))

    def _read(self, rgb: Image, box: RotatedBox) -> dict[str, Float32Array]:
        """Return the probabilities of each part's pixels in a crop."""
        side = self._network.size
        image = torch.from_numpy(np.asarray(crop(rgb, box, side, side), np.uint8))
        outputs = self._network(image.permute(2, 0, 1)[None].to(self._network.device) / 255)
        masks = outputs["masks"][0].sigmoid().cpu().numpy()
        return dict(zip(PARTS, masks, strict=True))


class _Found(NamedTuple):
    """One instance: its score and label, its box in the image (4,), and its mask in the box."""

    score: float
    label: int
    bounds: Float32Array
    mask: Float32Array


def mask_in_image(
    mask: Float32Array, box: RotatedBox, size: tuple[int, int]
) -> tuple[Float32Array, Float32Array] | None:
    """Move a crop's mask (h, w) of probabilities from its box into an image of height and width `size`.

    Returns the upright box (4,) around it and the mask (56, 56) in that box; None if it is empty or outside the image.
    """
    matrix = crop_matrix(box, mask.shape[1], mask.shape[0])
    rows, columns = np.nonzero(mask >= 0.5)
    corners = [np.stack([columns + dx, rows + dy, np.ones(len(rows))]) for dx in (0, 1) for dy in (0, 1)]
    x, y = matrix @ np.concatenate(corners, 1)
    if not len(rows):
        return None
    left, right = np.clip([x.min(), x.max()], 0, size[1]).tolist()
    top, bottom = np.clip([y.min(), y.max()], 0, size[0]).tolist()
    if right - left < 1 or bottom - top < 1:
        return None
    steps = (np.arange(_MASK_SIDE) + 0.5) / _MASK_SIDE
    grid = np.meshgrid(left + steps * (right - left), top + steps * (bottom - top))
    points = np.stack([*(axis.ravel() for axis in grid), np.ones(_MASK_SIDE**2)])
    across, down = (inverse_affine(matrix) @ points - 0.5).reshape(2, _MASK_SIDE, _MASK_SIDE).astype(np.float32)
    sampled = cv2.remap(mask, across, down, cv2.INTER_LINEAR)
    return np.array([left, top, right, bottom], np.float32), np.asarray(sampled, np.float32)


def _without_duplicates(found: Sequence[_Found]) -> list[_Found]:
    """Return the instances without objects and arms that a better one repeats, which another hand proposed."""
    kept: list[_Found] = []
    for item in found:
        is_hand = item.label in (_LABELS["Left"], _LABELS["Right"])
        if is_hand or not any(item.label == other.label and _iou(item, other) >= _SAME for other in kept):
            kept.append(item)
    return kept


def _iou(a: _Found, b: _Found) -> float:
    first, second = ((float(x0), float(y0), float(x1), float(y1)) for x0, y0, x1, y1 in (a.bounds, b.bounds))
    return box_iou(first, second)


def _instances(found: Sequence[_Found]) -> mask_rcnn.DetectedInstances:
    return mask_rcnn.DetectedInstances(
        torch.tensor(np.array([item.bounds for item in found], np.float32).reshape(-1, 4)),
        torch.tensor([item.score for item in found], dtype=torch.float32),
        torch.tensor([item.label for item in found], dtype=torch.int64),
        torch.tensor(np.array([item.mask for item in found], np.float32).reshape(-1, _MASK_SIDE, _MASK_SIDE)),
    )


def load_hand_masks(path: str | Path, *, min_score: float = 0.5, device: str | torch.device = "cpu") -> HandMaskFinder:
    """Load a finder from a run of `sonjit train hand-masks`, its weights, or "demo" for placeholder weights.

    Raises:
        InputError: The weights are missing or of another network.
    """
    file = Path(path)
    network = create_network(
        "hand-masks", path if path == "demo" else file / mask_rcnn.WEIGHTS if file.is_dir() else file
    )
    assert isinstance(network, HandMaskNetwork)
    return HandMaskFinder(network.eval().to(device), min_score=min_score)


def is_hand_masks(path: str | None) -> bool:
    """Return whether a path is a run of `sonjit train hand-masks` or the weights of one."""
    file = Path(path or "")
    saved = saved_network(file / mask_rcnn.WEIGHTS if file.is_dir() else file)
    return saved is not None and saved.name == "hand-masks"


_LEVEL_COLOURS = {level: PERSON_COLOURS[level - 2] for level in range(2, 7)}
_MAX_BOXES = 200  # more boxes would hide the image
_SIDE_PX = 160  # side of the small images in a row
_ROWS = 6  # number of instances with maps and masks
_ABOVE = [np.array([0.0, -1.0]), np.array([0.0, 1.0])]


def draw_instances(rgb: Image, found: mask_rcnn.DetectedInstances, names: Sequence[str]) -> Image:
    """Return a new image with mask, box, category and confidence of each instance; `names` are of labels 1, 2, ..."""
    canvas = rgb.copy()
    boxes, scores, labels = found.boxes.tolist(), found.scores.tolist(), found.labels.tolist()
    if found.masks.shape[-1]:
        masks = mask_rcnn.paste_masks(found.masks, found.boxes, rgb.shape[:2]).cpu().numpy()
        for i, mask in reversed(list(enumerate(masks))):  # the surest on top
            draw_tint(canvas, mask, PERSON_COLOURS[i % len(PERSON_COLOURS)])
    for i, box in enumerate(boxes):
        _draw_box(canvas, box, PERSON_COLOURS[i % len(PERSON_COLOURS)])
    written: list[Label] = []
    for i, ((x_min, y_min, x_max, y_max), score, label) in enumerate(zip(boxes, scores, labels, strict=True)):
        top, size = np.array([(x_min + x_max) / 2, y_min]), float(np.hypot(x_max - x_min, y_max - y_min))
        colour = PERSON_COLOURS[i % len(PERSON_COLOURS)]
        written.append(Label(f"{names[label - 1]} {score:.2f}", top, _ABOVE, colour, size))
    draw_labels(canvas, written)
    return canvas


def semantic_labels(found: mask_rcnn.DetectedInstances, size: tuple[int, int]) -> IntArray:
    """Return the label of each pixel (H, W), 0 for the background; of several instances the surest counts."""
    labels = np.zeros(size, np.int64)
    if found.masks.shape[-1]:
        masks = mask_rcnn.paste_masks(found.masks, found.boxes, size).cpu().numpy() >= 0.5
        for mask, label in reversed(list(zip(masks, found.labels.tolist(), strict=True))):
            labels[mask] = label
    return labels


def draw_tasks(rgb: Image, found: mask_rcnn.DetectedInstances, names: Sequence[str]) -> Image:
    """Return (2 H, 2 W, 3): classification, localization, semantic segmentation and instance segmentation."""
    scores: list[float] = found.scores.tolist()
    labels: list[int] = found.labels.tolist()
    best = {label: score for score, label in reversed(list(zip(scores, labels, strict=True)))}
    labelled, words = rgb.copy(), [f"{names[label - 1]} {best[label]:.2f}" for label in sorted(best)]
    if scores:
        _draw_box(labelled, found.boxes[0].tolist(), PERSON_COLOURS[labels[0] % len(PERSON_COLOURS)])
    semantic, categories = rgb.copy(), semantic_labels(found, (rgb.shape[0], rgb.shape[1]))
    for label in sorted(best):
        draw_tint(semantic, (categories == label).astype(np.float32), PERSON_COLOURS[label % len(PERSON_COLOURS)])
    shown: list[str] = [names[label - 1] for label in sorted(best)]
    where = [f"{names[labels[0] - 1]} {scores[0]:.2f}"] if scores else []
    panels: tuple[tuple[NDArray[np.uint8], list[str]], ...] = (
        (rgb.copy(), ["classification", *words]),
        (labelled, ["localization", *where]),
        (semantic, ["semantic segmentation", *shown]),
        (draw_instances(rgb, found, names), ["instance segmentation"]),
    )
    for canvas, lines in panels:
        draw_captions(canvas, lines)
    drawn = [canvas for canvas, _ in panels]
    return panel_grid([drawn[:2], drawn[2:]])


def step_images(
    rgb: Image, found: mask_rcnn.DetectedInstances, steps: mask_rcnn.Steps, names: Sequence[str]
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield a file name and an image for each step of the forward pass over one image."""
    high, wide = steps.sizes[0]
    small = np.asarray(cv2.resize(rgb, (wide, high)), np.uint8)
    padded = "x".join(map(str, reversed(steps.images.shape[-2:])))
    yield "1-resized", draw_title(small, f"1 resized to {wide}x{high}, padded to {padded}")
    yield "2-pyramid", _pyramid_image(steps)
    ratio = np.array([rgb.shape[1] / wide, rgb.shape[0] / high] * 2)
    yield "3-anchors", _anchor_image(rgb, steps, ratio)
    before, after, final = steps.rpn.before_nms[0], steps.rpn.after_nms[0], steps.rpn.proposals[0]
    for name, title, boxes in (
        ("4-proposals-before-nms", "4 moved and clipped, before NMS", before),
        ("5-proposals-after-nms", "5 after NMS on each level", after),
        ("6-proposals", "6 best of all levels", final),
    ):
        yield name, _candidate_image(rgb, boxes, title, ratio)
    yield "7-roi-features", _roi_image(small, steps)
    yield "8-masks", _mask_image(rgb, found, names)
    yield "9-instances", draw_title(draw_instances(rgb, found, names), f"9 found: {len(found.boxes)}")


def _pyramid_image(steps: mask_rcnn.Steps) -> Image:
    """Draw the mean over the channels of each level above the most probable anchor of each cell."""
    high, wide = steps.images.shape[-2:]
    size = round(_SIDE_PX * wide / high), _SIDE_PX
    tiles: list[NDArray[np.uint8]] = []
    for level, (grid, logits) in enumerate(zip(steps.pyramid, steps.rpn.objectness, strict=True), 2):
        cells = logits[0].sigmoid().reshape(*grid.shape[-2:], -1).amax(-1)
        mean, likely = _heat(grid[0].mean(0), size), _heat(cells, size)
        shape = f"{grid.shape[-1]}x{grid.shape[-2]}"
        tiles.append(
            np.vstack([draw_title(mean, f"P{level} {shape}"), draw_title(likely, f"objectness to {cells.max():.2f}")])
        )
    return np.hstack(tiles)


def _anchor_image(rgb: Image, steps: mask_rcnn.Steps, ratio: FloatArray) -> Image:
    """Draw the three anchors of each level's middle cell, and the number of all anchors."""
    canvas = rgb // 2
    lines: list[str] = ["3 anchors of the middle cell of each level"]
    for level, (grid, anchors) in enumerate(zip(steps.pyramid, steps.rpn.anchors, strict=True), 2):
        rows, columns = grid.shape[-2:]
        middle = ((rows // 2) * columns + columns // 2) * 3
        for box in anchors[middle : middle + 3].tolist():
            _draw_box(canvas, box * ratio, _LEVEL_COLOURS[level])
        lines.append(f"P{level}: {len(anchors)}")
    draw_captions(canvas, lines)
    return canvas


def _candidate_image(rgb: Image, candidates: mask_rcnn.Candidates, title: str, ratio: FloatArray) -> Image:
    """Draw the most probable boxes in the colour of their level, scaled to the image."""
    canvas = rgb // 2
    best = candidates.scores.sort(descending=True).indices[:_MAX_BOXES].flip(0)  # the best on top
    for box, level in zip(candidates.boxes[best].tolist(), candidates.levels[best].tolist(), strict=True):
        _draw_box(canvas, box * ratio, _LEVEL_COLOURS[level])
    counts = ", ".join(f"P{level} {int((candidates.levels == level).sum())}" for level in _LEVEL_COLOURS)
    shown = f"; the best {_MAX_BOXES} drawn" if len(candidates.boxes) > _MAX_BOXES else ""
    draw_captions(canvas, [f"{title}: {len(candidates.boxes)}{shown}", counts])
    return canvas


def _roi_image(small: NDArray[np.uint8], steps: mask_rcnn.Steps) -> Image:
    """Draw crops of the best proposals, and the mean over the channels of their maps."""
    boxes, scores, _ = steps.rpn.proposals[0]
    rows = zip(boxes[:_ROWS].tolist(), scores, steps.box_maps, steps.levels.tolist(), strict=False)
    tiles = [
        (box, f"objectness {score:.2f}", grid.mean(0), f"{grid.shape[-1]}x{grid.shape[-2]} of P{level}")
        for box, score, grid, level in rows
    ]
    return _tiles(small, tiles, "7 no proposals")


def _mask_image(rgb: Image, found: mask_rcnn.DetectedInstances, names: Sequence[str]) -> Image:
    """Draw crops of the best instances, and their masks."""
    rows = zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), found.masks, strict=True)
    tiles = [
        (box, f"{names[label - 1]} {score:.2f}", mask, f"mask {mask.shape[-1]}x{mask.shape[-2]}")
        for box, score, label, mask in list(rows)[:_ROWS]
        if mask.numel()
    ]
    return _tiles(rgb, tiles, "8 no masks")


def _tiles(rgb: Image, rows: Sequence[tuple[Sequence[float], str, Tensor, str]], without: str) -> Image:
    """Draw the crop of each box above its map, each with a title; `without` is the title if there are none."""
    size = _SIDE_PX, _SIDE_PX
    drawn = [
        np.vstack([draw_title(_cut(rgb, box, size), above), draw_title(_heat(grid, size), below)])
        for box, above, grid, below in rows
    ]
    return np.hstack(drawn) if drawn else draw_title(rgb // 2, without)


def _heat(values: Tensor, size: tuple[int, int]) -> Image:
    """Draw a map (h, w) in colours from its minimum to its maximum."""
    grid = values.detach().float().cpu().numpy()
    share = (grid - grid.min()) / max(float(grid.max() - grid.min()), 1e-12)
    colours = cv2.applyColorMap((share * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
    return np.asarray(cv2.resize(colours, size, interpolation=cv2.INTER_NEAREST), np.uint8)


def _cut(rgb: Image, box: Sequence[float], size: tuple[int, int]) -> Image:
    height, width = rgb.shape[:2]
    left, top = min(max(int(box[0]), 0), width - 1), min(max(int(box[1]), 0), height - 1)
    part = rgb[top : max(round(box[3]), top + 1), left : max(round(box[2]), left + 1)]
    return np.asarray(cv2.resize(part, size), np.uint8)


def _draw_box(canvas: Image, box: Sequence[float] | FloatArray, colour: Colour) -> None:
    x_min, y_min, x_max, y_max = box
    corners = np.array([[x_min, y_min], [x_max, y_min], [x_max, y_max], [x_min, y_max]], np.float64)
    draw_path(canvas, corners, colour, max(1, round(max(canvas.shape[:2]) / 400)))


_COLUMNS: dict[str, ColumnType] = {
    "image_id": int, "category_id": int, "score": float, "x": float, "y": float, "width": float, "height": float,
    "segmentation": str,
}  # fmt: skip


def results_from_instances(
    found: mask_rcnn.DetectedInstances, size: tuple[int, int], image_id: int | str, category_ids: Sequence[int]
) -> list[CocoResult]:
    """Return instances as COCO's results; `size` is height and width, `category_ids` are of labels 1, 2, ..."""
    masks: Sequence[BoolArray | None] = [None] * len(found.boxes)
    if found.masks.shape[-1]:
        masks = list(mask_rcnn.paste_masks(found.masks, found.boxes, size).cpu().numpy() >= 0.5)
    ids = [category_ids[label - 1] for label in found.labels.tolist()]
    rows = zip(ids, found.boxes.tolist(), found.scores.tolist(), masks, strict=True)
    return [coco_result(image_id, *row) for row in rows]


@dataclass(frozen=True)
class Segment(Task):
    """Find objects as boxes, categories and masks."""

    # weights as `load_mask_rcnn` takes them, None for people and hands, or a run of `sonjit train hand-masks`
    weights: str | None = None
    min_score: float = 0.5  # minimum confidence, 0 to 1
    # length to which the short side of an image is resized, in pixels; None for the one of the weights
    min_side: int | None = None
    device: str = "cpu"  # device, see `torch_device`
    tasks: bool = False  # draw each image as the four tasks, see `draw_tasks`
    ids: str | None = None  # COCO file whose images have the ids of the results; None for the indices of the images
    anonymise: Anonymise = "none"  # how people are hidden below drawings

    @property
    def files(self) -> tuple[str, ...]:
        """Weights, and the file of the ids."""
        return tuple(path for path in (self.weights, self.ids) if path is not None)

    def count_text(self, count: int) -> str:
        """Return a number of instances with their noun."""
        return pluralize(count, "instance")

    def open(self, *, is_stream: bool) -> "SegmentWorker":
        """Load the network, which treats every image as independent."""
        return SegmentWorker(self)

    def open_table(self, save: str, source: Source) -> RecordTable:
        """Open a file in COCO's results format, or rows of boxes and masks."""
        texts = self.ids is not None and not all(isinstance(item, int) for item in _ids_by_name(self.ids).values())
        columns = _COLUMNS | {"image_id": str} if texts else _COLUMNS
        return RecordTable(save, None, columns, _rows, partial(_set_image_id, self.ids))


class _Segmentation(NamedTuple):
    instances: mask_rcnn.DetectedInstances
    steps: mask_rcnn.Steps | None


class SegmentWorker(Worker[_Segmentation]):
    """Loaded network."""

    def __init__(self, task: Segment) -> None:
        super().__init__(task.anonymise)
        self._task = task
        self._device = torch_device(task.device)
        self._hands = self._network = None
        if task.weights is not None and is_hand_masks(task.weights):
            if task.min_side is not None:
                raise InputError("--min-side applies only to Mask R-CNN, not to hand-masks")
            self._hands = load_hand_masks(task.weights, min_score=task.min_score, device=self._device)
            categories = CATEGORIES
        else:
            side = task.min_side
            sides = {} if side is None else {"min_side": side, "max_side": side * 5 // 3}
            network, categories, *_ = mask_rcnn.load_mask_rcnn(task.weights, min_score=task.min_score, **sides)
            self._network = network.to(self._device)
        self._names, self._ids = [category.name for category in categories], [category.id for category in categories]

    def start(self, source: Source, outputs: Outputs, files: ExitStack) -> None:
        """Open table and drawing."""
        if self._hands is not None and outputs.figures is not None:
            raise InputError("--steps applies only to Mask R-CNN, not to hand-masks")
        self._source, self._steps = source, outputs.figures
        self._prints, self._lines = not outputs.paths, list[str]()
        self._table = self._drawing = None
        if outputs.save is not None:
            self._table = files.enter_context(self._task.open_table(outputs.save, source))
        if outputs.draw is not None:
            self._drawing = files.enter_context(self.open_drawing(outputs.draw, source, outputs))

    def process(self, frame: SourceFrame) -> _Segmentation:
        """Find the objects in an image."""
        if self._hands is not None:
            found, steps = self._hands.find(frame.rgb), None
        else:
            assert self._network is not None
            pixels = torch.from_numpy(frame.rgb).to(self._device).permute(2, 0, 1).float() / 255
            with torch.no_grad():
                (found,), steps = self._network.find_with_steps([pixels])
        if self._prints:
            self._lines += _lines(self._source.frame_source(frame.index) or str(frame.index), found, self._names)
        return _Segmentation(found, None if self._steps is None else steps)

    def count(self, item: _Segmentation) -> int:
        """Return the number of instances."""
        return len(item.instances.boxes)

    def write(self, frame: SourceFrame, item: _Segmentation) -> None:
        """Write the instances into table and drawing, and the steps of the first image into a folder."""
        found, rgb = item.instances, self.hidden.below(frame)
        if self._steps is not None and item.steps is not None:
            _draw_steps(Path(self._steps), rgb, found, item.steps, self._names)
            self._steps = None
        if self._table is not None:
            only = str(self._source.files[0]) if len(self._source.files) == 1 else None
            number = _number(self._task.ids, self._source.frame_source(frame.index) or only, frame.index)
            for record in results_from_instances(found, frame.rgb.shape[:2], number, self._ids):
                self._table.write(record)
        if self._drawing is not None:
            draw = draw_tasks if self._task.tasks else draw_instances
            self._drawing.write(draw(rgb, found, self._names), frame.time, index=frame.index, under=frame)

    def report(self, summary: Summary) -> None:
        """Add the instances in words, and a note on placeholder weights."""
        summary.lines = self._lines
        if self._task.weights == "demo":
            summary.notes.append("demo weights are placeholders for trying the command: they find nothing")


def _set_image_id(ids: str | None, record: Record, index: int, source: str | None) -> Record:
    """Return the record of one of several images."""
    return {**record, "image_id": _number(ids, source, index)}


def _rows(record: Record) -> list[Record]:
    return [{**record, **dict(zip(("x", "y", "width", "height"), record["bbox"], strict=True))}]


def _number(ids: str | None, source: str | None, index: int) -> int | str:
    """Return the id of an image: that of a COCO file, or else its index.

    Raises:
        InputError: The COCO file has no image of that name.
    """
    if ids is None:
        return index
    path, known = Path(source or ""), _ids_by_name(ids)
    names = ("/".join(path.parts[start:]) for start in range(len(path.parts)))
    found = next((known[name] for name in names if name in known), None)
    if found is None:
        raise InputError(f"--ids {ids} has no image {source or index}")
    return found


@cache
def _ids_by_name(path: str) -> dict[str, int | str]:
    data = read_json(Path(path))
    try:
        found: dict[str, int | str] = {str(image["file_name"]): image["id"] for image in data["images"]}
    except (KeyError, TypeError):
        found = {}
    if not found or not all(type(item) in (int, str) for item in found.values()):
        raise InputError(f"--ids {path}: no COCO file with file_name and id, a number or a text, of each image")
    return found


def _draw_steps(
    folder: Path, rgb: Image, found: mask_rcnn.DetectedInstances, steps: mask_rcnn.Steps, names: list[str]
) -> None:
    with atomic_folder(folder) as draft:
        for name, image in step_images(rgb, found, steps, names):
            (draft / f"{name}.png").write_bytes(encode_image(image, ".png"))


def _lines(name: str, found: mask_rcnn.DetectedInstances, names: list[str]) -> list[str]:
    return [
        f"{name}: {names[label - 1]} {score:.2f} at {', '.join(f'{edge:.0f}' for edge in box)}"
        for label, score, box in zip(found.labels.tolist(), found.scores.tolist(), found.boxes.tolist(), strict=True)
    ]
