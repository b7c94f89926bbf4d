"""Read RHD, rendered hands with depth and masks."""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from sonjit._util import BoolArray, FloatArray, InputError, records
from sonjit.geometry.cameras import CalibratedCamera
from sonjit_lab.datasets import reading
from sonjit_lab.datasets.dataset import Dataset, DatasetEntry
from sonjit_lab.datasets.hands_3d import ParsedHands, parts_mask
from sonjit_lab.datasets.ho3d import read
from sonjit_lab.datasets.sample import Instance, Sample, Side

_FIELDS: Final = {"uv_vis": (42, 3), "xyz": (42, 3), "K": (3, 3)}
_HANDS: Final[tuple[tuple[Side, slice, range], ...]] = (
    ("Left", slice(0, 21), range(2, 18)),
    ("Right", slice(21, 42), range(18, 34)),
)
"""Side, joints and mask numbers of each hand."""
_METRES_PER_STEP = 5 / 65535


class Rhd(Dataset):
    """One split in its official form."""

    def __init__(self, entry: DatasetEntry, root: Path, split: str) -> None:
        super().__init__(entry, root, split)
        self._path = self.need(f"{split}/anno_{split}.pickle")
        hands = read(self._path)
        numbers = sorted(record for record in hands if isinstance(record, int))
        if not numbers or len(numbers) < len(hands):
            raise InputError(f"{self._path}: its {len(hands)} images are not all named by numbers; get it again")
        self._wrong: dict[int, str] = {}
        self._numbers = np.array(numbers, np.int32)
        self._labels = {name: np.zeros((len(self._numbers), *shape)) for name, shape in _FIELDS.items()}
        for index, number in enumerate(self._numbers.tolist()):
            named = f"{self._path}: {number}"
            try:
                for name, shape in _FIELDS.items():
                    self._labels[name][index] = reading.pickled_numbers(
                        records.field(hands[number], name, named), shape, f"{named}.{name}"
                    )
            except InputError as error:
                self._wrong[index] = str(error)

    def __len__(self) -> int:
        return len(self._numbers)

    def load(self, index: int) -> Sample:
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
                _rhd_hand(joints[rows], keypoints[rows], camera, side, partial(parts_mask, mask, mask_numbers))
                for side, rows, mask_numbers in _HANDS
            ),
            self._path,
            (320, 320),
            camera=camera,
            frame=int(self._numbers[index]),
            read_depth=partial(reading.depth_from_png, depth, _METRES_PER_STEP, red_is_high=True),
        )


def _rhd_hand(
    joints_m: FloatArray,
    keypoints: FloatArray,
    camera: CalibratedCamera,
    side: Side,
    read_mask: Callable[[], BoolArray],
) -> Instance:
    """Return a hand whose joints are all known, with the visible ones labelled."""
    keypoints = keypoints[list(reading.RHD)]
    valid = keypoints[:, 2] > 0
    hand = reading.hand_before_camera(
        joints_m[list(reading.RHD)], camera, side, keypoints_px=keypoints[:, :2], read_mask=read_mask
    )
    return replace(hand, valid_px=valid, valid_m=valid)


def open_rhd(entry: DatasetEntry, root: Path, split: str) -> Dataset:
    """Open the official pickle, or else the JSON that InterNet's authors made of it."""
    short = re.sub("ing$|uation$", "", split)
    for file in (f"annotations/rhd_{short}.json", f"annotations/rhd_{split}.json"):
        if not (root / f"{split}/anno_{split}.pickle").exists() and (root / file).exists():
            return ParsedHands(entry, root, split, file=file, images=f"{split}/color", order=reading.RHD)
    return Rhd(entry, root, split)
