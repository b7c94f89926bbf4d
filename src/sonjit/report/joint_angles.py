"""One page about the joint angles of a person in a video, as HTML or PDF."""

import base64
import io
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from sonjit._util import FloatArray, Image, InputError, files, optional_import
from sonjit.media import draw_frame, load_frames, open_source
from sonjit.media.sources.images import encode_image
from sonjit.report.documents import COLOURS, Block, Heading, Line, Plot, Table, Text, html_from, lines_svg, number
from sonjit.report.documents import Image as Picture
from sonjit.results import Frame
from sonjit.results.measures import instance_values, with_owners
from sonjit.runs import annotations, hiding
from sonjit.runs.inputs import Inputs

_ERRORS_DEG = {
    "lite": {"elbow": 11.8, "knee": 4.0, "shoulder": 9.2, "hip": 7.8},
    "full": {"elbow": 24.2, "knee": 8.1, "shoulder": 8.2, "hip": 9.1},
    "heavy": {"elbow": 8.8, "knee": 11.8, "shoulder": 8.6, "hip": 14.4},
}
"""Mean absolute error of angles in space by model. Source: docs/measured.md, section "Joint angles"."""
_PAIRED = {
    **{joint: "{}_" + joint + "_angle_rad" for joint in ("shoulder", "elbow", "hip", "knee", "ankle")},
    **{f"wrist {angle}": "{}_wrist_" + angle + "_rad" for angle in ("flexion", "deviation")},
}
"""Measures of the angles of both sides."""
COUNTED = tuple(_PAIRED[joint].format(side) for joint in ("elbow", "hip", "knee") for side in ("left", "right"))
_SINGLE = {"trunk lean": "trunk_lean_rad", "neck flexion": "neck_flexion_rad"}
_HEADINGS = ("angle", "side", "min °", "max °", "range °", "left − right range °", "expected error °")
_COUNTS = ("angle", "begin s", "end s", "duration s", "lowest °")
_MARK = "sonjit-anonymise"  # name in the head of a page whose pictures hide people
_MAX_COUNTS = 20  # maximum number of repetitions on a printed page
_NOTES = (
    "Angles come from one camera, by a network, and are no medical measurement. An expected error is the mean error of "
    "the joint in photographs with known angles; – is unknown. A difference below it may be no difference."
)


@dataclass(frozen=True)
class Recording:
    """Frames of a video, and the person in most of them."""

    name: str  # name of the video
    model: str  # model of the body
    person: int  # id of the person
    frames: list[Frame]  # all frames
    angles: dict[str, FloatArray]  # angles of the person in degrees by measure (N,), NaN where unknown

    @property
    def times(self) -> list[float]:
        """Times of the frames in seconds."""
        return [frame.time or 0.0 for frame in self.frames]

    @property
    def plots(self) -> dict[str, dict[str, FloatArray]]:
        """Known angles by title and side."""
        pairs = {
            title: {side: self.angles[name.format(side)] for side in ("left", "right")}
            for title, name in _PAIRED.items()
        }
        found = pairs | {title: {"": self.angles[name]} for title, name in _SINGLE.items()}
        return {title: sides for title, sides in found.items() if any(np.isfinite(v).any() for v in sides.values())}

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """Rows of the table of ranges."""
        rows: list[tuple[str, ...]] = []
        for title, sides in self.plots.items():
            ends = {side: _ends(values) for side, values in sides.items()}
            ranges = [high - low for low, high in ends.values()]
            difference = ranges[0] - ranges[1] if len(ranges) > 1 else math.nan
            error = _ERRORS_DEG[self.model].get(title, math.nan)
            for side, (low, high) in ends.items():
                between = difference if side == "left" else math.nan
                values = (low, high, high - low, between, error)
                rows.append((title, side, *(number(float(np.round(value)) + 0.0, 0) for value in values)))  # no -0
        return rows

    @property
    def repetitions(self) -> list[tuple[str, ...]]:
        """Rows of the table of repetitions."""
        rows: list[tuple[str, ...]] = []
        for event in (event for frame in self.frames for event in frame.events):
            if event.type == "repetition" and event.id == self.person and event.end is not None:
                times = event.begin, event.end, event.end - event.begin
                lowest = number(math.degrees(event.value), 0)
                rows.append((event.name.removesuffix("_angle_rad").replace("_", " "), *map(number, times), lowest))
        return rows

    @property
    def extremes(self) -> list[Frame]:
        """Frames with the smallest and the largest angle of the joint that moves most."""
        paired = [name.format(side) for name in list(_PAIRED.values())[:5] for side in ("left", "right")]
        known = [self.angles[name] for name in paired if np.isfinite(self.angles[name]).any()]
        if not known:
            return self.frames[:1]
        most = max(known, key=lambda values: float(np.nanmax(values) - np.nanmin(values)))
        return [self.frames[k] for k in sorted({int(np.nanargmin(most)), int(np.nanargmax(most))})]


def write_report(path: Path, table: Path, drawing: Path | None, name: str, model: str) -> None:
    """Write the page of a finished job, with pictures from its drawing.

    Args:
        path: Page to write, .html or .pdf.
        table: Frames of a video.
        drawing: Drawn video, or None.
        name: Name of the video.
        model: Model of the body.
    """
    frames = load_frames(table)[1]
    counts = annotations.RepetitionCounts(*map(annotations.AngleLimits, COUNTED))
    for frame in frames:
        frame.measures = [instance_values(*pair) for pair in with_owners(frame)]
        frame.events = [*frame.events, *counts.update(frame)]
    recording = recording_of(name, model, frames)
    wanted, pictures = {frame.index for frame in recording.extremes}, list[tuple[str, Image]]()
    if drawing is not None and drawing.is_file():
        with open_source(drawing) as source:
            pictures = [(f"{frame.time:.2f} s", frame.rgb.copy()) for frame in source if frame.index in wanted]
    write_page(path, recording, pictures)


def write_page(path: Path, recording: Recording, pictures: list[tuple[str, Image]], mark: str = "") -> None:
    """Write a page with pictures (H, W, 3) and a mark if they hide people."""
    if path.suffix.lower() == ".pdf":
        files.write_bytes(path, _pdf(recording, pictures, mark))
        return
    page = _html(recording, pictures)
    if mark:
        page = page.replace("<head>\n", f'<head>\n<meta name="{_MARK}" content="{mark}">\n', 1)
    files.write_bytes(path, page.encode())


def hides_people(path: Path) -> bool:
    """Check whether a file is a report whose pictures hide people."""
    try:
        return _MARK.encode() in path.read_bytes()
    except OSError:
        return False


def recording_of(name: str, model: str, frames: list[Frame]) -> Recording:
    """Return the frames of the person who is in most of them."""
    ids = Counter(
        part.id for frame in frames for _, part in frame.instances() if part.kind == "body" and part.id is not None
    )
    if not ids:
        raise InputError(f"{name}: no person found")
    ((person, _),) = ids.most_common(1)
    names = [text.format(side) for text in _PAIRED.values() for side in ("left", "right")] + [*_SINGLE.values()]
    rows: list[list[float]] = []
    for frame in frames:
        parts = zip(frame.instances(), frame.measures, strict=True)
        found = (values for (_, part), values in parts if part.kind == "body" and part.id == person)
        values = next(found, {})  # without the person, lines of the plots have a gap
        rows.append([cast("float", values.get(measure, math.nan)) for measure in names])
    return Recording(name, model, person, frames, dict(zip(names, np.degrees(np.array(rows)).T, strict=True)))


def _ends(values: FloatArray) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    return (float(known.min()), float(known.max())) if len(known) else (math.nan, math.nan)


def pictures_of(inputs: Inputs, recording: Recording, hider: hiding.Anonymiser) -> list[tuple[str, Image]]:
    """Read the images of the extremes again, and draw them."""
    wanted = {frame.index: frame for frame in recording.extremes}
    pictures: list[tuple[str, Image]] = []
    with inputs.open_one() as opened:
        for frame in opened:
            if frame.index in wanted:
                found = wanted[frame.index]
                below = hider.below(frame._replace(time=None), hiding.covered(found))  # as a still
                pictures.append((f"{frame.time:.2f} s", draw_frame(below, found)))
            if len(pictures) == len(wanted):
                break
    return pictures


def _facts(recording: Recording) -> str:
    times = recording.times
    seconds = f"{times[0]:.2f} to {times[-1]:.2f} s"
    found = int(np.isfinite([*recording.angles.values()]).any(0).sum())
    return f"Person #{recording.person}, in {found} of {len(times)} frames from {seconds}, model {recording.model}."


def _html(recording: Recording, pictures: list[tuple[str, Image]]) -> str:
    """Return the page as HTML without further files."""
    blocks: list[Block] = [Text(_facts(recording))]
    for caption, rgb in pictures:
        data = base64.b64encode(encode_image(rgb, ".jpg")).decode()
        blocks.append(Picture(f"data:image/jpeg;base64,{data}", caption))
    blocks += [Heading("Range of motion"), Table(_HEADINGS, tuple(recording.rows), text_columns=2), Text(_NOTES)]
    found = tuple(recording.repetitions)
    blocks += [Heading("Repetitions"), Table(_COUNTS, found) if found else Text("None of the counted angles repeats.")]
    blocks.append(Heading("Angles over time"))
    for title, sides in recording.plots.items():
        lines = [Line(side or title, recording.times, values.tolist()) for side, values in sides.items()]
        plot = lines_svg(lines, "seconds", f"{title} in degrees", straight=True)
        blocks += [Heading(title, 3), Plot(title, plot, title)]
    return html_from(f"Joint angles: {recording.name}", blocks)


def _pdf(recording: Recording, pictures: list[tuple[str, Image]], mark: str = "") -> bytes:
    """Return the page as PDF."""
    with optional_import("a report", "eval"):
        from matplotlib.backends.backend_pdf import PdfPages
        from matplotlib.figure import Figure
    plots, counted, file = recording.plots, recording.repetitions[:_MAX_COUNTS], io.BytesIO()
    figure = Figure((8.27, 11.69), layout="constrained")
    title = f"Joint angles: {files.xml_text(recording.name)}\n{_facts(recording)}"
    figure.suptitle(title, fontsize=11, parse_math=False)
    heights = [0.17 * len(rows) + 0.4 for rows in (recording.rows, counted)]
    lines = math.ceil(len(plots) / 2)
    grid: Any = figure.add_gridspec(3 + lines, 2, height_ratios=[2.6, *heights, *[1] * lines])
    for at, (caption, rgb) in enumerate(pictures):
        axes: Any = figure.add_subplot(grid[0, at])
        axes.imshow(rgb)
        axes.set_title(caption, fontsize=8)
        axes.set_axis_off()
    for row, (headings, rows) in enumerate(((_HEADINGS, recording.rows), (_COUNTS, counted)), 1):
        axes = figure.add_subplot(grid[row, :])
        axes.set_axis_off()
        if rows:
            table: Any = axes.table(rows, colLabels=headings, loc="upper center", edges="horizontal")
            table.auto_set_font_size(False)
            table.set_fontsize(6)
    for at, (title, sides) in enumerate(plots.items()):
        axes = figure.add_subplot(grid[3 + at // 2, at % 2])
        for colour, (side, values) in zip(COLOURS, sides.items(), strict=False):
            axes.plot(recording.times, values, color=colour, label=side, linewidth=1)
        axes.set_title(f"{title}, degrees over seconds", fontsize=8)
        axes.tick_params(labelsize=6)
        if len(sides) > 1:
            axes.legend(fontsize=6, frameon=False)
    figure.supxlabel(_NOTES, fontsize=6, wrap=True)
    keywords = {"Keywords": f"{_MARK} {mark}"} if mark else {}
    with PdfPages(file, metadata={"CreationDate": None, **keywords}) as pages:  # equal results are equal files
        pages.savefig(figure)
    return file.getvalue()
