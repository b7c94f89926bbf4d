"""Find objects as masks with PyTorch: Mask R-CNN with its steps, and hands, held objects and arms by `hand-masks`.

For `hand-masks`, Sonjit's hand detector proposes hands.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonjit._util import Float32Array, FloatArray, Image, InputError, files
from sonjit.detectors.create import create_detector
from sonjit.engines.devices import torch_device
from sonjit.geometry.boxes import RotatedBox, box_iou, crop, crop_matrix, inverse_affine
from sonjit.media.drawing.heat_maps import draw_title
from sonjit.media.drawing.instances import PERSON_COLOURS
from sonjit.media.drawing.labels import draw_captions
from sonjit.media.sources.images import encode_image
from sonjit.segmentation.instances import Instances, draw_box, draw_instances
from sonjit.segmentation.task import Segment
from sonjit_lab.networks import checkpoints, registry
from sonjit_lab.networks.modes import eval_mode
from sonjit_lab.papers.mask_rcnn import network as mask_rcnn
from sonjit_lab.papers.mask_rcnn.files import load_mask_rcnn
from sonjit_lab.papers.mediapipe_hands.network import PARTS, HandMaskNetwork, wide_box

CATEGORIES: Final = tuple(
    mask_rcnn.Category(i, name) for i, name in enumerate(("left_hand", "right_hand", "arm", "object"), 1)
)
_LABELS: Final = {"Left": 1, "Right": 2, "arm": 3, "object": 4}
_ARM_SCALE: Final = 1.6  # side of the crop for arms, which reach farther, relative to the network's crop
_MASK_SIDE: Final = 56
_MIN_SHARE: Final = 0.01  # least share of a crop that an arm or an object covers
_SAME: Final = 0.5  # IoU of boxes from which two objects or arms are one, seen from two hands
_LEVEL_COLOURS = {level: PERSON_COLOURS[level - 2] for level in range(2, 7)}
_MAX_BOXES = 200  # more boxes would hide the image
_MAX_HANDS = 20  # hands whose masks are computed
_SIDE_PX = 160  # side of the small images in a row
_ROWS = 6  # number of instances with maps and masks


class HandMaskFinder:
    """Find hands with a score of at least `min_score`, held objects and arms, with a network."""

    categories: Sequence[tuple[int, str]] = CATEGORIES

    def __init__(self, network: HandMaskNetwork, *, min_score: float) -> None:
        self._network, self._min_score = network, min_score
        self._detector = create_detector("hands", max_instances=_MAX_HANDS, static_image=True)

    @torch.no_grad()
    def find(self, rgb: Image) -> Instances:
        """Return the instances in an image (H, W, 3), uint8 RGB, best first."""
        candidates: list[_Candidate] = []
        for hand in self._detector.detect(rgb):
            near = wide_box(hand.keypoints)
            far = near._replace(width=near.width * _ARM_SCALE, height=near.height * _ARM_SCALE)
            masks = self._read(rgb, near)
            arm = self._read(rgb, far)["arm"]
            for label, mask, box, share in (
                (_LABELS[hand.handedness], masks["hand"], near, 0.0),
                (_LABELS["object"], masks["object"], near, _MIN_SHARE),
                (_LABELS["arm"], arm, far, _MIN_SHARE),
            ):
                inside = mask >= 0.5
                if not inside.any() or inside.mean() < share:
                    continue
                score = hand.score * float(mask[inside].mean())
                placed = mask_in_image(mask, box, rgb.shape[:2])
                if placed is not None and score >= self._min_score:
                    candidates.append(_Candidate(score, label, *placed))
        return _instances(_without_duplicates(sorted(candidates, key=lambda item: -item.score)))

    def _read(self, rgb: Image, box: RotatedBox) -> dict[str, Float32Array]:
        """Return the probabilities of each part's pixels in a crop."""
        side = self._network.size
        image = torch.from_numpy(np.asarray(crop(rgb, box, side, side), np.uint8))
        with eval_mode(self._network):
            outputs = self._network(image.permute(2, 0, 1)[None].to(self._network.device) / 255)
        masks = outputs["masks"][0].sigmoid().cpu().numpy()
        return dict(zip(PARTS, masks, strict=True))


class _Candidate(NamedTuple):
    """One instance: its score and label, its box in the image (4,), and its mask in the box."""

    score: float
    label: int
    bounds: Float32Array
    mask: Float32Array


def mask_in_image(
    mask: Float32Array, box: RotatedBox, size: tuple[int, int]
) -> tuple[Float32Array, Float32Array] | None:
    """Move a crop's mask (h, w) into an image: its upright box (4,) and mask (56, 56); None if it is outside."""
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


def _without_duplicates(candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """Return the instances without objects and arms that a better one repeats, which another hand proposed."""
    kept: list[_Candidate] = []
    for item in candidates:
        is_hand = item.label in (_LABELS["Left"], _LABELS["Right"])
        if is_hand or not any(item.label == other.label and _iou(item, other) >= _SAME for other in kept):
            kept.append(item)
    return kept


def _iou(a: _Candidate, b: _Candidate) -> float:
    first, second = ((float(x0), float(y0), float(x1), float(y1)) for x0, y0, x1, y1 in (a.bounds, b.bounds))
    return box_iou(first, second)


def _instances(candidates: Sequence[_Candidate]) -> Instances:
    return Instances(
        np.array([item.bounds for item in candidates], np.float32).reshape(-1, 4),
        np.array([item.score for item in candidates], np.float32),
        np.array([item.label for item in candidates], np.int64),
        np.array([item.mask for item in candidates], np.float32).reshape(-1, _MASK_SIDE, _MASK_SIDE),
    )


class MaskRCNNFinder:
    """Find instances with Mask R-CNN, see `load_mask_rcnn`, at the weights' or another short side in pixels."""

    def __init__(self, weights: str | None, min_score: float, min_side: int | None, device: torch.device) -> None:
        sides = {} if min_side is None else {"min_side": min_side, "max_side": min_side * 5 // 3}
        network, categories, *_ = load_mask_rcnn(weights, min_score=min_score, **sides)
        self.categories: Sequence[tuple[int, str]] = categories
        self._network, self._is_bundled = network.to(device), weights is None

    def find(self, rgb: Image) -> Instances:
        """Return the instances in an image (H, W, 3), uint8 RGB, best first."""
        return self._find(rgb)[0]

    def draw_steps(self, folder: Path, rgb: Image, names: Sequence[str]) -> None:
        """Write an image for each step on an image (H, W, 3), uint8 RGB. `names` are of labels 1, 2, ..."""
        draw_steps(folder, rgb, *self._find(rgb), names)

    @torch.no_grad()
    def _find(self, rgb: Image) -> tuple[Instances, mask_rcnn.Steps]:
        """Return the instances and the intermediate steps."""
        pixels = torch.from_numpy(rgb).to(self._network.device).permute(2, 0, 1).float() / 255
        (outputs,), steps = self._network.find_with_steps([pixels])
        instances = instances_from(outputs)
        return instances.without_repeats() if self._is_bundled else instances, steps


def instances_from(outputs: mask_rcnn.DetectedInstances) -> Instances:
    """Return instances of the network as arrays."""
    return Instances(*(values.cpu().numpy() for values in outputs))


def open_finder(task: Segment) -> MaskRCNNFinder | HandMaskFinder:
    """Load Mask R-CNN or `hand-masks`."""
    place = torch_device(task.device)
    if task.weights is None or not is_hand_masks(task.weights):
        return MaskRCNNFinder(task.weights, task.min_score, task.min_side, place)
    for option, value in (("--min-side", task.min_side), ("--steps", task.steps)):
        if value:
            raise InputError(f"{option} applies only to Mask R-CNN, not to hand-masks")
    return load_hand_masks(task.weights, min_score=task.min_score, device=place)


def load_hand_masks(path: str | Path, *, min_score: float = 0.5, device: str | torch.device = "cpu") -> HandMaskFinder:
    """Load a finder from a run of `sonjit train hand-masks`, its weights, or "demo" for placeholder weights."""
    network = registry.create_network("hand-masks", path)
    assert isinstance(network, HandMaskNetwork)
    return HandMaskFinder(network.eval().to(device), min_score=min_score)


def is_hand_masks(path: str | None) -> bool:
    """Return whether a path is a run of `sonjit train hand-masks` or the weights of one."""
    file = Path(path or "")
    saved = checkpoints.saved_network(file / checkpoints.WEIGHTS if file.is_dir() else file)
    return saved is not None and saved.name == "hand-masks"


def step_images(
    rgb: Image, instances: Instances, steps: mask_rcnn.Steps, names: Sequence[str]
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield a file name and an RGB image for each step of the forward pass over one image (H, W, 3)."""
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
    yield "8-masks", _mask_image(rgb, instances, names)
    yield "9-instances", draw_title(draw_instances(rgb, instances, names), f"9 found: {len(instances.boxes)}")


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
            draw_box(canvas, box * ratio, _LEVEL_COLOURS[level])
        lines.append(f"P{level}: {len(anchors)}")
    draw_captions(canvas, lines)
    return canvas


def _candidate_image(rgb: Image, candidates: mask_rcnn.Candidates, title: str, ratio: FloatArray) -> Image:
    """Draw the most probable boxes in the colour of their level, scaled to the image."""
    canvas = rgb // 2
    best = candidates.scores.sort(descending=True).indices[:_MAX_BOXES].flip(0)  # the best on top
    for box, level in zip(candidates.boxes[best].tolist(), candidates.levels[best].tolist(), strict=True):
        draw_box(canvas, box * ratio, _LEVEL_COLOURS[level])
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


def _mask_image(rgb: Image, instances: Instances, names: Sequence[str]) -> Image:
    """Draw crops of the best instances, and their masks."""
    rows = zip(
        instances.boxes.tolist(), instances.scores.tolist(), instances.labels.tolist(), instances.masks, strict=True
    )
    tiles = [
        (box, f"{names[label - 1]} {score:.2f}", mask, f"mask {mask.shape[-1]}x{mask.shape[-2]}")
        for box, score, label, mask in list(rows)[:_ROWS]
        if mask.size
    ]
    return _tiles(rgb, tiles, "8 no masks")


def _tiles(rgb: Image, rows: Sequence[tuple[Sequence[float], str, Tensor | Float32Array, str]], without: str) -> Image:
    """Draw the crop of each box above its map, each with a title; `without` is the title if there are none."""
    size = _SIDE_PX, _SIDE_PX
    drawn = [
        np.vstack([draw_title(_cut(rgb, box, size), above), draw_title(_heat(grid, size), below)])
        for box, above, grid, below in rows
    ]
    return np.hstack(drawn) if drawn else draw_title(rgb // 2, without)


def _heat(values: Tensor | Float32Array, size: tuple[int, int]) -> Image:
    """Draw a map (h, w) in colours from its minimum to its maximum."""
    grid = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, np.float32)
    share = (grid - grid.min()) / max(float(grid.max() - grid.min()), 1e-12)
    colours = cv2.applyColorMap((share * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
    return np.asarray(cv2.resize(colours, size, interpolation=cv2.INTER_NEAREST), np.uint8)


def _cut(rgb: Image, box: Sequence[float], size: tuple[int, int]) -> Image:
    height, width = rgb.shape[:2]
    left, top = min(max(int(box[0]), 0), width - 1), min(max(int(box[1]), 0), height - 1)
    part = rgb[top : max(round(box[3]), top + 1), left : max(round(box[2]), left + 1)]
    return np.asarray(cv2.resize(part, size), np.uint8)


def draw_steps(folder: Path, rgb: Image, instances: Instances, steps: mask_rcnn.Steps, names: Sequence[str]) -> None:
    """Write an image of each step of the forward pass over one image (H, W, 3) into a folder."""
    with files.atomic_folder(folder) as draft:
        for name, image in step_images(rgb, instances, steps, names):
            (draft / f"{name}.png").write_bytes(encode_image(image, ".png"))
