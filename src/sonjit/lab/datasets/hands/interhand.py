"""InterHand2.6M: one and two hands in front of many calibrated cameras.

Source: Moon et al., ECCV 2020, https://mks0601.github.io/InterHand2.6M. Joints are in millimetres in the world of a
capture, x_camera = R (x_world - centre). MANO's fits are in metres in that world.

Annotation files are streamed into arrays: about 60 bytes per image, a hundredth of the size of their objects. A wrong
record stays in the index with its problem, so that it raises an error on access and can be excluded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import BoolArray, FloatArray
from sonjit._util.data_files import read_json
from sonjit._util.errors import InputError, unknown_name
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.lab.datasets.dataset import Dataset, DatasetEntry
from sonjit.lab.datasets.hands.interhand_index import ImageRecord, index_images, index_joints, index_mano
from sonjit.lab.datasets.joint_orders import INTERHAND, MM, box_from_xywh, camera_matrix, hand_before_camera
from sonjit.lab.datasets.reading import field as field_of
from sonjit.lab.datasets.reading import numbers
from sonjit.lab.datasets.sample import Instance, ManoParameters, Sample, Side

Annotations = Literal["all", "human", "machine"]
_SIDES: tuple[Side, Side] = ("Right", "Left")
_JOINTS = np.array(INTERHAND), np.array(INTERHAND) + 21
_OLD_FOLDERS = {"all": "all", "human": "human_annot", "machine": "machine_annot"}
ORDER: Final = np.concatenate([np.array(INTERHAND), np.array(INTERHAND) + 21])
"""Indices (42,) of MediaPipe's keypoints of the right, then of the left hand, in the set's order."""


class InterHand(Dataset):
    """One split of one release.

    Args:
        entry: Record of the set.
        root: Folder with `images` and `annotations`, or with the folders of several releases.
        split: `train`, `val` or `test`.
        annotations: Origin of the annotations: all, human or machine. Version 1.0 comes without lists of them: they are
            read from `annotations/{split}/aid_{human,machine}_annot_{split}.txt`; version 0.0 has a folder for each.
        fps: Frame rate of the release, 5 or 30, if the root contains folders of several.

    A sample's tags contain `hand_type` and `sequence_type`: PP, a motion from the neutral pose to a pose and back, or
    ROM, gestures through the range of motion.

    Raises:
        InputError: A file is missing or damaged.
    """

    def __init__(
        self, entry: DatasetEntry, root: Path, split: str, *, annotations: Annotations = "all", fps: int = 5
    ) -> None:
        super().__init__(entry, root, split)
        if annotations not in _OLD_FOLDERS:
            raise InputError(unknown_name("annotations", annotations, ("all", "human", "machine")))
        self._base = "" if (root / "annotations").is_dir() else f"InterHand2.6M_{fps}fps_batch1/"
        if self._base and not (root / self._base).is_dir():
            self._base = ""
        folder = f"{self._base}annotations/{split}"
        old = f"{self._base}annotations/{_OLD_FOLDERS[annotations]}"
        is_old = not (root / folder).is_dir() and (root / old).is_dir()
        stem = f"{old if is_old else folder}/InterHand2.6M_{split}_"
        self._index = index_images(self.need(f"{stem}data.json"))
        self._cameras_path = self.need(f"{stem}camera.json")
        self._cameras: dict[str, Any] = read_json(self._cameras_path)
        self._source = str(self._index.path)
        self._calibrated: dict[tuple[str, str], CalibratedCamera] = {}  # read often: an image has one of a few hundred
        self._joints_path = self.need(f"{stem}joint_3d.json")
        self._joints = index_joints(self._joints_path)
        mano = root / f"{stem}MANO_NeuralAnnot.json"
        self._mano = index_mano(mano) if mano.is_file() else None
        self._selected = np.arange(len(self._index.annotation_ids), dtype=np.int32)
        if annotations != "all" and not is_old:
            self._selected = self._load_id_list(f"{folder}/aid_{annotations}_annot_{split}.txt")

    def __len__(self) -> int:
        return len(self._selected)

    def load(self, index: int) -> Sample:
        """Return the sample of one annotation. A wrong record is an InputError with file and field."""
        image = self._index.image(int(self._selected[index]))
        key = image.capture, image.camera
        camera = (
            self._calibrated[key] if key in self._calibrated else self._calibrated.setdefault(key, self._camera(image))
        )
        world = self._joints.row(image.capture, image.frame)
        if world is None:
            raise InputError(f"{self._joints_path} has no {image.capture}.{image.frame}")
        valid = image.joint_valid & np.isfinite(world).all(axis=1) & ~(world == 1).all(axis=1)
        joints = camera.from_world(world * MM)  # (42, 3)
        name = f"images/{self.split}/{image.file_name}"
        return self.sample_of(
            name,
            (self._hand(index, image, joints, valid, camera) for index in _present(image, valid)),
            self._source,
            (image.width, image.height),
            image=self.root / self._base / name,
            box=box_from_xywh(image.box_xywh) if image.hand_type == "interacting" else None,
            camera=camera,
            subject=f"{self.split}/{image.subject}",  # each split has its own numbers
            sequence=f"{self.split}/Capture{image.capture}/{image.sequence}",
            frame=image.frame,
            view=image.camera,
            tags={
                "annotation_id": image.annotation_id,
                "hand_type": image.hand_type,
                "hand_type_valid": image.hand_type_valid,
                "sequence_type": image.sequence_type,
            },
        )

    def _hand(
        self, index: int, image: ImageRecord, joints: FloatArray, valid: BoolArray, camera: CalibratedCamera
    ) -> Instance:
        own = _JOINTS[index]
        fit = None if self._mano is None else self._mano.row(image.capture, image.frame)
        mesh = None
        if fit is not None and np.isfinite(fit[index]).all():
            mesh = ManoParameters(fit[index, :48], fit[index, 48:58], fit[index, 58:], "world", flat_mean=False)
        box = None if image.hand_type == "interacting" else box_from_xywh(image.box_xywh)
        return hand_before_camera(joints[own], camera, _SIDES[index], valid=valid[own], mesh=mesh, box=box)

    def _camera(self, image: ImageRecord) -> CalibratedCamera:
        named = f"{self._cameras_path}: {image.capture}"
        of_capture = field_of(self._cameras, image.capture, str(self._cameras_path))
        centre, turn, focal, middle = (
            numbers(
                field_of(field_of(of_capture, name, named), image.camera, f"{named}.{name}"),
                shape,
                f"{named}.{name}.{image.camera}",
            )
            for name, shape in (("campos", (3,)), ("camrot", (3, 3)), ("focal", (2,)), ("princpt", (2,)))
        )
        return CalibratedCamera(camera_matrix(focal, middle), turn, -turn @ centre * MM)

    def _load_id_list(self, below_root: str) -> NDArray[np.int32]:
        path = self.root / below_root
        if not path.is_file():
            raise InputError(
                f"{self.entry.name}: {below_root} is missing in {self.root}; it lists annotations' ids, one a line: "
                f"ask the set's owners for it at {self.entry.where}"
            )
        try:
            ids = np.array(path.read_text("utf-8").split(), np.int64)
        except ValueError as error:
            raise InputError(f"{path} contains a value that is not an id: {error}") from None
        return np.flatnonzero(np.isin(self._index.annotation_ids, ids)).astype(np.int32)


def _present(image: ImageRecord, valid: BoolArray) -> list[int]:
    """Return the hands in the image: 0 for the right one, 1 for the left one."""
    if not image.hand_type_valid:
        return [index for index in (0, 1) if valid[21 * index : 21 * index + 21].any()]
    return {"right": [0], "left": [1], "interacting": [0, 1]}[image.hand_type]
