"""`VisionTaskRunningMode`, which `vision` calls `RunningMode`."""

from enum import Enum


class VisionTaskRunningMode(Enum):
    """What a task works on: single images, the frames of a video, or a live stream with a callback for its results."""

    IMAGE = "IMAGE"
    VIDEO = "VIDEO"
    LIVE_STREAM = "LIVE_STREAM"
