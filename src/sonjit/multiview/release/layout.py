"""A release's annotations, gathered as it is written: InterHand2.6M's files, COCO, sources of joints, statistics."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from sonjit.datasets.hands.interhand import ORDER, annotation_record, cameras_record, joints_record
from sonjit.files import write_text
from sonjit.multiview.automatic.labels import SOURCES
from sonjit.multiview.automatic.learning import CocoHand, coco_annotation, coco_category

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from sonjit.multiview.cameras.rig import CameraRig
    from sonjit.multiview.release.data_card import Capture


class ImageRecord(TypedDict):
    """An image in InterHand2.6M's JSON, `id` and `file_name` apart."""

    width: int
    height: int
    capture: int
    subject: str
    seq_name: str
    seq_type: str
    camera: str
    frame_idx: int


class _NamedImageRecord(ImageRecord):
    id: int
    file_name: str


class _HandRecord(CocoHand):
    hand_side: str
    source: str


class ReleaseCounts(TypedDict):
    """`statistics.json` of a release."""

    people: int
    frame_sets: int
    images: int
    images_by_split: dict[str, int]
    people_by_split: dict[str, int]
    frame_sets_by_hands: dict[str, int]
    joints: int
    joints_by_source: dict[str, int]
    sequences_by_type: dict[str, int]
    mean_spread_mm: float
    splits: dict[str, list[str]]


@dataclass
class SplitFiles:
    """The records of one split, gathered while its frame sets are written."""

    split: str
    images: list[_NamedImageRecord] = field(default_factory=list["_NamedImageRecord"])
    annotations: list[Mapping[str, object]] = field(default_factory=list[Mapping[str, object]])
    coco: list[_HandRecord] = field(default_factory=list["_HandRecord"])
    cameras: dict[str, object] = field(default_factory=dict[str, object])
    joints: dict[str, dict[str, object]] = field(default_factory=dict[str, dict[str, object]])
    sources: dict[str, dict[str, list[str]]] = field(default_factory=dict[str, dict[str, list[str]]])
    by: dict[str, list[int]] = field(default_factory=lambda: {"human": [], "machine": []})

    def add_cameras(self, capture: str, rig: CameraRig) -> None:
        """The cameras of a capture, as they see the released images."""
        self.cameras[capture] = cameras_record({one.name: (one.camera.K, one.R, one.t) for one in rig})

    def add_frame_set(self, capture: str, frame: int, points_m: NDArray[np.float64], source: NDArray[np.int64]) -> None:
        """The joints (2, 21, 3) of one frame set, and by whom (2, 21) they are."""
        own = [""] * 42
        for place, code in zip(ORDER.tolist(), source.reshape(42).tolist(), strict=True):
            own[place] = SOURCES[code]
        self.joints.setdefault(capture, {})[str(frame)] = joints_record(points_m)
        self.sources.setdefault(capture, {})[str(frame)] = own

    def add_image(
        self,
        name: str,
        about: ImageRecord,
        pixels: NDArray[np.float64],
        source: NDArray[np.int64],
        seen: NDArray[np.bool_],
    ) -> None:
        """One view: joints (2, 21, 2) in its pixels, by whom (2, 21), and which (2, 21) are seen."""
        number = len(self.images) + 1
        valid = np.asarray(np.isfinite(pixels).all(-1), np.bool_)
        self.images.append(_NamedImageRecord(id=number, file_name=name, **about))
        self.annotations.append(annotation_record(number, pixels, valid))
        self.by["machine" if (source[valid] == 1).any() else "human"].append(number)
        width, height = about["width"], about["height"]
        for side in range(2):
            inside = valid[side] & ((pixels[side] >= 0) & (pixels[side] <= (width, height))).all(-1)
            if inside.sum() > 1:
                points = np.where(inside[:, None], pixels[side], np.nan)
                shown = np.where(seen[side], 2, 1)
                one = coco_annotation(len(self.coco) + 1, number, points, category=1 + side, flags=shown)
                own = sorted({SOURCES[code] for code in source[side][inside].tolist()})
                self.coco.append(_HandRecord(**one, hand_side=("right", "left")[side], source="/".join(own)))

    def write(self, root: Path) -> None:
        """All files of the split."""
        folder = root / "annotations" / self.split
        stem = f"InterHand2.6M_{self.split}"
        _write(folder / f"{stem}_data.json", {"images": self.images, "annotations": self.annotations})
        _write(folder / f"{stem}_camera.json", self.cameras)
        _write(folder / f"{stem}_joint_3d.json", self.joints)
        _write(folder / f"sources_{self.split}.json", self.sources)
        categories = [coco_category(1, "right_hand"), coco_category(2, "left_hand")]
        prefix = f"images/{self.split}/"
        images = [one | {"file_name": prefix + one["file_name"]} for one in self.images]
        _write(
            folder / f"coco_{self.split}.json", {"images": images, "annotations": self.coco, "categories": categories}
        )
        for whom, numbers in self.by.items():
            path = folder / f"aid_{whom}_annot_{self.split}.txt"
            write_text(path, "".join(f"{k}\n" for k in numbers), of_run=True)


def _write(path: Path, record: Mapping[str, object]) -> None:
    write_text(path, json.dumps(record) + "\n", of_run=True)


@dataclass
class Statistics:
    """Counts so far."""

    frame_sets: int = 0
    images: Counter[str] = field(default_factory=Counter[str])
    people: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    hands: Counter[str] = field(default_factory=Counter[str])
    joints: Counter[str] = field(default_factory=Counter[str])
    sequences: dict[str, set[tuple[str, str]]] = field(default_factory=dict[str, set[tuple[str, str]]])
    spread_m: float = 0.0

    def add(
        self,
        split: str,
        capture: Capture,
        frame: int,
        source: NDArray[np.int64],
        spread_m: NDArray[np.float64],
        images: int,
    ) -> None:
        """One frame set: by whom (2, 21) its joints are, their uncertainty (2, 21), and in how many images."""
        labelled = source > 0
        right, left = bool(labelled[0].any()), bool(labelled[1].any())
        performed = capture.sequence_of(frame)
        self.frame_sets += 1
        self.images[split] += images
        self.people.setdefault(split, set()).add(capture.subject)
        self.hands["interacting" if right and left else "right" if right else "left"] += 1
        self.joints.update(SOURCES[code] for code in source[labelled].tolist())
        self.sequences.setdefault(performed.kind, set()).add((capture.subject, performed.name))
        self.spread_m += float(np.nansum(spread_m[labelled]))

    def counts(self) -> ReleaseCounts:
        """All counts as plain numbers."""
        joints = sum(self.joints.values())
        return {
            "people": sum(len(names) for names in self.people.values()),
            "frame_sets": self.frame_sets,
            "images": sum(self.images.values()),
            "images_by_split": dict(self.images),
            "people_by_split": {split: len(names) for split, names in self.people.items()},
            "frame_sets_by_hands": dict(self.hands),
            "joints": joints,
            "joints_by_source": dict(self.joints),
            "sequences_by_type": {kind or "other": len(names) for kind, names in self.sequences.items()},
            "mean_spread_mm": round(1000 * self.spread_m / max(joints, 1), 3),
            "splits": {split: sorted(names) for split, names in self.people.items()},
        }
