"""`sonjit gestures`: teach gestures by example."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from sonjit.errors import InputError
from sonjit.runs.processor import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sonjit.arrays import IntArray
    from sonjit.gestures import GestureRecording, MotionRecording
    from sonjit.results import Frame, Hand

app = App(
    name="gestures",
    help="""Teach gestures by example: record each, train, test.

    Example: `sonjit gestures record claw camera:0 --to mine && sonjit gestures train mine --out mine.npz`
    """,
)

_HANDS, _MOTIONS = 20, 10
"""Examples of a recording."""

_PART = 5
"""Hands in a recording of a data set."""

_APART_S = 0.1
"""Between two hands of a video that are kept: neighbours in time are alike."""


@app.command
def record(
    name: str,
    source: str,
    *,
    to: Annotated[Path, Parameter(name="--to")],
    samples: Annotated[int | None, Parameter(name="--samples")] = None,
    moving: Annotated[bool, Parameter(name="--moving", negative="")] = False,
) -> None:
    """Keep the hands of a video, a camera or a folder of images as examples of one gesture.

    A gesture that moves is told by its way: make it several times in the video and rest for a moment after each.

    Record a gesture twice or more, at different times or by several people: `sonjit gestures test` tells what one
    recording teaches about another.

    Example: `sonjit gestures record claw claw.mp4 --to mine`

    Args:
        name: Of the gesture.
        source: An image, a folder, a glob, a video or camera:0, in which all hands make it.
        to: The folder of the recordings, made where it is missing.
        samples: How many hands to keep, of a camera how many motions; by default 20 hands, or 10 motions.
        moving: The gesture is a motion.
    """
    from sonjit import track
    from sonjit.gestures import GestureRecording, MotionRecording
    from sonjit.gestures.learned import checked_name

    checked_name(name)
    if samples is None:
        samples = _MOTIONS if moving else _HANDS
    if samples < 1:
        raise InputError(f"--samples {samples}: at least 1")
    inside = [*Path(source).iterdir()] if Path(source).is_dir() else []
    if inside and all(one.is_dir() for one in inside):
        raise InputError(f"{source} holds folders alone: sonjit gestures record-folders takes one for each gesture")
    frames = track(source, "hands")
    if moving:
        recording = MotionRecording.of(name, frames, samples)
    else:
        recording = GestureRecording.of(name, _hands(frames, samples))
    sys.stdout.write(f"{_count([recording])} of {name} in {_keep(recording, to)}\n")


@app.command
def record_folders(
    source: Path,
    *,
    to: Annotated[Path, Parameter(name="--to")],
    samples: Annotated[int, Parameter(name="--samples")] = _HANDS,
) -> None:
    """Keep the hands of a data set that has a folder of images for each gesture, named as the gesture.

    Each recording holds five hands, so that `sonjit gestures test` can tell some by the others.

    Example: `sonjit gestures record-folders dataset --to mine`

    Args:
        source: The folder of the folders; all hands of an image make its gesture.
        to: The folder of the recordings, made where it is missing.
        samples: How many hands of each gesture to keep.
    """
    from sonjit import track
    from sonjit.gestures import GestureRecording
    from sonjit.gestures.learned import checked_name

    if samples < 1:
        raise InputError(f"--samples {samples}: at least 1")
    folders = sorted(one for one in source.iterdir() if one.is_dir()) if source.is_dir() else []
    if not folders:
        raise InputError(f"{source}: give a folder that has a folder of images for each gesture")
    names = [checked_name(folder.name) for folder in folders]
    for name, folder in zip(names, folders, strict=True):
        hands = _hands(track(folder, "hands"), samples)
        if not hands:
            sys.stderr.write(f"sonjit: {folder}: no hand is seen; left out\n")
            continue
        parts = [GestureRecording.of(name, hands[first : first + _PART]) for first in range(0, len(hands), _PART)]
        for part in parts:
            _keep(part, to)
        sys.stdout.write(f"{_count(parts)} of {name} in {counted(len(parts), 'recording', 'recordings')}\n")


def _keep(recording: GestureRecording | MotionRecording, to: Path) -> Path:
    """Save a recording beside the others of a folder."""
    to.mkdir(parents=True, exist_ok=True)
    number = 1
    while (path := to / f"{recording.name}-{number}.npz").exists():
        number += 1
    recording.save(path)
    return path


def _hands(frames: Iterable[Frame], samples: int) -> list[Hand]:
    """Some hands, not of neighbouring frames."""
    hands: list[Hand] = []
    last_s = -math.inf
    for frame in frames:
        time_s = math.inf if frame.time is None else frame.time
        tracked = any(hand.id is not None for hand in frame.hands)
        if not frame.hands or (tracked and time_s - last_s < _APART_S):
            continue
        last_s = time_s
        hands += frame.hands
        if len(hands) >= samples:
            break
    return hands[:samples]


@app.command
def train(recordings: Path, *, out: Annotated[Path, Parameter(name="--out")]) -> None:
    """Learn the gestures of a folder of recordings; takes less than a second.

    Example: `sonjit gestures train mine --out mine.npz`

    Args:
        recordings: The folder.
        out: The file to write, of a few kB.
    """
    from sonjit.gestures import GestureRecording, LearnedGestures

    examples = _load(recordings)
    learned = LearnedGestures.learn(examples)
    learned.save(out)
    for name, own in _by_name(examples).items():
        wanted = _HANDS if isinstance(own[0], GestureRecording) else _MOTIONS
        if 2 * sum(map(len, own)) < wanted:
            sys.stderr.write(f"sonjit: {name}: {_count(own)} may not be enough to tell it; record {wanted}\n")
    sys.stdout.write(f"{', '.join(learned.names)} in {out}\n")


@app.command
def test(recordings: Path) -> None:
    """Tell each recording by what the others teach, and show what is told as what.

    Example: `sonjit gestures test mine`

    Args:
        recordings: The folder; each gesture needs two recordings.
    """
    from sonjit.gestures.learned import confusions

    for names, counts in confusions(_load(recordings)):
        _write_confusion(names, counts)


def _write_confusion(names: Sequence[str], counts: IntArray) -> None:
    from rich.console import Console
    from rich.table import Table

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
    from sonjit.gestures import GESTURES, LearnedGestures

    if source is None:
        lines = list(GESTURES)
    elif source.is_dir():
        lines = [
            f"{name}: {_count(own)} in {counted(len(own), 'recording', 'recordings')}"
            for name, own in _by_name(_load(source)).items()
        ]
    else:
        lines = list(LearnedGestures.load(source).names)
    sys.stdout.write("".join(f"{line}\n" for line in lines))


@app.command
def export(
    source: str,
    *,
    out: Annotated[Path, Parameter(name="--out")],
    gestures: Annotated[Path | None, Parameter(name="--gestures")] = None,
) -> None:
    """Write from when to when each hand makes which gesture: .csv, or .eaf for ELAN; or all keypoints as .pose.

    Example: `sonjit gestures export clip.mp4 --out clip.eaf`

    Args:
        source: A video; or what sonjit hands or holistic wrote of one with --save, as .json, .jsonl or .parquet.
        out: The file to write; its ending says which.
        gestures: Learned gestures (sonjit gestures train, sonjit train spelling) in place of the shipped ones.
    """
    from sonjit.gestures import LearnedGestures, segments_of
    from sonjit.gestures.exports import save_pose, save_segments_csv, save_segments_eaf

    ending = out.suffix.lower()
    if ending not in (".csv", ".eaf", ".pose"):
        raise InputError(f"{out}: unknown ending {ending!r}; known: .csv, .eaf, .pose")
    if ending == ".pose" and gestures is not None:
        raise InputError("--gestures says nothing about .pose, which holds keypoints; leave one of them out")
    learned = None if gestures is None else LearnedGestures.load(gestures)
    name, size, frames = _frames(source)
    if ending == ".pose":
        save_pose(out, frames, size)
        sys.stdout.write(f"{len(frames)} frames in {out}\n")
        return
    segments = segments_of(frames, learned)
    if ending == ".csv":
        save_segments_csv(out, segments)
    else:
        save_segments_eaf(out, segments, name)
    sys.stdout.write(f"{len(segments)} segments in {out}\n")


def _frames(source: str) -> tuple[str, tuple[int, int], list[Frame]]:
    """The name, the size in pixels and the frames of a video, or of a table of one."""
    from sonjit import track
    from sonjit.media import load_frames

    if Path(source).suffix.lower() in (".json", ".jsonl", ".parquet"):
        header, frames = load_frames(source)
        if header.width is None or header.height is None:
            raise InputError(f"{source}: is of no video")
        return header.source or source, (header.width, header.height), frames
    size: tuple[int, int] = 0, 0
    frames: list[Frame] = []
    for frame in track(source, "hands"):
        size = frame.image.shape[1], frame.image.shape[0]
        frames.append(frame)
    return source, size, frames


def _load(folder: Path) -> Sequence[GestureRecording | MotionRecording]:
    from sonjit.gestures.learned import load_recording

    files = sorted(folder.glob("*.npz"))
    if not files:
        raise InputError(f"{folder}: no recordings; sonjit gestures record NAME INPUT --to {folder} makes one")
    return [load_recording(file) for file in files]


def _by_name(
    recordings: Sequence[GestureRecording | MotionRecording],
) -> dict[str, list[GestureRecording | MotionRecording]]:
    """The recordings of each gesture."""
    found: dict[str, list[GestureRecording | MotionRecording]] = {}
    for one in recordings:
        found.setdefault(one.name, []).append(one)
    return found


def _count(recordings: Sequence[GestureRecording | MotionRecording]) -> str:
    """How many hands, or motions, the recordings of one gesture hold."""
    from sonjit.gestures import GestureRecording

    one = "hand" if isinstance(recordings[0], GestureRecording) else "motion"
    return counted(sum(map(len, recordings)), one, f"{one}s")
