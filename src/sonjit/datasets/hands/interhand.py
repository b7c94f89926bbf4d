"""InterHand2.6M: one and two hands before many calibrated cameras.

Source: Moon et al., ECCV 2020, https://mks0601.github.io/InterHand2.6M. Joints are millimetres in the world of a
capture, x_camera = R (x_world - centre); MANO's fits are metres in that world.

The records of InterHand2.6M's files, as those write them who lay out images of their own like that set.

Source: https://mks0601.github.io/InterHand2.6M; see `datasets.interhand` for the units.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from sonjit.datasets.dataset import Dataset, DatasetEntry
from sonjit.datasets.hands.interhand_index import Image, index_images, index_joints, index_mano
from sonjit.datasets.joint_orders import INTERHAND, MM, box_from_xywh, camera_matrix, hand_before_camera
from sonjit.datasets.reading import field, load_json, numbers
from sonjit.datasets.registry import register
from sonjit.datasets.sample import ManoParameters, Sample, Side
from sonjit.errors import InputError
from sonjit.geometry.cameras import CalibratedCamera

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from sonjit.datasets.sample import Instance

Annotations = Literal["all", "human", "machine"]

_SIDES: tuple[Side, Side] = ("Right", "Left")
_JOINTS = np.array(INTERHAND), np.array(INTERHAND) + 21
_OLD_FOLDERS = {"all": "all", "human": "human_annot", "machine": "machine_annot"}


class InterHand(Dataset):
    """One split of one release.

    Args:
        entry: the set's record.
        root: the folder that holds `images` and `annotations`, or the releases' own folders.
        split: train, val or test.
        annotations: by whom: all, human or machine. Version 1.0 comes without lists of which is which: they are read
            from `annotations/{split}/aid_{human,machine}_annot_{split}.txt`; version 0.0 has a folder for each.
        fps: of the release, where the root holds folders of several: 5 or 30.

    Raises:
        InputError: a piece is missing or damaged.
    """

    def __init__(
        self, entry: DatasetEntry, root: Path, split: str, *, annotations: Annotations = "all", fps: int = 5
    ) -> None:
        super().__init__(entry, root, split)
        if annotations not in _OLD_FOLDERS:
            raise InputError(f"annotations {annotations!r}: all, human or machine")
        self._base = "" if (root / "annotations").is_dir() else f"InterHand2.6M_{fps}fps_batch1/"
        if self._base and not (root / self._base).is_dir():
            self._base = ""
        folder = f"{self._base}annotations/{split}"
        old = f"{self._base}annotations/{_OLD_FOLDERS[annotations]}"
        is_old = not (root / folder).is_dir() and (root / old).is_dir()
        stem = f"{old if is_old else folder}/InterHand2.6M_{split}_"
        self._index = index_images(self.need(f"{stem}data.json"))
        self._cameras_path = self.need(f"{stem}camera.json")
        self._cameras: dict[str, Any] = load_json(self._cameras_path)
        self._source = str(self._index.path)
        self._made: dict[tuple[str, str], CalibratedCamera] = {}  # read often: an image has one of a few hundred
        self._joints_path = self.need(f"{stem}joint_3d.json")
        self._joints = index_joints(self._joints_path)
        mano = root / f"{stem}MANO_NeuralAnnot.json"
        self._mano = index_mano(mano) if mano.is_file() else None
        self._kept = np.arange(len(self._index.annotation_ids), dtype=np.int32)
        if annotations != "all" and not is_old:
            self._kept = self._listed(f"{folder}/aid_{annotations}_annot_{split}.txt")

    def __len__(self) -> int:
        return len(self._kept)

    def load(self, index: int) -> Sample:
        """The sample of one annotation; a wrong record is an InputError with file and field."""
        image = self._index.image(int(self._kept[index]))
        key = image.capture, image.camera
        camera = self._made[key] if key in self._made else self._made.setdefault(key, self._camera(image))
        world = self._joints.row(image.capture, image.frame)
        if world is None:
            raise InputError(f"{self._joints_path} has no {image.capture}.{image.frame}")
        valid = image.joint_valid & np.isfinite(world).all(axis=1) & ~(world == 1).all(axis=1)
        joints = camera.from_world(world * MM)  # (42, 3)
        name = f"images/{self.split}/{image.file_name}"
        return Sample(
            dataset=self.entry.name,
            id=name,
            image=self.root / self._base / name,
            width=image.width,
            height=image.height,
            instances=tuple(self._hand(place, image, joints, valid, camera) for place in _present(image, valid)),
            box=box_from_xywh(image.box_xywh) if image.hand_type == "interacting" else None,
            camera=camera,
            subject=f"{self.split}/{image.subject}",  # captures and people are counted anew in each split
            sequence=f"{self.split}/Capture{image.capture}/{image.sequence}",
            frame=image.frame,
            view=image.camera,
            tags={
                "annotation_id": image.annotation_id,
                "hand_type": image.hand_type,
                "hand_type_valid": image.hand_type_valid,
            },
            source=self._source,
            licence=self.entry.licence,
        )

    def _hand(
        self, place: int, image: Image, joints: NDArray[np.float64], valid: NDArray[np.bool_], camera: CalibratedCamera
    ) -> Instance:
        own = _JOINTS[place]
        fit = None if self._mano is None else self._mano.row(image.capture, image.frame)
        mesh = None
        if fit is not None and np.isfinite(fit[place]).all():
            mesh = ManoParameters(fit[place, :48], fit[place, 48:58], fit[place, 58:], "world", flat_mean=False)
        box = None if image.hand_type == "interacting" else box_from_xywh(image.box_xywh)
        return hand_before_camera(joints[own], camera, _SIDES[place], valid=valid[own], mesh=mesh, box=box)

    def _camera(self, image: Image) -> CalibratedCamera:
        named = f"{self._cameras_path}: {image.capture}"
        of_capture = field(self._cameras, image.capture, str(self._cameras_path))
        centre, turn, focal, middle = (
            numbers(
                field(field(of_capture, name, named), image.camera, f"{named}.{name}"),
                shape,
                f"{named}.{name}.{image.camera}",
            )
            for name, shape in (("campos", (3,)), ("camrot", (3, 3)), ("focal", (2,)), ("princpt", (2,)))
        )
        return CalibratedCamera(camera_matrix(focal, middle), turn, -turn @ centre * MM)

    def _listed(self, below_root: str) -> NDArray[np.int32]:
        path = self.root / below_root
        if not path.is_file():
            raise InputError(
                f"{self.entry.name}: {below_root} is missing in {self.root}; it lists annotations' ids, one a line: "
                f"ask the set's owners for it at {self.entry.where}"
            )
        try:
            wanted = np.array(path.read_text("utf-8").split(), np.int64)
        except ValueError as error:
            raise InputError(f"{path} holds something that is not an id: {error}") from None
        return np.flatnonzero(np.isin(self._index.annotation_ids, wanted)).astype(np.int32)


def _present(image: Image, valid: NDArray[np.bool_]) -> list[int]:
    """Which hands are in the image: 0 the right one, 1 the left one."""
    if not image.hand_type_valid:
        return [place for place in (0, 1) if valid[21 * place : 21 * place + 21].any()]
    return {"right": [0], "left": [1], "interacting": [0, 1]}[image.hand_type]


register(
    DatasetEntry(
        name="interhand2.6m",
        title="InterHand2.6M",
        open=InterHand,
        splits=("train", "val", "test"),
        kinds=("hand",),
        licence="CC-BY-NC 4.0",
        where="https://mks0601.github.io/InterHand2.6M",
        needs=(
            "images/{split}",
            "annotations/{split}/InterHand2.6M_{split}_data.json",
            "annotations/{split}/InterHand2.6M_{split}_camera.json",
            "annotations/{split}/InterHand2.6M_{split}_joint_3d.json",
        ),
    )
)

ORDER: Final = np.concatenate([np.array(INTERHAND), np.array(INTERHAND) + 21])
"""(42,) where the set has MediaPipe's keypoints of the right, then of the left hand."""

_ROOM: Final = 1.2
"""The set's boxes are so much larger than what is in them."""

_TYPES: Final = {(True, False): "right", (False, True): "left", (True, True): "interacting"}


def cameras_record(
    cameras: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]],
) -> dict[str, dict[str, list[float] | list[list[float]]]]:
    """A capture's entry of `camera.json` from K, R and t (metres) of each camera."""
    return {
        "campos": {name: (-1000 * R.T @ t).tolist() for name, (_, R, t) in cameras.items()},
        "camrot": {name: R.tolist() for name, (_, R, _) in cameras.items()},
        "focal": {name: [K[0, 0].item(), K[1, 1].item()] for name, (K, _, _) in cameras.items()},
        "princpt": {name: K[:2, 2].tolist() for name, (K, _, _) in cameras.items()},
    }


def joints_record(points_m: NDArray[np.float64]) -> dict[str, object]:
    """A frame's entry of `joint_3d.json`.

    Args:
        points_m: (2, 21, 3) of the right and the left hand in the world; NaN where unknown.
    """
    valid = np.asarray(np.isfinite(points_m).all(-1), np.bool_)
    world = np.ones((42, 3))  # as the set marks what is not known
    world[ORDER[valid.reshape(42)]] = 1000 * points_m[valid]
    return {
        "world_coord": world.round(3).tolist(),
        "joint_valid": _flags(valid),
        "hand_type": _hand_type(valid),
        "hand_type_valid": True,
    }


def annotation_record(number: int, points_px: NDArray[np.float64], valid: NDArray[np.bool_]) -> dict[str, object]:
    """The entry of image `number` under `annotations` of `data.json`.

    Args:
        number: of image and annotation.
        points_px: (2, 21, 2) of the right and the left hand; NaN where unknown.
        valid: (2, 21) joints that are known.
    """
    points = points_px.reshape(42, 2)
    low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
    size = _ROOM * (high - low)
    return {
        "id": number,
        "image_id": number,
        "bbox": np.concatenate([(low + high - size) / 2, size]).round(3).tolist(),
        "joint_valid": _flags(valid),
        "hand_type": _hand_type(valid),
        "hand_type_valid": 1,
    }


def skeleton_lines() -> str:
    """`skeleton.txt`: lines `name id parent`, right hand first, as the set's own file has them."""
    lines: list[str] = []
    for side, first in (("r", 0), ("l", 21)):
        for place, finger in enumerate(("thumb", "index", "middle", "ring", "pinky")):
            for joint in range(4):  # the tip first
                own = first + 4 * place + joint
                lines.append(f"{side}_{finger}{4 - joint} {own} {own + 1 if joint < 3 else first + 20}")
        lines.append(f"{side}_wrist {first + 20} -1")
    return "# name id parent\n" + "\n".join(lines) + "\n"


def _flags(valid: NDArray[np.bool_]) -> list[list[int]]:
    """(42, 1) in the set's order."""
    flags = np.zeros((42, 1), np.int64)
    flags[ORDER, 0] = valid.reshape(42)
    return flags.tolist()


def _hand_type(valid: NDArray[np.bool_]) -> str:
    return _TYPES[bool(valid[0].any()), bool(valid[1].any())]
