"""Holistic's networks: those of bodies, hands and faces together."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sonjit.detectors.body_models import load_bodies
from sonjit.detectors.face_models import load_meshes
from sonjit.detectors.hands import Hands
from sonjit.detectors.holistic import Holistic
from sonjit.detectors.request import expect, keypoint_smoothers
from sonjit.engines import load_engine

if TYPE_CHECKING:
    from sonjit.detectors.request import Request
    from sonjit.engines import Engine

_PARTS = {"full": ("full", "attention"), "lite": ("lite", "mesh"), "heavy": ("full", "attention")}
"""For each body model the hand and face model beside it."""
_PART_INTERVAL = 2
"""Frames between searches for a missing hand or face, at most: the body says where to look, so one costs little."""


def load_holistic(request: Request) -> Holistic:
    """Bodies of one model, with hands and faces to match; the caller's own networks are the body's."""
    hand_model, face_model = _PARTS[request.model]
    hand_file = request.file(f"hand-{request.hand_model or hand_model}")
    published = replace(request, model=request.face_model or face_model, detector_model=None, landmark_model=None)
    return Holistic(
        load_bodies(request),
        Hands(None, load_engine(hand_file, request.engine), mirrored=request.mirrored),
        load_meshes(published),
        _load_recrop(request),
        new_smoother=keypoint_smoothers(request),
        min_presence_score=request.min_presence_score,
        search_interval=min(request.search_interval, _PART_INTERVAL),
    )


def _load_recrop(request: Request) -> Engine:
    """The network that finds a hand in a picture of a forearm's end: small, so exact and on one thread."""
    file = request.file("hand-recrop")
    engine = load_engine(file, replace(request.engine, precision="f32", threads=request.engine.threads or 1))
    return expect(engine, file, "hand re-crop network", size=256, outputs=(4,))
