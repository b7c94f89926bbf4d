"""Recipes of class activation maps, and of answers to questions; this module does not import PyTorch."""

from typing import Final

from sonjit_lab.training.recipes import Ablation, AblationRow, Recipe

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
)
