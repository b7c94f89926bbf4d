"""`sonjit report`: one page about the joint angles of people in videos."""

import math
import sys
from dataclasses import replace
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from cyclopts import Parameter

from sonjit._util import Image, InputError, optional_import, pluralize
from sonjit._util.addresses import shown_name
from sonjit._util.files import check_writable
from sonjit.cli.options import TO_MANY
from sonjit.cli.progress import CONTROLS, progress_bar
from sonjit.detectors.pipeline import Detector
from sonjit.media import Anonymise
from sonjit.media.annotated import ANNOTATED_VIDEO_ENDINGS
from sonjit.media.cuts import Scenes
from sonjit.media.sources import Reading
from sonjit.report import joint_angles
from sonjit.report.angles import ANGLES
from sonjit.report.comparison import Earlier, earlier_report
from sonjit.report.contents import subject_of
from sonjit.report.conventions import Convention
from sonjit.report.joint_angles import report_detector
from sonjit.report.motion_files import ENDINGS, write_motion
from sonjit.report.pictures import draw_video, pictures_of
from sonjit.report.recording import Recording, recording_of, words_of
from sonjit.report.texts import Language
from sonjit.results import Frame
from sonjit.runs import hiding, tracked_frames
from sonjit.runs.annotations import AngleLimits
from sonjit.runs.inputs import Inputs, is_video
from sonjit.runs.session import Omitted

_MIN_HEIGHT_M, _MAX_HEIGHT_M = 0.4, 2.6


def report(
    *sources: Annotated[str, Parameter(name="INPUT")],
    save: Annotated[str, TO_MANY] = "report.html",
    kind: Literal["body", "holistic"] = "body",
    model: Literal["lite", "full", "heavy"] = "full",
    count: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    max_instances: int = 1,
    start: float = 0.0,
    end: float | None = None,
    every: int = 1,
    anonymise: Anonymise = "none",
    person: Annotated[tuple[int, ...], Parameter(negative="")] = (),
    convention: Convention = "straight",
    language: Language = "en",
    title: str = "",
    name: str = "",
    note: str = "",
    date: str | None = None,
    height: Annotated[float | None, Parameter(name=("--height",))] = None,
    floor: str = "",
    before: Path | None = None,
    motion: Annotated[tuple[Path, ...], Parameter(negative="")] = (),
    draw: Annotated[Path | None, TO_MANY] = None,
) -> int:
    """Write one page about the joint angles of a person in a video, or of several people or videos.

    The page begins with the result, the picture of its moment and the curve of its angle. Tables of repetitions, ranges
    of motion and both sides follow, with their errors.

    `sonjit report squats.mp4 --count left_knee --anonymise blur --save report.pdf`
    `sonjit report before.mp4 after.mp4`

    Args:
        sources: Video, or several of the same movement, which the page compares.
        save: Page to write: .html or .pdf.
        kind: holistic adds wrists, and takes longer.
        model: Model of the body.
        count: Count repetitions of an angle, e.g. left_knee, or with limits in degrees left_elbow:70:140. Repeat the
            option for further angles. Default: the knees, or the hips or elbows if the knees do not repeat.
        max_instances: Maximum number of people to follow.
        start: Time in seconds of the first frame.
        end: Time from which frames are not processed. Default: the end.
        every: Process only frames whose index is a multiple of this number.
        anonymise: black shows the skeleton on black, blur blurs all heads that a search finds, persons all
            people. A report without it does not replace one that hides people.
        person: Number of the person to describe. Repeat the option to compare people of one video. Default: the person
            who is in most frames.
        convention: straight gives 180° for a straight elbow, hip or knee, clinical 0°.
        language: Language of the page. A .pdf needs an installed font with the letters of the language.
        title: Title of the page. Default: name of the video, which --anonymise leaves out.
        name: Name of the person on the page.
        note: Further text on the page.
        date: Date on the page. Default: today.
        height: Body height in metres, which gives the speed of a person who walks across the image.
        floor: X1:X2:METRES gives the speed in place of the height: pixels from the left edge of two marks on the line
            where the person walks, and their distance.
        before: Earlier .html report of the same person. The page compares the ranges of motion with it.
        motion: Also write angles as .mot or points as .trc for OpenSim. Repeat the option for both.
        draw: Also write the video with the skeleton and the angles of the joint of the exercise, such as .mp4.
    """
    ending = Path(save).suffix.lower()
    if ending not in joint_angles.REPORT_ENDINGS:
        hint = f". --draw {save} writes the video" if ending in ANNOTATED_VIDEO_ENDINGS else ""
        raise InputError(f"{save}: choose a name that ends in {' or '.join(joint_angles.REPORT_ENDINGS)}{hint}")
    if anonymise == "none" and joint_angles.hides_people(Path(save)):
        raise InputError(f"{save} is a report that hides people. Add --anonymise, or choose another name with --save")
    for path in motion:
        if path.suffix.lower() not in ENDINGS:
            raise InputError(f"--motion {path}: choose a name that ends in .mot or .trc")
    if draw is not None and draw.suffix.lower() not in ANNOTATED_VIDEO_ENDINGS:
        raise InputError(f"--draw {draw}: choose a name that ends in {', '.join(ANNOTATED_VIDEO_ENDINGS)}")
    for path in (Path(save), *motion, *([] if draw is None else [draw])):
        check_writable(path)  # before the work
    videos = _videos(sources, Reading(None, start, end, every))
    if len(videos) > 1 and len(person) > 1:
        raise InputError("choose several videos, or several numbers of --person")
    for module in ("matplotlib", *(["fpdf"] if ending == ".pdf" else [])):
        with optional_import("a report", "report"):
            import_module(module)  # before the work
    joint_angles.require_fonts(Path(save), language)
    hider = hiding.Anonymiser(anonymise)  # before the work: it needs networks
    counted = _counted(count)
    earlier = _earlier(before, Path(save))
    for option, is_given in (("--motion", motion), ("--draw", draw is not None)):
        if is_given and (len(videos) > 1 or len(person) > 1):
            raise InputError(f"{option} requires one video and one person")
    _check_height(height, floor)
    floor_m_per_px = _floor_m_per_px(floor)
    described: list[tuple[Recording, list[tuple[str, Image]]]] = []  # with pictures
    stopped: KeyboardInterrupt | None = None
    people = max(max_instances, len(person))
    try:
        for source, inputs in videos.items():
            omitted = Omitted()
            with report_detector(kind, model, people) as detector:
                seen = _tracked(source, detector, omitted, start=start, end=end, every=every)
            stopped = seen.stopped
            new_recordings = [
                recording_of(
                    Path(source).name,
                    model,
                    seen.frames,
                    counted,
                    person=number,
                    convention=convention,
                    height_m=height,
                    floor_m_per_px=floor_m_per_px,
                    size=seen.size,
                    language=language,
                )
                for number in person or (None,)
            ]
            new_recordings = [replace(recording, cuts_s=tuple(seen.cuts_s)) for recording in new_recordings]
            described += zip(new_recordings, pictures_of(inputs, new_recordings, hider), strict=True)
            _print_found(Path(source).name, new_recordings)
            _print_notes(Path(source).name, omitted, hider.hidden)
            if stopped is not None:
                break
    except KeyboardInterrupt as stop:  # the page describes the videos before
        if not described:
            raise
        stopped = stop
    recordings = [recording for recording, _ in described]
    shown = [pictures for _, pictures in described]
    labels = joint_angles.Labels(title, name, note, datetime.now().date().isoformat() if date is None else date)
    mark = "" if hider.keeps_people else anonymise
    joint_angles.write_page(Path(save), recordings, shown, mark, labels, earlier)
    for path in motion:
        write_motion(path, recordings[0], recordings[0].bodies)
    if draw is not None:
        draw_video(draw, next(iter(videos.values())), recordings[0], hider)
    if stopped is not None:
        frames_of = {recording.name: pluralize(len(recording.frames), "frame") for recording in recordings}
        parts = [f"{frames_of.get(name, 'nothing')} of {name}" for name in (Path(source).name for source in videos)]
        stopped.add_note(f"{save} has {', '.join(parts)}")
        raise stopped
    written = [save, *map(str, motion), *([] if draw is None else [str(draw)])]
    sys.stdout.write(f"{_headlines(recordings)}wrote {', '.join(written).translate(CONTROLS)}\n")
    return 0


class _Seen(NamedTuple):
    """Frames of a video, width and height of its images, times of cuts, and the interrupt that ended the work early."""

    frames: list[Frame]
    size: tuple[int, int] | None
    cuts_s: list[float]
    stopped: KeyboardInterrupt | None


def _tracked(
    source: str, detector: Detector[Any], omitted: Omitted, *, start: float, end: float | None, every: int
) -> _Seen:
    """Find the people in the frames of a video, and its cuts."""
    frames: list[Frame] = []
    size: tuple[int, int] | None = None
    scenes, scene, cuts_s = Scenes(), 1, list[float]()
    try:
        with progress_bar(None, "frames") as bar:
            for frame in tracked_frames.track(source, detector, start_s=start, end_s=end, every=every):
                if frame.time is None:
                    raise InputError(f"{source} is an image: a report requires a video")
                size = frame.image.shape[1], frame.image.shape[0]
                number = scenes.number(frame.image, frame.time)
                cuts_s += [frame.time] * (number != scene and bool(frames))
                scene = number
                frames.append(replace(frame))
                omitted.add(sum(1 for _ in frame.all_results()), frame.total, frame.time)
                bar.advance()
    except KeyboardInterrupt as stop:  # the page describes the frames so far
        if not any(frame.bodies or frame.people for frame in frames):
            raise
        return _Seen(frames, size, cuts_s, stop)
    return _Seen(frames, size, cuts_s, None)


def _earlier(before: Path | None, save: Path) -> Earlier | None:
    """Return the earlier report, if there is one, which the new one must not replace."""
    if before is None:
        return None
    if before.exists() and save.exists() and before.samefile(save):
        raise InputError(f"--before {before}: the new report would replace it. Choose another name with --save")
    return earlier_report(before)


def _print_notes(video: str, omitted: Omitted, hidden: hiding.Hidden | None) -> None:
    """Print how many people were not followed, and how many faces were hidden."""
    if omitted.text is not None:
        sys.stderr.write(f"{video}: {omitted.text}. Use --max-instances and --person.\n")
    if hidden is not None:
        sys.stderr.write(f"{hidden}\n")


def _print_found(video: str, recordings: list[Recording]) -> None:
    """Print whom the page describes, and which other people and scenes the video has."""
    first, shown = recordings[0], video.translate(CONTROLS)
    numbers = ", ".join(f"#{recording.person}" for recording in recordings)
    sys.stdout.write(f"{shown}: {len(first.frames)} frames, person {numbers}\n")
    counts = first.frames_of_people
    if len(counts) > len(recordings):
        scenes = "".join(f"another scene begins at {time:.2f} s. " for time in first.cuts_s)
        people = ", ".join(f"#{number} in {pluralize(count, 'frame')}" for number, count in counts.items())
        advice = "--person describes others, --start and --end select a part"
        sys.stderr.write(f"{shown}: {scenes}People: {people}. {advice}.\n")


def _headlines(recordings: list[Recording]) -> str:
    """Return a line with the result of each recording, which has a name if there are several."""
    names = [f"{subject_of(recording)}: ".translate(CONTROLS) if recordings[1:] else "" for recording in recordings]
    return "".join(f"{name}{recording.headline}\n" for name, recording in zip(names, recordings, strict=True))


def _videos(sources: tuple[str, ...], reading: Reading) -> dict[str, Inputs]:
    """Return the inputs of each video file."""
    if not sources:
        raise InputError("name a video, such as sonjit report squats.mp4")
    videos: dict[str, Inputs] = {}
    for source in sources:
        inputs = Inputs.find([source], reading)
        if inputs.files is None and ":" not in source and not Path(source).exists():
            raise InputError(f"{source}: no such file or folder")
        if inputs.files is not None or not is_video(Path(source)):
            raise InputError(f"{shown_name(source)}: a report requires video files: name each one, such as squats.mp4")
        videos[source] = inputs
    if len(videos) < len(sources):
        raise InputError("the same video is given twice")
    return videos


def _check_height(height: float | None, floor: str) -> None:
    """Check the body height, which excludes a length on the floor."""
    if height is not None and not _MIN_HEIGHT_M <= height <= _MAX_HEIGHT_M:
        raise InputError(f"--height {height:g}: give the body height in metres, {_MIN_HEIGHT_M} to {_MAX_HEIGHT_M}")
    if height is not None and floor:
        raise InputError("choose --height or --floor")


def _floor_m_per_px(floor: str) -> float | None:
    """Return the size of a pixel on the floor in metres, or None without a length."""
    if not floor:
        return None
    try:
        left, right, metres = map(float, floor.split(":"))
        size = metres / abs(right - left)
    except (ValueError, ZeroDivisionError):
        size = math.nan
    if not (math.isfinite(size) and size > 0):
        raise InputError(f"--floor {floor}: give two different columns in pixels and metres, as 420:1310:4")
    return size


def _counted(count: tuple[str, ...]) -> tuple[AngleLimits, ...] | None:
    """Return the angles whose repetitions are counted, or None for those of a report by default."""
    if not count:
        return None
    counted = tuple(AngleLimits.from_text(text, "body") for text in count)
    for text, limits in zip(count, counted, strict=True):
        if limits.measure not in ANGLES:
            names = ", ".join(words_of(name).replace(" ", "_") for name in ANGLES)
            raise InputError(f"--count {text}: a report counts {names}")
    return counted
