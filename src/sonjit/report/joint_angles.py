"""One page about the joint angles of a person in a video, as HTML or PDF."""

import base64
import io
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np

from sonjit._util import Image, files, optional_import
from sonjit.media import draw_frame, load_frames, open_source
from sonjit.media.sources.images import encode_image
from sonjit.report import conventions, errors, gait
from sonjit.report.comparison import Earlier, ranges_script, rows_against
from sonjit.report.documents import (
    COLOURS,
    Block,
    BulletList,
    Heading,
    Line,
    Plot,
    Table,
    Text,
    html_from,
    lines_svg,
)
from sonjit.report.documents import Image as Picture
from sonjit.report.recording import (
    COUNT_HEADINGS,
    COUNTED,
    HEADINGS,
    INCOMPLETE_HEADINGS,
    Recording,
    recording_of,
)
from sonjit.results import Body, Frame
from sonjit.runs import annotations, hiding
from sonjit.runs.inputs import Inputs

SIDE_COLOURS: Final = {"left": 1, "right": 0, "": 2}
"""Index of the colour of each side in `COLOURS`, warm for the person's left as in drawings."""
_MARK = "sonjit-anonymise"  # name in the head of a page whose pictures hide people
_PLAIN = (
    "The keypoints come from the processed video, without its mirror image. Errors may be larger than on a page of "
    "`sonjit report`."
)
_TITLE_LENGTH = 90  # characters of a line at the top of a printed page
_LINE_LENGTH = 150  # characters of a printed line
_GAIT_HEADINGS = ("walking", "value", "±")
_CHANGE_HEADINGS = ("range of", "before °", "now °", "change °", "± °", "in words")
_FONTS = (
    "DejaVu Sans",
    *("Noto Sans CJK KR", "Noto Sans CJK JP", "NanumGothic", "Malgun Gothic", "Apple SD Gothic Neo", "AppleGothic"),
)
"""Fonts of a PDF in order of preference. The later ones have Korean, Chinese and Japanese letters."""
_AROUND = 1.4  # side of a picture relative to the person
_MAX_COUNTS = 20  # maximum number of repetitions on a printed page
_METHOD = (
    "The column frames has the number of frames in which the joint was seen. Ranges extend from the 2nd to the 98th "
    "percentile of these frames. Outliers, gaps up to 0.2 s and noise are filtered. Longer gaps stay gaps."
)


@dataclass(frozen=True)
class Labels:
    """Free texts of a page. An empty text is left out."""

    title: str = ""  # in place of the name of the video
    name: str = ""  # of the person
    note: str = ""
    day: str = ""  # of the recording

    @property
    def lines(self) -> list[str]:
        """Lines below the title."""
        found = {"Name": self.name, "Date": self.day, "Note": self.note}
        return [f"{key}: {value}" for key, value in found.items() if value]


def write_report(path: Path, table: Path, drawing: Path | None, name: str, model: str) -> None:
    """Write the page of a finished job, with pictures from its drawing.

    Args:
        path: Page to write, .html or .pdf.
        table: Frames of a video.
        drawing: Drawn video, or None.
        name: Name of the video.
        model: Model of the body.
    """
    header, frames = load_frames(table)
    size = (header.width, header.height) if header.width and header.height else None
    counted = tuple(map(annotations.AngleLimits, COUNTED))
    recording = recording_of(name, model, frames, counted, size=size)
    wanted, pictures = {frame.index: caption for frame, caption in recording.extremes}, list[tuple[str, Image]]()
    if drawing is not None and drawing.is_file():
        with open_source(drawing) as source:
            pictures = [(wanted[frame.index], frame.rgb.copy()) for frame in source if frame.index in wanted]
    write_page(path, recording, pictures, labels=Labels(day=date.today().isoformat(), note=_PLAIN))


def write_page(
    path: Path,
    recording: Recording,
    pictures: list[tuple[str, Image]],
    mark: str = "",
    labels: Labels | None = None,
    earlier: Earlier | None = None,
) -> None:
    """Write a page with captioned pictures (H, W, 3) in RGB, and with a mark if they hide people.

    `earlier` are the ranges of an earlier report, with which the page compares.
    """
    labels = labels or Labels(day=date.today().isoformat())
    if path.suffix.lower() == ".pdf":
        files.write_bytes(path, _pdf(recording, pictures, labels, mark, earlier))
        return
    page = _html(recording, pictures, labels, earlier)
    if mark:
        page = page.replace("<head>\n", f'<head>\n<meta name="{_MARK}" content="{mark}">\n', 1)
    files.write_bytes(path, page.encode())


def hides_people(path: Path) -> bool:
    """Check whether a file is a report whose pictures hide people."""
    try:
        return _MARK.encode() in path.read_bytes()
    except OSError:
        return False


def pictures_of(inputs: Inputs, recording: Recording, hider: hiding.Anonymiser) -> list[tuple[str, Image]]:
    """Read the images of the extremes again, and draw the person of the page into them."""
    wanted = {frame.index: (frame, caption) for frame, caption in recording.extremes}
    pictures: list[tuple[str, Image]] = []
    with inputs.open_one() as opened:
        for frame in opened:
            if frame.index in wanted:
                found, caption = wanted[frame.index]
                below = hider.below(frame._replace(time=None), hiding.covered(found))  # as a still
                own = _only(found, recording.person)
                pictures.append((caption, _around(draw_frame(below, own), own)))
            if len(pictures) == len(wanted):
                break
    return pictures


def _only(frame: Frame, person: int) -> Frame:
    """Return a frame with one person."""
    bodies = [body for body in frame.bodies if body.id == person]
    return replace(frame, bodies=bodies, people=[each for each in frame.people if each.id == person])


def _around(rgb: Image, frame: Frame) -> Image:
    """Return the part of an image (H, W, 3) with the person of a frame."""
    for _, part in frame.instances():
        if isinstance(part, Body):
            low, high = part.keypoints[:, :2].min(0), part.keypoints[:, :2].max(0)
            side, (x, y) = float(_AROUND * (high - low).max()), (low + high) / 2
            left, top = max(int(x - side / 2), 0), max(int(y - side / 2), 0)
            right, bottom = math.ceil(x + side / 2), math.ceil(y + side / 2)
            return np.ascontiguousarray(rgb[top:bottom, left:right]) if right > left and bottom > top else rgb
    return rgb


def _title(recording: Recording, labels: Labels) -> str:
    return f"Joint angles: {labels.title or recording.name}"


def _facts(recording: Recording) -> str:
    times = recording.times
    people = "" if recording.people == 1 else f" of {recording.people} people"
    seconds = f"{times[0]:.2f} to {times[-1]:.2f} s"
    drawn = "" if recording.people == 1 else " The pictures have the skeleton of this person only."
    return f"Person #{recording.person}{people}, {len(times)} frames from {seconds}, model {recording.model}.{drawn}"


def _notes(recording: Recording) -> str:
    rests = errors.origin(recording.model)
    return (
        "Angles come from one camera, by a network, and are no medical measurement. ± is the mean error against "
        f"known angles, for the view of each bone in this video. It rests on {rests}, so other movements may have "
        "larger errors."
    )


def _gait_note() -> str:
    return f"± is the error against {gait.origin()}."


def _changes(recording: Recording, earlier: Earlier | None) -> list[tuple[str, ...]]:
    return [] if earlier is None else rows_against(earlier, recording)


def _html(
    recording: Recording, pictures: list[tuple[str, Image]], labels: Labels, earlier: Earlier | None = None
) -> str:
    """Return the page as HTML without further files."""
    blocks: list[Block] = [*map(Text, labels.lines), Text(_facts(recording))]
    for caption, rgb in pictures:
        data = base64.b64encode(encode_image(rgb, ".jpg")).decode()
        blocks.append(Picture(f"data:image/jpeg;base64,{data}", caption))
    blocks += [
        Heading("Range of motion"),
        Table(HEADINGS, tuple(recording.rows), text_columns=2),
        Text(_METHOD),
        Text(_notes(recording)),
        Heading("Left and right", 3),
        BulletList(tuple(recording.comparisons)) if recording.comparisons else Text("No joint was seen on both sides."),
        *_gait_blocks(recording),
        *_change_blocks(recording, earlier),
        Heading("What the angles mean"),
        Plot("convention", conventions.convention_svg(recording.convention), "What the angles mean"),
        Text(f"{conventions.WORDS[recording.convention]} {conventions.SIGNS}"),
        Heading("Repetitions"),
    ]
    found, lost = tuple(recording.repetitions), tuple(recording.incomplete)
    blocks.append(Table(COUNT_HEADINGS, found) if found else Text("None of the counted angles repeats."))
    if lost:
        blocks += [Heading("Not counted", 3), Table(INCOMPLETE_HEADINGS, lost, text_columns=3)]
    blocks.append(Heading("Angles over time"))
    for title, sides in recording.plots.items():
        lines = [
            Line(side or title, recording.times, values.tolist(), colour=SIDE_COLOURS[side])
            for side, values in sides.items()
        ]
        plot = lines_svg(lines, "seconds", f"{title} in degrees", straight=True, gaps=True)
        blocks += [Heading(title, 3), Plot(title, plot, title)]
        if title.startswith("wrist"):
            blocks.append(Text("The error of this angle is not known, so the page has no numbers for it."))
    page = html_from(_title(recording, labels), blocks)
    return page.replace("</body>", f"{ranges_script(_title(recording, labels), recording)}\n</body>", 1)


def _gait_blocks(recording: Recording) -> list[Block]:
    if recording.gait is None:
        return []
    table = Table(_GAIT_HEADINGS, tuple(recording.gait.rows))
    return [Heading("Walking"), table, Text(_gait_note())]


def _change_blocks(recording: Recording, earlier: Earlier | None) -> list[Block]:
    if earlier is None:
        return []
    table = Table(_CHANGE_HEADINGS, tuple(_changes(recording, earlier)))
    return [Heading("Before and now"), Text(f"Before: {earlier.title}, model {earlier.model}."), table]


def _pdf(
    recording: Recording,
    pictures: list[tuple[str, Image]],
    labels: Labels,
    mark: str = "",
    earlier: Earlier | None = None,
) -> bytes:
    """Return two printed pages as PDF: tables, then curves."""
    with optional_import("a report", "eval"):
        import matplotlib as mpl
        from matplotlib import font_manager
        from matplotlib.backends.backend_pdf import PdfPages
    file = io.BytesIO()
    words = {"Title": _title(recording, labels), "Author": labels.name, "Subject": labels.note}
    metadata: dict[str, str | None] = {key: files.xml_text(text) for key, text in words.items() if text}
    metadata |= {"CreationDate": None}  # equal results are equal files
    if mark:
        metadata["Keywords"] = f"{_MARK} {mark}"
    installed = set(font_manager.get_font_names())
    fonts = [font for font in _FONTS if font in installed]
    with mpl.rc_context({"font.family": fonts}), PdfPages(file, metadata=metadata) as pages:
        pages.savefig(_first_page(recording, pictures, labels, _changes(recording, earlier)))
        pages.savefig(_curves_page(recording))
    return file.getvalue()


def _figure() -> Any:  # noqa: ANN401  # Matplotlib
    from matplotlib.figure import Figure

    return Figure((8.27, 11.69), layout="constrained")


def _first_page(
    recording: Recording, pictures: list[tuple[str, Image]], labels: Labels, changes: list[tuple[str, ...]]
) -> Any:  # noqa: ANN401  # Matplotlib
    """Return the page of pictures and tables."""
    figure = _figure()
    facts = textwrap.wrap(_facts(recording), _TITLE_LENGTH)
    title = "\n".join([_title(recording, labels), *labels.lines, *facts])
    figure.suptitle(files.xml_text(title), fontsize=11, parse_math=False)
    tables = (
        ("Range of motion", HEADINGS, recording.rows),
        ("Walking", _GAIT_HEADINGS, [] if recording.gait is None else recording.gait.rows),
        ("Before and now", _CHANGE_HEADINGS, changes),
        ("Repetitions", COUNT_HEADINGS, recording.repetitions[:_MAX_COUNTS]),
        ("Not counted", INCOMPLETE_HEADINGS, recording.incomplete[:_MAX_COUNTS]),
    )
    shown = [table for table in tables if table[2]]
    words = [
        *recording.comparisons,
        conventions.WORDS[recording.convention],
        conventions.SIGNS,
        _METHOD,
        _notes(recording),
    ]
    if recording.gait is not None:
        words.append(_gait_note())
    heights = [2.6, *(0.17 * len(rows) + 0.6 for _, _, rows in shown), 1.5, 0.17 * len(words) + 0.6]
    grid: Any = figure.add_gridspec(len(heights), 2, height_ratios=heights)
    for at, (caption, rgb) in enumerate(pictures):
        axes: Any = figure.add_subplot(grid[0, at])
        axes.imshow(rgb)
        axes.set_title(caption, fontsize=8)
        axes.set_axis_off()
    for row, (heading, headings, rows) in enumerate(shown, 1):
        axes = figure.add_subplot(grid[row, :])
        axes.set_axis_off()
        axes.set_title(heading, fontsize=9, loc="left")
        _draw_table(axes, headings, rows)
    conventions.draw_convention(figure.add_subplot(grid[len(heights) - 2, :]), recording.convention)
    axes = figure.add_subplot(grid[len(heights) - 1, :])
    axes.set_axis_off()
    text = "\n".join(line for sentence in words for line in textwrap.wrap(sentence, _LINE_LENGTH))
    axes.text(0, 1, text, fontsize=6.5, va="top", parse_math=False)
    return figure


def _draw_table(axes: Any, headings: Sequence[str], rows: Sequence[tuple[str, ...]]) -> None:  # noqa: ANN401  # Matplotlib
    table: Any = axes.table(rows, colLabels=headings, loc="upper center", cellLoc="center", edges="horizontal")
    for cell in table.get_celld().values():
        cell.set_linewidth(0.4)
    table.auto_set_font_size(False)
    table.set_fontsize(6)


def _curves_page(recording: Recording) -> Any:  # noqa: ANN401  # Matplotlib
    """Return the page of the angles over time, with gaps where a joint was not seen."""
    figure, plots = _figure(), recording.plots
    grid: Any = figure.add_gridspec(max(math.ceil(len(plots) / 2), 1), 2)
    for at, (title, sides) in enumerate(plots.items()):
        axes: Any = figure.add_subplot(grid[at // 2, at % 2])
        for side, values in sides.items():
            axes.plot(recording.times, values, color=COLOURS[SIDE_COLOURS[side]], label=side, linewidth=1)
        axes.set_title(f"{title}, degrees over seconds", fontsize=8, loc="left")
        axes.tick_params(labelsize=6)
        if len(sides) > 1:
            axes.legend(fontsize=6, frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0)
    return figure
