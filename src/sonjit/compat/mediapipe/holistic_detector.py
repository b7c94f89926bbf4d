"""Holistic's networks as MediaPipe puts them together.

`sonjit.create_detector` picks hands and face to match the body's model; MediaPipe takes the full hand network with any
body, and lets the caller pick the face.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sonjit.detectors.body_models import body_smoothers, load_bodies
from sonjit.detectors.face_models import load_meshes
from sonjit.detectors.hands import Hands
from sonjit.detectors.holistic import Holistic
from sonjit.detectors.holistic_models import load_recrop
from sonjit.detectors.pipeline import Detector, LoopOptions
from sonjit.detectors.request import Request
from sonjit.detectors.tracking import Tracker
from sonjit.engines import EngineOptions, load_engine
from sonjit.weights import cache_folder

if TYPE_CHECKING:
    from sonjit.detectors.body import BodyObservation
    from sonjit.engines import Precision
    from sonjit.results import Person


def create_holistic_detector(
    *,
    model: str,
    face_model: str,
    static_image: bool,
    smooth: bool,
    segmentation: bool,
    smooth_segmentation: bool,
    min_detection_score: float,
    min_presence_score: float,
    search_interval: int,
    precision: Precision,
) -> Detector[BodyObservation, Person]:
    """A detector of one person; `face_model` is "mesh" or "attention", the rest as in `sonjit.create_detector`."""
    request = Request(
        model=model,
        mirrored=False,  # left is where the pose's left is, in selfie views too
        models_dir=None,
        detector_model=None,
        landmark_model=None,
        engine=EngineOptions(precision=precision, cache=cache_folder() / "compiled"),
        segmentation=segmentation,
        smooth_segmentation=smooth_segmentation,
        smoothing="published" if smooth else None,
        static_image=static_image,
    )
    people = Holistic(
        load_bodies(request),
        Hands(None, load_engine(request.file("hand-full"), request.engine), mirrored=False),
        load_meshes(replace(request, model=face_model)),
        load_recrop(request),
        new_smoother=lambda: None,
        min_presence_score=min_presence_score,
        search_interval=search_interval,
    )
    loop = LoopOptions(
        max_instances=1,
        static_image=static_image,
        min_detection_score=min_detection_score,
        min_presence_score=min_presence_score,
    )
    return Detector(people, Tracker(body_smoothers(request)), loop)
