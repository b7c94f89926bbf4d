"""Recipes of InterNet and RootNet; this module does not import PyTorch."""

import math
from collections.abc import Mapping
from typing import Final

from sonjit_lab.training.recipes import Ablation, AblationRow, Recipe

# What InterNet on InterHand2.6M, STB and RHD share.
_PUBLISHED: Final[Mapping[str, object]] = {
    "batch": 64,
    "optimizer": "adam",
    "learning_rate": 1e-4,
    "weight_decay": 0.0,
    "warmup": 0,
    "clip_norm": math.inf,
    "schedule": "step",
    "workers": 8,
    "augmentation": {
        "mirror": 0.5,
        "rotation_deg": 90.0,
        "rotated": 0.6,
        "scale": [0.75, 1.25],
        "shift": 0.15,
        "normal": ["rotation", "scale"],
        "channels": 0.2,
    },
}
# The heatmaps' last layers must grow to peaks of 255, which a few hundred steps of the network's rate do
# not reach.
_SMOKE: Final[Mapping[str, object]] = {
    "steps": 500,
    "batch": 8,
    "learning_rate": 3e-3,
    "learning_rate_factors": {"pose_net.joint_conv": 50.0},
    "schedule": "cosine",
    "augmentation": {},
    "side": 64,
    "depth": 10,
    "width": 16,
    "channels": 24,
    "hidden": 64,
    "held_out": 60,
    "save_every": 100,
    "workers": 1,
}

RECIPES: Final = (
    Recipe(
        name="internet",
        summary=("InterNet: which hands there are, their joints in 2.5D, and how far they lie apart"),
        function="sonjit_lab.papers.interhand.internet_recipe:train_internet",
        settings_class="sonjit_lab.papers.interhand.internet_recipe:InterNetSettings",
        data=(
            "hands before calibrated cameras: InterHand2.6M (--data ROOT, dataset=interhand2.6m), "
            "what `sonjit synth` renders (dataset=folder test_split=), or any set with joints in "
            "space; without --data the bundled clip of rendered hands"
        ),
        licence=("InterHand2.6M: CC-BY-NC 4.0; torchvision's ResNet-50 for ImageNet, by trunk_weights=FILE: BSD-3"),
        # Moon et al. 2020, section 6 and the released code: 20 epochs of 1.36 million images in batches of 64, Adam
        # at 1e-4, a tenth of it from epoch 15 on and a hundredth from 17 on.
        settings={
            "dataset": "interhand2.6m",
            "test_split": "test",
            "steps": 425331,
            **_PUBLISHED,
            "decay_at": [0.75, 0.85],
            "decay": 0.1,
            "save_every": 2000,
        },
        smoke=_SMOKE,
        ablation={
            "heads": Ablation(
                title="InterNet with and without predicting which hands there are",
                metric="mpjpe_mm",
                unit="mm",
                higher_is_better=False,
                also=(
                    "mrrpe_mm",
                    "handedness",
                    "mean_pose_mpjpe_mm",
                ),
                notes=(
                    (
                        "No published comparison exists. Without the loss of the head, `handedness` is the output"
                        " of an untrained head."
                    ),
                    "The smoke run replaces InterHand2.6M by the bundled clip of rendered hands.",
                ),
                rows=(
                    AblationRow(label="joints and relative depth", set={"hand_type": False}),
                    AblationRow(label="and which hands", set={"hand_type": True}),
                ),
            )
        },
    ),
    Recipe(
        name="internet-stb",
        summary="InterNet on STB, each hand by itself",
        function="sonjit_lab.papers.interhand.internet_recipe:train_internet",
        settings_class="sonjit_lab.papers.interhand.internet_recipe:InterNetSettings",
        data=("hands before calibrated cameras: STB (--data ROOT); without --data the bundled clip of rendered hands"),
        licence=(
            "STB: research; its owners state no licence; torchvision's ResNet-50 for ImageNet, by "
            "trunk_weights=FILE: BSD-3"
        ),
        # Moon et al. 2020, section 6 and the released code: 50 epochs of 15,000 images of backgrounds 2 to 6 in
        # batches of 64, Adam at 1e-4, a tenth of it from epoch 45 on and a hundredth from 47 on. Joints are
        # relative to the palm's centre.
        settings={
            "dataset": "stb",
            "layout": "stb",
            "split": "train",
            "test_split": "test",
            "steps": 11719,
            **_PUBLISHED,
            "decay_at": [0.9, 0.94],
            "decay": 0.1,
            "save_every": 1000,
        },
        smoke=_SMOKE,
    ),
    Recipe(
        name="internet-rhd",
        summary="InterNet on RHD, each hand by itself",
        function="sonjit_lab.papers.interhand.internet_recipe:train_internet",
        settings_class="sonjit_lab.papers.interhand.internet_recipe:InterNetSettings",
        data=("hands before calibrated cameras: RHD (--data ROOT); without --data the bundled clip of rendered hands"),
        licence=("RHD: research only; torchvision's ResNet-50 for ImageNet, by trunk_weights=FILE: BSD-3"),
        # Moon et al. 2020, section 6 and the released code: 50 epochs of 41,258 images in batches of 64,
        # Adam at 1e-4, a tenth of it from epoch 45 on and a hundredth from 47 on. Joints are relative to the wrist.
        settings={
            "dataset": "rhd",
            "layout": "rhd",
            "split": "training",
            "test_split": "evaluation",
            "steps": 32233,
            **_PUBLISHED,
            "decay_at": [0.9, 0.94],
            "decay": 0.1,
            "save_every": 1000,
        },
        smoke=_SMOKE,
    ),
    Recipe(
        name="rootnet",
        summary="RootNet: how far from the camera a hand's wrist is",
        function="sonjit_lab.papers.interhand.rootnet_recipe:train_rootnet",
        settings_class="sonjit_lab.papers.interhand.rootnet_recipe:RootNetSettings",
        data=(
            "hands before calibrated cameras: InterHand2.6M (--data ROOT, dataset=interhand2.6m), "
            "what `sonjit synth` renders (dataset=folder test_split=), or any set with joints in "
            "space; without --data the bundled clip of rendered hands"
        ),
        licence=("InterHand2.6M: CC-BY-NC 4.0; torchvision's ResNet-50 for ImageNet, by trunk_weights=FILE: BSD-3"),
        # Moon et al. 2019, section 5, and the released code for bodies: 20 epochs, Adam at 1e-3 for batches of 32,
        # a tenth of it from epoch 17 on. No schedule for hands was published; the steps are those epochs over
        # InterHand2.6M.
        settings={
            "dataset": "interhand2.6m",
            "test_split": "test",
            "steps": 850000,
            "batch": 32,
            "optimizer": "adam",
            "learning_rate": 1e-3,
            "weight_decay": 0.0,
            "warmup": 0,
            "clip_norm": math.inf,
            "schedule": "step",
            "decay_at": [0.85],
            "decay": 0.1,
            "save_every": 2000,
            "workers": 8,
            "augmentation": {
                "mirror": 0.5,
                "rotation_deg": 60.0,
                "rotated": 0.6,
                "normal": ["rotation"],
                "channels": 0.2,
            },
        },
        smoke={
            "steps": 400,
            "batch": 16,
            "learning_rate": 2e-3,
            "schedule": "cosine",
            "clip_norm": 100.0,
            "side": 64,
            "depth": 10,
            "width": 16,
            "channels": 16,
            "held_out": 60,
            "save_every": 100,
            "workers": 1,
        },
    ),
)
