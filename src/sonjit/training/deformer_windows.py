"""Windows of a video as Deformer learns from them: frames around one, one hand in all, varied in the same way."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torchvision.transforms.v2 import functional as tv

from sonjit.errors import InputError
from sonjit.geometry import crop, crop_matrix, inverse_affine
from sonjit.networks.deformer_crops import box_around, crop_square, joints_in_box
from sonjit.training.deformer import WindowAugmentation
from sonjit.training.hand_samples import known_hands
from sonjit.training.handoccnet import turned
from sonjit.training.mano_fits import pose_in_camera

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from sonjit.datasets import Instance, Sample
    from sonjit.networks.deformer_hands import VariantHands

GAP = 10
"""Frames between neighbours in a window."""


class Window(NamedTuple):
    """One hand in T frames."""

    images: Tensor  # (T, 3, S, S) in 0..1
    boxes: NDArray[np.float64]  # (T, 4) pixels of these
    pose: NDArray[np.float64]  # (T, 48) as the network's variant has it
    shape: NDArray[np.float64]  # (T, 10)
    side: float  # 0 right, 1 left
    joints: NDArray[np.float32]  # (T, 21, 2) in 0..1 of the box; negative where not to be learned


def window_around(
    samples: Sequence[Sample], index: int, frames: int, stops_at_gap: bool
) -> list[tuple[Sample, Instance]]:
    """A sample and those before and after it in its recording, each with the same hand; empty where there is none.

    A neighbour that is missing is stood in for by the nearest frame found on its side; with `stops_at_gap` farther ones
    are then not looked for.
    """
    middle = samples[index]
    hand = _hand(middle, None)
    if hand is None:
        return []
    window: list[tuple[Sample, Instance]] = [(middle, hand)]
    for way in (-1, 1):
        nearest, ended = (middle, hand), False
        for step in range(1, frames // 2 + 1):
            found = None if ended else _beside(samples, index, way * step * GAP, hand)
            ended = ended or (found is None and stops_at_gap)
            nearest = found or nearest
            window.insert(len(window) if way > 0 else 0, nearest)
    return window


def _beside(samples: Sequence[Sample], index: int, offset: int, hand: Instance) -> tuple[Sample, Instance] | None:
    """The sample of the same recording and camera so many frames away, with the same hand.

    Frames of a recording follow each other in order, some of them left out: the place is found by halving.
    """
    own, way = samples[index], int(np.sign(offset))
    if own.frame is None:
        return None
    near, far = 1, min(abs(offset), (len(samples) - 1 - index) if way > 0 else index)
    place = far  # where no frame is left out
    while near <= far:
        other = samples[index + way * place]
        same = (other.sequence, other.view) == (own.sequence, own.view) and other.frame is not None
        away = way * (other.frame - own.frame) if same and other.frame is not None else math.inf
        if away == abs(offset):
            found = _hand(other, hand)
            return None if found is None else (other, found)
        near, far = (place + 1, far) if away < abs(offset) else (near, place - 1)
        place = (near + far) // 2
    return None


def _hand(sample: Sample, like: Instance | None) -> Instance | None:
    """A sample's first hand with MANO's parameters, of the same side as another."""
    hands = [one for one in known_hands(sample) if one.mesh is not None]
    return next((one for one in hands if like is None or one.side == like.side), None)


def window_from_samples(
    window: Sequence[tuple[Sample, Instance]], hands: VariantHands, side: int, change: WindowAugmentation | None
) -> Window | None:
    """Crops of a window's frames and what is right for them; None where a hand lies outside its picture."""
    rotation = change.rotation_rad if change else 0.0
    images: list[Tensor] = []
    boxes: list[tuple[float, ...]] = []
    joints: list[NDArray[np.float32]] = []
    for sample, hand in window:
        assert hand.keypoints_px is not None
        try:
            area = crop_square(box_around(hand.keypoints_px), sample.width, sample.height, rotation_rad=rotation)
        except InputError:  # the hand has left the picture
            return None
        if change:
            wide = area.width * change.scale
            cx, cy = area.cx + change.shift[0] * area.width, area.cy + change.shift[1] * area.height
            area = area._replace(cx=cx, cy=cy, width=wide, height=wide)
        image = crop(sample.rgb(), area, side, side, border="zero")
        matrix = inverse_affine(crop_matrix(area, side, side))
        points = hand.keypoints_px @ matrix[:, :2].T + matrix[:, 2]
        box = box_around(points).clipped(side, side)
        if box.x_max - box.x_min < 1 or box.y_max - box.y_min < 1:
            return None
        images.append(torch.from_numpy(image).permute(2, 0, 1))
        boxes.append(box)
        joints.append(joints_in_box(points, box))
    stacked = torch.stack(images).float() / 255
    meshes = [hand.mesh for _, hand in window if hand.mesh is not None]
    return Window(
        _lit(stacked, change) if change else stacked,
        np.array(boxes),
        np.stack([pose_of(sample, hand, hands, rotation) for sample, hand in window]),
        np.stack([mesh.betas for mesh in meshes]),
        float(window[0][1].side == "Left"),
        np.stack(joints),
    )


def pose_of(sample: Sample, hand: Instance, hands: VariantHands, rotation_rad: float = 0.0) -> NDArray[np.float64]:
    """A pose (48,) as the variant's networks learn it, of a hand whose crop was turned.

    The variant of HO-3D keeps that set's axes, which are OpenGL's, and poses from the flat hand; that of DexYCB learns
    principal components.

    Raises:
        InputError: the fit is of another kind.
    """
    fit = hand.mesh
    assert fit is not None
    if hands.variant.pca:
        if not fit.pca or fit.frame != "camera":
            raise InputError(f"{sample.dataset} has no principal components before the camera: set variant=ho3d")
        pose, way = fit.pose, 1.0
    elif fit.frame == "opengl" and fit.flat_mean and not fit.pca:
        pose, way = fit.pose, -1.0
    else:
        mano = hands.left if hand.side == "Left" else hands.right
        assert mano is not None
        pose, way = pose_in_camera(fit, sample.camera, mano, flat_mean=True), 1.0
    return turned(torch.tensor(pose)[None], way * math.degrees(rotation_rad))[0].numpy()


def _lit(images: Tensor, change: WindowAugmentation) -> Tensor:
    """All frames in the same other light, a little blurred; values stay in 0..1."""
    brightness, saturation, contrast = change.gains
    if change.blur_px > 0.05:
        images = tv.gaussian_blur(images, [3, 3], [change.blur_px, change.blur_px])
    images = tv.adjust_brightness(images, brightness)
    images = tv.adjust_saturation(images, saturation)
    images = tv.adjust_hue(images, change.hue)
    return tv.adjust_contrast(images, contrast)
