"""One page about the joint angles of a person in a video, as HTML or PDF."""

import base64
import io
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from sonjit._util import Image, InputError, files, optional_import
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
    HEADINGS,
    INCOMPLETE_HEADINGS,
    Recording,
    axis_ends,
    recording_of,
)
from sonjit.report.texts import Language, translated
from sonjit.results import Body, Frame
from sonjit.runs import hiding
from sonjit.runs.inputs import Inputs

SIDE_COLOURS: Final = {"left": 1, "right": 0, "": 2}
"""Index of the colour of each side in `COLOURS`, warm for the person's left as in drawings."""
_MARK = "sonjit-anonymise"  # name in the head of a page whose pictures hide people
_PLAIN: Final = (
    "The keypoints come from the processed video, without its mirror image. Errors may be larger than on a page of "
    "`sonjit report`."
)
_WARNING: Final = (
    "The angles are estimates from one camera, not a medical measurement. Do not choose a treatment by this page only."
)
_MIRRORED: Final = (
    "The ranges of the model {model} differed by up to {size}° between recordings of one person and their mirror "
    "images. Those of full and heavy differed less."
)
_TITLE_LENGTH = 65  # characters of a line of the title of a printed page
_TITLE_SIZE = 14.0  # of the printed title in points
_HEAD_LENGTH = 100  # characters of a line at the top of a printed page
_BOLD_LENGTH = 84  # characters of a line of bold letters there, which are wider
_HEAD_SIZE = 9.5  # of these lines in points
_LINE_LENGTH = 115  # characters of a printed line
_TEXT_SIZE = 8.0  # of printed sentences and tables, in points
_LEGEND: Final = {
    "fontsize": 7,
    "frameon": False,
    "borderaxespad": 0,
    "handlelength": 1,
    "handletextpad": 0.4,
    "columnspacing": 1,
}
"""Style of the legend next to the title of printed curves."""
_CELL_SPACE = 3  # between the texts of two columns of a printed table, in letters
_ROW_IN = 0.2  # height of a row of a printed table in inches
_GAIT_HEADINGS = ("walking", "value", "error")
_CHANGE_HEADINGS = ("range of", "before °", "now °", "change °", "95 % error °", "in words")
_FONTS = (
    "DejaVu Sans",
    *("Noto Sans CJK KR", "Noto Sans CJK JP", "NanumGothic", "Malgun Gothic", "Apple SD Gothic Neo", "AppleGothic"),
)
"""Fonts of a PDF in order of preference. The later ones have Korean, Chinese and Japanese letters."""
_PRINTED = (0.05, 0.04, 0.9, 0.92)
"""Left, bottom, width and height of the printed part of a page, whose margins printers need."""
_PRINTED_IN = 10.6
"""Height of the printed part of a page in inches."""
_LINE_IN = 0.0185  # height of a line in inches for each point of its letters
_AROUND = 1.4  # side of a picture relative to the person
_MAX_COUNTS = 20  # maximum number of repetitions on a printed page
_COLUMNS = (
    "seen: share of the images of the person in which the joint was placed. A placed joint can still be wrong.",
    "from and to: the smallest and the largest angle, without the 2 % smallest and the 2 % largest ones. Both can be "
    "wrong in the same direction, so read no limit of the joint from them.",
    "range: the difference of from and to. It is the movement in this recording, not what the joint can do.",
    "range with error: in 95 % of the recordings with known angles, the true range was between two such numbers. They "
    "are the range minus and plus its 95 % error. Numbers that begin with 0 may mean that the joint did not move.",
    "angle error: the mean error of an angle at one moment. – means that the error is not known.",
)
"""What the columns of the table of ranges mean."""
_NOTHING: Final = "No angle was seen. An angle needs the three joints of its two bones in the image."
_METHOD = (
    "Single wrong angles, trembling of the keypoints and gaps up to 0.2 s are filtered out. Where a joint was not seen "
    "for longer, the curves have a gap. ± next to a curve is the mean error of the angle, which is smaller than the "
    "95 % error of a range."
)


@dataclass(frozen=True)
class Labels:
    """Free texts of a page. An empty text is left out."""

    title: str = ""  # in place of the name of the video
    name: str = ""  # of the person
    note: str = ""
    day: str = ""  # of the recording

    def lines(self, language: Language = "en") -> list[str]:
        """Return the lines below the title."""
        found = {"Name": self.name, "Date": self.day, "Note": self.note}
        return [f"{translated(language, key)}: {value}" for key, value in found.items() if value]


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
        files.write_bytes(path, _pdf(recording, pictures, labels, mark, earlier))
        return
    page = _html_with_fonts(recording, pictures, labels, earlier)
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
                pictures.append((caption, _around(draw_frame(below, own, labels=False), own)))
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
    title = labels.title or recording.name
    return recording.text("Joint angles: {title}", title=title) if title else recording.text("Joint angles")


def _facts(recording: Recording) -> str:
    times = recording.times
    facts = recording.text(
        "The person is in {seen} of {images} images of the video, from {begin} to {end} s. The model is {model}.",
        seen=recording.frames_seen,
        images=len(times),
        begin=f"{times[0]:.2f}",
        end=f"{times[-1]:.2f}",
        model=recording.model,
    )
    if recording.people == 1:
        return facts
    others = (
        "{people} people were found. The angles and curves are only those of the person with the skeleton in the "
        "pictures, who has number {number}. They may be wrong where people cover each other."
    )
    return f"{facts} {recording.text(others, people=recording.people, number=recording.person)}"


def _notes(recording: Recording) -> str:
    return recording.text(
        "All errors were measured in recordings with known angles (people: {people}, rendered figures: {figures}, "
        "movements: {movements}, recordings: {recordings}, images: {frames}). Other people and movements may have "
        "other errors. The angle error is a mean, so a single error may be much larger.",
        **errors.origin(recording.model),
    )


def _warnings(recording: Recording) -> str:
    """Return the warning of a page, with the one of a model whose ranges depend on mirroring."""
    largest = errors.mirrored_difference_deg(recording.model)
    if not largest > errors.MIRRORED_LIMIT_DEG:
        return recording.text(_WARNING)
    return f"{recording.text(_WARNING)} {recording.text(_MIRRORED, model=recording.model, size=f'{largest:.0f}')}"


def _gait_note(recording: Recording) -> str:
    note = recording.text("The errors are differences from {origin}.", origin=recording.text(gait.origin()))
    if recording.gait is not None and not recording.gait.compares_feet:
        few = "Fewer than {steps} steps of a foot were found, too few to compare left and right."
        return f"{recording.text(few, steps=gait.MIN_STEPS)} {note}"
    return note


def _changes(recording: Recording, earlier: Earlier | None) -> list[tuple[str, ...]]:
    return [] if earlier is None else rows_against(earlier, recording)


def _html_with_fonts(
    recording: Recording, pictures: list[tuple[str, Image]], labels: Labels, earlier: Earlier | None
) -> str:
    """Return the page as HTML. Browsers choose fonts themselves, so a letter without one needs no warning."""
    with optional_import("a report", "eval"):
        import matplotlib as mpl
    with mpl.rc_context({"font.family": _fonts()}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph ")
        return _html(recording, pictures, labels, earlier)


def _html(
    recording: Recording, pictures: list[tuple[str, Image]], labels: Labels, earlier: Earlier | None = None
) -> str:
    """Return the page as HTML without further files."""
    say = recording.text
    blocks: list[Block] = [*map(Text, labels.lines(recording.language)), Text(_facts(recording))]
    blocks.append(Text(_warnings(recording), strong=True))
    for caption, rgb in pictures:
        data = base64.b64encode(encode_image(rgb, ".jpg")).decode()
        blocks.append(Picture(f"data:image/jpeg;base64,{data}", caption))
    blocks += [
        *_range_blocks(recording),
        Heading(say("Left and right"), 3),
        BulletList(tuple(recording.comparisons))
        if recording.comparisons
        else Text(say("No joint was seen on both sides.")),
        *_gait_blocks(recording),
        *_change_blocks(recording, labels, earlier),
        Heading(say("What the angles mean")),
        Plot(
            "convention",
            conventions.convention_svg(recording.convention, recording.language),
            say("What the angles mean"),
        ),
        Text(f"{say(conventions.WORDS[recording.convention])} {say(conventions.SIGNS)}"),
        *_repetition_blocks(recording),
        *([Heading(say("Angles over time"))] if recording.plots else []),
    ]
    for joint, sides in recording.plots.items():
        title = say(joint)
        lines = [
            Line(recording.legend(joint, side), recording.times, values.tolist(), colour=SIDE_COLOURS[side])
            for side, values in sides.items()
        ]
        alt = say("{angle} in degrees", angle=title)
        plot = lines_svg(lines, say("seconds"), alt, straight=True, gaps=True, ends=axis_ends(sides.values()))
        blocks += [Heading(title, 3), Plot(joint, plot, title)]
        if joint.startswith("wrist"):
            blocks.append(Text(say("The error of this angle is not known, so the page has no numbers for it.")))
    page = html_from(_title(recording, labels), blocks, recording.language)
    return page.replace("</body>", f"{ranges_script(_title(recording, labels), recording)}\n</body>", 1)


def _range_blocks(recording: Recording) -> list[Block]:
    say = recording.text
    heading = Heading(say("Range of motion"))
    if not recording.rows:
        return [heading, Text(say(_NOTHING))]
    table = Table(_in_words(recording, HEADINGS), tuple(recording.rows), text_columns=2)
    return [heading, table, BulletList(tuple(map(say, _COLUMNS))), Text(say(_METHOD)), Text(_notes(recording))]


def _in_words(recording: Recording, headings: Sequence[str]) -> tuple[str, ...]:
    """Return headings in the language of the page."""
    return tuple(map(recording.text, headings))


def _repetition_blocks(recording: Recording) -> list[Block]:
    if not recording.counted:
        return []
    found, lost = tuple(recording.repetitions), tuple(recording.incomplete)
    blocks: list[Block] = [Heading(recording.text("Repetitions")), BulletList(tuple(recording.counting))]
    if found:
        blocks.append(Table(_in_words(recording, COUNT_HEADINGS), found))
    else:
        blocks.append(Text(recording.text("None of the counted angles repeats.")))
    if lost:
        headings = _in_words(recording, INCOMPLETE_HEADINGS)
        blocks += [Heading(recording.text("Not counted"), 3), Table(headings, lost, text_columns=3)]
    return blocks


def _gait_blocks(recording: Recording) -> list[Block]:
    if recording.gait is None:
        return []
    table = Table(_in_words(recording, _GAIT_HEADINGS), tuple(recording.gait.rows(recording.language)))
    return [Heading(recording.text("Walking")), table, Text(_gait_note(recording))]


def _change_blocks(recording: Recording, labels: Labels, earlier: Earlier | None) -> list[Block]:
    if earlier is None:
        return []
    before = recording.text("Before: {title}, model {model}.", title=earlier.title, model=earlier.model)
    if earlier.title == _title(recording, labels):
        before = f"{before} {recording.text('Both pages have the same title and may describe the same recording.')}"
    table = Table(_in_words(recording, _CHANGE_HEADINGS), tuple(_changes(recording, earlier)))
    return [Heading(recording.text("Before and now")), Text(before), table]


def _pdf(
    recording: Recording,
    pictures: list[tuple[str, Image]],
    labels: Labels,
    mark: str = "",
    earlier: Earlier | None = None,
) -> bytes:
    """Return printed pages as PDF: tables, then curves."""
    with optional_import("a report", "eval"):
        import matplotlib as mpl
        from matplotlib.backends.backend_pdf import PdfPages
    file = io.BytesIO()
    words = {"Title": _title(recording, labels), "Author": labels.name, "Subject": labels.note}
    metadata: dict[str, str | None] = {key: files.xml_text(text) for key, text in words.items() if text}
    metadata |= {"CreationDate": None}  # equal results are equal files
    if mark:
        metadata["Keywords"] = f"{_MARK} {mark}"
    with mpl.rc_context({"font.family": _fonts()}), PdfPages(file, metadata=metadata) as pages:
        for page in _table_pages(recording, pictures, labels, _changes(recording, earlier)):
            pages.savefig(page)
        if recording.plots:
            pages.savefig(_curves_page(recording))
    return file.getvalue()


def _fonts() -> list[str]:
    """Return the installed fonts of a page in order of preference."""
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    return [font for font in _FONTS if font in installed]


def require_fonts(path: Path, language: Language) -> None:
    """Check that the letters of a language can be printed.

    Raises:
        InputError: The page is a PDF, and no font has these letters.
    """
    if language != "en" and path.suffix.lower() == ".pdf" and not set(_FONTS[1:]) & set(_fonts()):
        raise InputError(f"{path}: no font with Korean letters is installed. Install Noto Sans CJK, or write .html")


def _wrapped(text: str, columns: int) -> list[str]:
    """Return the lines of a text of a printed page. Letters of twice the width take two columns."""
    from rich.console import Console
    from rich.text import Text as Words

    return [line.plain.rstrip() for line in Words(text).wrap(Console(), columns)]


def _figure() -> Any:  # noqa: ANN401  # Matplotlib
    from matplotlib.figure import Figure

    figure = Figure((8.27, 11.69), layout="constrained")
    engine: Any = figure.get_layout_engine()
    engine.set(rect=_PRINTED)
    return figure


@dataclass(frozen=True)
class _Part:
    """Part of a printed page."""

    height: float  # in inches
    draw: Callable[[Any], None]  # into axes of Matplotlib


def _table_pages(
    recording: Recording, pictures: list[tuple[str, Image]], labels: Labels, changes: list[tuple[str, ...]]
) -> list[Any]:  # Matplotlib
    """Return the pages of pictures and tables."""
    walking = [] if recording.gait is None else recording.gait.rows(recording.language)
    tables = (
        ("Range of motion", HEADINGS, recording.rows),
        ("Walking", _GAIT_HEADINGS, walking),
        ("Before and now", _CHANGE_HEADINGS, changes),
        ("Repetitions", COUNT_HEADINGS, recording.repetitions[:_MAX_COUNTS]),
        ("Not counted", INCOMPLETE_HEADINGS, recording.incomplete[:_MAX_COUNTS]),
    )
    lines = [*labels.lines(recording.language), _facts(recording)]
    if not recording.rows:
        lines.append(recording.text(_NOTHING))
    parts = [
        _text_part(_wrapped(_title(recording, labels), _TITLE_LENGTH), _TITLE_SIZE, "bold"),
        _text_part([part for line in lines for part in _wrapped(line, _HEAD_LENGTH)], _HEAD_SIZE),
        _text_part(_wrapped(_warnings(recording), _BOLD_LENGTH), _HEAD_SIZE, "bold"),
        *([_Part(2.8, partial(_draw_pictures, pictures))] if pictures else []),
        *(_table_part(recording, *table) for table in tables[:1] if table[2]),
        *([_list_part(recording, "Left and right", recording.comparisons)] if recording.comparisons else []),
        *(_table_part(recording, *table) for table in tables[1:] if table[2]),
        _Part(1.5, partial(_draw_conventions, recording)),
        _list_part(recording, "Notes", _sentences(recording)),
    ]
    pages: list[list[_Part]] = [[]]
    for part in parts:
        if pages[-1] and sum(each.height for each in pages[-1]) + part.height > _PRINTED_IN:
            pages.append([])
        pages[-1].append(part)
    return [_page(page) for page in pages]


def _page(parts: Sequence[_Part]) -> Any:  # noqa: ANN401  # Matplotlib
    """Return a printed page of parts below each other."""
    figure = _figure()
    heights = [part.height for part in parts]
    grid: Any = figure.add_gridspec(len(parts) + 1, 1, height_ratios=[*heights, max(_PRINTED_IN - sum(heights), 0.01)])
    for row, part in enumerate(parts):
        axes: Any = figure.add_subplot(grid[row, 0])
        axes.set_axis_off()
        part.draw(axes)
    return figure


def _text_part(lines: Sequence[str], size: float, weight: str = "normal") -> _Part:
    text = files.xml_text("\n".join(lines))

    def draw(axes: Any) -> None:  # noqa: ANN401  # Matplotlib
        axes.text(0, 1, text, fontsize=size, weight=weight, va="top", parse_math=False, transform=axes.transAxes)

    return _Part(_LINE_IN * size * len(lines) + 0.15, draw)


def _list_part(recording: Recording, heading: str, sentences: Sequence[str]) -> _Part:
    lines = [line for sentence in sentences for line in _wrapped(sentence, _LINE_LENGTH)]
    text = _text_part(lines, _TEXT_SIZE)

    def draw(axes: Any) -> None:  # noqa: ANN401  # Matplotlib
        axes.set_title(recording.text(heading), fontsize=9, loc="left")
        text.draw(axes)

    return _Part(text.height + 0.3, draw)


def _table_part(recording: Recording, heading: str, headings: Sequence[str], rows: Sequence[tuple[str, ...]]) -> _Part:
    def draw(axes: Any) -> None:  # noqa: ANN401  # Matplotlib
        axes.set_title(recording.text(heading), fontsize=9, loc="left")
        _draw_table(axes, _in_words(recording, headings), rows)

    return _Part(_ROW_IN * (len(rows) + 1) + 0.4, draw)


def _draw_pictures(pictures: list[tuple[str, Image]], axes: Any) -> None:  # noqa: ANN401  # Matplotlib
    for at, (caption, rgb) in enumerate(pictures):
        place = axes.inset_axes((at / len(pictures), 0, 1 / len(pictures), 0.92))
        place.imshow(rgb)
        place.set_title(caption, fontsize=8)
        place.set_axis_off()


def _draw_conventions(recording: Recording, axes: Any) -> None:  # noqa: ANN401  # Matplotlib
    axes.set_title(recording.text("What the angles mean"), fontsize=9, loc="left")
    conventions.draw_convention(axes, recording.convention, recording.language)


def _sentences(recording: Recording) -> list[str]:
    """Return the sentences at the end of a printed page."""
    say = recording.text
    sentences = [
        *map(say, _COLUMNS),
        say(conventions.WORDS[recording.convention]),
        say(conventions.SIGNS),
        *recording.counting,
        say(_METHOD),
        _notes(recording),
    ]
    return sentences if recording.gait is None else [*sentences, _gait_note(recording)]


def _draw_table(axes: Any, headings: Sequence[str], rows: Sequence[tuple[str, ...]]) -> None:  # noqa: ANN401  # Matplotlib
    from rich.cells import cell_len

    letters = np.array([max(map(cell_len, column)) + _CELL_SPACE for column in zip(headings, *rows, strict=True)])
    table: Any = axes.table(
        rows,
        colLabels=headings,
        colWidths=(letters / letters.sum()).tolist(),
        bbox=(0, 0, 1, 1),
        cellLoc="center",
        edges="horizontal",
    )
    for cell in table.get_celld().values():
        cell.set_linewidth(0.4)
    table.auto_set_font_size(False)
    table.set_fontsize(_TEXT_SIZE)


def _curves_page(recording: Recording) -> Any:  # noqa: ANN401  # Matplotlib
    """Return the page of the angles over time, with gaps where a joint was not seen."""
    figure, plots = _figure(), recording.plots
    grid: Any = figure.add_gridspec(max(math.ceil(len(plots) / 2), 1), 2)
    for at, (title, sides) in enumerate(plots.items()):
        axes: Any = figure.add_subplot(grid[at // 2, at % 2])
        for side, values in sides.items():
            label = recording.legend(title, side)
            axes.plot(recording.times, values, color=COLOURS[SIDE_COLOURS[side]], label=label, linewidth=1)
        heading = recording.text("{angle}, degrees over seconds", angle=recording.text(title))
        axes.set_title(heading, fontsize=7, loc="left")
        axes.tick_params(labelsize=7)
        axes.set_ylim(*axis_ends(sides.values()))
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, **_LEGEND)
    return figure
