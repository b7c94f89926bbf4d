"""InterNet and RootNet under evaluation, as the released code of InterHand2.6M evaluates them.

One crop holds both hands of a person where the weights were trained so, whatever lies between them, and each hand by
itself where they were trained on STB or RHD. Both hands are predicted in every crop, also that which is not there: the
protocols evaluate which hands the network says are there.

Source: Moon et al. 2020, InterHand2.6M, and its released evaluation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sonjit.arrays import FloatArray, Image
from sonjit.datasets import Instance, Sample
from sonjit.datasets.reading import load_json
from sonjit.errors import InputError
from sonjit.evaluation.predictions import Mode, Prediction, known_points
from sonjit.geometry.boxes import RotatedBox, crop_matrix
from sonjit.geometry.cameras import Intrinsics, assumed_camera
from sonjit.lifting.lifter import image_crops, load_internet, load_rootnet, pairs_of_hands
from sonjit.networks.hands3d.internet import (
    SIDES,
    HandLayout,
    Side,
    TwoHands,
    area_of_box,
    box_of_joints,
    joints_in_camera,
    two_hands_from_outputs,
)
from sonjit.networks.hands3d.rootnet import depth_of_box
from sonjit.results import Box

_MM = 1000.0


@dataclass(frozen=True)
class GivenBox:
    """What a file says of one crop.

    Attributes:
        area: the square to cut out.
        depths_mm: (2,) of the right and the left root; None where the file gives none.
    """

    area: RotatedBox
    depths_mm: FloatArray | None


class GivenBoxes:
    """Boxes and depths from a file, as the released results of RootNet have them.

    A JSON list of records: `bbox` [x, y, width, height] in pixels, the area to cut out, already square and enlarged;
    `annot_id`, the set's number of the annotation, or `sample`, the name that Sonjit's data set gives the image, with
    `side`, Right or Left, where each hand is seen by itself; and where it is known `abs_depth` in mm, of the right and
    the left root, or of the only one.

    Raises:
        InputError: a missing or damaged file, or a record that lacks something.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        records: Any = load_json(path)
        if not isinstance(records, list) or not records:
            raise InputError(f"--boxes {path}: give a JSON list of records with annot_id (or sample) and bbox")
        self._by_id: dict[tuple[str, str | None], GivenBox] = {}
        for number, one in enumerate(records):
            name = one.get("annot_id", one.get("sample")) if isinstance(one, dict) else None
            if name is None:
                raise InputError(f"--boxes {path}: record {number} has neither annot_id nor sample")
            self._by_id[str(name), one.get("side")] = _given_box(one, f"--boxes {path}: record {number}")

    def of(self, sample: Sample, group: Mapping[Side, Instance], *, alone: bool) -> GivenBox:
        """Of hands that are seen in one crop.

        Args:
            sample: the image.
            group: the hands.
            alone: the image has no others, so that what the file says of the image is of them.

        Raises:
            InputError: the file has no record of them.
        """
        of_hands = [one.extra.get("annotation_id") for one in group.values()]
        of_image = [sample.tags.get("annotation_id"), sample.id]
        sides: list[Side | None] = list(group) if len(group) == 1 else []
        sides += [None] if alone else []
        keys = [*((str(name), None) for name in of_hands), *((str(name), side) for side in sides for name in of_image)]
        for key in keys:
            if key in self._by_id:
                return self._by_id[key]
        whose = "" if alone else f", {', '.join(group)}"
        names = " or ".join(f"{name}{whose}" for name in (*of_hands, *of_image) if name is not None)
        raise InputError(f"--boxes {self._path}: no record of {names}")


class InterNetModel:
    """InterNet in given boxes, or in those of the labels.

    Depths of the roots are those that come with the boxes; else RootNet's, in each hand's own labelled box; else the
    labels'. Where both hands are seen, each keeps its own depth, and the left root's place from the right one is the
    network's.

    Args:
        weights: see `load_internet`.
        layout: likewise.
        root_weights: see `load_rootnet`; None for none.
        root_input_scale: likewise.
        boxes: file of `GivenBoxes`; None for the labels' boxes.
        device: of both networks.
    """

    modes: tuple[Mode, ...] = ("ground-truth boxes",)

    def __init__(
        self,
        weights: str,
        *,
        layout: str | None = None,
        root_weights: str | None = None,
        root_input_scale: float | None = None,
        boxes: Path | None = None,
        device: torch.device,
    ) -> None:
        self._internet = load_internet(weights, layout).to(device).eval()
        self._layout = self._internet.layout
        rootnet = None if root_weights is None else load_rootnet(root_weights, root_input_scale)
        self._rootnet = None if rootnet is None else rootnet.to(device).eval()
        self._boxes = None if boxes is None else GivenBoxes(boxes)
        self._device = device

    def check(self, samples: Iterable[Sample]) -> None:
        """It takes any image."""

    def begin(self, mode: Mode) -> None:
        """Nothing is kept from image to image."""

    def close(self) -> None:
        """Nothing is held."""

    @torch.inference_mode()
    def find(self, sample: Sample, rgb: Image, mode: Mode) -> list[Prediction]:
        """The hands of an image (H, W, 3), placed before its camera."""
        del mode
        camera = assumed_camera(sample.width, sample.height) if sample.camera is None else sample.camera.intrinsics
        groups = _groups(sample, self._layout)
        alone = len(groups) == 1
        return [one for group in groups for one in self._find(sample, rgb, group, camera, alone=alone)]

    def _find(
        self, sample: Sample, rgb: Image, group: Mapping[Side, int], camera: Intrinsics, *, alone: bool
    ) -> Iterable[Prediction]:
        hands: dict[Side, Instance] = {side: sample.instances[number] for side, number in group.items()}
        given = self._boxes.of(sample, hands, alone=alone) if self._boxes else None
        area = given.area if given else _area(hands.values(), sample.box if len(hands) > 1 else None)
        if area is None:
            return
        space = self._internet.space
        crops = image_crops(rgb, [area], space.size_px).to(self._device)
        outputs = self._internet(crops)
        seen = two_hands_from_outputs(outputs, crop_matrix(area, space.size_px, space.size_px)[None], space)
        right, left = outputs["hand_type"][0].cpu().double().tolist()
        depths, are_labels = self._depths_mm(rgb, hands, camera, given)
        joints = joints_in_camera(seen, depths[None], self._layout, camera)[0] / _MM
        offset = _offset_m(seen, depths[0], self._layout, camera)
        for place, side in enumerate(SIDES):
            yield Prediction(
                side=side,
                score=(right, left)[place],
                hand_type=(right, left),
                keypoints_px=self._layout.mediapipe21(seen.xy_px[0], side),
                keypoints_m=self._layout.mediapipe21(joints, side),
                placed=True,
                root_depth_m=None if are_labels else float(depths[place]) / _MM,
                root_offset_m=offset if side == "Left" else None,
                instance=group.get(side),
            )

    def _depths_mm(
        self, rgb: Image, hands: Mapping[Side, Instance], camera: Intrinsics, given: GivenBox | None
    ) -> tuple[FloatArray, bool]:
        """(2,) of the right and the left root, NaN where unknown; and whether they are the labels'."""
        if given is not None and given.depths_mm is not None:
            return given.depths_mm, False
        depths = np.full(2, np.nan)
        for place, side in enumerate(SIDES):
            if (one := hands.get(side)) is None:
                continue
            depths[place] = (
                _labelled_depth_mm(one, self._layout) if self._rootnet is None else self._rootnet_mm(rgb, one, camera)
            )
        return depths, self._rootnet is None

    def _rootnet_mm(self, rgb: Image, hand: Instance, camera: Intrinsics) -> float:
        assert self._rootnet is not None
        if (area := _area([hand], None)) is None:
            return np.nan
        crops = self._rootnet.normalised(image_crops(rgb, [area], self._rootnet.side).to(self._device))
        at_box = depth_of_box((area.width, area.height), (camera.fx, camera.fy))
        return float(self._rootnet(crops, crops.new_tensor([[at_box]]))["coord"][0, 2])


def _groups(sample: Sample, layout: HandLayout) -> list[Mapping[Side, int]]:
    """Hands that are seen in one crop, by side, with their numbers in the sample; those of which it is known where."""
    hands: list[tuple[Side, int]] = []
    points: list[FloatArray | None] = []
    for number, one in enumerate(sample.instances):
        labelled = _labelled_px(one)
        if one.kind == "hand" and one.side is not None and not (labelled is None and one.box is sample.box is None):
            hands.append((one.side, number))
            points.append(labelled)
    if not layout.both_in_a_crop:
        return [{side: number} for side, number in hands]
    if len({side for side, _ in hands}) == len(hands):
        return [dict(hands)] if hands else []
    known = [(hand, one) for hand, one in zip(hands, points, strict=True) if one is not None]  # of several people
    pairs = pairs_of_hands([one for _, one in known], [hand[0] for hand, _ in known])
    return [{side: known[index][0][1] for side, index in pair.items()} for pair in pairs]


def _area(hands: Iterable[Instance], box: Box | None) -> RotatedBox | None:
    """The square around hands: around their boxes where the set gives them, else around their joints."""
    hands = list(hands)
    boxes = [one.box for one in hands if one.box] if box is None else [box]
    if boxes and (box is not None or len(boxes) == len(hands)):
        low, high = np.min(boxes, 0)[:2], np.max(boxes, 0)[2:]
        (cx, cy), (width, height) = ((low + high) / 2).tolist(), (high - low).tolist()
        return area_of_box(RotatedBox(cx, cy, width, height))
    points = [points for one in hands if (points := _labelled_px(one)) is not None]
    return area_of_box(box_of_joints(np.concatenate(points))) if points else None


def _labelled_px(hand: Instance) -> FloatArray | None:
    """(K, 2) those of its joints that are labelled in the image."""
    points = known_points(hand.keypoints_px, hand.valid_px)
    return None if points is None else points[np.isfinite(points).all(1)]


def _labelled_depth_mm(hand: Instance, layout: HandLayout) -> float:
    points = known_points(hand.keypoints_m, hand.valid_m)
    return np.nan if points is None else float(points[list(layout.root_keypoints), 2].mean()) * _MM


def _offset_m(seen: TwoHands, right_mm: float, layout: HandLayout, camera: Intrinsics) -> FloatArray:
    """(3,) from the right root to the left one, whose depth is the right one's and what lies between them."""
    joints = joints_in_camera(seen, np.array([[right_mm, right_mm + seen.rel_root_mm[0]]]), layout, camera)[0]
    right, left = (joints[layout.root(side)] for side in SIDES)
    return (left - right) / _MM


def _given_box(record: Mapping[str, Any], named: str) -> GivenBox:
    box, depth = record.get("bbox"), record.get("abs_depth")
    try:
        x, y, width, height = (float(value) for value in box or ())
    except (TypeError, ValueError):
        raise InputError(f"{named}: bbox is {box}; give [x, y, width, height] in pixels") from None
    if not (width > 0 and height > 0):
        raise InputError(f"{named}: bbox is {width:g} x {height:g} pixels; give an area that can be cut out")
    area = RotatedBox(x + width / 2, y + height / 2, width, height)
    if depth is None:
        return GivenBox(area, None)
    try:
        depths = np.broadcast_to(np.asarray(depth, np.float64).ravel(), (2,)).copy()
    except ValueError:
        raise InputError(f"{named}: abs_depth is {depth}; give one number, or the right and the left root's") from None
    return GivenBox(area, depths)
