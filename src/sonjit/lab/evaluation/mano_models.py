"""Evaluate HandOccNet and Deformer on hands in crops around their boxes."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from sonjit.geometry.boxes import RotatedBox, clamped_box, square_box
from sonjit.lab.datasets.recordings import frames_around
from sonjit.lab.evaluation.predictions import Model, Prediction, known_points
from sonjit.lab.meshes.frame_crops import frame_crop
from sonjit.lab.meshes.hand_mesh import Sight
from sonjit.lab.meshes.mano_networks import box_around_hand, hand_crop, load_deformer, load_handoccnet
from sonjit.lab.networks.hands3d.deformer import rotate_to_camera
from sonjit.lab.networks.hands3d.deformer_stream import GAP, Corners, box_around

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from sonjit.lab.datasets import Instance, Sample
    from sonjit.lab.evaluation.predictions import Mode

_BOX_ENLARGEMENT = 1.5  # relative to the data set's box, as in HandOccNet's evaluation on HO-3D
_CACHED_FRAMES = 1024  # encoded frames: a window reaches 30 to each side
_MIRROR = np.array([-1.0, 1.0, 1.0])


class HandOccNetModel(Model):
    """HandOccNet in crops around the labelled boxes, or else around the true joints."""

    def __init__(self, weights: str | None, mano: str | None, device: torch.device) -> None:
        self._network = load_handoccnet(weights, mano).to(device).eval()

    @torch.inference_mode()
    def find(self, sample: Sample, rgb: NDArray[np.uint8], mode: Mode) -> list[Prediction]:
        """Return the hands of an image (H, W, 3)."""
        del mode
        found: list[Prediction] = []
        for number, instance in enumerate(sample.instances):
            points = _hand_points(instance)
            if points is None:
                continue
            area, left, side = _square(instance, points, sample), instance.side == "Left", self._network.size.image
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
        """Return the hands of an image (H, W, 3) without neighbouring frames."""
        del rgb, mode
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
        encoded = _Encoded(tokens[0], joints[0], _image_pixels(_crop_pixels(joints[0], box) / size, area))
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
    return next(
        (
            instance
            for instance in sample.instances
            if instance.side == reference.side and _hand_points(instance) is not None
        ),
        None,
    )


def _square(instance: Instance, points: NDArray[np.float64], sample: Sample) -> RotatedBox:
    if instance.box is None:
        return box_around_hand(points, sample.width, sample.height)
    x_min, y_min, x_max, y_max = instance.box
    labelled_box = RotatedBox((x_min + x_max) / 2, (y_min + y_max) / 2, x_max - x_min, y_max - y_min)
    return square_box(clamped_box(labelled_box, sample.width, sample.height) or labelled_box, scale=_BOX_ENLARGEMENT)


def _crop_pixels(joints: Tensor, box: Corners) -> NDArray[np.float64]:
    """Return pixels (21, 2) of a crop for positions in 0 to 1 of a box in it."""
    low, high = np.array(box[:2]), np.array(box[2:])
    return low + joints.double().cpu().numpy() * (high - low)


def _image_pixels(image_points: NDArray[np.float64], area: RotatedBox) -> NDArray[np.float64]:
    """Return pixels (21, 2) of the image for positions in 0 to 1 of an upright crop."""
    return np.array([area.cx, area.cy]) + (image_points - 0.5) * (area.width, area.height)


def _prediction(
    sample: Sample, number: int, joints: NDArray[np.float64], vertices: NDArray[np.float64], pixels: NDArray[np.float64]
) -> Prediction:
    """Return a hand translated so that its joints project to these pixels (21, 2), if the camera is known."""
    side = sample.instances[number].side
    if sample.camera is None:
        return Prediction(side=side, keypoints_px=pixels, keypoints_m=joints, vertices_m=vertices, instance=number)
    shift = Sight(sample.camera.intrinsics, assumed=False).translation(joints, pixels)
    return Prediction(
        side=side,
        keypoints_px=pixels,
        keypoints_m=joints + shift,
        placed=True,
        vertices_m=vertices + shift,
        instance=number,
    )
