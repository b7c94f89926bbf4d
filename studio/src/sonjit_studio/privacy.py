"""Prepare images for release: hide faces, and make the ridges of fingers unreadable.

Faces are blurred, but never over a labelled hand. A face detector also fires on fingers, so a box over a labelled hand
counts as the hand if a second network sees no face, and it would be smaller than a face at the hand's distance. The
first condition does not exclude covered faces, and the second does not exclude small faces far behind.

A face of one view is hidden in all others, because detectors miss faces from the side or partly occluded. Two views
determine its position; one view estimates it from a face's usual size.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonjit._util import Float32Array, FloatArray, Image
from sonjit._util.lazy_names import LazyModule
from sonjit.detectors.create import create_detector
from sonjit.detectors.kinds.face import box_around_face
from sonjit.media.drawing.covers import BLUR_MARGIN, add_margin, blur_faces
from sonjit.results import Box, Face
from sonjit_studio.rig import CameraRig, RigCamera
from sonjit_studio.triangulation import triangulate

if TYPE_CHECKING:
    import cv2
else:
    cv2 = LazyModule("cv2")

_MIN_PRESENCE: Final = 0.1
"""Presence below which a small face over a hand counts as a finger.

Chosen on 515 rendered images of hands and 40 photographs; research/annotator.md, "Privacy of releases"."""
_MIN_FACE_M: Final = 0.075  # half a face: a smaller one is at least twice as far away as the hand in front of it
_MAX_FACE_M: Final = 0.4  # largest plausible width of a face
_FACE_WIDTHS_M: Final = 0.13, 0.16, 0.2  # possible widths of a face's box, by size and orientation of the face
_HEAD_RADIUS_M: Final = 0.15  # radius around a face's centre that is blurred from any side
RIDGE_MM: Final = 0.45  # typical period of the ridges of an adult's finger; children's are finer
SIZE: Final = (512, 334)  # longer and shorter side of a released image, as InterHand2.6M's
_READABLE_CONTRAST: Final = 0.1  # remaining fraction of a pattern's contrast from which it is readable
_MIN_RIDGE_PX: Final = 2.0  # period below which a pattern cannot be sampled
_SHRINK_FACTOR: Final = 0.9  # step by which an image becomes smaller until its ridges are unreadable


class FacesFound(NamedTuple):
    """Faces found in one image, or in several."""

    blurred: int = 0
    hands: int = 0
    withheld: int = 0  # images with a possible face over a labelled hand, neither blurred nor released


class ReleasedImage(NamedTuple):
    """A camera's released image, without distortion."""

    rgb: NDArray[np.uint8]  # downsized image, not to be released if a face is `withheld`
    faces: FacesFound
    boxes: tuple[Box, ...]  # boxes of faces in its pixels, also of a withheld one


def released_image(rgb: Image, camera: RigCamera, size: tuple[int, int], points_m: FloatArray) -> ReleasedImage:
    """Prepare an image with joints (2, 21, 3), NaN where unknown, for `hide_faces_of_other_views`."""
    if camera.camera.distortion is not None:
        rgb = _undistort(rgb, camera)
    shown, faces, boxes = hide_faces(rgb, camera, points_m)
    scale = np.tile(np.array(size) / (camera.width, camera.height), 2)
    scaled = tuple[Box, ...](tuple((scale * box).tolist()) for box in boxes)
    return ReleasedImage(np.asarray(downsize(shown, size).round().clip(0, 255), np.uint8), faces, scaled)


def _undistort(rgb: Image, camera: RigCamera) -> Image:
    y, x = np.mgrid[: camera.height, : camera.width] + 0.5
    rays = (np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(camera.camera.K).T).astype(np.float64)
    pixels = camera.camera.project(rays) - 0.5  # OpenCV's pixels
    where = np.nan_to_num(pixels, nan=-2.0).astype(np.float32)
    return np.asarray(cv2.remap(rgb, where[..., 0], where[..., 1], cv2.INTER_LINEAR), np.uint8)


def hide_faces(rgb: Image, camera: RigCamera, points_m: FloatArray) -> tuple[NDArray[np.uint8], FacesFound, list[Box]]:
    """Blur faces in an image with joints (2, 21, 3), not to be released if `withheld` is 1; return their boxes."""
    joints = camera.camera.from_world(points_m)  # (2, 21, 3)
    boxes: list[Box] = []
    hands = withheld = 0
    for face in _detector("box-full").detect(rgb):
        covered = [hand for hand in joints if _overlaps_hand(add_margin(face.box, rgb), hand, camera.camera.K)]
        if covered and _is_hand(rgb, face, covered, camera.camera.K):
            hands += 1
            continue
        boxes.append(face.box)
        withheld |= bool(covered)
    if withheld:
        return rgb, FacesFound(withheld=1), boxes
    return blur_faces(rgb, boxes), FacesFound(len(boxes), hands), boxes


def hide_faces_of_other_views(
    rig: CameraRig, shown: Sequence[ReleasedImage], points_m: FloatArray
) -> list[ReleasedImage]:
    """Blur, or withhold over labelled hands (2, 21, 3), the faces of one frame set that other views show."""
    changed = list(shown)
    for head_m in _locate_heads(rig, shown):
        for view, (camera, image) in enumerate(zip(rig, changed, strict=True)):
            depth = float(camera.camera.from_world(head_m)[2])
            x, y = camera.project(head_m).tolist()
            radius = _HEAD_RADIUS_M * float(camera.camera.K[0, 0]) / max(depth, 1e-6)
            is_visible = -radius < x < camera.width + radius and -radius < y < camera.height + radius  # False for NaN
            if image.faces.withheld or not is_visible or any(a <= x <= c and b <= y <= d for a, b, c, d in image.boxes):
                continue
            half = radius / (1 + 2 * BLUR_MARGIN)
            box = x - half, y - half, x + half, y + half
            joints = camera.camera.from_world(points_m)
            if any(_overlaps_hand(add_margin(box, image.rgb), hand, camera.camera.K) for hand in joints):
                changed[view] = image._replace(faces=FacesFound(withheld=1))
            else:
                faces = image.faces._replace(blurred=image.faces.blurred + 1)
                changed[view] = ReleasedImage(blur_faces(image.rgb, [box]), faces, (*image.boxes, box))
    return changed


def _locate_heads(rig: CameraRig, shown: Sequence[ReleasedImage]) -> list[FloatArray]:
    """Return positions (3,) of heads from two views, else possible ones from one, but not over hands."""
    face_boxes = [(view, np.array(box)) for view, faces in enumerate(shown) for box in faces.boxes]
    heads: list[FloatArray] = []
    for (a, first), (b, second) in combinations(face_boxes, 2):
        if a == b:
            continue
        both = CameraRig((rig.cameras[a], rig.cameras[b]))
        middles = np.stack([(box[:2] + box[2:]) / 2 for box in (first, second)])[:, None]
        sides = np.array([(box[2:] - box[:2]).max() for box in (first, second)])
        centre = triangulate(both, middles).points_m[0]
        depths = np.array([camera.camera.from_world(centre)[2] for camera in both])
        sizes_m = sides * depths / [camera.camera.K[0, 0] for camera in both]
        near = np.linalg.norm(both.project(centre) - middles[:, 0], axis=-1) < sides / 2
        is_known = any(np.linalg.norm(centre - head) < _HEAD_RADIUS_M for head in heads)
        if near.all() and not is_known and ((sizes_m > _MIN_FACE_M) & (sizes_m < _MAX_FACE_M)).all():
            heads.append(centre)
    unpaired: list[FloatArray] = []
    for view, box in face_boxes:
        camera = rig.cameras[view]
        middle = (box[:2] + box[2:]) / 2
        side = float((box[2:] - box[:2]).max())
        is_known = any(np.linalg.norm(camera.project(head) - middle) < side for head in heads)
        if not is_known and not shown[view].faces.withheld:
            ray = camera.directions(middle)
            focal_px = float(camera.camera.K[0, 0])
            unpaired += [camera.centre_m + ray * width * focal_px / side for width in _FACE_WIDTHS_M]
    return heads + unpaired


def _overlaps_hand(box: tuple[int, int, int, int], joints_m: FloatArray, K: FloatArray) -> bool:
    """Check whether a box touches the outline of a hand's known joints (21, 3) in front of the camera."""
    in_front = joints_m[joints_m[:, 2] > 0]  # excludes unknown ones, too
    if not len(in_front):
        return False
    pixels = (in_front @ K.T)[:, :2] / in_front[:, 2:]
    left, top, right, bottom = box
    if ((pixels >= (left, top)) & (pixels <= (right, bottom))).all(1).any():
        return True
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)
    hull = cv2.convexHull(pixels.astype(np.float32))
    return len(hull) > 2 and cv2.intersectConvexConvex(hull, corners)[0] > 0


def _is_hand(rgb: Image, face: Face, hands_m: Sequence[FloatArray], K: FloatArray) -> bool:
    """Check whether a face over hands (21, 3) in the camera's frame is one of the hands."""
    far = max(float(np.nanmedian(hand[:, 2])) for hand in hands_m)
    x_min, _, x_max, _ = face.box
    if (x_max - x_min) * far / K[0, 0] >= _MIN_FACE_M:
        return False
    right_eye, left_eye = face.keypoints[:2, :2].tolist()
    return not _detector("mesh").detect(rgb, boxes=[box_around_face(face.box, right_eye, left_eye)])


@cache
def _detector(model: str) -> Any:  # noqa: ANN401  # a detector of faces
    options: dict[str, Any] = {"model": model, "max_instances": 10}
    if model != "box-full":
        options |= {"max_instances": 1, "min_presence_score": _MIN_PRESENCE}
    return create_detector("face", static_image=True, search="fast", threads=1, **options)


@dataclass(frozen=True)
class Sampling:
    """Resolution of skin in a view's released images."""

    size: tuple[int, int]  # released width and height in pixels
    px_per_mm: float
    ridge_px: float  # period of a ridge there in pixels
    # fraction of the contrast of synthetic ridges that downsizing leaves. Ridges below two pixels per period cannot be
    # read whatever remains of them.
    ridge_contrast: float

    @property
    def readable(self) -> bool:
        """Whether ridges cover two pixels or more, and more than a tenth of their contrast remains."""
        return self.ridge_px >= _MIN_RIDGE_PX and self.ridge_contrast > _READABLE_CONTRAST


def sampling_of(camera: RigCamera, nearest_m: float) -> Sampling:
    """Return the largest size of at most 512 x 334 (or upright) at which ridges cannot be read, and its sampling."""
    longer, shorter = max(camera.width, camera.height), min(camera.width, camera.height)
    scale = min(1.0, SIZE[0] / longer, SIZE[1] / shorter)
    finest = float(max(camera.camera.K[0, 0], camera.camera.K[1, 1])) / (1000 * nearest_m)
    while True:
        size = max(1, round(camera.width * scale)), max(1, round(camera.height * scale))
        shown = finest * scale
        sampling = Sampling(size, shown, shown * RIDGE_MM, ridge_contrast(finest, scale))
        if not sampling.readable:
            return sampling
        scale *= _SHRINK_FACTOR


def ridge_contrast(px_per_mm: float, scale: float) -> float:
    """Return the fraction of the contrast of synthetic ridges after downsizing, the maximum over directions."""
    if px_per_mm * RIDGE_MM < _MIN_RIDGE_PX:
        return 0.0  # the camera does not resolve them
    side, largest = 240, 0.0
    size = max(1, round(side * scale))
    y, x = np.mgrid[:side, :side]
    for angle in np.linspace(0, math.pi / 2, 7):
        along = (x * math.cos(angle) + y * math.sin(angle)) / (px_per_mm * RIDGE_MM)
        ridges = (128 + 100 * np.sin(2 * np.pi * along)).astype(np.float32)
        largest = max(largest, float(downsize(ridges, (size, size)).std() / ridges.std()))
    return largest


def downsize(image: Image | Float32Array, size: tuple[int, int]) -> Float32Array:
    """Downsize an image (H, W) or (H, W, 3) to a width and height by area means."""
    if (image.shape[1], image.shape[0]) == size:
        return np.asarray(image, np.float32)
    return np.asarray(cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32)
