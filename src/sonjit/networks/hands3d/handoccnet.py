"""HandOccNet: a hand's mesh from one image in which much of it may be hidden.

A gate gives the visible share of the hand at each place of the feature map. What shows (primary) is injected into what
does not (secondary) where the two correlate: FIT; self-attention over the result follows: SET; a regressor reads 2D
joints, pose and shape off that, and MANO makes the mesh.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from sonjit.errors import InputError
from sonjit.hand_models import demo_mano
from sonjit.hand_models.mano import without_mano
from sonjit.hand_models.rotations import axis_angle_from_matrix, matrix_from_6d
from sonjit.networks.hands3d.handoccnet_parts import FeatureTransformer, Regressor
from sonjit.networks.hands3d.layers import BLOCKS, LeakyPyramid
from sonjit.networks.registry import InputSpec, Network, NetworkEntry, register

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sonjit.hand_models import Mano

_MANO_KEYS = "regressor.mano_regHead.mano_layer."
_NOT_WEIGHTS = ("fitting_loss.", "regressor.hand_regHead.uu", "regressor.hand_regHead.vv")
"""In published checkpoints, and no part of this network: what a demo fits with, and the places of a heatmap's cells."""


@dataclass(frozen=True)
class Size:
    """The numbers of one size.

    Attributes:
        image: side of the crop in pixels.
        width: of the trunk's first stage.
        blocks: of its four stages.
        channels: of the maps.
        widths: of the two layers before pose and shape.
    """

    image: int
    width: int
    blocks: tuple[int, int, int, int]
    channels: int
    widths: tuple[int, int]


SIZES = {
    "full": Size(256, 64, BLOCKS, 256, (1024, 512)),
    "small": Size(64, 16, (1, 1, 1, 1), 48, (128, 64)),
    "tiny": Size(64, 4, (1, 1, 1, 1), 16, (32, 16)),
}


class SpatialGate(nn.Module):
    """How much of the hand shows at each place, from the channels' maximum and mean. Source: Woo et al. 2018, CBAM."""

    def __init__(self) -> None:
        super().__init__()
        self.spatial = nn.Sequential()
        self.spatial.add_module("conv", nn.Conv2d(2, 1, 7, padding=3, bias=False))
        self.spatial.add_module("bn", nn.BatchNorm2d(1, momentum=0.01))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 1, H, W) in 0..1."""
        pooled = torch.cat([features.amax(1, keepdim=True), features.mean(1, keepdim=True)], 1)
        return torch.sigmoid(self.spatial(pooled))


class HandOccBackbone(LeakyPyramid):
    """The trunk with the gate, under their published names."""

    def __init__(self, size: Size) -> None:
        super().__init__(size.channels, size.width, size.blocks, smooth2=True)
        self.attention_module = SpatialGate()

    def gated(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) -> features (B, C, S / 8, S / 8) and gate (B, 1, S / 8, S / 8)."""
        features = F.avg_pool2d(self(images), 2)
        return features, self.attention_module(features)


class HandOccNetwork(Network):
    """HandOccNet.

    Args:
        mano: MANO's right hand, by `load_mano`; None: the network stops at pose and shape; `"demo"`: a model of random
            numbers, to try things out. It is not part of the weights.
        size: `full`, `small` for a try on a CPU, or, for tests, `tiny`.

    Source: Park et al. 2022, HandOccNet: Occlusion-Robust 3D Hand Mesh Estimation Network.
    """

    def __init__(self, mano: Mano | str | None = None, size: str = "full") -> None:
        super().__init__()
        if size not in SIZES:
            raise InputError(f"unknown size {size!r}; known: {', '.join(SIZES)}")
        if isinstance(mano, str):
            if mano != "demo":
                raise InputError(f"mano={mano!r}: give load_mano({mano!r})")
            mano = demo_mano()
        if mano is not None and mano.side != "right":
            raise InputError(
                "handoccnet knows right hands alone: give MANO's right hand, and mirror images of left ones"
            )
        numbers = SIZES[size]
        self.backbone = HandOccBackbone(numbers)
        side = numbers.image // 8
        self.FIT = FeatureTransformer(numbers.channels, side, injecting=True)
        self.SET = FeatureTransformer(numbers.channels, side, injecting=False)
        self.regressor = Regressor(numbers.channels, side, numbers.widths)
        self.mano = mano
        self._image = numbers.image
        for part in (self.FIT, self.SET, self.regressor):
            part.apply(_initialise)

    def forward(self, images: Tensor, features: bool = False) -> dict[str, Tensor]:
        """Hands in crops.

        Args:
            images: (B, 3, 256, 256) RGB in 0..1: right hands, or left ones mirrored.
            features: give the maps on the way too.

        Returns:
            `gate` (B, 32, 32): how much of the hand shows, 0..1; `pose6d` (B, 96); `joints_coord_img` (B, 21, 2): x, y
            in 0..1 of the crop; `mano_pose` (B, 48): axis-angles without MANO's mean pose; `mano_shape` (B, 10). With
            a MANO model `joints_coord_cam` (B, 21, 3) and `mesh_coord_cam` (B, 778, 3), metres in MANO's axes, neither
            centred nor placed before the camera, and `manojoints2cam` (B, 16, 4, 4). Joints are MediaPipe's 21.

            With `features` also `primary`, `secondary`, `FIT` and `SET` (B, 256, 32, 32), `score` (B, 21, 32, 32), and
            of each block `FIT.block0` (B, 256, 32, 32), `FIT.block0.soft` (B, 4, 1024, 1024): the attention,
            `FIT.block0.sigmoid` (B, 4, 32, 32): how much it takes from there; `SET.block0`, `SET.block0.soft`.
        """
        if images.ndim != 4 or images.shape[1:] != (3, self._image, self._image):
            wanted = f"(B, 3, {self._image}, {self._image})"
            raise InputError(f"{self.name}: images have shape {tuple(images.shape)}; give {wanted}")
        maps: dict[str, Tensor] | None = {} if features else None
        seen, gate = self.backbone.gated(images)
        primary, secondary = seen * gate, seen * (1 - gate)
        injected = self.FIT(secondary, primary, maps, "FIT")
        refined = self.SET(injected, injected, maps, "SET")
        joints, scores, pose6d, shape = self.regressor(refined)
        rotations = matrix_from_6d(pose6d.unflatten(1, (-1, 6)))
        pose = axis_angle_from_matrix(rotations).flatten(1).nan_to_num(nan=0.0)  # as published; no rotation gives one
        out = {
            "gate": gate.squeeze(1),
            "pose6d": pose6d,
            "joints_coord_img": joints,
            "mano_pose": pose,
            "mano_shape": shape,
        }
        if self.mano is not None:
            hand = self.mano.posed(pose, shape, flat_hand_mean=False, tips="handoccnet")
            out |= {
                "joints_coord_cam": hand.joints,
                "mesh_coord_cam": hand.vertices,
                "manojoints2cam": hand.transforms,
            }
        if maps is not None:
            out |= {"primary": primary, "secondary": secondary, "score": scores, **maps}
        return out

    def from_official(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Without what a published checkpoint holds beside weights; its MANO model must be the one given.

        Raises:
            InputError: it is another one.
        """
        weights = without_mano(super().from_official(state_dict), _MANO_KEYS, self.mano)
        return {key: value for key, value in weights.items() if not key.startswith(_NOT_WEIGHTS)}


def _initialise(module: nn.Module) -> None:
    """As published: nearly nothing everywhere but in the trunk."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.normal_(module.weight, std=0.001 if isinstance(module, nn.Conv2d) else 0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


register(
    NetworkEntry(
        name="handoccnet",
        build=HandOccNetwork,
        summary="mesh and joints of one hand, much of which may be hidden, through MANO",
        source="Park et al. 2022, HandOccNet",
        licence="none stated in its repository; MANO's own for the mesh",
        inputs=(InputSpec("images", (3, SIZES["full"].image, SIZES["full"].image)),),
        where="snapshot_demo.pth.tar, from the links at https://github.com/namepllet/HandOccNet",
        tiny={"mano": "demo", "size": "tiny"},
        tiny_inputs=(InputSpec("images", (3, SIZES["tiny"].image, SIZES["tiny"].image)),),
    )
)
