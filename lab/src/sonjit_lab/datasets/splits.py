"""Split samples so that no person and no recording is on both sides: parts of a data set, and held-out samples.

The group of a sample is its subject, or its recording if no subject is known, or the image itself. A hash of the seed
and the name assigns each group, on every machine.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sonjit._util import InputError, IntArray
from sonjit_lab.datasets.dataset import Dataset, Identity, identity_of
from sonjit_lab.datasets.sample import Sample


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
    files: list[Path | None] = []
    for sample in dataset:
        ids.append(sample.id)
        groups.append(sample.subject or sample.sequence or sample.id)
        files.append(sample.image if isinstance(sample.image, Path) else None)
    joined = _merge_groups(groups, files) if same_images else groups
    assigned = split_groups(joined, shares, seed=seed)
    parts: dict[str, Part] = {}
    for name in shares:
        indices = np.array([k for k, group in enumerate(joined) if assigned[group] == name], np.int64)
        subjects = sorted({groups[k] for k in indices.tolist()})
        parts[name] = Part(name, indices, tuple(subjects), _hash_words(sorted(ids[k] for k in indices.tolist())))
    return parts


def split_groups(groups: Sequence[str], shares: Mapping[str, float], *, seed: int = 0) -> dict[str, str]:
    """Return the part of each group: `groups` has the group of every sample, `shares` the share of each part."""
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


def _merge_groups(groups: Sequence[str], files: Sequence[Path | None]) -> list[str]:
    """Merge groups that share a file into one, named after the alphabetically first."""
    by_size: dict[int, dict[Path, set[str]]] = defaultdict(lambda: defaultdict(set))
    for group, file in zip(groups, files, strict=True):
        if file is not None and file.is_file():
            by_size[file.stat().st_size][file].add(group)
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
        for file, groups_of_file in same_size.items():
            data = b"" if len(same_size) == 1 else file.read_bytes()
            content = hashlib.sha256(data).hexdigest()  # files with a size of their own are not read
            by_content[content] |= groups_of_file
        for together in by_content.values():
            join(together)
    return [lead(group) for group in groups]


def _hash_words(words: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()


class SplitReport(NamedTuple):
    """Separation of the samples to train on from the held-out samples."""

    text: str  # one line without a colon
    separates: bool  # True if no person is known to be, and no image may be, on both sides
    sha256: str  # hash of the ids of the held-out samples

    def inputs(self) -> dict[str, object]:
        """Return what identifies the split among the inputs of a run."""
        return {"held_out_by": self.text, "held_out_sha256": self.sha256}


def identities(samples: Sequence[Sample]) -> list[Identity]:
    """Return the identity of each sample. Large data sets read it without their labels."""
    if isinstance(samples, Dataset):
        return [samples.identity(index) for index in range(len(samples))]
    return [identity_of(sample) for sample in samples]


def hold_out(sources: Sequence[Sequence[Identity]], share: float) -> list[IntArray]:
    """Choose about a share of the samples to evaluate on: all samples of some subjects, else recordings, else images.

    Args:
        sources: Identities of the samples of each source, see `identities`. A name is one subject in all sources of a
            data set. The recording takes the place of a subject that is not stated.
        share: Share of the samples to hold out, above 0 and below 1.

    Returns:
        Indices (N,) of the held-out samples of each source, sorted. At least one group is held out, so that a few large
        ones reach the share only approximately. Of images without subject and recording, the last ones are held out,
        and identical files stay together.

    Raises:
        InputError: The share is not between 0 and 1.

    >>> people = [Identity(f"{name}{number}.png", name) for name in ("ann", "bob", "cem") for number in range(4)]
    >>> [people[index].id for index in hold_out([people], 0.3)[0]]
    ['cem0.png', 'cem1.png', 'cem2.png', 'cem3.png']
    """
    if not 0 < share < 1:
        raise InputError(f"share {share}: must be above 0 and below 1")
    sources = _with_known_people(sources)
    groups: list[list[str | None]] = []
    chosen: set[str] = set()
    for group_of in (_person_of, _recording_of):
        groups = [[group_of(item) for item in source] for source in sources]
        if chosen := _chosen_groups(groups, share):
            break
    held_out: list[IntArray] = []
    for source, source_groups in zip(sources, groups, strict=True):
        in_order = [index for index, group in enumerate(source_groups) if group is None or not chosen]
        last = _last_images([source[index] for index in in_order], share)
        indices = [index for index, group in enumerate(source_groups) if group in chosen] + [
            in_order[index] for index in last
        ]
        held_out.append(np.array(sorted(indices), np.int64))
    return held_out


def split_report(training: Sequence[Identity], held_out: Sequence[Identity]) -> SplitReport:
    """Compare the subjects, recordings and image files of the samples on both sides.

    >>> one, other = Identity("a.png", "ann"), Identity("b.png", "bob")
    >>> split_report([one], [other]).text
    'by subject, 1 to train on and 1 held out'
    >>> split_report([one], [one]).text
    'the held-out images share 1 subject with the training images'
    """
    sha256 = _hash_words(sorted(item.id for item in held_out))
    if not held_out:
        return SplitReport(f"{len(training)} images to train on and none held out", True, sha256)
    shared: dict[str, int] = {}
    for name, value_of in (("subject", _subject_of), ("recording", _recording_of), ("image", _file_of)):
        training_values, held_out_values = (
            {value for item in side if (value := value_of(item))} for side in (training, held_out)
        )
        if training_values & held_out_values:
            shared[name] = len(training_values & held_out_values)
    counts = [f"{count} {name}{'s' * (count > 1)}" for name, count in shared.items()]
    words = " and ".join([", ".join(counts[:-1]), *counts[-1:]][len(counts) < 2 :])
    people = [[_person_of(item) for item in side] for side in (training, held_out)]
    recordings = [[_recording_of(item) for item in side] for side in (training, held_out)]
    if shared.keys() == {"subject"} and all(None not in side for side in recordings):
        kept = f"{len(set(recordings[0]))} to train on and {len(set(recordings[1]))} held out"
        return SplitReport(f"by recording, {kept}, of {words} on both sides", False, sha256)
    if shared:
        return SplitReport(f"the held-out images share {words} with the training images", False, sha256)
    if any(None in side for side in people):
        kept = f"{len(training)} to train on and {len(held_out)} held out"
        reason = "subjects and recordings are not stated, so that similar images may be on both sides"
        return SplitReport(f"by image, {kept}; {reason}", False, sha256)
    if moments := {_moment_of(item) for item in training} & {_moment_of(item) for item in held_out} - {None}:
        frames = f"{len(moments)} frame{'s' * (len(moments) > 1)}"
        reason = f"{frames} of other cameras are on both sides; name a recording alike in all cameras"
        return SplitReport(f"by recording of each camera, and {reason}", False, sha256)
    unit = "subject" if all(item.subject for item in (*training, *held_out)) else "recording"
    kept = f"{len(set(people[0]))} to train on and {len(set(people[1]))} held out"
    return SplitReport(f"by {unit}, {kept}", True, sha256)


def _subject_of(item: Identity) -> str | None:
    return f"{item.dataset}\0{item.subject}" if item.subject else None


def _recording_of(item: Identity) -> str | None:
    """Return a recording with its subject, because each subject may have a recording of one name."""
    return f"{item.dataset}\0{item.subject}\0{item.sequence}" if item.sequence else None


def _person_of(item: Identity) -> str | None:
    return _subject_of(item) or _recording_of(item)


def _moment_of(item: Identity) -> str | None:
    """Return the moment of one of several cameras: its frame in a recording, whose name may contain the camera's."""
    if item.view is None or item.frame is None or item.sequence is None:
        return None
    recording = item.sequence.replace(item.view, "")
    return f"{item.dataset}\0{item.subject or ''}\0{recording}\0{item.frame}"


def _file_of(item: Identity) -> str | None:
    return None if item.image is None else str(item.image)


def _with_known_people(sources: Sequence[Sequence[Identity]]) -> list[list[Identity]]:
    """Return the identities with the subject and the recording that another sample states of the same image file."""
    stated = {file: item for source in sources for item in source if (file := _file_of(item)) and _person_of(item)}
    return [
        [item if _person_of(item) else stated.get(_file_of(item) or "", item) for item in source] for source in sources
    ]


def _chosen_groups(groups: Sequence[Sequence[str | None]], share: float) -> set[str]:
    """Return the groups to hold out, which leave samples in each source. `groups` has that of every sample by source.

    The result is empty if no group may be held out.
    """
    left = [len(source_groups) for source_groups in groups]
    sizes: dict[str, list[int]] = defaultdict(lambda: [0] * len(groups))
    for number, source_groups in enumerate(groups):
        for group in source_groups:
            if group is not None:
                sizes[group][number] += 1
    target = share * sum(map(sum, sizes.values()))
    chosen: set[str] = set()
    count = 0
    in_order = sorted(sizes, key=lambda group: _hash_words([group]))
    for group in in_order:
        size = sizes[group]
        if count + sum(size) <= target and all(inside < rest for inside, rest in zip(size, left, strict=True)):
            chosen.add(group)
            count += sum(size)
            left = [rest - inside for inside, rest in zip(size, left, strict=True)]
    if chosen or len(sizes) < 2:
        return chosen
    allowed = (
        group for group in in_order if all(inside < rest for inside, rest in zip(sizes[group], left, strict=True))
    )
    smallest = min(allowed, key=lambda group: sum(sizes[group]), default=None)
    return set() if smallest is None else {smallest}


def _last_images(images: Sequence[Identity], share: float) -> list[int]:
    """Return the indices of about the last share of images; identical files stay together."""
    target = max(int(share * len(images)), 1)
    names = [f"{number:09d}" for number in range(len(images))]
    first = _merge_groups(names, [item.image for item in images])  # the first image of each group of identical ones
    groups: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names if len(set(first)) == 1 else first):
        groups[name].append(index)
    chosen: list[int] = []
    for name in sorted(groups, reverse=True)[:-1]:
        if len(chosen) < target:
            chosen += groups[name]
    return chosen
