"""Compute joints in camera space with InterNet on detected hands.

A right and a left hand near each other share a crop. InterNet runs in PyTorch or, as `sonjit export` wrote it, on
OpenVINO, which gives the same numbers in less than half the time.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from sonjit._util import Float32Array, FloatArray, Image, InputError, RealArray
from sonjit.engines import EngineOptions, model_file
from sonjit.engines.openvino import compile_settings, core, ov, read_model
from sonjit.geometry.boxes import RotatedBox, crop, crop_matrix
from sonjit.geometry.cameras import Intrinsics, assumed_camera, translation_to_view
from sonjit.results import Frame, Hand, Results
from sonjit_lab.networks import create_network, modes
from sonjit_lab.networks.checkpoints import METADATA, SavedNetwork, require_option
from sonjit_lab.papers.interhand.internet import (
    CELL_PX,
    LAYOUT_CHOICES,
    LAYOUTS,
    SIDES,
    HeatmapSpace,
    InterNet,
    Side,
    TwoHands,
    apply_relative_depth,
    area_of_box,
    box_of_joints,
    joints_in_camera,
    two_hands_from_outputs,
)
from sonjit_lab.papers.interhand.rootnet import SCALE_CHOICES, RootNet, depth_of_box

EXPORTED: Final = (".xml", ".onnx")
_OUTPUTS: Final = {"joint_coord": [1, 42, 3], "rel_root_depth": [1, 1], "hand_type": [1, 2]}
"""Names and shapes of the outputs that lifting reads. The volume, 44 MB per crop, is not copied."""
_MM = 1000.0
_CPU = torch.device("cpu")
_PALM_MM: Final = 90.0  # usual distance from the wrist to the knuckle of the middle finger
GivenBox: TypeAlias = tuple[float, float, float, float]  # x, y, width, height in pixels
_NEAR = 3.0  # maximum ratio of the sides of two hands' box and the larger hand's box in one crop


class ExportedInterNet(nn.Module):
    """Runs an exported InterNet, `.xml` or `.onnx`, on crops, one at a time; files of Sonjit contain their `layout`."""

    def __init__(self, path: Path, layout: str | None = None) -> None:
        super().__init__()
        path = model_file(path)
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
                f"{path}: not an InterNet; write it with sonjit export internet --weights FILE --out {path}"
            )
        key = ["framework", METADATA]  # OpenVINO stores ONNX metadata here
        is_exported = model.has_rt_info(key)  # by `sonjit export`
        saved = SavedNetwork.from_json(model.get_rt_info(key).astype(str), path) if is_exported else None
        merged_layout = saved.merge_options({"layout": layout}, path).get("layout") if saved else layout
        if merged_layout is None:
            raise InputError(f"{path} does not define its layout; set {LAYOUT_CHOICES}")
        self.layout = LAYOUTS[str(merged_layout)]
        self.space = HeatmapSpace(side, side // CELL_PX)
        reduced = ov.Model([results[name] for name in _OUTPUTS], model.get_parameters())  # pyright: ignore
        self._network = core().compile_model(reduced, "CPU", compile_settings(EngineOptions(), "f32"))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return `joint_coord`, `rel_root_depth` and `hand_type` of RGB crops (B, 3, S, S), as `InterNet` does."""
        results = [self._network(crop[None]) for crop in images.numpy()]
        return {
            name: torch.from_numpy(np.concatenate([outputs[number] for outputs in results]))
            for number, name in enumerate(_OUTPUTS)
        }


def load_internet(weights: str, layout: str | None = None) -> InterNet | ExportedInterNet:
    """Load InterNet from a checkpoint (official ones need a `layout`), a file of `sonjit export`, or "demo"."""
    if Path(weights).suffix in EXPORTED:
        return ExportedInterNet(Path(weights), layout)
    require_option(weights, "layout", layout, LAYOUT_CHOICES)
    network = create_network("internet", weights, layout=layout or ("interhand" if weights == "demo" else None))
    assert isinstance(network, InterNet)
    return network


def load_rootnet(weights: str, input_scale: float | None = None) -> RootNet:
    """Load RootNet from an official or own checkpoint, or "demo"; official ones need `input_scale`, see `RootNet`."""
    require_option(weights, "input_scale", input_scale, SCALE_CHOICES)
    network = create_network("rootnet", weights, input_scale=input_scale or (1.0 if weights == "demo" else None))
    assert isinstance(network, RootNet)
    return network


class Lifter:
    """Lifts hands to camera space.

    Args:
        internet: Network for one or two hands in a crop.
        rootnet: Network for the depth of a hand. None estimates the depth from the size of the detected hand in metres.
        camera: Camera of all images. None assumes one for each image.
        mirrored: True if the images are selfie views, where a right hand looks like a left one.
        device: Device of both networks. An exported network runs on the CPU.
        box: x, y, width, height in pixels around the hands of one person in every image. `lift_frame` then replaces the
            detected hands by those that InterNet finds in the box.
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
        self._internet = internet.to(device)
        self._rootnet = None if rootnet is None else rootnet.to(device)
        self._device = device
        self._camera = camera
        self._mirrored = mirrored
        self._box = box

    def lift_frame(self, rgb: Image, frame: Frame) -> None:
        """Lift the hands of a frame with image (H, W, 3) in place, see `lift` and `find`."""
        lifted = self.lift(rgb, frame.hands) if self._box is None else self.find(rgb, self._box)
        frame.hands = Results(lifted, keypoint_count=21)

    @torch.inference_mode()
    def find(self, rgb: Image, box: GivenBox) -> list[Hand]:
        """Find hands in a box with InterNet, without a detector.

        `rgb`: (H, W, 3) uint8; `box`: x, y, width, height in pixels around the hands of one person.

        Returns:
            Zero to two hands, with their probabilities as scores and `keypoints_3d` as from `lift`. Without RootNet the
            depth assumes a hand of usual size.
        """
        camera = self._camera or assumed_camera(rgb.shape[1], rgb.shape[0])
        x, y, width, height = box
        area = area_of_box(RotatedBox(x + width / 2, y + height / 2, width, height))
        layout, side = self._internet.layout, self._internet.space.size_px
        with modes.eval_mode(self._internet):
            outputs = self._internet(image_crops(rgb, [area], side).to(self._device))
        hands_2d = two_hands_from_outputs(outputs, crop_matrix(area, side, side)[None], self._internet.space)
        scores = outputs["hand_type"][0].cpu().double().numpy()
        own_mm = np.full((1, 2), np.nan)
        for index in np.flatnonzero(hands_2d.present[0]).tolist():
            own_mm[0, index] = self._depth_in_box_mm(rgb, hands_2d, SIDES[index], camera)
        depths = apply_relative_depth(own_mm, hands_2d)
        joints = joints_in_camera(hands_2d, depths, layout, camera) / _MM
        hands: list[Hand] = []
        for index in np.flatnonzero(hands_2d.present[0]).tolist():
            as_seen = SIDES[index]
            points = layout.mediapipe21(joints[0], as_seen)
            depth_px = (points[:, 2:] - points[:1, 2:]) * camera.fx / points[0, 2]
            pixels = np.hstack([layout.mediapipe21(hands_2d.xy_px[0], as_seen), np.nan_to_num(depth_px)])
            person = SIDES[index != self._mirrored]
            hands.append(Hand(person, float(scores[index]), pixels.astype(np.float32), points.astype(np.float32)))
        return hands

    def _depth_in_box_mm(self, rgb: Image, hands_2d: TwoHands, side: Side, camera: Intrinsics) -> float:
        """Return the root depth in mm of a hand found by `find`."""
        layout = self._internet.layout
        pixels = layout.mediapipe21(hands_2d.xy_px[0], side)
        if self._rootnet is not None:
            return float(self._rootnet_mm(rgb, [pixels], camera)[0])
        # Solve for the depth in front of the camera at which wrist and knuckle, each on its ray, are a palm apart.
        behind = layout.mediapipe21(hands_2d.z_mm[0][:, None], side)[[0, 9], 0]
        wrist, knuckle = camera.back_project(pixels[[0, 9]], np.ones(2))
        apart, offset = wrist - knuckle, wrist * behind[0] - knuckle * behind[1]
        roots = np.roots([apart @ apart, 2 * apart @ offset, offset @ offset - _PALM_MM**2])
        depth = float(roots.real.max()) if len(roots) and np.isreal(roots).all() else np.nan
        return depth if depth > 0 else np.nan

    @torch.inference_mode()
    def lift(self, rgb: Image, hands: Sequence[Hand]) -> list[Hand]:
        """Return the hands with `keypoints_3d` from InterNet.

        Order, side, score and pixels of the hands do not change. A right and a left hand near each other share a crop.

        `rgb`: (H, W, 3) uint8; `hands`: hands detected in the image.

        Returns:
            Hands in the same order; `keypoints_3d` (21, 3) in metres in the camera's frame: x right, y down, z forward
            from the lens. They are NaN where the distance of a hand is unknown.
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
        with modes.eval_mode(self._internet):
            hands_2d = two_hands_from_outputs(self._internet(crops), to_image, space)
        is_present = np.array([[side in pair for side in SIDES] for pair in pairs])  # (B, 2)
        own_mm = np.full(is_present.shape, np.nan)
        own_mm[is_present] = self._single_depths_mm(
            rgb, [hands[pair[side]] for pair in pairs for side in SIDES if side in pair], camera
        )
        hands_2d = hands_2d._replace(present=hands_2d.present & is_present)
        layout = self._internet.layout
        joints = joints_in_camera(hands_2d, apply_relative_depth(own_mm, hands_2d), layout, camera) / _MM
        lifted = list(hands)
        for number, pair in enumerate(pairs):
            for side, index in pair.items():
                points = layout.mediapipe21(joints[number], side).astype(np.float32)
                lifted[index] = replace(hands[index], keypoints_3d=points)
        return lifted

    def _single_depths_mm(self, rgb: Image, hands: Sequence[Hand], camera: Intrinsics) -> FloatArray:
        """Estimate the root depth of each hand independently."""
        if self._rootnet is None:
            return np.array([self._depth_by_size_mm(hand, camera) for hand in hands])
        return self._rootnet_mm(rgb, [hand.keypoints[:, :2] for hand in hands], camera)

    def _rootnet_mm(self, rgb: Image, hands_px: Sequence[RealArray], camera: Intrinsics) -> FloatArray:
        assert self._rootnet is not None
        areas = [area_of_box(box_of_joints(points)) for points in hands_px]
        at_box = [depth_of_box((area.width, area.height), (camera.fx, camera.fy)) for area in areas]
        crops = self._rootnet.normalise_crops(image_crops(rgb, areas, self._rootnet.side).to(self._device))
        with modes.eval_mode(self._rootnet):
            return self._rootnet(crops, crops.new_tensor(at_box)[:, None])["coord"][:, 2].cpu().double().numpy()

    def _depth_by_size_mm(self, hand: Hand, camera: Intrinsics) -> float:
        """Return the root depth in mm at which the detected metric hand projects to its pixels."""
        shift = translation_to_view(hand.keypoints_3d, hand.keypoints[:, :2], camera)
        if shift is None:
            return np.nan
        root = hand.keypoints_3d[list(self._internet.layout.root_keypoints), 2].mean()
        return float(root + shift[2]) * _MM


def image_crops(rgb: Image, areas: Sequence[RotatedBox], side: int) -> Tensor:
    """Crop upright areas of an image to (B, 3, side, side) in 0..1, black outside; only those parts become floats."""
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


def pairs_of_hands(hands_px: Sequence[RealArray], sides: Sequence[Side]) -> list[dict[Side, int]]:
    """Group hands (K, 2) in pixels into pairs of right and left, nearest first, and single hands: indices by side."""

    def spread_of(*hands: RealArray) -> float:  # longer side of the box around both, relative to the larger hand
        return _side(np.concatenate(hands)) / max(*map(_side, hands), 1e-6)

    near = sorted(
        (spread_of(hands_px[right], hands_px[left]), right, left)
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


def _side(joints_px: RealArray) -> float:
    box = box_of_joints(joints_px)
    return max(box.width, box.height)
