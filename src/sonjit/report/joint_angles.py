"""Write one page about the joint angles of people in videos, as HTML or PDF."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, Final, Literal, cast

from sonjit._util import Image, files, optional_import
from sonjit.detectors.create import detector_from
from sonjit.detectors.kinds import KINDS, make_options
from sonjit.detectors.options import BodyOptions
from sonjit.detectors.pipeline import Detector
from sonjit.media import open_source
from sonjit.media.tables import load_video_table
from sonjit.report import pictures
from sonjit.report.comparison import Earlier, ranges_script
from sonjit.report.contents import Labels, page_blocks, title_of
from sonjit.report.documents import html_from
from sonjit.report.fonts import installed_fonts, require_fonts
from sonjit.report.pdf import pdf_from
from sonjit.report.recording import Recording, recording_of
from sonjit.report.texts import Language
from sonjit.runs import hiding

__all__ = ["REPORT_ENDINGS", "Labels", "hides_people", "report_detector", "require_fonts", "write_page", "write_report"]

REPORT_ENDINGS: Final = (".html", ".pdf")
MARK: Final = "sonjit-anonymise"  # name in the head of a page whose pictures hide people
_PLAIN: Final = (
    "The keypoints come from the processed video, without its mirror image. Errors may be larger than on a page of "
    "`sonjit report`."
)


def write_report(
    path: Path,
    table: Path,
    drawing: Path | None,
    name: str,
    model: str,
    *,
    language: Language = "en",
    anonymise: hiding.Anonymise = "none",
    labels: Labels | None = None,
) -> None:
    """Write the page of a finished job, with pictures from its drawing.

    Args:
        path: Page to write, .html or .pdf.
        table: Frames of a video.
        drawing: Drawn video, or None.
        name: Name of the video.
        model: Model of the body.
        language: Language of the page.
        anonymise: How the drawing hides people.
        labels: Free texts. The page adds the date of today, and how the keypoints were made.

    Raises:
        InputError: There is no person, or no font for a PDF in this language.
    """
    require_fonts(Path(path.name), language)  # without the folder of a server
    header, frames = load_video_table(table)
    size = (header.width, header.height) if header.width and header.height else None
    recording = recording_of(name, model, frames, None, size=size, language=language)
    moments = {moment.frame.index: moment for moment in recording.moments}
    shown: list[tuple[str, Image]] = []
    if drawing is not None and drawing.is_file():
        with open_source(drawing) as source:
            for frame in source:
                if (moment := moments.get(frame.index)) is not None:
                    person_frame = pictures.only(moment.frame, recording.person)
                    shown.append((moment.caption, pictures.picture(frame.rgb.copy(), person_frame, moment)))
    mark = "" if anonymise == "none" else anonymise
    labels = labels or Labels()
    note = " ".join(filter(None, (labels.note, recording.text(_PLAIN))))
    labels = replace(labels, day=date.today().isoformat(), note=note)
    write_page(path, [recording], [shown], mark, labels)


def write_page(
    path: Path,
    recordings: Sequence[Recording],
    shown: Sequence[Sequence[tuple[str, Image]]],
    mark: str = "",
    labels: Labels | None = None,
    earlier: Earlier | None = None,
) -> None:
    """Write a page about one person or several.

    A page with a mark hides people. It has no names of videos, which can name a person.

    Args:
        path: Page to write, .html or .pdf.
        recordings: Angles of each person.
        shown: Captions and pictures (H, W, 3) RGB of each person.
        mark: How the pictures hide people, or nothing.
        labels: Free texts. Default: the date of today.
        earlier: Ranges of an earlier report, with which the page compares.
    """
    labels = labels or Labels(day=date.today().isoformat())
    if mark:
        is_one = len({recording.name for recording in recordings}) == 1
        recordings = [
            replace(recording, name="" if is_one else recording.text("recording {number}", number=number))
            for number, recording in enumerate(recordings, 1)
        ]
        earlier = earlier and replace(earlier, title=recordings[0].text("Joint angles"))
    first = recordings[0]
    title = title_of(first, labels) if len(recordings) == 1 or labels.title else first.text("Joint angles")
    with optional_import("a report", "report"):
        import matplotlib as mpl
    with mpl.rc_context({"font.family": installed_fonts()}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph ")  # browsers choose fonts themselves
        blocks = page_blocks(recordings, shown, labels, earlier)
    if path.suffix.lower() == ".pdf":
        metadata = {"Author": labels.name, "Subject": labels.note, "Keywords": f"{MARK} {mark}" if mark else ""}
        files.write_bytes(path, pdf_from(title, blocks, metadata))
        return
    page = html_from(title, blocks, first.language)
    page = page.replace("</body>", f"{ranges_script(title, first)}\n</body>", 1)
    if mark:
        page = page.replace("<head>\n", f'<head>\n<meta name="{MARK}" content="{mark}">\n', 1)
    files.write_bytes(path, page.encode())


def hides_people(path: Path) -> bool:
    """Check whether a file is a report whose pictures hide people."""
    try:
        return MARK.encode() in path.read_bytes()
    except OSError:
        return False


def report_detector(
    kind: Literal["body", "holistic"], model: str, max_instances: int = 1, *, averaged: bool = True
) -> Detector[Any]:
    """Return a detector of people in a video.

    Keypoints are not smoothed, because `angles.filtered` smooths angles without a delay. The networks favour a side.
    With `averaged`, keypoints are the means of each crop and its mirror image, so that a mirrored video has nearly the
    same ranges of motion.
    """
    options = make_options(KINDS.find(kind), {"model": model, "max_instances": max_instances, "smoothing": "none"})
    video_options = cast("BodyOptions", options.for_input("video"))
    return detector_from(replace(video_options, averages_mirrored=averaged))
