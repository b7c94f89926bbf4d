"""Read STB, a hand before a stereo camera."""

from pathlib import Path

import numpy as np

from sonjit._util import InputError, records, unknown_name
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit_lab.datasets import reading
from sonjit_lab.datasets.dataset import Dataset, DatasetEntry
from sonjit_lab.datasets.hands_3d import VIEWS, View
from sonjit_lab.datasets.sample import Sample

_STEREO = reading.camera_matrix((822.79041, 822.79041), (318.47345, 250.31296))
_BASELINE_MM = 120.054
_STB_COLOUR = reading.camera_matrix((607.92271, 607.88192), (314.78337, 236.42484))
_COLOUR_TO_DEPTH = matrix_from_rotation_vector(np.array([0.00531, -0.01196, 0.00301]))
_COLOUR_TO_DEPTH_MM = np.array([-24.0381, -0.4563, -1.2326])
_TEST = "B1"  # the background that everybody tests on


class Stb(Dataset):
    """One split as seen by one camera: `train` (backgrounds 2 to 6), `test` (background 1) or `all`.

    `view`: BB_left, BB_right or SK_color.
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
        tables = (records.numbers_of(reading.load_matlab(file), "handPara", (3, 21, -1), str(file)) for file in files)
        self._labels = [np.moveaxis(table, (2, 1), (0, 1)).copy() for table in tables]  # (frames, 21, 3) millimetres
        self._ends = np.cumsum([len(labels) for labels in self._labels])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def load(self, index: int) -> Sample:
        file_index = int(np.searchsorted(self._ends, index, side="right"))
        frame = index - (int(self._ends[file_index - 1]) if file_index else 0)
        sequence = self._files[file_index].name.partition("_")[0]
        name = f"images/{sequence}/{self._view}_{frame}.png"
        frame_labels = self._labels[file_index][frame]  # (21, 3) millimetres
        camera = _stb_camera(self._view)
        palm, knuckle = frame_labels[0], frame_labels[reading.STB[9]]
        joints = frame_labels[list(reading.STB)]
        joints[0] = 2 * palm - knuckle
        extra = {"palm_m": camera.from_world(palm * reading.MM)}
        hand = reading.hand_before_camera(
            camera.from_world(joints * reading.MM), camera, "Left", derived=(0,), extra=extra
        )
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


def _stb_camera(view: View) -> CalibratedCamera:
    """Return the camera. The world is the frame of the labels."""
    if view == "SK_color":
        turn = _COLOUR_TO_DEPTH.T
        return CalibratedCamera(_STB_COLOUR, turn, -turn @ _COLOUR_TO_DEPTH_MM * reading.MM)
    shift = np.array([-_BASELINE_MM * reading.MM if view == "BB_right" else 0.0, 0, 0])
    return CalibratedCamera(_STEREO, np.eye(3), shift)
