"""Documents: blocks of a report or a card, rendered as Markdown and as one HTML page with SVG plots.

markdown-it-py, which Rich uses too, renders text and tables. Matplotlib draws curves, bars, maps and lines. Drawings
with tooltips or over an image are written here.
"""

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from sonjit._util import FloatArray, RealArray, optional_import
from sonjit._util.files import write_bytes, xml_text

Block: TypeAlias = "Heading | Lead | Text | Note | BulletList | Table | Plot | Image | Columns"

COLOURS = ("#2f6fde", "#d97706", "#2a9d5c", "#8a5bd1")
INK = "#7a7f87"  # readable on light and dark pages
_PAGE_STYLE = """
:root { color-scheme: light dark; --ink: light-dark(#1d2530, #e6e9ee); --grey: light-dark(#5d6673, #9aa3b0);
  --line: light-dark(#dfe3e8, #363d47); --page: light-dark(#fff, #14181d); --accent: light-dark(#2f6fde, #7aa5f0); }
body { font: 16px/1.55 Inter, "Segoe UI", system-ui, "Noto Sans", sans-serif; color: var(--ink);
  background: var(--page);
  max-width: 60rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1, h2, h3, .lead { word-break: keep-all; overflow-wrap: anywhere; }
h1, h2, h3 { line-height: 1.25; text-wrap: balance; } h1 { font-size: 1.75rem; margin: 0 0 .5rem; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 .8rem; padding-top: 1rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.02rem; margin: 1.8rem 0 .5rem; }
.lead { font-size: 1.45rem; line-height: 1.35; font-weight: 600; margin: 1.4rem 0 1.1rem; padding-left: 1rem;
  border-left: 4px solid var(--accent); text-wrap: balance; }
.note { font-size: .85rem; color: var(--grey); margin: .6rem 0; }
.wide { overflow-x: auto; } table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .38rem .7rem; border-bottom: 1px solid var(--line); word-break: keep-all; font-size: .92rem; }
th { text-align: left; font-size: .8rem; font-weight: 600; color: var(--grey); vertical-align: bottom; }
.columns { display: flex; flex-wrap: wrap; gap: 1.25rem; align-items: flex-start; margin: 1rem 0; }
.columns > figure { flex: 1 1 18rem; min-width: 0; max-width: none; margin: 0; }
.columns > figure:only-child { max-width: 50%; }
.columns > figure:has(> img) { flex-grow: .6; flex-basis: 12rem; }
.columns > figure > img { width: 100%; border-radius: .4rem; } .columns > figure > svg { width: 100%; }
svg, img { max-width: 100%; height: auto; } figure { display: inline-block; margin: 0 .8rem .8rem 0; max-width: 19rem; }
figcaption { font-size: .85rem; color: var(--grey); } .columns figcaption { text-align: center; }
@media (max-width: 40rem) {
  body { padding-top: 1.2rem; } .lead { font-size: 1.2rem; }
  th, td { padding: .25rem .2rem; font-size: .75rem; } .wide:has(> svg) { padding-left: 1rem; }
  svg { overflow: visible; } .wide > svg:only-child text { font-size: 17px !important; }
}
@media print {
  body { max-width: none; padding: 0; } figure, tr, .lead { break-inside: avoid; } h2, h3 { break-after: avoid; }
}
"""
_PLOT_STYLE: Any = {
    "svg.hashsalt": "sonjit",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.linewidth": 0.4,
    "legend.frameon": False,
    "grid.color": INK,
    "grid.linewidth": 0.4,
    "grid.alpha": 0.5,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}
"""Settings of Matplotlib, with which the same data give the same bytes."""
_MAX_LINE_POINTS = 320  # maximum points of a line. Longer lines are drawn by the means of equal stretches.
_LEGEND_SPACING = 6.0  # between the names of lines, in their size; narrow screens show them larger
_MIN_LOG_DECADES = 1.5  # minimum range in powers of ten for a logarithmic axis


@dataclass(frozen=True)
class Heading:
    """Heading below the title."""

    text: str
    level: int = 2
    begins_page: bool = False  # on paper


@dataclass(frozen=True)
class Text:
    """Paragraph; `strong` marks a warning."""

    text: str
    strong: bool = False


@dataclass(frozen=True)
class Lead:
    """Sentence in large letters that states the result."""

    text: str


@dataclass(frozen=True)
class Note:
    """Paragraph in small letters."""

    text: str


@dataclass(frozen=True)
class BulletList:
    """Bullet list."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Rows of text. The columns after the first `text_columns` are aligned to the right."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int = 1


@dataclass(frozen=True)
class Plot:
    """SVG drawing."""

    name: str  # file name for Markdown
    svg: str  # SVG text for the page
    alt: str  # alternative text
    captioned: bool = False  # True if the page shows it in a row of small figures with `alt` as caption


@dataclass(frozen=True)
class Image:
    """Image file next to the document, or an image in a `data:` address."""

    path: str
    alt: str


@dataclass(frozen=True)
class Columns:
    """Plots and images next to each other, which narrow screens show below each other."""

    parts: tuple[Plot | Image, ...]


def number(value: float | None, digits: int = 2) -> str:
    """Return a number as text, or a dash for None and NaN.

    >>> number(3.14159), number(None), number(float("nan"))
    ('3.14', '–', '–')
    """
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def markdown_from(title: str, blocks: Sequence[Block], front: str = "") -> str:
    """Return the document as Markdown. Plots are separate files."""
    sections = [front, f"# {title}", *map(markdown_of, blocks)]
    return "\n\n".join(part for part in sections if part) + "\n"


def markdown_of(block: Block) -> str:
    """Return a block as Markdown."""
    match block:
        case Heading(text, level):
            return f"{'#' * level} {text}"
        case Text(text, strong):
            return f"**{text}**" if strong else text
        case Lead(text):
            return f"**{text}**"
        case Note(text):
            return text
        case Columns(figures):
            return "\n\n".join(map(markdown_of, figures))
        case BulletList(items):
            return "\n".join(f"* {item}" for item in items)
        case Table(headings, rows, text_columns):
            lines = [headings, tuple("---" if at < text_columns else "---:" for at in range(len(headings))), *rows]
            return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
        case Plot(name, _, alt, _):
            return f"![{alt}]({name}.svg)"
        case Image(path, alt):
            return f"![{alt}]({path})"


def html_from(title: str, blocks: Sequence[Block], language: str = "en") -> str:
    """Return the document as an HTML page that needs no files except its images."""
    body = "\n".join(map(_html, blocks))
    return xml_text(
        f'<!doctype html>\n<html lang="{language}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_PAGE_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(title)}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _html(block: Block) -> str:
    match block:
        case Plot(_, svg, alt, captioned):
            caption = f"<figcaption>{escape(alt)}</figcaption>"
            return f"<figure>{svg}{caption}</figure>" if captioned else f'<div class="wide">{svg}</div>'
        case Image(path, alt):
            image = f'<img src="{escape(path)}" alt="{escape(alt)}" loading="lazy">'
            return f"<figure>{image}<figcaption>{escape(alt)}</figcaption></figure>"
        case Lead(text):
            return f'<p class="lead">{escape(text)}</p>'
        case Note():
            return _markdown_parser().render(markdown_of(block)).replace("<p>", '<p class="note">')
        case Columns(figures):
            return f'<div class="columns">{"".join(map(_html, figures))}</div>'
        case Table():
            return f'<div class="wide">{_markdown_parser().render(markdown_of(block))}</div>'
        case _:
            return _markdown_parser().render(markdown_of(block))


@cache
def _markdown_parser() -> Any:  # noqa: ANN401  # imported on first use
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).enable("table")


def save_files(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files into an existing folder, each atomically.

    Raises:
        InputError: The folder cannot be written to.
        JobError: The disk refuses a file.
    """
    for name, content in files.items():
        write_bytes(folder / name, content if isinstance(content, bytes) else content.encode())


def plots_of(blocks: Sequence[Block]) -> dict[str, str]:
    """Return the plot files of a document by name."""
    return {f"{block.name}.svg": block.svg for block in blocks if isinstance(block, Plot)}


@dataclass(frozen=True)
class Curve:
    """Shares at thresholds."""

    title: str  # title of the curve
    x: list[float]  # thresholds
    y: list[float]  # shares, 0 to 1
    unit: str  # unit of the thresholds


class Line(NamedTuple):
    """One line of a plot."""

    name: str  # label; "" for a line without one
    x: Sequence[float]  # coordinates along the horizontal axis
    y: Sequence[float]  # values
    faint: bool = False  # draw the line thin, for the values behind a smoothed line
    right: bool = False  # draw the line on the axis at the right, which has a scale of its own
    colour: int | None = None  # index of the colour; None for the next one


def _plot(draw: Callable[..., None], title: str, *, width: int = 640, height: int = 300, columns: int = 1) -> str:
    """Return an SVG with alternative text of what a function draws into a row of axes."""
    with optional_import("a plot", "report"):
        import matplotlib as mpl
        from matplotlib.figure import Figure
    file = io.StringIO()
    with mpl.rc_context(_PLOT_STYLE):
        figure = Figure((width / 72, height / 72), layout="constrained")
        draw(*figure.subplots(1, columns, squeeze=False)[0])
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = file.getvalue()
    return svg[svg.index("<svg") :].replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)


def curves_svg(curves: Sequence[tuple[str, Curve]]) -> str:
    """Draw shares over thresholds, one line per curve with its label, in the unit of the first."""

    def draw(axes: Any) -> None:  # noqa: ANN401  # Matplotlib
        for index, (name, curve) in enumerate(curves):
            axes.plot(curve.x, 100 * np.array(curve.y), color=COLOURS[index % len(COLOURS)], linewidth=2, label=name)
        first = curves[0][1]
        axes.set(xlabel=f"threshold, {first.unit}", ylabel="%", xlim=(first.x[0], first.x[-1]), ylim=(0, 101))
        axes.grid(axis="y")
        axes.legend()

    return _plot(draw, "share of keypoints within a threshold")


def bars_svg(names: Sequence[str], values: ArrayLike, unit: str, title: str) -> str:
    """Draw a bar per row of mean and interval (N, 3), NaN where unknown. A row without a number stays empty."""

    def draw(axes: Any) -> None:  # noqa: ANN401  # Matplotlib
        ends = np.maximum(np.asarray(values, np.float64).reshape(-1, 3), 0)  # NaN stays
        axes.barh(range(len(names)), np.nan_to_num(ends[:, 0]), height=0.7, color=COLOURS[0], alpha=0.75)
        axes.hlines(range(len(names)), ends[:, 1], ends[:, 2], color=COLOURS[1], linewidth=2)
        for index, mean in enumerate(ends[:, 0]):
            text = f" {mean:.3g} {unit}" if math.isfinite(mean) else " no data"
            axes.text(np.nanmax(ends[index], initial=0), index, text, va="center")
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.15 * float(np.nanmax(ends, initial=0)) or 1)

    return _plot(draw, title, height=40 + 20 * len(names))


def maps_svg(
    maps: Sequence[tuple[str, RealArray]], points: RealArray, bones: Sequence[tuple[int, int]], title: str
) -> str:
    """Draw named maps (H, W), blue below 0, orange above, with a skeleton (K, 2) in fractions of the map over each."""

    def draw(*axes: Any) -> None:  # noqa: ANN401  # Matplotlib
        from matplotlib.colors import LinearSegmentedColormap

        colours = LinearSegmentedColormap.from_list("signed", [COLOURS[0], f"{INK}00", COLOURS[1]])
        for place, (name, values) in zip(axes, maps, strict=True):
            limit = float(abs(values).max()) or 1.0
            place.imshow(values, cmap=colours, vmin=-limit, vmax=limit, extent=(0, 1, 1, 0))
            for a, b in bones:
                place.plot(points[[a, b], 0], points[[a, b], 1], color=INK, linewidth=1.5)
            place.set_title(name, fontsize=9)
            place.set_axis_off()

    return _plot(draw, title, width=154 * len(maps), height=170, columns=len(maps))


def lines_svg(
    lines: Sequence[Line],
    x_title: str,
    title: str,
    *,
    straight: bool = False,
    logarithmic: bool = False,
    gaps: bool = False,
    ends: tuple[float, float] | None = None,
    size: tuple[int, int] = (640, 300),
    bands: Sequence[tuple[float, float]] = (),
    points: Sequence[tuple[float, float, str]] = (),
) -> str:
    """Draw labelled lines in one plot.

    An axis is logarithmic if its values span more than one and a half powers of ten.

    Args:
        lines: Lines of the plot, at least one.
        x_title: Title of the x axis.
        title: Title of the plot.
        straight: Always use linear axes.
        logarithmic: Use a logarithmic axis at the left wherever all values are above 0.
        gaps: Interrupt lines at values that are not finite. Otherwise these values are skipped.
        ends: Ends of the axis at the left, in the unit of the values. Default: the values decide.
        size: Width and height of the plot in pixels.
        bands: Begin and end of intervals along the horizontal axis that are shaded.
        points: Places (x, y) that are marked with a dot and a text.
    """

    def draw(left: Any) -> None:  # noqa: ANN401  # Matplotlib
        from matplotlib.ticker import LogFormatter

        axes = {False: left} | ({True: left.twinx()} if any(line.right for line in lines) else {})
        values: dict[bool, list[FloatArray]] = {right: [] for right in axes}
        for index, line in enumerate(lines):
            x, y = _downsample(line)
            finite = np.isfinite(y)
            colour = COLOURS[(index if line.colour is None else line.colour) % len(COLOURS)]
            width, alpha = (1, 0.3) if line.faint else (2, 1)
            label = line.name or None
            drawn = np.full(len(x), True) if gaps else finite
            axes[line.right].plot(x[drawn], y[drawn], color=colour, linewidth=width, alpha=alpha, label=label)
            values[line.right].append(y[finite])
        for right, line_values in values.items():
            axis_values = np.concatenate(line_values)
            low, high = (float(axis_values.min()), float(axis_values.max())) if axis_values.size else (0.0, 1.0)
            if low > 0 and not straight and (high > low * 10**_MIN_LOG_DECADES or (logarithmic and not right)):
                axes[right].set_yscale("log")
                for set_formatter in (axes[right].yaxis.set_major_formatter, axes[right].yaxis.set_minor_formatter):
                    set_formatter(LogFormatter())  # without mathematical text, which takes a tenth of a second
            elif 0 < low < high:
                axes[right].set_ylim(bottom=0)
        if ends is not None:
            left.set_ylim(*ends)
        for begin, end in bands:
            left.axvspan(begin, end, color=INK, alpha=0.12, linewidth=0)
        for x, y, text in points:
            left.plot([x], [y], "o", color=INK, markersize=5)
            is_above = y > sum(left.get_ylim()) / 2  # away from the curve, whose end the point is
            offset, align = (5, "bottom") if is_above else (-5, "top")
            left.annotate(text, (x, y), (0, offset), textcoords="offset points", ha="center", va=align)
        left.set_xlabel(x_title)
        left.grid(axis="y")
        if any(line.name for line in lines):
            left.figure.legend(loc="outside upper left", ncols=3, columnspacing=_LEGEND_SPACING)

    return _plot(draw, title, width=size[0], height=size[1])


def smooth_values(values: Sequence[float]) -> list[float]:
    """Return the means of each value and its neighbours, over a twentieth of the values; NaN is left out.

    >>> smooth_values([0.0, 2.0])
    [0.0, 2.0]
    """
    half = len(values) // 40
    array = np.asarray(values, np.float64)
    finite = np.isfinite(array)
    total = np.cumsum(np.concatenate([[0.0], np.where(finite, array, 0.0)]))
    count = np.cumsum(np.concatenate([[0], finite]))
    index = np.arange(len(array))
    first, last = np.maximum(index - half, 0), np.minimum(index + half + 1, len(array))
    with np.errstate(invalid="ignore"):
        return ((total[last] - total[first]) / (count[last] - count[first])).tolist()


def _downsample(line: Line) -> tuple[FloatArray, FloatArray]:
    """Return the means of equal stretches of a long line, or a short line unchanged."""
    x, y = np.asarray(line.x, np.float64), np.asarray(line.y, np.float64)
    if len(x) <= _MAX_LINE_POINTS:
        return x, y
    starts = np.arange(_MAX_LINE_POINTS) * len(x) // _MAX_LINE_POINTS
    counts = np.diff(starts, append=len(x))
    return np.add.reduceat(x, starts) / counts, np.add.reduceat(y, starts) / counts


def heat_map_svg(
    rows: Sequence[str], cells: Mapping[tuple[int, int], tuple[float, str]], columns: int, title: str
) -> str:
    """Draw cells of value and tooltip: green for 0, yellow for 0.5, red for 1 and more. Missing cells stay empty."""
    wide = max(4, min(18, 1000 // max(columns, 1)))
    high = 18
    left = 120
    marks = [f'<text y="{row * high + 13}" fill="{INK}">{escape(name[:16])}</text>' for row, name in enumerate(rows)]
    marks += [
        f'<rect x="{left + column * wide}" y="{row * high}" width="{wide - 1}" height="{high - 1}" '
        f'fill="hsl({120 * (1 - min(value, 1)):.0f} 70% 45%)"><title>{escape(text)}</title></rect>'
        for (row, column), (value, text) in cells.items()
    ]
    return svg_of(left + columns * wide, len(rows) * high, marks, title)


def arrows_svg(size: tuple[int, int], starts: RealArray, ends: RealArray, title: str, jpeg: bytes | None = None) -> str:
    """Draw lines between points of an image, over the image if there is one.

    Args:
        size: Width and height of the image in pixels; the drawing is 360 wide.
        starts: Points (N, 2) in pixels, drawn with a dot.
        ends: Points (N, 2) in pixels.
        title: Title of the drawing.
        jpeg: Encoded image of any size.
    """
    wide, high = size
    thick = wide / 360
    image = base64.b64encode(jpeg).decode() if jpeg else ""
    marks = [f'<image width="{wide}" height="{high}" href="data:image/jpeg;base64,{image}"/>'] if image else []
    marks.append(f'<rect width="{wide}" height="{high}" fill="none" stroke="{INK}" stroke-width="{2 * thick:.1f}"/>')
    for (x, y), (u, v) in zip(starts, ends, strict=True):
        marks.append(line_mark(x, y, u, v, colour=COLOURS[1], width=round(thick, 1)))
        marks.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{thick:.1f}" fill="{COLOURS[0]}"/>')
    return svg_of(360, round(360 * high / wide), marks, title, view=size)


def svg_of(width: int, height: int, marks: Sequence[str], title: str, *, view: tuple[int, int] | None = None) -> str:
    """Return an SVG of marks with alternative text. The marks are in pixels, or in units of `view`."""
    across, down = view or (width, height)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {across} {down}" width="{width}" height="{height}" '
        f'role="img" font-family="system-ui, sans-serif" font-size="12"><title>{escape(title)}</title>'
        f"{''.join(marks)}</svg>"
    )


def line_mark(x1: float, y1: float, x2: float, y2: float, *, colour: str, width: float) -> str:
    """Return a straight line of an SVG."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'
