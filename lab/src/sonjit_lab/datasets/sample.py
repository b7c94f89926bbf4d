"""Sample and instance: the types that every loader returns, and the frames around a sample in its recording.

Camera frame: x right, y down, z forward, metres. Pixels are those of the stored image. Keypoints and the principal
point count from the centre of the first pixel, as those of COCO and OpenCV do, and boxes from its edge. Unknown values
are `None`, or NaN within an array.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sonjit._util import BoolArray, Float32Array, FloatArray, Image, InputError
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.media import open_source
from sonjit.media.sources.base import SourceFrame
from sonjit.media.sources.images import load_image
from sonjit.results import Box
from sonjit.results.skeletons import load_skeleton

if TYPE_CHECKING:
    from sonjit_lab.hand_models import Mano, mano_files

LandmarkKind: TypeAlias = Literal["hand", "face", "body"]  # kinds of instances with keypoints
InstanceKind: TypeAlias = LandmarkKind | Literal["object"]
Side = Literal["Right", "Left"]  # the person's own hand, spelled as in `results.Hand.handedness`
HAND_SKELETON = "hand_mediapipe21"  # keypoint order of a hand in every loader, independent of the order in its files
HandOf: TypeAlias = "Callable[[Sample, Instance | None], Instance | None]"
"""Function that returns the same hand in another sample; the first hand if the argument is None; None without one."""
CORNER_PIXEL: Final = 0.5
"""Position of the first pixel's centre in files that count from its corner, as those of `sonjit synth`.

Such files state it as `pixel_centre`. Loaders subtract it from keypoints and principal points.
"""
_VIDEO_LOCK = Lock()
_FIRST = (0, 1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15, 17, 18, 19)
"""MediaPipe's keypoints that are joints of MANO: all except the tips, for which sets use different vertices."""


@dataclass(frozen=True, eq=False)
class ManoParameters:
    """Official MANO fit of a hand, as stored in its file.

    Attributes:
        pose: Pose (48,): the root's rotation as an axis-angle, then 45 numbers: 15 axis-angles, or components with
            `pca`.
        betas: Shape (10,).
        trans: Translation (3,) in metres; None if the file gives none.
        frame: Axes of rotation and translation: the camera's, the world's, or OpenGL's (y up, z backward).
        pca: True if the 45 numbers are principal components.
        flat_mean: True if the pose is relative to the flat hand and not to MANO's mean pose; None if the set does not
            define it.
        left_shapes: Convention of the shape of a left hand, see `hand_models.mano_files.left_shapes`.
    """

    pose: FloatArray
    betas: FloatArray
    trans: FloatArray | None
    frame: Literal["camera", "world", "opengl"]
    pca: bool = False
    flat_mean: bool | None = None
    left_shapes: mano_files.LeftShapes = "corrected"


@dataclass(frozen=True)
class VideoFrame:
    """Frame of a video by number. Read frames in order: going back decodes the video again."""

    video: Path
    index: int

    def rgb(self) -> Image:
        """Return the frame (H, W, 3), uint8 RGB.

        Raises:
            InputError: The video cannot be read, or has no such frame.
        """
        with _VIDEO_LOCK:
            return _video_frames(self.video, os.getpid()).rgb(self.index)


class _VideoFrames:
    """Open video that returns frames by number."""

    def __init__(self, video: Path) -> None:
        self._video = video
        self._frames: Iterator[SourceFrame] = iter(())
        self._last: SourceFrame | None = None

    def rgb(self, index: int) -> Image:
        if self._last is None or index < self._last.index:
            source = open_source(self._video)
            if source.kind != "video":
                raise InputError(f"{self._video} is no source of frames; choose the images' folder or video")
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
    """Hand, face, body or object in an image.

    Attributes:
        kind: Kind of the instance.
        side: Side of a hand; None if unknown or not a hand.
        skeleton: Keypoint order: a name known to `load_skeleton`, or the name on the set's own page.
        keypoint_names: Names of keypoints without a known skeleton; empty if the set gives none.
        keypoints_px: Keypoints (K, 2) as x, y; NaN where unknown.
        valid_px: Mask (K,) of the labelled keypoints.
        visible: Mask (K,) of the keypoints that are not hidden; None if the set does not label it.
        keypoints_m: Keypoints (K, 3) in metres in the camera's frame; NaN where unknown.
        valid_m: Mask (K,) of the labelled 3D keypoints.
        derived: Indices of keypoints that are computed from others because the set lacks them.
        box: Box of the set as x_min, y_min, x_max, y_max in pixels; None if it gives none.
        area_px2: Area of its mask as given by the set.
        mesh: MANO parameters.
        vertices_m: Vertices (V, 3) in metres in the camera's frame.
        category: Name of its class.
        category_id: Id of its class in the set.
        crowd: True if it represents a group of instances.
        extra: Other labels of the set, by their own names.
        read_mask: Picklable function that returns the mask (H, W), such as a `functools.partial` of a module's
            function.
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
    extra: Mapping[str, Any] = field(default_factory=dict[str, object])
    read_mask: Callable[[], BoolArray] | None = None

    def mask(self) -> BoolArray | None:
        """Read the mask (H, W) of its visible part; None if the set has none."""
        return self.read_mask() if self.read_mask else None

    @property
    def labelled_px(self) -> FloatArray | None:
        """Keypoints (K, 2) in pixels, NaN where they are not labelled; None without any."""
        return _labelled(self.keypoints_px, self.valid_px)

    @property
    def labelled_m(self) -> FloatArray | None:
        """Keypoints (K, 3) in metres in the camera's frame, NaN where they are not labelled; None without any."""
        return _labelled(self.keypoints_m, self.valid_m)

    def keypoint_indices(self, names: Sequence[str]) -> list[int] | None:
        """Return the indices of keypoints by name; None if it lacks one of them."""
        keypoint_names = self.keypoint_names or _keypoints_of(self.skeleton or "")
        return [keypoint_names.index(name) for name in names] if set(names) <= set(keypoint_names) else None

    def bounds(self) -> Box | None:
        """Return the labelled box, or the box of the known keypoints, in pixels. None if both are unknown."""
        if self.box is not None or self.keypoints_px is None:
            return self.box
        labelled_points = self.keypoints_px[np.isfinite(self.keypoints_px).all(axis=1)]
        return (*labelled_points.min(0).tolist(), *labelled_points.max(0).tolist()) if len(labelled_points) else None

    def filled_mask(self, height: int, width: int) -> BoolArray:
        """Return the mask (height, width); without one, its bounds are filled."""
        mask = self.mask()
        if mask is None:
            mask = np.zeros((height, width), np.bool_)
            x_min, y_min, x_max, y_max = (max(round(edge), 0) for edge in self.bounds() or (0, 0, 0, 0))
            mask[y_min:y_max, x_min:x_max] = True
        return mask


def _labelled(points: FloatArray | None, valid: BoolArray | None) -> FloatArray | None:
    if points is None:
        return None
    labelled = np.asarray(np.isfinite(points).all(1), np.bool_)
    if valid is not None:
        labelled &= valid
    return np.where(labelled[:, None], points, np.nan) if labelled.any() else None


def name_of(sample: Sample) -> str:
    """Return the file or data set of a sample and its id, for errors."""
    return f"{sample.source or sample.dataset}: {sample.id}"


def ordered_hand(hand: Instance, source: str = "") -> Instance | None:
    """Return a hand with MediaPipe's 21 keypoints in their order, by name; None if it lacks some of them.

    `source` names the file or data set in errors.

    Raises:
        InputError: The hand has 21 keypoints, and neither their names nor a stated order define what they are.
    """
    points = hand.keypoints_px if hand.keypoints_px is not None else hand.keypoints_m
    names = _keypoints_of(HAND_SKELETON)
    if hand.kind != "hand" or points is None:
        return None
    if hand.skeleton == HAND_SKELETON:
        return hand if len(points) == len(names) else None
    indices = hand.keypoint_indices(names)
    if indices is None and len(points) == len(names) and np.isfinite(points).any():
        first_names = ", ".join(hand.keypoint_names[:3])
        given = f"the keypoints {first_names}, ... have other names" if first_names else "the keypoints have no names"
        raise InputError(
            f"{source}{': ' * bool(source)}the order of a hand's {len(names)} keypoints is not known, because {given}. "
            "Name them wrist, thumb_cmc, ..., or state the order, such as order=mano"
        )
    if indices is None:
        return None
    fields = ("keypoints_px", "valid_px", "visible", "keypoints_m", "valid_m")
    arrays = {name: None if (values := getattr(hand, name)) is None else values[indices] for name in fields}
    derived = tuple(place for place, index in enumerate(indices) if index in hand.derived)
    return replace(hand, skeleton=HAND_SKELETON, keypoint_names=(), derived=derived, **arrays)


@lru_cache
def _keypoints_of(skeleton: str) -> tuple[str, ...]:
    """Return the names of a skeleton's keypoints; empty for an unknown skeleton."""
    try:
        return load_skeleton(skeleton).keypoints
    except InputError:
        return ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Sample:
    """One image with its labels.

    Attributes:
        dataset: Name of the set.
        id: Unique id within the set, e.g. the image's path below the root.
        image_id: Id of the image in the annotation file, a number or a text; None if the format has no ids.
        image: File, video frame, or image (H, W, 3), uint8 RGB.
        width: Width in pixels that the labels refer to.
        height: Height in pixels that the labels refer to.
        instances: Instances in the image; may be empty.
        box: Box around all instances, x_min, y_min, x_max, y_max in pixels, if the set gives only that.
        camera: Camera of the image; None if unknown.
        subject: Person whose hands or face it shows; None if unknown.
        sequence: Recording.
        frame: Frame number within the recording.
        view: Name of the camera if there are several.
        tags: Other labels of the image, by name.
        source: Annotation file for error messages and reports.
        licence: Licence of the image.
        upright: True if the image is rotated by its EXIF orientation. Research sets were labelled without.
        reduced: True if smaller copies of the set are in use; `rgb` enlarges them to `width` and `height`.
        read_depth: Picklable function that returns the depth (H, W) in metres, 0 where unknown.
    """

    dataset: str
    id: str
    image: Path | VideoFrame | NDArray[np.uint8]
    width: int
    height: int
    instances: tuple[Instance, ...] = ()
    box: Box | None = None
    camera: CalibratedCamera | None = None
    subject: str | None = None
    sequence: str | None = None
    frame: int | None = None
    view: str | None = None
    tags: Mapping[str, Any] = field(default_factory=dict[str, object])
    source: str = ""
    licence: str = ""
    upright: bool = False
    reduced: bool = False
    image_id: int | str | None = None
    read_depth: Callable[[], Float32Array] | None = None

    def rgb(self) -> Image:
        """Read the image (height, width, 3), uint8 RGB.

        Raises:
            InputError: The image is missing, damaged or of another size than the labels.
        """
        rgb = self._decode()
        height, width = rgb.shape[:2]
        if (width, height) == (self.width, self.height):
            return rgb
        if self.reduced and abs(width * self.height - height * self.width) <= max(self.width, self.height):
            import cv2

            return np.asarray(cv2.resize(rgb, (self.width, self.height), interpolation=cv2.INTER_LINEAR), np.uint8)
        raise InputError(
            f"{self.dataset} {self.id}: the image has {width} x {height} pixels and "
            f"{self.source or 'its annotation'} has {self.width} x {self.height} (width, height)"
        )

    def depth(self) -> Float32Array | None:
        """Read the depth (H, W) in metres, 0 where unknown; None if the set has none."""
        return self.read_depth() if self.read_depth else None

    def mesh(self, mano: Mano, instance: int = 0) -> FloatArray:
        """Return a hand's vertices (778, 3) by its MANO fit, metres in the camera's frame.

        Args:
            mano: MANO model of its side, loaded with `load_mano` from the user's own licensed file.
            instance: Index of the instance.

        Raises:
            InputError: The set gives no fit, or a fit without known translation or mean pose; or the model has another
                side.
        """
        try:
            return _vertices_of_fit(self.instances[instance], self.camera, mano)
        except InputError as error:
            raise InputError(f"{self.dataset} {self.id}: {error}") from None

    def _decode(self) -> Image:
        match self.image:
            case Path():
                return load_image(self.image, upright=self.upright)
            case VideoFrame():
                return self.image.rgb()
            case _:
                return self.image


def _vertices_of_fit(hand: Instance, camera: CalibratedCamera | None, mano: Mano) -> FloatArray:
    """Return the vertices (778, 3) of a hand's MANO fit, metres in the camera's frame; a world fit needs the `camera`.

    A fit without translation is moved to the labelled wrist. If the set does not define the mean pose, the one nearer
    to the labelled joints is used.
    """
    fit = hand.mesh
    if fit is None:
        raise InputError("the data set has no MANO fit of this instance")
    if hand.side is None or hand.side.lower() != mano.side:
        raise InputError(
            f"MANO's {mano.side} hand for a {hand.side or 'hand of unknown side'}; choose that of its side"
        )
    complete_fit = fit_with_mean(hand, camera, mano)
    return _fit_in_camera(hand, complete_fit, camera, mano, flat_mean=bool(complete_fit.flat_mean))[0]


def fit_with_mean(hand: Instance, camera: CalibratedCamera | None, mano: Mano) -> ManoParameters:
    """Return a hand's MANO fit with a known mean pose: that of the set, or the one nearer to the labelled joints.

    Raises:
        InputError: The hand has no fit, or neither its mean pose nor its joints are known.
    """
    fit = hand.mesh
    if fit is None:
        raise InputError("the data set has no MANO fit of this instance")
    if fit.flat_mean is not None:
        return fit
    if hand.keypoints_m is None:
        raise InputError("neither the mean pose of this MANO fit nor its joints are known")
    both = [_fit_in_camera(hand, fit, camera, mano, flat_mean=flat)[1] for flat in (True, False)]
    apart = [np.nanmean(np.linalg.norm((joints - hand.keypoints_m)[list(_FIRST)], axis=1)) for joints in both]
    return replace(fit, flat_mean=apart[0] < apart[1])


def _fit_in_camera(
    hand: Instance, fit: ManoParameters, camera: CalibratedCamera | None, mano: Mano, *, flat_mean: bool
) -> tuple[FloatArray, FloatArray]:
    """Return vertices and joints (21, 3) in the camera's frame."""
    import torch

    dtype, device = mano.template.dtype, mano.template.device
    pose, betas = (torch.tensor(values[None], dtype=dtype, device=device) for values in (fit.pose, fit.betas))
    with torch.no_grad():
        posed = mano.in_convention(fit.left_shapes)(
            pose, betas, flat_hand_mean=flat_mean, tips="handoccnet", pca=fit.pca
        )
    vertices, joints = (points[0].double().cpu().numpy() for points in posed)
    if fit.trans is not None:
        vertices, joints = vertices + fit.trans, joints + fit.trans
    if fit.frame == "opengl":
        vertices, joints = (points * (1.0, -1.0, -1.0) for points in (vertices, joints))
    elif fit.frame == "world":
        if camera is None:
            raise InputError("a MANO fit in the world's frame, and the camera's position is not known")
        vertices, joints = camera.from_world(vertices), camera.from_world(joints)
    if fit.trans is None:
        if hand.keypoints_m is None or not np.isfinite(hand.keypoints_m[0]).all():
            raise InputError("neither the position of this MANO fit nor the hand's wrist is known")
        shift = hand.keypoints_m[0] - joints[0]
        vertices, joints = vertices + shift, joints + shift
    return vertices, joints


def frames_around(
    samples: Sequence[Sample], index: int, frames: int, gap: int, *, stops_at_gap: bool, hand_of: HandOf
) -> list[tuple[Sample, Instance]]:
    """Return a sample and those around it in its recording, oldest first, each with the hand that `hand_of` finds.

    `frames` is odd, and `gap` the distance between them in frames. A missing neighbour is replaced by the nearest frame
    found on its side; with `stops_at_gap`, frames beyond it are not searched. The samples of a recording are in order,
    possibly with gaps. The result is empty if the middle frame has no such hand.
    """
    middle = samples[index]
    hand = hand_of(middle, None)
    if hand is None:
        return []
    window: list[tuple[Sample, Instance]] = [(middle, hand)]
    for way in (-1, 1):
        nearest, ended = (middle, hand), False
        for step in range(1, frames // 2 + 1):
            neighbour = None if ended else _neighbour(samples, index, way * step * gap, hand, hand_of)
            ended = ended or (neighbour is None and stops_at_gap)
            nearest = neighbour or nearest
            window.insert(len(window) if way > 0 else 0, nearest)
    return window


def _neighbour(
    samples: Sequence[Sample], index: int, offset: int, hand: Instance, hand_of: HandOf
) -> tuple[Sample, Instance] | None:
    """Return the sample of the same recording and camera at a frame offset, with the same hand, by binary search."""
    reference, way = samples[index], 1 if offset > 0 else -1
    if reference.frame is None:
        return None
    near, far = 1, min(abs(offset), (len(samples) - 1 - index) if way > 0 else index)
    step = far  # where no frame is left out
    while near <= far:
        other = samples[index + way * step]
        same = (other.sequence, other.view) == (reference.sequence, reference.view) and other.frame is not None
        away = way * (other.frame - reference.frame) if same and other.frame is not None else np.inf
        if away == abs(offset):
            same_hand = hand_of(other, hand)
            return None if same_hand is None else (other, same_hand)
        near, far = (step + 1, far) if away < abs(offset) else (near, step - 1)
        step = (near + far) // 2
    return None
