"""Hands in space: FreiHAND, RHD, STB and the First-Person Hand Action benchmark.

FreiHAND (Zimmermann et al., ICCV 2019) has right hands with MANO fits, each training image with four backgrounds. Image
i + n v is sample i in version v; labels exist once per sample. Metres in the camera's frame.

RHD (Zimmermann and Brox, ICCV 2017) has rendered people, both hands, with depth and masks of the parts. The official
pickle stores the left hand first, in metres in the camera's frame.

Others rewrote RHD and FreiHAND as JSON similar to COCO's, in the joint order of the original set. Such files store
keypoints as flat x, y, flag or as nested lists, 3D joints as `joint_cam` in millimetres and an image's camera as
`cam_param`. The keypoint names in RHD's own `categories` do not fit its numbers and are not read.

STB (Zhang et al., ICIP 2017) has one person's left hand in front of a stereo and a depth camera, with six backgrounds.
Labels are in millimetres in the frame of the stereo pair's left camera, or of the depth camera. The set labels the
palm's centre in place of the wrist. The wrist is placed as far behind it as the middle finger's knuckle is in front,
and marked as derived.

FPHA (Garcia-Hernando et al., CVPR 2018) has right hands with magnetic sensors, seen from the shoulder. Joints are in
millimetres in the depth camera's frame, which is the world frame here. Images are from the colour camera. Copies of a
smaller size are common; they are enlarged to 1920 x 1080.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import BoolArray, FloatArray
from sonjit._util.data_files import read_json
from sonjit._util.errors import InputError, unknown_name
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit.lab.datasets.dataset import Dataset, DatasetEntry
from sonjit.lab.datasets.reading import (
    FPHA,
    MEDIAPIPE,
    MM,
    RHD,
    STB,
    box_from_xywh,
    camera_matrix,
    complete,
    depth_from_png,
    field,
    file_bytes,
    hand_before_camera,
    load_matlab,
    number_table,
    numbers,
    pickled_numbers,
)
from sonjit.lab.datasets.sample import HAND_SKELETON, Instance, ManoParameters, Sample, Side
from sonjit.lab.hand_models.pickles import read_pickled_mapping
from sonjit.media.sources.images import load_image

_SIDES: dict[str, Side] = {"right": "Right", "left": "Left"}


class ParsedHands(Dataset):
    """Images with 2D hands, and 3D hands if the file has them.

    Args:
        root: Folder of the set.
        split: Name of the split.
        file: Annotation file, below the root.
        images: Folder of the images, below the root.
        order: Indices of MediaPipe's keypoints among the file's.
        side: Side of hands for which the file gives none.
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
    ) -> None:
        super().__init__(entry, root, split)
        self._path = self.need(file)
        self._folder = images
        self._order = list(order)
        self._side: Side | None = side
        content = read_json(self._path)
        self._images: list[Any] = field(content, "images", str(self._path))
        self._annotations: dict[Any, list[tuple[int, Any]]] = {}
        for index, item in enumerate(field(content, "annotations", str(self._path))):
            image = field(item, "image_id", f"{self._path}: annotations[{index}]")
            self._annotations.setdefault(image, []).append((index, item))
        ids = [field(image, "id", f"{self._path}: images[{index}]") for index, image in enumerate(self._images)]
        if len(set(ids)) < len(ids):
            raise InputError(f"{self._path}: two images have one id")
        if orphans := self._annotations.keys() - set(ids):
            raise InputError(f"{self._path}: annotations of the image {min(orphans)}, which is not among the images")

    def __len__(self) -> int:
        return len(self._images)

    def load(self, index: int) -> Sample:
        record = self._images[index]
        named = f"{self._path}: images[{index}]"
        name, width, height = (field(record, key, named) for key in ("file_name", "width", "height"))
        found = self._annotations.get(field(record, "id", named), ())
        camera = None
        if "cam_param" in record:
            focal, middle = (
                numbers(field(record["cam_param"], key, f"{named}.cam_param"), (2,), f"{named}.cam_param.{key}")
                for key in ("focal", "princpt")
            )
            camera = CalibratedCamera(camera_matrix(focal, middle))
        hands = (self._hand(item, f"{self._path}: annotations[{index}]") for index, item in found)
        more = {"camera": camera, "image_id": record["id"] if isinstance(record["id"], int) else None}
        return self.sample_of(f"{self._folder}/{name}", hands, self._path, (int(width), int(height)), **more)

    def _hand(self, record: Any, named: str) -> Instance:  # noqa: ANN401  # JSON
        stored = field(record, "keypoints", named)
        flat = stored if isinstance(stored, list) and stored and isinstance(stored[0], list) else [stored]
        keypoints = numbers(np.ravel(_equal_rows(flat, f"{named}.keypoints")), (63,), f"{named}.keypoints").reshape(
            21, 3
        )
        keypoints = keypoints[self._order]
        labelled = keypoints[:, 2] > 0
        joints = None
        if "joint_cam" in record:
            joints = numbers(record["joint_cam"], (21, 3), f"{named}.joint_cam")[self._order] * MM
        side: Side | None = _SIDES.get(str(record.get("hand_type", "")).lower()) or self._side
        return Instance(
            kind="hand",
            side=side,
            skeleton=HAND_SKELETON,
            keypoints_px=np.where(labelled[:, None], keypoints[:, :2], np.nan),
            valid_px=labelled,
            keypoints_m=joints,
            valid_m=None if joints is None else complete(joints),
            box=box_from_xywh(numbers(record["bbox"], (4,), f"{named}.bbox")) if "bbox" in record else None,
            area_px2=float(record["area"]) if "area" in record else None,
            extra={"annotation_id": record["id"]} if "id" in record else {},
        )


def _equal_rows(rows: list[Any], named: str) -> list[Any]:
    if len({len(row) for row in rows}) > 1:
        raise InputError(f"{named} has rows of several lengths")
    return rows


Versions = Literal["all", "gs", "hom", "sample", "auto"]
VERSIONS: Final = ("gs", "hom", "sample", "auto")
"""Green screen; backgrounds by homogenization; by colour sampling; coloured automatically."""

_SHAPES: Final[dict[str, tuple[int, ...]]] = {
    "K": (3, 3), "scale": (), "xyz": (21, 3), "mano": (1, 61), "verts": (778, 3)
}  # fmt: skip
_PARSED = "annotations/freihand_train.json"


class FreiHand(Dataset):
    """One split in its official form.

    Args:
        root: Folder with `training_K.json`.
        split: `training` or `evaluation`. The joints of the latter were published later and may be absent.
        versions: Versions of the training images: all, gs, hom, sample or auto.
        vertices: Also read the meshes, 300 MB in memory for the training split.
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
                self._labels[name] = number_table(path, _SHAPES[name], self._wrong, half=many)
        counts = {name: len(table) for name, table in self._labels.items()}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{split}_{name}.json has {count}" for name, count in counts.items())
            raise InputError(f"{root}: files of one split differ in their number of samples: {listed}; get them again")
        self._unique = counts["K"]
        self._source = str(root / f"{split}_xyz.json")
        self._masks = root / split / "mask"  # of the green screen, the same in all versions
        self._has_masks = self._masks.is_dir()
        chosen = VERSIONS if versions == "all" else (versions,)
        self._versions = [VERSIONS.index(version) for version in chosen] if is_training else [0]

    def __len__(self) -> int:
        return self._unique * len(self._versions)

    def load(self, index: int) -> Sample:
        version, number = self._versions[index // self._unique], index % self._unique
        if number in self._wrong:
            raise InputError(self._wrong[number])
        file = number + self._unique * version
        camera = CalibratedCamera(self._labels["K"][number])
        is_training = self.split == "training"
        name = f"{self.split}/rgb/{file:08d}.jpg"
        return self.sample_of(
            name,
            [self._hand(number, camera)],
            self._source,
            (224, 224),
            camera=camera,
            sequence=f"{self.split}/{number}",  # the same hand in four images: never to be parted
            frame=file,
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
            more["read_mask"] = partial(_green_screen_mask, self._masks, number)
        if "xyz" not in of:
            return Instance(kind="hand", side="Right", **more)
        return hand_before_camera(of["xyz"], camera, "Right", **more)


def open_freihand(
    entry: DatasetEntry, root: Path, split: str, *, versions: Versions = "all", vertices: bool = False
) -> Dataset:
    """Open the official files, or else the 2D JSON that others made of the training split."""
    if split == "training" and not (root / "training_xyz.json").exists() and (root / _PARSED).exists():
        return ParsedHands(entry, root, split, file=_PARSED, images="training/rgb", order=MEDIAPIPE, side="Right")
    return FreiHand(entry, root, split, versions=versions, vertices=vertices)


def _green_screen_mask(folder: Path, number: int) -> BoolArray:
    return load_image(folder / f"{number:08d}.jpg", upright=False)[..., 0] > 127


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
                _rhd_hand(joints[own], keypoints[own], camera, side, partial(_parts_mask, mask, parts))
                for side, own, parts in _HANDS
            ),
            self._path,
            (320, 320),
            camera=camera,
            frame=int(self._numbers[index]),
            read_depth=partial(depth_from_png, depth, _METRES_PER_STEP, red_is_high=True),
        )


def _rhd_hand(
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


def _parts_mask(path: Path, parts: range) -> BoolArray:
    grey = load_image(path, upright=False)[..., 0]
    return (grey >= parts.start) & (grey < parts.stop)


View = Literal["BB_left", "BB_right", "SK_color"]
VIEWS: Final[tuple[View, ...]] = ("BB_left", "BB_right", "SK_color")
_STEREO = camera_matrix((822.79041, 822.79041), (318.47345, 250.31296))
_BASELINE_MM = 120.054
_STB_COLOUR = camera_matrix((607.92271, 607.88192), (314.78337, 236.42484))
_COLOUR_TO_DEPTH = matrix_from_rotation_vector(np.array([0.00531, -0.01196, 0.00301]))
_COLOUR_TO_DEPTH_MM = np.array([-24.0381, -0.4563, -1.2326])
_TEST = "B1"  # the background that everybody tests on


class Stb(Dataset):
    """One split as seen by one camera.

    Args:
        root: Folder with `images` and `labels`.
        split: `train` (backgrounds 2 to 6), `test` (background 1) or `all`.
        view: BB_left, BB_right or SK_color.
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
        self._labels = [_stb_labels(file) for file in files]
        self._ends = np.cumsum([len(labels) for labels in self._labels])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def load(self, index: int) -> Sample:
        file_index = int(np.searchsorted(self._ends, index, side="right"))
        frame = index - (int(self._ends[file_index - 1]) if file_index else 0)
        sequence = self._files[file_index].name.partition("_")[0]
        name = f"images/{sequence}/{self._view}_{frame}.png"
        own = self._labels[file_index][frame]  # (21, 3) millimetres
        camera = _stb_camera(self._view)
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


def _stb_labels(file: Path) -> FloatArray:
    """Return labels (frames, 21, 3) in millimetres."""
    content = field(load_matlab(file), "handPara", str(file))
    return np.moveaxis(numbers(content, (3, 21, -1), f"{file}: handPara"), (2, 1), (0, 1)).copy()


def _stb_camera(view: View) -> CalibratedCamera:
    """Return the camera. The world is the frame of the labels."""
    if view == "SK_color":
        turn = _COLOUR_TO_DEPTH.T
        return CalibratedCamera(_STB_COLOUR, turn, -turn @ _COLOUR_TO_DEPTH_MM * MM)
    shift = np.array([-_BASELINE_MM * MM if view == "BB_right" else 0.0, 0, 0])
    return CalibratedCamera(_STEREO, np.eye(3), shift)


_FPHA_COLOUR = camera_matrix((1395.749023, 1395.749268), (935.732544, 540.68103))
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
        root: Folder with `Video_files` and `Hand_pose_annotation_v1`.
        split: `all`, or the cross-subject split of hand poses: `train` (subjects 1, 3 and 4) and `test` (the others).
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
        file = self._files[int(np.searchsorted(self._ends, index, side="right"))]
        subject, action, repetition = file.parts[-4:-1]
        row = self._rows[index]
        if not np.isfinite(row).all():
            raise InputError(f"{file}: frame {row[0]:.0f} contains a value that is not a number")
        frame = int(row[0])
        camera = CalibratedCamera(_FPHA_COLOUR, _DEPTH_TO_COLOUR, _DEPTH_TO_COLOUR_MM * MM)
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
