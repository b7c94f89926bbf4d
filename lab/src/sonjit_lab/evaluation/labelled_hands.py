"""Labelled hands as the input of networks, and the predictions of meshes in front of the camera."""

import numpy as np
from numpy.typing import NDArray

from sonjit.geometry.boxes import RotatedBox
from sonjit_lab.datasets import Instance, Sample
from sonjit_lab.evaluation.predictions import Prediction
from sonjit_lab.hand_models.hand_mesh import Sight


def hand_points(instance: Instance) -> NDArray[np.float64] | None:
    """Return the corners (2, 2) of the labelled box of a hand, or else its labelled keypoints (K, 2)."""
    if instance.kind != "hand" or instance.side is None:
        return None
    if instance.box is not None:
        return np.reshape(instance.box, (2, 2)).astype(np.float64)
    points = instance.labelled_px
    if points is None:
        return None
    points = points[np.isfinite(points).all(1)]
    return points if len(points) > 1 else None


def image_pixels(image_points: NDArray[np.float64], area: RotatedBox) -> NDArray[np.float64]:
    """Return pixels (21, 2) of the image for positions in 0 to 1 of an upright crop."""
    return np.array([area.cx, area.cy]) + (image_points - 0.5) * (area.width, area.height)


def mesh_prediction(
    sample: Sample, number: int, joints: NDArray[np.float64], vertices: NDArray[np.float64], pixels: NDArray[np.float64]
) -> Prediction:
    """Return a hand translated so that its joints project to these pixels (21, 2), if the camera is known."""
    side = sample.instances[number].side
    camera = sample.camera
    shift = np.zeros(3)
    if camera is not None:
        shift = Sight(camera.intrinsics, assumed=False).translation(joints, pixels)
    return Prediction(
        side=side,
        keypoints_px=pixels,
        keypoints_m=joints + shift,
        placed=camera is not None,
        vertices_m=vertices + shift,
        instance=number,
    )
