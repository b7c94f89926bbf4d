"""Deformer over a video of any length: each frame is encoded once, and its features are kept for its neighbours.

Its input is a crop, a square around hand and object, and the hand's box in that.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sonjit.arrays import Float32Array, RealArray
from sonjit.errors import InputError
from sonjit.geometry.boxes import RotatedBox
from sonjit.networks.hands3d.deformer import DeformerNetwork

GAP = 10
"""Frames from one of a window to the next, as published."""


class Fused(NamedTuple):
    """One frame's result."""

    frame: int
    outputs: dict[str, Tensor]  # of `DeformerNetwork.fuse`, of one window


class _Frame(NamedTuple):
    """Features of a frame."""

    tokens: Tensor  # (256,)
    joints: Tensor  # (21, 2)
    root: Tensor  # (3,)


class DeformerStream:
    """Gives a hand's mesh for every frame, as soon as the frames around it came.

    1.2 kB are kept of each frame in reach: 30 before the one that is due, and 30 after.

    Args:
        network: is put into eval.
        gap: frames from one of a window to the next.
        left: the hand is a left one.

    A window's frame that is missing, because the video ends there or because it was not pushed, is replaced by the
    last that is there on the way to it from the middle.
    """

    def __init__(self, network: DeformerNetwork, gap: int = GAP, *, left: bool = False) -> None:
        if gap < 1:
            raise InputError(f"gap={gap}: give at least 1")
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
            index: of the frame; greater than the one before. Frames without the hand are left out.
            image: (3, 512, 512) RGB in 0..1.
            hand_box: (4,) where the hand is, as x_min, y_min, x_max, y_max in pixels of it.
            root: (3,) metres, added to this frame's mesh; None: zero.

        Returns:
            The answers that became due: mostly one, of 30 frames ago.

        Raises:
            InputError: a frame that is older than the last.
        """
        if self._newest is not None and index <= self._newest:
            raise InputError(f"frame {index} came after frame {self._newest}: push them in order")
        tokens, joints = self._network.encode(image[None], hand_box[None])
        self._seen[index] = _Frame(tokens[0], joints[0], torch.zeros_like(tokens[0, :3]) if root is None else root)
        self._due.append(index)
        self._newest = index
        return self._answer(index - self._half * self._gap)

    @torch.inference_mode()
    def finish(self) -> list[Fused]:
        """No more frames come: the answers that are left. Another video may follow."""
        fused = self._answer(self._newest)
        self._seen.clear()
        self._newest = None
        return fused

    def _answer(self, newest: int | None) -> list[Fused]:
        """For the frames that are due, up to the newest."""
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
        """Indices of a window's frames, oldest first."""
        sides: list[list[int]] = []
        for step in (-self._gap, self._gap):
            found = [centre]
            for far in range(1, self._half + 1):
                at = centre + far * step
                stopped = self._network.hands.variant.stops_at_gap and far > 1 and found[-1] != at - step
                found.append(found[-1] if stopped or at not in self._seen else at)
            sides.append(found)
        before, after = sides
        return before[:0:-1] + after


_AROUND = 1.5


class Corners(NamedTuple):
    """A box in pixels."""

    x_min: float
    y_min: float
    x_max: float
    y_max: float

    def clipped(self, width: float, height: float) -> Corners:
        """The part of it in an image."""
        return Corners(max(self.x_min, 0), max(self.y_min, 0), min(self.x_max, width), min(self.y_max, height))


def box_around(points: RealArray, scale: float = _AROUND) -> Corners:
    """The box of points (K, 2), `scale` times as large about its centre, which is cut to whole pixels as published.

    What `encode` takes as a frame's box is this of the joints in the crop, clipped to the crop. The released code clips
    to the size of the image instead, in training.
    """
    low, high = points.min(0), points.max(0)
    x, y = np.trunc((low + high) / 2).tolist()
    half_width, half_height = (scale * (high - low) / 2).tolist()
    return Corners(x - half_width, y - half_height, x + half_width, y + half_height)


def crop_square(
    hand: Corners, width: int, height: int, thing: Corners | None = None, rotation_rad: float = 0.0
) -> RotatedBox:
    """What to cut out of an image and scale to 512 x 512.

    Args:
        hand: `box_around` its joints.
        width: of the image.
        height: of it.
        thing: box around what the hand holds: on HO-3D `box_around` its corners, on DexYCB of scale 1 and only where it
            meets the hand's.
        rotation_rad: by which the crop is turned, for training; what it shows turns the other way.

    Raises:
        InputError: the boxes are outside the image.
    """
    both = [hand, *([] if thing is None else [thing])]
    x_min, y_min, x_max, y_max = Corners(
        *(min(box[axis] for box in both) for axis in (0, 1)), *(max(box[axis] for box in both) for axis in (2, 3))
    ).clipped(width, height)
    if x_max <= x_min or y_max <= y_min:
        raise InputError(f"the box {tuple(round(edge) for edge in hand)} is outside the image of {width} x {height}")
    side = max(x_max - x_min, y_max - y_min)
    return RotatedBox(int((x_min + x_max) / 2), int((y_min + y_max) / 2), side, side, rotation_rad)


def joints_in_box(joints: RealArray, box: Corners) -> Float32Array:
    """Joints (21, 2) as x, y in 0..1 of a box, to be learned; (-1, -1) where one is outside."""
    low, high = np.array(box[:2]), np.array(box[2:])
    placed = (joints - low) / (high - low)
    outside = ((placed < 0) | (placed > 1)).any(1, keepdims=True)
    return np.where(outside, -1, placed).astype(np.float32)
