"""Split data sets by subject, so that no person or image is in two parts.

A hash of the seed and the name assigns each group. The order of the samples does not matter, and the same seed gives
the same split on every machine.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sonjit._util.arrays import IntArray
from sonjit._util.errors import InputError
from sonjit.lab.datasets.dataset import Dataset
from sonjit.lab.datasets.sample import Sample


@dataclass(frozen=True, eq=False)
class Part:
    """Part of a split.

    Attributes:
        name: Name, e.g. "train".
        indices: Indices (N,) of its samples, int64, sorted.
        groups: Subjects in the part, or recordings or images if no subject is known.
        sha256: Hash of the ids of its samples, which identifies the part in a report.
    """

    name: str
    indices: IntArray
    groups: tuple[str, ...]
    sha256: str


def split_dataset(
    dataset: Dataset | Sequence[Sample], shares: Mapping[str, float], *, seed: int = 0, same_images: bool = True
) -> dict[str, Part]:
    """Split by subject, by recording if no subject is known, or by image if no recording is known.

    Args:
        dataset: Data set to split; the labels of every sample are read once.
        shares: Share of the samples in each part, e.g. `{"train": 0.8, "val": 0.1, "test": 0.1}`, with the sum 1.
            Groups are never cut, so a few large ones reach the shares only approximately.
        seed: Seed of the assignment.
        same_images: Keep groups together that share an identical image file.

    Raises:
        InputError: The shares do not add up to 1, or there are fewer groups than parts.
    """
    ids: list[str] = []
    groups: list[str] = []
    files: list[Path | bytes | None] = []
    for sample in dataset:
        ids.append(sample.id)
        groups.append(sample.subject or sample.sequence or sample.id)
        files.append(sample.image if isinstance(sample.image, (Path, bytes)) else None)
    joined = _merge_groups(groups, files) if same_images else groups
    assigned = split_groups(joined, shares, seed=seed)
    parts: dict[str, Part] = {}
    for name in shares:
        indices = np.array([k for k, group in enumerate(joined) if assigned[group] == name], np.int64)
        subjects = sorted({groups[k] for k in indices.tolist()})
        parts[name] = Part(name, indices, tuple(subjects), _hash_words(sorted(ids[k] for k in indices.tolist())))
    return parts


def split_groups(groups: Sequence[str], shares: Mapping[str, float], *, seed: int = 0) -> dict[str, str]:
    """Return the part of each group.

    Args:
        groups: Group of every sample, so that large groups weigh more.
        shares: Share of the samples in each part.
        seed: Seed of the assignment.

    Raises:
        InputError: The shares do not add up to 1, or there are fewer groups than parts.

    >>> split_groups(["ann", "ann", "bob", "cy"], {"train": 0.75, "test": 0.25}) == split_groups(
    ...     ["cy", "bob", "ann", "ann"], {"train": 0.75, "test": 0.25}
    ... )
    True
    """
    if not shares or any(share <= 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-6:
        raise InputError(f"shares {dict(shares)} must be above 0 and add up to 1")
    sizes: dict[str, int] = defaultdict(int)
    for group in groups:
        sizes[group] += 1
    if len(sizes) < len(shares):
        raise InputError(f"{len(sizes)} subjects cannot be split into {len(shares)} parts: {', '.join(shares)}")
    targets = {name: share * len(groups) for name, share in shares.items()}
    empty = set(shares)
    assigned: dict[str, str] = {}
    order = sorted(sizes, key=lambda group: _hash_words([str(seed), group]))
    for index, group in enumerate(order):
        open_to = empty if len(order) - index <= len(empty) else targets.keys()  # no part stays without a group
        part = max(open_to, key=lambda name: (targets[name] / shares[name], name))
        targets[part] -= sizes[group]
        empty.discard(part)
        assigned[group] = part
    return assigned


def _merge_groups(groups: Sequence[str], files: Sequence[Path | bytes | None]) -> list[str]:
    """Merge groups that share a file into one, named after the alphabetically first."""
    by_size: dict[int, dict[Path | bytes, set[str]]] = defaultdict(lambda: defaultdict(set))
    for group, file in zip(groups, files, strict=True):
        if isinstance(file, bytes) or (file is not None and file.is_file()):
            by_size[len(file) if isinstance(file, bytes) else file.stat().st_size][file].add(group)
    leader: dict[str, str] = {}

    def lead(group: str) -> str:
        while (above := leader.get(group, group)) != group:
            group = above
        return group

    def join(together: Iterable[str]) -> None:
        first, *others = sorted({lead(group) for group in together})
        leader.update(dict.fromkeys(others, first))

    for same_size in by_size.values():
        by_content: dict[str, set[str]] = defaultdict(set)
        for file, found in same_size.items():
            content = "" if len(same_size) == 1 else _hash_content(file)  # a size of its own: no need to read it
            by_content[content] |= found
        for together in by_content.values():
            join(together)
    return [lead(group) for group in groups]


def _hash_content(file: Path | bytes) -> str:
    return hashlib.sha256(file if isinstance(file, bytes) else file.read_bytes()).hexdigest()


def _hash_words(words: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()
