"""A model with MANO's shapes and no licence."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

from sonjit.hand_models.mano import load_mano
from sonjit.hand_models.mano_files import JOINTS, PARENTS, SHAPES, VERTICES

if TYPE_CHECKING:
    from sonjit.hand_models.mano import Mano, Side


def demo_mano(side: Side = "right") -> Mano:
    """A model with MANO's shapes and random numbers, the same everywhere: to try things out without a licence.

    It is no hand: its answers mean nothing.
    """
    prefix = "mano" if side == "right" else "mano_left"

    def drawn(field: str, spread: float | None = None) -> np.ndarray:
        rng = np.random.default_rng(zlib.crc32(f"{prefix}.{field}".encode()))
        if spread is not None:
            return rng.normal(0, spread, SHAPES[field]).astype(np.float32)
        shares = rng.uniform(0, 1, SHAPES[field]) ** 8
        return (shares / shares.sum(1, keepdims=True)).astype(np.float32)

    faces = np.random.default_rng(zlib.crc32(f"{prefix}.f".encode())).integers(0, VERTICES, SHAPES["f"])
    fields = {
        "v_template": drawn("v_template", 0.05),
        "shapedirs": drawn("shapedirs", 0.005),
        "posedirs": drawn("posedirs", 0.0005),
        "J_regressor": drawn("J_regressor"),
        "weights": drawn("weights"),
        "hands_components": drawn("hands_components", 0.15),
        "hands_mean": drawn("hands_mean", 0.2),
        "f": faces,
        "kintree_table": np.array([PARENTS, range(JOINTS)]),
    }
    return load_mano(fields, side)
