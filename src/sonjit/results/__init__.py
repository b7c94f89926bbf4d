"""Provide the result types, their skeletons, their measures and their JSON form."""

from sonjit.results.classes import (
    LEAST_SIDE_SCORE,
    Body,
    Event,
    EventType,
    Face,
    Gesture,
    Hand,
    Handedness,
    HandPoints,
    Instance,
    MotionEvent,
    Person,
    Phase,
)
from sonjit.results.containers import NO_ID, Frame, Results
from sonjit.results.containers import Frame as TrackedFrame  # a frame of `sonjit.track`
from sonjit.results.schema import (
    RESULT_TYPES,
    Box,
    Points,
    Result,
    Value,
    box_around,
    in_image,
    register_result,
    shortest_floats,
    unmirrored,
)

__all__ = [
    "LEAST_SIDE_SCORE", "NO_ID", "RESULT_TYPES", "Body", "Box", "Event", "EventType", "Face", "Frame", "Gesture",
    "Hand", "HandPoints", "Handedness", "Instance", "MotionEvent", "Person", "Phase", "Points", "Result", "Results",
    "TrackedFrame", "Value", "box_around", "in_image", "register_result", "shortest_floats", "unmirrored",
]  # fmt: skip
