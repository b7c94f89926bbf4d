"""Properties of every data set: lazy reading, small pickles for worker processes, and checks at opening."""

import multiprocessing
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit._util.errors import InputError
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.lab.datasets import Dataset, Instance, Sample, dataset_entry, list_datasets, open_dataset
from sonjit.lab.datasets.dataset import DatasetEntry
from sonjit.lab.datasets.interhand import index_images
from sonjit.lab.datasets.reading import camera_matrix, hand_before_camera
from sonjit.lab.datasets.registry import check_all, check_sample

K = camera_matrix((500, 500), (160, 120))
GREY = np.full((240, 320, 3), 127, np.uint8)


def hand_m(seed=0):
    """Return a hand (21, 3) in metres in front of the camera."""
    return np.random.default_rng(seed).uniform(-0.08, 0.08, (21, 3)) + np.array([0, 0, 0.6])


def sample_of(*hands, number=0, **more):
    return Sample(dataset="made", id=str(number), image=GREY, width=320, height=240, instances=hands,
                  camera=CalibratedCamera(K), **more)  # fmt: skip


class Made(Dataset):
    """Data set of generated samples, of which every third is invalid."""

    def __init__(self, entry, root, split, *, count=10, wrong=False):
        super().__init__(entry, root, split)
        self.count, self.wrong = count, wrong

    def __len__(self):
        return self.count

    def load(self, index):
        hand = hand_before_camera(hand_m(index), CalibratedCamera(K), "Right")
        return sample_of(hand, number=index, **({"box": (0, 0, 1, 1)} if self.wrong and index % 3 == 0 else {}))


ENTRY = DatasetEntry("made", "Made", Made, ("all",), ("hand",), "none", "nowhere", ())


def made(**options):
    return Made(ENTRY, None, "all", **options)


def id_at(dataset, index):
    return dataset[index].id


@given(st.integers(0, 12), st.integers(-15, 15))
def test_places_are_those_of_a_list(count, index):
    ids = [str(number) for number in range(count)]
    dataset = made(count=count)
    assert [sample.id for sample in dataset] == ids
    if -count <= index < count:
        assert dataset[index].id == ids[index]
    else:
        with pytest.raises(IndexError):
            dataset[index]


@given(st.slices(12))
def test_slices_are_those_of_a_list(part):
    ids = [str(number) for number in range(12)]
    assert [one.id for one in made(count=12)[part]] == ids[part]


@given(st.lists(st.integers(0, 9)), st.data())
def test_parts_of_parts(places, data):
    part = made().subset(places)
    again = data.draw(st.lists(st.sampled_from(range(len(places))))) if places else []
    assert [one.id for one in part.subset(again)] == [str(places[place]) for place in again]


@pytest.mark.parametrize("place", [-1, 10])
def test_places_outside_are_refused(place):
    with pytest.raises(InputError, match=f"{place} is out of range"):
        made().subset([place])


@pytest.mark.slow
def test_workers_read_the_same_samples():
    """Spawn the processes, so that they import the data set again."""
    dataset = made().subset(range(5))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.starmap(id_at, [(dataset, index) for index in range(5)]) == [sample.id for sample in dataset]


def test_bad_samples_are_an_error_or_listed():
    with pytest.raises(InputError, match=r"made 0.*box around all, up to \d+\.\d px"):
        check_all(made(wrong=True))
    kept = check_all(made(wrong=True), skip_bad=True)
    assert [one.id for one in kept] == [str(number) for number in range(10) if number % 3]
    assert [one.id for one in kept.skipped] == ["#0", "#3", "#6", "#9"]
    assert check_all(kept, skip_bad=True).skipped == kept.skipped


def test_wrong_units_axes_orders_and_cameras_are_reported():
    camera, joints = CalibratedCamera(K), hand_m()
    seen = camera.project(joints)
    hand = hand_before_camera(joints, camera, "Left", keypoints_px=seen)
    check_sample(sample_of(hand))
    wrong = {
        "the unit": (joints * 1000, seen),
        "behind the camera": (joints * [1, -1, -1], seen),
        "joint order": (joints[::-1], seen),
        "camera are not": (joints, seen + 30),
        "outside of the image": (joints + np.array([3, 0, 0]), None),
    }
    for message, (points, pixels) in wrong.items():
        with pytest.raises(InputError, match=message) as caught:
            check_sample(sample_of(hand_before_camera(points, camera, "Left", keypoints_px=pixels)))
        assert "left hand" in str(caught.value)


def test_labels_that_are_not_seen_may_lie_anywhere():
    points = np.full((21, 2), 1e4)
    hand = Instance(kind="hand", keypoints_px=points, valid_px=np.ones(21, bool), visible=np.zeros(21, bool))
    check_sample(sample_of(hand))
    check_sample(sample_of(Instance(kind="object")))
    check_sample(sample_of())


@given(st.floats(-0.3, 0.3), st.floats(-0.1, 0.1))
def test_lenses_distort_as_in_opencv(k1, p1):
    import cv2

    lens = np.array([k1, 0.01, p1, -0.02, 0.005])
    points = hand_m()
    given = cv2.projectPoints(points, np.zeros(3), np.zeros(3), K, lens)[0][:, 0]
    np.testing.assert_allclose(CalibratedCamera(K, distortion=lens).project(points), given, atol=1e-6)


def test_points_behind_a_camera_have_no_pixels():
    assert np.isnan(CalibratedCamera(K).project(np.array([[0, 0, -1.0], [0, 0, 0]]))).all()
    with pytest.raises(InputError, match="not known"):
        CalibratedCamera(K).from_world(np.zeros(3))


def test_images_of_another_size_are_refused_or_brought_to_size():
    small = sample_of()
    assert small.rgb() is GREY
    with pytest.raises(InputError, match=r"320 x 240 pixels.*640 x 480"):
        Sample(dataset="made", id="0", image=GREY, width=640, height=480).rgb()
    assert Sample(dataset="made", id="0", image=GREY, width=640, height=480, reduced=True).rgb().shape == (480, 640, 3)
    with pytest.raises(InputError, match="320 x 240"):
        Sample(dataset="made", id="0", image=GREY, width=640, height=640, reduced=True).rgb()


@pytest.mark.parametrize("name", list_datasets())
def test_records_name_required_fields(name):
    entry = dataset_entry(name)
    assert entry.name == name
    assert entry.splits
    assert entry.licence
    assert entry.where
    assert pickle.loads(pickle.dumps(entry)) == entry
    with pytest.raises(InputError, match="Unknown split 'none'"):
        open_dataset(name, "nowhere", "none")
    with pytest.raises(InputError, match="Unknown option 'colour'"):
        open_dataset(name, "nowhere", colour=True)


def test_unknown_sets_name_the_known_ones():
    with pytest.raises(InputError, match=r"Unknown data set 'interhand'\. Choose from .*interhand2\.6m"):
        open_dataset("interhand", "nowhere")


def test_index_of_a_million_images_would_fit(tmp_path):
    """Check the bytes per image, because InterHand2.6M has 2.5 million images."""
    import json

    count = 1000
    place = {"capture": 0, "subject": 1, "seq_name": "ROM", "camera": "400002", "width": 334, "height": 512}
    images = [place | {"id": n, "frame_idx": n, "file_name": f"Capture0/ROM/cam400002/image{n}.jpg"}
              for n in range(count)]  # fmt: skip
    annotations = [
        {"id": n, "image_id": n, "bbox": [1.5, 2, 3, 4], "joint_valid": [[n % 2]] * 42, "hand_type": "left",
         "hand_type_valid": 1} for n in range(count)
    ]  # fmt: skip
    path = tmp_path / "data.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}), "utf-8")
    index = index_images(path)
    assert len(pickle.dumps(index)) < 80 * count
    for n in (0, 1, count - 1):
        image = index.image(n)
        assert (image.annotation_id, image.frame, image.camera, image.subject) == (n, n, "400002", "1")
        assert image.joint_valid.tolist() == [bool(n % 2)] * 42
        assert image.file_name == images[n]["file_name"]
