"""Rendered Hand pose Dataset: rendered people, both hands, with depth and masks of the parts.

Source: Zimmermann and Brox, ICCV 2017. The official pickle stores the left hand first, in metres in the camera's frame.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from sonjit._util.arrays import BoolArray, FloatArray
from sonjit._util.errors import InputError
from sonjit._util.pickles import read_pickled_mapping
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.lab.datasets.dataset import Dataset, DatasetEntry
from sonjit.lab.datasets.hands.parsed_hands import ParsedHands
from sonjit.lab.datasets.joint_orders import RHD, hand_before_camera
from sonjit.lab.datasets.reading import depth_from_png, field, file_bytes, pickled_numbers
from sonjit.lab.datasets.sample import Instance, Sample, Side
from sonjit.media.sources.decode import load_image

_FIELDS: Final = {"uv_vis": (42, 3), "xyz": (42, 3), "K": (3, 3)}
_HANDS: Final[tuple[tuple[Side, slice, range], ...]] = (
    ("Left", slice(0, 21), range(2, 18)),
    ("Right", slice(21, 42), range(18, 34)),
)
"""Side, joints and mask numbers of each hand."""
_METRES_PER_STEP = 5 / 65535


class Rhd(Dataset):
    """One split in its official form.

    Raises:
        InputError: A file is missing or damaged.
    """

    def __init__(self, entry: DatasetEntry, root: Path, split: str) -> None:
        super().__init__(entry, root, split)
        self._path = self.need(f"{split}/anno_{split}.pickle")
        content = file_bytes(self._path)
        try:
            records = read_pickled_mapping(content)
        except InputError as error:
            raise InputError(f"{self._path}: {error}") from None
        if not records:
            raise InputError(f"{self._path} contains no images")
        self._wrong: dict[int, str] = {}
        self._numbers = np.array(sorted(record for record in records if isinstance(record, int)), np.int32)
        self._labels = {name: np.zeros((len(self._numbers), *shape)) for name, shape in _FIELDS.items()}
        for index, number in enumerate(self._numbers.tolist()):
            named = f"{self._path}: {number}"
            try:
                for name, shape in _FIELDS.items():
                    self._labels[name][index] = pickled_numbers(
                        field(records[number], name, named), shape, f"{named}.{name}"
                    )
            except InputError as error:
                self._wrong[index] = str(error)

    def __len__(self) -> int:
        return len(self._numbers)

    def load(self, index: int) -> Sample:
        """Return one image. A wrong record is an InputError with file and field."""
        if index in self._wrong:
            raise InputError(self._wrong[index])
        keypoints, joints, matrix = (self._labels[name][index] for name in _FIELDS)
        name = f"{self._numbers[index]:05d}.png"
        camera = CalibratedCamera(matrix)
        mask = self.root / self.split / "mask" / name
        depth = self.root / self.split / "depth" / name
        return self.sample_of(
            f"{self.split}/color/{name}",
            (
                _hand(joints[own], keypoints[own], camera, side, partial(_mask, mask, parts))
                for side, own, parts in _HANDS
            ),
            self._path,
            (320, 320),
            camera=camera,
            frame=int(self._numbers[index]),
            read_depth=partial(depth_from_png, depth, _METRES_PER_STEP, red_is_high=True),
        )


def _hand(
    joints_m: FloatArray,
    keypoints: FloatArray,
    camera: CalibratedCamera,
    side: Side,
    read_mask: Callable[[], BoolArray],
) -> Instance:
    """Return a hand whose joints are all known, with the visible ones labelled."""
    keypoints = keypoints[list(RHD)]
    valid = keypoints[:, 2] > 0
    hand = hand_before_camera(joints_m[list(RHD)], camera, side, keypoints_px=keypoints[:, :2], read_mask=read_mask)
    return replace(hand, valid_px=valid, valid_m=valid)


def open_rhd(entry: DatasetEntry, root: Path, split: str) -> Dataset:
    """Open the official pickle, or else the JSON that InterNet's authors made of it."""
    short = re.sub("ing$|uation$", "", split)
    for file in (f"annotations/rhd_{short}.json", f"annotations/rhd_{split}.json"):
        if not (root / f"{split}/anno_{split}.pickle").exists() and (root / file).exists():
            return ParsedHands(entry, root, split, file=file, images=f"{split}/color", order=RHD)
    return Rhd(entry, root, split)


def _mask(path: Path, parts: range) -> BoolArray:
    grey = load_image(path, upright=False)[..., 0]
    return (grey >= parts.start) & (grey < parts.stop)
