"""Exports for the study of sign languages: segments of gestures as CSV or for ELAN (.eaf), keypoints as .pose.

.eaf: ELAN's annotation format 3.0, https://www.mpi.nl/tools/elan/EAF_Annotation_Format_3.0_and_ELAN.pdf; .pose: version
0.2 of https://github.com/sign-language-processing/pose, with the components of its holistic pose.
"""

import csv
import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Final
from xml.etree import ElementTree

import numpy as np

from sonjit._util import InputError, files
from sonjit.geometry.steps import omitted_text, points_at, rows_of_frames
from sonjit.gestures.custom_motions import GestureSegment
from sonjit.results import Frame, Instance
from sonjit.results.skeletons import Skeleton

_COLUMNS: Final = ("hand", "id", "kind", "gesture", "start", "end", "score")
_TYPE: Final = "gestures"
_XSI: Final = "http://www.w3.org/2001/XMLSchema-instance"
_MIME: Final = {".mp4": "video/mp4", ".mov": "video/quicktime", ".mpg": "video/mpeg", ".avi": "video/x-msvideo"}

_POINTS: Final = {"hand_mediapipe21": "HAND", "face_mediapipe478": "FACE", "body_blazepose33": "POSE"}
_COMPONENTS: Final = ("POSE", "FACE", "LEFT_HAND", "RIGHT_HAND")
_COLOURS: Final = {
    "POSE": (255, 255, 255),
    "FACE": (128, 128, 128),
    "LEFT_HAND": (255, 160, 60),
    "RIGHT_HAND": (60, 160, 255),
}


def save_segments_csv(path: Path, segments: Sequence[GestureSegment]) -> None:
    """Write a row per segment: hand, id, kind (held or motion), gesture, start and end in seconds, score."""
    with files.atomic_text(path) as file:
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow(_COLUMNS)
        for segment in segments:
            times = f"{segment.start:.3f}", f"{segment.end:.3f}", f"{segment.score:.3f}"
            writer.writerow((segment.handedness, segment.id, _kind(segment), segment.name, *times))


def save_segments_eaf(path: Path, segments: Sequence[GestureSegment], media: str) -> None:
    """Write annotations for ELAN: per hand a tier for static gestures and one for motions."""
    root = ElementTree.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "",
            "DATE": datetime.now(UTC).isoformat(timespec="seconds"),
            "FORMAT": "3.0",
            "VERSION": "3.0",
            "xmlns:xsi": _XSI,
            "xsi:noNamespaceSchemaLocation": "http://www.mpi.nl/tools/elan/EAFv3.0.xsd",
        },
    )
    header = ElementTree.SubElement(root, "HEADER", {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"})
    file = PurePath(files.xml_text(media))
    described = {"MEDIA_URL": file.name, "MIME_TYPE": _MIME.get(file.suffix.lower(), "unknown")}
    ElementTree.SubElement(header, "MEDIA_DESCRIPTOR", described | {"RELATIVE_MEDIA_URL": f"./{file.name}"})
    order = ElementTree.SubElement(root, "TIME_ORDER")
    slots = sorted(
        (round(1000 * time), 2 * number + end)
        for number, segment in enumerate(segments)
        for end, time in enumerate((segment.start, segment.end))
    )
    ids = {key: f"ts{index}" for index, (_, key) in enumerate(slots, 1)}
    for time_ms, key in slots:
        ElementTree.SubElement(order, "TIME_SLOT", {"TIME_SLOT_ID": ids[key], "TIME_VALUE": str(time_ms)})
    tiers: dict[str, ElementTree.Element] = {}
    for number, segment in enumerate(segments):
        name = f"{segment.handedness} {segment.id} {_kind(segment)}"
        if name not in tiers:
            tiers[name] = ElementTree.SubElement(root, "TIER", {"LINGUISTIC_TYPE_REF": _TYPE, "TIER_ID": name})
        begin, end = ids[2 * number], ids[2 * number + 1]
        span = {"ANNOTATION_ID": f"a{number + 1}", "TIME_SLOT_REF1": begin, "TIME_SLOT_REF2": end}
        annotation = ElementTree.SubElement(
            ElementTree.SubElement(tiers[name], "ANNOTATION"), "ALIGNABLE_ANNOTATION", span
        )
        ElementTree.SubElement(annotation, "ANNOTATION_VALUE").text = files.xml_text(segment.name)
    kind = {"GRAPHIC_REFERENCES": "false", "LINGUISTIC_TYPE_ID": _TYPE, "TIME_ALIGNABLE": "true"}
    ElementTree.SubElement(root, "LINGUISTIC_TYPE", kind)
    ElementTree.indent(root, "    ")
    files.write_bytes(path, ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True) + b"\n")


def _kind(segment: GestureSegment) -> str:
    return "motion" if segment.moving else "held"


def save_pose(path: Path, frames: Sequence[Frame], size: tuple[int, int]) -> str:
    """Write the keypoints of a video as `.pose`: x, y and z in pixels, and the score or visibility of each.

    The format has one rate. The rows of a video with a variable rate are therefore between its frames. Return a text
    about the rows that were written.

    Hands, faces, bodies and people become the components LEFT_HAND_LANDMARKS, RIGHT_HAND_LANDMARKS, FACE_LANDMARKS and
    POSE_LANDMARKS, with MediaPipe's names of the points. Components that never occur in the video are left out.
    Raise InputError for fewer than two frames, and without times or keypoints.
    """
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
        zip(components, np.cumsum([0, *(len(skeletons[item].keypoints) for item in components)]).tolist(), strict=False)
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
    header = struct.pack("<fHHHH", 0.2, *size, size[0], len(components)) + b"".join(
        _component_header(item, skeletons[item]) for item in components
    )
    body = struct.pack("<fIH", 1 / rows.step_s, len(rows.times), people) + points.tobytes() + scores.tobytes()
    files.write_bytes(path, header + body)
    if len(rows.times) == len(frames):
        return f"{len(frames)} frames in {path}"
    rate = f"{len(rows.times)} frames at {1 / rows.step_s:.2f} per second in {path}, between those of the video"
    return "; ".join(filter(None, (f"{rate}, whose rate is variable", omitted_text(rows))))


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
    """Return a number for each instance: that of its track ID, or else the lowest free one."""
    numbers = dict.fromkeys(range(len(ids)), -1)
    for row in sorted(numbers, key=lambda row: ids[row] not in places):
        key, taken = ids[row], set(numbers.values())
        number = -1 if key is None else places.get(key, -1)
        numbers[row] = number if number not in taken else next(n for n in range(len(ids)) if n not in taken)
        if key is not None:
            places[key] = numbers[row]
    return list(numbers.values())


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
