"""Fields of a MANO model under the names of MANO's files and of released checkpoints."""

import numpy as np
import torch

from sonjit_lab.hand_models.mano_files import PARENTS


def file_fields(mano):
    blends = mano.blend_shapes.unflatten(1, (3, 778)).permute(2, 1, 0)
    fields = {
        "v_template": mano.template.view(3, 778).T,
        "shapedirs": blends[..., :10],
        "posedirs": blends[..., 10:],
        "J_regressor": mano.joint_regressor,
        "weights": mano.skinning,
        "hands_components": mano.components,
        "hands_mean": mano.mean_pose,
        "f": mano.faces,
    }
    return {name: value.numpy() for name, value in fields.items()} | {"kintree_table": np.array([PARENTS, range(16)])}


def checkpoint_fields(mano):
    """Return tensors as manopth stores them in a network."""
    fields = {name: torch.from_numpy(value).contiguous() for name, value in file_fields(mano).items()}
    parts = {name: fields[name] for name in ("shapedirs", "posedirs", "J_regressor", "weights")}
    return parts | {
        "v_template": fields["v_template"][None],
        "hands_mean": fields["hands_mean"][None],
        "faces": fields["f"],
        "betas": torch.zeros(1, 10),
        "selected_comps": fields["hands_components"],
        "comps": fields["hands_components"],
    }
