"""`--anonymise` in each output that shows people, on real photographs: no search finds a face afterwards."""

import base64
import json
import re
from itertools import islice

import av
import numpy as np
import pytest
from tests.support.faces import faces_in, photographs_of_one_person

from sonjit.geometry.boxes import box_iou
from sonjit.media import load_frames, open_source, rgb_from
from sonjit.media.drawing.covers import head_of_keypoints, inside

pytestmark = [pytest.mark.golden, pytest.mark.slow]


@pytest.fixture(scope="module")
def photo(data):
    """Return a photograph of a person with a face that is found."""
    found = next(islice(photographs_of_one_person(data), 1), None)
    if found is None:
        pytest.skip("no photographs of one person")
    assert faces_in(rgb_from(found))
    return found


@pytest.fixture(scope="module")
def clip(photo, tmp_path_factory):
    """Return a clip in which the photograph moves by some pixels."""
    rgb, path = rgb_from(photo), tmp_path_factory.mktemp("clip") / "a.mp4"
    height, width = (side // 2 * 2 - 8 for side in rgb.shape[:2])
    with av.open(path, "w") as file:
        stream = file.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for k in range(4):
            part = np.ascontiguousarray(rgb[k : k + height, k : k + width])
            file.mux(stream.encode(av.VideoFrame.from_ndarray(part, "rgb24")))
        file.mux(stream.encode())
    return path


@pytest.mark.nightly_after(1)
@pytest.mark.parametrize("kind", ["hands", "body", "explain"])
def test_drawings_of_a_photograph(sonjit, need, photo, tmp_path, kind):
    need("face-short", "face-full", "face-mesh", "body-full", "body-lite", "person-detector")
    out = tmp_path / "a.png"
    status, _, lines = sonjit(kind, photo, "--anonymise", "blur", "--draw", out)
    assert status == 0, lines
    assert faces_in(rgb_from(out)) == []


def test_a_drawn_video(sonjit, need, photo, clip, tmp_path):
    need("face-short", "face-full", "face-mesh", "body-full", "body-lite", "person-detector")
    out = tmp_path / "a.mp4"
    status, _, lines = sonjit("hands", clip, "--anonymise", "blur", "--draw", out)
    assert status == 0, lines
    with open_source(out) as drawn:
        images = [frame.rgb for frame in drawn]
    assert len(images) == 4
    (face, *_) = faces_in(rgb_from(photo))  # at other places, a video may show what a search takes for a face
    assert [[found for found in faces_in(rgb) if box_iou(found.box, face.box)] for rgb in images[::3]] == [[], []]


def test_pictures_of_a_report(sonjit, need, photo, clip, tmp_path):
    need("face-short", "face-full", "face-mesh", "body-full", "body-lite", "person-detector")
    pytest.importorskip("matplotlib")
    out = tmp_path / "a.html"
    status, _, lines = sonjit("report", clip, "--anonymise", "blur", "--save", out)
    assert status == 0, lines
    pictures = re.findall(r"data:image/(?:png|jpeg|webp);base64,([A-Za-z0-9+/=]+)", out.read_text("utf-8"))
    assert pictures
    # Pictures are cut and not scaled. Marks of a skeleton may look like a tiny face.
    (face, *_) = faces_in(rgb_from(photo))
    least_px = (face.box[2] - face.box[0]) / 2
    for picture in pictures:
        left = [found.box for found in faces_in(rgb_from(base64.b64decode(picture)))]
        assert [box for box in left if box[2] - box[0] >= least_px] == []


@pytest.mark.nightly_after(1)
@pytest.mark.parametrize("keep", [None, 2])
def test_one_of_three_people_of_a_clip_stays_visible(sonjit, need, data, tmp_path, keep):
    need("face-short", "face-full", "face-mesh", "body-full", "body-lite", "person-detector")
    folder = data / "real" / "video2"
    clip = folder / "clips" / "trio.mp4"
    if not clip.is_file():
        pytest.skip(f"{clip} is not there")
    labelled = next(
        each for each in json.loads((folder / "labels.json").read_text("utf-8"))["clips"] if each["name"] == "trio"
    )
    out, table = tmp_path / "a.mp4", tmp_path / "a.json"
    words = [] if keep is None else ["--keep", keep]
    options = ("--max-instances", "3", "--end", "0.5", "--draw", out, "--save", table)
    status, _, lines = sonjit("body", clip, "--anonymise", "blur", *words, *options)
    assert status == 0, lines
    key_frames = {frame["frame"]: frame["instances"] for frame in labelled["key_frames"]}
    bodies = {frame.index: frame.bodies for frame in load_frames(table)[1]}
    changes = {True: [], False: []}  # mean change of grey levels in labelled faces, kept or not
    with open_source(clip) as source, open_source(out) as drawn:
        for before, after in zip(source, drawn, strict=False):
            for item in key_frames.get(before.index, ()):
                if item["kind"] == "face" and not item.get("ignore"):
                    heads = [head_of_keypoints(b.keypoints) for b in bodies[before.index] if b.id == keep]
                    is_kept = any(inside(item["box"], head) > 0.6 for head in heads)
                    left, top, right, bottom = map(int, item["box"])
                    part = np.s_[top:bottom, left:right]
                    changes[is_kept].append(np.abs(before.rgb[part].astype(int) - after.rgb[part]).mean())
    assert (keep is not None) == bool(changes[True])
    assert max(changes[True], default=0) < min(changes[False])
    assert min(changes[False]) > 10
