"""Segments of gestures for the study of sign languages, as CSV or for ELAN (.eaf).

Source: ELAN's annotation format 3.0, https://www.mpi.nl/tools/elan/EAF_Annotation_Format_3.0_and_ELAN.pdf.
"""

import csv
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Final
from xml.etree import ElementTree

from sonjit._util import InputError, files, pluralize
from sonjit.gestures.classifier import CANNED
from sonjit.gestures.custom import LearnedGestures, chosen_gestures, segments_of
from sonjit.gestures.custom_motions import GestureSegment
from sonjit.media.sources.base import AT_RATE
from sonjit.media.tables.base import Extras, FrameWriter, Header
from sonjit.media.tables.formats import TableFormat
from sonjit.results import Frame

_COLUMNS: Final = ("hand", "id", "kind", "gesture", "start", "end", "score")
_TYPE: Final = "gestures"
_XSI: Final = "http://www.w3.org/2001/XMLSchema-instance"
_MIME: Final = {".mp4": "video/mp4", ".mov": "video/quicktime", ".mpg": "video/mpeg", ".avi": "video/x-msvideo"}


def save_segments_csv(path: Path, segments: Sequence[GestureSegment]) -> None:
    """Write a row per segment: hand, id, kind (held or motion), gesture, start and end in seconds, score."""
    with files.atomic_text(path) as file:
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow(_COLUMNS)
        for segment in segments:
            times = f"{segment.start:.3f}", f"{segment.end:.3f}", f"{segment.score:.3f}"
            writer.writerow((segment.handedness, segment.id, _kind(segment), segment.name, *times))


class ElanWriter(FrameWriter):
    """The gestures of a video for ELAN, at the times of a player. Frames wait in memory."""

    def __init__(self, path: Path, header: Header, *_: object) -> None:
        super().__init__()
        if header.kind not in ("hands", "people"):
            raise InputError(f"{path}: gestures require sonjit hands or sonjit holistic")
        chosen = header.options.get("gestures")
        is_shipped = chosen in (None, "none", CANNED)
        self.learned: LearnedGestures | None = None if is_shipped else chosen_gestures(str(chosen))
        self._path, self._header, self._draft = path, header, files.Draft(path)
        self._frames: list[Frame] = []

    def write(self, frame: Frame, extras: Extras | None = None) -> None:
        """Append one frame."""
        self._frames.append(frame)

    def _complete(self) -> None:
        if any(AT_RATE in note for note in self.remarks):
            advice = "ELAN plays the video at its own rate. Save it without --fps"
            raise InputError(f"{self._path}: the frames have other times than the video, because of --fps. {advice}")
        start_s = self._header.start_s or 0.0
        segments = [
            replace(item, start=item.start + start_s, end=item.end + start_s)
            for item in segments_of(self._frames, self.learned)
        ]
        self.notes.append(f"{pluralize(len(segments), 'segment')} in {self._path}")
        data = eaf_from_segments(segments, self._header.source or self._path.stem)
        with files.failing_as_job(self._draft.final):
            self._draft.path.write_bytes(data)


def eaf_from_segments(segments: Sequence[GestureSegment], media: str) -> bytes:
    """Return annotations for ELAN: per hand a tier for static gestures and one for motions."""
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
    return ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True) + b"\n"


def _kind(segment: GestureSegment) -> str:
    return "motion" if segment.moving else "held"


EAF = TableFormat(
    ElanWriter,
    summary="gestures for ELAN",
    group="others",
    noun="Annotations for ELAN",
    sources="one",
)
