"""Detections in the bundled images are those stored, so that no change of a search or a tracker goes unnoticed."""

from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

import sonjit
from sonjit._util.errors import SonjitError
from sonjit.detectors.create import detector_from
from sonjit.detectors.kinds import options_for
from sonjit.media import open_source, rgb_from

from ..support.stored import assert_as_stored  # noqa: TID252  # one helper for all packages

ASSETS = Path(sonjit.__file__).parent / "_util" / "assets"
GREY = (196, 192, 186)
STREAM = 16  # number of frames
BLANK = range(7, 9)  # frames without anybody, in which tracks are lost


@pytest.fixture(scope="module")
def crowd():
    """Return an image (600, 900, 3) of four people: large, small, upside down, and in half light."""
    photo, squat = rgb_from(ASSETS / "photo.jpg"), next(islice(open_source(ASSETS / "squats.mp4"), 30, None)).rgb
    rgb = np.full((600, 900, 3), GREY, np.uint8)
    for image, size, left, top, turns in ((photo, 540, 0, 40, 0), (squat, 300, 420, 0, 0), (photo, 260, 680, 20, 2)):
        scale = size / image.shape[0]
        part = np.rot90(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), turns)
        rgb[top : top + part.shape[0], left : left + part.shape[1]] = part
    dark = cv2.resize(photo[:420], None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    rgb[320:572, 500:788] = dark // 3
    return rgb


def frames_of(crowd):
    """Yield a view (480, 640, 3) that moves over the image, without anybody in between, and then a cut."""
    for number in range(STREAM):
        left = 8 * number if number < BLANK.stop else 260 - 8 * number
        yield np.full((480, 640, 3), GREY, np.uint8) if number in BLANK else crowd[60:540, left : left + 640].copy()


def summary(instance):
    """Return the fields of a detection that are compared: every seventh keypoint of meshes."""
    if isinstance(instance, sonjit.Person):
        return [instance.id, *(summary(part) for part in (instance.body, *instance.parts) if part is not None)]
    step = max(len(instance.keypoints) // 50, 1)
    found = {"id": instance.id, "score": round(instance.score, 3), "keypoints": instance.keypoints[::step]}
    more = {name: getattr(instance, name, None) for name in ("blendshapes", "transform", "distance_m", "gesture")}
    if getattr(instance, "mask", None) is not None:
        more["mask"] = cv2.resize(instance.mask, (12, 8), interpolation=cv2.INTER_AREA)
    return found | {name: value for name, value in more.items() if value is not None}


STILLS = {
    "hands": ("hands", {"model": "lite"}),
    "hands-thorough": ("hands", {"keypoints": "refined", "visibility": True}),
    "face": ("face", {"model": "mesh"}),
    "hands-far": ("hands", {"distance": True, "gestures": "canned", "max_instances": 2}),
    "face-attention": ("face", {"blendshapes": True, "transform": True, "mirrored": True}),
    "body": ("body", {"model": "lite"}),
    "body-averaged": ("body", {"averages_mirrored": True, "segmentation": True, "max_instances": 1}),
    "holistic": ("holistic", {"model": "lite", "max_instances": 3}),
}
STREAMS = {
    "hands-fast": ("hands", {"search": "fast"}),
    "face-fast": ("face", {"search": "fast", "model": "mesh", "max_instances": 3}),
    "hands": ("hands", {"model": "lite"}),
    "face": ("face", {"model": "mesh", "max_instances": 3}),
    "body": ("body", {"model": "lite", "max_instances": 3}),
    "holistic": ("holistic", {"model": "lite", "max_instances": 2}),
}


def opened(kind, options, **more):
    options = {"max_instances": 6, "precision": "f32"} | options | more
    averages = options.pop("averages_mirrored", False)
    try:
        if averages:
            return detector_from(replace(options_for(kind, **options), averages_mirrored=True))
        return sonjit.create_detector(kind, **options)
    except SonjitError as error:
        pytest.skip(f"{str(error).partition(';')[0]}; type: sonjit models pull")


@pytest.mark.slow
@pytest.mark.parametrize("name", STILLS)
def test_stills_show_who_is_stored(crowd, name):
    with opened(*STILLS[name], static_image=True, search="thorough") as detector:
        found = [summary(one) for one in detector.detect(crowd)]
    assert_as_stored(f"stills.{name}", found, relative=0, absolute=0.05)


@pytest.mark.nightly_after(3)
@pytest.mark.slow
@pytest.mark.parametrize("name", STREAMS)
def test_streams_show_who_is_stored(crowd, name):
    with opened(*STREAMS[name]) as detector:
        found = [[summary(one) for one in detector.detect(rgb, time=k / 15)] for k, rgb in enumerate(frames_of(crowd))]
    assert_as_stored(f"streams.{name}", found, relative=0, absolute=0.05)
