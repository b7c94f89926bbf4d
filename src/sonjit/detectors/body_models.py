"""The body's networks and smoothing: which published file belongs to which model, and how it runs.

What bf16 (with the last layers in f32, see `engines.precision`) costs and saves. Error: mean distance to MediaPipe's
keypoints in pixels, worst still and worst tracked clip of up to 1280 pixels; time: the landmark network without its
branch for masks on one thread of a CPU with avx512_bf16.

| network        | f32: stills, tracked | bf16: stills, tracked | f32    | bf16   | `auto`                |
|----------------|----------------------|-----------------------|--------|--------|-----------------------|
| lite           | 0.08, 0.9            | 2.0, 2.4              | 2.6 ms | 1.9 ms | f32                   |
| full           | 0.08, 0.7            | 2.7, 1.1              | 4.8 ms | 3.1 ms | bf16 smoothed clips   |
| heavy          | 0.03, 0.5            | 1.7, 1.9              | 20 ms  | 12 ms  | f32                   |
| detector alone | -                    | 22, -                 | 4.6 ms | 2.6 ms | f32                   |

Masks nearly double the time of lite and full: where they are not asked for, their branch is cut off.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sonjit.detectors.body import KEYPOINT_OUTPUTS, MASK_OUTPUT, PERSON_GRID, Bodies, PersonFinder
from sonjit.detectors.body_smoothing import BodySmoother
from sonjit.detectors.request import expect
from sonjit.engines import load_engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from sonjit.detectors.request import Request
    from sonjit.engines import EngineOptions

_DETECTOR_RANGE = (-1.0, 1.0)


def load_bodies(request: Request) -> Bodies:
    """Person detector and landmark network of one model; without masks, the network's part for them is cut off."""
    person_file = request.file("pose-detector", request.detector_model)
    body_file = request.file(f"body-{request.model}", request.landmark_model)
    exact = _exact(request.engine)
    landmark_engine = request.engine if _bears_bf16(request) else exact
    people = load_engine(person_file, exact, value_range=_DETECTOR_RANGE)
    expect(people, person_file, "person detector", size=PERSON_GRID.input_size, outputs=(2254 * 12, 2254))
    outputs = (*KEYPOINT_OUTPUTS, MASK_OUTPUT) if request.segmentation else KEYPOINT_OUTPUTS
    landmarks = load_engine(body_file, landmark_engine, outputs=outputs)
    sizes = (195, 1, 64 * 64 * 39, 117, *((256 * 256,) if request.segmentation else ()))
    expect(landmarks, body_file, "body landmark network", size=256, outputs=sizes)
    return Bodies(PersonFinder(people), landmarks, mirrored=request.mirrored)


def _exact(engine: EngineOptions) -> EngineOptions:
    """`auto` as f32, which the detector always takes: its rounding in bf16 moves the crop, and so every keypoint."""
    return replace(engine, precision="f32") if engine.precision == "auto" else engine


def _bears_bf16(request: Request) -> bool:
    """Whether `auto` may be bf16 for the landmarks; see the table above."""
    return request.model == "full" and not request.static_image and request.smoothing is not None


def body_smoothers(request: Request) -> Callable[[], BodySmoother]:
    """A function that makes a new person's smoother."""
    return lambda: BodySmoother(request.smoothing, mask=request.segmentation and request.smooth_segmentation)
