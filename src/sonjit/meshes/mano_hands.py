"""Hands by MANO's parameters: what meshes and files are made of, whichever network gave them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from sonjit.errors import InputError
from sonjit.geometry import RotatedBox, clamped_box, crop, rotated_box_around, square_box
from sonjit.hand_models import demo_mano, load_mano
from sonjit.meshes.hand_mesh import HandMesh, Sight, named_points
from sonjit.networks import network_entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from sonjit.hand_models import Mano
    from sonjit.hand_models.mano import Side
    from sonjit.meshes.hand_mesh import HandRecord, MeshFacts
    from sonjit.results import Frame, Hand

_AROUND = 1.5  # a crop's sides in those of the box around the keypoints, as in training
_MIRROR = np.array([-1.0, 1.0, 1.0])


@dataclass(frozen=True)
class ManoHand:
    """One hand in one image.

    Attributes:
        name: in files, such as "right-1".
        hand: as it was found.
        sight: the image's camera.
        looks_left: it is a left hand in the image: a selfie view turns right hands into left ones.
        pose: (48,) numbers of MANO.
        shape: (10,).
    """

    name: str
    hand: Hand
    sight: Sight
    looks_left: bool
    pose: NDArray[np.float32]
    shape: NDArray[np.float32]


class ManoHands(ABC):
    """Keeps MANO's parameters of each hand, 1.5 kB, and makes the meshes when they are asked for.

    Args:
        sight: the camera of an image of this width and height.
        mirrored: the images are selfie views.

    Attributes:
        model: name for files.
    """

    model: str
    motions = None

    def __init__(self, sight: Callable[[int, int], Sight], *, mirrored: bool = False) -> None:
        self._sight, self._mirrored = sight, mirrored
        self._hands: defaultdict[int, list[ManoHand]] = defaultdict(list)

    @abstractmethod
    def add_frame(self, frame: Frame, rgb: NDArray[np.uint8]) -> None:
        """Run the network on the hands of an image (H, W, 3)."""

    @abstractmethod
    def finish(self) -> None:
        """No more images come."""

    @abstractmethod
    def about(self) -> MeshFacts:
        """What the parameters mean."""

    @abstractmethod
    def _posed(self, one: ManoHand) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.int64], bool]:
        """Vertices (778, 3), joints (21, 3), faces, and whether all that is the mirror image."""

    def looks_left(self, hand: Hand) -> bool:
        """Whether a hand is a left one in the image."""
        return (hand.handedness == "Left") != self._mirrored

    def meshes(self, index: int) -> list[HandMesh]:
        """The hands of one image."""
        return [self._mesh(one) for one in self._hands.get(index, [])]

    @torch.inference_mode()
    def _mesh(self, one: ManoHand) -> HandMesh:
        """A hand before the camera."""
        vertices, joints, faces, mirrored = self._posed(one)
        if mirrored:
            vertices, joints, faces = vertices * _MIRROR, joints * _MIRROR, faces[:, ::-1]
        xy = one.hand.keypoints[:, :2]
        shift = one.sight.translation(joints, xy)
        vertices, joints = vertices + shift, joints + shift
        record: HandRecord = {
            "name": one.name,
            "id": one.hand.id,
            "handedness": one.hand.handedness,
            "score": round(float(one.hand.score), 4),
            "mirrored": mirrored,
            "mano_pose": one.pose.round(6).tolist(),
            "mano_shape": one.shape.round(6).tolist(),
            "translation_m": shift.round(6).tolist(),
            "keypoints3D": named_points(joints.round(6)),
        }
        pixels = one.sight.pixels(vertices, joints, xy)
        return HandMesh(one.name, one.hand.handedness, vertices, faces, pixels, None, record)


def box_of_hand(hand: Hand, width: int, height: int) -> RotatedBox:
    """The upright square of an image that is the networks' crop, as in training."""
    around = rotated_box_around(hand.keypoints[:, :2], 0.0)
    wide = around._replace(width=around.width * _AROUND, height=around.height * _AROUND)
    return square_box(clamped_box(wide, width, height) or wide, scale=1.0)


def hand_crop(rgb: NDArray[np.uint8], box: RotatedBox, side: int, *, mirrored: bool) -> NDArray[np.uint8]:
    """(side, side, 3) of an image, black outside it."""
    cut = crop(rgb, box, side, side, border="zero")
    return np.ascontiguousarray(cut[:, ::-1]) if mirrored else cut


def checkpoint_option(network: str, weights: str | None) -> str:
    """The checkpoint of --weights, or an error that says where to get it."""
    if weights is None:
        entry = network_entry(network)
        raise InputError(
            f"--model {network} needs its checkpoint, --weights FILE: {entry.where} ({entry.licence}); "
            "demo tries it out with placeholder weights"
        )
    return weights


def mano_option(network: str, option: str, file: str | None, side: Side = "right") -> Mano:
    """MANO's hand, or an error that says where to get it."""
    if file is None:
        raise InputError(
            f"--model {network} needs MANO's {side} hand, {option} FILE: MANO_{side.upper()}.pkl, after registration, "
            "from https://mano.is.tue.mpg.de; demo tries it out with a placeholder model"
        )
    return demo_mano(side) if file == "demo" else load_mano(file, side)
