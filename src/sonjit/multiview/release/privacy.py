"""What a released image must not show: readable fingerprint ridges, and faces.

Faces are blurred, but never over a labelled hand, which a blur would spoil. A face detector also fires on fingers. Its
boxes over a labelled hand count as the hand where two conditions hold: a second network sees no face there, and at the
hand's distance it would be smaller than a face can be. One alone would let faces through: the network misses some that
hands cover, and a face far behind a hand is small.

A face that one view shows is hidden in all others too: detectors miss it where it is seen from the side, or half behind
a thing or the image's edge. Two views tell where it is; one tells it by a face's usual size, about.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonjit.arrays import Float32Array, FloatArray, Image
from sonjit.detectors.create import create_detector
from sonjit.detectors.kinds.face import box_around_face
from sonjit.multiview.cameras.rig import CameraRig, RigCamera
from sonjit.multiview.triangulation.triangulation import triangulate
from sonjit.results import Box, Face

RIDGE_MM: Final = 0.45
"""Period of the ridges of an adult's finger, about; children's are finer."""

SIZE: Final = (512, 334)
"""Longer and shorter side of a released image, as InterHand2.6M's."""

_READABLE: Final = 0.1  # share of a pattern's contrast that is left
_NYQUIST_PX: Final = 2.0
_SHRINK: Final = 0.9


@dataclass(frozen=True)
class Sampling:
    """How finely a view's released images resolve skin.

    Attributes:
        view: name.
        size: width and height that are released, pixels.
        px_per_mm: at the labelled joint that is nearest to the camera.
        ridge_px: period of a ridge there, pixels.
        ridge_contrast: share of the ridges' contrast that downsizing leaves, measured on synthetic ones; ridges below
            two pixels a period cannot be read, whatever is left of them.
    """

    view: str
    size: tuple[int, int]
    px_per_mm: float
    ridge_px: float
    ridge_contrast: float

    @property
    def readable(self) -> bool:
        """Ridges are shown by two pixels or more, and a tenth of their contrast is left."""
        return self.ridge_px >= _NYQUIST_PX and self.ridge_contrast > _READABLE


def sampling_of(camera: RigCamera, nearest_m: float) -> Sampling:
    """The largest size of at most 512 x 334 (or upright) at which ridges cannot be read, and its sampling of skin.

    Args:
        camera: whose images are released.
        nearest_m: depth of the nearest labelled joint.
    """
    longer, shorter = max(camera.width, camera.height), min(camera.width, camera.height)
    scale = min(1.0, SIZE[0] / longer, SIZE[1] / shorter)
    finest = float(max(camera.camera.K[0, 0], camera.camera.K[1, 1])) / (1000 * nearest_m)
    while True:
        size = max(1, round(camera.width * scale)), max(1, round(camera.height * scale))
        shown = finest * scale
        sampling = Sampling(camera.name, size, shown, shown * RIDGE_MM, ridge_contrast(finest, scale))
        if not sampling.readable:
            return sampling
        scale *= _SHRINK


def ridge_contrast(px_per_mm: float, scale: float) -> float:
    """Share of the contrast of synthetic ridges that is left after downsizing; the most over directions and phases.

    Args:
        px_per_mm: of the images before.
        scale: of the images after, at most 1.
    """
    side = 240
    y, x = np.mgrid[:side, :side]
    most = 0.0
    for angle in np.linspace(0, math.pi / 2, 7):
        along = (x * math.cos(angle) + y * math.sin(angle)) / (px_per_mm * RIDGE_MM)
        ridges = (128 + 100 * np.sin(2 * np.pi * along)).astype(np.float32)
        if px_per_mm * RIDGE_MM < _NYQUIST_PX:
            return 0.0  # the camera itself does not show them
        small = downsized(ridges, (max(1, round(side * scale)), max(1, round(side * scale))))
        most = max(most, float(small.std() / ridges.std()))
    return most


def downsized(image: Image | Float32Array, size: tuple[int, int]) -> Float32Array:
    """An image (H, W) or (H, W, 3) at a width and height not above its own; pixels are means of those beneath."""
    import cv2

    if (image.shape[1], image.shape[0]) == size:
        return np.asarray(image, np.float32)
    return np.asarray(cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32)


class ReleasedImage(NamedTuple):
    """A camera's image as it is released, without its lens.

    Attributes:
        rgb: smaller; not to be released where a face is `withheld`.
        faces: how many of what kind.
        boxes: faces in its pixels, also of one that is withheld.
    """

    rgb: NDArray[np.uint8]
    faces: FacesFound
    boxes: tuple[Box, ...]


def released_image(rgb: Image, camera: RigCamera, size: tuple[int, int], points_m: FloatArray) -> ReleasedImage:
    """A camera's image as it is released, but for faces that only other views show: see `without_hidden_faces`.

    Args:
        rgb: (H, W, 3) as taken.
        camera: whose.
        size: width and height to release.
        points_m: (2, 21, 3) labelled joints in the world; NaN where unknown.
    """
    if camera.camera.distortion is not None:
        rgb = _without_lens(rgb, camera)
    shown, faces, boxes = without_faces(rgb, camera, points_m)
    scale = np.tile(np.array(size) / (camera.width, camera.height), 2)
    scaled = tuple[Box, ...](tuple((scale * box).tolist()) for box in boxes)
    return ReleasedImage(np.asarray(downsized(shown, size).round().clip(0, 255), np.uint8), faces, scaled)


def _without_lens(rgb: Image, camera: RigCamera) -> Image:
    """An image as the same camera without distortion takes it; black where the lens shows nothing."""
    import cv2

    y, x = np.mgrid[: camera.height, : camera.width] + 0.5
    rays = (np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(camera.camera.K).T).astype(np.float64)
    seen = rays[..., :2].copy()
    seen[np.hypot(seen[..., 0], seen[..., 1]) > camera.camera.fold] = np.nan
    places = camera.camera.project(np.concatenate([seen, rays[..., 2:]], -1)) - 0.5  # OpenCV's pixels
    where = np.nan_to_num(places, nan=-2.0).astype(np.float32)
    return np.asarray(cv2.remap(rgb, where[..., 0], where[..., 1], cv2.INTER_LINEAR), np.uint8)


_ROOM: Final = 0.35
"""The margin blurred around a face, as a share of its longer side."""

_CELLS: Final = 6
_LEAST_PRESENCE: Final = 0.1
_LEAST_M: Final = 0.075
"""Half a face: one that appears smaller is twice as far away as the hand before it, or farther."""
_MOST_M: Final = 0.4
_WIDTHS_M: Final = 0.13, 0.16, 0.2
"""Of a face's box, as a face is large and turned."""
_HEAD_M: Final = 0.15
"""From a face's middle to what is blurred of its head from any side."""


class FacesFound(NamedTuple):
    """Faces found in one image, or in many.

    Attributes:
        blurred: faces.
        hands: labelled hands that were detected as a face, and left as they are.
        withheld: images in which a possible face lies over a labelled hand: neither blurred nor released.
    """

    blurred: int = 0
    hands: int = 0
    withheld: int = 0


def without_faces(
    rgb: Image, camera: RigCamera, points_m: FloatArray
) -> tuple[NDArray[np.uint8], FacesFound, list[Box]]:
    """An image with its faces blurred.

    Args:
        rgb: (H, W, 3).
        camera: whose, without a lens.
        points_m: (2, 21, 3) labelled joints in the world; NaN where unknown.

    Returns:
        The image, not to be released where `withheld` is 1; the faces, and their boxes.
    """
    joints = camera.camera.from_world(points_m)  # (2, 21, 3)
    found: list[Box] = []
    hands = withheld = 0
    for face in _detector("box-full").detect(rgb):
        covered = [hand for hand in joints if _lies_over(_with_room(face.box, rgb), hand, camera.camera.K)]
        if covered and _is_hand(rgb, face, covered, camera.camera.K):
            hands += 1
            continue
        found.append(face.box)
        withheld |= bool(covered)
    if withheld:
        return rgb, FacesFound(withheld=1), found
    return blur_faces(rgb, found), FacesFound(len(found), hands), found


def without_hidden_faces(rig: CameraRig, shown: Sequence[ReleasedImage], points_m: FloatArray) -> list[ReleasedImage]:
    """The images of one frame set, in which faces that other views show are blurred, or withheld over hands, too.

    Args:
        rig: the cameras of the C images, without lenses.
        shown: by camera.
        points_m: (2, 21, 3) labelled joints in the world; NaN where unknown.
    """
    changed = list(shown)
    for head_m in _heads(rig, shown):
        for view, (camera, one) in enumerate(zip(rig, changed, strict=True)):
            depth = float(camera.camera.from_world(head_m)[2])
            x, y = camera.project(head_m).tolist()
            reach = _HEAD_M * float(camera.camera.K[0, 0]) / max(depth, 1e-6)
            seen = -reach < x < camera.width + reach and -reach < y < camera.height + reach  # not where NaN: behind it
            if one.faces.withheld or not seen or any(a <= x <= c and b <= y <= d for a, b, c, d in one.boxes):
                continue
            half = reach / (1 + 2 * _ROOM)
            box = x - half, y - half, x + half, y + half
            joints = camera.camera.from_world(points_m)
            if any(_lies_over(_with_room(box, one.rgb), hand, camera.camera.K) for hand in joints):
                changed[view] = one._replace(faces=FacesFound(withheld=1))
            else:
                faces = one.faces._replace(blurred=one.faces.blurred + 1)
                changed[view] = ReleasedImage(blur_faces(one.rgb, [box]), faces, (*one.boxes, box))
    return changed


def _heads(rig: CameraRig, shown: Sequence[ReleasedImage]) -> list[FloatArray]:
    """(3,) places in the world: where two views show a face of a face's size, else where one alone may show one.

    What one alone shows over a hand is more often a hand than a face.
    """
    found = [(view, np.array(box)) for view, one in enumerate(shown) for box in one.boxes]
    heads: list[FloatArray] = []
    for (a, one), (b, other) in combinations(found, 2):
        if a == b:
            continue
        both = CameraRig((rig.cameras[a], rig.cameras[b]))
        middles = np.stack([(box[:2] + box[2:]) / 2 for box in (one, other)])[:, None]
        sides = np.array([(box[2:] - box[:2]).max() for box in (one, other)])
        place = triangulate(both, middles).points_m[0]
        depths = np.array([camera.camera.from_world(place)[2] for camera in both])
        sizes_m = sides * depths / [camera.camera.K[0, 0] for camera in both]
        near = np.linalg.norm(both.project(place) - middles[:, 0], axis=-1) < sides / 2
        known = any(np.linalg.norm(place - head) < _HEAD_M for head in heads)
        if near.all() and not known and ((sizes_m > _LEAST_M) & (sizes_m < _MOST_M)).all():
            heads.append(place)
    alone: list[FloatArray] = []
    for view, box in found:
        camera, middle, side = rig.cameras[view], (box[:2] + box[2:]) / 2, float((box[2:] - box[:2]).max())
        known = any(np.linalg.norm(camera.project(head) - middle) < side for head in heads)
        if not known and not shown[view].faces.withheld:
            ray = camera.directions(middle)
            alone += [camera.centre_m + ray * width * float(camera.camera.K[0, 0]) / side for width in _WIDTHS_M]
    return heads + alone


def blur_faces(rgb: Image, boxes: Sequence[Box]) -> Image:
    """An image (H, W, 3) in which each face's box, and a margin around it, is reduced to six cells a side."""
    import cv2

    out = rgb.copy()
    for box in boxes:
        left, top, right, bottom = _with_room(box, rgb)
        if right - left < 1 or bottom - top < 1:
            continue
        cells = cv2.resize(out[top:bottom, left:right], (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
        out[top:bottom, left:right] = cv2.resize(cells, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
    return out


def _with_room(box: Box, rgb: Image) -> tuple[int, int, int, int]:
    """A face's box and its margin: x_min, y_min, x_max, y_max, within the image."""
    x_min, y_min, x_max, y_max = box
    room = _ROOM * max(x_max - x_min, y_max - y_min)
    height, width = rgb.shape[:2]
    left, top = max(0, math.floor(x_min - room)), max(0, math.floor(y_min - room))
    return left, top, min(width, math.ceil(x_max + room)), min(height, math.ceil(y_max + room))


def _lies_over(box: tuple[int, int, int, int], joints_m: FloatArray, K: FloatArray) -> bool:
    """Whether a box touches the outline of a hand's known joints (21, 3) before the camera."""
    import cv2

    known = joints_m[joints_m[:, 2] > 0]  # unknown ones neither
    if not len(known):
        return False
    pixels = (known @ K.T)[:, :2] / known[:, 2:]
    left, top, right, bottom = box
    if ((pixels >= (left, top)) & (pixels <= (right, bottom))).all(1).any():
        return True
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)
    hull = cv2.convexHull(pixels.astype(np.float32))
    return len(hull) > 2 and cv2.intersectConvexConvex(hull, corners)[0] > 0


def _is_hand(rgb: Image, face: Face, hands_m: Sequence[FloatArray], K: FloatArray) -> bool:
    """Whether a face over hands (21, 3) in the camera's frame is one of the hands."""
    far = max(float(np.nanmedian(hand[:, 2])) for hand in hands_m)
    x_min, _, x_max, _ = face.box
    if (x_max - x_min) * far / K[0, 0] >= _LEAST_M:
        return False
    right_eye, left_eye = face.keypoints[:2, :2].tolist()
    return not _detector("mesh").detect(rgb, boxes=[box_around_face(face.box, right_eye, left_eye)])


@cache
def _detector(model: str) -> Any:  # noqa: ANN401  # a detector of faces
    most = 10 if model == "box-full" else 1
    return create_detector(
        "face",
        model=model,
        static_image=True,
        search="fast",
        max_instances=most,
        min_presence_score=_LEAST_PRESENCE,
        threads=1,
    )
