"""Pictures of a report: the images with the smallest and the largest angle, with the skeleton of the person."""

import math
from dataclasses import replace

import numpy as np

from sonjit._util import Image
from sonjit.media import draw_frame
from sonjit.report.recording import Recording
from sonjit.results import Body, Frame
from sonjit.runs import hiding
from sonjit.runs.inputs import Inputs

_AROUND = 1.4  # side of a picture relative to the person


def pictures_of(inputs: Inputs, recording: Recording, hider: hiding.Anonymiser) -> list[tuple[str, Image]]:
    """Read the images of the extremes again, and draw the person of the page into them."""
    wanted = {frame.index: (frame, caption) for frame, caption in recording.extremes}
    pictures: list[tuple[str, Image]] = []
    with inputs.open_one() as opened:
        for frame in opened:
            if frame.index in wanted:
                found, caption = wanted[frame.index]
                below = hider.below(frame._replace(time=None), hiding.covered(found))  # as a still
                own = _only(found, recording.person)
                pictures.append((caption, _around(draw_frame(below, own, labels=False), own)))
            if len(pictures) == len(wanted):
                break
    return pictures


def _only(frame: Frame, person: int) -> Frame:
    """Return a frame with one person."""
    bodies = [body for body in frame.bodies if body.id == person]
    return replace(frame, bodies=bodies, people=[each for each in frame.people if each.id == person])


def _around(rgb: Image, frame: Frame) -> Image:
    """Return the part of an image (H, W, 3) with the person of a frame."""
    for _, part in frame.instances():
        if isinstance(part, Body):
            low, high = part.keypoints[:, :2].min(0), part.keypoints[:, :2].max(0)
            side, (x, y) = float(_AROUND * (high - low).max()), (low + high) / 2
            left, top = max(int(x - side / 2), 0), max(int(y - side / 2), 0)
            right, bottom = math.ceil(x + side / 2), math.ceil(y + side / 2)
            return np.ascontiguousarray(rgb[top:bottom, left:right]) if right > left and bottom > top else rgb
    return rgb
