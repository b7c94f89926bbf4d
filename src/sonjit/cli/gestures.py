"""`sonjit gestures` and `sonjit motions`: custom gestures, and the motions of hands in a video."""

import math
import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from sonjit import open_source, track
from sonjit._util import InputError, json_from, pluralize
from sonjit._util.files import UNFINISHED, check_local
from sonjit.cli.options import ROWS, TO_FILE, TO_FOLDER, Count, FileName
from sonjit.cli.progress import print_table
from sonjit.gestures import GESTURES, GestureRecording, LearnedGestures, MotionRecognizer, MotionRecording, segments_of
from sonjit.gestures.custom import checked_name, chosen_gestures, confusions, load_recording
from sonjit.gestures.exports import save_segments_csv
from sonjit.media import Header, open_writer
from sonjit.media.tables import endings_of, find_format, load_video_table
from sonjit.results import Frame, Hand, MotionEvent
from sonjit.runs.frame_tables import motion_record, open_motion_table

app = App(
    name="gestures",
    help="""Record, train and test custom gestures.

    Example: `sonjit gestures record claw camera:0 --to mine && sonjit gestures train mine --out mine.npz`
    """,
)

_EVENTS = f"Table of the events instead of lines: {ROWS}."
_HAND_COUNT = 20  # default number of hands in a recording
_MOTION_COUNT = 10  # default number of motions in a recording
_DATASET_HAND_COUNT = 5  # number of hands in a recording of a data set
_MIN_INTERVAL_S = 0.1  # minimum time between two recorded hands of a video, because neighbouring frames look alike


@app.command
def record(
    name: str,
    source: Annotated[list[str], Parameter(negative="")],
    *,
    to: Annotated[Path, TO_FOLDER],
    samples: Count = None,
    moving: Annotated[bool, Parameter(name="--moving", negative="")] = False,
) -> None:
    """Record examples of one gesture from a video, a camera or images.

    A motion is classified by its path: repeat it several times in the video, with a short pause after each.

    Record each gesture at least twice, at different times or by several people. `sonjit gestures test` then measures
    how well one recording generalises to another.

    Example: `sonjit gestures record claw claw.mp4 --to mine`

    Args:
        name: Name of the gesture.
        source: Images, a folder, a glob, a video or camera:0 in which all hands make the gesture.
        to: Folder of the recordings. Created if it does not exist.
        samples: Number of hands, or of motions, to record. Default: 20 hands or 10 motions.
        moving: Record a motion.
    """
    checked_name(name)
    if samples is None:
        samples = _MOTION_COUNT if moving else _HAND_COUNT
    inside = [*Path(source[0]).iterdir()] if Path(source[0]).is_dir() else []
    if inside and all(path.is_dir() for path in inside):
        raise InputError(f"{source[0]} contains only folders. Use sonjit gestures record-folders")
    frames = track(source[0] if len(source) == 1 else source, "hands")
    if moving:
        recording = MotionRecording.of(name, frames, samples)
    else:
        recording = GestureRecording.of(name, _hands(frames, samples))
    sys.stdout.write(f"{_count([recording])} of {name} in {_save(recording, to)}\n")


@app.command
def record_folders(source: Path, *, to: Annotated[Path, TO_FOLDER], samples: Count = _HAND_COUNT) -> None:
    """Record a data set with a folder of images per gesture.

    The folders have the names of the gestures. Each recording contains five hands, so that `sonjit gestures test` can
    compare recordings.

    Example: `sonjit gestures record-folders dataset --to mine`

    Args:
        source: Folder with a folder of images per gesture. All hands of an image make the gesture.
        to: Folder of the recordings. Created if it does not exist.
        samples: Number of hands to record per gesture.
    """
    folders = sorted(path for path in source.iterdir() if path.is_dir()) if source.is_dir() else []
    if not folders:
        raise InputError(f"{source}: name a folder with a folder of images per gesture")
    names = [checked_name(folder.name) for folder in folders]
    for name, folder in zip(names, folders, strict=True):
        hands = _hands(track(folder, "hands"), samples or _HAND_COUNT)
        if not hands:
            sys.stderr.write(f"sonjit: {folder}: no hand found; skipped\n")
            continue
        starts = range(0, len(hands), _DATASET_HAND_COUNT)
        recordings = [GestureRecording.of(name, hands[start : start + _DATASET_HAND_COUNT]) for start in starts]
        for recording in recordings:
            _save(recording, to)
        sys.stdout.write(f"{_count(recordings)} of {name} in {pluralize(len(recordings), 'recording')}\n")


def _save(recording: GestureRecording | MotionRecording, to: Path) -> Path:
    """Save a recording in a folder under the next free number, and return its path."""
    check_local(to)
    to.mkdir(parents=True, exist_ok=True)
    number = 1
    while (path := to / f"{recording.name}-{number}.npz").exists():
        number += 1
    recording.save(path)
    return path


def _hands(frames: Iterable[Frame], samples: int) -> list[Hand]:
    """Return hands of frames that are not neighbours."""
    hands: list[Hand] = []
    last_s = -math.inf
    for frame in frames:
        time_s = math.inf if frame.time is None else frame.time
        tracked = any(hand.id is not None for hand in frame.hands)
        if not frame.hands or (tracked and time_s - last_s < _MIN_INTERVAL_S):
            continue
        last_s = time_s
        hands += frame.hands
        if len(hands) >= samples:
            break
    return hands[:samples]


@app.command
def train(recordings: Path, *, out: Annotated[Path, Parameter(name="--out"), TO_FILE]) -> None:
    """Train a classifier of the gestures in a folder of recordings.

    Example: `sonjit gestures train mine --out mine.npz`

    Args:
        recordings: Folder of recordings.
        out: File to write, in another folder.
    """
    if recordings.resolve() in (out.parent.resolve(), out.resolve().parent):
        raise InputError(f"--out {out}: {recordings} contains only recordings. Choose another folder")
    examples = _load(recordings)
    learned = LearnedGestures.learn(examples)
    learned.save(out)
    for name, group in _by_name(examples).items():
        minimum = _HAND_COUNT if isinstance(group[0], GestureRecording) else _MOTION_COUNT
        if 2 * sum(map(len, group)) < minimum:
            sys.stderr.write(f"sonjit: {name}: {_count(group)} may not be enough. Record {minimum}\n")
    sys.stdout.write(f"{', '.join(learned.names)} in {out}\n")


@app.command
def test(recordings: Path) -> None:
    """Classify each recording with the others and show the confusions.

    Example: `sonjit gestures test mine`

    Args:
        recordings: Folder with at least two recordings of each gesture.
    """
    for names, counts in confusions(_load(recordings)):
        headings = ("true, predicted", *names, "nothing")
        rows = ((name, *map(str, row)) for name, row in zip(names, counts.tolist(), strict=True))
        print_table(headings, rows, width=160, wrapped=headings)
        right = int(counts.trace())
        sys.stdout.write(f"right: {right} of {counts.sum()} ({right / counts.sum():.1%})\n")


@app.command(name="list")
def list_gestures(source: Path | None = None) -> None:
    """List the shipped gestures, or those of recordings or of a trained file.

    Example: `sonjit gestures list mine`

    Args:
        source: Folder of recordings or trained file. Default: the shipped gestures.
    """
    if source is None:
        lines = list(GESTURES)
    elif source.is_dir():
        lines = [
            f"{name}: {_count(group)} in {pluralize(len(group), 'recording')}"
            for name, group in _by_name(_load(source)).items()
        ]
    else:
        lines = list(LearnedGestures.load(source).names)
    sys.stdout.write("".join(f"{line}\n" for line in lines))


@app.command
def export(
    source: str,
    *,
    out: Annotated[Path, Parameter(name="--out"), TO_FILE],
    gestures: Annotated[Path | None, Parameter(name="--gestures")] = None,
) -> None:
    """Write the gestures of a video with their start and end times.

    The file is a .csv, or an .eaf for ELAN, whose times are those of a player. A .pose file contains all keypoints.

    Example: `sonjit gestures export clip.mp4 --out clip.eaf`

    Args:
        source: Video, or its table by sonjit hands or holistic with --save, other than .csv.
        out: File to write: .csv, .eaf or .pose.
        gestures: File of sonjit gestures train or sonjit train spelling, or asl. Default: the shipped gestures.
    """
    ending = out.suffix.lower()
    if ending not in (".csv", ".eaf", ".pose"):
        raise InputError(f"{out}: unknown ending {ending!r}. Choose from .csv, .eaf, .pose")
    if ending == ".pose" and gestures is not None:
        raise InputError("--gestures does not apply to .pose, which contains keypoints")
    learned = None if gestures is None else LearnedGestures.load(gestures)
    header, frames = _frames(source)
    if ending == ".csv":
        segments = segments_of(frames, learned)
        save_segments_csv(out, segments)
        sys.stdout.write(f"{pluralize(len(segments), 'segment')} in {out}\n")
        return
    if gestures is not None:
        header = replace(header, options={**header.options, "gestures": str(gestures)})
    with open_writer(out, replace(header, notes=(), sources={})) as writer:
        writer.remarks = header.notes
        for frame in frames:
            writer.write(frame)
    count = [f"{pluralize(len(frames), 'frame')} in {out}"] if ending == ".pose" else []
    sys.stdout.write("".join(f"{line}\n" for line in (*count, *writer.notes)))


def _frames(source: str) -> tuple[Header, list[Frame]]:
    """Return the frames of a video or its table, and the header of the table."""
    table_format = find_format(source.removesuffix(UNFINISHED))
    if table_format and not (table_format.load and table_format.has_size):
        endings = endings_of(lambda known: known.load and known.has_size)
        raise InputError(f"{source} does not contain the size of the video. Name a {endings} table")
    if table_format:
        header, frames = load_video_table(source)
        if header.width is None or header.height is None:
            raise InputError(f"{source} was not recorded from a video")
        return replace(header, source=header.source or source), frames
    with open_source(source) as opened:
        frames = list(track(opened, "hands"))
        return Header.from_source(opened), frames


def _load(folder: Path) -> Sequence[GestureRecording | MotionRecording]:
    files = sorted(folder.glob("*.npz"))
    if not files:
        raise InputError(f"{folder}: no recordings. Add one with sonjit gestures record NAME INPUT --to {folder}")
    return [load_recording(file) for file in files]


def _by_name(
    recordings: Sequence[GestureRecording | MotionRecording],
) -> dict[str, list[GestureRecording | MotionRecording]]:
    """Return the recordings of each gesture."""
    names = dict.fromkeys(recording.name for recording in recordings)
    return {name: [recording for recording in recordings if recording.name == name] for name in names}


def _count(recordings: Sequence[GestureRecording | MotionRecording]) -> str:
    """Return the number of hands or motions in the recordings of one gesture."""
    noun = "hand" if isinstance(recordings[0], GestureRecording) else "motion"
    return pluralize(sum(map(len, recordings)), noun)


def motions(
    source: Annotated[FileName, Parameter(name="INPUT")] = "camera:0",
    *,
    save: Annotated[FileName | None, TO_FILE, Parameter(help=_EVENTS)] = None,
    mirrored: Annotated[bool, Parameter(negative="")] = False,
    progress: Annotated[bool, Parameter(negative="")] = False,
    gestures: str | None = None,
    limit: Count = None,
) -> None:
    """Find swipes, waves, pinches, claps and other motions of hands.

    Each event is printed as a line of JSON, or written to a table. The last line counts the motions.

    Example: `sonjit motions clip.mp4 --save events.csv`

    Args:
        source: Camera or video.
        save: Table of the events instead of lines.
        mirrored: Treat the input as a selfie view, in which left and right are exchanged.
        progress: Add the events between the begin and the end of each motion, frame by frame.
        gestures: Additional motions to find: a file of sonjit gestures train, or asl for the letters J and Z.
        limit: Maximum number of frames.
    """
    custom = None if gestures is None else chosen_gestures(gestures).motions
    if custom is not None and not custom.names:
        raise InputError(f"--gestures {gestures}: contains only static gestures, no motions")
    recognizer = MotionRecognizer(custom=custom)
    frames = motion_count = 0
    with nullcontext() if save is None else open_motion_table(str(save)) as table:

        def report(events: Iterable[MotionEvent]) -> None:
            nonlocal motion_count
            for event in events:
                motion_count += event.phase == "end"
                if event.phase == "progress" and not progress:
                    continue
                record = motion_record(index, name, event)
                if table is not None:
                    table.write(record)
                else:
                    sys.stdout.write(json_from(dict(record)) + "\n")
                    sys.stdout.flush()

        index, name = 0, str(source)
        for frame in islice(track(str(source), "hands", mirrored=mirrored), limit and min(limit, sys.maxsize)):
            index, name, frames = frame.index, frame.source or name, frames + 1
            report(recognizer(frame.hands, frame.time))
        report(recognizer.finish())
    wrote = "" if save is None else f"; wrote {save}"
    sys.stderr.write(f"{pluralize(motion_count, 'motion')} in {pluralize(frames, 'frame')}{wrote}\n")
