"""The body's networks and smoothing: which published file belongs to which model, and how it runs."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from sonjit.detectors.body import KEYPOINT_OUTPUTS, MASK_OUTPUT, Bodies, PersonFinder
from sonjit.detectors.body_smoothing import BodySmoother
from sonjit.detectors.request import load_together
from sonjit.engines import load_engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from sonjit.detectors.request import Request

_DETECTOR_RANGE = (-1.0, 1.0)


def load_bodies(request: Request) -> Bodies:
    """Person detector and landmark network of one model; without masks, the network's part for them is cut off."""
    person_file = request.file("pose-detector", request.detector_model)
    body_file = request.file(f"body-{request.model}", request.landmark_model)
    engine = replace(request.engine, precision="f32") if request.engine.precision == "auto" else request.engine
    people, landmarks = load_together(
        partial(load_engine, person_file, engine, value_range=_DETECTOR_RANGE),
        partial(
            load_engine,
            body_file,
            engine,
            outputs=(*KEYPOINT_OUTPUTS, MASK_OUTPUT) if request.segmentation else KEYPOINT_OUTPUTS,
        ),
    )
    return Bodies(PersonFinder(people), landmarks, mirrored=request.mirrored)


def body_smoothers(request: Request) -> Callable[[], BodySmoother]:
    """A function that makes a new person's smoother."""
    return lambda: BodySmoother(request.smoothing, mask=request.segmentation and request.smooth_segmentation)
