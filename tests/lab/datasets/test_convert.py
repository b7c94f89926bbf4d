"""Conversion of data sets: equal labels after a round trip; shards that are deterministic and resumable."""

import json
import tarfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit._util.errors import InputError
from sonjit.lab.datasets import dataset_entry, list_datasets, open_dataset
from sonjit.lab.datasets.convert import convert_dataset, sample_to_dict, save_shards, split_dataset, split_groups


def same(one, other):
    return (one is None and other is None) or np.allclose(one, other, rtol=1e-9, atol=1e-6, equal_nan=True)


def check_all_is_there(dataset, path):
    """Check that Parquet and shards contain all fields, and COCO those that it supports."""
    again = open_dataset("folder" if path.suffix else "shards", path, check="all")
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


@pytest.mark.parametrize("name", ["x.json", "x.parquet", "x"])
def test_a_saved_folder_loads_as_it_was(name, own, tmp_path):
    dataset = open_dataset("folder", own())
    convert_dataset(dataset, tmp_path / name, per_shard=4)
    check_all_is_there(dataset, tmp_path / name)


@pytest.mark.golden
@pytest.mark.parametrize("name", ["x.json", "x.parquet", "x"])
@pytest.mark.files("fixtures/*/expected.json")
def test_written_data_sets_load_as_they_were(file, name, tmp_path):
    dataset = first_that_opens(file.parent)
    convert_dataset(dataset, tmp_path / name, per_shard=2)
    check_all_is_there(dataset, tmp_path / name)


def first_that_opens(root):
    """Open a fixture as the first data set that accepts it. The folder format, which accepts most files, is last."""
    names = sorted(set(list_datasets()) - {"shards"}, key=lambda name: (name == "folder", name))
    for name in names:
        for split in dataset_entry(name).splits:
            try:
                dataset = open_dataset(name, root, split, check="all")
            except InputError:
                continue
            if len(dataset):
                return dataset
    pytest.fail(f"no data set of ours opens {root}")


def test_images_without_a_file_are_written_next_to_the_labels(own, tmp_path):
    convert_dataset(open_dataset("folder", own()), tmp_path / "shards", per_shard=3)
    shards = open_dataset("shards", tmp_path / "shards")
    for name in ("y.json", "y.parquet"):
        convert_dataset(shards, tmp_path / name)
        check_all_is_there(shards, tmp_path / name)
    assert len(list((tmp_path / "y_images").iterdir())) == len(shards)


def test_shards_have_the_same_bytes_every_time_and_after_a_resumed_run(own, tmp_path):
    dataset = open_dataset("folder", own())
    files = save_shards(tmp_path / "a", dataset, per_shard=2)
    assert [file.name for file in files] == ["000000.tar", "000001.tar", "000002.tar"]
    save_shards(tmp_path / "b", dataset, per_shard=2)
    assert all(file.read_bytes() == (tmp_path / "b" / file.name).read_bytes() for file in files)
    files[1].unlink()
    assert save_shards(tmp_path / "a", dataset, per_shard=2) == [files[1]]
    assert files[1].read_bytes() == (tmp_path / "b" / "000001.tar").read_bytes()
    with pytest.raises(InputError, match="shards of other data or settings"):
        save_shards(tmp_path / "a", dataset, per_shard=3)
    with tarfile.open(files[0]) as tar:
        assert [one.name for one in tar] == ["00000000.png", "00000000.json", "00000001.png", "00000001.json"]


def test_a_stopped_run_leaves_no_half_shard(own, tmp_path):
    root = own()
    dataset = open_dataset("folder", root)
    image = root / "images" / "p3.png"
    hidden = image.rename(root / "hidden.png")
    with pytest.raises(InputError, match=r"p3\.png"):
        save_shards(tmp_path / "a", dataset, per_shard=2)
    assert sorted(file.name for file in (tmp_path / "a").iterdir()) == ["000000.tar", "index.json"]
    hidden.rename(image)
    assert len(save_shards(tmp_path / "a", dataset, per_shard=2)) == 2
    check_all_is_there(dataset, tmp_path / "a")


def test_cut_and_missing_shards_are_named(own, tmp_path):
    root = tmp_path / "a"
    files = save_shards(root, open_dataset("folder", own()), per_shard=3)
    files[0].write_bytes(files[0].read_bytes()[:700])
    files[1].unlink()
    shards = open_dataset("shards", root, check="none")
    with pytest.raises(InputError, match=r"000000\.tar .*cut off|000000\.tar contains \d files; expected 6"):
        shards[0]
    with pytest.raises(InputError, match=r"000001\.tar is missing"):
        shards[5]


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


@pytest.mark.parametrize("shares", [{}, {"train": 0.7}, {"train": 1.5, "test": -0.5}])
def test_wrong_shares_are_named(shares):
    with pytest.raises(InputError, match="add up to 1"):
        split_groups(["a", "b"], shares)


def test_too_few_subjects_are_an_error():
    with pytest.raises(InputError, match="2 subjects cannot be split into 3 parts"):
        split_groups(["a", "b", "b"], SHARES)
