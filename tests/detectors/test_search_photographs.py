import json
import os
import re
import shutil
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest

import sonjit
from sonjit.detectors.kinds import KINDS
from sonjit.detectors.search.geometry import is_same_instance
from sonjit.geometry.boxes import overlap_over_smaller
from sonjit.media import rgb_from

pytestmark = pytest.mark.golden

WILD = Path(os.environ.get("SONJIT_TEST_DATA", "../shared")) / "real" / "wild"
SAME_PX = 0.05
FEW_FRAMES = 10


@pytest.fixture(autouse=True)
def photographs():
    if not all((WILD / f"{name}.json").is_file() for name in ("hands", "people")):
        pytest.skip("photographs labelled by eye are missing")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_photographs_show_all_that_the_published_search_finds(kind):
    files = [*sorted(WILD.glob("stock-group-*.jpg")), WILD / "cgi-model-1.jpg"]
    if kind == "body":
        files += sorted(WILD.parent.glob("wild3/coco_0038*.jpg"))
    options = {"static_image": True, "max_instances": 50, "precision": "f32"}
    with (
        sonjit.create_detector(kind, search="fast", **options) as fast,
        sonjit.create_detector(kind, **options) as auto,
    ):
        for file in files:
            published, found = fast.detect(file), auto.detect(file)
            assert len(published) <= len(found), file.name
            if kind == "holistic":
                faces = [person.face.keypoints for person in found if person.face is not None]
                for person in published:
                    own = person.face
                    assert own is None or any(is_same_instance(own.keypoints, face) for face in faces), file.name
            elif kind == "body":  # other networks propose people, with a better view of some of them
                for one in published:
                    assert any(overlap_over_smaller(one.keypoints, other.keypoints) > 0.5 for other in found), file.name
            else:
                for one in published:  # two compiled copies of a network may round differently
                    assert min(np.abs(one.keypoints - other.keypoints).max() for other in found) < SAME_PX, file.name


@pytest.mark.nightly
@pytest.mark.slow
def test_streams_show_the_faces_of_turned_photographs_that_stills_show():
    """Stills are also searched in better light, so that a stream may lack one doubtful face."""
    options = {"max_instances": 20, "precision": "f32"}
    shown, missing = 0, []
    with (
        sonjit.create_detector("face", static_image=True, **options) as still,
        sonjit.create_detector("face", **options) as stream,
    ):
        for file, turns in product(sorted(WILD.glob("ai-*.jpg")), range(4)):
            rgb = np.ascontiguousarray(np.rot90(rgb_from(file), turns))
            stream.reset()
            seen = [stream.detect(rgb) for _ in range(FEW_FRAMES)][-1]
            for face in still.detect(rgb):
                shown += 1
                if not any(is_same_instance(face.keypoints, other.keypoints) for other in seen):
                    missing.append((file.name, turns, face.score))
    assert len(missing) <= 1 < shown, missing


@pytest.mark.nightly_after(1)
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["hands", "face", "body"])
def test_photographs_of_several_show_a_third_more_than_the_published_search_finds(kind):
    """The first few; `research/fit_search.py` scores them all."""
    name, each = ("hands", "hands") if kind == "hands" else ("people", "people")
    labels = json.loads((WILD / f"{name}.json").read_text("utf-8"))
    files = [file for file, entry in labels.items() if file[0] != "_" and 3 <= len(entry[each]) <= 8][:3]
    if not files:
        pytest.skip("no photograph of several")
    with (
        sonjit.create_detector(kind, static_image=True, max_instances=20, search="fast") as fast,
        sonjit.create_detector(kind, static_image=True, max_instances=20, search="thorough") as thorough,
    ):
        found = [(len(fast.detect(WILD / file)), thorough.detect(WILD / file)) for file in files]
    assert sum(len(many) for _, many in found) >= 1.33 * sum(few for few, _ in found)
    assert all(0.5 < one.score <= 1 for _, many in found for one in many)


def table(results):
    return [(result.score, result.keypoints.tobytes()) for result in results]


@pytest.mark.nightly_after(1)
@pytest.mark.parametrize("kind", ["hands", "face", "body"])
def test_what_was_seen_before_changes_nothing(kind):
    """Check that stills in any order, and streams after a reset, give equal bytes."""
    files = [WILD / name for name in ("person-vlado.jpg", "mps_thumb_up.jpg", "stock-emotions-a-5.jpg")]
    with sonjit.create_detector(kind, static_image=True, max_instances=4) as stills:
        before = {file: table(stills.detect(file)) for file in files}
        after = {file: table(stills.detect(file)) for file in reversed(files)}
    assert before == after
    with sonjit.create_detector(kind, max_instances=2) as stream:
        first = [table(stream.detect(file)) for file in (files[0], files[0], files[1])]
        stream.reset()
        assert [table(stream.detect(file)) for file in (files[0], files[0], files[1])] == first


def test_results_have_the_number_found_and_whether_the_search_is_complete():
    options = {"static_image": True, "search": "thorough"}
    with (
        sonjit.create_detector("face", max_instances=20, **options) as many,
        sonjit.create_detector("face", max_instances=1, **options) as one,
    ):
        everyone, best = many.detect(WILD / "group-5.jpg"), one.detect(WILD / "group-5.jpg")
    assert everyone.complete
    assert everyone.total == len(everyone) > 3
    assert (len(best), best.complete) == (1, True)
    assert best.total == everyone.total


@pytest.fixture
def reported(sonjit):
    """Return a function that returns the messages of a command with at most two instances."""

    def reported(*arguments):
        status, _, lines = sonjit(*arguments, "--max-instances", "2")
        assert status == 0, lines
        return "\n".join(lines)

    return reported


@pytest.mark.parametrize("kind", ["face", "holistic"])
def test_the_command_line_reports_that_more_were_found(reported, kind):
    messages = reported(kind, WILD / "group-5.jpg")
    assert re.search(r"2 of at least \d+ shown\. Use --max-instances\.", messages)


def test_the_command_line_reports_that_more_were_found_in_the_images_of_a_folder(reported, tmp_path):
    for number, name in enumerate(("group-5.jpg", "group-2.jpg", "person-tasia.jpg")):
        shutil.copy(WILD / name, tmp_path / f"{number}.jpg")
    messages = reported("face", tmp_path)
    assert re.findall(r"(\d)\.jpg: 2 of at least \d+ shown", messages) == ["0", "1"]


def test_the_command_line_reports_that_more_were_found_in_a_video(reported, write_video, tmp_path):
    rgb = cv2.resize(rgb_from(str(WILD / "group-5.jpg")), (960, 816))
    write_video(tmp_path / "clip.mp4", [rgb] * 5)
    assert re.search(r"2 of at least [3-9] shown\. Use --max-instances\.", reported("body", tmp_path / "clip.mp4"))
