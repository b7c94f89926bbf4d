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

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from io import BytesIO
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from sonjit._util import BoolArray, FloatArray, InputError, data_files, records, unknown_name
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit.media.sources.images import load_image, read_bytes
from sonjit_lab.datasets import reading
from sonjit_lab.datasets.dataset import Dataset, DatasetEntry, Skipped, read_lines
from sonjit_lab.datasets.sample import HAND_SKELETON, Instance, ManoParameters, Sample, Side
from sonjit_lab.hand_models.pickles import plain_array, read_pickled_mapping

_SIDES: dict[str, Side] = {"right": "Right", "left": "Left"}
Versions = Literal["all", "gs", "hom", "sample", "auto"]
VERSIONS: Final = ("gs", "hom", "sample", "auto")
"""Green screen; backgrounds by homogenization; by colour sampling; coloured automatically."""
_TRAINING = 32560  # samples of the complete training split: the images of a version follow those of the preceding one
_SHAPES: Final[dict[str, tuple[int, ...]]] = {
    "K": (3, 3), "scale": (), "xyz": (21, 3), "mano": (1, 61), "verts": (778, 3)
}  # fmt: skip
_PARSED = "annotations/freihand_train.json"
_FIELDS: Final = {"uv_vis": (42, 3), "xyz": (42, 3), "K": (3, 3)}
_HANDS: Final[tuple[tuple[Side, slice, range], ...]] = (
    ("Left", slice(0, 21), range(2, 18)),
    ("Right", slice(21, 42), range(18, 34)),
)
"""Side, joints and mask numbers of each hand."""
_METRES_PER_STEP = 5 / 65535
View = Literal["BB_left", "BB_right", "SK_color"]
VIEWS: Final[tuple[View, ...]] = ("BB_left", "BB_right", "SK_color")
_STEREO = reading.camera_matrix((822.79041, 822.79041), (318.47345, 250.31296))
_BASELINE_MM = 120.054
_STB_COLOUR = reading.camera_matrix((607.92271, 607.88192), (314.78337, 236.42484))
_COLOUR_TO_DEPTH = matrix_from_rotation_vector(np.array([0.00531, -0.01196, 0.00301]))
_COLOUR_TO_DEPTH_MM = np.array([-24.0381, -0.4563, -1.2326])
_TEST = "B1"  # the background that everybody tests on
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
FROM_OPENGL: Final = np.array([1.0, -1.0, -1.0])  # between OpenGL's axes and the camera's, both ways
_HO3D_METRES_PER_STEP = 0.00012498664727900177
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


class ParsedHands(Dataset):
    """Images with 2D hands, and 3D hands if the file has them.

    `order`: indices of MediaPipe's keypoints among the file's; `side`: side of hands for which the file gives none.
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
        found = self._annotations.get(records.field(record, "id", named), ())
        camera = None
        if "cam_param" in record:
            focal, middle = (
                records.numbers_of(record["cam_param"], key, (2,), f"{named}.cam_param") for key in ("focal", "princpt")
            )
            camera = CalibratedCamera(reading.camera_matrix(focal, middle))
        hands = (self._hand(item, f"{self._path}: annotations[{index}]") for index, item in found)
        more = {"camera": camera, "image_id": record["id"]}
        return self.sample_of(f"{self._folder}/{name}", hands, self._path, (int(width), int(height)), **more)

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
        side: Side | None = _SIDES.get(str(record.get("hand_type", "")).lower()) or self._side
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

    def load(self, index: int) -> Sample:
        version, number = self._versions[index // self._unique], index % self._unique
        if number in self._wrong:
            raise InputError(self._wrong[number])
        file = number + self._step * version
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
            more["read_mask"] = partial(_parts_mask, self._masks / f"{number:08d}.jpg", range(128, 256))
        if "xyz" not in of:
            return Instance(kind="hand", side="Right", **more)
        return reading.hand_before_camera(of["xyz"], camera, "Right", **more)


def open_freihand(
    entry: DatasetEntry, root: Path, split: str, *, versions: Versions = "all", vertices: bool = False
) -> Dataset:
    """Open the official files, or else the 2D JSON that others made of the training split."""
    if split == "training" and not (root / "training_xyz.json").exists() and (root / _PARSED).exists():
        return ParsedHands(
            entry, root, split, file=_PARSED, images="training/rgb", order=reading.MEDIAPIPE, side="Right"
        )
    return FreiHand(entry, root, split, versions=versions, vertices=vertices)


class Rhd(Dataset):
    """One split in its official form."""

    def __init__(self, entry: DatasetEntry, root: Path, split: str) -> None:
        super().__init__(entry, root, split)
        self._path = self.need(f"{split}/anno_{split}.pickle")
        hands = _read(self._path)
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
                _rhd_hand(joints[own], keypoints[own], camera, side, partial(_parts_mask, mask, parts))
                for side, own, parts in _HANDS
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


def _parts_mask(path: Path, parts: range) -> BoolArray:
    grey = load_image(path, upright=False)[..., 0]
    return (grey >= parts.start) & (grey < parts.stop)


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
        own = self._labels[file_index][frame]  # (21, 3) millimetres
        camera = _stb_camera(self._view)
        palm, knuckle = own[0], own[reading.STB[9]]
        joints = own[list(reading.STB)]
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


class Ho3d(Dataset):
    """One split, `train` or `evaluation`. Frames without labels are in `skipped`.

    `vertices`: also read `evaluation_verts.json`, 220 MB in memory, if it exists.
    """

    def __init__(self, entry: DatasetEntry, root: Path, split: str, *, vertices: bool = False) -> None:
        super().__init__(entry, root, split)
        listed = self.need(f"{split}.txt")
        self._ending = "png" if entry.name.endswith("v2") else "jpg"
        frames: list[str] = []
        for number, line in enumerate(listed.read_text("utf-8").split(), 1):
            if line.count("/") != 1:
                raise InputError(f"{listed}: line {number} is {line!r}, not SEQUENCE/FRAME")
            frames.append(line)
        if not frames or len(set(frames)) < len(frames):
            raise InputError(f"{listed}: names {'a frame twice' if frames else 'no frame'}")
        self._check_version(frames[0])
        labelled = [frame for frame in frames if self._is_labelled(frame)]
        usable = set(labelled)
        self.skipped = tuple(
            Skipped(frame, "the set gives no labels for it") for frame in frames if frame not in usable
        )
        rows = {frame: row for row, frame in enumerate(frames)}
        if split == "train":  # whose list mixes recordings; that of the evaluation is the order of submissions
            labelled.sort()
        self._frames = np.array(labelled, np.str_)
        self._rows = [rows[item] for item in labelled]
        self._joints = self._table("xyz", (21, 3), len(frames))
        self._vertices = self._table("verts", (778, 3), len(frames)) if vertices else None

    def __len__(self) -> int:
        return len(self._frames)

    def _check_version(self, name: str) -> None:
        """Refuse the other version, whose images have another ending."""
        sequence, frame = name.split("/")
        image = self.root / self.split / sequence / "rgb" / f"{frame}.{self._ending}"
        other = {"png": "jpg", "jpg": "png"}[self._ending]
        if not image.is_file() and image.with_suffix(f".{other}").is_file():
            version = {"png": 3, "jpg": 2}[self._ending]
            raise InputError(f"{self.entry.name}: {image.with_suffix(f'.{other}')} is of version {version}")

    def load(self, index: int) -> Sample:
        name = str(self._frames[index])
        sequence, frame = name.split("/")
        path = self._meta(name)
        meta = _read(path)
        camera = CalibratedCamera(_numbers(meta, "camMat", (3, 3), path))
        file = f"{self.split}/{sequence}/rgb/{frame}.{self._ending}"
        depth = self.root / f"{self.split}/{sequence}/depth/{frame}.png"
        row = self._rows[index]
        joints = None if self._joints is None else self._joints[row]
        more: dict[str, Any] = {}
        if self._vertices is not None:
            more["vertices_m"] = self._vertices[row] * FROM_OPENGL
        return self.sample_of(
            file,
            [_hand(meta, camera, path, joints, more), *_objects(meta, path)],
            path,
            (640, 480),
            camera=camera,
            sequence=sequence,
            frame=int(frame) if frame.isdecimal() else None,
            read_depth=partial(reading.depth_from_png, depth, _HO3D_METRES_PER_STEP),
        )

    def _table(self, what: str, shape: tuple[int, ...], frames: int) -> FloatArray | None:
        """Return a file of joints or vertices as (frames, *shape), or None if it does not exist."""
        path = self.root / f"{self.split}_{what}.json"
        if not path.is_file():
            return None
        table = reading.number_table(path, shape)
        if len(table) != frames:
            raise InputError(f"{path} has {len(table)} rows and {self.split}.txt {frames} lines: get both again")
        return table

    def _meta(self, name: str) -> Path:
        return self.root / self.split / f"{name.replace('/', '/meta/')}.pkl"

    def _is_labelled(self, name: str) -> bool:
        """Return False only for frames whose file states it. A damaged file raises an error on access."""
        try:
            meta = _read(self._meta(name))
        except InputError:
            return True
        return meta.get("objRot", 0) is not None and meta.get("handJoints3D", 0) is not None


def _hand(
    meta: Mapping[str, Any], camera: CalibratedCamera, path: Path, published: FloatArray | None, more: dict[str, Any]
) -> Instance:
    stored = plain_array(records.field(meta, "handJoints3D", str(path)))
    joints = np.full((21, 3), np.nan)
    if published is not None:
        joints = published[list(reading.MANO)]
    elif stored.shape == (3,):
        joints[0] = records.numbers(stored, (3,), f"{path}: handJoints3D")
    else:
        joints = records.numbers(stored, (21, 3), f"{path}: handJoints3D")[list(reading.MANO)]
    if "handBoundingBox" in meta:
        more["box"] = tuple(_numbers(meta, "handBoundingBox", (4,), path).tolist())
    if meta.get("handPose") is not None:
        pose, betas, translation = (
            _numbers(meta, name, (size,), path) for name, size in (("handPose", 48), ("handBeta", 10), ("handTrans", 3))
        )
        more["mesh"] = ManoParameters(pose, betas, translation, "opengl", flat_mean=True)
    return reading.hand_before_camera(joints * FROM_OPENGL, camera, "Right", valid=reading.complete(joints), **more)


def _objects(meta: Mapping[str, Any], path: Path) -> tuple[Instance, ...]:
    """Return the grasped object: pose in OpenGL's axes as in the file, box corners in the camera's frame."""
    if meta.get("objName") is None:
        return ()
    rotation = plain_array(records.field(meta, "objRot", str(path))).ravel()
    label = meta.get("objLabel")
    extra = {
        "rotation_vector_opengl_rad": records.numbers(rotation, (3,), f"{path}: objRot"),
        "translation_opengl_m": _numbers(meta, "objTrans", (3,), path),
        "grasped": True,
    }
    if meta.get("objCorners3D") is not None:
        extra["corners_m"] = _numbers(meta, "objCorners3D", (8, 3), path) * FROM_OPENGL
    return (
        Instance(
            kind="object",
            category=str(meta["objName"]),
            category_id=int(label) if isinstance(label, int) else None,
            extra=extra,
        ),
    )


def _read(path: Path) -> dict[Any, Any]:
    return read_pickled_mapping(read_bytes(path), str(path))


def _numbers(meta: Mapping[str, Any], name: str, shape: tuple[int, ...], path: Path) -> FloatArray:
    return reading.pickled_numbers(records.field(meta, name, str(path)), shape, f"{path}: {name}")


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

    def load(self, index: int) -> Sample:
        row = int(np.searchsorted(self._ends, index, side="right"))
        frame = index - (int(self._ends[row - 1]) if row else 0)
        number, view = self._rows[row]
        sequence = self._sequences[number]
        serial = sequence.cameras[view]
        path = self.root / f"{sequence.folder}/{serial}/labels_{frame:06d}.npz"
        camera = CalibratedCamera(_intrinsics(self.root / f"calibration/intrinsics/{serial}_640x480.yml"))
        labels = _labels(path)
        name = f"{sequence.folder}/{serial}/color_{frame:06d}.jpg"
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
                    _SIDES[side],
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
            return ("val" if person < 2 else "test") if is_held_out else "train"
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
    found = sorted(item.name for item in folder.iterdir() if item.is_dir())
    cameras = _text_list(meta, "serials", named) if meta.get("serials") else found
    sides, betas = _text_list(meta, "mano_sides", named), _text_list(meta, "mano_calib", named)
    frames = records.field(meta, "num_frames", named)
    if not isinstance(frames, int) or frames < 1:
        raise InputError(f"{path}: num_frames is {frames!r}, not a number of frames")
    if len(betas) != len(sides) or not set(sides) <= set(_SIDES):
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
    try:
        with np.load(BytesIO(read_bytes(path)), allow_pickle=False) as file:
            return {name: np.zeros(0) if name == "seg" else file[name] for name in file.files}
    except (ValueError, EOFError, BadZipFile) as error:
        raise InputError(f"{path} is damaged: {error}; get it again") from None


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
