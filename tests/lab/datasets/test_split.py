"""Splits: no person and no image in two parts, deterministic, with approximately the requested shares."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit._util.errors import InputError
from sonjit.lab.datasets import open_dataset
from sonjit.lab.datasets.convert import split_dataset, split_groups

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


@given(st.integers(0, 99))
def test_shares_are_close_to_the_requested_ones_with_many_groups(seed):
    groups = [f"s{k}" for k in range(200) for _ in range(k % 5 + 1)]
    assigned = split_groups(groups, SHARES, seed=seed)
    for part, share in SHARES.items():
        assert abs(np.mean([assigned[group] == part for group in groups]) - share) < 0.03


def test_seeds_differ():
    groups = [f"s{k}" for k in range(40)]
    assert len({tuple(split_groups(groups, SHARES, seed=seed).items()) for seed in range(10)}) == 10


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
