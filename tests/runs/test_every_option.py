"""Each option of each kind: a batch gives what single images give, and `track` gives what the command writes."""

import json
from itertools import islice

import av
import cv2
import numpy as np
import pytest
from tests.support.faces import photographs_of_one_person

from sonjit import create_detector, track
from sonjit._util import json_from
from sonjit.detectors.kinds import KINDS, options_of
from sonjit.media import rgb_from

pytestmark = [pytest.mark.golden, pytest.mark.slow]
OF_MACHINE_OR_CAMERA = {"device", "camera"}  # not a property of results, as all paths
OF_MACHINE = {"engine", "precision", "threads"}  # alike for all kinds
FAST = {"hands": {"model": "lite"}, "face": {"model": "mesh"}, "body": {"model": "lite"}, "holistic": {"model": "lite"}}
OWN = {"hand_model", "face_model", "keypoints", "gestures", "blendshapes"}  # of people; the others are those of bodies


def value_of(option):
    """Return a value other than the default."""
    if choices := option.choices or option.remote_choices:
        return next(choice for choice in reversed(choices) if choice not in (option.default, "none", "int8"))
    if option.type == "boolean":
        return not option.default
    if option.type == "integer":
        return next(value for value in (option.minimum + 1, option.minimum + 2) if value != option.default)
    return option.minimum + 0.3 * (option.maximum - option.minimum)


def is_left_out(kind, option):
    """Check whether an option of a kind is no property of results, or is tested with another kind."""
    if option.type == "path" or option.name in OF_MACHINE_OR_CAMERA:
        return True
    return (kind != "hands" and option.name in OF_MACHINE) or (kind == "holistic" and option.name not in OWN)


def cases(left_out, nightly=()):
    """Yield kinds with each of their options. Some kinds are tested each night only."""
    for kind, entry in KINDS.items():
        for name, option in options_of(entry).items():
            if not is_left_out(kind, option) and not left_out(option):
                needed = {option.requires: True} if option.requires else {}
                options = FAST.get(kind, {}) | needed | {name: value_of(option)}
                marks = pytest.mark.nightly if kind in nightly else ()
                yield pytest.param(kind, options, id=f"{kind}-{name}", marks=marks)


@pytest.fixture(scope="module")
def images(data):
    """Return two small photographs of a person."""
    found = list(islice(photographs_of_one_person(data), 2))
    if len(found) < 2:
        pytest.skip("no photographs of one person")
    photos = [rgb_from(path) for path in found]
    return [cv2.resize(rgb, None, fx=240 / max(rgb.shape[:2]), fy=240 / max(rgb.shape[:2])) for rgb in photos]


@pytest.fixture(scope="module")
def clip(images, tmp_path_factory):
    """Return a clip of four frames, in which a photograph moves."""
    rgb, path = images[0], tmp_path_factory.mktemp("clip") / "a.mp4"
    height, width = (side // 2 * 2 - 8 for side in rgb.shape[:2])
    with av.open(path, "w") as file:
        stream = file.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for k in range(4):
            part = np.ascontiguousarray(rgb[k : k + height, k : k + width])
            file.mux(stream.encode(av.VideoFrame.from_ndarray(part, "rgb24")))
        file.mux(stream.encode())
    return path


def without_measures(record):
    """Return an object of a table without the further columns that only tables have."""
    return {name: value for name, value in record.items() if name != "measures"}


def plain(results):
    """Return results as JSON."""
    return [result.to_dict(full=True) for result in results]


@pytest.mark.nightly_after(2, per="kind")
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *cases(lambda option: option.of_streams or option.name in ("static_image", "flip_horizontal")),
        *(pytest.param(kind, FAST.get(kind, {}) | {"search": "auto"}, id=f"{kind}-default") for kind in KINDS),
    ],
)
def test_a_batch_gives_what_single_images_give(images, kind, options):
    with create_detector(kind, static_image=True, **{"search": "fast"} | options) as detector:
        single = [detector.detect(rgb) for rgb in images]
        batch = detector.detect_batch(images)
    assert [plain(own) for own in batch] == [plain(own) for own in single]


@pytest.mark.parametrize(
    ("kind", "options"), [*cases(lambda option: "segmentation" in option.name, nightly=("face", "body", "holistic"))]
)
def test_track_gives_what_the_command_writes(sonjit, clip, tmp_path, kind, options):
    words = []
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        words += [option] if value is True else [f"--no-{option[2:]}"] if value is False else [option, str(value)]
    status, _, lines = sonjit(kind, clip, *words, "--save", tmp_path / "a.json")
    assert status == 0, lines
    written = json.loads((tmp_path / "a.json").read_text("utf-8"), object_hook=without_measures)["frames"]
    name = KINDS[kind].list_name
    tracked = json.loads(json_from([frame.to_dict((name,)) for frame in track(clip, kind, **options)]))
    assert {frame.pop("source") for frame in tracked} == {str(clip)}  # a table of one video has it in its header
    assert tracked == written
