"""Scene → labelled images, one sample for each camera."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit.datasets.sample import HAND_SKELETON, Instance, Sample
from sonjit.synthesis.hands.hands import drawables_from_hand, keypoints_from_hand
from sonjit.synthesis.hands.shape import SHAPE_NAMES
from sonjit.synthesis.output.labels import label_hands
from sonjit.synthesis.output.layouts import MaskReader
from sonjit.synthesis.render.effects import Effects, apply_effects
from sonjit.synthesis.scene.cameras import view_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from sonjit.synthesis.hands.hands import SceneHand
    from sonjit.synthesis.output.labels import HandLabel
    from sonjit.synthesis.render.drawable import Buffers
    from sonjit.synthesis.render.renderer import Renderer
    from sonjit.synthesis.scene.scene import Scene

DATASET: Final = "synth"
_EFFECTS: Final = {
    "motion_px": "motion_blur",
    "backdrop_px": "backdrop_blur",
    "defocus_px": "defocus",
    "vignette": "vignette",
    "exposure": "exposure",
    "warmth": "white_balance",
    "low_light": "low_light",
    "noise": "noise",
    "infrared": "infrared",
    "compression": "compression",
}
"""Fields of `Effects` and their factors."""


def render_samples(renderer: Renderer, scene: Scene) -> Iterator[tuple[Sample, Buffers]]:
    """What each camera of a scene sees: its sample, the image in it as an array, and the buffers.

    A sample's `tags` are the scene's factors; an instance's `extra` holds `causes`, `palm_box` (cx, cy, width, height,
    rotation in radians), `keypoints_world_m`, `shape`, `pose` and `instance`.
    """
    drawables = [
        *(one for number, hand in enumerate(scene.hands, 1) for one in drawables_from_hand(hand, number)),
        *scene.objects,
    ]
    keypoints = [keypoints_from_hand(hand) for hand in scene.hands]
    about = [
        _about(hand, points, number)
        for number, (hand, points) in enumerate(zip(scene.hands, keypoints, strict=True), 1)
    ]
    effects = _effects(scene)
    subject = f"person{scene.factors['person']}"
    views = zip(scene.cameras, scene.sizes, scene.background, strict=True)
    for view, (camera, size, background) in enumerate(views):
        buffers = renderer.render(drawables, camera, size, scene.lighting, background)
        rgb = apply_effects(buffers.rgb, buffers, effects, np.random.default_rng((scene.seed, view)))
        labels = label_hands(keypoints, drawables, camera, buffers)
        hands = zip(scene.hands, labels, about, strict=True)
        sample = Sample(
            dataset=DATASET,
            id="",
            image=rgb,
            width=size[0],
            height=size[1],
            instances=tuple(_instance(*hand) for hand in hands),
            camera=camera,
            subject=subject,
            sequence=scene.sequence,
            frame=scene.frame,
            view=view_name(view),
            tags=scene.factors,
        )
        yield sample, buffers


def _effects(scene: Scene) -> Effects:
    """A scene's effects; a missing factor is off. The direction of motion follows from the seed."""
    values = {name: float(scene.factors.get(factor, 0)) for name, factor in _EFFECTS.items()}
    return Effects(**values, motion_deg=float(scene.seed % 360))


def _about(hand: SceneHand, points: NDArray[np.float64], number: int) -> dict[str, object]:
    """What is the same for all cameras."""
    pose = hand.pose
    return {
        "instance": number,
        "group": {"skin_tone": hand.look.tone},
        "keypoints_world_m": points.round(6),
        "shape": dict(zip(SHAPE_NAMES, hand.shape.round(4).tolist(), strict=True)),
        "pose": {
            "rotation": pose.rotation[0].round(6),
            "translation_m": pose.translation[0].round(6),
            "angles_rad": pose.angles[0].round(5),
        },
    }


def _instance(hand: SceneHand, label: HandLabel, about: dict[str, object]) -> Instance:
    causes = np.array(label.causes)
    return Instance(
        kind="hand",
        side=hand.side,
        skeleton=HAND_SKELETON,
        keypoints_px=label.keypoints_px.round(3),
        valid_px=causes != "outside",
        visible=causes == "visible",
        keypoints_m=label.keypoints_m.round(6),
        valid_m=np.ones(21, np.bool_),
        box=label.box,
        area_px2=float(np.count_nonzero(label.mask)),
        category=f"{hand.side.lower()}_hand",
        category_id=1 if hand.side == "Left" else 2,
        extra=about | {"causes": list(label.causes), "palm_box": [round(value, 3) for value in label.palm_box]},
        read_mask=MaskReader(label.mask),
    )
