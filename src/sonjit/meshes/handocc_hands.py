"""Found hands -> MANO meshes, by HandOccNet: each hand in a crop of its own, left ones mirrored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sonjit.meshes.mano_hands import ManoHand, ManoHands, box_of_hand, checkpoint_option, hand_crop, mano_option
from sonjit.networks import create_network
from sonjit.networks.handoccnet import HandOccNetwork

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from sonjit.meshes.hand_mesh import Sight
    from sonjit.results import Frame

_SIDE = 256


class HandOccHands(ManoHands):
    """HandOccNet's meshes.

    Args:
        network: with MANO's right hand.
        sight: the camera of a picture of this width and height.
        mirrored: the pictures are selfie views.
        features: keep the network's maps of the first hand.
        side: of the network's crops in pixels; None for the published size.
    """

    model = "handoccnet"

    def __init__(
        self,
        network: HandOccNetwork,
        sight: Callable[[int, int], Sight],
        *,
        mirrored: bool = False,
        features: bool = False,
        side: int | None = None,
    ) -> None:
        super().__init__(sight, mirrored=mirrored)
        assert network.mano is not None
        self._network, self._mano, self._wants_features = network.eval(), network.mano, features
        self._side = _SIDE if side is None else side
        self.seen: tuple[NDArray[np.uint8], dict[str, Tensor]] | None = None
        """Crop (S, S, 3) and outputs of the first hand, with all maps."""

    @torch.inference_mode()
    def look(self, frame: Frame, rgb: NDArray[np.uint8]) -> None:
        """Ask the network about the hands of a picture."""
        if not frame.hands:
            return
        size = rgb.shape[1], rgb.shape[0]
        left = [self.looks_left(hand) for hand in frame.hands]
        crops = [
            hand_crop(rgb, box_of_hand(hand, *size), self._side, mirrored=mirrored)
            for hand, mirrored in zip(frame.hands, left, strict=True)
        ]
        images = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255
        out = self._network(images)
        if self._wants_features and self.seen is None:
            self.seen = crops[0], self._network(images[:1], features=True)
        sight = self._sight(*size)
        for number, (hand, looks_left) in enumerate(zip(frame.hands, left, strict=True)):
            pose, shape = out["mano_pose"][number].numpy(), out["mano_shape"][number].numpy()
            name = f"{hand.handedness.lower()}-{hand.id or number + 1}"
            self._hands[frame.index].append(ManoHand(name, hand, sight, looks_left, pose, shape))

    def finish(self) -> None:
        """Nothing is left to do."""

    def about(self) -> dict[str, Any]:
        """What the parameters mean."""
        return {
            "parameters": "mano_pose: 16 axis-angles in radians in MANO's order without its mean pose; mano_shape: 10; "
            "of MANO's right hand, where mirrored is true of the mirror image"
        }

    def _posed(self, one: ManoHand) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.int64], bool]:
        pose, shape = torch.from_numpy(one.pose)[None], torch.from_numpy(one.shape)[None]
        vertices, joints = self._mano(pose, shape, flat_hand_mean=False, tips="handoccnet")
        return vertices[0].numpy(), joints[0].numpy(), self._mano.faces.numpy(), one.looks_left


def load_handoccnet(weights: str | None, mano: str | None) -> HandOccNetwork:
    """The network with MANO, from the files of `sonjit mesh`.

    Raises:
        InputError: a file is missing or does not fit; the line says where it is to be had.
    """
    hand = mano_option("handoccnet", "--mano", mano)
    network = create_network("handoccnet", checkpoint_option("handoccnet", weights), mano=hand)
    assert isinstance(network, HandOccNetwork)
    return network
