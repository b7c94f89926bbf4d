"""The classifier of left and right hands: its crops and its training."""

from itertools import product

import numpy as np
import pytest

from sonjit import InputError
from sonjit.media.sources.images import encode_image
from sonjit.results.skeletons import mirrored_order
from sonjit_lab.datasets import Instance, Sample
from sonjit_lab.networks.checkpoints import DESCRIPTION
from sonjit_lab.papers.cam import class_images
from sonjit_lab.papers.cam import recipe as cam
from sonjit_lab.training.recipes import TrainingRequest, run_recipe


@pytest.fixture(scope="module")
def crops(demo_clip):
    path = demo_clip[0]
    return class_images.HandCrops(path, path.with_suffix(".json"), size=32)


def test_crops_show_a_hand_in_its_surroundings(crops):
    drawn = crops.draw(np.random.default_rng(0), 60)
    assert {one.label for one in drawn} == {0, 1, 2}
    for one in (*drawn, *crops.test()):
        assert one.image.shape == (32, 32, 3)
        assert (one.box is None) == (class_images.CLASSES[one.label] == "none")
        if one.box is not None:
            x_min, y_min, x_max, y_max = one.box
            assert 0 <= x_min < x_max <= 32
            assert 0 <= y_min < y_max <= 32
            assert (x_max - x_min) * (y_max - y_min) < 32 * 32 * 0.6


def test_truth_of_another_kind_is_refused(demo_clip, tmp_path):
    (tmp_path / "odd.json").write_text('{"frames": [{"index": 0, "hands": [{"side": "Left"}]}]}', "utf-8")
    with pytest.raises(InputError, match=r"odd\.json: no frames with hands"):
        class_images.HandCrops(demo_clip[0], tmp_path / "odd.json")
    assert cam.CamSettings().network == "cam-small"


def test_classes_of_one_name_keep_their_ids_and_others_their_names():
    def label(number, name):
        thing = Instance(kind="object", category=name, category_id=number)
        sample = Sample(dataset="x", id="a", image=np.zeros((4, 4, 3), np.uint8), width=4, height=4, instances=(thing,))
        return class_images.label_of(sample, (134, 517, 3), names)

    names = ("crane", "crane", "dog")
    assert [label(517, "crane"), label(134, "crane"), label(0, "dog"), label(3, "cat")] == [1, 0, 2, None]
    assert mirrored_order(names) == [0, 1, 2]


def test_a_refused_run_keeps_the_description_of_the_finished_one(tmp_path):
    def train(*names):
        for name, number in product(names, range(5)):
            file = tmp_path / names[0] / name / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encode_image(np.full((16, 16, 3), 9 * number, np.uint8), ".png"))
        settings = {"dataset": "folder", "steps": 1, "batch": 2, "size": 16, "workers": 0}
        return run_recipe(TrainingRequest("cam", tmp_path / "run", tmp_path / names[0], settings=settings))

    train("cup", "dog")
    before = (tmp_path / "run" / DESCRIPTION).read_bytes()
    with pytest.raises(InputError, match="contains a run with other settings"):
        train("fork", "spoon")
    assert (tmp_path / "run" / DESCRIPTION).read_bytes() == before
