"""Write the keypoints of a video as `.pose`, for the study of sign languages.

Source: version 0.2 of https://github.com/sign-language-processing/pose, with the components of its holistic pose.
"""

import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Final

import numpy as np

from sonjit._util import InputError
from sonjit._util.files import Draft, failing_as_job
from sonjit.geometry.steps import points_at, rows_of_frames, time_notes
from sonjit.media.tables.base import Extras, ExtraTypes, FrameWriter, Header
from sonjit.media.tables.formats import TableFormat
from sonjit.results import Frame, Instance
from sonjit.results.skeletons import Skeleton

_POINTS: Final = {"hand_mediapipe21": "HAND", "face_mediapipe478": "FACE", "body_blazepose33": "POSE"}
_COMPONENTS: Final = ("POSE", "FACE", "LEFT_HAND", "RIGHT_HAND")
_COLOURS: Final = {
    "POSE": (255, 255, 255),
    "FACE": (128, 128, 128),
    "LEFT_HAND": (255, 160, 60),
    "RIGHT_HAND": (60, 160, 255),
}


class PoseWriter(FrameWriter):
    """Keypoints of a video: x, y and z in pixels, and the score or visibility of each. They wait in memory.

    The format has one rate. The rows of a video with a variable rate are therefore between its frames.

    Hands, faces, bodies and people become the components LEFT_HAND_LANDMARKS, RIGHT_HAND_LANDMARKS, FACE_LANDMARKS and
    POSE_LANDMARKS, with MediaPipe's names of the points. Components that never occur in the video are left out. A place
    in the dimension of people is one person, who may leave and come back.
    """

    def __init__(self, path: Path, header: Header, extra: ExtraTypes, _: object) -> None:
        super().__init__()
        del extra
        assert header.width is not None
        assert header.height is not None
        self._path, self._size, self._draft = path, (header.width, header.height), Draft(path)
        self._frames: list[Frame] = []

    def write(self, frame: Frame, extras: Extras | None = None) -> None:
        """Append one frame."""
        self._frames.append(frame)

    def _complete(self) -> None:
        data = self._content()
        with failing_as_job(self._draft.final):
            self._draft.path.write_bytes(data)

    def _content(self) -> bytes:
        """Return the file. Raise InputError for fewer than two frames, and without times or keypoints."""
        frames, path = self._frames, self._path
        times = [frame.time for frame in frames]
        if len(times) < 2 or times[0] is None or times[-1] is None or not times[-1] > times[0]:
            raise InputError(f"{path}: .pose requires a video with at least two frames")
        places: defaultdict[str, dict[int, int]] = defaultdict(dict)
        parts_of_frames = [list(_parts(frame, places)) for frame in frames]
        skeletons = {component: skeleton for parts in parts_of_frames for component, _, skeleton, _ in parts}
        if not skeletons:
            raise InputError(f"{path}: no keypoints were found, so there is nothing to write")
        components = [item for item in _COMPONENTS if item in skeletons]
        starts = dict(
            zip(
                components,
                np.cumsum([0, *(len(skeletons[item].keypoints) for item in components)]).tolist(),
                strict=False,
            )
        )
        total = sum(len(skeletons[item].keypoints) for item in components)
        people = 1 + max(number for parts in parts_of_frames for _, number, _, _ in parts)
        values = np.full((len(frames), people, total, 4), np.nan, "<f4")  # x, y, z and score
        for row, parts in zip(values, parts_of_frames, strict=True):
            for component, number, _, part in parts:
                span = slice(starts[component], starts[component] + len(part.keypoints))
                row[number, span, :3] = part.keypoints
                visibility = getattr(part, "visibility", None)
                row[number, span, 3] = part.score if visibility is None else visibility
        clock = np.array(times, np.float64)
        rows = rows_of_frames(clock)
        values = points_at(values, clock, rows).astype("<f4")
        values[~np.isfinite(values).all(-1)] = 0
        points, scores = values[..., :3], values[..., 3]
        self.notes += [f"{path}: {text}" for text in time_notes(clock, rows)]
        head = struct.pack("<fHHHH", 0.2, *self._size, self._size[0], len(components)) + b"".join(
            _component_header(item, skeletons[item]) for item in components
        )
        body = struct.pack("<fIH", 1 / rows.step_s, len(rows.times), people)
        return head + body + points.tobytes() + scores.tobytes()


def _parts(frame: Frame, places: Mapping[str, dict[int, int]]) -> Iterator[tuple[str, int, Skeleton, Instance]]:
    """Yield the component, person number, skeleton and instance of every part of a frame.

    The n-th left and the n-th right hand, face and body stand for one person where no person joins them. `places` keeps
    the numbers of track IDs, so that the number of a person who left is not used again.
    """
    instances_by_component: defaultdict[str, list[tuple[int, Instance]]] = defaultdict(list)
    for number, part in frame.instances():
        component = _POINTS.get(part.skeleton.name)
        if component == "HAND":
            component = f"{getattr(part, 'handedness', 'Right').upper()}_HAND"
        if component is not None and part.keypoints.shape[1] == 3:
            instances_by_component[component].append((number, part))
    numbers = _numbers([person.body.id for person in frame.people], places["people"])
    for component, parts in instances_by_component.items():
        row_numbers = _numbers([part.id for _, part in parts], places[component]) if not frame.people else []
        for row, (number, part) in enumerate(parts):
            yield component, numbers[number] if frame.people else row_numbers[row], part.skeleton, part


def _numbers(ids: Sequence[int | None], places: dict[int, int]) -> list[int]:
    """Return a number for each instance: that of its track ID, which no other ID gets, or else the lowest free one."""
    for key in ids:
        if key is not None:
            places.setdefault(key, max(places.values(), default=-1) + 1)
    free = (number for number in count() if number not in places.values())
    numbers: list[int] = []
    for key in ids:
        number = -1 if key is None else places[key]
        numbers.append(next(free) if number in (-1, *numbers) else number)
    return numbers


def _component_header(component: str, skeleton: Skeleton) -> bytes:
    """Return a component of the header: name, format of a point, names of the points, lines and their colours."""
    face = component == "FACE"
    published = [name.upper().replace("PINKY_FINGER", "PINKY") for name in skeleton.keypoints]
    names = list(map(str, range(len(published)))) if face else published
    lines = skeleton.connections
    counts = struct.pack("<HHH", len(names), len(lines), len(lines))
    colours = struct.pack("<HHH", *_COLOURS[component]) * len(lines)
    ends = b"".join(struct.pack("<HH", *line) for line in lines)
    return _text(f"{component}_LANDMARKS") + _text("XYZC") + counts + b"".join(map(_text, names)) + ends + colours


def _text(text: str) -> bytes:
    return struct.pack("<H", len(text)) + text.encode()


POSE = TableFormat(
    PoseWriter,
    summary="keypoints for the study of sign languages",
    group="others",
    noun="Files for sign languages",
    sources="one",
    needs_size=True,
    has_fixed_rate=True,
)
