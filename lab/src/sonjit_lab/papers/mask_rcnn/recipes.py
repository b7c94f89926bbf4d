"""Recipes of Mask R-CNN; this module does not import PyTorch."""

from typing import Final

from sonjit_lab.training.recipes import Ablation, AblationRow, Recipe

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
)
