"""Evaluate HandOccNet in crops around the labelled hands."""

import numpy as np
import torch
from numpy.typing import NDArray

from sonjit.geometry.boxes import RotatedBox, box_from_corners, clamped_box, square_box
from sonjit_lab.datasets import Instance, Sample
from sonjit_lab.evaluation.labelled_hands import hand_points, image_pixels, mesh_prediction
from sonjit_lab.evaluation.models import ModelChoice
from sonjit_lab.evaluation.predictions import Mode, Model, Prediction
from sonjit_lab.hand_models.mano_hands import box_around_hand, hand_crop
from sonjit_lab.papers.handoccnet.meshes import load_handoccnet

_BOX_ENLARGEMENT = 1.5  # relative to the data set's box, as in HandOccNet's evaluation on HO-3D
_MIRROR = np.array([-1.0, 1.0, 1.0])


class HandOccNetModel(Model):
    """HandOccNet in crops around the labelled boxes, or else around the true joints."""

    def __init__(self, weights: str | None, mano: str | None, device: torch.device) -> None:
        self._network = load_handoccnet(weights, mano).to(device).eval()

    @torch.inference_mode()
    def find(self, sample: Sample, rgb: NDArray[np.uint8], mode: Mode) -> list[Prediction]:
        predictions: list[Prediction] = []
        for number, instance in enumerate(sample.instances):
            points = hand_points(instance)
            if points is None:
                continue
            area = _square(instance, points, sample)
            left = instance.side == "Left"
            side = self._network.size.image
            image = torch.from_numpy(hand_crop(rgb, area, side, mirrored=left)).permute(2, 0, 1)[None].float() / 255
            out = self._network(image.to(self._network.device))
            names = ("joints_coord_cam", "mesh_coord_cam", "joints_coord_img")
            joints, vertices, image_points = (out[name][0].double().cpu().numpy() for name in names)
            if left:
                joints, vertices = joints * _MIRROR, vertices * _MIRROR
                image_points = np.array([1.0, 0.0]) + image_points * (-1.0, 1.0)
            predictions.append(mesh_prediction(sample, number, joints, vertices, image_pixels(image_points, area)))
        return predictions


def _square(instance: Instance, points: NDArray[np.float64], sample: Sample) -> RotatedBox:
    if instance.box is None:
        return box_around_hand(points, sample.width, sample.height)
    labelled_box = box_from_corners(instance.box)
    return square_box(clamped_box(labelled_box, sample.width, sample.height) or labelled_box, scale=_BOX_ENLARGEMENT)


def open_handoccnet(choice: ModelChoice, device: torch.device) -> HandOccNetModel:
    """Open HandOccNet with MANO."""
    return HandOccNetModel(choice.weights, choice.mano, device)
