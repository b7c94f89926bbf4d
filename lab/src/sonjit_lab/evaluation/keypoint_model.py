"""Evaluate the keypoint detector of the annotation studio in the boxes around the labelled hands."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from sonjit_lab.datasets import Sample
from sonjit_lab.datasets.sample import HAND_SKELETON, ordered_hand
from sonjit_lab.evaluation.models import ModelChoice
from sonjit_lab.evaluation.predictions import Mode, Model, Prediction
from sonjit_lab.networks.keypoint_detector import KeypointDetector
from sonjit_lab.networks.registry import required_checkpoint

_MIN_VISIBLE = 0.5  # probability from which a keypoint counts as visible


class KeypointModel(Model):
    """The studio's keypoint detector in the boxes around the labelled keypoints, by a run of `keypoint-detector`."""

    def __init__(self, weights: str, device: str) -> None:
        self._detector = KeypointDetector(weights, device)

    def find(self, sample: Sample, rgb: NDArray[np.uint8], mode: Mode) -> list[Prediction]:
        hands = [
            (number, hand, box)
            for number, instance in enumerate(sample.instances)
            if (hand := ordered_hand(instance)) and (box := replace(hand, box=None).bounds())
            if min(box[2] - box[0], box[3] - box[1]) >= 1
        ]
        detections = self._detector.detect(rgb, [box for *_, box in hands])
        return [
            Prediction(
                skeleton=HAND_SKELETON,
                side=hand.side,
                keypoints_px=item.keypoints.astype(np.float64),
                visible=np.asarray(item.visible > _MIN_VISIBLE, np.bool_),
                score=float(np.mean(item.confidence)),
                instance=number,
            )
            for (number, hand, _), item in zip(hands, detections, strict=True)
        ]


def open_keypoint_detector(choice: ModelChoice, device: torch.device) -> KeypointModel:
    """Open the keypoint detector."""
    return KeypointModel(required_checkpoint("keypoint-detector", choice.weights), str(device))
