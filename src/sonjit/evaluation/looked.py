"""Where a hand landmark network looks on average, for its card: maps over the hands of the bundled clip."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from sonjit.detectors import create_detector
from sonjit.documents.document import Plot
from sonjit.documents.plots import maps_svg
from sonjit.explain import load_hand_explainer
from sonjit.geometry import crop_matrix, inverse_affine
from sonjit.media import open_source
from sonjit.skeletons import load_skeleton

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TARGETS = ("handedness", "presence", "index_finger_tip.x", "index_finger_tip.y")
_SIDE = "Right"  # a left hand's map is the mirrored one
_EVERY = 10


def hand_maps_plot(variant: str) -> Plot:
    """Mean class activation maps of the published hand network, with the mean hand over them.

    Args:
        variant: `full` or `lite`.

    Raises:
        InputError: its weights are not on this machine.
    """
    explainer = load_hand_explainer(variant)
    maps: list[NDArray[np.float32]] = []
    hands: list[NDArray[np.float64]] = []
    with (
        resources.as_file(resources.files("sonjit") / "assets" / "demo.mp4") as clip,
        open_source(clip) as source,
        create_detector("hands", model=variant, static_image=True) as detector,
    ):
        for frame in source:
            if frame.index % _EVERY:
                continue
            for hand in detector.detect(frame.rgb):
                if hand.handedness != _SIDE:
                    continue
                looks = explainer.look(frame.rgb, hand, _TARGETS)
                maps.append(np.stack([look.values for look in looks]))
                matrix = inverse_affine(crop_matrix(looks[0].box, 1, 1))  # picture to fractions of the crop
                hands.append(np.c_[hand.keypoints[:, :2], np.ones(len(hand.keypoints))] @ matrix.T)
    title = f"Where hand-{variant} looks: mean maps over {len(hands)} right hands of the bundled clip"
    bones = load_skeleton("hand_mediapipe21").connections
    svg = maps_svg(list(zip(_TARGETS, np.mean(maps, 0), strict=True)), np.mean(hands, 0), bones, title)
    return Plot(f"hands-{variant}-maps", svg, title)
