"""Properties of every data set: lazy reading, small pickles for worker processes, and checks at opening."""

import json
import multiprocessing
import pickle

import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.geometry.cameras import CalibratedCamera
from sonjit_lab.datasets import Dataset, Sample, dataset_entry, interhand, list_datasets, open_dataset, reading
from sonjit_lab.datasets.checks import check_sample
from sonjit_lab.datasets.dataset import DatasetEntry
from sonjit_lab.datasets.registry import check_all

K = reading.camera_matrix((500, 500), (160, 120))
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
        hand = reading.hand_before_camera(hand_m(index), CalibratedCamera(K), "Right")
        return sample_of(hand, number=index, **({"box": (0, 0, 1, 1)} if self.wrong and index % 3 == 0 else {}))


ENTRY = DatasetEntry("made", "Made", Made, ("all",), ("hand",), "none", "nowhere", ())


def made(**options):
    return Made(ENTRY, None, "all", **options)


def id_at(dataset, index):
    return dataset[index].id


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
    hand = reading.hand_before_camera(joints, camera, "Left", keypoints_px=seen)
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
            check_sample(sample_of(reading.hand_before_camera(points, camera, "Left", keypoints_px=pixels)))
        assert "left hand" in str(caught.value)


@pytest.mark.parametrize("name", list_datasets())
def test_records_name_required_fields(name):
    entry = dataset_entry(name)
    assert all([entry.name == name, entry.splits, entry.licence, entry.where])
    assert pickle.loads(pickle.dumps(entry)) == entry
    with pytest.raises(InputError, match="Unknown split 'none'"):
        open_dataset(name, "nowhere", "none")
    with pytest.raises(InputError, match="Unknown option 'colour'"):
        open_dataset(name, "nowhere", colour=True)
    with pytest.raises(InputError, match=rf"Unknown data set 'x'\. Choose from .*{name}"):
        open_dataset("x", "nowhere")


def test_images_of_interhand_are_those_of_their_ids(tmp_path):
    place = {"capture": 0, "subject": 1, "seq_name": "ROM", "camera": "7", "width": 334, "height": 512}
    images = [place | {"id": n, "frame_idx": frame, "file_name": f"Capture0/ROM/cam7/image{frame}.jpg"}
              for n, frame in ((70, 3), (3, 12), (12, 70))]  # fmt: skip
    annotation = {"bbox": [1, 2, 3, 4], "joint_valid": [[1]] * 42, "hand_type": "left", "hand_type_valid": 1}
    annotations = [annotation | {"id": n, "image_id": image} for n, image in ((3, 12), (70, 3), (9, 70), (8, 5))]
    path = tmp_path / "data.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}), "utf-8")
    index = interhand.index_images(path)
    found = [index.image(row) for row in range(3)]
    assert [(item.annotation_id, item.image_id, item.frame) for item in found] == [(3, 12, 70), (70, 3, 12), (9, 70, 3)]
    with pytest.raises(InputError, match=r"annotations\[3\]\.image_id is 5, which is not in images"):
        index.image(3)
    path.write_text(json.dumps({"images": [*images, images[0]], "annotations": annotations}), "utf-8")
    with pytest.raises(InputError, match="two images have the id 70"):
        interhand.index_images(path).image(2)
