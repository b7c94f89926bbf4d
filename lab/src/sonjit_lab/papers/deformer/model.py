"""Evaluate Deformer on windows of recordings, in crops around the labelled hands."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonjit_lab.datasets import Instance, Sample
from sonjit_lab.datasets.sample import frames_around
from sonjit_lab.evaluation.labelled_hands import hand_points, image_pixels, mesh_prediction
from sonjit_lab.evaluation.models import ModelChoice
from sonjit_lab.evaluation.predictions import Mode, Prediction, WindowModel
from sonjit_lab.hand_models.mano_hands import hand_crop
from sonjit_lab.papers.deformer.meshes import frame_crop, load_deformer
from sonjit_lab.papers.deformer.network import GAP, box_around, rotate_to_camera

_CACHED_FRAMES = 1024  # encoded frames: a window reaches 30 to each side


class _Encoded(NamedTuple):
    """Features of a frame."""

    tokens: Tensor  # (C,)
    joints: Tensor  # (21, 2) in 0..1 of the hand's box
    pixels: NDArray[np.float64]  # (21, 2) the same in the image


class DeformerModel(WindowModel):
    """Deformer on windows of a recording's frames, each around the labelled box, or else around the true joints."""

    def __init__(self, weights: str | None, mano: str | None, mano_left: str | None, device: torch.device) -> None:
        self._network = load_deformer(weights, mano, mano_left, None, both=False).to(device).eval()
        self._cache: OrderedDict[tuple[str, str, str | None], _Encoded] = OrderedDict()

    def find(self, sample: Sample, rgb: NDArray[np.uint8], mode: Mode) -> list[Prediction]:
        return self.predict_window([sample], 0)

    @torch.inference_mode()
    def predict_window(self, samples: Sequence[Sample], index: int) -> list[Prediction]:
        """Return the hands of one sample, from the frames around it in its recording."""
        sample, network = samples[index], self._network
        predictions: list[Prediction] = []
        for number, instance in enumerate(sample.instances):
            if hand_points(instance) is None:
                continue
            window = frames_around(
                samples,
                index,
                network.size.frames,
                GAP,
                stops_at_gap=network.hands.variant.stops_at_gap,
                hand_of=lambda other, reference, labelled=instance: (
                    labelled if reference is None else _same_hand(other, reference)
                ),
            )
            frames = [self._encode(*frame) for frame in window]
            tokens, joints = (
                torch.stack(tensors)[None] for tensors in zip(*(frame[:2] for frame in frames), strict=True)
            )
            side = tokens.new_full(tokens.shape[:2], float(instance.side == "Left"))
            out = network.fuse(tokens, joints, side)
            pose = rotate_to_camera(out["mano_pose_aa"], network.hands.variant)
            meshes = network.hands(pose, out["mano_shape"], side.mean(1))
            vertices, hand = (points[0].double().cpu().numpy() for points in meshes)
            pixels = frames[len(frames) // 2].pixels
            predictions.append(mesh_prediction(sample, number, hand, vertices, pixels))
        return predictions

    def _encode(self, sample: Sample, hand: Instance) -> _Encoded:
        key = sample.dataset, sample.id, hand.side
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        points, network = hand_points(hand), self._network
        assert points is not None
        size, device = network.size.image, network.device
        area = frame_crop(sample, points)
        within = (points - (area.cx - area.width / 2, area.cy - area.height / 2)) * size / area.width
        box = box_around(within).clip(size, size)
        image = torch.from_numpy(hand_crop(sample.rgb(), area, size, mirrored=False)).permute(2, 0, 1)[None].float()
        tokens, joints = network.encode(image.to(device) / 255, torch.tensor([box], device=device))
        low, high = np.array(box[:2]), np.array(box[2:])
        encoded = _Encoded(
            tokens[0], joints[0], image_pixels((low + joints[0].double().cpu().numpy() * (high - low)) / size, area)
        )
        self._cache[key] = encoded
        if len(self._cache) > _CACHED_FRAMES:
            self._cache.popitem(last=False)
        return encoded


def _same_hand(sample: Sample, reference: Instance) -> Instance | None:
    hands = (item for item in sample.instances if item.side == reference.side and hand_points(item) is not None)
    return next(hands, None)


def open_deformer(choice: ModelChoice, device: torch.device) -> DeformerModel:
    """Open Deformer with MANO."""
    return DeformerModel(choice.weights, choice.mano, choice.mano_left, device)
