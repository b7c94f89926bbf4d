"""Curves of a finished job: every measure of every person or hand over time, for the page that looks at results."""

import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np

from sonjit._util import FloatArray, Json, JsonObject, files, json_from
from sonjit.media.tables import open_writer
from sonjit.media.tables.json_files import open_json_lines
from sonjit.media.tables.layout import types_of
from sonjit.report.angles import ANGLES
from sonjit.report.recording import Recording, recording_of
from sonjit.report.texts import Language
from sonjit.results import Body, Frame
from sonjit.results.measures import with_owners
from sonjit.results.measures.bodies import ANGLE_BONES

CURVES: Final = "curves.json"  # name of the file
_INSTANCES: Final = '"instances":[]'  # where the instances are written, one after the other
_DIGITS: Final = 4  # of a value: 0.006 degrees, 0.1 mm
_MAX_PEOPLE: Final = 8  # people whose angles are filtered and whose repetitions are counted, those in most frames
_LOCAL_HEADER_BYTES: Final = 30  # of a file in a zip archive, before its name
_LENGTHS: Final = slice(26, 30)  # where this header has the lengths of the name and of further fields

_Key = tuple[str, int | None, str | None, int]  # kind, track ID, side, and number among equal ones


@dataclass
class _Track:
    """One instance over all frames. A measure (N,) is NaN where it is unknown."""

    kind: str
    id: int | None
    handedness: str | None
    count: int  # number of frames of the job
    measures: dict[str, FloatArray] = field(default_factory=dict[str, FloatArray])

    def put(self, row: int, values: Mapping[str, float | str | None]) -> None:
        for name, value in values.items():
            if isinstance(value, (int, float)):
                self.measures.setdefault(name, np.full(self.count, np.nan))[row] = value


def recordings_of_job(lines: Path, name: str, model: str) -> list[Recording]:
    """Return what a report states about the people who are in most frames.

    Args:
        lines: Table of the job, as JSON Lines.
        name: Name of the video.
        model: Model of the body.
    """
    with open_json_lines(lines) as (header, rows):
        frames = [  # without faces, which take most of the memory
            replace(frame, faces=[], people=[replace(person, face=None) for person in frame.people])
            for frame, _ in rows
        ]
    ids = Counter(part.id for frame in frames for part in frame.parts_of(Body))
    people = [person for person, _ in ids.most_common(_MAX_PEOPLE) if person is not None]
    size = (header.width, header.height) if header.width and header.height else None
    return [recording_of(name, model, frames, None, person=person, size=size) for person in people]


def use_report_angles(lines: Path, recordings: Sequence[Recording]) -> None:
    """Replace the angles of bodies in the table of a video by those of a report, so that all files agree.

    Args:
        lines: Table of the job, as JSON Lines. A table without measures stays as it is.
        recordings: Recordings of the job.
    """
    with open_json_lines(lines) as (_, rows):
        types = types_of(values for _, extras in rows for values in extras or ())
    if types.keys().isdisjoint(ANGLES):
        return
    angles = {recording.person: _angles_rad(recording) for recording in recordings}
    with (
        open_json_lines(lines) as (header, rows),
        open_writer(lines, replace(header, sources={}, notes=()), types) as writer,
    ):
        writer.sources.update(header.sources)
        writer.remarks = header.notes
        for index, (frame, extras) in enumerate(rows):
            values = extras or ()
            parts = [part for part, _ in with_owners(frame)]
            changed = [
                {column: angles[part.id][column][index] for column in old if column in angles[part.id]}
                if isinstance(part, Body) and part.id in angles
                else {}
                for part, old in zip(parts, values, strict=True)
            ]
            writer.write(frame, [{**old, **new} for old, new in zip(values, changed, strict=True)])


def write_curves(
    path: Path, lines: Path, name: str, recordings: Sequence[Recording], drawing: Path | None
) -> Mapping[str, Any]:
    """Write the curves of a job as JSON, and return what a list of jobs shows of it, as `UploadJob.summarise` takes it.

    `offsets` are the bytes at which the lines of the frames begin in the table, and where the last one ends. `pictures`
    are the offsets and sizes of the drawings of several images in their archive.

    Args:
        path: File to write.
        lines: Table of the job, as JSON Lines.
        name: Name of the input.
        recordings: Recordings of a video of bodies, whose angles are those of a report. Empty for other jobs.
        drawing: Annotated copy, or None.
    """
    offsets = _offsets(lines)
    tracks: dict[_Key, _Track] = {}
    times: list[float | None] = []
    sources: list[str | None] = []
    events: list[Json] = []
    with open_json_lines(lines) as (header, rows):
        for row, (frame, measured) in enumerate(rows):
            _put(tracks, row, len(offsets) - 1, frame, measured or ())
            times.append(frame.time)
            sources.append(frame.source)
            events.extend(event.to_dict() for event in frame.events if event.end is not None)
    for recording in recordings:
        for (kind, person, *_), track in tracks.items():
            if (kind, person) == ("body", recording.person):
                track.measures |= _angles_rad(recording)
    translated = [{language: _in(language, recording) for language in get_args(Language)} for recording in recordings]
    summaries = [_summary(versions) for versions in translated]
    answer: JsonObject = {
        "name": name,
        "width": header.width,
        "height": header.height,
        "fps": header.fps,
        "times": [*times],
        "sources": [*sources],
        "offsets": [*offsets],
        "pictures": [*_pictures(sources, drawing)],
        "instances": [],
        "repetitions": [repetition for recording in recordings for repetition in _repetitions(recording)],
        "uncounted": [position for versions in translated for position in _uncounted(versions)],
        "events": events,
        "summaries": [*summaries],
    }
    before, after = json_from(answer).split(_INSTANCES, 1)
    with files.atomic_file(path) as draft, draft.open("w", encoding="utf-8") as opened:
        opened.write(f"{before}{_INSTANCES[:-1]}")
        for at, track in enumerate(tracks.values()):
            measures = {measure: _column(values) for measure, values in track.measures.items()}
            instance = {"kind": track.kind, "id": track.id, "handedness": track.handedness, "measures": measures}
            opened.write(f"{',' if at else ''}{json_from(instance)}")
        opened.write(f"]{after}")
    return {
        "ended": datetime.fromtimestamp(lines.stat().st_mtime, UTC).isoformat(timespec="seconds"),
        "length": times[-1] if len(times) > 1 else None,
        "summaries": [{name: value for name, value in one.items() if name != "sides"} for one in summaries],
    }


def _put(
    tracks: dict[_Key, _Track],
    row: int,
    count: int,
    frame: Frame,
    measured: Sequence[Mapping[str, float | str | None]],
) -> None:
    """Add the instances of a frame. Those without a track ID are followed by their number."""
    seen: Counter[tuple[str, int | None, str | None]] = Counter()
    for (part, _), values in zip(with_owners(frame), measured, strict=True):
        side: str | None = getattr(part, "handedness", None)
        # the side of a tracked hand may change, but both hands of a person share an ID
        key = part.kind, part.id, side if frame.people else None
        number = seen[key]
        seen[key] += 1
        tracks.setdefault((*key, number), _Track(part.kind, part.id, side, count)).put(row, values)


def _in(language: Language, recording: Recording) -> Recording:
    return recording if recording.language == language else replace(recording, language=language)


def _angles_rad(recording: Recording) -> dict[str, FloatArray]:
    """Return the angles (N,) of a report in radians by the names of measures, with left minus right."""
    angles = {name: np.radians(recording.angles[name]) for name in ANGLES}
    differences = {
        f"symmetry_{joint}_rad": angles[f"left_{joint}_angle_rad"] - angles[f"right_{joint}_angle_rad"]
        for joint in ANGLE_BONES
    }
    return angles | differences


def _column(values: FloatArray) -> list[float | None]:
    return [round(value, _DIGITS) if np.isfinite(value) else None for value in values.tolist()]


def _repetitions(recording: Recording) -> list[Json]:
    """Return the repetitions of a person. `lowest` has the smallest angle, its 95 % error and its time by name."""
    return [
        {
            "id": recording.person,
            "joint": joint,
            "begin": bend.begin_s,
            "end": bend.end_s,
            "lowest": {
                name: {
                    "value": round(float(np.radians(value)), _DIGITS),
                    "error": _column(np.radians([recording.errors_deg[name]]))[0],
                    "time": time_s,
                }
                for name, (value, time_s) in bend.lowest.items()
            },
        }
        for joint, bends in recording.bends.items()
        for bend in bends
    ]


def _uncounted(versions: Mapping[Language, Recording]) -> list[Json]:
    """Return the bent positions that are not counted, with the reason in each language."""
    recording = versions["en"]
    reasons = {language: [reason for *_, reason in version.uncounted] for language, version in versions.items()}
    return [
        {
            "id": recording.person,
            "measure": name,
            "time": time_s,
            "value": _column(np.radians(recording.angles[name]))[recording.times.index(time_s)],
            "texts": {language: texts[at] for language, texts in reasons.items()},
        }
        for at, (name, time_s, _) in enumerate(recording.uncounted)
    ]


def _summary(versions: Mapping[Language, Recording]) -> JsonObject:
    """Return a line about a person and one about left and right in each language, and the angle that they name."""
    return {
        "id": versions["en"].person,
        "measure": versions["en"].main_angle,
        "texts": {language: version.headline for language, version in versions.items()},
        "sides": {language: version.sides for language, version in versions.items()},
    }


def _offsets(lines: Path) -> list[int]:
    """Return where each line after the first begins, and where the last one ends."""
    offsets: list[int] = []
    with lines.open("rb") as opened:
        offset = len(opened.readline())
        for line in opened:
            offsets.append(offset)
            offset += len(line)
    return [*offsets, offset]


def _pictures(sources: Sequence[str | None], drawing: Path | None) -> list[list[Json] | None]:
    """Return offset and size of the drawing of each frame in an archive that stores them; empty for other drawings."""
    if drawing is None or drawing.suffix != ".zip" or not drawing.is_file():
        return []
    places: dict[str, list[Json]] = {}
    with zipfile.ZipFile(drawing) as archive, drawing.open("rb") as opened:
        for info in archive.infolist():
            opened.seek(info.header_offset)
            fields = opened.read(_LOCAL_HEADER_BYTES)[_LENGTHS]
            lengths = int.from_bytes(fields[:2], "little") + int.from_bytes(fields[2:], "little")
            places[info.filename] = [info.header_offset + _LOCAL_HEADER_BYTES + lengths, info.file_size]
    return [places.get(source or "") for source in sources]
