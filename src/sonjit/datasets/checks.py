"""Labels held against themselves: a wrong convention has to be an error, not a bad number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonjit.datasets.dataset import Dataset, Skipped
from sonjit.datasets.sample import Instance, Sample
from sonjit.errors import InputError, SonjitError
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.results import Box

TOLERANCE_PX = 2.0
"""Between a label in the image and its projected 3D; sets round to whole pixels."""

_MARGIN = 0.25  # of a box's or image's longer side: how far outside labels may lie
_SHARE = 0.5  # of labels that must lie inside
_FEW = 10  # keypoints of a hand that may lie close together
_HAND_M = 0.02, 0.6  # between which more of them span, across the diagonal of their box


def check_sample(sample: Sample) -> None:
    """Refuse a sample whose labels contradict each other.

    Its image has to be there. What has both 3D and 2D labels has to fall onto itself when projected; what has 3D has
    to lie before the camera, and a hand has to be of a hand's size. Of labels that are seen some have to lie in the
    image and half in their own box, with a margin: hands at the edge are labelled past it.

    Raises:
        InputError: names the set, the sample, what is wrong and by how many pixels.
    """
    if isinstance(sample.image, Path) and not sample.image.is_file():
        raise InputError(f"{sample.dataset} {sample.id}: the image {sample.image} is missing")
    for instance in sample.instances:
        if sample.camera is not None and instance.keypoints_m is not None:
            _check_projection(sample, instance, sample.camera)
        if instance.keypoints_px is not None:
            _check_place(sample, instance, instance.keypoints_px)


def check_all(dataset: Dataset, *, skip_bad: bool = False) -> Dataset:
    """Check every sample.

    Args:
        dataset: which.
        skip_bad: leave bad ones out and list them in `skipped`, where else the first of them is an error.

    Raises:
        InputError: the first bad sample.
    """
    good: list[int] = []
    bad: list[Skipped] = []
    for index in range(len(dataset)):
        try:
            check_sample(dataset[index])
        except SonjitError as error:
            if not skip_bad:
                raise
            bad.append(Skipped(f"#{index}", str(error)))
        else:
            good.append(index)
    if not bad:
        return dataset
    kept = dataset.subset(good)
    kept.skipped = (*dataset.skipped, *bad)
    return kept


def _check_projection(sample: Sample, instance: Instance, camera: CalibratedCamera) -> None:
    points = _labelled(instance.keypoints_m, instance.valid_m)
    if not len(points):
        return
    behind = int((points[:, 2] <= 0).sum())
    if behind > _SHARE * len(points):
        raise InputError(
            f"{_named(sample, instance)}: {behind} of {len(points)} keypoints lie behind the camera: "
            "the axes or the extrinsics are not those of this set"
        )
    span_m = float(np.linalg.norm(np.ptp(points, axis=0)))
    if instance.kind == "hand" and len(points) > _FEW and not _HAND_M[0] < span_m < _HAND_M[1]:
        raise InputError(
            f"{_named(sample, instance)}: its keypoints span {span_m:.3g} m: the unit is not that of this set"
        )
    if instance.keypoints_px is None or instance.keypoints_m is None:
        return
    error_px = np.linalg.norm(camera.project(instance.keypoints_m) - instance.keypoints_px, axis=1)
    error_px = error_px[np.isfinite(error_px)]
    if len(error_px) and (middle := float(np.median(error_px))) > TOLERANCE_PX:
        raise InputError(
            f"{_named(sample, instance)}: projected 3D keypoints lie {middle:.1f} px from the 2D ones: "
            "joint order, unit, axes or camera are not those of this set"
        )


def _check_place(sample: Sample, instance: Instance, keypoints_px: NDArray[np.float64]) -> None:
    valid = instance.valid_px
    if instance.visible is not None:
        valid = instance.visible if valid is None else valid & instance.visible
    points = _labelled(keypoints_px, valid)
    if not len(points):
        return
    frames: list[tuple[str, Box, float]] = [("image", (0, 0, sample.width, sample.height), 1.0)]
    if instance.box is not None:
        frames.append(("own box", instance.box, _SHARE))
    if sample.box is not None:
        frames.append(("box around all", sample.box, _SHARE))
    for what, (x_min, y_min, x_max, y_max), share in frames:
        margin = _MARGIN * max(x_max - x_min, y_max - y_min)
        outside = np.maximum(
            np.array([x_min - margin, y_min - margin]) - points, points - np.array([x_max + margin, y_max + margin])
        ).max(axis=1)
        if (outside > 0).mean() >= share:
            raise InputError(
                f"{_named(sample, instance)}: {(outside > 0).sum()} of {len(points)} keypoints lie outside of the "
                f"{what}, up to {outside.max():.1f} px: joint order, unit, axes or camera are not those of this set"
            )


def _labelled(points: NDArray[np.float64] | None, valid: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    if points is None:
        return np.zeros((0, 3))
    known = np.isfinite(points).all(axis=1)
    return points[known if valid is None else known & valid]


def _named(sample: Sample, instance: Instance) -> str:
    side = f", {instance.side.lower()} {instance.kind}" if instance.side else ""
    return f"{sample.dataset} {sample.id}{side}"
