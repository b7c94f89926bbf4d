"""Compute MANO meshes of detected hands with HandOccNet, each hand in its own crop. Left hands are mirrored."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonjit._util import Float32Array, Image, InputError, IntArray, RealArray
from sonjit.results import Frame
from sonjit_lab.hand_models.hand_mesh import MeshFacts, Sight
from sonjit_lab.hand_models.mano_hands import ManoHand, ManoHands, box_around_hand, hand_crop, mano_option
from sonjit_lab.networks import create_network, modes, registry
from sonjit_lab.papers.handoccnet import network as handoccnet


class HandOccHands(ManoHands):
    """Computes meshes with HandOccNet; with `features` it stores the network's maps of the first hand."""

    model = "handoccnet"

    def __init__(
        self,
        network: handoccnet.HandOccNetwork,
        sight: Callable[[int, int], Sight],
        *,
        mirrored: bool = False,
        features: bool = False,
    ) -> None:
        super().__init__(sight, mirrored=mirrored)
        assert network.mano is not None
        self._network = network
        self._mano = network.mano
        self._store_features = features
        self._side = network.size.image
        self.first_hand: tuple[NDArray[np.uint8], dict[str, Tensor]] | None = None
        """Crop (S, S, 3) and outputs of the first hand, with all maps."""

    @torch.inference_mode()
    def add_frame(self, frame: Frame, rgb: Image) -> None:
        """Run the network on the hands of an image (H, W, 3)."""
        if not frame.hands:
            return
        size = rgb.shape[1], rgb.shape[0]
        left = [self.looks_left(hand) for hand in frame.hands]
        crops = [
            hand_crop(rgb, box_around_hand(hand.keypoints[:, :2], *size), self._side, mirrored=mirrored)
            for hand, mirrored in zip(frame.hands, left, strict=True)
        ]
        images = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float().to(self._network.device) / 255
        with modes.eval_mode(self._network):
            out = self._network(images)
            if self._store_features and self.first_hand is None:
                self.first_hand = crops[0], self._network(images[:1], features=True)
        sight = self._sight(*size)
        for number, (hand, looks_left) in enumerate(zip(frame.hands, left, strict=True)):
            pose, shape = out["mano_pose"][number].cpu().numpy(), out["mano_shape"][number].cpu().numpy()
            name = f"{hand.handedness.lower()}-{hand.id or number + 1}"
            self._hands[frame.index].append(
                ManoHand(name=name, hand=hand, sight=sight, looks_left=looks_left, pose=pose, shape=shape)
            )

    def finish(self) -> None:
        """Do nothing. All meshes are available."""

    def about(self) -> MeshFacts:
        """Return the meaning of the parameters."""
        return {
            "parameters": "mano_pose: 16 axis-angles in radians in MANO's order without its mean pose; mano_shape: 10; "
            "of MANO's right hand, where mirrored is true of the mirror image"
        }

    def _posed(self, hand: ManoHand) -> tuple[RealArray, RealArray, IntArray, bool]:
        pose, shape = (torch.from_numpy(values)[None].to(self._network.device) for values in (hand.pose, hand.shape))
        vertices, joints = self._mano(pose, shape, flat_hand_mean=False, tips="handoccnet")
        return vertices[0].cpu().numpy(), joints[0].cpu().numpy(), self._mano.faces.cpu().numpy(), hand.looks_left


def load_handoccnet(weights: str | None, mano: str | None) -> handoccnet.HandOccNetwork:
    """Load HandOccNet with MANO from the files of `sonjit mesh`."""
    hand = mano_option("handoccnet", "--mano", mano)
    network = create_network("handoccnet", registry.required_checkpoint("handoccnet", weights), mano=hand)
    assert isinstance(network, handoccnet.HandOccNetwork)
    return network


def occlusion_maps(outputs: Mapping[str, Tensor], index: int = 0) -> dict[str, Float32Array]:
    """Return HandOccNet's maps of one image of a batch, from outputs with `features=True`.

    FIT's last block has the attention without and with the sigmoid that suppresses places without correlation, and the
    sigmoid itself.
    """
    if "primary" not in outputs:
        raise InputError("the outputs contain no maps: call the network with features=True")
    maps = {name: values[index].detach().cpu().numpy() for name, values in outputs.items()}
    injecting, refining = (
        max(name for name in maps if name.startswith(part) and name.endswith(".soft")) for part in ("FIT.", "SET.")
    )
    sigmoid = maps[injecting.replace(".soft", ".sigmoid")]  # (heads, H, W)
    shape = sigmoid.shape[1:]
    gated = maps[injecting] * sigmoid.reshape(len(sigmoid), -1, 1)
    return {
        "gate": maps["gate"],
        "primary": maps["primary"],
        "secondary": maps["secondary"],
        "FIT attention": maps[injecting].mean((0, 1)).reshape(shape),
        "FIT sigmoid": sigmoid.mean(0),
        "FIT attention, gated": gated.mean((0, 1)).reshape(shape),
        "FIT": maps["FIT"],
        "SET attention": maps[refining].mean((0, 1)).reshape(shape),
        "SET": maps["SET"],
    }
