"""Recipes of Mask R-CNN; this module does not import PyTorch."""

import math
from collections.abc import Mapping
from typing import Final

from sonjit_lab.training.recipes import Ablation, AblationRow, Recipe

# Detectron2's baselines of Mask R-CNN with a pyramid ("1x"): 90,000 steps of 16 images, a tenth of the rate at 60,000
# and 80,000, after 1,000 steps of warm-up; stem and first stage frozen.
_COCO: Final[Mapping[str, object]] = {
    "dataset": "coco",
    "split": "train2017",
    "test_split": "val2017",
    "size": "full",
    "steps": 90_000,
    "batch": 16,
    "optimizer": "momentum",
    "momentum": 0.9,
    "learning_rate": 0.02,
    "weight_decay": 1e-4,
    "warmup": 1000,
    "clip_norm": math.inf,
    "schedule": "step",
    "decay_at": [59 / 89, 79 / 89],
    "decay": 0.1,
    "side": 800,
    "max_side": 1333,
    "samples": 0,
    "freeze": ["backbone.body.conv1", "backbone.body.layer1"],
    "held_out": 5000,
    "save_every": 1000,
    "workers": 8,
    "augmentation": {"mirror": 0.5},
}

RECIPES: Final = (
    Recipe(
        name="mask-rcnn",
        summary="train Mask R-CNN on a data set and evaluate it on images held out",
        function="sonjit_lab.papers.mask_rcnn.recipe:train_mask_rcnn",
        settings_class="sonjit_lab.papers.mask_rcnn.recipe:MaskRCNNSettings",
        data=("a data set, in COCO's format with images or video (--data, --images), or any by dataset=NAME"),
        requires=("data",),
        modules=("faster_coco_eval",),
        settings={
            "workers": 4,
            "augmentation": {
                "mirror": 0.5,
                "rotation_deg": 17.0,
                "scale": [0.75, 1.4],
                "shift": 0.15,
                "brightness": 0.3,
                "channels": 0.08,
            },
        },
        smoke={"steps": 60, "images": 32, "held_out": 16},
        ablation={
            "roi": Ablation(
                title="Pooling of regions, and mask heads",
                metric="mask_ap",
                also=(
                    "box_ap",
                    "mask_ap50",
                    "frames_per_second",
                ),
                seeds=(
                    0,
                    1,
                ),
                source=("He et al. 2017, Mask R-CNN, table 2 (c): mask AP on COCO val, ResNet-50-C4, as shares"),
                notes=(
                    (
                        "The published values are those of a network without a pyramid on COCO. Only their order "
                        "is comparable."
                    ),
                    "frames_per_second is measured on this machine with one image at a time.",
                ),
                smoke_settings={"steps": 4, "images": 4, "held_out": 4},
                rows=(
                    AblationRow(label="RoIAlign", published=0.303),
                    AblationRow(label="RoIPool", set={"roi": "pool"}, published=0.269),
                    AblationRow(label="RoIAlign, mask head with skip layers", set={"mask_head": "skip"}),
                ),
            )
        },
    ),
    *(
        Recipe(
            name=f"mask-rcnn-r{depth}",
            summary=f"Mask R-CNN with ResNet-{depth} and a pyramid, with the published schedule for COCO",
            function="sonjit_lab.papers.mask_rcnn.recipe:train_mask_rcnn",
            settings_class="sonjit_lab.papers.mask_rcnn.recipe:MaskRCNNSettings",
            data="COCO 2017 (--data ROOT); trunk_weights=FILE is torchvision's ResNet for ImageNet",
            requires=("data",),
            modules=("faster_coco_eval",),
            settings=_COCO | {"depth": depth},
            smoke={"steps": 4, "batch": 1, "size": "small", "side": 96, "max_side": 0, "freeze": [], "warmup": 0},
        )
        for depth in (50, 101)
    ),
)
