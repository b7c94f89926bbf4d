"""Thresholds of MediaPipe's graphs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class GraphThresholds:
    """Thresholds of MediaPipe's graphs that its tasks can set and `create_detector` cannot. None: as published.

    Attributes:
        overlap: Minimum IoU at which boxes of the kind's own detector are blended into one.
        blended: Minimum score of the face boxes that are blended. None: the minimum detection score.
        same_overlap: IoU above which two boxes show the same instance.
        face_detection, face_overlap: Minimum score, and `overlap`, of a person's face in the crop of the head.
        face_presence, hand_presence: Minimum presence of a person's face and hands in their crops.
        searches_parts: True to search a person's hands and face in every frame of a video, as MediaPipe does.
        turns_faces: True to detect doubtful faces again upside down, which MediaPipe does not.
    """

    overlap: float | None = None
    blended: float | None = None
    same_overlap: float | None = None
    face_detection: float | None = None
    face_overlap: float | None = None
    face_presence: float | None = None
    hand_presence: float | None = None
    searches_parts: bool = False
    turns_faces: bool = False
