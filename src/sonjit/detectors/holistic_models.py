"""Holistic's networks: those of bodies, hands and faces together."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sonjit.detectors.body_models import load_bodies
from sonjit.detectors.face_models import load_meshes
from sonjit.detectors.hands import Hands
from sonjit.detectors.holistic import Holistic
from sonjit.detectors.request import keypoint_smoothers
from sonjit.engines import load_engine

if TYPE_CHECKING:
    from sonjit.detectors.request import Request

_PARTS = {"full": ("hand-full", "attention"), "lite": ("hand-lite", "mesh"), "heavy": ("hand-full", "attention")}
"""For each body model the hand and face model beside it."""


def load_holistic(request: Request) -> Holistic:
    """Bodies of one model, with hands and faces to match; the caller's own networks are the body's."""
    hand_name, face_model = _PARTS[request.model]
    published = replace(request, detector_model=None, landmark_model=None)
    return Holistic(
        load_bodies(request),
        Hands(None, load_engine(published.file(hand_name), request.engine), mirrored=request.mirrored),
        load_meshes(replace(published, model=face_model)),
        new_smoother=keypoint_smoothers(request),
        min_presence_score=request.min_presence_score,
        search_interval=request.search_interval,
    )
