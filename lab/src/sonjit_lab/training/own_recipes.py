"""Recipes of Sonjit's own networks; this module does not import PyTorch."""

from collections.abc import Mapping
from typing import Final

from sonjit_lab.training.recipes import Recipe

_RENDERED: Final = (
    "folders that sonjit synth wrote, below --data; the comments of the recipe in "
    "sonjit_lab/training/own_recipes.py have the lines that make them"
)
_GESTURE_FOLDERS: Final = (
    "train-made",
    "train-other",
    "train-any",
    "train-loose",
    "train-rest",
    "tilted-made",
    "tilted-other",
    "tilted-loose",
    "tilted-rest",
)
_POSE: Final[Mapping[str, object]] = {
    "steps": 4000,
    "learning_rate": 2e-6,
    "augmentation": {
        "mirror": 0.5,
        "rotation_deg": 20.0,
        "scale": [0.87, 1.15],
        "shift": 0.06,
        "brightness": 0.2,
        "contrast": 0.2,
    },
}
_SMOKE_POSE: Final[Mapping[str, object]] = {"steps": 20, "images": 32, "held_out": 8, "batch": 4}

RECIPES: Final = (
    Recipe(
        name="keypoint-detector",
        summary=(
            "find a hand's 21 keypoints in pixels, for the annotation studio, from images labelled there or rendered"
        ),
        function="sonjit_lab.training.hands.keypoint_detector:train_keypoint_detector",
        settings_class="sonjit_lab.training.hands.keypoint_detector:KeypointDetectorSettings",
        data=(
            "images with hands' keypoints in COCO's format, as the annotation studio and `sonjit "
            "synth` write them (--data), and their folder (--images) if it differs from that of the "
            "labels; any set of `sonjit datasets list` with dataset=NAME; without --data the bundled "
            "clip of rendered hands"
        ),
        licence=(
            "timm's weights for the trunk are Apache-2.0; they are fetched by you and named by backbone_weights=FILE"
        ),
        settings={
            "steps": 20000,
            "batch": 32,
            "workers": 8,
            "augmentation": {
                "mirror": 0.5,
                "rotation_deg": 60.0,
                "scale": [0.75, 1.25],
                "shift": 0.15,
                "brightness": 0.3,
                "channels": 0.1,
            },
        },
        smoke={
            "backbone": "test_efficientnet",
            "channels": 32,
            "side": 64,
            "steps": 300,
            "batch": 16,
            "learning_rate": 3e-3,
            "held_out": 40,
            "workers": 1,
        },
    ),
    Recipe(
        name="hand-heads",
        summary=(
            "train the shipped heads of the published hand networks: visible keypoints, and a calibrated left or right"
        ),
        function="sonjit_lab.training.hands.heads:train_hand_heads",
        settings_class="sonjit_lab.training.hands.heads:HandHeadSettings",
        data=_RENDERED,
        requires=("data",),
        exports=False,
        # The training set of the shipped heads: 7,300 images; 1,500 others are for evaluation. T and H stand for what
        # follows.
        # T: --set hands=1,2,interacting --set background=plain,blobs,clutter --set distance=0.25..0.8
        #    --set glove=none,latex,knit,work
        # H: --set hands=1,2,interacting --set background=texture,room --set distance=0.25..0.8
        #    --set glove=none,leather,fingerless --set shape_sd=1.2..2
        #
        # sonjit synth DATA/train-1 --count 3000 --seed 101 T --set occluders=0..2
        # sonjit synth DATA/train-2 --count 1500 --seed 102 T --set held=cylinder,box,cup,phone,pen --set
        #     occluders=0..1
        # sonjit synth DATA/train-3 --count 1600 --seed 103 T --set occluders=0..2
        # sonjit synth DATA/train-4 --count 1200 --seed 104 T --set occluders=0..1 --set hands=interacting
        # sonjit synth DATA/heldout-1 --count 1000 --seed 901 H --set occluders=0..2
        # sonjit synth DATA/heldout-2 --count 500 --seed 902 H --set held=ball,bottle,card --set occluders=0..1
        settings={
            "seed": 0,
            "steps": 2000,
            "batch": 128,
            "more": 2,
            "train": ["train-1", "train-2", "train-3", "train-4"],
            "held_out": ["heldout-1", "heldout-2"],
        },
        smoke={"steps": 30, "batch": 32, "hidden": 8, "more": 0},
    ),
    Recipe(
        name="refine",
        summary=("train the shipped refinement of the published hand networks' keypoints, from their feature maps"),
        function="sonjit_lab.training.hands.refinement:train_refinement",
        settings_class="sonjit_lab.training.hands.refinement:RefinementSettings",
        data=_RENDERED,
        requires=("data",),
        exports=False,
        # The images of the shipped refinement: 11,000 for training and 1,200 for evaluation.
        # T and H stand for what follows.
        # T: --set background=plain,blobs,clutter --set person=0..799 --set glove=none,none,none,latex,knit,work
        #    --set distance=0.25..0.8 --set cut=0..0.3
        # H: --set background=texture,room --set person=800..999 --set glove=none,none,none,leather,fingerless
        #    --set distance=0.25..0.8 --set cut=0..0.3
        #
        # sonjit synth DATA/refine-1 --count 7000 --seed 7601 T --set hands=1 --set held=none --set occluders=0
        # sonjit synth DATA/refine-2 --count 4000 --seed 7603 T --set gesture=any --set hands=1,2,interacting
        #   --set occluders=0..1
        # sonjit synth DATA/refine-held-1 --count 600 --seed 7901 H --set hands=1 --set held=none --set occluders=0
        # sonjit synth DATA/refine-held-2 --count 300 --seed 7902 H --set hands=1,2 --set held=ball,bottle,card
        #   --set occluders=0..1
        # sonjit synth DATA/refine-held-3 --count 300 --seed 7903 H --set gesture=any --set hands=1,2,interacting
        #   --set occluders=0..1 --set motion_blur=0..15
        #
        # The maps take 200 kB a crop in the run's folder.
        settings={"train": ["refine-1", "refine-2"], "held_out": ["refine-held-1", "refine-held-2", "refine-held-3"]},
        smoke={"steps": 20, "batch": 8, "more": 0, "channels": 4, "hidden": 8},
    ),
    Recipe(
        name="gestures",
        summary=(
            "train the shipped classifier of gestures, on the keypoints that the hand network finds in posed hands"
        ),
        function="sonjit_lab.training.gestures:train_gestures",
        settings_class="sonjit_lab.training.gestures:GestureSettings",
        data=_RENDERED,
        requires=("data",),
        exports=False,
        # The images of the shipped classifier. MADE, LOOSE, OTHER, REST, ALONE, ANY, T, H and TILTED stand for what
        # follows.
        # MADE: --set gesture=fist,tight_fist,open,spread,stretched,flat_out,flat,rigid,point,thumb_up,victory,two,
        #     three,three_thumb,double_gun,four,ok,call,ily,pinch,finger_heart,gun,purse,hooked_index,horns,little
        # LOOSE: --set gesture=beside_point,loose_call,loose_fist,loose_horns,loose_ily,loose_thumb_up,middle_fist,
        #     slack_four,slack_gun,slack_little,slack_ok,slack_open,slack_point,slack_three,slack_three_thumb,
        #     slack_victory,thumb_up_loose,tucked_victory,two_pinch
        # OTHER: --set gesture=relaxed,neutral,half,tucked_fist,crossed,middle,middle_tip,ring_tip,little_tip,beak,
        #     beak_open,claw,hook,cup,hold,wrap,tripod
        # REST: --set gesture=last_three,ring,ring_little,vulcan,vulcan_thumb
        # ALONE: --set hands=1 --set held=none --set occluders=0 --set cut=0 --set distance=0.25..0.8
        # ANY: --set gesture=any --set hands=1,2,interacting --set occluders=0 --set cut=0 --set distance=0.25..0.8
        # T: --set background=plain,blobs,clutter --set person=0..799
        # H: --set background=texture,room --set person=800..999
        # TILTED: --set pitch_deg=-85..85
        #
        # sonjit synth DATA/train-made --count 30000 --seed 8000 ALONE T MADE
        # sonjit synth DATA/train-other --count 11000 --seed 8001 ALONE T OTHER
        # sonjit synth DATA/train-any --count 6200 --seed 8002 ANY T
        # sonjit synth DATA/train-loose --count 2500 --seed 8003 ALONE T LOOSE
        # sonjit synth DATA/train-rest --count 1200 --seed 8004 ALONE T REST
        # sonjit synth DATA/tilted-made --count 21000 --seed 8005 ALONE T MADE TILTED
        # sonjit synth DATA/tilted-other --count 7700 --seed 8006 ALONE T OTHER TILTED
        # sonjit synth DATA/tilted-loose --count 2500 --seed 8007 ALONE T LOOSE TILTED
        # sonjit synth DATA/tilted-rest --count 1200 --seed 8008 ALONE T REST TILTED
        # sonjit synth DATA/held-made --count 400 --seed 311 ALONE H MADE
        # sonjit synth DATA/held-other --count 150 --seed 312 ALONE H OTHER
        # sonjit synth DATA/held-any --count 150 --seed 313 ANY H
        # sonjit synth DATA/held-hanging --count 150 --seed 314 ALONE H MADE --set roll_deg=150..180
        #
        # At rest one core renders some 33 of them a second, and reads 100 crops. What the network of `seen` reads
        # takes 63 kB of memory a crop, for moments twice that: 20 GB for all of these images, half of it with
        # --set seen.crops=0.
        settings={
            "train": [*_GESTURE_FOLDERS],
            "held_out": ["held-made", "held-other", "held-any"],
            "people": 60,
            "each": 25,
            "free": 600,
            "rendered": 0.45,
            "flawless": 0.15,
            "steps": 14000,
            "batch": 512,
            "hidden": 512,
            "dropout": 0.15,
            "seen": {
                "folders": [*_GESTURE_FOLDERS],
                "steps": 32000,
            },
        },
        smoke={
            "crops": 1,
            "steps": 30,
            "batch": 32,
            "hidden": 16,
            "embedding": 8,
            "people": 1,
            "each": 2,
            "free": 20,
            "seen.crops": 0,
            "seen.steps": 20,
            "seen.channels": 4,
            "seen.correction": 8,
            "seen.hidden": 16,
        },
    ),
    Recipe(
        name="spelling",
        summary=(
            "train a classifier of a manual alphabet's letters, on the keypoints that the hand "
            "network finds in posed hands"
        ),
        function="sonjit_lab.training.gestures:train_gestures",
        settings_class="sonjit_lab.training.gestures:GestureSettings",
        data=_RENDERED,
        requires=("data",),
        exports=False,
        # The images of the shipped classifier. LETTERS, OTHERS, VIEW, T and H stand for what follows.
        # LETTERS: --set gesture=upright_fist,loose_fist,blade,slack_blade,arc,wide_arc,one_ring,slack_one_ring,
        #     nails,hooked_nails,ok,slack_ok,parallel,parallel_beak,two,level_two,little,slack_little,fork,
        #     slack_fork,gun,slack_gun,under_three,under_two,purse,round,crossed,slack_crossed,front_fist,
        #     middle_fist,under_one,victory,slack_victory,three,slack_three,hooked_index,flexed_index,call,loose_call
        # OTHERS: --set gesture=open,spread,flat,relaxed,neutral,half,point,slack_point,claw,hold,ily,horns,
        #     thumb_up,middle,any
        # VIEW: --set hands=1 --set held=none --set occluders=0 --set cut=0 --set distance=0.25..0.6 --set
        #     yaw_deg=-70..70 --set pitch_deg=-30..30
        # T: --set background=plain,blobs,clutter --set person=0..799
        # H: --set background=texture,room --set person=800..999
        #
        # sonjit synth DATA/train-letters --count 780 --seed 401 VIEW T LETTERS
        # sonjit synth DATA/train-others --count 220 --seed 402 VIEW T OTHERS
        # sonjit synth DATA/held-letters --count 300 --seed 411 VIEW H LETTERS
        # sonjit synth DATA/held-others --count 100 --seed 412 VIEW H OTHERS
        settings={
            "alphabet": "asl",
            "train": ["train-letters", "train-others"],
            "held_out": ["held-letters", "held-others"],
            "yaw_deg": 80,
        },
        smoke={"crops": 1, "steps": 30, "batch": 32, "hidden": 16, "embedding": 8, "people": 1, "each": 2, "free": 20},
    ),
    Recipe(
        name="face-mesh",
        summary="fine-tune the face mesh network on faces of 68, 98, 468 or 478 points",
        function="sonjit_lab.training.faces_and_bodies:train_points",
        settings_class="sonjit_lab.training.faces_and_bodies:PointSettings",
        data=("any set of faces by dataset=NAME: 300w, wflw, coco-wholebody, or your own in COCO's format"),
        requires=("data",),
        settings={
            "network": "face-mesh",
            "steps": 4000,
            "augmentation": {
                "rotation_deg": 20.0,
                "scale": [0.87, 1.15],
                "shift": 0.06,
                "brightness": 0.2,
                "contrast": 0.2,
            },
        },
        smoke={"steps": 20, "images": 32, "held_out": 8, "batch": 4},
    ),
    *(
        Recipe(
            name=f"pose-{size}",
            summary=f"fine-tune the {size} body network on bodies' keypoints",
            function="sonjit_lab.training.faces_and_bodies:train_points",
            settings_class="sonjit_lab.training.faces_and_bodies:PointSettings",
            data="any set of bodies by dataset=NAME: coco, coco-wholebody, or your own in COCO's format",
            requires=("data",),
            settings={"network": f"pose-{size}", **_POSE},
            smoke=_SMOKE_POSE,
        )
        for size in ("lite", "full", "heavy")
    ),
)
