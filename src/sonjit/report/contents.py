"""Contents of a report: what the page states, in which order, as blocks that are written as HTML or PDF.

The first screen has the headline, the moment that it names, and the curve of its angle. Tables follow, then how the
angles were measured.
"""

import base64
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from sonjit._util import Image
from sonjit.media.sources.images import encode_image
from sonjit.report import conventions, errors, gait
from sonjit.report import documents as docs
from sonjit.report.comparison import CHANGE_HEADINGS, Earlier, rows_against
from sonjit.report.documents import Block, BulletList, Columns, Heading, Lead, Line, Note, Plot, Table, Text
from sonjit.report.recording import HEADINGS, INCOMPLETE_HEADINGS, SIDE_HEADINGS, Recording, whole
from sonjit.report.texts import Language, translated

SIDE_COLOURS: Final = {"left": 1, "right": 0, "": 2}
"""Index of the colour of each side in `documents.COLOURS`, warm for the person's left as in drawings."""
_ONE_MOVEMENT_S = 1.0  # bent positions of left and right that are closer belong to one movement
_FIRST_COLOUR = 2  # of compared recordings, whose colours are not those of the sides
_AXIS_KINDS: Final = (
    ("elbow", "shoulder", "hip", "knee"),
    ("ankle",),
    ("trunk lean", "neck flexion"),
    ("wrist flexion", "wrist deviation"),
)
"""Joints whose curves share one scale."""
_MIN_AXIS_DEG = 40.0  # minimum length of an axis, so that errors do not look like movements
_AXIS_STEP_DEG = 10.0  # ends of an axis are multiples of this angle
_LEAD_SIZE = (360, 253)
"""Width and height of the curve next to the first picture, in pixels."""
_CURVE_SIZE = (350, 190)
"""Width and height of each curve below the tables, in pixels."""
_WARNING: Final = (
    "The angles are estimates from one camera, not a medical measurement. Do not choose a treatment by this page only."
)
_MIRRORED: Final = (
    "With the model {model}, ranges of a recording and its mirror image differed by more than {limit}° for: {joints}."
)
_COLUMNS: Final = (
    "seen: share of the images of the person in which the joint was placed. A placed joint can still be wrong.",
    "from and to: the smallest and the largest angle, without the 2 % smallest and the 2 % largest ones.",
    "range: the difference of from and to. It is the movement in this recording, not what the joint can do.",
    "range with error: in 95 % of the recordings with known angles, the true range was between two such numbers. They "
    "are the range minus and plus its 95 % error, and at least 0. If the lower number is 0, no movement is proved.",
    "angle error, and ± after an angle: 95 % of the errors of an angle at one moment are smaller. – means that the "
    "error is not known.",
)
"""What the columns of the table of ranges mean."""
_NOTHING: Final = "No angle was seen. An angle needs the three joints of its two bones in the image."
_NO_REPETITIONS: Final = "None of the counted angles repeats."
_SIDES: Final = (
    "One camera sees the side less well that is hidden or points at it. Film the movement from both sides before you "
    "conclude that left and right differ."
)
_METHOD: Final = (
    "Single wrong angles and trembling of the keypoints are filtered out, and gaps up to 0.2 s are filled by "
    "interpolation. Where a joint was not seen for longer, the curves have a gap."
)
_GAIT_HEADINGS: Final = ("walking", "value", "error")


@dataclass(frozen=True)
class Labels:
    """Free texts of a page. An empty text is left out."""

    title: str = ""  # in place of the name of the video
    name: str = ""  # of the person
    note: str = ""
    day: str = ""  # of the recording

    def lines(self, language: Language = "en") -> list[str]:
        """Return the lines below the title."""
        texts = {"Name": self.name, "Date": self.day, "Note": self.note}
        return [f"{translated(language, key)}: {value}" for key, value in texts.items() if value]


def title_of(recording: Recording, labels: Labels) -> str:
    """Return the title of a page."""
    title = labels.title or recording.name
    return recording.text("Joint angles: {title}", title=title) if title else recording.text("Joint angles")


def page_blocks(
    recordings: Sequence[Recording],
    pictures: Sequence[Sequence[tuple[str, Image]]],
    labels: Labels,
    earlier: Earlier | None = None,
) -> list[Block]:
    """Return the blocks of a page below its title.

    Args:
        recordings: People of the page, of one video or several.
        pictures: Captions and images (H, W, 3) RGB of each recording.
        labels: Free texts.
        earlier: Ranges of an earlier page of the same person.
    """
    first = recordings[0]
    blocks: list[Block] = [Note(" · ".join([*labels.lines(first.language), *map(facts_of, recordings)]))]
    several = len(recordings) > 1
    for recording, shown in zip(recordings, pictures, strict=True):
        lead = f"{subject_of(recording)}: {recording.headline}" if several else recording.headline
        if recording.people > 1 and not several:  # a page about one of several people names the person
            lead = f"{person_of(recording)}: {lead}"
        blocks += [Lead(f"{lead}."), *_first_screen(recording, shown)]
        if recording.sides:
            blocks.append(Text(recording.sides))
    blocks.append(Note(first.text(_WARNING)))
    if several:
        blocks += _together(recordings)
    if not several:
        blocks += [*_repetition_blocks(first), *_gait_blocks(first)]
    blocks.append(Heading(first.text("Appendix"), begins_page=True))
    for recording in recordings:
        if several:
            blocks += [Heading(subject_of(recording)), *_repetition_blocks(recording), *_gait_blocks(recording)]
        blocks += _tables(recording)
    blocks += _change_blocks(first, labels, earlier)
    for recording in recordings:
        if recording.plots:
            title = recording.text("Angles over time")
            blocks += [Heading(f"{title}: {subject_of(recording)}" if several else title), *_curves(recording)]
    return [*blocks, *_decisions(first), *_method(first)]


def person_of(recording: Recording) -> str:
    """Return the number of a person in words."""
    return recording.text("person {number}", number=recording.person)


def subject_of(recording: Recording) -> str:
    """Return what names one of several people of a page."""
    person = person_of(recording)
    if not recording.name:
        return person
    return f"{recording.name}, {person}" if recording.people > 1 else recording.name


def facts_of(recording: Recording) -> str:
    """Return in which images the person is, and with which model they were measured."""
    times = recording.times
    facts = recording.text(
        "the person is in {seen} of {images} images, {begin} to {end} s, model {model}",
        seen=recording.frames_seen,
        images=len(times),
        begin=f"{times[0]:.2f}",
        end=f"{times[-1]:.2f}",
        model=recording.model,
    )
    if recording.cuts_s:
        cuts = "another scene begins at {times} s, and a person has another number there"
        facts += f" · {recording.text(cuts, times=', '.join(f'{time:.2f}' for time in recording.cuts_s))}"
    if recording.people == 1:
        return facts
    others = "person {number} of {people}, where a person who was out of sight may have a second number"
    return f"{facts} · {recording.text(others, people=recording.people, number=recording.person)}"


def _first_screen(recording: Recording, pictures: Sequence[tuple[str, Image]]) -> list[Block]:
    """Return the pictures next to the curve of the angle of the headline."""
    figures: list[Plot | docs.Image] = []
    for caption, rgb in pictures:
        data = base64.b64encode(encode_image(rgb, ".jpg")).decode()
        figures.append(docs.Image(f"data:image/jpeg;base64,{data}", caption))
    name = recording.main_angle
    if name is not None:
        joint = errors.joint_of(name)
        bends = recording.bends.get(joint, [])
        lowest = [(bend.deepest, *bend.lowest[bend.deepest]) for bend in bends]
        values = [(time, recording.in_convention(value, angle)) for angle, value, time in lowest]
        points = [(time, value, f"{value:.0f}") for time, value in values] + _uncounted(recording, joint)
        bands = [(bend.begin_s, bend.end_s) for bend in bends]
        figures.append(_curve(recording, joint, _LEAD_SIZE, bands=bands, points=points))
    return [Columns(tuple(figures))] if figures else []


def _uncounted(recording: Recording, joint: str) -> list[tuple[float, float, str]]:
    """Return the time, angle and text of each bent position of a joint that does not count, one for both sides."""
    found: list[tuple[float, float, str]] = []
    positions = [(time, name) for name, time, _ in recording.uncounted if errors.joint_of(name) == joint]
    for time, name in sorted(positions):
        if not found or time - found[-1][0] > _ONE_MOVEMENT_S:
            value = float(recording.shown(name)[recording.times.index(time)])
            found.append((time, value, recording.text("not counted")))
    return found


def _curve(
    recording: Recording,
    joint: str,
    size: tuple[int, int],
    *,
    bands: Sequence[tuple[float, float]] = (),
    points: Sequence[tuple[float, float, str]] = (),
) -> Plot:
    title = recording.text(joint)
    lines = [
        Line(recording.legend(joint, side), recording.times, values.tolist(), colour=SIDE_COLOURS[side])
        for side, values in recording.plots[joint].items()
    ]
    alt = recording.text("{angle} in degrees", angle=title)
    drawn = docs.lines_svg(
        lines,
        recording.text("seconds"),
        alt,
        straight=True,
        gaps=True,
        ends=axis_ends(recording, joint),
        size=size,
        bands=bands,
        points=points,
    )
    return Plot(joint, drawn, title, captioned=True)


def axis_ends(recording: Recording, joint: str) -> tuple[float, float]:
    """Return the ends in degrees of the axis that the joints of one kind share."""
    kind = next(joints for joints in _AXIS_KINDS if joint in joints)
    curves = [values for name, sides in recording.plots.items() if name in kind for values in sides.values()]
    finite_values = np.concatenate([values[np.isfinite(values)] for values in curves])
    low, high = float(finite_values.min()), float(finite_values.max())
    missing = max(_MIN_AXIS_DEG - (high - low), 0.0) / 2
    return (
        _AXIS_STEP_DEG * math.floor((low - missing) / _AXIS_STEP_DEG),
        _AXIS_STEP_DEG * math.ceil((high + missing) / _AXIS_STEP_DEG),
    )


def _curves(recording: Recording) -> list[Block]:
    plots = [_curve(recording, joint, _CURVE_SIZE) for joint in recording.plots]
    blocks: list[Block] = [Columns(tuple(plots[at : at + 2])) for at in range(0, len(plots), 2)]
    if any(joint.startswith("wrist") for joint in recording.plots):
        blocks.append(Note(recording.text("The errors of wrists are not known, so the page has no numbers for them.")))
    return blocks


def _tables(recording: Recording) -> list[Block]:
    """Return the tables of one person: joints that moved, both sides, and the other joints."""
    say = recording.text
    if not recording.ranges:
        return [Text(say(_NOTHING))]
    rest = [name for name in recording.ranges if name not in recording.moved]
    blocks: list[Block] = []
    for title, names in (("Joints that moved or were counted", recording.moved), ("Other joints", rest)):
        if names:
            table = Table(_in_words(recording, HEADINGS), tuple(recording.rows(names)), text_columns=2)
            blocks += [Heading(say(title), 3), table]
    if rows := recording.side_rows:
        table = Table((*_in_words(recording, SIDE_HEADINGS),), tuple(rows))
        blocks += [Heading(say("Ranges of left and right"), 3), table, Note(say(_SIDES))]
    return blocks


def _repetition_blocks(recording: Recording) -> list[Block]:
    if not recording.counted:
        return []
    say = recording.text
    blocks: list[Block] = [Heading(say("Repetitions"), 3)]
    headings, rows = recording.bend_table
    blocks.append(Table(headings, tuple(rows), text_columns=2) if rows else Text(say(_NO_REPETITIONS)))
    if lost := tuple(recording.incomplete):
        blocks += [Text(say("Not counted:")), Table(_in_words(recording, INCOMPLETE_HEADINGS), lost, text_columns=3)]
    return [*blocks, Note(" ".join(recording.counting))]


def _gait_blocks(recording: Recording) -> list[Block]:
    if recording.gait is None:
        return []
    table = Table(_in_words(recording, _GAIT_HEADINGS), tuple(recording.gait.rows(recording.language)))
    note = recording.text("The errors are differences from {origin}.", origin=recording.text(gait.origin()))
    if not recording.gait.compares_feet:
        few = "Fewer than {steps} steps of a foot were found, too few to compare left and right."
        note = f"{recording.text(few, steps=gait.MIN_STEPS)} {note}"
    return [Heading(recording.text("Walking"), 3), table, Note(note)]


def _together(recordings: Sequence[Recording]) -> list[Block]:
    """Return the angle of the first headline in all recordings, and the ranges of each compared with the first."""
    first = recordings[0]
    blocks: list[Block] = [Heading(first.text("Compared"))]
    name = next((recording.main_angle for recording in recordings if recording.main_angle is not None), None)
    if name is not None:
        shown = [recording for recording in recordings if np.isfinite(recording.angles[name]).any()]
        lines = [
            Line(
                subject_of(recording), _from_first_bend(recording, name), recording.shown(name).tolist(), colour=colour
            )
            for colour, recording in enumerate(shown, _FIRST_COLOUR)
        ]
        alt = first.text("{angle} in degrees", angle=first.name_of(name))
        title = first.text("seconds from the first repetition")
        drawn = docs.lines_svg(lines, title, alt, straight=True, gaps=True, ends=_joint_ends(shown, name))
        blocks += [Heading(first.name_of(name), 3), Plot("compared", drawn, alt)]
    for other in recordings[1:]:
        rows = rows_against(Earlier(subject_of(first), first.model, first.spans), other)
        if rows:
            heading = first.text("{first} and {second}", first=subject_of(first), second=subject_of(other))
            blocks += [Heading(heading, 3), Table(_in_words(first, CHANGE_HEADINGS), tuple(rows))]
    return blocks


def _from_first_bend(recording: Recording, name: str) -> list[float]:
    """Return the times in seconds from the first repetition, or from the first frame where there is none."""
    bends = recording.bends.get(errors.joint_of(name), [])
    begin = bends[0].begin_s if bends else recording.times[0]
    return [time - begin for time in recording.times]


def _joint_ends(recordings: Sequence[Recording], name: str) -> tuple[float, float]:
    ends = [axis_ends(recording, errors.joint_of(name)) for recording in recordings]
    return min(low for low, _ in ends), max(high for _, high in ends)


def _change_blocks(recording: Recording, labels: Labels, earlier: Earlier | None) -> list[Block]:
    if earlier is None:
        return []
    before = recording.text("Before: {title}, model {model}.", title=earlier.title, model=earlier.model)
    if earlier.title == title_of(recording, labels):
        before = f"{before} {recording.text('Both pages have the same title and may describe the same recording.')}"
    table = Table(_in_words(recording, CHANGE_HEADINGS), tuple(rows_against(earlier, recording)))
    return [Heading(recording.text("Before and now")), Text(before), table]


def _decisions(recording: Recording) -> list[Block]:
    """Return the table of what a page can decide, with the errors of the joint of the headline."""
    name = recording.main_angle
    if name is None:
        return []
    say, joint = recording.text, errors.joint_of(name)
    values = {"joint": say(joint), "model": recording.model}
    span, difference = (
        errors.range_error_deg(recording.model, joint),
        errors.difference_error_deg(joint, recording.model),
    )
    answers = (
        ("How often, when, in which order?", "yes", {}),
        ("How far did the {joint} move here?", "within ± {error}° in 95 % of recordings", {"error": whole(span)}),
        (
            "What was the angle of the {joint} at a moment?",
            "within ± {error}° in 95 % of moments",
            {"error": whole(recording.errors_deg[name])},
        ),
        (
            "Do left and right differ? Did a range change?",
            "if the {joint} differs by more than {error}°",
            {"error": whole(difference)},
        ),
        (
            "Where is the limit of the joint? Is it normal?",
            "no: from and to can both be wrong in the same direction",
            {},
        ),
        ("What is the cause? Which treatment?", "no", {}),
    )
    rows = tuple((say(question, **values), say(answer, **values, **numbers)) for question, answer, numbers in answers)
    table = Table((say("question"), say("this page")), rows, text_columns=2)
    return [Heading(say("What this page can decide")), table]


def _method(recording: Recording) -> list[Block]:
    """Return how the angles were measured, and what they mean."""
    if not recording.ranges:
        return []
    say = recording.text
    origin = say(
        "All errors were measured in recordings with known angles (people: {people}, rendered figures: {figures}, "
        "movements: {movements}, recordings: {recordings}, images: {frames}). Other people and movements may have "
        "other errors.",
        **errors.origin(recording.model),
    )
    return [
        Heading(say("How it was measured")),
        Columns(conventions.convention_plots(recording.convention, recording.language)),
        Text(f"{say(conventions.WORDS[recording.convention])} {say(conventions.SIGNS)}"),
        BulletList((*map(say, _COLUMNS), say(_METHOD), origin, *_mirrored(recording))),
    ]


def method_of(recording: Recording) -> list[str]:
    """Return sentences about the angles of repetitions: what counts as one, their meaning, error and limits."""
    meaning = conventions.WORDS[recording.convention]
    return [*recording.counting, *map(recording.text, (meaning, _COLUMNS[-1], _METHOD, _WARNING))]


def _mirrored(recording: Recording) -> list[str]:
    """Return the sentence that names the joints whose ranges depend on mirroring, if there are any."""
    differences = errors.mirrored_differences_deg(recording.model)
    joints = ", ".join(f"{recording.text(joint)} {whole(value)}°" for joint, value in differences.items())
    values = {"model": recording.model, "limit": whole(errors.MIRRORED_LIMIT_DEG), "joints": joints}
    return [recording.text(_MIRRORED, **values)] if differences else []


def _in_words(recording: Recording, headings: Iterable[str]) -> tuple[str, ...]:
    """Return headings in the language of the page."""
    return tuple(map(recording.text, headings))
