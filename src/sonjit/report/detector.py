"""Detector of the people whose joint angles a report measures."""

from dataclasses import replace
from typing import Any, Literal, cast

from sonjit.detectors.create import detector_from
from sonjit.detectors.kinds import KINDS, make_options
from sonjit.detectors.options import BodyOptions
from sonjit.detectors.pipeline import Detector


def report_detector(
    kind: Literal["body", "holistic"], model: str, max_instances: int = 1, *, averaged: bool = True
) -> Detector[Any]:
    """Return a detector of people in a video.

    Keypoints are not smoothed, because `angles.filtered` smooths angles without a delay. The networks favour a side.
    With `averaged`, keypoints are the means of each crop and its mirror image, so that a mirrored video has nearly the
    same ranges of motion.
    """
    options = make_options(KINDS.find(kind), {"model": model, "max_instances": max_instances, "smoothing": "none"})
    video_options = cast("BodyOptions", options.for_input("video"))
    return detector_from(replace(video_options, averages_mirrored=averaged))
