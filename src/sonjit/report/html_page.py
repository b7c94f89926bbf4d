"""The page of a report as HTML without further files."""

import base64
import warnings

from sonjit._util import Image, optional_import
from sonjit.media.sources.images import encode_image
from sonjit.report import conventions, page_words
from sonjit.report.comparison import Earlier, ranges_script, rows_against
from sonjit.report.documents import Block, BulletList, Heading, Line, Plot, Table, Text, html_from, lines_svg
from sonjit.report.documents import Image as Picture
from sonjit.report.fonts import installed_fonts
from sonjit.report.recording import COUNT_HEADINGS, HEADINGS, INCOMPLETE_HEADINGS, Recording, axis_ends


def html_page(
    recording: Recording, pictures: list[tuple[str, Image]], labels: page_words.Labels, earlier: Earlier | None
) -> str:
    """Return the page as HTML. Browsers choose fonts themselves, so a letter without one needs no warning."""
    with optional_import("a report", "eval"):
        import matplotlib as mpl
    with mpl.rc_context({"font.family": installed_fonts()}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph ")
        return _html(recording, pictures, labels, earlier)


def _html(
    recording: Recording, pictures: list[tuple[str, Image]], labels: page_words.Labels, earlier: Earlier | None = None
) -> str:
    """Return the page as HTML without further files."""
    say = recording.text
    blocks: list[Block] = [*map(Text, labels.lines(recording.language)), Text(page_words.facts_of(recording))]
    blocks.append(Text(page_words.warnings_of(recording), strong=True))
    for caption, rgb in pictures:
        data = base64.b64encode(encode_image(rgb, ".jpg")).decode()
        blocks.append(Picture(f"data:image/jpeg;base64,{data}", caption))
    blocks += [
        *_range_blocks(recording),
        *_side_blocks(recording),
        *_gait_blocks(recording),
        *_change_blocks(recording, labels, earlier),
        *_meaning_blocks(recording),
        *_repetition_blocks(recording),
        *([Heading(say("Angles over time"))] if recording.plots else []),
    ]
    for joint, sides in recording.plots.items():
        title = say(joint)
        lines = [
            Line(recording.legend(joint, side), recording.times, values.tolist(), colour=page_words.SIDE_COLOURS[side])
            for side, values in sides.items()
        ]
        alt = say("{angle} in degrees", angle=title)
        plot = lines_svg(lines, say("seconds"), alt, straight=True, gaps=True, ends=axis_ends(sides.values()))
        blocks += [Heading(title, 3), Plot(joint, plot, title)]
        if joint.startswith("wrist"):
            blocks.append(Text(say("The error of this angle is not known, so the page has no numbers for it.")))
    page = html_from(page_words.title_of(recording, labels), blocks, recording.language)
    return page.replace("</body>", f"{ranges_script(page_words.title_of(recording, labels), recording)}\n</body>", 1)


def _range_blocks(recording: Recording) -> list[Block]:
    say = recording.text
    heading = Heading(say("Range of motion"))
    if not recording.rows:
        return [heading, Text(say(page_words.NOTHING))]
    table = Table(page_words.in_words(recording, HEADINGS), tuple(recording.rows), text_columns=2)
    return [
        heading,
        table,
        BulletList(tuple(map(say, page_words.COLUMNS))),
        Text(say(page_words.METHOD)),
        Text(page_words.origin_of(recording)),
    ]


def _side_blocks(recording: Recording) -> list[Block]:
    if not recording.rows:
        return []
    heading = Heading(recording.text("Left and right"), 3)
    if not recording.comparisons:
        return [heading, Text(recording.text(page_words.ONE_SIDED))]
    return [heading, BulletList(tuple(recording.comparisons))]


def _meaning_blocks(recording: Recording) -> list[Block]:
    if not recording.rows:
        return []
    say = recording.text
    title = say("What the angles mean")
    drawing = conventions.convention_svg(recording.convention, recording.language)
    words = f"{say(conventions.WORDS[recording.convention])} {say(conventions.SIGNS)}"
    return [Heading(title), Plot("convention", drawing, title), Text(words)]


def _repetition_blocks(recording: Recording) -> list[Block]:
    if not recording.counted:
        return []
    found, lost = tuple(recording.repetitions), tuple(recording.incomplete)
    blocks: list[Block] = [Heading(recording.text("Repetitions")), BulletList(tuple(recording.counting))]
    if found:
        blocks.append(Table(page_words.in_words(recording, COUNT_HEADINGS), found))
    else:
        blocks.append(Text(recording.text(page_words.NO_REPETITIONS)))
    if lost:
        headings = page_words.in_words(recording, INCOMPLETE_HEADINGS)
        blocks += [Heading(recording.text("Not counted"), 3), Table(headings, lost, text_columns=3)]
    return blocks


def _gait_blocks(recording: Recording) -> list[Block]:
    if recording.gait is None:
        return []
    table = Table(
        page_words.in_words(recording, page_words.GAIT_HEADINGS), tuple(recording.gait.rows(recording.language))
    )
    return [Heading(recording.text("Walking")), table, Text(page_words.gait_note(recording))]


def _change_blocks(recording: Recording, labels: page_words.Labels, earlier: Earlier | None) -> list[Block]:
    if earlier is None:
        return []
    before = recording.text("Before: {title}, model {model}.", title=earlier.title, model=earlier.model)
    if earlier.title == page_words.title_of(recording, labels):
        before = f"{before} {recording.text('Both pages have the same title and may describe the same recording.')}"
    table = Table(page_words.in_words(recording, page_words.CHANGE_HEADINGS), tuple(rows_against(earlier, recording)))
    return [Heading(recording.text("Before and now")), Text(before), table]
