"""MANO meshes of detected hands: the parameters of each hand in each image, and the crops around hands.

The networks of `sonjit_lab.papers` store only MANO's parameters. Meshes are computed on request.
"""

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from sonjit._util import Float32Array, Image, InputError, IntArray, RealArray
from sonjit.geometry.boxes import RotatedBox, clamped_box, crop, rotated_box_around, square_box
from sonjit.results import Hand
from sonjit_lab.hand_models import Mano, load_mano
from sonjit_lab.hand_models.hand_mesh import HandMesh, HandRecord, MeshModel, Sight, named_points
from sonjit_lab.hand_models.mano import Side
from sonjit_lab.hand_models.placeholders import mano_by_name

_CROP_SCALE = 1.5  # side of a crop relative to the box around the keypoints, as in training
_MIRROR = np.array([-1.0, 1.0, 1.0])


@dataclass(frozen=True)
class ManoHand:
    """One hand in one image."""

    name: str  # name in files, such as "right-1"
    hand: Hand  # detected hand
    sight: Sight  # camera of the image
    looks_left: bool  # True if the image shows a left hand; a selfie view mirrors right hands
    pose: Float32Array  # (48,) pose parameters of MANO
    shape: Float32Array  # (10,) shape parameters of MANO
    # (T,) weights of the fused frames, oldest first, with sum 1; None for a single frame
    weights: Float32Array | None = None


class ManoHands(MeshModel):
    """Stores MANO's parameters of each hand, 1.5 kB, and computes meshes on request; `sight` as for `RiggedHands`."""

    def __init__(self, sight: Callable[[int, int], Sight], *, mirrored: bool = False) -> None:
        self._sight, self._mirrored = sight, mirrored
        self._hands: defaultdict[int, list[ManoHand]] = defaultdict(list)

    @abstractmethod
    def _posed(self, hand: ManoHand) -> tuple[RealArray, RealArray, IntArray, bool]:
        """Return vertices (778, 3), joints (21, 3), faces, and whether they are mirrored."""

    def looks_left(self, hand: Hand) -> bool:
        """Check whether the image shows a left hand."""
        return (hand.handedness == "Left") != self._mirrored

    def meshes(self, index: int) -> list[HandMesh]:
        """Return the meshes of one image."""
        return [self._mesh(hand) for hand in self._hands.get(index, [])]

    @torch.inference_mode()
    def _mesh(self, hand: ManoHand) -> HandMesh:
        """Compute a mesh in camera space."""
        vertices, joints, faces, mirrored = self._posed(hand)
        if mirrored:
            vertices = vertices * _MIRROR
            joints = joints * _MIRROR
            faces = faces[:, ::-1]
        xy = hand.hand.keypoints[:, :2]
        shift = hand.sight.translation(joints, xy)
        vertices, joints = vertices + shift, joints + shift
        record: HandRecord = {
            "name": hand.name,
            "id": hand.hand.id,
            "handedness": hand.hand.handedness,
            "score": round(float(hand.hand.score), 4),
            "mirrored": mirrored,
            "mano_pose": hand.pose.round(6).tolist(),
            "mano_shape": hand.shape.round(6).tolist(),
            "translation_m": shift.round(6).tolist(),
            "keypoints3D": named_points(joints.round(6)),
        }
        if hand.weights is not None:
            record["frame_weights"] = hand.weights.round(6).tolist()
        pixels = hand.sight.pixels(vertices, joints, xy)
        return HandMesh(
            name=hand.name,
            handedness=hand.hand.handedness,
            vertices=vertices,
            faces=faces,
            pixels=pixels,
            normals=None,
            record=record,
        )


def box_around_hand(points: RealArray, width: int, height: int) -> RotatedBox:
    """Return the upright square crop around keypoints (K, 2) in pixels, as in training."""
    around = rotated_box_around(points, 0.0)
    wide = around._replace(width=around.width * _CROP_SCALE, height=around.height * _CROP_SCALE)
    return square_box(clamped_box(wide, width, height) or wide, scale=1.0)


def hand_crop(rgb: Image, box: RotatedBox, side: int, *, mirrored: bool) -> Image:
    """Crop an image (H, W, 3) to (side, side, 3). Pixels outside the image are black."""
    cut = crop(rgb, box, side, side, border="zero")
    return np.ascontiguousarray(cut[:, ::-1]) if mirrored else cut


def mano_option(network: str, option: str, file: str | None, side: Side = "right") -> Mano:
    """Return MANO's hand. Raise InputError with its origin if it is missing."""
    if file is None:
        raise InputError(
            f"--model {network} requires MANO's {side} hand, {option} FILE: MANO_{side.upper()}.pkl, after "
            f"registration, from https://mano.is.tue.mpg.de. {option} demo uses a placeholder model"
        )
    return mano_by_name(file, side) or load_mano(file, side)
