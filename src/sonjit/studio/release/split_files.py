"""Collect the records and counts of a release while its frame sets are written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sonjit._util.arrays import BoolArray, FloatArray, IntArray
from sonjit._util.data_files import write_json
from sonjit._util.files import write_text
from sonjit.lab.datasets.hands.interhand import ORDER
from sonjit.lab.datasets.hands.interhand_files import annotation_record, cameras_record, joints_record
from sonjit.studio.automatic.labels import SOURCES
from sonjit.studio.automatic.learning import coco_annotation, coco_category
from sonjit.studio.cameras.rig import CameraRig
from sonjit.studio.release.data_card import Capture
from sonjit.studio.surfaces.fitting import HandSurface, save_surfaces


@dataclass
class SplitFiles:
    """The records of one split, collected while its frame sets are written."""

    split: str
    images: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    annotations: list[Mapping[str, object]] = field(default_factory=list[Mapping[str, object]])
    coco: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    cameras: dict[str, object] = field(default_factory=dict[str, object])
    joints: dict[str, dict[str, object]] = field(default_factory=dict[str, dict[str, object]])
    sources: dict[str, dict[str, list[str]]] = field(default_factory=dict[str, dict[str, list[str]]])
    mano: dict[str, dict[str, dict[str, object]]] = field(default_factory=dict[str, dict[str, dict[str, object]]])
    by: dict[str, list[int]] = field(default_factory=lambda: {"human": [], "machine": []})

    def add_cameras(self, capture: str, rig: CameraRig) -> None:
        """Add the cameras of a capture, as of the released images."""
        self.cameras[capture] = cameras_record({camera.name: (camera.camera.K, camera.R, camera.t) for camera in rig})

    def add_frame_set(self, capture: str, frame: int, points_m: FloatArray, source: IntArray) -> None:
        """Add the joints (2, 21, 3) of one frame set and their sources (2, 21)."""
        sources = [""] * 42
        for index, code in zip(ORDER.tolist(), source.reshape(42).tolist(), strict=True):
            sources[index] = SOURCES[code]
        self.joints.setdefault(capture, {})[str(frame)] = joints_record(points_m)
        self.sources.setdefault(capture, {})[str(frame)] = sources

    def add_surfaces(self, root: Path, capture: str, surfaces: Sequence[HandSurface]) -> None:
        """Write the surfaces of a capture to a file, and add MANO's parameters in NeuralAnnot's form."""
        save_surfaces(root / "annotations" / self.split / f"surfaces_{self.split}_Capture{capture}.npz", surfaces)
        for surface in surfaces:
            if "trans" in surface.parameters:
                frames = self.mano.setdefault(capture, {})
                for row, frame in enumerate(surface.frames.tolist()):
                    frames.setdefault(str(frame), {})[surface.side.lower()] = {
                        "pose": surface.parameters["pose"][row].tolist(),
                        "shape": surface.parameters["shape"].tolist(),
                        "trans": surface.parameters["trans"][row].tolist(),
                    }

    def add_image(
        self, name: str, about: Mapping[str, Any], pixels: FloatArray, source: IntArray, visible: BoolArray
    ) -> None:
        """Add one view.

        Args:
            name: Path of the image in the split's folder.
            about: The image's width, height, capture, subject, seq_name, seq_type, camera and frame_idx.
            pixels: (2, 21, 2) joints in pixels.
            source: (2, 21) sources of the joints.
            visible: (2, 21) mask of the visible joints.
        """
        number = len(self.images) + 1
        valid = np.asarray(np.isfinite(pixels).all(-1), np.bool_)
        self.images.append({"id": number, "file_name": name, **about})
        self.annotations.append(annotation_record(number, pixels, valid))
        self.by["machine" if (source[valid] == 1).any() else "human"].append(number)
        width, height = about["width"], about["height"]
        for side in range(2):
            inside = valid[side] & ((pixels[side] >= 0) & (pixels[side] <= (width, height))).all(-1)
            if inside.sum() > 1:
                points = np.where(inside[:, None], pixels[side], np.nan)
                shown = np.where(visible[side], 2, 1)
                annotation = coco_annotation(len(self.coco) + 1, number, points, category=1 + side, flags=shown)
                own = sorted({SOURCES[code] for code in source[side][inside].tolist()})
                self.coco.append({**annotation, "hand_side": ("right", "left")[side], "source": "/".join(own)})

    def write(self, root: Path) -> None:
        """Write all files of the split."""
        folder = root / "annotations" / self.split
        stem = f"InterHand2.6M_{self.split}"
        write_json(folder / f"{stem}_data.json", {"images": self.images, "annotations": self.annotations})
        write_json(folder / f"{stem}_camera.json", self.cameras)
        write_json(folder / f"{stem}_joint_3d.json", self.joints)
        write_json(folder / f"sources_{self.split}.json", self.sources)
        if self.mano:
            write_json(folder / f"{stem}_MANO_NeuralAnnot.json", self.mano)
        categories = [coco_category(1, "right_hand"), coco_category(2, "left_hand")]
        prefix = f"images/{self.split}/"
        images = [image | {"file_name": prefix + image["file_name"]} for image in self.images]
        write_json(
            folder / f"coco_{self.split}.json", {"images": images, "annotations": self.coco, "categories": categories}
        )
        for whom, numbers in self.by.items():
            path = folder / f"aid_{whom}_annot_{self.split}.txt"
            write_text(path, "".join(f"{k}\n" for k in numbers))


@dataclass
class Statistics:
    """Counts of the released data."""

    frame_sets: int = 0
    images: Counter[str] = field(default_factory=Counter[str])
    people: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    hands: Counter[str] = field(default_factory=Counter[str])
    joints: Counter[str] = field(default_factory=Counter[str])
    sequences: dict[str, set[tuple[str, str]]] = field(default_factory=dict[str, set[tuple[str, str]]])
    std_m: float = 0.0

    def add(
        self, split: str, capture: Capture, *, frame: int, source: IntArray, std_m: FloatArray, images: int
    ) -> None:
        """Count one frame set by the sources (2, 21) and standard errors (2, 21) of its joints."""
        labelled = source > 0
        right, left = bool(labelled[0].any()), bool(labelled[1].any())
        performed = capture.sequence_of(frame)
        self.frame_sets += 1
        self.images[split] += images
        self.people.setdefault(split, set()).add(capture.subject)
        self.hands["interacting" if right and left else "right" if right else "left"] += 1
        self.joints.update(SOURCES[code] for code in source[labelled].tolist())
        self.sequences.setdefault(performed.kind, set()).add((capture.subject, performed.name))
        self.std_m += float(np.nansum(std_m[labelled]))

    def counts(self) -> dict[str, Any]:
        """Return the content of `statistics.json`."""
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
            "mean_spread_mm": round(1000 * self.std_m / max(joints, 1), 3),
            "splits": {split: sorted(names) for split, names in self.people.items()},
        }
