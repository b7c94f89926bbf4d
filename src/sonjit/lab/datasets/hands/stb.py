"""Stereo hand Tracking Benchmark: one person's left hand in front of a stereo and a depth camera, six backgrounds.

Source: Zhang et al., ICIP 2017. Labels are in millimetres in the frame of the stereo pair's left camera, or of the
depth camera. The set labels the palm's centre in place of the wrist. The wrist is placed as far behind it as the middle
finger's knuckle is in front, and marked as derived.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import numpy as np

from sonjit._util.arrays import FloatArray
from sonjit._util.errors import InputError, unknown_name
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit.lab.datasets.dataset import Dataset, DatasetEntry
from sonjit.lab.datasets.joint_orders import MM, STB, camera_matrix, hand_before_camera
from sonjit.lab.datasets.matlab import load_matlab
from sonjit.lab.datasets.reading import field, numbers
from sonjit.lab.datasets.sample import Sample

View = Literal["BB_left", "BB_right", "SK_color"]
VIEWS: Final[tuple[View, ...]] = ("BB_left", "BB_right", "SK_color")
_STEREO = camera_matrix((822.79041, 822.79041), (318.47345, 250.31296))
_BASELINE_MM = 120.054
_COLOUR = camera_matrix((607.92271, 607.88192), (314.78337, 236.42484))
_COLOUR_TO_DEPTH = matrix_from_rotation_vector(np.array([0.00531, -0.01196, 0.00301]))
_COLOUR_TO_DEPTH_MM = np.array([-24.0381, -0.4563, -1.2326])
_TEST = "B1"  # the background that everybody tests on


class Stb(Dataset):
    """One split as seen by one camera.

    Args:
        entry: Record of the set.
        root: Folder with `images` and `labels`.
        split: `train` (backgrounds 2 to 6), `test` (background 1) or `all`.
        view: BB_left, BB_right or SK_color.

    Raises:
        InputError: A file is missing or damaged.
    """

    def __init__(self, entry: DatasetEntry, root: Path, split: str, *, view: View = "BB_left") -> None:
        super().__init__(entry, root, split)
        if view not in VIEWS:
            raise InputError(unknown_name("view", view, VIEWS))
        self._view: View = view
        device = view[:2]
        files = sorted(self.need("labels").glob(f"*_{device}.mat"))
        files = [file for file in files if split == "all" or (file.name[:2] == _TEST) == (split == "test")]
        if not files:
            self.need(f"labels/{_TEST if split == 'test' else 'B2'}Counting_{device}.mat")
        self._files = files
        self._labels = [_labels(file) for file in files]
        self._ends = np.cumsum([len(labels) for labels in self._labels])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def load(self, index: int) -> Sample:
        """Return one frame."""
        file_index = int(np.searchsorted(self._ends, index, side="right"))
        frame = index - (int(self._ends[file_index - 1]) if file_index else 0)
        sequence = self._files[file_index].name.partition("_")[0]
        name = f"images/{sequence}/{self._view}_{frame}.png"
        own = self._labels[file_index][frame]  # (21, 3) millimetres
        camera = _camera(self._view)
        palm, knuckle = own[0], own[STB[9]]
        joints = own[list(STB)]
        joints[0] = 2 * palm - knuckle
        extra = {"palm_m": camera.from_world(palm * MM)}
        hand = hand_before_camera(camera.from_world(joints * MM), camera, "Left", derived=(0,), extra=extra)
        return self.sample_of(
            name,
            [hand],
            self._files[file_index],
            (640, 480),
            camera=camera,
            subject="1",
            sequence=sequence,
            frame=frame,
            view=self._view,
        )


def _labels(file: Path) -> FloatArray:
    """Return labels (frames, 21, 3) in millimetres."""
    content = field(load_matlab(file), "handPara", str(file))
    return np.moveaxis(numbers(content, (3, 21, -1), f"{file}: handPara"), (2, 1), (0, 1)).copy()


def _camera(view: View) -> CalibratedCamera:
    """Return the camera. The world is the frame of the labels."""
    if view == "SK_color":
        turn = _COLOUR_TO_DEPTH.T
        return CalibratedCamera(_COLOUR, turn, -turn @ _COLOUR_TO_DEPTH_MM * MM)
    shift = np.array([-_BASELINE_MM * MM if view == "BB_right" else 0.0, 0, 0])
    return CalibratedCamera(_STEREO, np.eye(3), shift)
