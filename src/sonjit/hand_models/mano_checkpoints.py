"""MANO inside published checkpoints: manopth keeps the model's numbers among the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit.errors import InputError
from sonjit.hand_models.mano_files import VERTICES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from sonjit.hand_models.mano import Mano

_LARGEST_DIFFERENCE = 1e-5  # metres, or what blends and weighs them


def without_mano(state_dict: Mapping[str, Tensor], prefix: str, mano: Mano | None) -> dict[str, Tensor]:
    """A checkpoint's weights without the MANO model that it holds, which must be the one given.

    Args:
        state_dict: by the official names.
        prefix: of the MANO model's names in it, e.g. `regressor.mano_regHead.mano_layer.`.
        mano: the model that the network uses; None checks nothing.

    Raises:
        InputError: the checkpoint was trained with another model.
    """
    held = {key.removeprefix(prefix): value for key, value in state_dict.items() if key.startswith(prefix)}
    if mano is not None:
        for field, own in _fields(mano).items():
            given = held.get(f"th_{field}")
            if given is None:
                continue
            if given.numel() != own.numel():
                raise InputError(f"the MANO model of these weights has another {field}: shape {tuple(given.shape)}")
            difference = float((given.reshape(own.shape).to(own) - own).abs().max())
            if not difference <= _LARGEST_DIFFERENCE:
                raise InputError(
                    f"these weights were trained with another MANO model than the {mano.side} one given: its {field} "
                    f"differs by up to {difference:.2g}; give the file that they were trained with"
                )
    return {key: value for key, value in state_dict.items() if not key.startswith(prefix)}


def _fields(mano: Mano) -> dict[str, Tensor]:
    """What decides a mesh, by manopth's names."""
    blends = mano.blend_shapes.unflatten(1, (3, VERTICES)).permute(2, 1, 0)  # (778, 3, 145)
    shapes = mano.joint_shapes.shape[0]
    return {
        "v_template": mano.template.view(3, VERTICES).T,
        "shapedirs": blends[..., :shapes],
        "posedirs": blends[..., shapes:],
        "weights": mano.skinning,
        "J_regressor": mano.joint_regressor,
        "hands_mean": mano.mean_pose,
        "comps": mano.components,  # kept only where poses are their coefficients
        "faces": mano.faces,
    }
