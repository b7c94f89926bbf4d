"""Pictures of a report: images of its moments with the skeleton of the person and the angle."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from sonjit._util import FloatArray, Image, RealArray
from sonjit._util.pools import Progress
from sonjit.media import DrawingStyle, draw_frame
from sonjit.media.annotated import open_drawing_writer
from sonjit.report import errors
from sonjit.report.recording import Moment, Recording, side_of
from sonjit.results import Body, Frame
from sonjit.results.measures.bodies import ANGLE_BONES
from sonjit.results.skeletons import load_skeleton
from sonjit.runs import hiding
from sonjit.runs.inputs import Inputs

_AROUND = 1.25  # side of a picture relative to the person
_RADIUS = 0.09  # radius of the arc of an angle, relative to the person
_COLOUR: Final = (255, 214, 10)
"""Colour of the angle in RGB, which is neither that of a side nor of a bone."""
_INDEX = load_skeleton("body_blazepose33").index


def pictures_of(
    inputs: Inputs, recordings: Sequence[Recording], hider: hiding.Anonymiser
) -> list[list[tuple[str, Image]]]:
    """Read the images of the moments of each recording again, and draw the person and the angle into them.

    Returns:
        For each recording, captions and images (H, W, 3) RGB.
    """
    wanted = {moment.frame.index for recording in recordings for moment in recording.moments}
    images: dict[int, Image] = {}
    with inputs.open_one() as opened:
        for frame in opened:
            if frame.index in wanted:
                analysed = next(m.frame for r in recordings for m in r.moments if m.frame.index == frame.index)
                images[frame.index] = hider.below(
                    frame._replace(time=None), hiding.covered(analysed)
                ).copy()  # as a still
            if len(images) == len(wanted):
                break
    return [
        [
            (
                moment.caption,
                picture(_drawn(images[moment.frame.index], person_frame, hider), person_frame, moment),
            )
            for moment in recording.moments
            if moment.frame.index in images
            for person_frame in (only(moment.frame, recording.person),)
        ]
        for recording in recordings
    ]


def _drawn(rgb: Image, frame: Frame, hider: hiding.Anonymiser) -> Image:
    """Return an image (H, W, 3) whose people are hidden, with the skeletons of a frame."""
    style = DrawingStyle(labels=False, anonymise="none" if hider.keeps_people else "blur")
    return draw_frame(rgb, frame, style, is_hidden=True)


def draw_video(path: Path, inputs: Inputs, recording: Recording, hider: hiding.Anonymiser) -> None:
    """Write the video of a recording with the skeleton of the person, and the angles of its main joint in degrees."""
    rows = {frame.index: row for row, frame in enumerate(recording.frames)}
    joint = "" if recording.main_angle is None else errors.joint_of(recording.main_angle)
    names = [name for name in recording.angles if errors.joint_of(name) == joint]
    hider.reset()
    with inputs.open_one() as opened:
        hider.scan(opened, None, Progress())
        with open_drawing_writer(path, opened, sound=hider.keeps_people) as writer:
            for frame in opened:
                if frame.index not in rows:  # after the interrupt that ended the work
                    break
                row = rows[frame.index]
                below = hider.below(frame, hiding.covered(recording.frames[row]))
                drawn = _drawn(below, only(recording.frames[row], recording.person), hider)
                body = recording.bodies[row]
                for name in names:
                    value = float(recording.shown(name)[row])
                    if body is not None and math.isfinite(value):
                        drawn = with_angle(drawn, body, name, value)
                writer.write(drawn, frame.time, index=frame.index)


def only(frame: Frame, person: int) -> Frame:
    """Return a frame with one person."""
    bodies = [body for body in frame.bodies if body.id == person]
    return replace(frame, bodies=bodies, people=[candidate for candidate in frame.people if candidate.id == person])


def picture(rgb: Image, frame: Frame, moment: Moment) -> Image:
    """Return the part of a drawn image (H, W, 3) RGB with the person of a frame, and the angle of a moment in it."""
    body = next((part for _, part in frame.instances() if isinstance(part, Body)), None)
    if body is None:
        return rgb
    if moment.angle and math.isfinite(moment.value_deg):
        rgb = with_angle(rgb, body, moment.angle, moment.value_deg)
    low, high = body.keypoints[:, :2].min(0), body.keypoints[:, :2].max(0)
    side, (x, y) = float(_AROUND * (high - low).max()), (low + high) / 2
    left, top = max(int(x - side / 2), 0), max(int(y - side / 2), 0)
    right, bottom = math.ceil(x + side / 2), math.ceil(y + side / 2)
    return np.ascontiguousarray(rgb[top:bottom, left:right]) if right > left and bottom > top else rgb


def with_angle(rgb: Image, body: Body, angle: str, value_deg: float) -> Image:
    """Return an image (H, W, 3) RGB with both bones of an angle, the arc between them, and its value in degrees.

    Angles of the trunk and the neck have no arc.
    """
    import cv2

    bones = ANGLE_BONES.get(errors.joint_of(angle))
    if bones is None:
        return rgb
    ends = np.array([[body.keypoints[_INDEX(f"{side_of(angle)}_{name}"), :2] for name in bone] for bone in bones])
    if not np.isfinite(ends).all():
        return rgb
    size = float(np.ptp(body.keypoints[:, :2], axis=0).max())
    thick, radius, joint = max(round(size / 130), 2), _RADIUS * size, ends[0, 0]
    drawn = np.ascontiguousarray(rgb.copy())
    for begin, end in ends:
        cv2.line(drawn, _pixel(begin), _pixel(end), _COLOUR, thick, cv2.LINE_AA)
    arc = _arc(ends[:, 1] - ends[:, 0], radius) + joint
    cv2.polylines(drawn, [np.round(arc).astype(np.int32)], False, _COLOUR, thick, cv2.LINE_AA)
    middle = arc[len(arc) // 2] - joint
    _label(drawn, f"{value_deg:.0f}", joint + middle * 2.0, size)
    return drawn


def _arc(bones: RealArray, radius: float) -> FloatArray:
    """Return the points (N, 2) in pixels, from the origin, of the shorter arc between two bones (2, 2)."""
    first, second = np.arctan2(bones[:, 1], bones[:, 0])
    turn = (second - first + math.pi) % (2 * math.pi) - math.pi
    along = first + np.linspace(0, turn, 33)
    return radius * np.stack([np.cos(along), np.sin(along)], axis=-1)


def _label(rgb: Image, text: str, at: RealArray, size: float) -> None:
    """Write a number with a degree sign on a dark plate into an image (H, W, 3), around a place (x, y) in pixels."""
    import cv2

    font, scale = cv2.FONT_HERSHEY_SIMPLEX, max(size / 520, 0.4)
    thick = max(round(2 * scale), 1)
    (width, height), _ = cv2.getTextSize(text, font, scale, thick)
    pad, ring = round(0.4 * height), max(round(0.2 * height), 2)
    x, y = (round(float(value)) for value in at)
    left, base = x - width // 2, y + height // 2
    cv2.rectangle(rgb, (left - pad, base - height - pad), (left + width + pad + 3 * ring, base + pad), (20, 24, 30), -1)
    cv2.putText(rgb, text, (left, base), font, scale, _COLOUR, thick, cv2.LINE_AA)
    cv2.circle(rgb, (left + width + 2 * ring, base - height + ring), ring, _COLOUR, thick, cv2.LINE_AA)


def _pixel(point: RealArray) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))
