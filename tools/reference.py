"""Write the reference of commands and table columns, generated from the commands and from the writers of tables.

python tools/reference.py           # write the pages
python tools/reference.py --check   # check that the pages are up to date
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sonjit.cli import build_app
from sonjit.detectors.kinds import KINDS
from sonjit.media.tables.rows import BOX_COLUMNS, COLUMNS, ERROR_COLUMN, INSTANCE_COLUMNS, SOURCE_COLUMN
from sonjit.results.measures import MEASURE_NAMES, TRANSFORM_COLUMNS
from sonjit.results.skeletons.faces import BLENDSHAPES
from sonjit.runs.annotations import table_columns
from sonjit.runs.frame_tables import EVENT_COLUMNS, MOTION_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cyclopts import App

PROJECT = Path(__file__).parents[1]
PAGES = [PROJECT / "docs" / name for name in ("cli.md", "columns.md")]
MIN_SHARED = 2
"""Number of commands with the same option from which the option is described once."""

_SECTION = re.compile(r"(<!-- made: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_OPTION = re.compile(r"^\* `([^`]*)`:? ?(.*?)(?=^\* `|^\*\*|\Z)", re.MULTILINE | re.DOTALL)
_BRACKETS = re.compile(r"\s*\*{1,2}\[(.*?)\]\*{1,2}")

_MEANINGS = {
    "frame": ("", "Index of the frame from 0"),
    "time": (
        "s",
        "Time from the first frame; empty for photographs. Players add `start_s` of the header",
    ),
    "instance": ("", "Index of the instance in its frame"),
    "key": ("", "Track ID; in photographs the same as `instance`"),
    "id": ("", "Track ID; empty for photographs"),
    "kind": ("", "`hand`, `face` or `body`"),
    "handedness": (
        "",
        "`Left` or `Right`: the more probable side of the person; only hands. JSON contains the probability",
    ),
    "score": ("0 to 1", "Probability that the instance is right"),
    "keypoint": ("", "Index of the keypoint in its skeleton"),
    "name": ("", "Name of the keypoint; empty for most points of a face mesh"),
    "x": ("px", "Position to the right from the left edge of the image"),
    "y": ("px", "Position downwards from the upper edge of the image"),
    "z": ("px", "Depth that only orders the keypoints, except for refined hands; smaller is nearer"),
    "x_m": ("m", "Position to the right, from the middle of the hand or of the hips"),
    "y_m": ("m", "Position downwards, from the same origin"),
    "z_m": ("m", "Position away from the camera, from the same origin"),
    "visibility": ("0 to 1", "Probability that the keypoint is visible; bodies, and hands with `--visibility`"),
    "error_px": ("px", "Expected distance of x and y from the right position; hands with `--keypoints refined`"),
    "x_min": ("px", "Left edge of the box"),
    "y_min": ("px", "Upper edge of the box"),
    "x_max": ("px", "Right edge of the box"),
    "y_max": ("px", "Lower edge of the box"),
    "source": ("", "File of the image or recording"),
    "gesture": ("", "Gesture of the hand; empty if there is none"),
    "gesture_score": ("0 to 1", "Probability of the gesture"),
    "distance_m": ("m", "Distance from the lens to the middle of the hand"),
    "distance_error_m": ("m", "Standard deviation of the distance"),
    "repetitions": ("", "Number of finished repetitions of the instance so far"),
    "phase": ("", "`begin`, `progress`, `end` or `cancel`"),
    "strength": ("0 to 1", "Speed, size or closure of the motion; the score of a custom motion"),
    "moved_x": ("hand lengths", "Movement to the right since the begin of the motion"),
    "moved_y": ("hand lengths", "Movement downwards since the begin of the motion"),
    "count": ("", "Turns of a circle or rotation, swings of a wave, or scale of a zoom or push; otherwise 0"),
    "type": ("", "`gesture`, `motion`, `measure` or `repetition`"),
    "begin": ("s", "Time of the begin"),
    "end": ("s", "Time of the end"),
    "duration_s": ("s", "Time from begin to end"),
    "value": (
        "that of the measure",
        "Extreme of a measure, lowest angle, or highest score or strength",
    ),
}
"""Unit and meaning of each column that is not a measure."""

_PATTERNS = {
    r"\w+_curl_rad": "Sum of the bends of the finger; 0 is straight",
    r"\w+_curl": "Bend of the finger as a share of a fist",
    r"\w+_reach": "Distance from wrist to fingertip divided by the length of the bones; 1 is stretched out",
    r"\w+_spread_rad": "Angle between two fingers in the plane of the palm",
    r"pinch_\w+_m": "Distance from the tip of the thumb to the tip of the finger",
    r"palm_normal_[xyz]": "Direction out of the palm, as a unit vector; x right, y down, z away from the camera",
    r"palm_facing": "1 for a palm towards the camera, -1 for the back of the hand",
    r"hand_length_m": "Length of the bones from the wrist to the tip of the middle finger",
    r"palm_width_m": "Distance between the knuckles of the index finger and the little finger",
    r"\w+_angle_2d_rad": "Angle at the joint in the image plane; a straight joint has pi",
    r"\w+_angle_rad": "Angle at the joint in space; a straight joint has pi, a lowered arm 0 at the shoulder",
    r"torso_lean_rad": "Angle between the torso and the up direction of the image",
    r"torso_side_lean_rad": "Angle of the torso in the image plane; positive to the right of the image",
    r"head_yaw_rad": "Turn of the head; positive to the right of the image",
    r"head_pitch_rad": "Nod of the head; positive upwards",
    r"head_roll_rad": "Tilt of the head; positive clockwise in the image",
    r"\w+_openness": "Distance of the lids or lips divided by the width of the eye or mouth; 0 is closed",
    r"\w+_m": "Length of the limb, width or torso",
}
"""Meaning of the measures; the first pattern that matches a name counts."""

_UNITS = {
    "_rad": "rad",
    "_m": "m",
    "_curl": "0 to 1",
    "_facing": "-1 to 1",
    **dict.fromkeys(("_x", "_y", "_z"), "-1 to 1"),
}


class CommandOption(NamedTuple):
    """An option or argument in the help of a command.

    Attributes:
        label: Names and type.
        help: Description, with choices and default.
    """

    label: str
    help: str

    @property
    def is_option(self) -> bool:
        """Return whether the entry is an option and not an argument."""
        return self.label.startswith("-")

    @property
    def name(self) -> str:
        """Return the name without the type."""
        return self.label.partition(" ")[0].rstrip(",")


def commands(app: App, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str, list[CommandOption]]]:
    """Yield name, description and options of each command."""
    for name in app:
        if name.startswith("-"):
            continue
        command = app[name]
        where = (*path, name)
        if command.default_command is None:
            yield from commands(command, where)
            continue
        text = command.generate_docs(heading_level=1)
        intro, _, _ = text.partition("\n**")
        description = intro.rpartition("```\n")[2].strip().replace(" && ", "`, then `")
        yield " ".join(where), description, [_option(*found) for found in _OPTION.findall(text)]


def cli() -> str:
    """Return a section per command, and the options that several commands share."""
    found = list(commands(build_app()))
    used: dict[CommandOption, int] = defaultdict(int)
    for _, _, options in found:
        for option in options:
            used[option] += option.is_option
    shared = sorted(option for option, count in used.items() if count >= MIN_SHARED)
    lines: list[str] = []
    for name, description, options in found:
        lines += [f"## sonjit {name}", "", description, ""]
        own = [option for option in options if option not in shared]
        lines += [f"* `{option.label}`: {option.help}" for option in own]
        names = ", ".join(f"`{option.name}`" for option in options if option in shared)
        lines += [f"* [Shared options](#shared-options): {names}"] if names else []
        lines += [""] if options else []
    lines += ["## Shared options", "", *(f"* `{option.label}`: {option.help}" for option in shared)]
    return "\n".join(lines) + "\n"


def keypoint_rows() -> str:
    """Return the columns of tables with a row per keypoint."""
    return _columns((*COLUMNS, ERROR_COLUMN, SOURCE_COLUMN))


def instance_rows() -> str:
    """Return the columns that tables with a row per instance have instead of those of keypoints."""
    return _columns(name for name in INSTANCE_COLUMNS if name not in COLUMNS)


def added() -> str:
    """Return the columns that options add, except for measures and blendshapes."""
    names = {name for kind in KINDS for name in _added(kind)}
    known = {
        *BOX_COLUMNS,
        *BLENDSHAPES,
        *TRANSFORM_COLUMNS,
        *(name for names in MEASURE_NAMES.values() for name in names),
    }
    return _columns(sorted(names - known))


def measures() -> str:
    """Return the columns of `--measures`, with columns of the same meaning in one row."""
    rows: list[str] = []
    for kind, names in MEASURE_NAMES.items():
        grouped: dict[str, list[str]] = defaultdict(list)
        for name in names:
            pattern = next(pattern for pattern in _PATTERNS if re.fullmatch(pattern, name))
            grouped[pattern].append(name)
        for pattern, same in grouped.items():
            unit = next((unit for ending, unit in _UNITS.items() if same[0].endswith(ending)), "ratio")
            rows.append(f"| {kind} | {', '.join(f'`{name}`' for name in same)} | {unit} | {_PATTERNS[pattern]} |")
    return "\n".join(["| Kind | Columns | Unit | Meaning |", "| --- | --- | --- | --- |", *rows]) + "\n"


def faces() -> str:
    """Return the names of blendshapes and of the entries of a transform."""
    return f"{', '.join(f'`{name}`' for name in (*BLENDSHAPES, *TRANSFORM_COLUMNS))}\n"


def motions() -> str:
    """Return the columns of tables of motions."""
    return _columns(MOTION_COLUMNS, {"name": ("", "Name of the motion"), "time": ("s", "Time of the event")})


def events() -> str:
    """Return the columns of tables of events."""
    changed = {
        "frame": ("", "Index of the frame in which the event ended"),
        "name": ("", "Name of the gesture, motion or measure"),
        "id": ("", "Track ID of the instance"),
        "phase": ("", "`end`, or `cancel` if the instance was lost"),
    }
    return _columns(EVENT_COLUMNS, changed)


SECTIONS: dict[str, Callable[[], str]] = {
    "cli": cli,
    "keypoint_rows": keypoint_rows,
    "instance_rows": instance_rows,
    "added": added,
    "measures": measures,
    "faces": faces,
    "motions": motions,
    "events": events,
}


def page(text: str) -> str:
    """Return the text of a page with its marked sections generated."""
    return _SECTION.sub(lambda found: found[1] + SECTIONS[found[2]]() + found[3], text)


def _option(label: str, text: str) -> CommandOption:
    """Return an entry of the help. An argument is named once, and empty defaults are left out."""
    text = " ".join(text.split())
    details = _BRACKETS.findall(text)
    text = _BRACKETS.sub("", text)
    names = label.split(", ")
    if not names[0].startswith("-"):
        label = names[0]
    for detail in details:
        if detail in ("default: False", "default: ()", "default: ", 'default: ""'):
            continue
        text += f" {detail[0].upper()}{detail[1:]}."
    return CommandOption(label, text.strip())


def _added(kind: str) -> set[str]:
    """Return the columns that the options of a command add to its tables."""
    model = f"{kind}-{next(iter(KINDS[kind].models))}"
    of_kind = {"face": {"blendshapes": True, "transform": True}, "hands": {"distance": True}}
    return {*table_columns(model, measures=True, gestures=True, counts=True, **of_kind.get(kind, {}))}


def _columns(names: Iterable[str], changed: dict[str, tuple[str, str]] | None = None) -> str:
    meanings = _MEANINGS | (changed or {})
    rows = [f"| `{name}` | {meanings[name][0]} | {meanings[name][1]} |" for name in names]
    return "\n".join(["| Column | Unit | Meaning |", "| --- | --- | --- |", *rows]) + "\n"


def main(arguments: list[str]) -> int:
    """Write the pages or, with --check, compare them. Return 1 if one differs."""
    stale = {path: new for path in PAGES if (new := page(text := path.read_text("utf-8"))) != text}
    for path, text in stale.items():
        if "--check" in arguments:
            sys.stderr.write(f"{path.name} is out of date. Run: make docs\n")
        else:
            path.write_text(text, "utf-8")
    return int(bool(stale)) if "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
