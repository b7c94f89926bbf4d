"""Conversion of data sets: equal labels after a round trip, and splits."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit._util.errors import InputError
from sonjit_lab.datasets import dataset_entry, list_datasets, open_dataset
from sonjit_lab.datasets.convert import convert_dataset, sample_to_dict
from sonjit_lab.datasets.splits import split_dataset, split_groups


def same(one, other):
    return (one is None and other is None) or np.allclose(one, other, rtol=1e-9, atol=1e-6, equal_nan=True)


def check_all_is_there(dataset, path):
    """Check that Parquet contains all fields, and COCO those that it supports."""
    again = open_dataset("folder", path, check="all")
    assert len(again) == len(dataset)
    for old, new in zip(dataset, again, strict=True):
        assert np.array_equal(old.rgb(), new.rgb())
        if path.suffix != ".json":
            assert json.dumps(sample_to_dict(new), sort_keys=True) == json.dumps(sample_to_dict(old), sort_keys=True)
            continue
        assert (old.subject, old.sequence, old.frame, old.view) == (new.subject, new.sequence, new.frame, new.view)
        assert (old.camera is None) == (new.camera is None)
        if old.camera:
            assert same(old.camera.K, new.camera.K)
            assert same(old.camera.t, new.camera.t)
        for before, after in zip(old.instances, new.instances, strict=True):
            assert (before.side, before.category or before.kind) == (after.side, after.category)
            if before.keypoints_px is not None:
                assert np.array_equal(before.valid_px, after.valid_px)
                assert same(before.keypoints_px[before.valid_px], after.keypoints_px[before.valid_px])
            assert before.box is None or same(before.box, after.box)
            assert same(before.mask(), after.mask())
            if before.keypoints_px is not None and before.keypoints_m is not None:
                known = np.isfinite(after.keypoints_m)
                assert same(before.keypoints_m[known], after.keypoints_m[known])
                assert known.all(axis=1).tolist() == before.valid_m.tolist()


@pytest.mark.parametrize("name", ["x.json", "x.parquet"])
def test_a_saved_folder_loads_as_it_was(name, own, tmp_path):
    dataset = open_dataset("folder", own())
    convert_dataset(dataset, tmp_path / name)
    check_all_is_there(dataset, tmp_path / name)


@pytest.mark.golden
@pytest.mark.parametrize("name", ["x.json", "x.parquet"])
@pytest.mark.files("fixtures/*/expected.json")
def test_written_data_sets_load_as_they_were(file, name, tmp_path):
    dataset = first_that_opens(file.parent)
    convert_dataset(dataset, tmp_path / name)
    check_all_is_there(dataset, tmp_path / name)


def first_that_opens(root):
    """Open a fixture as the first data set that accepts it. The folder format, which accepts most files, is last."""
    names = sorted(list_datasets(), key=lambda name: (name == "folder", name))
    for name in names:
        for split in dataset_entry(name).splits:
            try:
                dataset = open_dataset(name, root, split, check="all")
            except InputError:
                continue
            if len(dataset):
                return dataset
    pytest.fail(f"no data set of ours opens {root}")


@pytest.mark.parametrize("name", ["y.json", "y.parquet"])
def test_images_without_a_file_are_written_next_to_the_labels(name, own, tmp_path):
    files = open_dataset("folder", own())
    arrays = files.subset(range(len(files)))
    arrays.load = lambda index: replace(files[index], image=files[index].rgb())
    convert_dataset(arrays, tmp_path / name)
    check_all_is_there(arrays, tmp_path / name)
    assert len(list((tmp_path / "y_images").iterdir())) == len(files)


SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}
GROUPS = st.lists(st.sampled_from([f"s{k}" for k in range(30)]), min_size=3, max_size=200).filter(
    lambda groups: len(set(groups)) >= 3
)


@given(GROUPS, st.integers(0, 99), st.randoms(use_true_random=False))
def test_each_group_is_in_one_part_in_any_order(groups, seed, random):
    assigned = split_groups(groups, SHARES, seed=seed)
    assert assigned.keys() == set(groups)
    assert set(assigned.values()) == set(SHARES), "no part is empty"
    shuffled = groups.copy()
    random.shuffle(shuffled)
    assert split_groups(shuffled, SHARES, seed=seed) == assigned


def test_a_set_is_split_by_subject(own):
    dataset = open_dataset("folder", own(count=12))
    parts = split_dataset(dataset, SHARES, seed=3)
    assert sorted(np.concatenate([part.indices for part in parts.values()]).tolist()) == list(range(12))
    subjects = [{dataset[k].subject for k in part.indices.tolist()} for part in parts.values()]
    assert sum(map(len, subjects)) == len(set.union(*subjects)) == 6
    assert [sorted(subject) for subject in subjects] == [list(part.groups) for part in parts.values()]
    again = split_dataset(dataset.subset(range(11, -1, -1)), SHARES, seed=3)
    assert {name: part.sha256 for name, part in parts.items()} == {name: part.sha256 for name, part in again.items()}
    assert len({part.sha256 for part in parts.values()}) == 3


def test_subjects_who_share_a_image_stay_together(own):
    root = own(count=12)
    (root / "images" / "p11.png").write_bytes((root / "images" / "p0.png").read_bytes())
    for seed in range(8):
        parts = split_dataset(open_dataset("folder", root), SHARES, seed=seed)
        assert any({0, 1, 10, 11} <= set(part.indices.tolist()) for part in parts.values())
    apart = [split_dataset(open_dataset("folder", root), SHARES, seed=seed, same_images=False) for seed in range(8)]
    assert not all(any({0, 11} <= set(part.indices.tolist()) for part in parts.values()) for parts in apart)


@pytest.mark.parametrize("shares", [{}, {"train": 0.7}, {"train": 1.5, "test": -0.5}, SHARES])
def test_wrong_shares_and_too_few_subjects_are_named(shares):
    with pytest.raises(InputError, match="2 subjects cannot be split into 3" if shares is SHARES else "add up to 1"):
        split_groups(["a", "b", "b"], shares)


@pytest.mark.parametrize("ending", [".json", ".parquet"])
def test_keypoints_that_were_computed_stay_marked(own, tmp_path, ending):
    """Convert a wrist that was computed from the palm: evaluations of both forms leave it out."""
    root = own(lambda labels: [label.update(derived=[0]) for label in labels["annotations"]])
    convert_dataset(open_dataset("folder", root), tmp_path / f"converted{ending}")
    for sample in open_dataset("folder", tmp_path / f"converted{ending}")[1:]:
        assert [hand.derived for hand in sample.instances] == [(0,)]
