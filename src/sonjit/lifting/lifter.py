"""InterNet on detected hands: joints in camera space; a right and a left hand near each other share a crop.

It runs in PyTorch or, as `sonjit export` wrote it, on OpenVINO: the same numbers in less than half the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from sonjit.arrays import Float32Array, FloatArray, Image, RealArray
from sonjit.engines import EngineOptions
from sonjit.engines.openvino import compile_settings, core, read_model
from sonjit.engines.quiet_openvino import ov
from sonjit.errors import InputError
from sonjit.geometry.boxes import RotatedBox, crop, crop_matrix
from sonjit.geometry.cameras import Intrinsics, assumed_camera, translation_to_view
from sonjit.networks import create_network
from sonjit.networks.checkpoints import METADATA, SavedNetwork, need_option
from sonjit.networks.hands3d.internet import (
    CELL_PX,
    LAYOUT_NEEDED,
    LAYOUTS,
    SIDES,
    HeatmapSpace,
    InterNet,
    Side,
    TwoHands,
    area_of_box,
    box_of_joints,
    joints_in_camera,
    two_hands_from_outputs,
    with_relative_depth,
)
from sonjit.networks.hands3d.rootnet import SCALE_NEEDED, RootNet, depth_of_box
from sonjit.results import Frame, Hand

EXPORTED: Final = (".xml", ".onnx")
_OUTPUTS: Final = {"joint_coord": [1, 42, 3], "rel_root_depth": [1, 1], "hand_type": [1, 2]}
"""What lifting reads; the volume, 44 MB a crop, is never handed over."""


class ExportedInterNet(nn.Module):
    """Runs on crops one after the other.

    Args:
        path: `.xml` or `.onnx` of an InterNet.
        layout: the data set that it was trained on, see `LAYOUTS`; None where the file says it, as Sonjit's do.

    Raises:
        InputError: the file is missing, cannot be read, is not an InterNet, or its layout is not known.
    """

    def __init__(self, path: Path, layout: str | None = None) -> None:
        super().__init__()
        if not path.is_file():
            raise InputError(f"{path}: no such model file")
        model = read_model(path)
        results = {result.output(0).get_any_name(): result for result in model.get_results()}
        side = 0
        try:
            side = model.input(0).get_partial_shape()[3].get_length()
            model.reshape([1, 3, side, side])
            shapes = {name: list(results[name].get_output_shape(0)) for name in _OUTPUTS}
        except (KeyError, IndexError, RuntimeError):
            shapes = {}
        if shapes != _OUTPUTS:
            raise InputError(
                f"{path}: not an InterNet; write one with sonjit export internet --weights FILE --out {path}"
            )
        saved = _saved_in(model, path)
        known = saved.agreed({"layout": layout}, path).get("layout") if saved else layout
        if known is None:
            raise InputError(f"{path} does not say its layout: give {LAYOUT_NEEDED}")
        self.layout = LAYOUTS[str(known)]
        self.space = HeatmapSpace(side, side // CELL_PX)
        wanted = ov.Model([results[name] for name in _OUTPUTS], model.get_parameters())  # pyright: ignore
        self._network = core().compile_model(wanted, "CPU", compile_settings(EngineOptions(), "f32"))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """`joint_coord`, `rel_root_depth` and `hand_type` of crops (B, 3, side, side), as `InterNet` gives them."""
        seen = [self._network(crop[None]) for crop in images.numpy()]
        return {
            name: torch.from_numpy(np.concatenate([outputs[number] for outputs in seen]))
            for number, name in enumerate(_OUTPUTS)
        }


def _saved_in(model: ov.Model, path: Path) -> SavedNetwork | None:
    """What `sonjit export` wrote of the network; None in other files."""
    place = ["framework", METADATA]  # where OpenVINO puts ONNX's metadata
    return SavedNetwork.from_json(model.get_rt_info(place).astype(str), path) if model.has_rt_info(place) else None


def load_internet(weights: str, layout: str | None = None) -> InterNet | ExportedInterNet:
    """InterNet with weights of any kind.

    Args:
        weights: a checkpoint, official or own; what `sonjit export` made of one; "demo" for placeholder weights.
        layout: on which data set it was trained; needed for official checkpoints, own ones say it.

    Raises:
        InputError: weights that are missing, do not fit, contradict the layout, or do not say it.
    """
    if Path(weights).suffix in EXPORTED:
        return ExportedInterNet(Path(weights), layout)
    need_option(weights, "layout", layout, LAYOUT_NEEDED)
    network = create_network("internet", weights, layout=layout or ("interhand" if weights == "demo" else None))
    assert isinstance(network, InterNet)
    return network


def load_rootnet(weights: str, input_scale: float | None = None) -> RootNet:
    """RootNet with weights of any kind.

    Args:
        weights: a checkpoint, official or own; "demo" for placeholder weights.
        input_scale: what white is, see `RootNet`; needed for official checkpoints, own ones say it.

    Raises:
        InputError: weights that are missing, do not fit, contradict the scale, or do not say it.
    """
    need_option(weights, "input_scale", input_scale, SCALE_NEEDED)
    network = create_network("rootnet", weights, input_scale=input_scale or (1.0 if weights == "demo" else None))
    assert isinstance(network, RootNet)
    return network


_MM = 1000.0
_CPU = torch.device("cpu")
_PALM_MM: Final = 90.0
"""From the wrist to the middle finger's knuckle of a usual hand."""

GivenBox: TypeAlias = tuple[float, float, float, float]
"""x, y, width, height in pixels."""


class Lifter:
    """Gives hands their place in the camera's space.

    Args:
        internet: sees one or two hands in a crop.
        rootnet: sees how far a hand is; without it that comes from the size of the detector's own hand in metres.
        camera: of all images; None assumes one for each.
        mirrored: the images are selfie views, where a right hand looks like a left one.
        device: of both networks; an exported one runs on the CPU.
        box: x, y, width, height around the hands of one person in every image: `lift_frame` then gives the hands that
            InterNet sees there instead of the detector's.
    """

    def __init__(
        self,
        internet: InterNet | ExportedInterNet,
        rootnet: RootNet | None = None,
        *,
        camera: Intrinsics | None = None,
        mirrored: bool = False,
        device: torch.device = _CPU,
        box: GivenBox | None = None,
    ) -> None:
        self._internet = internet.to(device).eval()
        self._rootnet = None if rootnet is None else rootnet.to(device).eval()
        self._device = device
        self._camera = camera
        self._mirrored = mirrored
        self._box = box

    def lift_frame(self, rgb: Image, frame: Frame) -> None:
        """Put the hands of a frame, found in an image (H, W, 3), into the camera's space; see `lift` and `find`."""
        frame.hands = self.lift(rgb, frame.hands) if self._box is None else self.find(rgb, self._box)

    @torch.inference_mode()
    def find(self, rgb: Image, box: GivenBox) -> list[Hand]:
        """The hands that InterNet sees in a box, without a detector.

        Args:
            rgb: (H, W, 3) uint8.
            box: x, y, width, height around the hands of one person.

        Returns:
            None to two hands, with the probability of each as its score; 3D as `lift` gives it. Without RootNet a
            hand is as far away as one of usual size would be.
        """
        camera = self._camera or assumed_camera(rgb.shape[1], rgb.shape[0])
        x, y, width, height = box
        area = area_of_box(RotatedBox(x + width / 2, y + height / 2, width, height))
        layout, side = self._internet.layout, self._internet.space.size_px
        outputs = self._internet(image_crops(rgb, [area], side).to(self._device))
        seen = two_hands_from_outputs(outputs, crop_matrix(area, side, side)[None], self._internet.space)
        scores = outputs["hand_type"][0].cpu().double().numpy()
        own_mm = np.full((1, 2), np.nan)
        for place in np.flatnonzero(seen.present[0]).tolist():
            own_mm[0, place] = self._depth_in_box_mm(rgb, seen, SIDES[place], camera)
        depths = with_relative_depth(own_mm, seen)
        joints = joints_in_camera(seen, depths, layout, camera) / _MM
        hands: list[Hand] = []
        for place in np.flatnonzero(seen.present[0]).tolist():
            as_seen = SIDES[place]
            points = layout.mediapipe21(joints[0], as_seen)
            depth_px = (points[:, 2:] - points[:1, 2:]) * camera.fx / points[0, 2]
            pixels = np.hstack([layout.mediapipe21(seen.xy_px[0], as_seen), np.nan_to_num(depth_px)])
            person = SIDES[place != self._mirrored]
            hands.append(Hand(person, float(scores[place]), pixels.astype(np.float32), points.astype(np.float32)))
        return hands

    def _depth_in_box_mm(self, rgb: Image, seen: TwoHands, side: Side, camera: Intrinsics) -> float:
        """Depth of a root, of a hand that InterNet has found by itself."""
        layout = self._internet.layout
        pixels = layout.mediapipe21(seen.xy_px[0], side)
        if self._rootnet is not None:
            return float(self._rootnet_mm(rgb, [pixels], camera)[0])
        # Of the depths at which wrist and knuckle, each on its own ray, are a palm apart: the one before the camera.
        behind = layout.mediapipe21(seen.z_mm[0][:, None], side)[[0, 9], 0]
        wrist, knuckle = camera.back_project(pixels[[0, 9]], np.ones(2))
        apart, offset = wrist - knuckle, wrist * behind[0] - knuckle * behind[1]
        roots = np.roots([apart @ apart, 2 * apart @ offset, offset @ offset - _PALM_MM**2])
        depth = float(roots.real.max()) if len(roots) and np.isreal(roots).all() else np.nan
        return depth if depth > 0 else np.nan

    @torch.inference_mode()
    def lift(self, rgb: Image, hands: Sequence[Hand]) -> list[Hand]:
        """The same hands with `keypoints_3d` from InterNet.

        Which hand is where, its side, score and pixels stay the detector's. A right and a left hand near each other
        are seen in one crop.

        Args:
            rgb: (H, W, 3) uint8.
            hands: found in it.

        Returns:
            Hands in the same order; `keypoints_3d` (21, 3) in metres in the camera's frame: x right, y down, z forward
            from the lens; NaN where a hand's distance is unknown.
        """
        if not hands:
            return []
        camera = self._camera or assumed_camera(rgb.shape[1], rgb.shape[0])
        sides: list[Side] = [SIDES[(hand.handedness == "Left") != self._mirrored] for hand in hands]  # as in the image
        pairs = pairs_of_hands([hand.keypoints[:, :2] for hand in hands], sides)
        areas = [
            area_of_box(box_of_joints(np.concatenate([hands[index].keypoints[:, :2] for index in pair.values()])))
            for pair in pairs
        ]
        space = self._internet.space
        to_image = np.stack([crop_matrix(area, space.size_px, space.size_px) for area in areas])
        crops = image_crops(rgb, areas, space.size_px).to(self._device)
        seen = two_hands_from_outputs(self._internet(crops), to_image, space)
        found = np.array([[side in pair for side in SIDES] for pair in pairs])  # (B, 2)
        own_mm = np.full(found.shape, np.nan)
        own_mm[found] = self._own_depths_mm(
            rgb, [hands[pair[side]] for pair in pairs for side in SIDES if side in pair], camera
        )
        seen = seen._replace(present=seen.present & found)
        layout = self._internet.layout
        joints = joints_in_camera(seen, with_relative_depth(own_mm, seen), layout, camera) / _MM
        lifted = list(hands)
        for number, pair in enumerate(pairs):
            for side, index in pair.items():
                points = layout.mediapipe21(joints[number], side).astype(np.float32)
                lifted[index] = replace(hands[index], keypoints_3d=points)
        return lifted

    def _own_depths_mm(self, rgb: Image, hands: Sequence[Hand], camera: Intrinsics) -> FloatArray:
        """Depth of each hand's root, seen by itself."""
        if self._rootnet is None:
            return np.array([self._depth_by_size_mm(hand, camera) for hand in hands])
        return self._rootnet_mm(rgb, [hand.keypoints[:, :2] for hand in hands], camera)

    def _rootnet_mm(self, rgb: Image, hands_px: Sequence[RealArray], camera: Intrinsics) -> FloatArray:
        assert self._rootnet is not None
        areas = [area_of_box(box_of_joints(points)) for points in hands_px]
        at_box = [depth_of_box((area.width, area.height), (camera.fx, camera.fy)) for area in areas]
        crops = self._rootnet.normalised(image_crops(rgb, areas, self._rootnet.side).to(self._device))
        return self._rootnet(crops, crops.new_tensor(at_box)[:, None])["coord"][:, 2].cpu().double().numpy()

    def _depth_by_size_mm(self, hand: Hand, camera: Intrinsics) -> float:
        """Where the detector's own hand in metres must be to be seen at its pixels."""
        shift = translation_to_view(hand.keypoints_3d, hand.keypoints[:, :2], camera)
        if shift is None:
            return np.nan
        root = hand.keypoints_3d[list(self._internet.layout.root_keypoints), 2].mean()
        return float(root + shift[2]) * _MM


def image_crops(rgb: Image, areas: Sequence[RotatedBox], side: int) -> Tensor:
    """What is in upright areas of an image, (B, 3, side, side) in 0..1, black outside it.

    Only the part that is needed is made floating, so that a large image costs no more than a small one.
    """
    height, width = rgb.shape[:2]
    crops: list[Float32Array] = []
    for area in areas:
        half = area.width / 2 + 2  # a crop's edge samples one pixel beyond it
        left, right = (int(np.clip(edge, 0, width)) for edge in (area.cx - half, area.cx + half))
        top, bottom = (int(np.clip(edge, 0, height)) for edge in (area.cy - half, area.cy + half))
        if left == right or top == bottom:
            crops.append(np.zeros((side, side, 3), np.float32))
            continue
        part = rgb[top:bottom, left:right].astype(np.float32)
        moved = area._replace(cx=area.cx - left, cy=area.cy - top)
        crops.append(crop(part, moved, side, side, border="zero"))
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2) / 255


_NEAR = 3.0
"""By how much the longer side of the box around two hands may exceed that of the larger hand: beyond, a hand would fill
so little of the crop that the network loses more than it gains by seeing both."""


def pairs_of_hands(hands_px: Sequence[RealArray], sides: Sequence[Side]) -> list[dict[Side, int]]:
    """Hands as pairs and single ones, the nearest first.

    Args:
        hands_px: (K, 2) joints of each hand in pixels.
        sides: which hand each is.

    Returns:
        One mapping from side to the hand's number for each crop; every hand is in one.
    """
    near = sorted(
        (_spread([hands_px[right], hands_px[left]]), right, left)
        for right in range(len(sides))
        for left in range(len(sides))
        if (sides[right], sides[left]) == ("Right", "Left")
    )
    pairs: list[dict[Side, int]] = []
    free = set(range(len(sides)))
    for spread, right, left in near:
        if spread <= _NEAR and {right, left} <= free:
            pairs.append({"Right": right, "Left": left})
            free -= {right, left}
    return [*pairs, *({sides[index]: index} for index in sorted(free))]


def _spread(hands_px: Sequence[RealArray]) -> float:
    """Longer side of the box around hands, in those of the largest one."""
    alone = max(_side(hand) for hand in hands_px)
    return _side(np.concatenate(hands_px)) / max(alone, 1e-6)


def _side(joints_px: RealArray) -> float:
    box = box_of_joints(joints_px)
    return max(box.width, box.height)
