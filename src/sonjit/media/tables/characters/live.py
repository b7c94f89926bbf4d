"""Fit a character to the latest frames of a stream."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit.media.tables.characters.fit import fit_motion, on_ground
from sonjit.media.tables.characters.people import people_of_frame, track_from_people

if TYPE_CHECKING:
    from sonjit._util.arrays import FloatArray
    from sonjit.media.tables.characters.motion import Motion
    from sonjit.media.tables.characters.people import Appearance
    from sonjit.results import Frame

_MAX_FRAMES: Final = 24
"""Frames whose median bone lengths a character has."""


class LiveCharacter:
    """Pose of one person of a stream, as a character that begins above the origin.

    The first person that is found is followed until it is lost. Each pose follows from the latest frames only.

    Args:
        mirrored: The images are selfie views.
    """

    def __init__(self, *, mirrored: bool = False) -> None:
        self._mirrored = mirrored
        self._latest: deque[tuple[float, Appearance]] = deque(maxlen=_MAX_FRAMES)
        self._id: int | None = None
        self._origin: FloatArray | None = None

    def pose(self, frame: Frame, size: tuple[int, int]) -> Motion | None:
        """Return the pose of a frame as a motion of one frame; None if the frame has no person.

        Args:
            frame: Frame of the kind `body` or `holistic`.
            size: Width and height of the image in pixels.
        """
        people = dict(people_of_frame(frame, 0))
        if not people:
            return None
        if self._id not in people:
            self._id = next(iter(people))
            self._latest.clear()
        time_s = frame.time or 0.0
        if self._latest and time_s <= self._latest[-1][0]:
            self._latest.clear()  # a video that repeats
        self._latest.append((time_s, people[self._id]))
        track = [person._replace(row=row) for row, (_, person) in enumerate(self._latest)]
        times = np.array([time for time, _ in self._latest])
        keypoints = track_from_people(track, times, size[0] if self._mirrored else None)
        motion = on_ground(fit_motion("person", keypoints, len(times), size))
        hips = motion.hips[-1:]
        self._origin = hips * (1, 0, 1) if self._origin is None else self._origin
        return replace(motion, hips=hips - self._origin, rotations=motion.rotations[-1:], is_held=motion.is_held[-1:])
