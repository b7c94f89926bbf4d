"""Recipes of HandOccNet; this module does not import PyTorch."""

import math
from collections.abc import Mapping
from typing import Final

from sonjit_lab.training.recipes import Ablation, AblationRow, Recipe

# Park et al. 2022, section 4.1 and the released code, for HO-3D: 70 epochs of 66,034 images in batches of 64, Adam at
# 1e-4, 0.7 times it at every tenth epoch up to the sixtieth. All of the training set is used, so that the metrics of
# a run are those of training images; `sonjit eval` writes the file for the server.
_HO3D: Final[Mapping[str, object]] = {
    "dataset": "ho3d-v2",
    "test_split": "train",
    "steps": 72225,
    "batch": 64,
    "optimizer": "adam",
    "learning_rate": 1e-4,
    "weight_decay": 0.0,
    "warmup": 0,
    "clip_norm": math.inf,
    "schedule": "step",
    "decay_at": [0.142857, 0.285714, 0.428571, 0.571429, 0.714286, 0.857143],
    "decay": 0.7,
    "save_every": 1000,
    "workers": 8,
    "augmentation": {
        "rotation_deg": 60.0,
        "rotated": 0.6,
        "scale": [0.75, 1.25],
        "normal": ["rotation", "scale"],
        "channels": 0.2,
    },
}
# The same release for DexYCB: 25 epochs of 406,888 images, 0.9 times the rate after each.
_DEXYCB: Final[Mapping[str, object]] = {
    **_HO3D,
    "dataset": "dexycb",
    "split": "s0-train",
    "test_split": "s0-test",
    "steps": 25 * 406_888 // 64,
    "decay_at": [epoch / 25 for epoch in range(1, 25)],
    "decay": 0.9,
}
_SMOKE: Final[Mapping[str, object]] = {
    "mano": "stand-in",
    "size": "tiny",
    "steps": 500,
    "batch": 16,
    "learning_rate": 3e-3,
    "schedule": "cosine",
    "clip_norm": 100.0,
    "clips": 200,
    "held_out_clips": 40,
    "save_every": 100,
    "workers": 1,
}

RECIPES: Final = (
    Recipe(
        name="handoccnet",
        summary=("HandOccNet: mesh and joints of one hand, much of which may be hidden, through MANO"),
        function="sonjit_lab.papers.handoccnet.recipe:train_handoccnet",
        settings_class="sonjit_lab.papers.handoccnet.recipe:HandOccSettings",
        data=(
            "hands with MANO's parameters before calibrated cameras (--data ROOT, dataset=ho3d-v2 or "
            "dexycb) and MANO's right hand, mano=MANO_RIGHT.pkl; with mano=stand-in and no --data "
            "synthetic clips of a hand of tubes"
        ),
        licence=("MANO: for research, after registration; HO-3D and DexYCB: see sonjit datasets list"),
        settings=_HO3D,
        smoke=_SMOKE,
        ablation={
            "transformers": Ablation(
                title="HandOccNet: treatment of occluded regions",
                metric="pa_mpjpe_mm",
                unit="mm",
                higher_is_better=False,
                also=(
                    "hidden_mm",
                    "mpjpe_mm",
                ),
                source=(
                    "Park et al. 2022, HandOccNet, table 5, on HO-3D: joint error, Procrustes aligned; the "
                    "values of its ablation are not at hand, only their order: each part lowers the error"
                ),
                notes=(
                    (
                        "Spatial attention reduces the weight of occluded regions, as earlier networks do. FIT "
                        "fills them with information from visible regions, and SET refines the result."
                    ),
                    (
                        "The smoke run replaces HO-3D and MANO by synthetic clips of a hand of tubes, and "
                        "HandOccNet by a tiny network."
                    ),
                ),
                smoke_settings={"steps": 300},
                rows=(
                    AblationRow(label="only features", set={"fit": "none", "refine": False}),
                    AblationRow(label="spatial attention", set={"fit": "gate", "refine": False}),
                    AblationRow(label="FIT without sigmoid", set={"fit": "softmax", "refine": False}),
                    AblationRow(label="FIT", set={"fit": "full", "refine": False}),
                    AblationRow(label="FIT and SET", set={"fit": "full", "refine": True}, published=9.1),
                ),
            )
        },
    ),
    Recipe(
        name="handoccnet-dexycb",
        summary="HandOccNet with the schedule for DexYCB",
        function="sonjit_lab.papers.handoccnet.recipe:train_handoccnet",
        settings_class="sonjit_lab.papers.handoccnet.recipe:HandOccSettings",
        data="DexYCB (--data ROOT) and MANO's right hand, mano=MANO_RIGHT.pkl",
        licence="MANO: for research, after registration; DexYCB: see sonjit datasets list",
        settings=_DEXYCB,
        smoke=_SMOKE,
    ),
)
