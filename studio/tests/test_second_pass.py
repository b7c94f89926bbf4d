import json
from dataclasses import replace

import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit_lab.datasets import open_dataset
from sonjit_lab.datasets.sample import CORNER_PIXEL
from sonjit_studio import detection as second_pass
from sonjit_studio.annotator import AnnotatorSettings, annotate
from sonjit_studio.association import ViewDetections, associate_hands
from sonjit_studio.detection import detect_frames, refine_detections
from sonjit_studio.learning import mirror_points, train_network, write_training_set
from sonjit_studio.marks import Mark
from sonjit_studio.run_folder import FOLDER, ChunkDetections, DetectionSettings, current_run, read_labels

from .annotated import FRAMES, OFF_M, people_mark
from .projects import hands as drawn
from .rigs import random_rig

TINY = {"scratch": "true", "trunk": "tiny", "size": "64", "steps": "2", "batch": "4", "warmup": "1", "freeze": ""}


class Taught:
    """Network that finds each hand at its drawn position in all views except some."""

    def __init__(self, rig, joints, blind=()):
        self.rig, self.joints, self.blind, self.asked = rig, joints, blind, set()

    def __call__(self, rgb, there_px, side):
        row, view = int(rgb[2, 2, 1]), int(rgb[2, 2, 0])
        self.asked.add((row, view, side))
        if view in self.blind:
            return None
        return self.rig.cameras[view].project(self.joints[row, side]), np.full(21, 0.8)


def first_look(rig, joints):
    """Return the observations of all views with the error of the general detector."""
    pixels = np.moveaxis(rig.project(joints + OFF_M), 0, 1).astype(np.float32)  # (N, C, 2, 21, 2)
    return ChunkDetections(np.arange(len(joints)), pixels, np.full(pixels.shape[:-1], 0.9, np.float32), ())


@pytest.mark.nightly_after(1)
@pytest.mark.slow
@pytest.mark.parametrize("blind", [(), (1, 3)])
def test_the_taught_network_has_the_last_word(made, monkeypatch, blind):
    project, joints, _ = made
    taught = Taught(project.rig, joints, blind)
    monkeypatch.setattr(second_pass, "_open_for_second_pass", lambda _: (project, taught))
    seen = refine_detections(DetectionSettings(str(project.folder), project.rig.names), first_look(project.rig, joints))
    exact = np.moveaxis(project.rig.project(joints), 0, 1)
    sees = [view for view in range(5) if view not in blind]
    np.testing.assert_allclose(seen.points_px[:, sees], exact[:, sees], atol=1e-3)
    assert np.isnan(seen.points_px[:, list(blind)]).all()
    assert not seen.confidence[:, list(blind)].any()
    assert taught.asked == {(row, view, side) for row in range(FRAMES) for view in range(5) for side in range(2)}


def test_left_hands_are_lessons_as_right_ones(made, tmp_path):
    project, joints, _ = made
    people_mark(project, joints, [4])
    images = open_dataset("folder", write_training_set(project, (4,), tmp_path / "training-set", as_right=True))
    assert len(images) == 5 * 2
    for image in images:
        (hand,) = image.instances
        view, _, file = image.id.removeprefix("images/").partition("/")
        camera, left = project.rig[view], "mirrored" in file
        points = camera.project(joints[4, int(left)])
        points = mirror_points(points, camera.width) if left else points
        np.testing.assert_allclose(hand.keypoints_px, points - CORNER_PIXEL, atol=0.02)


def test_excluded_cameras_teach_nothing(made, tmp_path):
    project, joints, _ = made
    people_mark(project, joints, [4])
    camera = project.rig["cam1"]
    project.store.add([Mark("moved", 4, "cam1", 9, "Ann", "seen", *(camera.project(joints[4, 0, 9]) + 50).tolist())])
    folder = project.folder / FOLDER / "run"
    folder.mkdir(parents=True)
    (folder.parent / "current.json").write_text('{"run": "run"}')
    (folder / "settings.json").write_text(json.dumps({"views": ["cam0", "cam2", "cam3", "cam4"]}))
    images = open_dataset("folder", write_training_set(project, (4,), tmp_path / "training-set"))
    assert {image.id.split("/")[1] for image in images} == {"cam0", "cam2", "cam3", "cam4"}
    for image in images:
        points = project.rig[image.id.split("/")[1]].project(joints[4])
        for hand, expected in zip(image.instances, points, strict=True):
            np.testing.assert_allclose(hand.keypoints_px, expected - CORNER_PIXEL, atol=0.02)


@pytest.mark.slow
def test_what_train_makes_is_what_auto_looks_with(made, weights):
    del weights
    project, joints, _ = made
    people_mark(project, joints, [0, 5])
    folder, results = train_network(project, "hand-full", TINY)
    assert results["hands"] == 2 * 5 * 2
    assert train_network(project, "hand-full", TINY)[0] == folder
    done = annotate(project, AnnotatorSettings(fps=1, network=str(folder)))
    assert done.folder == current_run(project)
    assert done.kept == 0
    assert sum(len(label.frames) for label in read_labels(project)) == FRAMES
    assert len(list(project.folder.glob("auto/*/seen/*.npz"))) == 2 * 2  # of both looks
    assert annotate(project, AnnotatorSettings(fps=1, network=str(folder))).kept == FRAMES


@pytest.mark.slow
def test_a_network_that_is_not_there_is_named(made, tmp_path):
    with pytest.raises(InputError, match="annotate train --network"):
        annotate(made[0], AnnotatorSettings(fps=1, network=str(tmp_path / "none")))


def test_a_training_that_did_not_end_is_named(made, tmp_path):
    project, joints, _ = made
    (tmp_path / "hand-full-1").mkdir()
    (tmp_path / "hand-full-1" / "weights.safetensors").write_bytes(b"of the last step")
    detect_frames = DetectionSettings(str(project.folder), project.rig.names, network=str(tmp_path / "hand-full-1"))
    with pytest.raises(InputError, match="did not finish"):
        refine_detections(detect_frames, first_look(project.rig, joints))


def hands(frames=1, seed=0):
    """Return drawn hands whose fingers bend like those of the labelled side."""
    return drawn(frames, seed) * (1, 1, -1)


def seen_by(rig, joints_m, rng, *, noise_px=2.0):
    """Return both hands in a random order in each view, with the second half of the candidates empty."""
    pixels = rig.project(joints_m.reshape(2, 21, 3)) + rng.normal(0, noise_px, (len(rig), 2, 21, 2))
    order = rng.permuted(np.tile([0, 1], (len(rig), 1)), axis=1)
    points = np.full((len(rig), 4, 21, 2), np.nan)
    points[:, :2] = np.take_along_axis(pixels, order[..., None, None], 1)
    score = np.zeros((len(rig), 4))
    score[:, :2] = 0.9
    right = np.full((len(rig), 4), 0.5)
    right[:, :2] = np.where(order == 0, 0.9, 0.1)
    return ViewDetections(points, score, right), np.argsort(order, axis=1).T


@pytest.mark.parametrize("seed", range(4))
def test_hands_are_put_together_whatever_their_order(seed):
    rng = np.random.default_rng(seed)
    rig = random_rig(8, seed)
    seen, expected = seen_by(rig, hands(1, seed)[0], rng)
    np.testing.assert_array_equal(associate_hands(rig, seen), expected)


def test_what_fits_no_other_view_is_left_out():
    rng = np.random.default_rng(1)
    rig = random_rig(6)
    seen, expected = seen_by(rig, hands()[0], rng)
    seen.points_px[2] = rng.uniform(0, 480, seen.points_px[2].shape)
    seen.score[2] = 0.95
    expected[:, 2] = -1
    np.testing.assert_array_equal(associate_hands(rig, seen), expected)


def test_one_hand_is_called_by_its_votes():
    rng = np.random.default_rng(2)
    rig = random_rig(6)
    seen, expected = seen_by(rig, hands()[0], rng)
    for view in range(6):
        gone = expected[0, view]  # the right hand is not there
        seen.points_px[view, gone], seen.score[view, gone] = np.nan, 0
    chosen = associate_hands(rig, seen)
    assert (chosen[0] == -1).all()
    np.testing.assert_array_equal(chosen[1], expected[1])


def test_crops_of_complete_hands_decide_between_candidates(made, monkeypatch):
    project, joints, detector = made
    found_in = detector.detect

    def mistaken(rgb, boxes=None):
        """Confuse hands in complete images, not in crops."""
        found = found_in(rgb, boxes)
        if boxes is not None:
            return found
        return [replace(hand, handedness="Left" if hand.handedness == "Right" else "Right") for hand in found]

    monkeypatch.setattr(detector, "detect", mistaken)
    seen = detect_frames(DetectionSettings(str(project.folder), project.rig.names), range(4))
    exact = np.moveaxis(project.rig.project(joints[:4] + OFF_M), 0, 1)
    np.testing.assert_allclose(seen.points_px, exact, atol=0.1)


def test_a_hand_that_was_lost_for_a_moment_is_the_one_that_was_there():
    rng, rig = np.random.default_rng(3), random_rig(2)
    seen, expected = seen_by(rig, hands()[0], rng)
    for view in range(2):
        gone = expected[1, view]  # the left hand is not there, and one view takes the other for it
        seen.points_px[view, gone], seen.score[view, gone] = np.nan, 0
        seen.right[view, expected[0, view]] = (0.0, 0.9)[view]
    before = np.full((2, 21, 3), np.nan)
    before[0] = hands()[0, :21] + 0.03
    before[0, 8] = np.nan
    assert (associate_hands(rig, seen, before)[0] == expected[0]).all()
    assert (associate_hands(rig, seen, before[::-1])[1] == expected[0]).all()
