"""Run Deformer on a video of any length.

The input is a square crop around hand and object, and the hand's box in that crop. Each frame is encoded once, and its
features are cached for its neighbours.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sonjit._util.arrays import Float32Array, RealArray
from sonjit._util.errors import InputError
from sonjit.geometry.boxes import RotatedBox
from sonjit.lab.networks.hands3d.deformer import DeformerNetwork

GAP = 10
"""Frames between neighbouring frames of a window, as published."""


_BOX_SCALE = 1.5


class Fused(NamedTuple):
    """The output for one frame."""

    frame: int
    outputs: dict[str, Tensor]  # of `DeformerNetwork.fuse` for one window


class _Frame(NamedTuple):
    """Features of a frame."""

    tokens: Tensor  # (256,)
    joints: Tensor  # (21, 2)
    root: Tensor  # (3,)


class DeformerStream:
    """Predict a hand's mesh for every frame, as soon as the frames around it are available.

    It keeps 1.2 kB for each frame in reach: 30 before the frame that is due, and 30 after it.

    Args:
        network: Network, which is set to eval mode.
        gap: Frames between neighbouring frames of a window.
        left: True for a left hand.

    A frame of a window that is missing, because the video ends or because it was not pushed, is replaced by the last
    available one between it and the middle.
    """

    def __init__(self, network: DeformerNetwork, gap: int = GAP, *, left: bool = False) -> None:
        if gap < 1:
            raise InputError(f"gap={gap}: must be at least 1")
        self._network = network.eval()
        self._gap = gap
        self._half = network.size.frames // 2
        self._left = left
        self._seen: dict[int, _Frame] = {}
        self._due: deque[int] = deque()
        self._newest: int | None = None

    @torch.inference_mode()
    def push(self, index: int, image: Tensor, hand_box: Tensor, root: Tensor | None = None) -> list[Fused]:
        """Add a frame.

        Args:
            index: Index of the frame, greater than the previous one. Frames without the hand are skipped.
            image: (3, 512, 512) RGB in 0..1.
            hand_box: (4,) box of the hand as x_min, y_min, x_max, y_max in pixels of the image.
            root: (3,) metres, added to this frame's mesh; None for zero.

        Returns:
            The outputs that are now complete, usually one, of 30 frames ago.

        Raises:
            InputError: The frame is not newer than the last.
        """
        if self._newest is not None and index <= self._newest:
            raise InputError(f"frame {index} came after frame {self._newest}; push frames in order")
        tokens, joints = self._network.encode(image[None], hand_box[None])
        self._seen[index] = _Frame(tokens[0], joints[0], torch.zeros_like(tokens[0, :3]) if root is None else root)
        self._due.append(index)
        self._newest = index
        return self._fuse_until(index - self._half * self._gap)

    @torch.inference_mode()
    def finish(self) -> list[Fused]:
        """Return the remaining outputs at the end of a video. Another video may follow."""
        fused = self._fuse_until(self._newest)
        self._seen.clear()
        self._newest = None
        return fused

    def _fuse_until(self, newest: int | None) -> list[Fused]:
        """Return the outputs for pending frames up to the newest index."""
        fused: list[Fused] = []
        while self._due and newest is not None and self._due[0] <= newest:
            index = self._due.popleft()
            for old in [old for old in self._seen if old < index - self._half * self._gap]:
                del self._seen[old]
            tokens, joints, roots = (
                torch.stack(each)[None] for each in zip(*map(self._seen.__getitem__, self._window(index)), strict=True)
            )
            side = tokens.new_full(tokens.shape[:2], float(self._left))
            fused.append(Fused(index, self._network.fuse(tokens, joints, side, roots)))
        return fused

    def _window(self, centre: int) -> list[int]:
        """Return the indices of a window's frames, oldest first."""
        sides: list[list[int]] = []
        for step in (-self._gap, self._gap):
            found = [centre]
            for distance in range(1, self._half + 1):
                index = centre + distance * step
                stopped = self._network.hands.variant.stops_at_gap and distance > 1 and found[-1] != index - step
                found.append(found[-1] if stopped or index not in self._seen else index)
            sides.append(found)
        before, after = sides
        return before[:0:-1] + after


class Corners(NamedTuple):
    """A box in pixels."""

    x_min: float
    y_min: float
    x_max: float
    y_max: float

    def clip(self, width: float, height: float) -> Corners:
        """Return the part of the box in an image."""
        return Corners(max(self.x_min, 0), max(self.y_min, 0), min(self.x_max, width), min(self.y_max, height))


def box_around(points: RealArray, scale: float = _BOX_SCALE) -> Corners:
    """Return the box of points (K, 2), enlarged about its centre, which is truncated to whole pixels as published.

    The frame's box for `encode` is this box of the joints in the crop, clipped to the crop. In training, the released
    code clips to the size of the image instead.
    """
    low, high = points.min(0), points.max(0)
    x, y = np.trunc((low + high) / 2).tolist()
    half_width, half_height = (scale * (high - low) / 2).tolist()
    return Corners(x - half_width, y - half_height, x + half_width, y + half_height)


def crop_square(
    hand: Corners, width: int, height: int, held_object: Corners | None = None, rotation_rad: float = 0.0
) -> RotatedBox:
    """Return the square of an image that is scaled to 512 x 512.

    Args:
        hand: Box from `box_around` of the joints.
        width: Width of the image in pixels.
        height: Height of the image in pixels.
        held_object: Box around the held object: on HO-3D `box_around` its corners, on DexYCB with scale 1 and only if
            it overlaps the hand's.
        rotation_rad: Rotation of the crop for training; its content rotates the other way.

    Raises:
        InputError: The boxes are outside the image.
    """
    both = [hand, *([] if held_object is None else [held_object])]
    x_min, y_min, x_max, y_max = Corners(
        *(min(box[axis] for box in both) for axis in (0, 1)), *(max(box[axis] for box in both) for axis in (2, 3))
    ).clip(width, height)
    if x_max <= x_min or y_max <= y_min:
        raise InputError(f"the box {tuple(round(edge) for edge in hand)} is outside the image of {width} x {height}")
    side = max(x_max - x_min, y_max - y_min)
    return RotatedBox(int((x_min + x_max) / 2), int((y_min + y_max) / 2), side, side, rotation_rad)


def joints_in_box(joints: RealArray, box: Corners) -> Float32Array:
    """Return joints (21, 2) as x, y in 0..1 of a box for training; (-1, -1) if a joint is outside."""
    low, high = np.array(box[:2]), np.array(box[2:])
    placed = (joints - low) / (high - low)
    outside = ((placed < 0) | (placed > 1)).any(1, keepdims=True)
    return np.where(outside, -1, placed).astype(np.float32)
