"""Found hands -> MANO meshes, by HandOccNet: each hand in a crop of its own, left ones mirrored."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sonjit.errors import InputError
from sonjit.geometry import RotatedBox, clamped_box, crop, rotated_box_around, square_box
from sonjit.hand_models import load_mano
from sonjit.meshes.hand_mesh import HandMesh, Sight
from sonjit.networks import create_network, network_entry
from sonjit.networks.handoccnet import HandOccNetwork
from sonjit.skeletons import load_skeleton

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from sonjit.hand_models import Mano
    from sonjit.results import Frame, Hand

_AROUND = 1.5  # a crop's side in those of the box around the keypoints, as in training
_MIRROR = np.array([-1.0, 1.0, 1.0])


@dataclass(frozen=True)
class ManoHand:
    """One hand in one picture by MANO's parameters.

    Attributes:
        name: in files, such as "right-1".
        hand: as it was found.
        sight: the picture's camera.
        mirrored: the parameters are those of the mirror image.
        pose: (48,) axis-angles.
        shape: (10,).
    """

    name: str
    hand: Hand
    sight: Sight
    mirrored: bool
    pose: NDArray[np.float32]
    shape: NDArray[np.float32]


class HandOccHands:
    """HandOccNet's meshes; 0.6 kB are kept for each hand and frame.

    Args:
        sight: the camera of a picture of this width and height.
        weights: the network's checkpoint; "demo" for numbers that mean nothing.
        mano: MANO's right hand; "demo" for a model of random numbers.
        mirrored: the pictures are selfie views, where a right hand looks like a left one.
        features: keep the network's maps of the first hand.

    Raises:
        InputError: a file is missing or does not fit; the line says where it is to be had.
    """

    model = "handoccnet"
    motions = None

    def __init__(
        self,
        sight: Callable[[int, int], Sight],
        weights: str | None,
        mano: str | None,
        *,
        mirrored: bool = False,
        features: bool = False,
    ) -> None:
        self._mano = read_mano_option("handoccnet", "--mano", mano)
        network = create_network("handoccnet", checkpoint_option("handoccnet", weights), mano=self._mano).eval()
        assert isinstance(network, HandOccNetwork)
        self._network, self._sight, self._mirrored = network, sight, mirrored
        self._hands: defaultdict[int, list[ManoHand]] = defaultdict(list)
        self._wants_features = features
        self.seen: tuple[NDArray[np.uint8], dict[str, torch.Tensor]] | None = None
        """Crop (S, S, 3) and outputs of the first hand, with all maps."""

    @torch.inference_mode()
    def look(self, frame: Frame, rgb: NDArray[np.uint8]) -> None:
        """Ask the network about the hands of a picture."""
        if not frame.hands:
            return
        left = [(hand.handedness == "Left") != self._mirrored for hand in frame.hands]
        sizes = rgb.shape[1], rgb.shape[0]
        side = network_entry("handoccnet").inputs[0].shape[-1]
        crops = [
            hand_crop(rgb, box_of_hand(hand, *sizes), side, mirrored=mirrored)
            for hand, mirrored in zip(frame.hands, left, strict=True)
        ]
        images = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255
        out = self._network(images)
        if self._wants_features and self.seen is None:
            self.seen = crops[0], self._network(images[:1], features=True)
        sight = self._sight(*sizes)
        for number, (hand, mirrored) in enumerate(zip(frame.hands, left, strict=True)):
            pose, shape = out["mano_pose"][number].numpy(), out["mano_shape"][number].numpy()
            name = f"{hand.handedness.lower()}-{hand.id or number + 1}"
            self._hands[frame.index].append(ManoHand(name, hand, sight, mirrored, pose, shape))

    def finish(self) -> None:
        """Nothing is left to do."""

    def about(self) -> dict[str, Any]:
        """What the parameters mean."""
        return {
            "parameters": "mano_pose: 16 axis-angles in radians in MANO's order without its mean pose; mano_shape: 10; "
            "of MANO's right hand, where mirrored is true of the mirror image"
        }

    @torch.inference_mode()
    def meshes(self, index: int) -> list[HandMesh]:
        """The hands of one picture."""
        found: list[HandMesh] = []
        for one in self._hands.get(index, []):
            pose, shape = torch.from_numpy(one.pose)[None], torch.from_numpy(one.shape)[None]
            vertices, joints = self._mano(pose, shape, flat_hand_mean=False, tips="handoccnet")
            found.append(mesh_from_mano(one, vertices[0].numpy(), joints[0].numpy(), self._mano.faces.numpy()))
        return found


def mesh_from_mano(
    one: ManoHand, vertices: NDArray[np.floating], joints: NDArray[np.floating], faces: NDArray[np.int64]
) -> HandMesh:
    """A hand before the camera: MANO's vertices (778, 3) and joints (21, 3) in its axes, mirrored back if need be."""
    if one.mirrored:
        vertices, joints, faces = vertices * _MIRROR, joints * _MIRROR, faces[:, ::-1]
    xy = one.hand.keypoints[:, :2]
    shift = one.sight.translation(joints, xy)
    vertices, joints = vertices + shift, joints + shift
    names = load_skeleton("hand_mediapipe21").keypoints
    record = {
        "name": one.name,
        "id": one.hand.id,
        "handedness": one.hand.handedness,
        "score": round(float(one.hand.score), 4),
        "mirrored": one.mirrored,
        "mano_pose": one.pose.round(6).tolist(),
        "mano_shape": one.shape.round(6).tolist(),
        "translation_m": shift.round(6).tolist(),
        "keypoints3D": [
            {"x": x, "y": y, "z": z, "name": name}
            for (x, y, z), name in zip(joints.round(6).tolist(), names, strict=True)
        ],
    }
    pixels = one.sight.pixels(vertices, joints, xy)
    return HandMesh(one.name, one.hand.handedness, vertices, faces, pixels, None, record)


def box_of_hand(hand: Hand, width: int, height: int) -> RotatedBox:
    """The upright square of a picture that the networks look at, as in training."""
    around = rotated_box_around(hand.keypoints[:, :2], 0.0)
    wide = around._replace(width=around.width * _AROUND, height=around.height * _AROUND)
    return square_box(clamped_box(wide, width, height) or wide, scale=1.0)


def hand_crop(rgb: NDArray[np.uint8], box: RotatedBox, side: int, *, mirrored: bool) -> NDArray[np.uint8]:
    """(side, side, 3) of a picture, black outside it."""
    cut = crop(rgb, box, side, side, border="zero")
    return np.ascontiguousarray(cut[:, ::-1]) if mirrored else cut


def checkpoint_option(network: str, weights: str | None) -> str:
    """What --weights says, or a line on where they are to be had."""
    if weights is None:
        entry = network_entry(network)
        raise InputError(
            f"--model {network} needs its checkpoint, --weights FILE: {entry.where} ({entry.licence}); "
            "demo tries it out with numbers that mean nothing"
        )
    return weights


def read_mano_option(network: str, option: str, file: str | None, side: str = "right") -> Mano:
    """MANO's hand, or a line on where it is to be had."""
    if file == "demo":
        from sonjit.hand_models import demo_mano

        return demo_mano(side="left" if side == "left" else "right")
    if file is None:
        raise InputError(
            f"--model {network} needs MANO's {side} hand, {option} FILE: MANO_{side.upper()}.pkl, after registration, "
            "from https://mano.is.tue.mpg.de; demo tries it out with a shape that means nothing"
        )
    return load_mano(file, side="left" if side == "left" else "right")
