"""MANO meshes of detected hands, by Deformer and by HandOccNet.

Deformer fuses each hand's frames over a window in time; HandOccNet takes each hand in a crop of its own, left ones
mirrored. Both keep MANO's parameters alone until a mesh is asked for.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from sonjit.arrays import Float32Array, Image, IntArray, RealArray
from sonjit.errors import InputError
from sonjit.geometry.boxes import RotatedBox, clamped_box, crop, rotated_box_around, square_box
from sonjit.hand_models import demo_mano, load_mano
from sonjit.meshes.hand_mesh import HandMesh, MeshModel, Sight, named_points
from sonjit.networks import create_network, load_checkpoint, network_entry
from sonjit.networks.checkpoints import need_option, saved_network
from sonjit.networks.hands3d.deformer import VARIANT_NEEDED, DeformerNetwork, official_variant, turned_to_camera
from sonjit.networks.hands3d.deformer_stream import GAP, DeformerStream, box_around
from sonjit.networks.hands3d.handoccnet import HandOccNetwork

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from numpy.typing import NDArray
    from torch import Tensor

    from sonjit.hand_models import Mano
    from sonjit.hand_models.mano import Side
    from sonjit.meshes.hand_mesh import HandRecord, MeshFacts
    from sonjit.networks.hands3d.deformer_stream import Fused
    from sonjit.results import Frame, Hand

_AROUND = 1.5  # a crop's sides in those of the box around the keypoints, as in training
_MIRROR = np.array([-1.0, 1.0, 1.0])


@dataclass(frozen=True)
class ManoHand:
    """One hand in one image.

    Attributes:
        name: in files, such as "right-1".
        hand: as it was found.
        sight: the image's camera.
        looks_left: it is a left hand in the image: a selfie view turns right hands into left ones.
        pose: (48,) numbers of MANO.
        shape: (10,).
        weights: (T,) of the frames that made it, oldest first, sum 1; None of a single frame.
    """

    name: str
    hand: Hand
    sight: Sight
    looks_left: bool
    pose: Float32Array
    shape: Float32Array
    weights: Float32Array | None = None


class ManoHands(MeshModel):
    """Keeps MANO's parameters of each hand, 1.5 kB, and makes the meshes when they are asked for.

    Args:
        sight: the camera of an image of this width and height.
        mirrored: the images are selfie views.
    """

    def __init__(self, sight: Callable[[int, int], Sight], *, mirrored: bool = False) -> None:
        self._sight, self._mirrored = sight, mirrored
        self._hands: defaultdict[int, list[ManoHand]] = defaultdict(list)

    @abstractmethod
    def _posed(self, one: ManoHand) -> tuple[RealArray, RealArray, IntArray, bool]:
        """Vertices (778, 3), joints (21, 3), faces, and whether all that is the mirror image."""

    def looks_left(self, hand: Hand) -> bool:
        """Whether a hand is a left one in the image."""
        return (hand.handedness == "Left") != self._mirrored

    def meshes(self, index: int) -> list[HandMesh]:
        """The hands of one image."""
        return [self._mesh(one) for one in self._hands.get(index, [])]

    @torch.inference_mode()
    def _mesh(self, one: ManoHand) -> HandMesh:
        """A hand before the camera."""
        vertices, joints, faces, mirrored = self._posed(one)
        if mirrored:
            vertices, joints, faces = vertices * _MIRROR, joints * _MIRROR, faces[:, ::-1]
        xy = one.hand.keypoints[:, :2]
        shift = one.sight.translation(joints, xy)
        vertices, joints = vertices + shift, joints + shift
        record: HandRecord = {
            "name": one.name,
            "id": one.hand.id,
            "handedness": one.hand.handedness,
            "score": round(float(one.hand.score), 4),
            "mirrored": mirrored,
            "mano_pose": one.pose.round(6).tolist(),
            "mano_shape": one.shape.round(6).tolist(),
            "translation_m": shift.round(6).tolist(),
            "keypoints3D": named_points(joints.round(6)),
        }
        if one.weights is not None:
            record["frame_weights"] = one.weights.round(6).tolist()
        pixels = one.sight.pixels(vertices, joints, xy)
        return HandMesh(one.name, one.hand.handedness, vertices, faces, pixels, None, record)


def box_around_hand(points: RealArray, width: int, height: int) -> RotatedBox:
    """The upright square around keypoints (K, 2) of an image that is the networks' crop, as in training."""
    around = rotated_box_around(points, 0.0)
    wide = around._replace(width=around.width * _AROUND, height=around.height * _AROUND)
    return square_box(clamped_box(wide, width, height) or wide, scale=1.0)


def hand_crop(rgb: Image, box: RotatedBox, side: int, *, mirrored: bool) -> Image:
    """(side, side, 3) of an image, black outside it."""
    cut = crop(rgb, box, side, side, border="zero")
    return np.ascontiguousarray(cut[:, ::-1]) if mirrored else cut


def checkpoint_option(network: str, weights: str | None) -> str:
    """The checkpoint of --weights, or an error that says where to get it."""
    if weights is None:
        entry = network_entry(network)
        raise InputError(
            f"--model {network} needs its checkpoint, --weights FILE: {entry.where} ({entry.licence}); "
            "demo tries it out with placeholder weights"
        )
    return weights


def mano_option(network: str, option: str, file: str | None, side: Side = "right") -> Mano:
    """MANO's hand, or an error that says where to get it."""
    if file is None:
        raise InputError(
            f"--model {network} needs MANO's {side} hand, {option} FILE: MANO_{side.upper()}.pkl, after registration, "
            "from https://mano.is.tue.mpg.de; demo tries it out with a placeholder model"
        )
    return demo_mano(side) if file == "demo" else load_mano(file, side)


@dataclass
class _Track:
    """One hand through a source."""

    stream: DeformerStream
    number: int
    left: bool  # in the image, by its first frame: a window has one side
    waiting: dict[int, tuple[Hand, Sight]] = field(default_factory=dict[int, "tuple[Hand, Sight]"])


class DeformerHands(ManoHands):
    """Deformer's meshes: every frame is encoded once, and fused when those around it came.

    Args:
        network: with MANO's right and left hand.
        sight: the camera of an image of this width and height.
        mirrored: the images are selfie views.
    """

    model = "deformer"

    def __init__(self, network: DeformerNetwork, sight: Callable[[int, int], Sight], *, mirrored: bool = False) -> None:
        super().__init__(sight, mirrored=mirrored)
        self._network = network.eval()
        self._tracks: dict[Hashable, _Track] = {}

    def add_frame(self, frame: Frame, rgb: Image) -> None:
        """Run the network on the hands of an image."""
        sight = self._sight(rgb.shape[1], rgb.shape[0])
        for number, hand in enumerate(frame.hands):
            track = self._track(hand, number)
            track.waiting[frame.index] = hand, sight
            image, box = self._image(rgb, hand)
            self._keep(track, track.stream.push(frame.index, image, box))
            if hand.id is None:
                self._keep(track, track.stream.finish())

    def finish(self) -> None:
        """Fuse the frames that still wait for later ones."""
        for track in self._tracks.values():
            self._keep(track, track.stream.finish())

    def about(self) -> MeshFacts:
        """What the parameters mean."""
        numbers = "coefficients of MANO's principal components" if self._network.hands.variant.pca else "axis-angles"
        frames = self._network.size.frames
        return {
            "parameters": "mano_pose: the wrist's axis-angle in the camera's axes, then 45 numbers in MANO's order, "
            f"{numbers} from {'the flat hand' if self._network.hands.variant.flat_hand_mean else 'its mean pose'}; "
            f"mano_shape: 10; of MANO's hand of the side that the image shows. frame_weights: of the {frames} frames, "
            f"{GAP} apart and oldest first, that the hand was fused from; where one was missing, that of its substitute"
        }

    def _track(self, hand: Hand, number: int) -> _Track:
        if hand.id is not None and hand.id in self._tracks:
            return self._tracks[hand.id]
        left = self.looks_left(hand)
        track = _Track(DeformerStream(self._network, left=left), number + 1 if hand.id is None else hand.id, left)
        if hand.id is not None:
            self._tracks[hand.id] = track
        return track

    def _image(self, rgb: Image, hand: Hand) -> tuple[torch.Tensor, torch.Tensor]:
        """The crop (3, S, S) in 0..1 and where the hand is in it (4,), in its pixels."""
        side = self._network.size.image
        area = box_around_hand(hand.keypoints[:, :2], rgb.shape[1], rgb.shape[0])
        image = torch.from_numpy(hand_crop(rgb, area, side, mirrored=False)).permute(2, 0, 1).float() / 255
        first = np.array([area.cx - area.width / 2, area.cy - area.height / 2])
        within = (hand.keypoints[:, :2] - first) * side / max(area.width, 1e-6)
        device = self._network.device
        return image.to(device), torch.tensor(box_around(within).clipped(side, side), device=device)

    def _keep(self, track: _Track, fused: Iterable[Fused]) -> None:
        for index, outputs in fused:
            hand, sight = track.waiting.pop(index)
            turned = turned_to_camera(outputs["mano_pose_aa"], self._network.hands.variant)
            pose, shape, weights = (
                values[0].cpu().numpy() for values in (turned, outputs["mano_shape"], outputs["confidences"])
            )
            name = f"{hand.handedness.lower()}-{track.number}"
            self._hands[index].append(ManoHand(name, hand, sight, track.left, pose, shape, weights))

    def _posed(self, one: ManoHand) -> tuple[RealArray, RealArray, IntArray, bool]:
        pose, shape = (torch.from_numpy(values)[None].to(self._network.device) for values in (one.pose, one.shape))
        hands = self._network.hands
        vertices, joints = hands(pose, shape, pose.new_tensor([float(one.looks_left)]))
        mano = hands.left if one.looks_left else hands.right
        assert mano is not None
        return vertices[0].cpu().numpy(), joints[0].cpu().numpy(), mano.faces.cpu().numpy(), False


def load_deformer(
    weights: str | None, mano: str | None, mano_left: str | None, variant: str | None, *, both: bool = True
) -> DeformerNetwork:
    """The network with MANO, from the files of `sonjit mesh`.

    Args:
        weights: its checkpoint.
        mano: MANO's right hand.
        mano_left: MANO's left hand.
        variant: which data set the checkpoint was trained on, where it does not say so itself.
        both: the left hand must be given; else its lack is an error at the first left hand.

    Raises:
        InputError: a file is missing or does not fit; the line says where to get it.
    """
    right = mano_option("deformer", "--mano", mano)
    needed = both or mano_left is not None
    left = mano_option("deformer", "--mano-left", mano_left, "left") if needed else None
    path = checkpoint_option("deformer", weights)
    if path == "demo":
        variant = variant or "ho3d"
    elif saved_network(Path(path)) is None:
        told = official_variant(load_checkpoint(Path(path)))
        if None not in (told, variant) and told != variant:
            raise InputError(f"{path}: its MANO models are those of variant {told}, not {variant}; leave it out")
        variant = told or variant
    need_option(path, "variant", variant, VARIANT_NEEDED)
    network = create_network("deformer", path, mano=right, mano_left=left, variant=variant)
    assert isinstance(network, DeformerNetwork)
    return network


class HandOccHands(ManoHands):
    """HandOccNet's meshes.

    Args:
        network: with MANO's right hand.
        sight: the camera of an image of this width and height.
        mirrored: the images are selfie views.
        features: keep the network's maps of the first hand.
    """

    model = "handoccnet"

    def __init__(
        self,
        network: HandOccNetwork,
        sight: Callable[[int, int], Sight],
        *,
        mirrored: bool = False,
        features: bool = False,
    ) -> None:
        super().__init__(sight, mirrored=mirrored)
        assert network.mano is not None
        self._network, self._mano, self._wants_features = network.eval(), network.mano, features
        self._side = network.size.image
        self.seen: tuple[NDArray[np.uint8], dict[str, Tensor]] | None = None
        """Crop (S, S, 3) and outputs of the first hand, with all maps."""

    @torch.inference_mode()
    def add_frame(self, frame: Frame, rgb: Image) -> None:
        """Run the network on the hands of an image."""
        if not frame.hands:
            return
        size = rgb.shape[1], rgb.shape[0]
        left = [self.looks_left(hand) for hand in frame.hands]
        crops = [
            hand_crop(rgb, box_around_hand(hand.keypoints[:, :2], *size), self._side, mirrored=mirrored)
            for hand, mirrored in zip(frame.hands, left, strict=True)
        ]
        images = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float().to(self._network.device) / 255
        out = self._network(images)
        if self._wants_features and self.seen is None:
            self.seen = crops[0], self._network(images[:1], features=True)
        sight = self._sight(*size)
        for number, (hand, looks_left) in enumerate(zip(frame.hands, left, strict=True)):
            pose, shape = out["mano_pose"][number].cpu().numpy(), out["mano_shape"][number].cpu().numpy()
            name = f"{hand.handedness.lower()}-{hand.id or number + 1}"
            self._hands[frame.index].append(ManoHand(name, hand, sight, looks_left, pose, shape))

    def finish(self) -> None:
        """Nothing is left to do."""

    def about(self) -> MeshFacts:
        """What the parameters mean."""
        return {
            "parameters": "mano_pose: 16 axis-angles in radians in MANO's order without its mean pose; mano_shape: 10; "
            "of MANO's right hand, where mirrored is true of the mirror image"
        }

    def _posed(self, one: ManoHand) -> tuple[RealArray, RealArray, IntArray, bool]:
        pose, shape = (torch.from_numpy(values)[None].to(self._network.device) for values in (one.pose, one.shape))
        vertices, joints = self._mano(pose, shape, flat_hand_mean=False, tips="handoccnet")
        return vertices[0].cpu().numpy(), joints[0].cpu().numpy(), self._mano.faces.cpu().numpy(), one.looks_left


def load_handoccnet(weights: str | None, mano: str | None) -> HandOccNetwork:
    """The network with MANO, from the files of `sonjit mesh`.

    Raises:
        InputError: a file is missing or does not fit; the line says where to get it.
    """
    hand = mano_option("handoccnet", "--mano", mano)
    network = create_network("handoccnet", checkpoint_option("handoccnet", weights), mano=hand)
    assert isinstance(network, HandOccNetwork)
    return network
