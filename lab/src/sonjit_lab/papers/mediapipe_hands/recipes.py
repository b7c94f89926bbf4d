"""Recipes of MediaPipe's hand networks, and of masks on their trunk; this module does not import PyTorch."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from sonjit_lab.training.recipes import Ablation, AblationRow, Recipe

_AUGMENTATION: Final[Mapping[str, object]] = {
    "mirror": 0.5,
    "rotation_deg": 20.0,
    "scale": [0.87, 1.15],
    "shift": 0.06,
    "brightness": 0.2,
    "contrast": 0.2,
    "channels": 0.1,
}
_SCRATCH: Final[Mapping[str, object]] = {
    "scratch": True,
    "batch": 64,
    "steps": 100000,
    "learning_rate": 1e-3,
    "warmup": 500,
    "save_every": 1000,
}
"""Settings of landmark networks that start with random weights."""
_SMALL: Final[Mapping[str, object]] = {
    "trunk": "tiny",
    "width": 3.0,
    "size": 64,
    "batch": 32,
    "steps": 1200,
    "learning_rate": 0.01,
    "warmup": 50,
    "save_every": 400,
    "limit": 0,
    "augmentation": {
        "mirror": 0.5,
        "rotation_deg": 6.0,
        "scale": [0.96, 1.04],
        "shift": 0.02,
        "brightness": 0.2,
        "contrast": 0.2,
    },
}
"""Settings of trials of the ablations on small sets."""


_HAND_LITE: Final = Recipe(
    name="hand-lite",
    summary="train the smaller hand landmark network: fine-tune the published one, or from scratch",
    function="sonjit_lab.papers.mediapipe_hands.landmarks:train_landmarks",
    settings_class="sonjit_lab.papers.mediapipe_hands.landmarks:LandmarkSettings",
    data=(
        "hands with keypoints, in COCO's format with images or video (--data, --images), or any data set by "
        "dataset=NAME"
    ),
    requires=("data",),
    settings={"network": "hand-lite", "workers": 4, "augmentation": _AUGMENTATION},
    smoke={"steps": 20, "limit": 32},
)
_TABLE2: Final = Ablation(
    title="Hand landmarks: what they are trained on",
    metric="mnae",
    higher_is_better=False,
    unit="% of the palm",
    also=("hands", "handedness"),
    source="Zhang et al. 2020, MediaPipe Hands, table 2",
    notes=(
        "--data contains the folders real, synthetic and real_test. A second render style with few people and poses "
        "replaces real images, see research/recipes.md.",
        "Measured on the second render style, of other people. Each row takes as many steps, from scratch.",
    ),
    settings={**_SCRATCH, "network": "hand-full", "test": "real_test"},
    smoke_settings=_SMALL,
    rows=(
        AblationRow(label="only real", set={"mix": {"real": 1.0}}, published=16.1),
        AblationRow(label="only synthetic", set={"mix": {"synthetic": 1.0}}, published=25.7),
        AblationRow(label="combined", set={"mix": {"real": 0.5, "synthetic": 0.5}}, published=13.4),
    ),
)
RECIPES: Final = (
    Recipe(
        name="palm",
        summary="train the palm detector: with and without its decoder, by focal loss or cross entropy",
        function="sonjit_lab.papers.mediapipe_hands.palms:train_palms",
        settings_class="sonjit_lab.papers.mediapipe_hands.palms:PalmSettings",
        data=(
            "images with and without hands, with keypoints in COCO's format (--data); rendered ones "
            "stand in for photographs"
        ),
        requires=("data",),
        modules=("faster_coco_eval",),
        settings={
            "steps": 60000,
            "warmup": 500,
            "save_every": 1000,
            "batch": 64,
            "learning_rate": 2e-3,
            "workers": 8,
            "augmentation": {
                "mirror": 0.5,
                "rotation_deg": 23.0,
                "scale": [0.7, 1.35],
                "shift": 0.12,
                "brightness": 0.25,
                "channels": 0.25,
            },
        },
        published={"learning_rate": 1e-5, "warmup": 5},
        smoke={
            "size": 96,
            "depth": 0,
            "channels": [16, 24, 32, 48, 64],
            "batch": 32,
            "steps": 900,
            "warmup": 50,
            "save_every": 300,
            "learning_rate": 0.01,
            "augmentation": {
                "mirror": 0.5,
                "rotation_deg": 7.0,
                "scale": [0.9, 1.1],
                "shift": 0.04,
                "brightness": 0.25,
                "channels": 0.25,
            },
        },
        ablation={
            "table1": Ablation(
                title="Palm detector: decoder and loss",
                metric="ap",
                unit="%",
                also=(
                    "ap_strict",
                    "parameters",
                ),
                source="Zhang et al. 2020, MediaPipe Hands, table 1",
                notes=(
                    (
                        "--data contains hands and without_hands for training, and hands_test and "
                        "without_hands_test for evaluation, with renders of other people and backgrounds, see "
                        "docs/recipes-hands.md."
                    ),
                    (
                        "The paper trains and tests on photographs, and states no overlap at which a palm counts "
                        "as found. Here it is an IoU of 0.5."
                    ),
                    (
                        "Cross entropy and focal loss are summed over all anchors, per anchor of a palm. Rows "
                        "differ only in the loss: the scores of cross entropy have a weight of 0.3, and focal "
                        "loss a gamma of 1. Both were chosen on other images and seeds, see "
                        "docs/recipes-hands.md."
                    ),
                ),
                settings={"sources": ["hands", "without_hands"], "test": ["hands_test", "without_hands_test"]},
                rows=(
                    AblationRow(
                        label="no decoder, cross entropy",
                        set={"decoder": False, "loss": "cross-entropy", "score_weight": 0.3},
                        published=86.22,
                    ),
                    AblationRow(
                        label="decoder, cross entropy",
                        set={"decoder": True, "loss": "cross-entropy", "score_weight": 0.3},
                        published=94.07,
                    ),
                    AblationRow(
                        label="decoder, focal loss",
                        set={"decoder": True, "loss": "focal", "gamma": 1.0},
                        published=95.7,
                    ),
                ),
            )
        },
    ),
    _HAND_LITE,
    replace(
        _HAND_LITE,
        name="hand-full",
        summary=(
            "train the hand landmark network: fine-tune the published one, with more keypoints where asked for, or "
            "from scratch"
        ),
        settings={"workers": 4, "augmentation": _AUGMENTATION},
        ablation={
            "table2": _TABLE2,
            "sources": replace(
                _TABLE2,
                title="Hand landmarks: in the wild, gestures and synthetic images",
                source=(
                    "Zhang et al. 2020, MediaPipe Hands, section 3: 6,000 images in the wild, 10,000 of gestures, "
                    "100,000 synthetic"
                ),
                notes=(
                    "--data contains the folders wild, gestures, synthetic and wild_test: your own sets, or renders "
                    "that replace them, see docs/recipes-hands.md.",
                    "Measured on images in the wild of other people. Each row takes as many steps, from scratch.",
                ),
                settings={**_SCRATCH, "network": "hand-full", "test": "wild_test"},
                rows=(
                    AblationRow(label="in the wild", set={"mix": {"wild": 1.0}}),
                    AblationRow(label="gestures", set={"mix": {"gestures": 1.0}}),
                    AblationRow(label="synthetic", set={"mix": {"synthetic": 1.0}}),
                    AblationRow(label="in the wild and gestures", set={"mix": {"wild": 0.5, "gestures": 0.5}}),
                    AblationRow(label="all three", set={"mix": {"wild": 0.34, "gestures": 0.33, "synthetic": 0.33}}),
                ),
            ),
            "table3": replace(
                _TABLE2,
                title="Hand landmarks: how large the network is",
                also=("parameters", "ms"),
                source=(
                    "Zhang et al. 2020, MediaPipe Hands, table 3: 1.0, 1.98 and 4.02 million parameters; 6.6, 16.1 and "
                    "36.9 ms on a Pixel 3"
                ),
                notes=(
                    "ms: median of 200 runs with OpenVINO on one thread of this machine, float32.",
                    "The published full network has 2.7 million parameters; the paper states 1.98.",
                    "The smoke run replaces them by three widths of one small trunk.",
                ),
                settings={
                    **_SCRATCH,
                    "test": "real_test",
                    "mix": {"real": 0.5, "synthetic": 0.5},
                    "timed": True,
                },
                rows=(
                    AblationRow(label="light", set={"network": "hand-lite"}, smoke_set={"width": 1.5}, published=11.83),
                    AblationRow(label="full", set={"network": "hand-full"}, smoke_set={"width": 3.0}, published=10.05),
                    AblationRow(
                        label="heavy", set={"network": "hand-heavy"}, smoke_set={"width": 4.0}, published=9.817
                    ),
                ),
            ),
        },
    ),
    replace(
        _HAND_LITE,
        name="hand-heavy",
        summary="train the largest hand landmark network, from scratch: no weights of it are published",
        settings={"network": "hand-heavy", **_SCRATCH, "workers": 8, "augmentation": _AUGMENTATION},
        smoke={"size": 96, "batch": 8, "steps": 40, "warmup": 5, "save_every": 20},
    ),
    Recipe(
        name="hand-masks",
        summary=(
            "train masks of hands, held objects and arms on rendered hands, on the frozen trunk of "
            "the published network"
        ),
        function="sonjit_lab.papers.mediapipe_hands.masks:train_hand_masks",
        settings_class="sonjit_lab.papers.mediapipe_hands.masks:HandMaskSettings",
        data=(
            "a folder of sonjit synth --masks; the comment of the recipe in "
            "sonjit_lab/papers/mediapipe_hands/recipes.py has the command"
        ),
        requires=("data",),
        # sonjit synth DATA --count 4000 --seed 421 --size 320x320 --masks --set hands=1,1,2,interacting
        #     --set held=none,none,ball,cylinder,bottle,cup,box,phone,pen,card --set distance=0.25..0.8
        settings={
            "workers": 1,
            "schedule": "cosine",
            "evaluate_every": 1000,
            "augmentation": {
                "mirror": 0.5,
                "rotation_deg": 20.0,
                "scale": [0.8, 1.9],
                "shift": 0.06,
                "brightness": 0.3,
                "contrast": 0.3,
                "saturation": 0.3,
                "channels": 0.1,
                "hue": 0.02,
                "blur_px": 1.0,
            },
        },
        smoke={"steps": 20, "batch": 2},
    ),
)
