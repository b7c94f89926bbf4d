"""Hands in space: FreiHAND, RHD, STB, the First-Person Hand Action benchmark, HO-3D and DexYCB.

FreiHAND (Zimmermann et al., ICCV 2019): right hands with MANO fits, metres in the camera's frame. Image i + n v is
sample i of n before background v; labels exist once per sample.

RHD (Zimmermann and Brox, ICCV 2017): rendered people with depth and masks of the parts. The official pickle has the
left hand first, metres in the camera's frame. Others rewrote it and FreiHAND as JSON similar to COCO's, in the joint
order of the set, with `joint_cam` in millimetres and `cam_param`; its own keypoint names do not fit and are not read.

STB (Zhang et al., ICIP 2017): one person's left hand before a stereo and a depth camera, in millimetres in the frame of
the pair's left camera, or of the depth camera. It labels the palm's centre. The wrist is placed as far behind it as the
middle finger's knuckle is in front, and marked as derived.

FPHA (Garcia-Hernando et al., CVPR 2018): right hands with magnetic sensors, seen from the shoulder, in millimetres in
the depth camera's frame, the world here. Smaller copies of the colour images are enlarged to 1920 x 1080.

HO-3D (Hampali et al., CVPR 2020): right hands, metres in OpenGL's axes (y up, z backward), in MANO's joint order.
Evaluation frames have only the wrist and a box; joints and vertices were published later, a row per line of the list.

DexYCB (Chao et al., CVPR 2021, https://dex-ycb.github.io): hands that grasp objects before eight cameras, in metres.
"""

from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from sonjit._util import BoolArray, InputError, data_files, records, unknown_name
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.media.sources.images import load_image
from sonjit_lab.datasets import reading
from sonjit_lab.datasets.dataset import Dataset, DatasetEntry, Identity
from sonjit_lab.datasets.sample import HAND_SKELETON, Instance, ManoParameters, Sample, Side

SIDES: dict[str, Side] = {"right": "Right", "left": "Left"}
Versions = Literal["all", "gs", "hom", "sample", "auto"]
VERSIONS: Final = ("gs", "hom", "sample", "auto")
"""Green screen; backgrounds by homogenization; by colour sampling; coloured automatically."""
_TRAINING = 32560  # samples of the complete training split: the images of a version follow those of the preceding one
_SHAPES: Final[dict[str, tuple[int, ...]]] = {
    "K": (3, 3), "scale": (), "xyz": (21, 3), "mano": (1, 61), "verts": (778, 3)
}  # fmt: skip
_PARSED = "annotations/freihand_train.json"
View = Literal["BB_left", "BB_right", "SK_color"]
VIEWS: Final[tuple[View, ...]] = ("BB_left", "BB_right", "SK_color")
FROM_OPENGL: Final = np.array([1.0, -1.0, -1.0])  # between OpenGL's axes and the camera's, both ways


def parts_mask(path: Path, numbers: range) -> BoolArray:
    grey = load_image(path, upright=False)[..., 0]
    return (grey >= numbers.start) & (grey < numbers.stop)


class ParsedHands(Dataset):
    """Images with 2D hands, and 3D hands if the file has them.

    `order`: indices of MediaPipe's keypoints among the file's; `side`: side of hands for which the file gives none;
    `unique`: number of hands, each of which is in the images whose numbers differ by a multiple of it.
    """

    def __init__(
        self,
        entry: DatasetEntry,
        root: Path,
        split: str,
        *,
        file: str,
        images: str,
        order: tuple[int, ...],
        side: Side | None = None,
        unique: int | None = None,
    ) -> None:
        super().__init__(entry, root, split)
        self._unique = unique
        self._path = self.need(file)
        self._folder = images
        self._order = list(order)
        self._side: Side | None = side
        content = data_files.read_json(self._path)
        self._images: list[Any] = records.field(content, "images", str(self._path))
        self._annotations: dict[Any, list[tuple[int, Any]]] = {}
        for index, item in enumerate(records.field(content, "annotations", str(self._path))):
            image = records.field(item, "image_id", f"{self._path}: annotations[{index}]")
            self._annotations.setdefault(image, []).append((index, item))
        ids = [records.field(image, "id", f"{self._path}: images[{index}]") for index, image in enumerate(self._images)]
        if len(set(ids)) < len(ids):
            raise InputError(f"{self._path}: two images have one id")
        if orphans := self._annotations.keys() - set(ids):
            raise InputError(
                f"{self._path}: annotations of the image {min(map(str, orphans))}, which is not among the images"
            )

    def __len__(self) -> int:
        return len(self._images)

    def load(self, index: int) -> Sample:
        record = self._images[index]
        named = f"{self._path}: images[{index}]"
        name, width, height = (records.field(record, key, named) for key in ("file_name", "width", "height"))
        annotations = self._annotations.get(records.field(record, "id", named), ())
        camera = None
        if "cam_param" in record:
            focal, middle = (
                records.numbers_of(record["cam_param"], key, (2,), f"{named}.cam_param") for key in ("focal", "princpt")
            )
            camera = CalibratedCamera(reading.camera_matrix(focal, middle))
        hands = (self._hand(item, f"{self._path}: annotations[{index}]") for index, item in annotations)
        more = {"camera": camera, "image_id": record["id"], "sequence": self._sequence(str(name))}
        return self.sample_of(f"{self._folder}/{name}", hands, self._path, (int(width), int(height)), **more)

    def _sequence(self, name: str) -> str | None:
        stem = Path(name).stem
        return f"{self.split}/{int(stem) % self._unique}" if self._unique and stem.isdecimal() else None

    def _hand(self, record: Any, named: str) -> Instance:  # noqa: ANN401  # JSON
        stored = records.field(record, "keypoints", named)
        flat = stored if isinstance(stored, list) and stored and isinstance(stored[0], list) else [stored]
        if len({len(row) for row in flat}) > 1:
            raise InputError(f"{named}.keypoints has rows of several lengths")
        keypoints = records.numbers(np.ravel(flat), (63,), f"{named}.keypoints").reshape(21, 3)[self._order]
        labelled = keypoints[:, 2] > 0
        joints = None
        if "joint_cam" in record:
            joints = records.numbers_of(record, "joint_cam", (21, 3), named)[self._order] * reading.MM
        side: Side | None = SIDES.get(str(record.get("hand_type", "")).lower()) or self._side
        return Instance(
            kind="hand",
            side=side,
            skeleton=HAND_SKELETON,
            keypoints_px=np.where(labelled[:, None], keypoints[:, :2], np.nan),
            valid_px=labelled,
            keypoints_m=joints,
            valid_m=None if joints is None else reading.complete(joints),
            box=reading.box_from_xywh(records.numbers_of(record, "bbox", (4,), named)) if "bbox" in record else None,
            area_px2=float(record["area"]) if "area" in record else None,
            extra={"annotation_id": record["id"]} if "id" in record else {},
        )


class FreiHand(Dataset):
    """One split, `training` or `evaluation`, in its official form. The joints of the latter may be absent.

    `versions`: versions of the training images: all, gs, hom, sample or auto; `vertices`: also read the meshes, 300 MB
    in memory for the training split.
    """

    def __init__(
        self, entry: DatasetEntry, root: Path, split: str, *, versions: Versions = "all", vertices: bool = False
    ) -> None:
        super().__init__(entry, root, split)
        if versions != "all" and versions not in VERSIONS:
            raise InputError(unknown_name("version", versions, ("all", *VERSIONS)))
        self._wrong: dict[int, str] = {}
        self._labels: dict[str, NDArray[Any]] = {}  # float64; float32 for the training split's meshes
        is_training = split == "training"
        for name in _SHAPES:
            path = root / f"{split}_{name}.json"
            if name in ("K", "scale") or (is_training and name in ("xyz", "mano")):
                path = self.need(path.name)
            if path.is_file() and (vertices or name != "verts"):
                many = name == "verts" and is_training
                self._labels[name] = reading.number_table(path, _SHAPES[name], self._wrong, half=many)
        counts = {name: len(table) for name, table in self._labels.items()}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{split}_{name}.json has {count}" for name, count in counts.items())
            raise InputError(f"{root}: files of one split differ in their number of samples: {listed}; get them again")
        self._unique = counts["K"]
        self._step = _TRAINING if (root / f"{split}/rgb/{_TRAINING:08d}.jpg").exists() else self._unique
        self._source = str(root / f"{split}_xyz.json")
        self._masks = root / split / "mask"  # of the green screen, the same in all versions
        self._has_masks = self._masks.is_dir()
        chosen = VERSIONS if versions == "all" else (versions,)
        self._versions = [VERSIONS.index(version) for version in chosen] if is_training else [0]

    def __len__(self) -> int:
        return self._unique * len(self._versions)

    def identity(self, index: int) -> Identity:
        name, _, number = self._image(index)
        return Identity(name, None, f"{self.split}/{number}", self.root / name, self.entry.name)

    def _image(self, index: int) -> tuple[str, int, int]:
        """Return the name of an image below the root, its version, and the number of the hand."""
        version, number = self._versions[index // self._unique], index % self._unique
        return f"{self.split}/rgb/{number + self._step * version:08d}.jpg", version, number

    def load(self, index: int) -> Sample:
        name, version, number = self._image(index)
        if number in self._wrong:
            raise InputError(self._wrong[number])
        camera = CalibratedCamera(self._labels["K"][number])
        is_training = self.split == "training"
        return self.sample_of(
            name,
            [self._hand(number, camera)],
            self._source,
            (224, 224),
            camera=camera,
            sequence=f"{self.split}/{number}",  # the same hand in four images: never to be parted
            frame=number + self._step * version,
            tags={"sample": number} | ({"version": VERSIONS[version]} if is_training else {}),
        )

    def _hand(self, number: int, camera: CalibratedCamera) -> Instance:
        of = {name: table[number] for name, table in self._labels.items()}
        more: dict[str, Any] = {"extra": {"scale_m": float(of["scale"])}}
        if "mano" in of:
            fit = of["mano"][0]
            more["mesh"] = ManoParameters(fit[:48], fit[48:58], None, "camera")
            more["extra"] |= {"mano_root_uv_px": fit[58:60], "mano_scale": float(fit[60])}
        if "verts" in of:
            more["vertices_m"] = of["verts"].astype(np.float64)
        if self._has_masks:
            more["read_mask"] = partial(parts_mask, self._masks / f"{number:08d}.jpg", range(128, 256))
        if "xyz" not in of:
            return Instance(kind="hand", side="Right", **more)
        return reading.hand_before_camera(of["xyz"], camera, "Right", **more)


def open_freihand(
    entry: DatasetEntry, root: Path, split: str, *, versions: Versions = "all", vertices: bool = False
) -> Dataset:
    """Open the official files, or else the 2D JSON that others made of the training split."""
    if split == "training" and not (root / "training_xyz.json").exists() and (root / _PARSED).exists():
        return ParsedHands(
            entry,
            root,
            split,
            file=_PARSED,
            images="training/rgb",
            order=reading.MEDIAPIPE,
            side="Right",
            unique=_TRAINING,
        )
    return FreiHand(entry, root, split, versions=versions, vertices=vertices)
