"""MANO as each variant of Deformer uses it, for right and left hands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn

from sonjit.errors import InputError
from sonjit.hand_models import demo_mano

if TYPE_CHECKING:
    from sonjit.hand_models import Mano
    from sonjit.hand_models.mano import Side


@dataclass(frozen=True)
class Variant:
    """How the networks of one data set use MANO, and which frames they see.

    Attributes:
        tips: layout of the joints, of `hand_models.mano.LAYOUTS`.
        pca: the fingers' 45 numbers are coefficients of MANO's principal components, three of which at a time go
            through six numbers and a rotation matrix as if they were an axis-angle.
        flat_hand_mean: MANO's mean pose is not added.
        stops_at_gap: beyond a frame that is missing, farther ones on its side are not looked for.
    """

    tips: str
    pca: bool
    flat_hand_mean: bool
    stops_at_gap: bool


VARIANTS: Final = {
    "ho3d": Variant("deformer_ho3d", pca=False, flat_hand_mean=True, stops_at_gap=False),
    "dexycb": Variant("deformer_dexycb", pca=True, flat_hand_mean=False, stops_at_gap=True),
}


class VariantHands(nn.Module):
    """Poses and shapes -> meshes.

    Args:
        variant: of `VARIANTS`.
        right: MANO's right hand, None, or `"demo"`.
        left: its left hand, likewise.
    """

    def __init__(self, variant: Variant, right: Mano | str | None, left: Mano | str | None) -> None:
        super().__init__()
        self.variant = variant
        self.right = _hand_model(right, "right")
        self.left = _hand_model(left, "left")

    def forward(self, pose: Tensor, shape: Tensor, side: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The meshes.

        Args:
            pose: (N, 48).
            shape: (N, 10).
            side: (N,) 0 for right, 1 for left; None: right.

        Returns:
            Vertices (N, 778, 3) and joints (N, 21, 3), metres in MANO's axes.

        Raises:
            InputError: a model that is needed was not given, or another side.
        """
        if side is None or not side.any():
            return self._of(self.right, pose, shape)
        if not ((side == 0) | (side == 1)).all():
            raise InputError(f"side={side.tolist()}: give 0 for a right or 1 for a left hand, the same over a window")
        order = side.argsort(stable=True)
        right, left = order.split([int((side == 0).sum()), int((side == 1).sum())])
        parts = [self._of(mano, pose[at], shape[at]) for mano, at in ((self.right, right), (self.left, left))]
        back = order.argsort()
        vertices, joints = (torch.cat(each)[back] for each in zip(*parts, strict=True))
        return vertices, joints

    def _of(self, mano: Mano | None, pose: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
        if mano is None:
            name, side = ("mano", "right") if self.right is None else ("mano_left", "left")
            raise InputError(f"deformer needs {name}=load_mano(FILE, side={side!r}) for meshes of {side} hands")
        kind = self.variant
        return mano(pose, shape, flat_hand_mean=kind.flat_hand_mean, tips=kind.tips, pca=kind.pca)


def _hand_model(given: Mano | str | None, side: Side) -> Mano | None:
    if given == "demo":
        return demo_mano(side)
    if isinstance(given, str):
        raise InputError(f"{given!r} as a MANO model: give load_mano({given!r}, side={side!r})")
    if given is not None and given.side != side:
        raise InputError(f"a {given.side} hand as deformer's {side} MANO model: give load_mano(FILE, side={side!r})")
    return given
