"""`sonjit gestures`: teach gestures by example."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from sonjit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sonjit.gestures import GestureRecording

app = App(
    name="gestures",
    help="""Teach gestures by example: record each, train, test.

    Example: `sonjit gestures record claw camera:0 --to mine && sonjit gestures train mine --out mine.npz`
    """,
)

_APART_S = 0.1
"""Between two hands of a video that are kept: neighbours in time are alike."""


@app.command
def record(
    name: str,
    source: str,
    *,
    to: Annotated[Path, Parameter(name="--to")],
    samples: Annotated[int, Parameter(name="--samples")] = 20,
) -> None:
    """Keep the hands of a video, a camera or a folder of images as examples of one gesture.

    Record a gesture twice or more, at different times or by several people: `sonjit gestures test` tells what one
    recording teaches about another.

    Example: `sonjit gestures record claw claw.mp4 --to mine`

    Args:
        name: Of the gesture.
        source: An image, a folder, a glob, a video or camera:0, in which all hands make it.
        to: The folder of the recordings, made where it is missing.
        samples: How many hands to keep.
    """
    from sonjit import track
    from sonjit.gestures import GestureRecording
    from sonjit.results import Hand

    if not name or not all(one.isalnum() or one in "_- " for one in name):
        raise InputError(f"{name!r}: name a gesture by letters, digits, spaces, - and _")
    if samples < 1:
        raise InputError(f"--samples {samples}: at least 1")
    hands: list[Hand] = []
    last_s = -math.inf
    for frame in track(source, "hands"):
        time_s = math.inf if frame.time is None else frame.time
        tracked = any(hand.id is not None for hand in frame.hands)
        if not frame.hands or (tracked and time_s - last_s < _APART_S):
            continue
        last_s = time_s
        hands += frame.hands
        if len(hands) >= samples:
            break
    recording = GestureRecording.of(name, hands[:samples])
    to.mkdir(parents=True, exist_ok=True)
    number = 1
    while (to / f"{name}-{number}.npz").exists():
        number += 1
    recording.save(to / f"{name}-{number}.npz")
    sys.stdout.write(f"{len(recording.points)} hands of {name} in {to / f'{name}-{number}.npz'}\n")


@app.command
def train(recordings: Path, *, out: Annotated[Path, Parameter(name="--out")]) -> None:
    """Learn the gestures of a folder of recordings; takes less than a second.

    Example: `sonjit gestures train mine --out mine.npz`

    Args:
        recordings: The folder.
        out: The file to write, of a few kB.
    """
    from sonjit.gestures import CustomGestures

    taught = CustomGestures.learn(_load(recordings))
    taught.save(out)
    sys.stdout.write(f"{', '.join(taught.names)} in {out}\n")


@app.command
def test(recordings: Path) -> None:
    """Tell each recording by what the others teach, and show what is told as what.

    Example: `sonjit gestures test mine`

    Args:
        recordings: The folder; each gesture needs two recordings.
    """
    from rich.console import Console
    from rich.table import Table

    from sonjit.gestures.custom import confusion

    names, counts = confusion(_load(recordings))
    table = Table("is, told as", *names, "nothing", box=None, header_style="bold", pad_edge=False)
    for name, row in zip(names, counts.tolist(), strict=True):
        table.add_row(name, *map(str, row))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    right = int(counts.trace())
    sys.stdout.write(f"right: {right} of {counts.sum()} ({right / counts.sum():.1%})\n")


@app.command(name="list")
def list_gestures(source: Path | None = None) -> None:
    """Show the gestures that Sonjit knows, or those of a folder of recordings or a trained file.

    Example: `sonjit gestures list mine`

    Args:
        source: The folder or file; without one the gestures that come with Sonjit.
    """
    from sonjit.gestures import GESTURES, CustomGestures

    if source is None:
        lines = list(GESTURES)
    elif source.is_dir():
        recordings = _load(source)
        names = dict.fromkeys(one.name for one in recordings)
        own = {name: [len(one.points) for one in recordings if one.name == name] for name in names}
        lines = [f"{name}: {sum(counts)} hands in {len(counts)} recordings" for name, counts in own.items()]
    else:
        lines = list(CustomGestures.load(source).names)
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def _load(folder: Path) -> Sequence[GestureRecording]:
    from sonjit.gestures import GestureRecording

    files = sorted(folder.glob("*.npz"))
    if not files:
        raise InputError(f"{folder}: no recordings; sonjit gestures record NAME INPUT --to {folder} makes one")
    return [GestureRecording.load(file) for file in files]
