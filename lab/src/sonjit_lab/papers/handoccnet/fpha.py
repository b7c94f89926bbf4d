"""Read FPHA, hands with magnetic sensors seen from the wearer's shoulder."""

from pathlib import Path
from typing import Final

import numpy as np

from sonjit._util import FloatArray, InputError, records
from sonjit.geometry.cameras import CalibratedCamera
from sonjit_lab.datasets import reading
from sonjit_lab.datasets.dataset import Dataset, DatasetEntry, read_lines
from sonjit_lab.datasets.sample import Instance, Sample

_FPHA_COLOUR = reading.camera_matrix((1395.749023, 1395.749268), (935.732544, 540.68103))
_DEPTH_TO_COLOUR = np.array(
    [
        [0.999988496304, -0.00468848412856, 0.000982563360594],
        [0.00469115935266, 0.999985218048, -0.00273845880292],
        [-0.000969709653873, 0.00274303671904, 0.99999576807],
    ]
)
_DEPTH_TO_COLOUR_MM = np.array([25.7, 1.22, 3.902])
_TRAIN: Final = ("Subject_1", "Subject_3", "Subject_4")  # of the cross-subject split
_LABEL_FOLDERS = ("Hand_pose_annotation_v1", "Hand_pose_annotation_v1_1")


class Fpha(Dataset):
    """One split with every labelled frame: `all`, or the cross-subject `train` (subjects 1, 3 and 4) and `test`."""

    def __init__(self, entry: DatasetEntry, root: Path, split: str) -> None:
        super().__init__(entry, root, split)
        folder = next((name for name in _LABEL_FOLDERS if (root / name).is_dir()), _LABEL_FOLDERS[0])
        files = sorted(self.need(folder).glob("Subject_*/*/*/skeleton.txt"))
        self._files = [file for file in files if split == "all" or (file.parts[-4] in _TRAIN) == (split == "train")]
        if not self._files:
            raise InputError(f"{entry.name}: no Subject_*/*/*/skeleton.txt of the split {split} in {root / folder}")
        tables = [_table(file, 63) for file in self._files]
        self._ends = np.cumsum([len(table) for table in tables])
        self._rows = np.concatenate(tables)  # (frames, 64): number, joints in millimetres

    def __len__(self) -> int:
        return len(self._rows)

    def load(self, index: int) -> Sample:
        file = self._files[int(np.searchsorted(self._ends, index, side="right"))]
        subject, action, repetition = file.parts[-4:-1]
        row = self._rows[index]
        if not np.isfinite(row).all():
            raise InputError(f"{file}: frame {row[0]:.0f} contains a value that is not a number")
        frame = int(row[0])
        camera = CalibratedCamera(_FPHA_COLOUR, _DEPTH_TO_COLOUR, _DEPTH_TO_COLOUR_MM * reading.MM)
        joints = camera.from_world(row[1:].reshape(21, 3)[list(reading.FPHA)] * reading.MM)
        name = f"Video_files/{subject}/{action}/{repetition}/color/color_{frame:04d}.jpeg"
        return self.sample_of(
            name,
            [reading.hand_before_camera(joints, camera, "Right"), *self._object(subject, action, repetition, frame)],
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
        pose[:3, 3] *= reading.MM
        return (Instance(kind="object", extra={"pose_world_m": pose}),)


def _table(path: Path, count: int) -> FloatArray:
    """Return a table (lines, 1 + count): frame number and its values."""
    lines = enumerate(read_lines(path), 1)
    rows = [records.numbers(line.split(), (1 + count,), f"{path}: line {number}") for number, line in lines]
    return np.array(rows).reshape(-1, 1 + count)
