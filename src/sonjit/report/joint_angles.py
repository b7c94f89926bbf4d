"""Write one page about the joint angles of a person in a video, as HTML or PDF."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Final

from sonjit._util import Image, files
from sonjit.media import load_frames, open_source
from sonjit.report.comparison import Earlier
from sonjit.report.fonts import require_fonts
from sonjit.report.html_page import html_page
from sonjit.report.page_words import MARK, Labels
from sonjit.report.pdf_page import pdf_page
from sonjit.report.pictures import pictures_of
from sonjit.report.recording import Recording, recording_of
from sonjit.report.texts import Language
from sonjit.runs import hiding

__all__ = ["Labels", "hides_people", "pictures_of", "require_fonts", "write_page", "write_report"]

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

    Raises:
        InputError: There is no person, or no font for a PDF in this language.
    """
    require_fonts(Path(path.name), language)  # without the folder of a server
    header, frames = load_frames(table)
    size = (header.width, header.height) if header.width and header.height else None
    recording = recording_of(name, model, frames, None, size=size, language=language)
    wanted, pictures = {frame.index: caption for frame, caption in recording.extremes}, list[tuple[str, Image]]()
    if drawing is not None and drawing.is_file():
        with open_source(drawing) as source:
            pictures = [(wanted[frame.index], frame.rgb.copy()) for frame in source if frame.index in wanted]
    mark = "" if anonymise == "none" else anonymise
    write_page(path, recording, pictures, mark, Labels(day=date.today().isoformat(), note=recording.text(_PLAIN)))


def write_page(
    path: Path,
    recording: Recording,
    pictures: list[tuple[str, Image]],
    mark: str = "",
    labels: Labels | None = None,
    earlier: Earlier | None = None,
) -> None:
    """Write a page with captioned pictures (H, W, 3) in RGB, and with a mark if they hide people.

    A page with a mark has no names of videos, which can name the person. `earlier` are the ranges of an earlier report,
    with which the page compares.
    """
    labels = labels or Labels(day=date.today().isoformat())
    if mark:
        recording = replace(recording, name="")
        earlier = earlier and replace(earlier, title=recording.text("Joint angles"))
    if path.suffix.lower() == ".pdf":
        files.write_bytes(path, pdf_page(recording, pictures, labels, mark, earlier))
        return
    page = html_page(recording, pictures, labels, earlier)
    if mark:
        page = page.replace("<head>\n", f'<head>\n<meta name="{MARK}" content="{mark}">\n', 1)
    files.write_bytes(path, page.encode())


def hides_people(path: Path) -> bool:
    """Check whether a file is a report whose pictures hide people."""
    try:
        return MARK.encode() in path.read_bytes()
    except OSError:
        return False
