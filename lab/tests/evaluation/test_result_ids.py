"""Results belong to the image of their id, whatever numbers the names of files contain."""

import json

import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.media import open_writer
from sonjit.media.tables.base import Header
from sonjit.results import Frame, Hand
from sonjit_lab.datasets import Sample
from sonjit_lab.evaluation import comparison
from sonjit_lab.evaluation.prediction_files import PredictionsModel

SIDE = 100


def blank(name, image_id=None, dataset="folder"):
    return Sample(
        dataset=dataset, id=name, image_id=image_id, image=np.zeros((SIDE, SIDE, 3), np.uint8), width=SIDE, height=SIDE
    )  # fmt: skip


def predicted(path, samples):
    model = PredictionsModel(path)
    model.check(samples, lambda: {1: "person"})
    return [model.find(sample, sample.image, "predictions") for sample in samples], model.notes


WHOLE_BODY = {"foot": 6, "face": 68, "lefthand": 21, "righthand": 21}


def test_people_and_their_parts_belong_to_the_image_of_their_id(tmp_path):
    records = [
        {"image_id": image, "category_id": 1, "score": 0.9, "keypoints": [image, image, 1] * 17}
        | {f"{part}_kpts": [image, image, 1] * count for part, count in WHOLE_BODY.items()}
        for image in (3, 70, 12, 5)
    ]
    (tmp_path / "r.json").write_text(json.dumps(records))
    names = {70: "000003.jpg", 3: "000012.jpg", 12: "frame_70.jpg"}
    found, notes = predicted(tmp_path / "r.json", [blank(name, image_id) for image_id, name in names.items()])
    for image_id, parts in zip(names, found, strict=True):
        assert len(parts) == 5
        assert {float(np.nanmax(part.keypoints_px)) for part in parts} == {float(image_id)}
    assert notes == ["1 of 4 predictions are of images that are not evaluated, such as 5"]


@pytest.mark.parametrize("dataset", ["freihand", "ho3d-v2", "dexycb"])
def test_ids_are_not_guessed_from_names(tmp_path, dataset):
    (tmp_path / "r.json").write_text('[{"image_id": 1, "category_id": 1, "score": 0.9, "bbox": [1, 2, 3, 4]}]')
    with pytest.raises(InputError, match=f"require ids of images, which {dataset} lacks; use an .npz"):
        predicted(tmp_path / "r.json", [blank("training/rgb/00000001.jpg", dataset=dataset)])


def test_rows_belong_to_the_sample_of_their_whole_name(tmp_path):
    np.savez(tmp_path / "p.npz", id=["1.jpg", "b/2.jpg"], box=[[1, 1, 9, 9], [2, 2, 9, 9]])
    found, notes = predicted(tmp_path / "p.npz", [blank("b/2.jpg"), blank("a/1.jpg")])
    assert [len(each) for each in found] == [1, 0]
    assert notes == ["1 of 2 predictions are of images that are not evaluated, such as 1.jpg"]


@pytest.mark.parametrize("box", [[50, 40, 20, 10], [50, 40, float("nan"), 60]])
def test_boxes_of_rows_are_corners(tmp_path, box):
    np.savez(tmp_path / "p.npz", id=["1.jpg", "2.jpg"], box=[[1, 1, 9, 9], box])
    with pytest.raises(InputError, match=r"box of row 1 is \[50.*; must be x_min, y_min, x_max, y_max"):
        predicted(tmp_path / "p.npz", [blank("1.jpg")])


def test_rows_of_tables_belong_to_the_image_of_their_path(tmp_path):
    def write(*sources):
        with open_writer(tmp_path / "t.json", Header("photos")) as writer:
            for index, source in enumerate(sources):
                hand = Hand("Left", 0.9, np.full((21, 3), index, np.float32), np.zeros((21, 3), np.float32))
                writer.write(Frame.from_results(index, None, [hand], source=source))
        return tmp_path / "t.json"

    found, notes = predicted(write("2.jpg", "a/1.jpg", "b/1.jpg"), [blank("images/b/1.jpg"), blank("c/1.jpg")])
    assert [[item.keypoints_px[0, 0] for item in each] for each in found] == [[2], []]
    assert notes == ["2 of 3 predictions are of images that are not evaluated, such as 2.jpg"]
    with pytest.raises(InputError, match=r"1\.jpg may be a/1\.jpg or b/1\.jpg; use an \.npz"):
        predicted(write("a/1.jpg", "b/1.jpg"), [blank("1.jpg")])
    with pytest.raises(InputError, match=r"1\.jpg is a/1\.jpg and b/1\.jpg; use an \.npz"):
        predicted(write("1.jpg"), [blank("a/1.jpg"), blank("b/1.jpg")])


def test_compared_pictures_are_those_of_their_data_set_and_id():
    data = [blank(name, dataset=dataset) for dataset, name in (("one", "a"), ("one", "b"), ("two", "a"))]
    assert comparison._sample_at(data, 1, ("two", "a")) is data[2]  # evaluated with --limit 1
    with pytest.raises(InputError, match="--root has no b of two"):
        comparison._sample_at(data, 0, ("two", "b"))
