"""Recipes of Deformer; this module does not import PyTorch."""

import math
from collections.abc import Mapping
from typing import Final

from sonjit_lab.training.recipes import Ablation, AblationRow, Recipe

# Fu et al. 2023, section 4, and the released code, for DexYCB: 100 epochs of 406,888 windows in batches of 8, AdamW at
# 1e-5 with decay 5e-4, 0.7 times the rate every ten epochs; the discriminator at 1e-3 likewise.
_DEXYCB: Final[Mapping[str, object]] = {
    "dataset": "dexycb",
    "variant": "dexycb",
    "split": "s0-train",
    "test_split": "s0-test",
    "steps": 100 * 406_888 // 8,
    "batch": 8,
    "learning_rate": 1e-5,
    "weight_decay": 5e-4,
    "warmup": 0,
    "clip_norm": math.inf,
    "schedule": "step",
    "decay_at": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
    "decay": 0.7,
    "save_every": 5000,
    "workers": 8,
    "learning_rate_factors": {"discriminator.": 100.0},
    "augmentation": {
        "rotation_deg": 180.0,
        "scale": [0.8, 1.2],
        "shift": 0.1,
        "normal": ["scale"],
        "brightness": 0.5,
        "contrast": 0.5,
        "saturation": 0.5,
        "hue": 0.15,
        "blur_px": 0.5,
    },
}
# The same for HO-3D: 100 epochs of its 66,034 windows, and all of the training set.
_HO3D: Final[Mapping[str, object]] = {
    **_DEXYCB,
    "dataset": "ho3d-v2",
    "variant": "ho3d",
    "split": "train",
    "test_split": "train",
    "steps": 100 * 66_034 // 8,
}
_SMOKE: Final[Mapping[str, object]] = {
    "variant": "ho3d",
    "mano": "stand-in",
    "size": "small",
    "steps": 600,
    "batch": 8,
    "learning_rate": 1e-3,
    "clip_norm": 1000.0,
    "schedule": "cosine",
    "discriminator_channels": 32,
    "learning_rate_factors": {},
    "augmentation": {},
    "clips": 150,
    "held_out_clips": 20,
    "save_every": 100,
    "workers": 1,
}

RECIPES: Final = (
    Recipe(
        name="deformer",
        summary=("Deformer: mesh and joints of one hand in a video, hidden or blurred in some frames, through MANO"),
        function="sonjit_lab.papers.deformer.recipe:train_deformer",
        settings_class="sonjit_lab.papers.deformer.recipe:DeformerSettings",
        data=(
            "videos of hands with MANO's parameters in front of calibrated cameras (--data ROOT, "
            "dataset=dexycb, or ho3d-v2 with variant=ho3d) and MANO's hands, mano=MANO_RIGHT.pkl and "
            "mano_left=MANO_LEFT.pkl; with mano=stand-in and no --data synthetic clips of a hand of "
            "tubes behind a passing bar"
        ),
        licence=("MANO: for research, after registration; HO-3D and DexYCB: see sonjit datasets list"),
        settings=_DEXYCB,
        smoke=_SMOKE,
        ablation={
            "losses": Ablation(
                title="Deformer with and without maxMSE and its motion discriminator",
                metric="pa_mpjpe_mm",
                unit="mm",
                higher_is_better=False,
                also=(
                    "pa_auc",
                    "pa_25_50_mm",
                    "pa_50_75_mm",
                    "finger_to_palm",
                    "palm_mm",
                    "finger_mm",
                    "mpjpe_mm",
                    "jerk_mm",
                ),
                source=(
                    "Fu et al. 2023, Deformer, ablation on DexYCB: MPJPE, Procrustes aligned, over all "
                    "frames; its other columns, AUC and by hidden share, are in the table dexycb-occlusion of"
                    " sonjit eval"
                ),
                notes=(
                    (
                        "finger_to_palm is the mean error of the joints within the fingers, divided by that of "
                        "the knuckles. maxMSE aims to bring it closer to 1."
                    ),
                    (
                        "The smoke run replaces DexYCB and MANO by synthetic clips of a hand of tubes, and "
                        "Deformer by a small network."
                    ),
                ),
                smoke_settings={"steps": 250},
                rows=(
                    AblationRow(label="neither", set={"maxmse": False, "discriminator": False}, published=5.72),
                    AblationRow(label="discriminator", set={"maxmse": False, "discriminator": True}, published=5.63),
                    AblationRow(label="maxMSE", set={"maxmse": True, "discriminator": False}, published=5.43),
                    AblationRow(label="both", set={"maxmse": True, "discriminator": True}, published=5.22),
                ),
            ),
            "fusion": Ablation(
                title="Deformer with and without dynamic fusion",
                metric="pa_mpjpe_mm",
                unit="mm",
                higher_is_better=False,
                also=(
                    "pa_auc",
                    "pa_25_50_mm",
                    "pa_50_75_mm",
                    "mpjpe_mm",
                    "jerk_mm",
                ),
                source=(
                    "Fu et al. 2023, Deformer, on DexYCB: MPJPE, Procrustes aligned, with fusion; that "
                    "without is not at hand"
                ),
                notes=(
                    (
                        "Without fusion, the pose is that of the middle frame. Only the temporal transformer "
                        "gives it information from other frames."
                    ),
                    (
                        "The smoke run replaces DexYCB and MANO by synthetic clips of a hand of tubes, and "
                        "Deformer by a small network."
                    ),
                ),
                smoke_settings={"steps": 250},
                rows=(
                    AblationRow(label="each frame's own pose", set={"fusion": False}),
                    AblationRow(label="fused", set={"fusion": True}, published=5.22),
                ),
            ),
        },
    ),
    Recipe(
        name="deformer-ho3d",
        summary="Deformer with the schedule and the conventions for HO-3D",
        function="sonjit_lab.papers.deformer.recipe:train_deformer",
        settings_class="sonjit_lab.papers.deformer.recipe:DeformerSettings",
        data="HO-3D (--data ROOT) and MANO's right hand, mano=MANO_RIGHT.pkl",
        licence="MANO: for research, after registration; HO-3D: see sonjit datasets list",
        settings=_HO3D,
        smoke=_SMOKE,
    ),
)
