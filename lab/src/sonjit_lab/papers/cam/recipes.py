"""Recipes of class activation maps, and of answers to questions; this module does not import PyTorch."""

import math
from collections.abc import Mapping
from typing import Final

from sonjit_lab.training.recipes import Ablation, AblationRow, Recipe

# The paper states no schedule: GoogLeNet, trained for ILSVRC, is fine-tuned after its last layers were replaced. Ten
# epochs of 1,281,167 images in batches of 256 are usual for that.
_ILSVRC: Final[Mapping[str, object]] = {
    "dataset": "ilsvrc-loc",
    "split": "train",
    "held_out_split": "val",
    "network": "cam-googlenet",
    "pretrained": True,
    "size": 224,
    "steps": 10 * 1_281_167 // 256,
    "batch": 256,
    "optimizer": "momentum",
    "momentum": 0.9,
    "learning_rate": 0.01,
    "learning_rate_factors": {},
    "weight_decay": 1e-4,
    "warmup": 500,
    "clip_norm": math.inf,
    "schedule": "step",
    "decay_at": [0.4, 0.8],
    "decay": 0.1,
    "held_out": 50_000,
    "save_every": 1000,
    "workers": 16,
    "augmentation": {"mirror": 0.5, "scale": [0.5, 1.0], "brightness": 0.2, "contrast": 0.2, "saturation": 0.2},
}

RECIPES: Final = (
    Recipe(
        name="cam",
        summary="classify left and right hands, and show where they are",
        function="sonjit_lab.papers.cam.recipe:train_cam",
        settings_class="sonjit_lab.papers.cam.recipe:CamSettings",
        data=("the bundled clip of rendered hands, or a video (--images) with its truth (--data)"),
        settings={
            "augmentation": {
                "mirror": 0.5,
                "rotation_deg": 15.0,
                "scale": [0.7, 1.2],
                "brightness": 0.25,
                "channels": 0.15,
            }
        },
        smoke={"steps": 60},
    ),
    Recipe(
        name="vqa",
        summary="answer questions about images, and show the regions behind an answer",
        function="sonjit_lab.papers.cam.recipe:train_vqa",
        settings_class="sonjit_lab.papers.cam.recipe:VqaSettings",
        data=(
            "questions, answers and images laid out as those of visualqa.org (--data), and a "
            "classifier (--weights), which stays as it is"
        ),
        licence="VQA: CC BY 4.0; the images are COCO's",
        requires=(
            "data",
            "weights",
        ),
        exports=False,
        smoke={"steps": 300},
        ablation={
            "parts": Ablation(
                title="Answers from image and question, or from one of them",
                metric="accuracy",
                source=("Zhou et al. 2015, Simple Baseline for Visual Question Answering; its figures are not at hand"),
                rows=(
                    AblationRow(label="only the question", set={"parts": "question"}),
                    AblationRow(label="only the image", set={"parts": "image"}),
                    AblationRow(label="both", set={"parts": "both"}),
                ),
            )
        },
    ),
    Recipe(
        name="cam-ilsvrc",
        summary="fine-tune GoogLeNet with class activation maps on ILSVRC",
        function="sonjit_lab.papers.cam.recipe:train_cam",
        settings_class="sonjit_lab.papers.cam.recipe:CamSettings",
        data="ILSVRC (--data ROOT); the start weights are those of `sonjit models pull classifiers`",
        licence="ILSVRC: for research, after registration",
        requires=("data",),
        settings=_ILSVRC,
        smoke={"steps": 4, "batch": 8, "size": 64, "network": "cam-small", "pretrained": False, "workers": 0},
    ),
)
