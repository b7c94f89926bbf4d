"""FreiHAND: right hands with MANO fits, each training image with four backgrounds.

Source: Zimmermann et al., ICCV 2019. Image i + n v is sample i in version v; labels exist once per sample. Metres in
the camera's frame.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import BoolArray
from sonjit._util.errors import InputError, unknown_name
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.lab.datasets.dataset import Dataset, DatasetEntry
from sonjit.lab.datasets.hands.parsed_hands import ParsedHands
from sonjit.lab.datasets.joint_orders import MEDIAPIPE, hand_before_camera
from sonjit.lab.datasets.reading import number_table
from sonjit.lab.datasets.sample import Instance, ManoParameters, Sample
from sonjit.media.sources.decode import load_image

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
        entry: Record of the set.
        root: Folder with `training_K.json`.
        split: `training` or `evaluation`. The joints of the latter were published later and may be absent.
        versions: Versions of the training images: all, gs, hom, sample or auto.
        vertices: Also read the meshes, 300 MB in memory for the training split.

    Raises:
        InputError: A file is missing or damaged.
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
        """Return one image. A wrong record is an InputError with file and field."""
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
            more["read_mask"] = partial(_mask, self._masks, number)
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


def _mask(folder: Path, number: int) -> BoolArray:
    return load_image(folder / f"{number:08d}.jpg", upright=False)[..., 0] > 127
