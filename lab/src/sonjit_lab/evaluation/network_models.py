"""Evaluate networks of the registry on full images or in crops around the labelled hands.

InterNet and RootNet are evaluated as the released code of InterHand2.6M does. One crop contains both hands of a person
if the weights were trained so, independent of their distance, and each hand separately if they were trained on STB or
RHD. Both hands are predicted in every crop, also absent ones: the protocols evaluate which hands the network reports as
present. Source: Moon et al. 2020, InterHand2.6M, and its released evaluation.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonjit._util import FloatArray, Image, InputError, data_files
from sonjit.geometry.boxes import RotatedBox, box_from_corners, clamped_box, crop_matrix, square_box
from sonjit.geometry.cameras import Intrinsics, assumed_camera
from sonjit.results import Box
from sonjit.segmentation.instances import Instances
from sonjit_lab.datasets import Instance, Sample
from sonjit_lab.datasets.sample import HAND_SKELETON, frames_around, ordered_hand
from sonjit_lab.evaluation.predictions import Mode, Model, Prediction, known_points
from sonjit_lab.explain.classes import LocalizeBy, localize_classes
from sonjit_lab.explain.mask_networks import CATEGORIES, instances_from, load_hand_masks
from sonjit_lab.lifting.lifter import image_crops, load_internet, load_rootnet, pairs_of_hands
from sonjit_lab.meshes.hand_mesh import Sight
from sonjit_lab.meshes.mano_networks import box_around_hand, frame_crop, hand_crop, load_deformer, load_handoccnet
from sonjit_lab.networks import internet
from sonjit_lab.networks.classifiers import Classifier, View
from sonjit_lab.networks.deformer import GAP, box_around, rotate_to_camera
from sonjit_lab.networks.keypoint_detector import KeypointDetector
from sonjit_lab.networks.mask_rcnn.files import load_mask_rcnn
from sonjit_lab.networks.mask_rcnn.mask_rcnn import Category
from sonjit_lab.networks.registry import required_checkpoint
from sonjit_lab.networks.rootnet import depth_of_box

_CLASSES = 5
_MIN_VISIBLE = 0.5  # probability from which a keypoint counts as visible
_MIN_SCORE = 0.05  # minimum score of instances: that of Mask R-CNN
_BOX_ENLARGEMENT = 1.5  # relative to the data set's box, as in HandOccNet's evaluation on HO-3D
_CACHED_FRAMES = 1024  # encoded frames: a window reaches 30 to each side
_MIRROR = np.array([-1.0, 1.0, 1.0])
_MM = 1000.0


class ClassifierModel(Model):
    """Classifier that predicts its five most probable classes with boxes.

    `localize_by`: source of the boxes; None uses its maps, or backprop if it has none; `view`: None uses that of its
    training. The attribute `supervision` is weak for training on classes only, box for labelled boxes.
    """

    def __init__(
        self, classifier: Classifier, localize_by: LocalizeBy | None, view: View | None, device: torch.device
    ) -> None:
        has_maps = classifier.pooling is not None
        self._by: LocalizeBy = localize_by or ("cam" if has_maps else "backprop")
        self._view: View = view or classifier.view
        if not has_maps and self._by != "backprop":
            raise InputError(f"--localize-by {self._by}: {classifier.network.name} has no maps; use backprop")
        if self._view == "box":
            self.modes: tuple[Mode, ...] = ("ground-truth boxes",)
        else:
            self.modes = ("reacquisition",)
        self._classifier = classifier
        classifier.network.to(device)
        if classifier.cropper is not None:
            classifier.cropper.network.to(device)
        shown = {"full": "whole image", "crop": "crop by the map", "box": "true box"}[self._view]
        pooling = {"pooling": classifier.pooling} if classifier.pooling else {}
        self.supervision = "box" if self._view == "box" else "weak"
        self.settings: dict[str, str] = {**pooling, "localize_by": self._by, "view": shown}

    def check(self, samples: Iterable[Sample], categories: Callable[[], Mapping[int, str]]) -> None:
        own = dict(zip(self._classifier.names, self._classifier.ids, strict=False))
        other = {name: number for number, name in sorted(categories().items())}
        if wrong := [name for name in own.keys() & other.keys() if own[name] != other[name]]:
            raise InputError(f"class {min(wrong)} has another id in the data set than in the model; use the same ids")

    def find(self, sample: Sample, rgb: NDArray[np.uint8], mode: Mode) -> list[Prediction]:
        true_box = next((instance.box for instance in sample.instances if instance.box is not None), None)
        if self._view == "box" and true_box is None:
            return []
        found = localize_classes(self._classifier, rgb, by=self._by, view=self._view, true_box=true_box, top=_CLASSES)
        names, ids = self._classifier.names, self._classifier.ids
        return [
            Prediction(
                category_id=ids[item.label],
                category=names[item.label] if names else None,
                score=item.probability,
                box=item.box,
                map=item.values,
            )
            for item in found
        ]


class KeypointModel(Model):
    """The studio's keypoint detector in the boxes around the labelled keypoints, by a run of `keypoint-detector`."""

    def __init__(self, weights: str, device: str) -> None:
        self._detector = KeypointDetector(weights, device)

    def find(self, sample: Sample, rgb: NDArray[np.uint8], mode: Mode) -> list[Prediction]:
        hands = [
            (number, hand, box)
            for number, instance in enumerate(sample.instances)
            if (hand := ordered_hand(instance)) and (box := replace(hand, box=None).bounds())
            if min(box[2] - box[0], box[3] - box[1]) >= 1
        ]
        found = self._detector.detect(rgb, [box for *_, box in hands])
        return [
            Prediction(
                skeleton=HAND_SKELETON,
                side=hand.side,
                keypoints_px=item.keypoints.astype(np.float64),
                visible=np.asarray(item.visible > _MIN_VISIBLE, np.bool_),
                score=float(np.mean(item.confidence)),
                instance=number,
            )
            for (number, hand, _), item in zip(hands, found, strict=True)
        ]


class InstancesModel(Model):
    """Mask R-CNN on full images."""

    modes = ("reacquisition",)

    def __init__(self, weights: str | None, device: torch.device) -> None:
        self._saved = load_mask_rcnn(weights)
        self._network = self._saved.network.to(device)

    def find(self, sample: Sample, rgb: NDArray[np.uint8], mode: Mode) -> list[Prediction]:
        with torch.inference_mode():
            pixels = torch.from_numpy(rgb).to(self._network.device).permute(2, 0, 1).float() / 255
            (found,) = self._network.find([pixels])
        return _predictions(instances_from(found), self._saved.categories, rgb.shape[:2])


class HandMasksModel(Model):
    """Hands, held objects and arms on full images, by a run of `sonjit train hand-masks`."""

    modes = ("reacquisition",)

    def __init__(self, weights: str | None, device: torch.device) -> None:
        self._finder = load_hand_masks(required_checkpoint("hand-masks", weights), min_score=_MIN_SCORE, device=device)

    def find(self, sample: Sample, rgb: NDArray[np.uint8], mode: Mode) -> list[Prediction]:
        return _predictions(self._finder.find(rgb), CATEGORIES, rgb.shape[:2])


def _predictions(found: Instances, categories: Sequence[Category], size: tuple[int, int]) -> list[Prediction]:
    """Return the instances of an image of a size (height, width)."""
    masks = found.in_image(size) >= 0.5
    rows = zip(found.labels.tolist(), found.scores.tolist(), found.boxes.tolist(), masks, strict=True)
    return [
        Prediction(
            category_id=categories[label - 1].id,
            category=categories[label - 1].name,
            score=score,
            box=(box[0], box[1], box[2], box[3]),
            mask=mask,
        )
        for label, score, box, mask in rows
    ]


class HandOccNetModel(Model):
    """HandOccNet in crops around the labelled boxes, or else around the true joints."""

    def __init__(self, weights: str | None, mano: str | None, device: torch.device) -> None:
        self._network = load_handoccnet(weights, mano).to(device).eval()

    @torch.inference_mode()
    def find(self, sample: Sample, rgb: NDArray[np.uint8], mode: Mode) -> list[Prediction]:
        found: list[Prediction] = []
        for number, instance in enumerate(sample.instances):
            points = _hand_points(instance)
            if points is None:
                continue
            area = _square(instance, points, sample)
            left = instance.side == "Left"
            side = self._network.size.image
            image = torch.from_numpy(hand_crop(rgb, area, side, mirrored=left)).permute(2, 0, 1)[None].float() / 255
            out = self._network(image.to(self._network.device))
            names = ("joints_coord_cam", "mesh_coord_cam", "joints_coord_img")
            joints, vertices, image_points = (out[name][0].double().cpu().numpy() for name in names)
            if left:
                joints, vertices = joints * _MIRROR, vertices * _MIRROR
                image_points = np.array([1.0, 0.0]) + image_points * (-1.0, 1.0)
            found.append(_prediction(sample, number, joints, vertices, _image_pixels(image_points, area)))
        return found


class _Encoded(NamedTuple):
    """Features of a frame."""

    tokens: Tensor  # (C,)
    joints: Tensor  # (21, 2) in 0..1 of the hand's box
    pixels: NDArray[np.float64]  # (21, 2) the same in the image


class DeformerModel(Model):
    """Deformer on windows of a recording's frames, each around the labelled box, or else around the true joints."""

    def __init__(self, weights: str | None, mano: str | None, mano_left: str | None, device: torch.device) -> None:
        self._network = load_deformer(weights, mano, mano_left, None, both=False).to(device).eval()
        self._cache: OrderedDict[tuple[str, str, str | None], _Encoded] = OrderedDict()

    def find(self, sample: Sample, rgb: NDArray[np.uint8], mode: Mode) -> list[Prediction]:
        return self.predict_window([sample], 0)

    @torch.inference_mode()
    def predict_window(self, samples: Sequence[Sample], index: int) -> list[Prediction]:
        """Return the hands of one sample, from the frames around it in its recording."""
        sample, network = samples[index], self._network
        found: list[Prediction] = []
        for number, instance in enumerate(sample.instances):
            if _hand_points(instance) is None:
                continue
            window = frames_around(
                samples,
                index,
                network.size.frames,
                GAP,
                stops_at_gap=network.hands.variant.stops_at_gap,
                hand_of=lambda other, reference, own=instance: (
                    own if reference is None else _same_hand(other, reference)
                ),
            )
            frames = [self._encode(*frame) for frame in window]
            tokens, joints = (torch.stack(each)[None] for each in zip(*(frame[:2] for frame in frames), strict=True))
            side = tokens.new_full(tokens.shape[:2], float(instance.side == "Left"))
            out = network.fuse(tokens, joints, side)
            pose = rotate_to_camera(out["mano_pose_aa"], network.hands.variant)
            meshes = network.hands(pose, out["mano_shape"], side.mean(1))
            vertices, hand = (points[0].double().cpu().numpy() for points in meshes)
            pixels = frames[len(frames) // 2].pixels
            found.append(_prediction(sample, number, hand, vertices, pixels))
        return found

    def _encode(self, sample: Sample, hand: Instance) -> _Encoded:
        key = sample.dataset, sample.id, hand.side
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        points, network = _hand_points(hand), self._network
        assert points is not None
        size, device = network.size.image, network.device
        area = frame_crop(sample, points)
        within = (points - (area.cx - area.width / 2, area.cy - area.height / 2)) * size / area.width
        box = box_around(within).clip(size, size)
        image = torch.from_numpy(hand_crop(sample.rgb(), area, size, mirrored=False)).permute(2, 0, 1)[None].float()
        tokens, joints = network.encode(image.to(device) / 255, torch.tensor([box], device=device))
        low, high = np.array(box[:2]), np.array(box[2:])
        encoded = _Encoded(
            tokens[0], joints[0], _image_pixels((low + joints[0].double().cpu().numpy() * (high - low)) / size, area)
        )
        self._cache[key] = encoded
        if len(self._cache) > _CACHED_FRAMES:
            self._cache.popitem(last=False)
        return encoded


def _hand_points(instance: Instance) -> NDArray[np.float64] | None:
    """Return the corners (2, 2) of the labelled box of a hand, or else its labelled keypoints (K, 2)."""
    if instance.kind != "hand" or instance.side is None:
        return None
    if instance.box is not None:
        return np.reshape(instance.box, (2, 2)).astype(np.float64)
    points = known_points(instance.keypoints_px, instance.valid_px)
    if points is None:
        return None
    points = points[np.isfinite(points).all(1)]
    return points if len(points) > 1 else None


def _same_hand(sample: Sample, reference: Instance) -> Instance | None:
    hands = (item for item in sample.instances if item.side == reference.side and _hand_points(item) is not None)
    return next(hands, None)


def _square(instance: Instance, points: NDArray[np.float64], sample: Sample) -> RotatedBox:
    if instance.box is None:
        return box_around_hand(points, sample.width, sample.height)
    labelled_box = box_from_corners(instance.box)
    return square_box(clamped_box(labelled_box, sample.width, sample.height) or labelled_box, scale=_BOX_ENLARGEMENT)


def _image_pixels(image_points: NDArray[np.float64], area: RotatedBox) -> NDArray[np.float64]:
    """Return pixels (21, 2) of the image for positions in 0 to 1 of an upright crop."""
    return np.array([area.cx, area.cy]) + (image_points - 0.5) * (area.width, area.height)


def _prediction(
    sample: Sample, number: int, joints: NDArray[np.float64], vertices: NDArray[np.float64], pixels: NDArray[np.float64]
) -> Prediction:
    """Return a hand translated so that its joints project to these pixels (21, 2), if the camera is known."""
    side = sample.instances[number].side
    camera = sample.camera
    shift = np.zeros(3)
    if camera is not None:
        shift = Sight(camera.intrinsics, assumed=False).translation(joints, pixels)
    return Prediction(
        side=side,
        keypoints_px=pixels,
        keypoints_m=joints + shift,
        placed=camera is not None,
        vertices_m=vertices + shift,
        instance=number,
    )


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
        area, given = _area(hands.values(), sample.box if len(hands) > 1 else None), None
        if self._boxes:
            area, given = self._boxes.of(sample, hands, is_only=is_only)
        if area is None:
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
            labelled = ordered_hand(hand) or hand
            points = known_points(labelled.keypoints_m, labelled.valid_m)
            return np.nan if points is None else float(points[list(self._layout.root_keypoints), 2].mean()) * _MM

        return np.array([depth(hands[side]) if side in hands else np.nan for side in internet.SIDES])

    def _rootnet_mm(self, rgb: Image, hand: Instance, camera: Intrinsics) -> float:
        assert self._rootnet is not None
        if (area := _area([hand], None)) is None:
            return np.nan
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
    known = [(hand, item) for hand, item in zip(hands, points, strict=True) if item is not None]  # of several people
    pairs = pairs_of_hands([item for _, item in known], [hand[0] for hand, _ in known])
    return [{side: known[index][0][1] for side, index in pair.items()} for pair in pairs]


def _area(hands: Iterable[Instance], box: Box | None) -> RotatedBox | None:
    """Return the square around hands: around their boxes if the set has them, else around their joints."""
    hands = list(hands)
    boxes = [hand.box for hand in hands if hand.box] if box is None else [box]
    if boxes and (box is not None or len(boxes) == len(hands)):
        low, high = np.min(boxes, 0)[:2], np.max(boxes, 0)[2:]
        (cx, cy), (width, height) = ((low + high) / 2).tolist(), (high - low).tolist()
        return internet.area_of_box(RotatedBox(cx, cy, width, height))
    points = [points for hand in hands if (points := _labelled_px(hand)) is not None]
    return internet.area_of_box(internet.box_of_joints(np.concatenate(points))) if points else None


def _labelled_px(hand: Instance) -> FloatArray | None:
    """Return the joints (K, 2) that are labelled in the image."""
    points = known_points(hand.keypoints_px, hand.valid_px)
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
