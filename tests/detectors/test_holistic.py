"""People with their hands and face: each part belongs to the right person."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from sonjit import create_detector
from sonjit.detectors.kinds import KINDS
from sonjit.detectors.kinds import holistic as parts_of_people
from sonjit.detectors.kinds.body import BodyObservation, body_smoothers
from sonjit.detectors.kinds.face import FaceFinder, FaceMeshes, FaceObservation
from sonjit.detectors.kinds.holistic import hand_box, head_box, recropped_box
from sonjit.detectors.options import CommonOptions
from sonjit.detectors.ssd import Detection
from sonjit.geometry.boxes import RotatedBox
from sonjit.media import open_source, rgb_from

STILLS = pytest.mark.files("goldens/mediapipe/pose.*.static.full.json")
VIDEOS = pytest.mark.files("goldens/mediapipe/pose.*.track.full.json")


def medium(file):
    """Return the image or clip of a golden, or skip synthetic ones that are not stored."""
    golden = json.loads(file.read_text("utf-8"))
    path = file.parents[2] / golden["source"]
    if not path.is_file():
        pytest.skip(f"{path.name} is not in the test data")
    return golden, path


@pytest.fixture(scope="module")
def holistic(weights):
    with create_detector("holistic", static_image=True, search="fast", max_instances=2) as detector:
        yield detector


@pytest.fixture(scope="module")
def bodies(weights):
    with create_detector("body", static_image=True, search="fast", max_instances=2) as detector:
        yield detector


@pytest.mark.golden
@STILLS
def test_bodies_are_those_of_the_body_detector(file, holistic, bodies):
    _, path = medium(file)
    rgb = rgb_from(path)
    for person, body in zip(holistic.detect(rgb), bodies.detect(rgb), strict=True):
        np.testing.assert_array_equal(person.body.keypoints, body.keypoints)


@pytest.mark.golden
@STILLS
def test_hands_and_face_are_where_the_body_has_them(file, holistic):
    _, path = medium(file)
    for person in holistic.detect(path):
        body = person.body
        for hand, wrist in ((person.left_hand, 15), (person.right_hand, 16)):
            if hand is not None:
                assert hand.handedness == ("Left" if wrist == 15 else "Right")
                size = np.ptp(hand.keypoints[:, :2], axis=0).max()
                assert np.linalg.norm(hand.keypoints[0, :2] - body.keypoints[wrist, :2]) < size
        if person.face is not None:
            x_min, y_min, x_max, y_max = person.face.box
            nose = body.keypoints[0, :2]
            assert x_min - (x_max - x_min) < nose[0] < x_max + (x_max - x_min)
            assert y_min < nose[1] < y_max


@pytest.mark.golden
@STILLS
def test_two_people_have_the_results_of_single_images(file, holistic):
    """Show the same image twice, one below the other, and detect in the boxes of the single image."""
    _, path = medium(file)
    rgb = rgb_from(path)
    separate = holistic.detect(rgb)[:1]
    if not separate:
        pytest.skip(f"nobody is found in {path.name}")
    height = rgb.shape[0]
    box = holistic._kind.find(rgb, 0.5)[0]
    both = holistic.detect(np.vstack([rgb, rgb]), boxes=[box, box._replace(cy=box.cy + height)])
    reach = box.height / 2 * (abs(np.cos(box.rotation)) + abs(np.sin(box.rotation)))
    if not 0 < box.cy - reach < box.cy + reach < height:
        pytest.skip(f"the box of {path.name} reaches over the seam")
    assert len(both) == 2
    for person, shift in zip(both, (0, height), strict=True):
        for mine, theirs in zip(person.parts, separate[0].parts, strict=True):
            moved = mine.keypoints[:, :2] - (0, shift)
            assert np.linalg.norm(moved - theirs.keypoints[:, :2], axis=1).mean() < 1


@pytest.mark.golden
@VIDEOS
def test_everything_of_a_person_keeps_one_id(file, weights):
    _, path = medium(file)
    with create_detector("holistic", max_instances=1) as detector, open_source(path) as source:
        frames = [detector.detect(rgb, time=time) for _, time, rgb in source]
    assert all(len(people) == 1 for people in frames[1:])
    assert {part.id for people in frames for person in people for part in person.parts} == {1}


@pytest.mark.golden
@STILLS
def test_all_parts_of_flipped_people_are_flipped(file, weights, holistic):
    _, path = medium(file)
    rgb = rgb_from(path)
    options = {"static_image": True, "search": "fast", "max_instances": 2}
    with create_detector("holistic", **options, flip_horizontal=True) as flipping:
        for mine, theirs in zip(flipping.detect(rgb), holistic.detect(rgb), strict=True):
            for a, b in zip(mine.parts, theirs.parts, strict=True):
                np.testing.assert_allclose(a.keypoints[:, 0], rgb.shape[1] - b.keypoints[:, 0], rtol=1e-5, atol=1e-2)
                assert a.keypoints.dtype == np.float32


def test_forced_boxes_without_a_person_give_no_person(holistic):
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    assert holistic.detect(noise, boxes=[RotatedBox(100, 100, 120, 120, 0.0)]) == []


def test_crops_of_parts_are_placed_by_the_keypoints_of_the_body():
    keypoints, visibility = np.zeros((33, 3), np.float32), np.zeros(33, np.float32)
    keypoints[[15, 17, 19], :2] = (50, 80), (47, 70), (51.5, 70)  # wrist, little and index finger: upwards
    keypoints[:11, :2] = 60, 20
    keypoints[[2, 5, 7, 8], :2] = (60, 16), (60, 24), (60, 10), (60, 30)  # eyes and ears of a head that lies
    body = BodyObservation(
        0.9, keypoints, keypoints, visibility, visibility, keypoints[:2, :2], mask=None, colours=keypoints[0]
    )
    assert hand_box(body, 0) is None
    visibility[15] = 0.2
    assert hand_box(body, 0) == pytest.approx((50, 68, 54, 54, 0), abs=1e-5)
    assert head_box(body) is None
    visibility[0] = 0.2
    assert head_box(body) == pytest.approx((60, 20, 60, 60, -np.pi / 2), abs=1e-5)


def test_the_recropped_hand_reaches_a_tenth_farther_up():
    class Network:  # sees the hand in the middle, its lower edge 32 pixels below
        input = np.zeros((1, 256, 256, 3), np.uint8)

        def run(self):
            return [np.array([[[[128, 128, 128, 160]]]], np.float32)]

    box = recropped_box(np.zeros((100, 100, 3), np.uint8), RotatedBox(50, 50, 64, 64), Network())
    assert box == pytest.approx((50, 50 - 1.6, 16, 16, 0), abs=1e-5)


@pytest.mark.parametrize("shift", [-0.1, 0.0])
def test_the_crop_of_a_heads_face_is_around_the_detectors_keypoints(shift):
    class Faces:
        def find_in(self, rgb, head, min_score):
            points = np.array([(30, 50), (70, 50), (50, 60), (50, 70), (20, 55), (80, 55)], np.float64)
            return [Detection(0.9, np.zeros(4), points)]

    box = FaceFinder(Faces(), shift_y=shift).find_in(np.zeros((9, 9, 3), np.uint8), RotatedBox(50, 50, 90, 90), 0.5)
    assert box == pytest.approx((50, 60 + 20 * shift, 120, 120, 0))


@pytest.mark.parametrize("kind", ["holistic", "body"])
def test_a_holistic_bundle_smooths_the_keypoints_that_give_the_next_box(monkeypatch, kind):
    monkeypatch.setattr(CommonOptions, "follows_bundle", True)
    smoother = body_smoothers(KINDS[kind].options())()
    points, ones = np.ones((33, 3), np.float32), np.ones(33, np.float32)
    for time, shift in ((0.0, 0), (0.033, 5)):
        alignment = np.array([[100, 100], [100, 50]], np.float32) + np.float32(shift)
        seen = BodyObservation(0.9, points, points, ones, ones, alignment)
        smoothed = smoother(seen, time)
    assert (smoothed.alignment == alignment).all() == (kind == "body")


@pytest.mark.parametrize("square", [True, False])
def test_the_next_box_of_a_face_is_square_or_of_its_shape(square):
    class Network:
        input = np.zeros((1, 256, 256, 3), np.uint8)

    points = np.zeros((478, 3), np.float32)
    points[[10, 152, 33, 263], :2] = (30, 0), (30, 80), (0, 30), (60, 30)
    box = FaceMeshes(None, Network(), squares_after=square).box_after(FaceObservation(1.0, points))
    assert box == pytest.approx((30, 40, 120 if square else 90, 120, 0))


@pytest.mark.parametrize(
    ("tracked", "keypoint", "is_kept"),
    [
        ((100, 100, 50, 50, 0.3), (100, 100), True),
        ((109, 109, 50, 50, 0.3), (100, 100), True),
        ((111, 100, 50, 50, 0.3), (100, 100), False),  # a shift of more than 0.2 sizes
        ((100, 89, 50, 50, 0.3), (100, 100), False),
        ((100, 100, 69, 69, 0.3), (100, 100), True),
        ((100, 100, 71, 71, 0.3), (100, 100), False),  # a size that differs by more than 0.4
        ((100, 100, 50, 50, 0.9), (100, 100), True),
        ((100, 100, 50, 50, 1.1), (100, 100), False),  # an angle that differs by more than 40 degrees
        ((100, 100, 50, 50, 0.3 - 2 * np.pi), (100, 100), True),
        ((100, 100, 50, 50, 0.3), (100 + 22 * np.cos(0.3), 100 + 22 * np.sin(0.3)), True),
        ((100, 100, 50, 50, 0.3), (100 + 23 * np.cos(0.3), 100 + 23 * np.sin(0.3)), False),  # a keypoint in the margin
    ],
)
def test_a_tracked_hand_is_kept_where_the_search_agrees(tracked, keypoint, is_kept):
    found = RotatedBox(100, 100, 50, 50, 0.3)
    part = parts_of_people._Part(None, box=RotatedBox(*tracked), keypoints=np.array([keypoint], np.float32))
    looked_at = []

    def observe(box):
        looked_at.append(box)
        return FaceObservation(0.9, np.zeros((3, 3), np.float32))

    after = RotatedBox(1, 2, 3, 3, 0)
    agreement = parts_of_people._HAND_AGREEMENT
    assert part.search(observe, lambda _: after, lambda: found, agreement, min_score=0.5) is not None
    assert looked_at == [RotatedBox(*tracked) if is_kept else found]
    assert part.box == after
    assert part.search(observe, lambda _: after, lambda: None, agreement, min_score=0.5) is None
    assert part.box is None


AGREE = """
import { readFileSync } from "node:fs";
import { build } from "esbuild";
const [outdir] = process.argv.slice(1);
const entryPoints = ["src/holistic.ts", "src/data.ts"];
await build({ entryPoints, outdir, bundle: true, format: "esm", outExtension: { ".js": ".mjs" } });
const { agree } = await import(`${outdir}/holistic.mjs`);
const { HAND_AGREEMENT, FACE_AGREEMENT } = (await import(`${outdir}/data.mjs`)).constants.holistic;
const cases = JSON.parse(readFileSync(0, "utf8"));
const answers = cases.map(([tracked, keypoints, found]) =>
  [HAND_AGREEMENT, FACE_AGREEMENT].map((one) => agree(tracked, Float32Array.from(keypoints), found, one)));
console.log(JSON.stringify(answers));
"""


def test_pages_keep_a_tracked_box_where_python_does(tmp_path):
    web = Path(__file__).parents[2] / "web"
    if not shutil.which("node") or not (web / "node_modules").is_dir():
        pytest.skip("what builds web/ is not installed: it needs npm; type: make web")
    rng = np.random.default_rng(3)
    cases = []
    for _ in range(400):
        cx, cy, size, angle = rng.uniform((100, 100, 20, -3), (300, 300, 90, 3))
        dx, dy, grown, turned, reach = rng.uniform((-0.15, -0.15, 0.6, -0.5, 0.1), (0.15, 0.15, 1.4, 0.5, 0.5))
        tracked = RotatedBox(cx + dx * size, cy + dy * size, size * grown, size * grown, angle + turned)
        keypoints = np.float32(rng.uniform(-reach, reach, (4, 3)) * size + (cx, cy, 0))
        cases.append((tracked, keypoints, RotatedBox(cx, cy, size, size, angle)))
    given = json.dumps(
        [[tracked._asdict(), keypoints.ravel().tolist(), found._asdict()] for tracked, keypoints, found in cases]
    )
    command = ["node", "--input-type=module", "-e", AGREE, tmp_path]
    done = subprocess.run(command, input=given.encode(), cwd=web, check=True, stdout=subprocess.PIPE, timeout=60)
    answers = json.loads(done.stdout)
    agreements = parts_of_people._HAND_AGREEMENT, parts_of_people._FACE_AGREEMENT
    expected = [
        [agreement.accepts(tracked, keypoints[:, :2], found) for agreement in agreements]
        for tracked, keypoints, found in cases
    ]
    assert answers == expected
    assert 20 < np.sum(expected, axis=0).min() < np.sum(expected, axis=0).max() < 380
