"""The printed page of a report as PDF: pictures, tables and notes, then curves."""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np

from sonjit._util import Image, files, optional_import
from sonjit.report import conventions, page_words
from sonjit.report.comparison import Earlier, rows_against
from sonjit.report.documents import COLOURS
from sonjit.report.fonts import installed_fonts
from sonjit.report.recording import COUNT_HEADINGS, HEADINGS, INCOMPLETE_HEADINGS, Recording, axis_ends

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
_PRINTED = (0.05, 0.04, 0.9, 0.92)
"""Left, bottom, width and height of the printed part of a page, whose margins printers need."""
_PRINTED_IN = 10.6
"""Height of the printed part of a page in inches."""
_LINE_IN = 0.0185  # height of a line in inches for each point of its letters
_MAX_COUNTS = 20  # maximum number of repetitions on a printed page


def pdf_page(
    recording: Recording,
    pictures: list[tuple[str, Image]],
    labels: page_words.Labels,
    mark: str = "",
    earlier: Earlier | None = None,
) -> bytes:
    """Return printed pages as PDF: tables, then curves."""
    with optional_import("a report", "eval"):
        import matplotlib as mpl
        from matplotlib.backends.backend_pdf import PdfPages
    file = io.BytesIO()
    words = {"Title": page_words.title_of(recording, labels), "Author": labels.name, "Subject": labels.note}
    metadata: dict[str, str | None] = {key: files.xml_text(text) for key, text in words.items() if text}
    metadata |= {"CreationDate": None}  # equal results are equal files
    if mark:
        metadata["Keywords"] = f"{page_words.MARK} {mark}"
    with mpl.rc_context({"font.family": installed_fonts()}), PdfPages(file, metadata=metadata) as pages:
        for page in _table_pages(
            recording, pictures, labels, [] if earlier is None else rows_against(earlier, recording)
        ):
            pages.savefig(page)
        if recording.plots:
            pages.savefig(_curves_page(recording))
    return file.getvalue()


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
    precedes: bool = False  # on the page of the next part


def _table_pages(
    recording: Recording, pictures: list[tuple[str, Image]], labels: page_words.Labels, changes: list[tuple[str, ...]]
) -> list[Any]:  # Matplotlib
    """Return the pages of pictures and tables."""
    walking = [] if recording.gait is None else recording.gait.rows(recording.language)
    tables = (
        ("Range of motion", HEADINGS, recording.rows),
        ("Walking", page_words.GAIT_HEADINGS, walking),
        ("Before and now", page_words.CHANGE_HEADINGS, changes),
    )
    sides = recording.comparisons or [recording.text(page_words.ONE_SIDED)]
    lines = [*labels.lines(recording.language), page_words.facts_of(recording)]
    if not recording.rows:
        lines.append(recording.text(page_words.NOTHING))
    parts = [
        _text_part(_wrapped(page_words.title_of(recording, labels), _TITLE_LENGTH), _TITLE_SIZE, "bold"),
        _text_part([part for line in lines for part in _wrapped(line, _HEAD_LENGTH)], _HEAD_SIZE),
        _text_part(_wrapped(page_words.warnings_of(recording), _BOLD_LENGTH), _HEAD_SIZE, "bold"),
        *([_Part(2.8, partial(_draw_pictures, pictures))] if pictures else []),
        *(_table_part(recording, *table) for table in tables[:1] if table[2]),
        *([_list_part(recording, "Left and right", sides)] if recording.rows else []),
        *(_table_part(recording, *table) for table in tables[1:] if table[2]),
        *_repetition_parts(recording),
    ]
    if recording.rows:
        parts += [
            _Part(1.5, partial(_draw_conventions, recording)),
            _list_part(recording, "Notes", _sentences(recording)),
        ]
    pages: list[list[_Part]] = [[]]
    for at, part in enumerate(parts):
        needed_in = part.height + (parts[at + 1].height if part.precedes else 0)
        if pages[-1] and sum(each.height for each in pages[-1]) + needed_in > _PRINTED_IN:
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
    lines = [
        f"{'   ' if at else '• '}{line}"
        for sentence in sentences
        for at, line in enumerate(_wrapped(sentence, _LINE_LENGTH))
    ]
    text = _text_part(lines, _TEXT_SIZE)

    def draw(axes: Any) -> None:  # noqa: ANN401  # Matplotlib
        axes.set_title(recording.text(heading), fontsize=9, loc="left")
        text.draw(axes)

    return _Part(text.height + 0.3, draw)


def _table_part(recording: Recording, heading: str, headings: Sequence[str], rows: Sequence[tuple[str, ...]]) -> _Part:
    def draw(axes: Any) -> None:  # noqa: ANN401  # Matplotlib
        axes.set_title(heading and recording.text(heading), fontsize=9, loc="left")
        _draw_table(axes, page_words.in_words(recording, headings), rows)

    return _Part(_ROW_IN * (len(rows) + 1) + (0.4 if heading else 0.1), draw)


def _repetition_parts(recording: Recording) -> list[_Part]:
    if not recording.counted:
        return []
    found, lost = recording.repetitions[:_MAX_COUNTS], recording.incomplete[:_MAX_COUNTS]
    sentences = recording.counting if found else [*recording.counting, recording.text(page_words.NO_REPETITIONS)]
    parts = [replace(_list_part(recording, "Repetitions", sentences), precedes=bool(found or lost))]
    if found:
        parts.append(_table_part(recording, "", COUNT_HEADINGS, found))
    if lost:
        parts.append(_table_part(recording, "Not counted", INCOMPLETE_HEADINGS, lost))
    return parts


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
        *map(say, page_words.COLUMNS),
        say(conventions.WORDS[recording.convention]),
        say(conventions.SIGNS),
        say(page_words.METHOD),
        page_words.origin_of(recording),
    ]
    return sentences if recording.gait is None else [*sentences, page_words.gait_note(recording)]


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
    rows = max(math.ceil(len(plots) / 2), 1)
    grid: Any = figure.add_gridspec(rows + 1, 2, height_ratios=[0.05, *[1] * rows])
    heading: Any = figure.add_subplot(grid[0, :])
    heading.set_axis_off()
    heading.set_title(recording.text("Angles over time"), fontsize=9, loc="left")
    for at, (title, sides) in enumerate(plots.items()):
        axes: Any = figure.add_subplot(grid[at // 2 + 1, at % 2])
        for side, values in sides.items():
            label = recording.legend(title, side)
            axes.plot(recording.times, values, color=COLOURS[page_words.SIDE_COLOURS[side]], label=label, linewidth=1)
        shown = recording.text("{angle}, degrees over seconds", angle=recording.text(title))
        axes.set_title(shown, fontsize=7, loc="left")
        axes.tick_params(labelsize=7)
        axes.set_ylim(*axis_ends(sides.values()))
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, **_LEGEND)
    return figure
