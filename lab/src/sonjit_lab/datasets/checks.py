"""Check the labels of a sample against each other, and its image file."""

import os
import struct
import sys
import tempfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np

from sonjit._util import BoolArray, FloatArray, InputError
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.results import Box
from sonjit_lab.datasets.sample import Instance, Sample

TOLERANCE_PX = 2.0  # maximum distance between a label and its projected 3D label; some sets round to pixels

_MARGIN = 0.25  # of a box's or image's longer side: how far outside labels may lie
_MIN_SHARE_INSIDE = 0.5  # of labels that must lie inside
_MIN_KEYPOINTS = 10  # keypoints of a hand that may lie close together
_MIN_SIDE_PX = 8  # side of an image in which no box lies within one pixel
_UNCOMPRESSED: Final = (".bmp", ".ppm", ".pgm", ".pnm", ".pbm", ".tif", ".tiff", ".ico")  # black pixels are zeros
_MOST_ZEROS: Final = 64  # bytes at the end of a complete file
_PNG_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_HAND_M = 0.02, 0.6  # between which more of them span, across the diagonal of their box


def check_sample(sample: Sample) -> None:
    """Refuse a sample whose image is missing, whose labels contradict each other, or of an instance outside the image.

    See `check_labels`. Recordings may label hands that have left the image. In the first sample of a set they are
    rather a wrong camera.
    """
    if isinstance(sample.image, Path) and not sample.image.is_file():
        raise InputError(f"{sample.dataset} {sample.id}: the image {sample.image} is missing")
    check_labels(sample)
    for instance in sample.instances:
        _check_places(sample, instance, [("image", (0, 0, sample.width, sample.height), 1.0)])


def check_labels(sample: Sample) -> None:
    """Refuse a sample whose labels contradict each other.

    3D labels have to project onto the 2D labels, in front of the camera, and a hand needs the size of a hand. Half of
    the visible labels have to lie in their own box, with a margin. Boxes without keypoints have to lie in the image,
    with a margin, and all boxes are in pixels. No keypoint has the position that other programs write for unknown ones.
    """
    for instance in sample.instances:
        if instance.box is not None:
            _check_box(sample, instance, instance.box)
        if instance.keypoints_px is not None:
            _check_markers(sample, instance, instance.keypoints_px)
        if instance.keypoints_m is not None:
            _check_space(sample, instance)
            if sample.camera is not None:
                _check_projection(sample, instance, sample.camera)
        boxes = (("own box", instance.box), ("box around all", sample.box))
        _check_places(sample, instance, [(noun, box, _MIN_SHARE_INSIDE) for noun, box in boxes if box is not None])
        if instance.area_px2 is not None and instance.area_px2 < 0:
            raise InputError(f"{_sample_name(sample, instance)}: its area is {instance.area_px2:g}; must be 0 or more")


def _check_space(sample: Sample, instance: Instance) -> None:
    """Check the size of a hand, and that no two keypoints are at one position."""
    points = _labelled_rows(instance.keypoints_m, instance.valid_m)
    positions, counts = np.unique(points, axis=0, return_counts=True)
    if (counts > 1).any():
        x, y, z = positions[counts.argmax()].tolist()
        raise InputError(
            f"{_sample_name(sample, instance)}: {counts.max()} of {len(points)} 3D keypoints are at ({x:g}, {y:g}, "
            f"{z:g}) m: mark unknown ones as NaN, in JSON as null"
        )
    span_m = float(np.linalg.norm(np.ptp(points, axis=0))) if len(points) else 0.0
    if instance.kind == "hand" and len(points) > _MIN_KEYPOINTS and not _HAND_M[0] < span_m < _HAND_M[1]:
        raise InputError(
            f"{_sample_name(sample, instance)}: its keypoints span {span_m:.3g} m: the unit is not that of this set"
        )


def _check_projection(sample: Sample, instance: Instance, camera: CalibratedCamera) -> None:
    points = _labelled_rows(instance.keypoints_m, instance.valid_m)
    if not len(points):
        return
    if (points == 0).all(axis=1).any():
        raise InputError(
            f"{_sample_name(sample, instance)}: a 3D keypoint is at (0, 0, 0), the position of the camera: mark "
            "unknown ones as NaN, in JSON as null, or give positions in the camera's frame"
        )
    behind = int((points[:, 2] <= 0).sum())
    if behind > _MIN_SHARE_INSIDE * len(points):
        raise InputError(
            f"{_sample_name(sample, instance)}: {behind} of {len(points)} keypoints lie behind the camera: "
            "the axes or the extrinsics are not those of this set"
        )
    if instance.keypoints_px is None or instance.keypoints_m is None:
        return
    error_px = np.linalg.norm(camera.project(instance.keypoints_m) - instance.keypoints_px, axis=1)
    error_px = error_px[np.isfinite(error_px)]
    if len(error_px) and (middle := float(np.median(error_px))) > TOLERANCE_PX:
        raise InputError(
            f"{_sample_name(sample, instance)}: projected 3D keypoints lie {middle:.1f} px from the 2D ones: "
            "joint order, unit, axes or camera are not those of this set"
        )


def _check_places(sample: Sample, instance: Instance, places: Iterable[tuple[str, Box, float]]) -> None:
    """Check that less than a share of an instance's visible keypoints lie outside of each place, with a margin."""
    valid = instance.valid_px
    if instance.visible is not None:
        valid = instance.visible if valid is None else valid & instance.visible
    points = _labelled_rows(instance.keypoints_px, valid)
    if not len(points):
        return
    for noun, (x_min, y_min, x_max, y_max), share in places:
        margin = _MARGIN * max(x_max - x_min, y_max - y_min)
        outside = np.maximum(
            np.array([x_min - margin, y_min - margin]) - points, points - np.array([x_max + margin, y_max + margin])
        ).max(axis=1)
        if (outside > 0).mean() >= share:
            raise InputError(
                f"{_sample_name(sample, instance)}: {(outside > 0).sum()} of {len(points)} keypoints lie outside of "
                f"the {noun}, up to {outside.max():.1f} px: joint order, unit, axes or camera are not those of this set"
            )


def _check_markers(sample: Sample, instance: Instance, keypoints_px: FloatArray) -> None:
    """Check that no labelled keypoint is at 0, 0 or -1, -1, where programs put unknown ones, far from the others."""
    points = _labelled_rows(keypoints_px, instance.valid_px)
    for marker in (0.0, -1.0):
        is_marker = (points == marker).all(axis=1)
        others = points[~is_marker]
        if not is_marker.any() or not len(others):
            continue
        margin = _MARGIN * float(np.ptp(others, axis=0).max())
        if is_marker.sum() > 1 or (others.min(axis=0) - margin > marker).any():
            raise InputError(
                f"{_sample_name(sample, instance)}: {is_marker.sum()} of {len(points)} labelled keypoints are at "
                f"({marker:g}, {marker:g}): mark unknown ones as unlabelled, in COCO's format with the flag 0"
            )
    if len(points) > 1 and points.min() >= 0 and points.max() <= 1 and _has_many_pixels(sample):
        raise InputError(
            f"{_sample_name(sample, instance)}: its keypoints lie within the first pixel: must be in pixels, not "
            "fractions of the image"
        )


def _check_box(sample: Sample, instance: Instance, box: Box) -> None:
    """Check that a box is in pixels of the image. That of keypoints surrounds them outside of the image too."""
    x_min, y_min, x_max, y_max = box
    margin = _MARGIN * max(sample.width, sample.height)
    beyond = max(-x_min, -y_min, x_max - sample.width, y_max - sample.height)
    if beyond > margin and instance.keypoints_px is None:
        raise InputError(
            f"{_sample_name(sample, instance)}: its box reaches {beyond:.1f} px beyond the image: is it in pixels of "
            "this image, and are its numbers in the right order?"
        )
    if min(x_min, y_min) >= 0 and max(x_max, y_max) <= 1 and _has_many_pixels(sample):
        raise InputError(
            f"{_sample_name(sample, instance)}: its box lies within the first pixel: must be in pixels, not fractions "
            "of the image"
        )


def _has_many_pixels(sample: Sample) -> bool:
    return min(sample.width, sample.height) > _MIN_SIDE_PX


def _labelled_rows(points: FloatArray | None, valid: BoolArray | None) -> FloatArray:
    if points is None:
        return np.zeros((0, 3))
    labelled = np.isfinite(points).all(axis=1)
    return points[labelled if valid is None else labelled & valid]


def _sample_name(sample: Sample, instance: Instance) -> str:
    side = f", {instance.side.lower()} {instance.kind}" if instance.side else ""
    return f"{sample.dataset} {sample.id}{side}"


def decoder_warning(path: Path) -> str | None:
    """Return what is missing in an image that decoders show in spite of it; None if it is complete.

    Decoders fill what is missing with grey, with black or with the last line.
    """
    data, ending = path.read_bytes(), path.suffix.lower()
    zeros = len(data) - len(data.rstrip(b"\0"))
    if ending not in _UNCOMPRESSED and zeros > max(_MOST_ZEROS, len(data) // 20):
        reason = f"its last {zeros} of {len(data)} bytes are zero"
    elif ending == ".png" and (missing := _missing_in_png(data)):
        reason = f"{missing:.0%} of its pixels are missing"
    elif ending in (".jpg", ".jpeg") and (report := _jpeg_report(data)):
        reason = report
    else:
        return None
    return f"the decoder repairs it ({reason}); copy or download it again"


def _missing_in_png(data: bytes) -> float:
    """Return the share of the pixels' bytes that the compressed data of a PNG lack."""
    at, packed = 8, bytearray()
    width = height = depth = colour = interlaced = 0
    while at + 12 <= len(data):
        (length,), kind = struct.unpack(">I", data[at : at + 4]), data[at + 4 : at + 8]
        content = data[at + 8 : at + 8 + length]
        if kind == b"IHDR" and length == 13:
            width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", content)
        packed += content if kind == b"IDAT" else b""
        at += 12 + length
    if interlaced or colour not in _PNG_CHANNELS or not packed:
        return 0.0
    needed = height * (1 + (width * depth * _PNG_CHANNELS[colour] + 7) // 8)
    try:
        found = len(zlib.decompressobj().decompress(packed, needed))
    except zlib.error:
        return 0.0
    return 1 - found / needed


def _jpeg_report(data: bytes) -> str:
    """Return the first line that libjpeg writes to the standard error of the process, which is read here."""
    import cv2

    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
        finally:
            os.dup2(before, 2)
            os.close(before)
        file.seek(0)
        return file.read().decode("utf-8", "replace").strip().partition("\n")[0]
