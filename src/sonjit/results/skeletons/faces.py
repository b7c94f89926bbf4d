"""Landmarks of face meshes: blendshapes, the refined regions, and points that expressions do not move.

The names of the 52 blendshapes are those of MediaPipe's face landmarker. Apple's ARKit differs in two names: it lacks
the first, which is not an expression, and has `tongueOut`, which no network of Sonjit predicts.
"""

from importlib import resources
from typing import Final

from sonjit._util.data_files import read_json

_TABLES: Final = read_json(resources.files("sonjit.results.skeletons") / "face_mediapipe_regions.json")
NO_EXPRESSION: Final = "_neutral"  # output of the blendshape network that is not an expression. ARKit does not have it.
BLENDSHAPES: tuple[str, ...] = tuple(_TABLES["blendshapes"])
"""In the order of the network's outputs."""
BLENDSHAPE_LANDMARKS: tuple[int, ...] = tuple(_TABLES["blendshape_landmarks"])
"""Of the 478 of a face mesh, the 146 that the network takes, in its order."""
LIPS: tuple[int, ...] = tuple(_TABLES["lips"])
"""Four rings of 20 around the mouth: the outer rim of the lips, their inner rim, and two between."""
LEFT_EYE: tuple[int, ...] = tuple(_TABLES["left_eye"])
"""Of the eye on the image's left: 16 of its rim, then the skin around it and the brow."""
RIGHT_EYE: tuple[int, ...] = tuple(_TABLES["right_eye"])
"""Of the eye on its right, the same mirrored."""
STABLE_POINTS: dict[int, tuple[float, float, float]] = {
    int(index): (x, y, z) for index, (x, y, z) in _TABLES["stable_points"].items()
}
"""Points that neither jaw nor brows move, of an upright face turned to the camera, in widths between the outer eyes.

The mean of meshes that the networks found in photographs, made symmetrical; level where the line from forehead (10) to
chin is.
"""
