"""Write the people of a video as characters."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit._util.errors import InputError, JobError
from sonjit._util.files import Draft, failing_as_job, write_bytes
from sonjit._util.text import pluralize
from sonjit.media.tables.base import FrameWriter
from sonjit.media.tables.characters.encode import bvh_from_character, glb_from_characters, vrma_from_character
from sonjit.media.tables.characters.fit import fit_motion, on_ground
from sonjit.media.tables.characters.people import (
    Appearance,
    expressions_of_people,
    people_of_frame,
    track_from_people,
)

if TYPE_CHECKING:
    from pathlib import Path

    from sonjit._util.arrays import FloatArray
    from sonjit.media.tables.base import Extras, Header
    from sonjit.media.tables.characters.bones import BoneNames
    from sonjit.media.tables.characters.motion import Motion
    from sonjit.results import Frame

CHARACTER_LISTS: Final = ("bodies", "people")
"""Kinds of results that become characters."""

_DEFAULT_FPS = 30
"""Frames per second of sources without a rate."""
_SHORTEST_TRACK = 5
"""Minimum number of frames of a person that becomes a character, unless all have fewer."""


class CharacterWriter(FrameWriter):
    """People of a video as characters: all in one `.glb`; in `.bvh` and `.vrma` one each.

    The person with the most frames is in the file itself, and others are in `NAME-2.bvh`, `NAME-3.bvh` and so on.
    Keypoints stay in memory until the end.

    Args:
        path: File to write.
        header: Header with the size of the images.
        convention: Convention of the bone names.

    Raises:
        InputError: The header is of hands or faces, or has no size.
    """

    def __init__(self, path: Path, header: Header, convention: BoneNames) -> None:
        super().__init__()
        if header.kind not in CHARACTER_LISTS:
            raise InputError(f"{path}: a character requires sonjit body or sonjit holistic. For hands use sonjit mesh")
        if header.width is None or header.height is None:
            raise InputError(f"{path}: a character requires images of one size, as in a video")
        self._size, self._fps = (header.width, header.height), header.fps
        self._mirrored_width = header.width if header.options.get("mirrored") else None
        self._convention: BoneNames = convention
        self._path, self._draft = path, Draft(path)
        self._times: list[float] = []
        self._people: dict[int, list[Appearance]] = {}

    def write(self, frame: Frame, extras: Extras | None = None) -> None:
        """Append one frame. A second still image is an InputError."""
        if self._times and frame.time is None:
            raise InputError(f"{self._path}: a character requires one video or one image")
        row = len(self._times)
        self._times.append(frame.time or 0.0)
        for key, person in people_of_frame(frame, row):
            self._people.setdefault(key, []).append(person)

    def _finish(self) -> None:
        for path, data in self._files(self._motions(), np.array(self._times)).items():
            with failing_as_job(path):
                if path == self._path:
                    self._draft.path.write_bytes(data)
                    self._draft.keep()
                else:
                    write_bytes(path, data)
                    self.more_paths.append(str(path))

    def _abort(self) -> None:
        self._draft.drop()

    def _files(self, motions: list[Motion], times: FloatArray) -> dict[Path, bytes]:
        """Return the contents of all files."""
        ending = self._path.suffix.lower()
        if ending == ".glb":
            return {self._path: glb_from_characters(motions, times, self._convention)}
        files: dict[Path, bytes] = {}
        for number, motion in enumerate(motions, 1):
            path = self._path if number == 1 else self._path.with_stem(f"{self._path.stem}-{number}")
            if ending == ".vrma":
                files[path] = vrma_from_character(motion, times, self._convention)
            else:
                files[path] = bvh_from_character(motion, times, self._step_s(times), self._convention).encode()
        return files

    def _motions(self) -> list[Motion]:
        """Fit a character to each person. The first person begins above the origin."""
        tracks = sorted(self._people.values(), key=len, reverse=True)
        if not tracks:
            raise JobError(f"{self._path}: no person was found. Use another input, or a table such as .csv")
        long = [track for track in tracks if len(track) >= _SHORTEST_TRACK] or tracks
        if len(long) < len(tracks):
            short = pluralize(len(tracks) - len(long), "person", "people")
            self.notes.append(f"{self._path}: {short} in less than {_SHORTEST_TRACK} frames omitted")
        times = np.array(self._times)
        motions: list[Motion] = []
        for number, rows in enumerate(long, 1):
            track = track_from_people(rows, times, self._mirrored_width)
            motion = fit_motion(f"person{number}", track, len(times), self._size)
            motion = replace(motion, expressions=expressions_of_people(rows, len(times)))
            if count := int(motion.is_held.sum()):
                frames = f"{count} of {len(times)} frames"
                self.notes.append(f"{self._path}: {motion.name} is missing in {frames}, which repeat the latest pose")
            motions.append(motion)
        x, _, z = motions[0].hips[0]
        return [on_ground(motion).moved(np.array([-x, 0, -z])) for motion in motions]

    def _step_s(self, times: FloatArray) -> float:
        """Return the seconds between frames."""
        if self._fps:
            return 1 / self._fps
        return float(np.median(np.diff(times))) if len(times) > 1 else 1 / _DEFAULT_FPS
