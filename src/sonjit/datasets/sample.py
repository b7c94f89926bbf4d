"""One image of a data set with what is known of it: the type that every loader gives.

Camera frame: x right, y down, z forward, metres. Pixels are those of the image as it is stored. What is unknown is
`None`, or NaN within an array.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from sonjit.arrays import BoolArray, Float32Array, FloatArray, Image
from sonjit.errors import InputError
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.media import open_source
from sonjit.media.sources.base import SourceFrame
from sonjit.media.sources.image_files import decode_image, load_image
from sonjit.results import Box
from sonjit.skeletons import load_skeleton

if TYPE_CHECKING:
    from sonjit.hand_models import Mano

InstanceKind = Literal["hand", "face", "body", "object"]
"""What an instance is."""

Side = Literal["Right", "Left"]
"""The person's own hand, spelled as in `results.Hand.handedness`."""

HAND_SKELETON = "hand_mediapipe21"
"""The order in which every loader gives a hand's keypoints, whatever the order in its files."""


@dataclass(frozen=True, eq=False)
class ManoParameters:
    """An official fit of MANO's hand, kept as its file holds it.

    Attributes:
        pose: (48,) the root's turn as an axis-angle, then 45 numbers: 15 axis-angles, or components where `pca`.
        betas: (10,) shape.
        trans: (3,) metres; None where the file gives none.
        frame: which axes pose and place refer to: the camera's, the world's, or OpenGL's (y up, z backward).
        pca: the 45 numbers are principal components.
        flat_mean: the pose counts from the flat hand, not from MANO's mean pose; None where the set does not say.
    """

    pose: FloatArray
    betas: FloatArray
    trans: FloatArray | None
    frame: Literal["camera", "world", "opengl"]
    pca: bool = False
    flat_mean: bool | None = None


@dataclass(frozen=True)
class VideoFrame:
    """A frame of a video by its number; frames are best read in order, for going back decodes the video anew."""

    video: Path
    index: int

    def rgb(self) -> Image:
        """(H, W, 3) uint8 RGB.

        Raises:
            InputError: the video cannot be read, or has no such frame.
        """
        with _VIDEO_LOCK:
            return _video_frames(self.video, os.getpid()).rgb(self.index)


_VIDEO_LOCK = Lock()


class _VideoFrames:
    """An open video that gives its frames by number."""

    def __init__(self, video: Path) -> None:
        self._video = video
        self._frames: Iterator[SourceFrame] = iter(())
        self._last: SourceFrame | None = None

    def rgb(self, index: int) -> Image:
        if self._last is None or index < self._last.index:
            source = open_source(self._video)
            if source.kind != "video":
                raise InputError(f"{self._video}: give the folder of the images, or the video that they are frames of")
            self._frames, self._last = iter(source), None
        while self._last is None or self._last.index < index:
            self._last = next(self._frames, None)
            if self._last is None:
                raise InputError(f"{self._video} has no frame {index}: is it the right video?")
        return self._last.rgb


@lru_cache(maxsize=1)
def _video_frames(video: Path, process: int) -> _VideoFrames:  # a decoder is not shared with a forked process
    return _VideoFrames(video)


@dataclass(frozen=True, eq=False, kw_only=True)
class Instance:
    """One hand, face, body or object in an image.

    Attributes:
        kind: what it is.
        side: whose hand; None where unknown, and for anything else.
        skeleton: the order of the keypoints, as `load_skeleton` knows it or as the set's own page names it.
        keypoint_names: of keypoints that are not a skeleton known to `load_skeleton`; empty where the set names none.
        keypoints_px: (K, 2) x, y; NaN where unknown.
        valid_px: (K,) which of them are labelled.
        visible: (K,) which of them are seen, not hidden; None where the set does not say.
        keypoints_m: (K, 3) metres in the camera's frame; NaN where unknown.
        valid_m: (K,) which of them are labelled.
        derived: indices of keypoints that the set does not hold and that were worked out from others.
        box: x_min, y_min, x_max, y_max in pixels, as the set gives it; None where it gives none.
        area_px2: of its mask, as the set gives it.
        mesh: MANO's parameters.
        vertices_m: (V, 3) metres in the camera's frame.
        category: name of its class.
        category_id: of its class, in the set's own counting.
        crowd: it stands for many.
        extra: whatever else the set says of it, by its own names.
        read_mask: gives the (H, W) mask; picklable, such as a `functools.partial` of a module's function.
    """

    kind: InstanceKind
    side: Side | None = None
    skeleton: str | None = None
    keypoint_names: tuple[str, ...] = ()
    keypoints_px: FloatArray | None = None
    valid_px: BoolArray | None = None
    visible: BoolArray | None = None
    keypoints_m: FloatArray | None = None
    valid_m: BoolArray | None = None
    derived: tuple[int, ...] = ()
    box: Box | None = None
    area_px2: float | None = None
    mesh: ManoParameters | None = None
    vertices_m: FloatArray | None = None
    category: str | None = None
    category_id: int | None = None
    crowd: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    read_mask: Callable[[], BoolArray] | None = None

    def mask(self) -> BoolArray | None:
        """(H, W) where it is seen, read anew at every call; None where the set has none."""
        return self.read_mask() if self.read_mask else None

    def places_of(self, names: Sequence[str]) -> list[int] | None:
        """Where keypoints of these names are among its own; None where it lacks one of them."""
        known = self.keypoint_names or _keypoints_of(self.skeleton or "")
        return [known.index(name) for name in names] if set(names) <= set(known) else None

    def bounds(self) -> Box | None:
        """The box, or where the set gives none that of the known keypoints, in pixels; None where both are unknown."""
        if self.box is not None or self.keypoints_px is None:
            return self.box
        known = self.keypoints_px[np.isfinite(self.keypoints_px).all(axis=1)]
        return (*known.min(0).tolist(), *known.max(0).tolist()) if len(known) else None

    def filled_mask(self, height: int, width: int) -> BoolArray:
        """(height, width) of the image; the filled bounds where the set has no mask."""
        mask = self.mask()
        if mask is None:
            mask = np.zeros((height, width), np.bool_)
            x_min, y_min, x_max, y_max = (max(round(edge), 0) for edge in self.bounds() or (0, 0, 0, 0))
            mask[y_min:y_max, x_min:x_max] = True
        return mask


@lru_cache
def _keypoints_of(skeleton: str) -> tuple[str, ...]:
    """Names of a skeleton's keypoints; none of a convention that is not known."""
    try:
        return load_skeleton(skeleton).keypoints
    except InputError:
        return ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Sample:
    """One image with what is known of it.

    Attributes:
        dataset: the set's name.
        id: unique within the set, e.g. the image's path below the root.
        image: the file, its encoded bytes, a frame of a video, or the (H, W, 3) uint8 RGB image itself.
        width: pixels that the labels refer to.
        height: likewise.
        instances: what is in it; may be empty.
        box: x_min, y_min, x_max, y_max in pixels around all instances, where the set gives only that.
        camera: that took it; None where unknown.
        subject: whose hands or face; None where unknown.
        sequence: the recording.
        frame: its number within the recording.
        view: which of several cameras.
        tags: what else the set says of the image, by name.
        source: the annotation file, for error messages and reports.
        licence: under which its owner gives it.
        upright: the image is turned as its EXIF orientation says; research sets were labelled without.
        reduced: copies of the set at a smaller size are in use; `rgb` brings those to `width` and `height`.
        read_depth: gives the (H, W) depth in metres, 0 where unknown; picklable.
    """

    dataset: str
    id: str
    image: Path | bytes | VideoFrame | NDArray[np.uint8]
    width: int
    height: int
    instances: tuple[Instance, ...] = ()
    box: Box | None = None
    camera: CalibratedCamera | None = None
    subject: str | None = None
    sequence: str | None = None
    frame: int | None = None
    view: str | None = None
    tags: Mapping[str, Any] = field(default_factory=dict[str, Any])
    source: str = ""
    licence: str = ""
    upright: bool = False
    reduced: bool = False
    read_depth: Callable[[], Float32Array] | None = None

    def rgb(self) -> Image:
        """The image, (height, width, 3) uint8 RGB, read anew at every call.

        Raises:
            InputError: it is missing, damaged or of another size than the labels say.
        """
        rgb = self._decoded()
        height, width = rgb.shape[:2]
        if (width, height) == (self.width, self.height):
            return rgb
        if self.reduced and abs(width * self.height - height * self.width) <= max(self.width, self.height):
            import cv2

            return np.asarray(cv2.resize(rgb, (self.width, self.height), interpolation=cv2.INTER_LINEAR), np.uint8)
        raise InputError(
            f"{self.dataset} {self.id}: the image has {width} x {height} pixels and "
            f"{self.source or 'its annotation'} says {self.width} x {self.height} (width, height)"
        )

    def depth(self) -> Float32Array | None:
        """(H, W) depth in metres, 0 where unknown, read anew at every call; None where the set has none."""
        return self.read_depth() if self.read_depth else None

    def mesh(self, mano: Mano, instance: int = 0) -> FloatArray:
        """A hand's vertices (778, 3) by its MANO fit, metres in the camera's frame.

        Args:
            mano: MANO's hand of its side, by `load_mano` from the user's own licensed file.
            instance: its place among the instances.

        Raises:
            InputError: the set gives no fit of it, or one whose place or mean pose is told by nothing; another side.
        """
        try:
            return _vertices_of_fit(self.instances[instance], self.camera, mano)
        except InputError as error:
            raise InputError(f"{self.dataset} {self.id}: {error}") from None

    def _decoded(self) -> Image:
        match self.image:
            case Path():
                return load_image(self.image, upright=self.upright)
            case VideoFrame():
                return self.image.rgb()
            case bytes():
                return decode_image(self.image, f"{self.dataset} {self.id}", upright=self.upright)
            case _:
                return self.image


_FIRST = (0, 1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15, 17, 18, 19)
"""MediaPipe's keypoints that are joints of MANO: all but the tips, for which sets take different vertices."""


def _vertices_of_fit(hand: Instance, camera: CalibratedCamera | None, mano: Mano) -> FloatArray:
    """Vertices (778, 3) of a hand's MANO fit, metres in the camera's frame.

    A fit without a place is moved to the labelled wrist. Where the set does not say from which mean pose its fits
    count, it is the one that comes nearer to the labelled joints.

    Args:
        hand: with a fit.
        camera: of its image; only fits in the world need it.
        mano: of the hand's side.

    Raises:
        InputError: no fit, another side, or a fit whose place or mean pose is told by nothing.
    """
    fit = hand.mesh
    if fit is None:
        raise InputError("the data set gives no MANO fit of this instance")
    if hand.side is None or hand.side.lower() != mano.side:
        raise InputError(f"MANO's {mano.side} hand for a {hand.side or 'hand of unknown side'}: give that of its side")
    if fit.flat_mean is not None:
        return _placed(hand, fit, camera, mano, flat_mean=fit.flat_mean)[0]
    if hand.keypoints_m is None:
        raise InputError("neither the mean pose of this MANO fit nor its joints are known")
    both = [_placed(hand, fit, camera, mano, flat_mean=flat) for flat in (True, False)]
    apart = [np.nanmean(np.linalg.norm((joints - hand.keypoints_m)[list(_FIRST)], axis=1)) for _, joints in both]
    return both[int(np.argmin(apart))][0]


def _placed(
    hand: Instance, fit: ManoParameters, camera: CalibratedCamera | None, mano: Mano, *, flat_mean: bool
) -> tuple[FloatArray, FloatArray]:
    """Vertices and joints (21, 3) in the camera's frame."""
    import torch

    dtype, device = mano.template.dtype, mano.template.device
    pose, betas = (torch.tensor(values[None], dtype=dtype, device=device) for values in (fit.pose, fit.betas))
    with torch.no_grad():
        posed = mano(pose, betas, flat_hand_mean=flat_mean, tips="handoccnet", pca=fit.pca)
    vertices, joints = (points[0].double().cpu().numpy() for points in posed)
    if fit.trans is not None:
        vertices, joints = vertices + fit.trans, joints + fit.trans
    if fit.frame == "opengl":
        vertices, joints = (points * (1.0, -1.0, -1.0) for points in (vertices, joints))
    elif fit.frame == "world":
        if camera is None:
            raise InputError("a MANO fit in the world's frame, and the camera's place is not known")
        vertices, joints = camera.from_world(vertices), camera.from_world(joints)
    if fit.trans is None:
        if hand.keypoints_m is None or not np.isfinite(hand.keypoints_m[0]).all():
            raise InputError("neither the place of this MANO fit nor the hand's wrist is known")
        shift = hand.keypoints_m[0] - joints[0]
        vertices, joints = vertices + shift, joints + shift
    return vertices, joints
