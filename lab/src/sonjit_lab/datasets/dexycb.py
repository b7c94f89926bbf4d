"""Read DexYCB, hands that grasp objects before eight cameras."""

from functools import cache, partial
from io import BytesIO
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonjit._util import BoolArray, FloatArray, InputError, data_files, records
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.media.sources.images import read_bytes
from sonjit_lab.datasets import reading
from sonjit_lab.datasets.dataset import Dataset, DatasetEntry, Identity
from sonjit_lab.datasets.hands_3d import SIDES
from sonjit_lab.datasets.sample import Instance, ManoParameters, Sample

_SEQUENCES = 100  # of each subject
_SERIALS: Final = (
    "836212060125",
    "839512060362",
    "840412060917",
    "841412060263",
    "932122060857",
    "932122060861",
    "932122061900",
    "932122062010",
)
"""Serial numbers of all cameras, in the order of the toolkit, which numbers the images of a split by it."""
_HAND_IN_MASK = 255


class _Sequence(NamedTuple):
    """One recording."""

    folder: str
    frames: int
    cameras: tuple[str, ...]
    sides: tuple[str, ...]
    betas: tuple[str, ...]
    objects: tuple[int, ...]
    grasped: int


class DexYcb(Dataset):
    """One split: every frame of every camera. A sample without a visible hand has no instances.

    `split`: `all`, or a setup with train, val or test, such as s0-test. Its test set has nothing new (s0), new people
    (s1), new cameras (s2) or new objects (s3). Splits count a subject's hundred sequences by name, so all of them are
    required. `visible`: also read from the segmentation which keypoints an object hides, 2 ms per image.
    """

    def __init__(self, entry: DatasetEntry, root: Path, split: str, *, visible: bool = False) -> None:
        super().__init__(entry, root, split)
        self._reads_visible = visible
        self.need("calibration")
        subjects = sorted(path for path in root.glob("*-subject-*") if path.is_dir())
        if not subjects:
            self.need("20200709-subject-01")
        setup, _, part = split.partition("-")
        self._sequences: list[_Sequence] = []
        self._rows: list[tuple[int, int]] = []  # sequence and camera
        for subject in subjects:
            person = int(subject.name.rpartition("-")[2]) - 1
            folders = sorted(path.parent for path in subject.glob("*/meta.yml"))
            if split != "all" and len(folders) != _SEQUENCES:
                raise InputError(
                    f"{entry.name}: the split {split} counts a subject's {_SEQUENCES} sequences and {subject} has "
                    f"{len(folders)}; get the rest from {entry.where}, or use the split all"
                )
            for number, folder in enumerate(folders):
                if split != "all" and setup != "s2" and _part(setup, person, number) != part:
                    continue
                sequence = _sequence(folder, root)
                cameras = sorted(range(len(sequence.cameras)), key=partial(_camera_number, sequence.cameras))
                self._rows += [
                    (len(self._sequences), camera)
                    for camera in cameras
                    if setup != "s2" or _part(setup, person, _camera_number(sequence.cameras, camera)) == part
                ]
                self._sequences.append(sequence)
        if not self._rows:
            raise InputError(f"{entry.name}: no sequence in {root} belongs to the split {split}")
        self._ends = np.cumsum([self._sequences[sequence].frames for sequence, _ in self._rows])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def _image(self, index: int) -> tuple[_Sequence, str, int, str]:
        """Return the sequence, the camera, the frame, and the name of an image below the root."""
        row = int(np.searchsorted(self._ends, index, side="right"))
        frame = index - (int(self._ends[row - 1]) if row else 0)
        number, view = self._rows[row]
        sequence = self._sequences[number]
        serial = sequence.cameras[view]
        return sequence, serial, frame, f"{sequence.folder}/{serial}/color_{frame:06d}.jpg"

    def identity(self, index: int) -> Identity:
        sequence, _, _, name = self._image(index)
        subject = sequence.folder.partition("/")[0]
        return Identity(name, subject, sequence.folder, self.root / name, self.entry.name)

    def load(self, index: int) -> Sample:
        sequence, serial, frame, name = self._image(index)
        path = self.root / f"{sequence.folder}/{serial}/labels_{frame:06d}.npz"
        camera = CalibratedCamera(_intrinsics(self.root / f"calibration/intrinsics/{serial}_640x480.yml"))
        labels = _labels(path)
        return self.sample_of(
            name,
            [*self._hands(sequence, labels, camera, path), *_dexycb_objects(sequence, labels, path)],
            path,
            (640, 480),
            camera=camera,
            subject=sequence.folder.partition("/")[0],
            sequence=sequence.folder,
            frame=frame,
            view=serial,
        )

    def _hands(
        self, sequence: _Sequence, labels: dict[str, NDArray[Any]], camera: CalibratedCamera, path: Path
    ) -> list[Instance]:
        count = len(sequence.sides)
        joints = records.numbers_of(labels, "joint_3d", (count, 21, 3), str(path))
        poses = records.numbers_of(labels, "pose_m", (count, 51), str(path))
        keypoints = records.numbers_of(labels, "joint_2d", (count, 21, 2), str(path)) if "joint_2d" in labels else None
        hands: list[Instance] = []
        labelled = _segmentation(path) if self._reads_visible and "seg" in labels else None
        for number, side in enumerate(sequence.sides):
            if (joints[number] == -1).all():
                continue
            more: dict[str, Any] = {}
            if labelled is not None:
                pixels = camera.project(joints[number]) if keypoints is None else keypoints[number]
                height, width = labelled.shape
                columns, rows = np.floor(np.nan_to_num(pixels, nan=-1.0) + 0.5).astype(np.int64).T
                inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
                labels_at = labelled[rows.clip(0, height - 1), columns.clip(0, width - 1)]
                more["visible"] = np.asarray(inside & ~np.isin(labels_at, sequence.objects), np.bool_)
            betas = _betas(self.root / f"calibration/mano_{sequence.betas[number]}/mano.yml")
            pose = poses[number]
            hands.append(
                reading.hand_before_camera(
                    joints[number],
                    camera,
                    SIDES[side],
                    keypoints_px=None if keypoints is None else keypoints[number],
                    mesh=ManoParameters(
                        pose[:48], betas, pose[48:], "camera", pca=True, flat_mean=False, left_shapes="distributed"
                    ),
                    read_mask=partial(_mask, path, _HAND_IN_MASK) if "seg" in labels else None,
                    **more,
                )
            )
        return hands


def _part(setup: str, person: int, number: int) -> str:
    """Return the part of a setup that a sequence (for s2 a camera) belongs to; numbers count from 0."""
    match setup:
        case "s0":
            is_held_out = number % 5 == 4
            if not is_held_out:
                return "train"
            return "val" if person < 2 else "test"
        case "s1":
            return {6: "val", 7: "test", 8: "test"}.get(person, "train")
        case "s2":
            return {6: "val", 7: "test"}.get(number, "train")
        case _:
            return {3: "val", 19: "val", 7: "test", 11: "test", 15: "test"}.get(number // 5, "train")


def _camera_number(cameras: tuple[str, ...], index: int) -> int:
    """Return the number of a camera in the setup s2, whatever cameras a recording lists."""
    return _SERIALS.index(cameras[index]) if cameras[index] in _SERIALS else index


def _sequence(folder: Path, root: Path) -> _Sequence:
    path = folder / "meta.yml"
    meta, named = records.load_yaml(path), str(path)
    camera_folders = sorted(item.name for item in folder.iterdir() if item.is_dir())
    cameras = _text_list(meta, "serials", named) if meta.get("serials") else camera_folders
    sides, betas = _text_list(meta, "mano_sides", named), _text_list(meta, "mano_calib", named)
    frames = records.field(meta, "num_frames", named)
    if not isinstance(frames, int) or frames < 1:
        raise InputError(f"{path}: num_frames is {frames!r}, not a number of frames")
    if len(betas) != len(sides) or not set(sides) <= set(SIDES):
        raise InputError(f"{path}: mano_sides are {sides} and mano_calib {betas}; one of each for every hand")
    return _Sequence(
        folder=folder.relative_to(root).as_posix(),
        frames=frames,
        cameras=tuple(cameras),
        sides=tuple(sides),
        betas=tuple(betas),
        objects=tuple(records.numbers_of(meta, "ycb_ids", (-1,), named).astype(int).tolist()),
        grasped=int(records.numbers_of(meta, "ycb_grasp_ind", (), named)),
    )


def _text_list(meta: dict[Any, Any], name: str, named: str) -> list[str]:
    value = records.field(meta, name, named)
    if not isinstance(value, list):
        raise InputError(f"{named}: {name} is not a list: {str(value)[:60]}")
    return [str(item) for item in value]


def _dexycb_objects(sequence: _Sequence, labels: dict[str, NDArray[Any]], path: Path) -> list[Instance]:
    count = len(sequence.objects)
    poses = records.numbers_of(labels, "pose_y", (count, 3, 4), str(path))
    return [
        Instance(
            kind="object",
            category_id=number,
            extra={"pose_m": poses[index], "grasped": index == sequence.grasped},
            read_mask=partial(_mask, path, number) if "seg" in labels else None,
        )
        for index, number in enumerate(sequence.objects)
    ]


def _labels(path: Path) -> dict[str, NDArray[Any]]:
    """Return all labels except the mask, which takes longest to unpack."""
    names = list[str]()

    def accepts(name: str) -> bool:
        names.append(name)
        return name != "seg"

    arrays = data_files.npz_arrays(BytesIO(read_bytes(path)), str(path), accepts=accepts)
    return {name: arrays[name] if name in arrays else np.zeros(0) for name in names}


def _mask(path: Path, value: int) -> BoolArray:
    return np.asarray(_segmentation(path) == value, np.bool_)


def _segmentation(path: Path) -> NDArray[np.uint8]:
    """Return the mask (H, W): an object's number, 255 for the hand, 0 for neither."""
    return np.asarray(data_files.read_npz(path, accepts=lambda name: name == "seg")["seg"], np.uint8)


@cache
def _intrinsics(path: Path) -> FloatArray:
    colour = records.field(records.load_yaml(path), "color", str(path))
    named = f"{path}: color"
    fx, fy, cx, cy = (float(records.numbers_of(colour, name, (), named)) for name in ("fx", "fy", "ppx", "ppy"))
    return reading.camera_matrix((fx, fy), (cx, cy))


@cache
def _betas(path: Path) -> FloatArray:
    return records.numbers_of(records.load_yaml(path), "betas", (10,), str(path))
