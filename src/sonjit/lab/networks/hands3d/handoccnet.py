"""HandOccNet: a hand's mesh from one image in which much of it may be hidden.

A gate predicts the visible share of the hand at each cell of the feature map. Visible features (primary) are injected
into hidden ones (secondary) where they correlate: FIT. Self-attention over the result follows: SET. An hourglass
locates the joints in the crop, an encoder predicts pose and shape from both, and MANO makes the mesh.

Source: Park et al. 2022, HandOccNet, sections 3.2 and 3.3.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from sonjit._util.errors import InputError
from sonjit.lab.hand_models import Mano, demo_mano
from sonjit.lab.hand_models.mano import remove_mano
from sonjit.lab.hand_models.rotations import axis_angle_from_matrix, matrix_from_6d
from sonjit.lab.networks.hands3d.handoccnet_layers import FeatureTransformer, HandOccBackbone, Regressor
from sonjit.lab.networks.hands3d.layers import BLOCKS
from sonjit.lab.networks.hands3d.sizes import HandOccSize
from sonjit.lab.networks.registry import InputSpec, Network, NetworkEntry, register

_MANO_KEYS = "regressor.mano_regHead.mano_layer."
_NOT_WEIGHTS = ("fitting_loss.", "regressor.hand_regHead.uu", "regressor.hand_regHead.vv")
"""Prefixes of published checkpoints that this network does not have: a demo's fitting loss and heatmap cells."""
FITS = ("full", "softmax", "gate", "none")
"""Handling of hidden regions, see `HandOccNetwork`."""
SIZES = {
    "full": HandOccSize(256, 64, BLOCKS, 256, (1024, 512)),
    "small": HandOccSize(64, 16, (1, 1, 1, 1), 48, (128, 64)),
    "tiny": HandOccSize(64, 4, (1, 1, 1, 1), 16, (32, 16)),
}


class HandOccNetwork(Network):
    """HandOccNet: mesh and joints of one hand that may be hidden.

    Args:
        mano: MANO's right hand from `load_mano`; None to predict only pose and shape; `"demo"` for a placeholder model.
            It is not part of the weights.
        size: `full`, `small` for a trial on a CPU, or `tiny` for tests.
        fit: Handling of hidden regions: `full`, as published; `softmax`, injection without the sigmoid; `gate`, lower
            weights as in spatial attention, without injection; `none`.
        refine: True for a network with SET.

    Source: Park et al. 2022, HandOccNet: Occlusion-Robust 3D Hand Mesh Estimation Network.
    """

    def __init__(
        self, mano: Mano | str | None = None, size: str = "full", fit: str = "full", refine: bool = True
    ) -> None:
        super().__init__()
        for option, value, known in (("size", size, SIZES), ("fit", fit, FITS)):
            if value not in known:
                raise InputError(f"Unknown {option} {value!r}. Choose from {', '.join(known)}")
        if isinstance(mano, str):
            if mano != "demo":
                raise InputError(f"mano={mano!r} is not a MANO model; pass load_mano({mano!r})")
            mano = demo_mano()
        if mano is not None and mano.side != "right":
            raise InputError("handoccnet requires MANO's right hand; pass mirror images of left hands")
        numbers = SIZES[size]
        self.backbone = HandOccBackbone(numbers)
        side = numbers.image // 8
        self.fit = fit
        if fit in ("full", "softmax"):
            self.FIT = FeatureTransformer(numbers.channels, side, injecting=True, sigmoid=fit == "full")
        if refine:
            self.SET = FeatureTransformer(numbers.channels, side, injecting=False)
        self.refine = refine
        self.regressor = Regressor(numbers.channels, side, numbers.widths)
        self.mano = mano
        self.size = numbers
        for name, part in self.named_children():
            if name not in ("backbone", "mano"):
                part.apply(_initialise)

    def forward(self, images: Tensor, features: bool = False) -> dict[str, Tensor]:
        """Predict the hands in crops.

        Args:
            images: (B, 3, 256, 256) RGB in 0..1 of right hands, or of mirrored left hands.
            features: True to return the intermediate maps as well.

        Returns:
            `gate` (B, 32, 32): visible share of the hand, 0..1; `pose6d` (B, 96); `joints_coord_img` (B, 21, 2): x, y
            in 0..1 of the crop; `mano_pose` (B, 48): axis-angles without MANO's mean pose; `mano_shape` (B, 10). With
            a MANO model `joints_coord_cam` (B, 21, 3) and `mesh_coord_cam` (B, 778, 3), metres in MANO's axes, neither
            centred nor in camera space, and `manojoints2cam` (B, 16, 4, 4). Joints are MediaPipe's 21.

            With `features` also `primary`, `secondary`, `FIT` and `SET` (B, 256, 32, 32), `score` (B, 21, 32, 32), and
            for each block `FIT.block0` (B, 256, 32, 32), `FIT.block0.soft` (B, 4, 1024, 1024): the attention,
            `FIT.block0.sigmoid` (B, 4, 32, 32): the factor of its output; `SET.block0`, `SET.block0.soft`.
        """
        if images.ndim != 4 or images.shape[1:] != (3, self.size.image, self.size.image):
            expected = f"(B, 3, {self.size.image}, {self.size.image})"
            raise InputError(f"{self.name}: images have shape {tuple(images.shape)}; expected {expected}")
        maps: dict[str, Tensor] | None = {} if features else None
        trunk, gate = self.backbone.apply_gate(images)
        primary, secondary = trunk * gate, trunk * (1 - gate)
        hand = trunk if self.fit == "none" else primary
        if self.fit in ("full", "softmax"):
            hand = self.FIT(secondary, primary, maps, "FIT")
        if self.refine:
            hand = self.SET(hand, hand, maps, "SET")
        joints, scores, pose6d, shape = self.regressor(hand)
        rotations = matrix_from_6d(pose6d.unflatten(1, (-1, 6)))
        # As published; no rotation gives NaN.
        pose = axis_angle_from_matrix(rotations).flatten(1).nan_to_num(nan=0.0)
        out = {
            "gate": gate.squeeze(1),
            "pose6d": pose6d,
            "joints_coord_img": joints,
            "mano_pose": pose,
            "mano_shape": shape,
        }
        if self.mano is not None:
            posed = self.mano.posed(pose, shape, flat_hand_mean=False, tips="handoccnet")
            out |= {
                "joints_coord_cam": posed.joints,
                "mesh_coord_cam": posed.vertices,
                "manojoints2cam": posed.transforms,
            }
        if maps is not None:
            out |= {"primary": primary, "secondary": secondary, "score": scores, **maps}
        return out

    def from_official(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights of a published checkpoint, without its MANO model, which must be the given one.

        Raises:
            InputError: The MANO model is another one.
        """
        weights = remove_mano(super().from_official(state_dict), _MANO_KEYS, self.mano)
        return {key: value for key, value in weights.items() if not key.startswith(_NOT_WEIGHTS)}


def _initialise(module: nn.Module) -> None:
    """Initialise with small weights, as published."""
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
