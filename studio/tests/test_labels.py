import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit._util.errors import InputError
from sonjit_studio.labelling import swapped_frame_sets
from sonjit_studio.learning import fit_offsets, load_offsets, triangulate_detections
from sonjit_studio.run_folder import FOLDER, LABELS, ChunkDetections, Labels, load_labels, machine_marks, read_labels

from .annotated import drawn_project
from .projects import hands, make_project
from .rigs import random_rig


def made_labels(frames, views):
    """Return random labels of two hands, some of them unknown."""
    rng, shape = np.random.default_rng(0), (len(frames), 2, 21)
    points = rng.normal(0, 0.1, (*shape, 3))
    points[0, 1, 4] = np.nan
    return Labels(
        np.array(frames), points, rng.normal(size=(*shape, 3, 3)), rng.integers(0, 4, shape),
        rng.integers(0, views, shape), rng.random(shape), rng.random((len(frames), views, 2, 21)) < 0.5,
        rng.random(shape[:2]),
    )  # fmt: skip


def test_labels_read_back_exactly(tmp_path):
    labels = made_labels([3, 5, 8], 4)
    file = labels.save(tmp_path)
    assert file.name == "000000000003.parquet"
    for name, value in vars(load_labels(file)).items():
        np.testing.assert_array_equal(value, getattr(labels, name), err_msg=name)
        assert value.dtype == getattr(labels, name).dtype
    assert pyarrow.parquet.read_table(file)["x_m"].null_count == 1  # for SQL, where NaN is a number
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"damaged .* run sonjit annotate auto again"):
        load_labels(file)


def test_a_frame_sets_marks_are_its_labels_projected(tmp_path):
    project, joints = make_project(tmp_path, cameras=3, frames=3)
    folder = project.folder / FOLDER / "run"
    for row, frame in enumerate((0, 10)):
        labels = made_labels([frame], 2)
        labels.points_m[0] = joints[row].reshape(2, 21, 3)
        labels.points_m[0, 1, 4] = np.nan
        labels.save(folder / LABELS)
    (project.folder / FOLDER / "current.json").write_text('{"run": "run"}')
    (folder / "settings.json").write_text('{"views": ["cam0", "cam2"]}')
    assert [label.frames.tolist() for label in read_labels(project)] == [[0], [10]]
    marks = machine_marks(project, 10)
    assert {mark.view for mark in marks} == {"cam0", "cam2"}
    assert 25 not in {mark.joint for mark in marks}
    camera = project.rig["cam2"]
    for mark in (mark for mark in marks if mark.view == "cam2"):
        np.testing.assert_allclose(camera.project(joints[1, mark.joint]), mark.position_px, atol=0.01)
        assert (mark.state == "seen") == labels.seen[0, 1, mark.joint // 21, mark.joint % 21]
    assert machine_marks(project, 5) == machine_marks(project, 20) == []
    project.close()


@pytest.fixture
def project(tmp_path):
    opened = drawn_project(tmp_path)
    yield opened
    opened.close()


def moving(count, seed=0):
    """Return both hands (count, 2, 21, 3), which drift at a distance of at least a hand width, and frame numbers."""
    still = hands(1)[0].reshape(2, 21, 3)
    way = np.cumsum(np.random.default_rng(seed).normal(0, 0.006, (count, 2, 1, 3)), 0)
    return 10 * np.arange(count), still + way


def marks_of(points, certain):
    """Return the joints of the frame sets that people marked."""
    return np.where(certain[:, None, None, None], points, np.nan)


@given(st.integers(0, 100), st.integers(1, 5), st.integers(1, 4))
def test_a_short_swap_next_to_manual_marks_is_found(seed, first, length):
    frames, points = moving(14, seed)
    swapped = np.zeros(14, np.bool_)
    swapped[first : first + length] = True
    certain = np.zeros(14, np.bool_)
    certain[[first - 1, first + length]] = True
    human = marks_of(points, certain)
    points[swapped] = points[swapped][:, ::-1]
    np.testing.assert_array_equal(swapped_frame_sets(frames, points, human), swapped)


def test_hands_that_really_change_places_and_pauses_are_left():
    frames, points = moving(12)
    certain = np.arange(12) == 0
    crossed = points.copy()
    crossed[6:] = crossed[6:, ::-1]  # to the end: nothing says that it is not so
    assert not swapped_frame_sets(frames, crossed, marks_of(crossed, certain)).any()
    later = np.where(np.arange(12) < 6, frames, frames + 5000)
    back = points.copy()
    back[6] = back[6, ::-1]  # first after a pause: what was before tells nothing
    assert not swapped_frame_sets(later, back, marks_of(back, certain))[6]


FRAMES, MARKED = 40, 30


@pytest.fixture(scope="module")
def truth():
    return hands(FRAMES, 3).reshape(FRAMES, 2, 21, 3) * (1, 1, -1)


@pytest.fixture(scope="module")
def rig():
    return random_rig(6)


def detected(rig, truth, by_view_m, noise_px=0.0):
    """What a detector sees that is off by 4 mm across the palm, and more on the side that a view sees."""
    rng = np.random.default_rng(0)
    across = truth[:, :, 17] - truth[:, :, 5]
    across /= np.linalg.norm(across, axis=-1, keepdims=True)
    to_camera = rig.centres_m[:, None, None, None] - truth
    to_camera /= np.linalg.norm(to_camera, axis=-1, keepdims=True)
    faces = np.einsum("nsi,cnsji->cnsj", across, to_camera)[..., None]
    off = across[:, :, None] * (0.004 + by_view_m * faces)
    pixels = np.stack([camera.project(there) for camera, there in zip(rig, truth + off, strict=True)], 1)
    pixels += rng.normal(0, noise_px, pixels.shape)
    return ChunkDetections(np.arange(FRAMES), pixels.astype(np.float32), np.ones(pixels.shape[:-1], np.float32), ())


def error_mm(points, truth):
    return 1000 * float(np.linalg.norm(points - truth, axis=-1).mean())


@pytest.mark.parametrize("by_view_m", [0.0, 0.006])
def test_offsets_that_depend_on_hand_and_view_are_learned(rig, truth, by_view_m):
    seen = detected(rig, truth, by_view_m, noise_px=0.5)
    human, new = truth.copy(), np.arange(FRAMES) >= MARKED
    human[new] = np.nan
    offsets = fit_offsets(rig, seen, human)
    assert (offsets.frames == MARKED).all()
    without, corrected = (triangulate_detections(rig, seen.part(new), one).points_m for one in (None, offsets))
    assert error_mm(without, truth[new]) > 3.5
    assert error_mm(corrected, truth[new]) < 0.8


def test_marks_of_right_hands_teach_left_ones(rig, truth):
    seen, human = detected(rig, truth, 0.0), truth.copy()
    human[:, 1] = np.nan
    corrected = triangulate_detections(rig, seen, fit_offsets(rig, seen, human)).points_m
    assert error_mm(triangulate_detections(rig, seen).points_m[:, 1], truth[:, 1]) > 3.5
    assert error_mm(corrected[:, 1], truth[:, 1]) < 2


def test_offsets_load_from_their_file_and_damage_is_reported(rig, truth, tmp_path):
    some = slice(0, 6)
    offsets = fit_offsets(rig, detected(rig, truth, 0.0).part(some), truth[some])
    file = tmp_path / "offsets.json"
    offsets.save(file)
    again = load_offsets(file)
    for name, values in vars(offsets).items():
        np.testing.assert_array_equal(getattr(again, name), values)
    huge = f'{{"format": "sonjit-view-offsets", "frames": [1{400 * "0"}]}}'
    for damaged in ("{", '{"format": "sonjit-view-offsets", "values_m": [], "frames": []}', "[]", huge):
        file.write_text(damaged)
        with pytest.raises(InputError, match="no offsets"):
            load_offsets(file)


def test_too_few_frame_sets_teach_nothing(rig, truth):
    human = np.full_like(truth, np.nan)
    human[:3] = truth[:3]
    with pytest.raises(InputError, match="3 frames"):
        fit_offsets(rig, detected(rig, truth, 0.0), human)
