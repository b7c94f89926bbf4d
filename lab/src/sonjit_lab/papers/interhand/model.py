"""Evaluate InterNet and RootNet in crops around the labelled hands, as the released code of InterHand2.6M does.

One crop contains both hands of a person if the weights were trained so, independent of their distance, and each hand
separately if they were trained on STB or RHD. Both hands are predicted in every crop, also absent ones: the protocols
evaluate which hands the network reports as present. Source: Moon et al. 2020, InterHand2.6M, and its released
evaluation.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sonjit._util import FloatArray, Image, InputError, data_files
from sonjit.geometry.boxes import RotatedBox, crop_matrix
from sonjit.geometry.cameras import Intrinsics, assumed_camera
from sonjit_lab.datasets import Instance, Sample
from sonjit_lab.datasets.sample import ordered_hand
from sonjit_lab.evaluation.models import ModelChoice
from sonjit_lab.evaluation.predictions import Mode, Model, Prediction
from sonjit_lab.networks.registry import required_checkpoint
from sonjit_lab.papers.interhand import internet
from sonjit_lab.papers.interhand.lifter import image_crops, load_internet, load_rootnet, pairs_of_hands
from sonjit_lab.papers.interhand.rootnet import depth_of_box

_MM = 1000.0


class CropFile:
    """Boxes and depths from a file in the form of RootNet's released results, a JSON list of records.

    They have `bbox` [x, y, width, height] in pixels, the area to crop, already square and enlarged; `annot_id`, the
    set's number of the annotation, or `sample`, the sample's id in Sonjit, with `side` if each hand has its own crop;
    and optionally `abs_depth` in mm, of the right and the left root, or of the only one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        records: Any = data_files.read_json(path)
        if not isinstance(records, list) or not records:
            raise InputError(f"--boxes {path}: must be a JSON list of records with annot_id (or sample) and bbox")
        self._by_id: dict[tuple[str, str | None], tuple[RotatedBox, FloatArray | None]] = {}
        for number, record in enumerate(records):
            name = record.get("annot_id", record.get("sample")) if isinstance(record, dict) else None
            if name is None:
                raise InputError(f"--boxes {path}: record {number} has neither annot_id nor sample")
            self._by_id[str(name), record.get("side")] = _crop_record(record, f"--boxes {path}: record {number}")

    def of(
        self, sample: Sample, group: Mapping[internet.Side, Instance], *, is_only: bool
    ) -> tuple[RotatedBox, FloatArray | None]:
        """Return box and depths (2,) of the hands of one crop; records of the image apply if it has no others."""
        of_hands = [value.extra.get("annotation_id") for value in group.values()]
        of_image = [sample.tags.get("annotation_id"), sample.id]
        sides: list[internet.Side | None] = list(group) if len(group) == 1 else []
        sides += [None] if is_only else []
        keys = [*((str(name), None) for name in of_hands), *((str(name), side) for side in sides for name in of_image)]
        for key in keys:
            if key in self._by_id:
                return self._by_id[key]
        side_names = "" if is_only else f", {', '.join(group)}"
        names = " or ".join(f"{name}{side_names}" for name in (*of_hands, *of_image) if name is not None)
        raise InputError(f"--boxes {self._path}: no record of {names}")


class InterNetModel(Model):
    """InterNet (`load_internet`) in the boxes of a `CropFile` or of the labels.

    Root depths come from the file of boxes, else from RootNet (`load_rootnet`) in each hand's own labelled box, else
    from the labels. If both hands are visible, each keeps its own depth, and the network predicts the left root
    relative to the right one.
    """

    def __init__(
        self,
        weights: str,
        *,
        layout: str | None = None,
        root_weights: str | None = None,
        root_input_scale: float | None = None,
        boxes: Path | None,
        device: torch.device,
    ) -> None:
        self._internet = load_internet(weights, layout).to(device).eval()
        self._layout = self._internet.layout
        rootnet = None if root_weights is None else load_rootnet(root_weights, root_input_scale)
        self._rootnet = None if rootnet is None else rootnet.to(device).eval()
        self._boxes = None if boxes is None else CropFile(boxes)
        self._device = device

    @torch.inference_mode()
    def find(self, sample: Sample, rgb: Image, mode: Mode) -> list[Prediction]:
        camera = assumed_camera(sample.width, sample.height) if sample.camera is None else sample.camera.intrinsics
        groups = _groups(sample, self._layout)
        is_only = len(groups) == 1
        return [item for group in groups for item in self._find(sample, rgb, group, camera, is_only=is_only)]

    def _find(
        self, sample: Sample, rgb: Image, group: Mapping[internet.Side, int], camera: Intrinsics, *, is_only: bool
    ) -> Iterable[Prediction]:
        hands: dict[internet.Side, Instance] = {side: sample.instances[number] for side, number in group.items()}
        given = None
        if self._boxes:
            area, given = self._boxes.of(sample, hands, is_only=is_only)
        elif box := internet.box_of_hands(hands.values(), sample.box if len(hands) > 1 else None):
            area = internet.area_of_box(box)
        else:
            return
        space = self._internet.space
        crops = image_crops(rgb, [area], space.size_px).to(self._device)
        outputs = self._internet(crops)
        predicted = internet.two_hands_from_outputs(
            outputs, crop_matrix(area, space.size_px, space.size_px)[None], space
        )
        right, left = outputs["hand_type"][0].cpu().double().tolist()
        depths = self._depths_mm(rgb, hands, camera) if given is None else given
        are_labels = given is None and self._rootnet is None
        joints = internet.joints_in_camera(predicted, depths[None], self._layout, camera)[0] / _MM
        offset = _offset_m(predicted, depths[0], self._layout, camera)
        for index, side in enumerate(internet.SIDES):
            yield Prediction(
                side=side,
                score=(right, left)[index],
                hand_type=(right, left),
                keypoints_px=self._layout.mediapipe21(predicted.xy_px[0], side),
                keypoints_m=self._layout.mediapipe21(joints, side),
                placed=True,
                root_depth_m=None if are_labels else float(depths[index]) / _MM,
                root_offset_m=offset if side == "Left" else None,
                instance=group.get(side),
            )

    def _depths_mm(self, rgb: Image, hands: Mapping[internet.Side, Instance], camera: Intrinsics) -> FloatArray:
        """Return depths (2,) of the right and the left root, NaN where unknown, by RootNet or the labels."""

        def depth(hand: Instance) -> float:
            if self._rootnet is not None:
                return self._rootnet_mm(rgb, hand, camera)
            points = (ordered_hand(hand) or hand).labelled_m
            return np.nan if points is None else float(points[list(self._layout.root_keypoints), 2].mean()) * _MM

        return np.array([depth(hands[side]) if side in hands else np.nan for side in internet.SIDES])

    def _rootnet_mm(self, rgb: Image, hand: Instance, camera: Intrinsics) -> float:
        assert self._rootnet is not None
        if (box := internet.box_of_hands([hand])) is None:
            return np.nan
        area = internet.area_of_box(box)
        crops = self._rootnet.normalise_crops(image_crops(rgb, [area], self._rootnet.side).to(self._device))
        at_box = depth_of_box((area.width, area.height), (camera.fx, camera.fy))
        return float(self._rootnet(crops, crops.new_tensor([[at_box]]))["coord"][0, 2])


def _groups(sample: Sample, layout: internet.HandLayout) -> list[Mapping[internet.Side, int]]:
    """Return the hands of each crop by side, with their indices in the sample, if their position is known."""
    hands: list[tuple[internet.Side, int]] = []
    points: list[FloatArray | None] = []
    for number, instance in enumerate(sample.instances):
        labelled = _labelled_px(instance)
        if (
            instance.kind == "hand"
            and instance.side is not None
            and not (labelled is None and instance.box is sample.box is None)
        ):
            hands.append((instance.side, number))
            points.append(labelled)
    if not layout.both_in_a_crop:
        return [{side: number} for side, number in hands]
    if len({side for side, _ in hands}) == len(hands):
        return [dict(hands)] if hands else []
    located = [(hand, item) for hand, item in zip(hands, points, strict=True) if item is not None]  # of several people
    pairs = pairs_of_hands([item for _, item in located], [hand[0] for hand, _ in located])
    return [{side: located[index][0][1] for side, index in pair.items()} for pair in pairs]


def _labelled_px(hand: Instance) -> FloatArray | None:
    """Return the joints (K, 2) that are labelled in the image."""
    points = hand.labelled_px
    return None if points is None else points[np.isfinite(points).all(1)]


def _offset_m(
    predicted: internet.TwoHands, right_mm: float, layout: internet.HandLayout, camera: Intrinsics
) -> FloatArray:
    """Return the vector (3,) from the right root to the left one, with the predicted difference of depths."""
    joints = internet.joints_in_camera(
        predicted, np.array([[right_mm, right_mm + predicted.rel_root_mm[0]]]), layout, camera
    )[0]
    right, left = (joints[layout.root(side)] for side in internet.SIDES)
    return (left - right) / _MM


def _crop_record(record: Mapping[str, Any], named: str) -> tuple[RotatedBox, FloatArray | None]:
    box, depth = record.get("bbox"), record.get("abs_depth")
    try:
        x, y, width, height = (float(value) for value in box or ())
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{named}: bbox is {box}; must be [x, y, width, height] in pixels") from None
    if not (width > 0 and height > 0):
        raise InputError(f"{named}: bbox is {width:g} x {height:g} pixels; width and height must be above 0")
    area = RotatedBox(x + width / 2, y + height / 2, width, height)
    if depth is None:
        return area, None
    try:
        depths = np.broadcast_to(np.asarray(depth, np.float64).ravel(), (2,)).copy()
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{named}: abs_depth is {depth}; must be one number, or one per root") from None
    return area, depths


def open_internet(choice: ModelChoice, device: torch.device) -> InterNetModel:
    """Open InterNet, with RootNet if the choice has its weights."""
    return InterNetModel(
        required_checkpoint("internet", choice.weights),
        layout=choice.layout,
        root_weights=choice.root_weights,
        root_input_scale=choice.root_input_scale,
        boxes=None if choice.boxes is None else Path(choice.boxes),
        device=device,
    )
