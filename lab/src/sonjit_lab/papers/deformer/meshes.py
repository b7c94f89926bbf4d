"""Compute MANO meshes of detected hands with Deformer, which fuses the frames of each hand over a window in time."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field

import numpy as np
import torch

from sonjit._util import Image, InputError, IntArray, RealArray
from sonjit.geometry.boxes import RotatedBox
from sonjit.results import Frame, Hand
from sonjit_lab.datasets import Sample, coco
from sonjit_lab.hand_models.hand_mesh import MeshFacts, Sight
from sonjit_lab.hand_models.mano_hands import ManoHand, ManoHands, box_around_hand, hand_crop, mano_option
from sonjit_lab.networks import create_network, registry
from sonjit_lab.papers.deformer import network as deformer


@dataclass
class _Track:
    """Frames of one hand in a source."""

    stream: deformer.DeformerStream
    number: int
    left: bool  # side that the first frame shows: all frames of a window have one side
    waiting: dict[int, tuple[Hand, Sight]] = field(default_factory=dict[int, "tuple[Hand, Sight]"])


class DeformerHands(ManoHands):
    """Computes meshes with Deformer. Each frame is encoded once and fused when its neighbours are available."""

    model = "deformer"

    def __init__(
        self, network: deformer.DeformerNetwork, sight: Callable[[int, int], Sight], *, mirrored: bool = False
    ) -> None:
        super().__init__(sight, mirrored=mirrored)
        self._network = network
        self._tracks: dict[Hashable, _Track] = {}

    def add_frame(self, frame: Frame, rgb: Image) -> None:
        """Run the network on the hands of an image (H, W, 3)."""
        sight = self._sight(rgb.shape[1], rgb.shape[0])
        for number, hand in enumerate(frame.hands):
            track = self._track(hand, number)
            track.waiting[frame.index] = hand, sight
            image, box = self._image(rgb, hand)
            self._keep(track, track.stream.push(frame.index, image, box))
            if hand.id is None:
                self._keep(track, track.stream.finish())

    def finish(self) -> None:
        """Fuse the remaining frames."""
        for track in self._tracks.values():
            self._keep(track, track.stream.finish())

    def about(self) -> MeshFacts:
        """Return the meaning of the parameters."""
        numbers = "coefficients of MANO's principal components" if self._network.hands.variant.pca else "axis-angles"
        frames = self._network.size.frames
        return {
            "parameters": "mano_pose: the wrist's axis-angle in the camera's axes, then 45 numbers in MANO's order, "
            f"{numbers} from {'the flat hand' if self._network.hands.variant.flat_hand_mean else 'its mean pose'}; "
            "mano_shape: 10; of MANO's hand of the side that the image shows, the left one as distributed. "
            f"frame_weights: of the {frames} frames, {deformer.GAP} apart and oldest first, that the hand was fused "
            "from; where one was missing, that of its substitute"
        }

    def _track(self, hand: Hand, number: int) -> _Track:
        if hand.id is not None and hand.id in self._tracks:
            return self._tracks[hand.id]
        left = self.looks_left(hand)
        track = _Track(
            deformer.DeformerStream(self._network, left=left), number + 1 if hand.id is None else hand.id, left
        )
        if hand.id is not None:
            self._tracks[hand.id] = track
        return track

    def _image(self, rgb: Image, hand: Hand) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the crop (3, S, S) in 0..1 and the hand's box (4,) in pixels of the crop."""
        side = self._network.size.image
        area = box_around_hand(hand.keypoints[:, :2], rgb.shape[1], rgb.shape[0])
        image = torch.from_numpy(hand_crop(rgb, area, side, mirrored=False)).permute(2, 0, 1).float() / 255
        first = np.array([area.cx - area.width / 2, area.cy - area.height / 2])
        within = (hand.keypoints[:, :2] - first) * side / max(area.width, 1e-6)
        device = self._network.device
        return image.to(device), torch.tensor(deformer.box_around(within).clip(side, side), device=device)

    def _keep(self, track: _Track, fused: Iterable[deformer.Fused]) -> None:
        for index, outputs in fused:
            hand, sight = track.waiting.pop(index)
            turned = deformer.rotate_to_camera(outputs["mano_pose_aa"], self._network.hands.variant)
            pose, shape, weights = (
                values[0].cpu().numpy() for values in (turned, outputs["mano_shape"], outputs["confidences"])
            )
            name = f"{hand.handedness.lower()}-{track.number}"
            self._hands[index].append(
                ManoHand(
                    name=name, hand=hand, sight=sight, looks_left=track.left, pose=pose, shape=shape, weights=weights
                )
            )

    def _posed(self, hand: ManoHand) -> tuple[RealArray, RealArray, IntArray, bool]:
        pose, shape = (torch.from_numpy(values)[None].to(self._network.device) for values in (hand.pose, hand.shape))
        hands = self._network.hands
        vertices, joints = hands(pose, shape, pose.new_tensor([float(hand.looks_left)]))
        mano = hands.left if hand.looks_left else hands.right
        assert mano is not None
        return vertices[0].cpu().numpy(), joints[0].cpu().numpy(), mano.faces.cpu().numpy(), False


def load_deformer(
    weights: str | None, mano: str | None, mano_left: str | None, variant: str | None, *, both: bool = True
) -> deformer.DeformerNetwork:
    """Load Deformer with MANO's files; without `both`, a missing left hand is an error at the first left hand."""
    right = mano_option("deformer", "--mano", mano)
    needed = both or mano_left is not None
    left = mano_option("deformer", "--mano-left", mano_left, "left") if needed else None
    path = registry.required_checkpoint("deformer", weights)
    if path == "demo":
        variant = variant or "ho3d"
    network = create_network("deformer", path, mano=right, mano_left=left, variant=variant)
    assert isinstance(network, deformer.DeformerNetwork)
    if network.variant is None:
        raise InputError(f"{path} does not define its variant; set {deformer.VARIANT_CHOICES}")
    return network


def frame_crop(sample: Sample, points_px: RealArray, rotation_rad: float = 0.0) -> RotatedBox:
    """Return the square crop of a labelled frame, a square around the hand's points (K, 2) and the grasped object."""
    hand = deformer.box_around(points_px)
    return deformer.crop_square(hand, sample.width, sample.height, _grasped_object(sample, hand), rotation_rad)


def _grasped_object(sample: Sample, hand: deformer.Corners) -> deformer.Corners | None:
    """Return the box of the grasped object's corners (HO-3D), or of its mask if that overlaps the hand (DexYCB)."""
    for instance in sample.instances:
        if instance.kind != "object" or not instance.extra.get("grasped"):
            continue
        if "corners_m" in instance.extra and sample.camera is not None:
            return deformer.box_around(sample.camera.project(instance.extra["corners_m"]))
        mask = instance.mask()
        if mask is not None and (edges := coco.box_from_mask(mask)) is not None:
            box = deformer.Corners(*edges)
            overlaps = box.x_min < hand.x_max and hand.x_min < box.x_max
            return box if overlaps and box.y_min < hand.y_max and hand.y_min < box.y_max else None
    return None
