"""Texts that the HTML page and the PDF of a report share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sonjit.report import errors, gait
from sonjit.report.recording import Recording
from sonjit.report.texts import Language, translated

MARK: Final = "sonjit-anonymise"  # name in the head of a page whose pictures hide people
SIDE_COLOURS: Final = {"left": 1, "right": 0, "": 2}
"""Index of the colour of each side in `COLOURS`, warm for the person's left as in drawings."""
_WARNING: Final = (
    "The angles are estimates from one camera, not a medical measurement. Do not choose a treatment by this page only."
)
_MIRRORED: Final = (
    "The ranges of the model {model} differed by up to {size}° between recordings of one person and their mirror "
    "images. Those of full and heavy differed less."
)
GAIT_HEADINGS = ("walking", "value", "error")
CHANGE_HEADINGS = ("range of", "before °", "now °", "change °", "95 % error °", "in words")
COLUMNS = (
    "seen: share of the images of the person in which the joint was placed. A placed joint can still be wrong.",
    "from and to: the smallest and the largest angle, without the 2 % smallest and the 2 % largest ones. Both can be "
    "wrong in the same direction, so read no limit of the joint from them.",
    "range: the difference of from and to. It is the movement in this recording, not what the joint can do.",
    "range with error: in 95 % of the recordings with known angles, the true range was between two such numbers. They "
    "are the range minus and plus its 95 % error, and at least 0. If the lower number is 0, no movement is proved.",
    "angle error: the mean error of an angle at one moment. – means that the error is not known.",
)
"""What the columns of the table of ranges mean."""
NOTHING: Final = "No angle was seen. An angle needs the three joints of its two bones in the image."
ONE_SIDED: Final = "No joint was seen on both sides."
NO_REPETITIONS: Final = "None of the counted angles repeats."
METHOD = (
    "Single wrong angles and trembling of the keypoints are filtered out, and gaps up to 0.2 s are filled by "
    "interpolation. Where a joint was not seen for longer, the curves have a gap. ± next to a curve is the mean error "
    "of the angle, which is smaller than the 95 % error of a range."
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


def title_of(recording: Recording, labels: Labels) -> str:
    title = labels.title or recording.name
    return recording.text("Joint angles: {title}", title=title) if title else recording.text("Joint angles")


def facts_of(recording: Recording) -> str:
    times = recording.times
    facts = recording.text(
        "The person is in {seen} of {images} images of the video, from {begin} to {end} s. Sonjit measured the angles "
        "with the model named {model}.",
        seen=recording.frames_seen,
        images=len(times),
        begin=f"{times[0]:.2f}",
        end=f"{times[-1]:.2f}",
        model=recording.model,
    )
    if recording.people == 1:
        return facts
    others = (
        "Sonjit numbered {people} people. A person who was out of sight may have a second number. "
        "The angles and curves are only those of the person with the skeleton in the pictures, who has number "
        "{number}. They may be wrong where people cover each other."
    )
    return f"{facts} {recording.text(others, people=recording.people, number=recording.person)}"


def origin_of(recording: Recording) -> str:
    return recording.text(
        "All errors were measured in recordings with known angles (people: {people}, rendered figures: {figures}, "
        "movements: {movements}, recordings: {recordings}, images: {frames}). Other people and movements may have "
        "other errors. The angle error is a mean, so a single error may be much larger.",
        **errors.origin(recording.model),
    )


def warnings_of(recording: Recording) -> str:
    """Return the warning of a page, with the one of a model whose ranges depend on mirroring."""
    largest = errors.mirrored_difference_deg(recording.model)
    if not largest > errors.MIRRORED_LIMIT_DEG:
        return recording.text(_WARNING)
    return f"{recording.text(_WARNING)} {recording.text(_MIRRORED, model=recording.model, size=f'{largest:.0f}')}"


def gait_note(recording: Recording) -> str:
    note = recording.text("The errors are differences from {origin}.", origin=recording.text(gait.origin()))
    if recording.gait is not None and not recording.gait.compares_feet:
        few = "Fewer than {steps} steps of a foot were found, too few to compare left and right."
        return f"{recording.text(few, steps=gait.MIN_STEPS)} {note}"
    return note


def in_words(recording: Recording, headings: Sequence[str]) -> tuple[str, ...]:
    """Return headings in the language of the page."""
    return tuple(map(recording.text, headings))
