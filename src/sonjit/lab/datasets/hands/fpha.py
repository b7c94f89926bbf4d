"""First-Person Hand Action benchmark: right hands with magnetic sensors, seen from the shoulder.

Source: Garcia-Hernando et al., CVPR 2018. Joints are in millimetres in the depth camera's frame, which is the world
frame here. Images are from the colour camera. Copies of a smaller size are common; they are enlarged to 1920 x 1080.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from sonjit._util.arrays import FloatArray
from sonjit._util.errors import InputError
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.lab.datasets.dataset import Dataset, DatasetEntry
from sonjit.lab.datasets.joint_orders import FPHA, MM, camera_matrix, hand_before_camera
from sonjit.lab.datasets.reading import numbers
from sonjit.lab.datasets.sample import Instance, Sample

_COLOUR = camera_matrix((1395.749023, 1395.749268), (935.732544, 540.68103))
_DEPTH_TO_COLOUR = np.array(
    [
        [0.999988496304, -0.00468848412856, 0.000982563360594],
        [0.00469115935266, 0.999985218048, -0.00273845880292],
        [-0.000969709653873, 0.00274303671904, 0.99999576807],
    ]
)
_DEPTH_TO_COLOUR_MM = np.array([25.7, 1.22, 3.902])
_TRAIN: Final = (1, 3, 4)
"""Training subjects of the cross-subject split."""
_LABEL_FOLDERS = ("Hand_pose_annotation_v1", "Hand_pose_annotation_v1_1")


class Fpha(Dataset):
    """One split with every labelled frame.

    Args:
        entry: Record of the set.
        root: Folder with `Video_files` and `Hand_pose_annotation_v1`.
        split: `all`, or the cross-subject split of hand poses: `train` (subjects 1, 3 and 4) and `test` (the others).

    Raises:
        InputError: A file is missing or damaged.
    """

    def __init__(self, entry: DatasetEntry, root: Path, split: str) -> None:
        super().__init__(entry, root, split)
        folder = next((name for name in _LABEL_FOLDERS if (root / name).is_dir()), _LABEL_FOLDERS[0])
        files = sorted(self.need(folder).glob("Subject_*/*/*/skeleton.txt"))
        self._files = [file for file in files if split == "all" or (_subject(file) in _TRAIN) == (split == "train")]
        if not self._files:
            raise InputError(f"{entry.name}: no Subject_*/*/*/skeleton.txt of the split {split} in {root / folder}")
        tables = [_table(file, 63) for file in self._files]
        self._ends = np.cumsum([len(table) for table in tables])
        self._rows = np.concatenate(tables)  # (frames, 64): number, joints in millimetres

    def __len__(self) -> int:
        return len(self._rows)

    def load(self, index: int) -> Sample:
        """Return one frame."""
        file = self._files[int(np.searchsorted(self._ends, index, side="right"))]
        subject, action, repetition = file.parts[-4:-1]
        row = self._rows[index]
        if not np.isfinite(row).all():
            raise InputError(f"{file}: frame {row[0]:.0f} contains a value that is not a number")
        frame = int(row[0])
        camera = CalibratedCamera(_COLOUR, _DEPTH_TO_COLOUR, _DEPTH_TO_COLOUR_MM * MM)
        joints = camera.from_world(row[1:].reshape(21, 3)[list(FPHA)] * MM)
        name = f"Video_files/{subject}/{action}/{repetition}/color/color_{frame:04d}.jpeg"
        return self.sample_of(
            name,
            [hand_before_camera(joints, camera, "Right"), *self._object(subject, action, repetition, frame)],
            file,
            (1920, 1080),
            camera=camera,
            subject=subject,
            sequence=f"{subject}/{action}/{repetition}",
            frame=frame,
            tags={"action": action},
            reduced=True,
        )

    def _object(self, subject: str, action: str, repetition: str, frame: int) -> tuple[Instance, ...]:
        """Return the grasped object if the set contains its pose: (4, 4) in the world, metres."""
        path = self.root / f"Object_6D_pose_annotation_v1/{subject}/{action}/{repetition}/object_pose.txt"
        if not path.is_file():
            return ()
        table = _table(path, 16)
        rows = table[table[:, 0] == frame]
        if not len(rows):
            return ()
        pose = rows[0, 1:].reshape(4, 4).T.copy()  # written column by column
        pose[:3, 3] *= MM
        return (Instance(kind="object", extra={"pose_world_m": pose}),)


def _subject(file: Path) -> int:
    name = file.parts[-4].rpartition("_")[2]
    return int(name) if name.isdecimal() else 0


def _table(path: Path, count: int) -> FloatArray:
    """Return a table (lines, 1 + count): frame number and its values."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    rows = [
        numbers(line.split(), (1 + count,), f"{path}: line {number}")
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    return np.array(rows).reshape(-1, 1 + count)
