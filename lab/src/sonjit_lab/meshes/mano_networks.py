"""Compute MANO meshes of detected hands with Deformer or HandOccNet.

Deformer fuses the frames of each hand over a window in time. HandOccNet processes each hand in its own crop and
mirrors left hands. Both store only MANO's parameters. Meshes are computed on request.
"""

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonjit._util import Float32Array, Image, InputError, IntArray, RealArray
from sonjit.geometry.boxes import RotatedBox, clamped_box, crop, rotated_box_around, square_box
from sonjit.results import Frame, Hand
from sonjit_lab.datasets import Sample, coco
from sonjit_lab.hand_models import Mano, load_mano
from sonjit_lab.hand_models.mano import Side
from sonjit_lab.hand_models.placeholders import mano_by_name
from sonjit_lab.meshes.hand_mesh import HandMesh, HandRecord, MeshFacts, MeshModel, Sight, named_points
from sonjit_lab.networks import create_network, deformer, handoccnet, modes, registry

_CROP_SCALE = 1.5  # side of a crop relative to the box around the keypoints, as in training
_MIRROR = np.array([-1.0, 1.0, 1.0])


@dataclass(frozen=True)
class ManoHand:
    """One hand in one image."""

    name: str  # name in files, such as "right-1"
    hand: Hand  # detected hand
    sight: Sight  # camera of the image
    looks_left: bool  # True if the image shows a left hand; a selfie view mirrors right hands
    pose: Float32Array  # (48,) pose parameters of MANO
    shape: Float32Array  # (10,) shape parameters of MANO
    # (T,) weights of the fused frames, oldest first, with sum 1; None for a single frame
    weights: Float32Array | None = None


class ManoHands(MeshModel):
    """Stores MANO's parameters of each hand, 1.5 kB, and computes meshes on request; `sight` as for `RiggedHands`."""

    def __init__(self, sight: Callable[[int, int], Sight], *, mirrored: bool = False) -> None:
        self._sight, self._mirrored = sight, mirrored
        self._hands: defaultdict[int, list[ManoHand]] = defaultdict(list)

    @abstractmethod
    def _posed(self, hand: ManoHand) -> tuple[RealArray, RealArray, IntArray, bool]:
        """Return vertices (778, 3), joints (21, 3), faces, and whether they are mirrored."""

    def looks_left(self, hand: Hand) -> bool:
        """Check whether the image shows a left hand."""
        return (hand.handedness == "Left") != self._mirrored

    def meshes(self, index: int) -> list[HandMesh]:
        """Return the meshes of one image."""
        return [self._mesh(hand) for hand in self._hands.get(index, [])]

    @torch.inference_mode()
    def _mesh(self, hand: ManoHand) -> HandMesh:
        """Compute a mesh in camera space."""
        vertices, joints, faces, mirrored = self._posed(hand)
        if mirrored:
            vertices = vertices * _MIRROR
            joints = joints * _MIRROR
            faces = faces[:, ::-1]
        xy = hand.hand.keypoints[:, :2]
        shift = hand.sight.translation(joints, xy)
        vertices, joints = vertices + shift, joints + shift
        record: HandRecord = {
            "name": hand.name,
            "id": hand.hand.id,
            "handedness": hand.hand.handedness,
            "score": round(float(hand.hand.score), 4),
            "mirrored": mirrored,
            "mano_pose": hand.pose.round(6).tolist(),
            "mano_shape": hand.shape.round(6).tolist(),
            "translation_m": shift.round(6).tolist(),
            "keypoints3D": named_points(joints.round(6)),
        }
        if hand.weights is not None:
            record["frame_weights"] = hand.weights.round(6).tolist()
        pixels = hand.sight.pixels(vertices, joints, xy)
        return HandMesh(
            name=hand.name,
            handedness=hand.hand.handedness,
            vertices=vertices,
            faces=faces,
            pixels=pixels,
            normals=None,
            record=record,
        )


def box_around_hand(points: RealArray, width: int, height: int) -> RotatedBox:
    """Return the upright square crop around keypoints (K, 2) in pixels, as in training."""
    around = rotated_box_around(points, 0.0)
    wide = around._replace(width=around.width * _CROP_SCALE, height=around.height * _CROP_SCALE)
    return square_box(clamped_box(wide, width, height) or wide, scale=1.0)


def hand_crop(rgb: Image, box: RotatedBox, side: int, *, mirrored: bool) -> Image:
    """Crop an image (H, W, 3) to (side, side, 3). Pixels outside the image are black."""
    cut = crop(rgb, box, side, side, border="zero")
    return np.ascontiguousarray(cut[:, ::-1]) if mirrored else cut


def mano_option(network: str, option: str, file: str | None, side: Side = "right") -> Mano:
    """Return MANO's hand. Raise InputError with its origin if it is missing."""
    if file is None:
        raise InputError(
            f"--model {network} requires MANO's {side} hand, {option} FILE: MANO_{side.upper()}.pkl, after "
            f"registration, from https://mano.is.tue.mpg.de. {option} demo uses a placeholder model"
        )
    return mano_by_name(file, side) or load_mano(file, side)


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


class HandOccHands(ManoHands):
    """Computes meshes with HandOccNet; with `features` it stores the network's maps of the first hand."""

    model = "handoccnet"

    def __init__(
        self,
        network: handoccnet.HandOccNetwork,
        sight: Callable[[int, int], Sight],
        *,
        mirrored: bool = False,
        features: bool = False,
    ) -> None:
        super().__init__(sight, mirrored=mirrored)
        assert network.mano is not None
        self._network = network
        self._mano = network.mano
        self._store_features = features
        self._side = network.size.image
        self.first_hand: tuple[NDArray[np.uint8], dict[str, Tensor]] | None = None
        """Crop (S, S, 3) and outputs of the first hand, with all maps."""

    @torch.inference_mode()
    def add_frame(self, frame: Frame, rgb: Image) -> None:
        """Run the network on the hands of an image (H, W, 3)."""
        if not frame.hands:
            return
        size = rgb.shape[1], rgb.shape[0]
        left = [self.looks_left(hand) for hand in frame.hands]
        crops = [
            hand_crop(rgb, box_around_hand(hand.keypoints[:, :2], *size), self._side, mirrored=mirrored)
            for hand, mirrored in zip(frame.hands, left, strict=True)
        ]
        images = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float().to(self._network.device) / 255
        with modes.eval_mode(self._network):
            out = self._network(images)
            if self._store_features and self.first_hand is None:
                self.first_hand = crops[0], self._network(images[:1], features=True)
        sight = self._sight(*size)
        for number, (hand, looks_left) in enumerate(zip(frame.hands, left, strict=True)):
            pose, shape = out["mano_pose"][number].cpu().numpy(), out["mano_shape"][number].cpu().numpy()
            name = f"{hand.handedness.lower()}-{hand.id or number + 1}"
            self._hands[frame.index].append(
                ManoHand(name=name, hand=hand, sight=sight, looks_left=looks_left, pose=pose, shape=shape)
            )

    def finish(self) -> None:
        """Do nothing. All meshes are available."""

    def about(self) -> MeshFacts:
        """Return the meaning of the parameters."""
        return {
            "parameters": "mano_pose: 16 axis-angles in radians in MANO's order without its mean pose; mano_shape: 10; "
            "of MANO's right hand, where mirrored is true of the mirror image"
        }

    def _posed(self, hand: ManoHand) -> tuple[RealArray, RealArray, IntArray, bool]:
        pose, shape = (torch.from_numpy(values)[None].to(self._network.device) for values in (hand.pose, hand.shape))
        vertices, joints = self._mano(pose, shape, flat_hand_mean=False, tips="handoccnet")
        return vertices[0].cpu().numpy(), joints[0].cpu().numpy(), self._mano.faces.cpu().numpy(), hand.looks_left


def load_handoccnet(weights: str | None, mano: str | None) -> handoccnet.HandOccNetwork:
    """Load HandOccNet with MANO from the files of `sonjit mesh`."""
    hand = mano_option("handoccnet", "--mano", mano)
    network = create_network("handoccnet", registry.required_checkpoint("handoccnet", weights), mano=hand)
    assert isinstance(network, handoccnet.HandOccNetwork)
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


def occlusion_maps(outputs: Mapping[str, Tensor], index: int = 0) -> dict[str, Float32Array]:
    """Return HandOccNet's maps of one image of a batch, from outputs with `features=True`.

    FIT's last block has the attention without and with the sigmoid that suppresses places without correlation, and the
    sigmoid itself.
    """
    if "primary" not in outputs:
        raise InputError("the outputs contain no maps: call the network with features=True")
    found = {name: values[index].detach().cpu().numpy() for name, values in outputs.items()}
    injecting, refining = (
        max(name for name in found if name.startswith(part) and name.endswith(".soft")) for part in ("FIT.", "SET.")
    )
    sigmoid = found[injecting.replace(".soft", ".sigmoid")]  # (heads, H, W)
    shape = sigmoid.shape[1:]
    gated = found[injecting] * sigmoid.reshape(len(sigmoid), -1, 1)
    return {
        "gate": found["gate"],
        "primary": found["primary"],
        "secondary": found["secondary"],
        "FIT attention": found[injecting].mean((0, 1)).reshape(shape),
        "FIT sigmoid": sigmoid.mean(0),
        "FIT attention, gated": gated.mean((0, 1)).reshape(shape),
        "FIT": found["FIT"],
        "SET attention": found[refining].mean((0, 1)).reshape(shape),
        "SET": found["SET"],
    }
