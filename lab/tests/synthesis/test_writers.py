"""Each folder format, read back by its usual loaders."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from sonjit_lab.datasets import checks, open_dataset
from sonjit_lab.synthesis.job import synthesize
from sonjit_lab.synthesis.layouts import SHEET, SynthSettings

pytestmark = pytest.mark.slow
COUNT, VIEWS = 3, 3
OPENED = {
    "coco": lambda folder: open_dataset("folder", folder, check="all"),
    "interhand": lambda folder: open_dataset("interhand2.6m", folder, "train", check="all"),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory, renderer, rigs):
    """Return the same scenes in each format."""
    made = {}
    for form in OPENED:
        made[form] = tmp_path_factory.mktemp(form) / "out"
        extras = ("depth", "normals", "masks")
        settings = SynthSettings(
            COUNT, 2, ("hands=1,2",), rig="dome", views=VIEWS, size=(160, 120), format=form, extras=extras
        )
        summary = synthesize(made[form], settings)
        assert summary.images == COUNT * VIEWS
    return made


@pytest.fixture(scope="module")
def read(folders):
    """Return the samples of each format in the same order."""

    def place(sample):
        return sample.camera.K.tolist(), sample.camera.t.round(4).tolist()

    return {form: sorted(OPENED[form](folder), key=place) for form, folder in folders.items()}


@pytest.mark.nightly_after(1)
@pytest.mark.parametrize("form", OPENED)
def test_loaders_read_every_image_back(read, form):
    assert len(read[form]) == COUNT * VIEWS
    for sample in read[form]:
        checks.check_sample(sample)
        assert sample.rgb().shape == (120, 160, 3)
        assert sample.rgb().std() > 5


def test_both_formats_contain_the_same_labels(read):
    for one, other in zip(read["coco"], read["interhand"], strict=True):
        assert np.abs(one.rgb().astype(int) - other.rgb()).max() == 0
        hands = {hand.side: hand for hand in other.instances}
        for hand in one.instances:
            same = hands[hand.side]
            np.testing.assert_allclose(hand.keypoints_m, same.keypoints_m, atol=1e-5)
            both = hand.valid_px & same.valid_px
            assert both.sum() == hand.valid_px.sum()
            np.testing.assert_allclose(hand.keypoints_px[both], same.keypoints_px[both], atol=0.05)
        assert one.subject == other.subject.removeprefix("train/")


def test_coco_contains_all_labels(folders):
    data = json.loads((folders["coco"] / "coco.json").read_text("utf-8"))
    assert {category["name"] for category in data["categories"]} == {"left_hand", "right_hand"}
    images = {image["id"]: image for image in data["images"]}
    for annotation in data["annotations"]:
        image, flags = images[annotation["image_id"]], np.array(annotation["keypoints"][2::3])
        causes = np.array(annotation["causes"])
        np.testing.assert_array_equal(flags == 2, causes == "visible")
        np.testing.assert_array_equal(flags == 0, causes == "outside")
        assert {"tone", "hands", "distance"} <= image["tags"].keys()
        assert len(annotation["shape"]) == 36
        assert np.shape(annotation["pose"]["angles_rad"]) == (5, 3, 3)
        world = np.array(annotation["keypoints_world_m"])
        placed = world @ np.array(image["camera"]["R"]).T + image["camera"]["t_m"]
        np.testing.assert_allclose(1000 * placed, annotation["keypoints3d"], atol=0.01)
    for entry in open_dataset("folder", folders["coco"]):
        for instance in entry.instances:
            rows, columns = np.nonzero(instance.mask())
            assert instance.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


@pytest.mark.nightly
def test_masks_become_instances_to_train_on(folders):
    """Check that hands equal those of coco.json with gloves, and that instances cover the mask without overlap."""
    root = folders["coco"]
    hands = {Path(sample.id).name: sample for sample in open_dataset("folder", root)}
    found = set()
    data = open_dataset("folder", root / "masks" / "instances.json")
    assert len(data) == len(hands)
    for image in data:
        (file,) = (root / "masks").rglob(f"{Path(image.id).stem}.png")
        covered = np.zeros((120, 160), int)
        for instance in image.instances:
            found.add(data.categories()[instance.category_id])
            covered += instance.mask()
        own = hands[Path(image.id).name].instances
        labelled = [
            instance for instance in image.instances if data.categories()[instance.category_id].endswith("_hand")
        ]
        assert [one.mask().sum() for one in labelled] == [one.mask().sum() for one in own]
        assert covered.max() <= 1
        assert (covered > 0).sum() >= (cv2.imread(str(file), cv2.IMREAD_UNCHANGED) > 0).sum() - 4 * 16
    assert {"left_hand", "right_hand", "arm"} <= found <= {"left_hand", "right_hand", "arm", "object"}


@pytest.mark.nightly
def test_further_images_are_stored_next_to_the_masks_and_agree_with_them(folders):
    root = folders["coco"]
    for image in open_dataset("folder", root):
        name = image.id.removeprefix("images/").replace(".jpg", ".png")
        masks = cv2.imread(str(root / "masks" / name), cv2.IMREAD_UNCHANGED)
        depth = cv2.imread(str(root / "depth" / name), cv2.IMREAD_UNCHANGED)
        normals = cv2.imread(str(root / "normals" / name), cv2.IMREAD_UNCHANGED)[..., ::-1]
        assert depth.dtype == np.uint16
        np.testing.assert_array_equal(masks > 0, depth > 0)
        np.testing.assert_array_equal(masks > 0, normals.any(axis=2))
        assert 0.1 < np.median(depth[depth > 0]) * 1e-4 < 2
        length = np.linalg.norm((normals[masks > 0].astype(float) - 128) / 127, axis=1)
        np.testing.assert_allclose(length, 1, atol=0.05)
        integer = np.zeros_like(masks, bool)
        for instance in image.instances:
            integer |= instance.mask()
        assert not (integer & (masks == 0)).any()


@pytest.mark.nightly_after(1)
@pytest.mark.parametrize("form", OPENED)
def test_a_contact_sheet_lies_with_them(folders, form):
    sheet = cv2.imread(str(folders[form] / SHEET))
    assert sheet.std() > 5
