"""Networks of the registry under evaluation: looking at the ground-truth boxes, or at whole images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sonjit.errors import InputError
from sonjit.evaluation.predictions import Prediction, known_points
from sonjit.geometry.cameras import assumed_camera
from sonjit.results import Frame, Hand

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import torch
    from numpy.typing import NDArray

    from sonjit.datasets import Sample
    from sonjit.evaluation.predictions import Mode
    from sonjit.geometry.cameras import Intrinsics
    from sonjit.meshes.hand_mesh import NamedPoint
    from sonjit.meshes.mano_networks import HandOccHands
    from sonjit.networks import Network
    from sonjit.networks.mask_rcnn.mask_rcnn import SavedMaskRCNN

_CLASSES = 5


class _NetworkModel:
    """What networks have in common: no memory, nothing to free."""

    modes: tuple[Mode, ...] = ("ground-truth boxes",)

    def check(self, samples: Iterable[Sample]) -> None:
        """It takes any image."""

    def begin(self, mode: Mode) -> None:
        """Nothing is kept from image to image."""

    def close(self) -> None:
        """Nothing is held."""


class HandOccNetModel(_NetworkModel):
    """HandOccNet in crops around the true hands: joints and MANO's mesh from the wrist."""

    def __init__(self, weights: str | None, mano: str | None, device: torch.device) -> None:
        from sonjit.meshes.mano_networks import load_handoccnet

        self._network = load_handoccnet(weights, mano).to(device)

    def find(self, sample: Sample, rgb: NDArray[np.uint8], mode: Mode) -> list[Prediction]:
        """The hands of an image (H, W, 3)."""
        del mode
        known = _true_hands(sample)
        hands = self._hands(_camera(sample))
        hands.add_frame(Frame(0, None, [hand for _, hand in known]), rgb)
        return [
            Prediction(
                side=mesh.handedness,
                keypoints_px=hand.keypoints[:, :2],
                keypoints_m=_points(mesh.record["keypoints3D"]),
                vertices_m=np.asarray(mesh.vertices, np.float64),
                instance=number,
            )
            for (number, hand), mesh in zip(known, hands.meshes(0), strict=True)
        ]

    def _hands(self, camera: Intrinsics) -> HandOccHands:
        from sonjit.meshes.hand_mesh import Sight
        from sonjit.meshes.mano_networks import HandOccHands

        return HandOccHands(self._network, lambda width, height: Sight(camera, assumed=False))


class ClassifierModel(_NetworkModel):
    """A network with class activation maps: its five likeliest classes, with a box of each one's map."""

    modes = ("reacquisition",)

    def __init__(self, name: str, weights: str | None, classes: int, device: torch.device) -> None:
        from sonjit.networks import create_network, network_entry

        self._size = network_entry(name).inputs[0].shape[-1]
        network = create_network(name, needed_weights(name, weights), classes=classes)
        self._network: Network = network.to(device).eval()

    def find(self, sample: Sample, rgb: NDArray[np.uint8], mode: Mode) -> list[Prediction]:
        """The classes of an image (H, W, 3)."""
        from sonjit.explain.classes import explain_classes
        from sonjit.explain.overlay import enlarge
        from sonjit.metrics import box_from_map

        del mode
        height, width = rgb.shape[:2]
        return [
            Prediction(
                category_id=one.label, score=one.probability, box=box_from_map(enlarge(one.values, width, height))
            )
            for one in explain_classes(self._network, rgb, self._size, top=_CLASSES)
        ]


class InstancesModel(_NetworkModel):
    """Mask R-CNN over whole images."""

    modes = ("reacquisition",)

    def __init__(self, weights: str | None, device: torch.device) -> None:
        from sonjit.networks.mask_rcnn.mask_rcnn import load_mask_rcnn

        self._saved: SavedMaskRCNN = load_mask_rcnn(weights)
        self._network = self._saved.network.to(device)

    def find(self, sample: Sample, rgb: NDArray[np.uint8], mode: Mode) -> list[Prediction]:
        """Instances of an image (H, W, 3)."""
        import torch

        from sonjit.networks.mask_rcnn.mask_rcnn import paste_masks

        del mode
        with torch.inference_mode():
            pixels = torch.from_numpy(rgb).to(self._network.device).permute(2, 0, 1).float() / 255
            (found,) = self._network.find([pixels])
            masks = paste_masks(found.masks, found.boxes, rgb.shape[:2]).cpu().numpy() >= 0.5
        ids = [one.id for one in self._saved.categories]
        rows = zip(found.labels.tolist(), found.scores.tolist(), found.boxes.tolist(), masks, strict=True)
        return [
            Prediction(category_id=ids[label - 1], score=score, box=(box[0], box[1], box[2], box[3]), mask=mask)
            for label, score, box, mask in rows
        ]


def _true_hands(sample: Sample) -> list[tuple[int, Hand]]:
    """Labelled hands as if a detector had found them, with their numbers in the sample."""
    hands: list[tuple[int, Hand]] = []
    for number, one in enumerate(sample.instances):
        pixels, metres = known_points(one.keypoints_px, one.valid_px), known_points(one.keypoints_m, one.valid_m)
        if one.kind != "hand" or pixels is None or metres is None or one.side is None:
            continue
        if np.isfinite(pixels).all() and np.isfinite(metres).all():
            points = np.pad(pixels, ((0, 0), (0, 1))).astype(np.float32)
            hands.append((number, Hand(one.side, 1.0, points, metres.astype(np.float32))))
    return hands


def _camera(sample: Sample) -> Intrinsics:
    return assumed_camera(sample.width, sample.height) if sample.camera is None else sample.camera.intrinsics


def _points(records: Sequence[NamedPoint]) -> NDArray[np.float64]:
    return np.array([[one["x"], one["y"], one["z"]] for one in records], np.float64)


def needed_weights(name: str, weights: str | None) -> str:
    """Weights of a network that are given; InputError, with where to get them, for none."""
    from sonjit.networks import network_entry

    if weights is None:
        entry = network_entry(name)
        raise InputError(f"--model {name} needs its checkpoint, --weights FILE: {entry.where} ({entry.licence})")
    return weights
