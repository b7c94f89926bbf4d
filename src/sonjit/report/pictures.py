"""Pictures of a report: images of its moments with the skeleton of the person and the angle."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from sonjit._util import FloatArray, Image, RealArray
from sonjit._util.pools import Progress
from sonjit.media import DrawingStyle, draw_frame
from sonjit.media.annotated import open_drawing_writer
from sonjit.media.drawing import strokes as pen
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
_SIDE_COLOURS: Final = {"left": pen.LEFT, "right": pen.RIGHT}
_INDEX = load_skeleton("body_blazepose33").index


@dataclass(frozen=True)
class _Plate:
    """Rectangle with a value, in pixels of the image."""

    left: int
    top: int
    right: int
    bottom: int

    def overlaps(self, other: "_Plate") -> bool:
        is_aside = self.left >= other.right or other.left >= self.right
        return not is_aside and self.top < other.bottom and other.top < self.bottom


def pictures_of(
    inputs: Inputs, recordings: Sequence[Recording], hider: hiding.Anonymiser
) -> list[list[tuple[str, Image]]]:
    """Read the images of the moments of each recording again, and draw the person and the angle into them.

    Returns:
        For each recording, captions and images (H, W, 3) RGB.
    """
    wanted = {moment.frame.index for recording in recordings for moment in recording.moments}
    images: dict[int, Image] = {}
    hider.reset()
    with inputs.open_one() as opened:
        for frame in opened:
            if frame.index in wanted:
                analysed = next(m.frame for r in recordings for m in r.moments if m.frame.index == frame.index)
                images[frame.index] = hider.as_still(frame, hiding.covered(analysed)).copy()
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
                if (body := recording.bodies[row]) is not None:
                    drawn = with_angles(drawn, body, {name: float(recording.shown(name)[row]) for name in names})
                writer.write(drawn, frame.time, index=frame.index)


def only(frame: Frame, person: int) -> Frame:
    """Return a frame with one person."""
    bodies = [body for body in frame.bodies if body.id == person]
    return replace(frame, bodies=bodies, people=[candidate for candidate in frame.people if candidate.id == person])


def picture(rgb: Image, frame: Frame, moment: Moment) -> Image:
    """Return the part of a drawn image (H, W, 3) RGB with the person of a frame, and the angle of a moment in it."""
    body = next(frame.parts_of(Body), None)
    if body is None:
        return rgb
    low, high = body.keypoints[:, :2].min(0), body.keypoints[:, :2].max(0)
    side, (x, y) = float(_AROUND * (high - low).max()), (low + high) / 2
    left, top = max(int(x - side / 2), 0), max(int(y - side / 2), 0)
    right, bottom = math.ceil(x + side / 2), math.ceil(y + side / 2)
    if right <= left or bottom <= top:
        return rgb
    part = np.ascontiguousarray(rgb[top:bottom, left:right])
    return with_angles(part, body, {moment.angle: moment.value_deg} if moment.angle else {}, (left, top))


def with_angles(rgb: Image, body: Body, values_deg: Mapping[str, float], corner: tuple[int, int] = (0, 0)) -> Image:
    """Return an image (H, W, 3) RGB with both bones of each angle, the arc between them, and its side and value.

    Angles of the trunk and the neck have no arc. Unknown angles are not drawn.

    Args:
        rgb: Image, or the part of one that begins at `corner`.
        body: Body in the complete image.
        values_deg: Values by name of the angle.
        corner: x and y of the part's first pixel.
    """
    import cv2

    size = float(np.ptp(body.keypoints[:, :2], axis=0).max())
    thick, radius = max(round(size / 130), 2), _RADIUS * size
    drawn = np.ascontiguousarray(rgb.copy())
    found: list[tuple[str, FloatArray, FloatArray]] = []  # name, joint (2,) and middle of the arc (2,) from there
    for angle, value in values_deg.items():
        bones = ANGLE_BONES.get(errors.joint_of(angle))
        if bones is None or not math.isfinite(value):
            continue
        ends = np.array([[body.keypoints[_INDEX(f"{side_of(angle)}_{name}"), :2] for name in bone] for bone in bones])
        ends = ends.astype(np.float64) - corner
        if not np.isfinite(ends).all():
            continue
        for begin, end in ends:
            cv2.line(drawn, _pixel(begin), _pixel(end), _COLOUR, thick, cv2.LINE_AA)
        arc = _arc(ends[:, 1] - ends[:, 0], radius)
        cv2.polylines(drawn, [np.round(arc + ends[0, 0]).astype(np.int32)], False, _COLOUR, thick, cv2.LINE_AA)
        found.append((angle, ends[0, 0], arc[len(arc) // 2]))
    plates: list[_Plate] = []
    found.sort(key=lambda each: each[1][0])
    for at, (angle, joint, middle) in enumerate(found):
        outwards = middle if len(found) == 1 else np.array([2 * at / (len(found) - 1) - 1, 0]) * radius
        plates.append(_write_value(drawn, side_of(angle), values_deg[angle], joint + 2.0 * outwards, size, plates))
    return drawn


def _arc(bones: RealArray, radius: float) -> FloatArray:
    """Return the points (N, 2) in pixels, from the origin, of the shorter arc between two bones (2, 2)."""
    first, second = np.arctan2(bones[:, 1], bones[:, 0])
    turn = (second - first + math.pi) % (2 * math.pi) - math.pi
    along = first + np.linspace(0, turn, 33)
    return radius * np.stack([np.cos(along), np.sin(along)], axis=-1)


def _write_value(
    rgb: Image, side: str, value_deg: float, at: RealArray, size: float, plates: Sequence[_Plate]
) -> _Plate:
    """Write an angle on a dark plate into an image (H, W, 3), near a place (x, y) in pixels. Return the plate.

    The plate has the letter and the colour of its side. It stays in the image and below other plates.
    """
    import cv2

    text = f"{side[:1].upper()} {value_deg:.0f}".strip()
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, max(size / 520, 0.4)
    thick = max(round(2 * scale), 1)
    (width, height), _ = cv2.getTextSize(text, font, scale, thick)
    pad, ring = round(0.4 * height), max(round(0.2 * height), 2)
    wide, high = width + 3 * pad + 3 * ring, height + 2 * pad
    left = int(np.clip(round(float(at[0])) - wide // 2, 0, max(rgb.shape[1] - wide, 0)))
    top = int(np.clip(round(float(at[1])) - high // 2, 0, max(rgb.shape[0] - high, 0)))
    plate = _Plate(left, top, left + wide, top + high)
    for other in sorted(plates, key=lambda each: each.top):
        if plate.overlaps(other):
            is_below = other.bottom + pad + high < rgb.shape[0]
            top = other.bottom + pad if is_below else max(other.top - high - pad, 0)
            plate = replace(plate, top=top, bottom=top + high)
    base = plate.top + pad + height
    cv2.rectangle(rgb, (left, plate.top), (plate.right, plate.bottom), (20, 24, 30), -1)
    if side:
        cv2.rectangle(rgb, (left, plate.top), (left + pad // 2, plate.bottom), _SIDE_COLOURS[side], -1)
    cv2.putText(rgb, text, (left + round(1.5 * pad), base), font, scale, _COLOUR, thick, cv2.LINE_AA)
    cv2.circle(rgb, (left + round(1.5 * pad) + width + ring, base - height + ring), ring, _COLOUR, thick, cv2.LINE_AA)
    return plate


def _pixel(point: RealArray) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))
