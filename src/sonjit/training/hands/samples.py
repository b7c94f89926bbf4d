"""Training set and held-out images of the recipes on hands: a data set's, or the bundled clip's."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from sonjit.datasets import Dataset, Instance, Sample, list_datasets, open_dataset
from sonjit.datasets.formats.shards import save_shards
from sonjit.datasets.joint_orders import camera_matrix, hand_before_camera
from sonjit.datasets.sample import VideoFrame
from sonjit.errors import InputError
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.media import open_source
from sonjit.networks import InputSpec, Network
from sonjit.networks.export import ENDINGS, export_network
from sonjit.training.augment import AugmentedSettings
from sonjit.training.recipes import TrainingRequest
from sonjit.training.sequences import Part, spread
from sonjit.training.settings import check_at_least, check_side

P = TypeVar("P")
T = TypeVar("T")
B = TypeVar("B")
SHARDS = "shards"
"""Folder of a run with the frames of a video that it trains on."""

_LONG_SIDE_PX = 320  # of the clip's frames that are kept
_SEGMENT = 60  # frames of the clip, of which the first three quarters are for training
_TRIES = 50  # images searched for one with the labels that a network needs


@dataclass(frozen=True)
class HandSettings(AugmentedSettings):
    """Settings of all recipes on images of hands.

    Attributes:
        dataset: what `--data` is, by its name in `sonjit datasets list`; `folder` is COCO's format and other own files.
        split: to train on; "" is the data set's first.
        test_split: to evaluate on; "" holds out the last fifth of `split`.
        images: of the training set, spread evenly; 0 for all.
        held_out: images to evaluate on, spread evenly, at most.
        batch: examples a step.
    """

    dataset: str = "folder"
    split: str = ""
    test_split: str = ""
    images: int = 0
    held_out: int = 500
    batch: int = 16

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        super().__post_init__()
        check_at_least(self, images=0, held_out=1, batch=1)


@dataclass(frozen=True)
class CropSettings(HandSettings):
    """Settings of the recipes on square crops of hands.

    Attributes:
        side: of the crops in pixels, a multiple of 32.
    """

    side: int = 256

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        super().__post_init__()
        check_side(self, "side")


class HandData(NamedTuple):
    """The training set, images held out, and where both are from."""

    training: Sequence[Sample]
    held_out: Sequence[Sample]
    name: str


def hand_data(request: TrainingRequest, settings: HandSettings, usable: Callable[[Sample], bool]) -> HandData:
    """The data of a recipe: the bundled clip of rendered hands where none are given.

    Args:
        request: with the data's root, or none.
        settings: which part of them.
        usable: whether an image has the labels that are needed.

    Raises:
        InputError: data that are missing or damaged, too few, or without the labels.
    """
    if request.data is None:
        training, held_out, name = *_demo_samples(), "the bundled clip of rendered hands"
    else:
        whole = open_samples(settings.dataset, request.data, request, settings.split)
        name = f"{settings.dataset} {whole.split} in {request.data}"
        if settings.test_split:
            training = whole
            held_out = open_samples(settings.dataset, request.data, request, settings.test_split)
        else:
            training, held_out = _parted(whole, name)
    for samples, use in ((training, "to train on"), (held_out, "to evaluate on")):
        if not any(map(usable, spread(samples, _TRIES))):
            raise InputError(f"{name}: {len(samples)} images {use}, without the labels that {request.recipe} needs")
    return HandData(spread(training, settings.images), spread(held_out, settings.held_out), name)


def open_samples(dataset: str, data: Path, request: TrainingRequest, split: str = "") -> Dataset:
    """A split of a data set to train on, whose images can be read in any order.

    Args:
        dataset: its name in `sonjit datasets list`; `folder` is COCO's format and other own files.
        data: where it is.
        request: whose `images` are a folder's: the images' folder, or the video that they are frames of.
        split: "" is the data set's first.

    Raises:
        InputError: data that are missing or damaged.
    """
    own: dict[str, Any] = {"images": str(request.images)} if request.images else {}
    shards = request.out / SHARDS / f"{data.stem}-{zlib.crc32(f'{data.resolve()} {split}'.encode()):08x}"
    return in_any_order(open_dataset(dataset, data, split or None, **own), shards)


def in_any_order(samples: Dataset, shards: Path) -> Dataset:
    """A data set as it is; the frames of a video, where going back decodes it anew, as shards in a folder."""
    if not (len(samples) and isinstance(samples[0].image, VideoFrame)):
        return samples
    save_shards(shards, samples)
    return open_dataset("shards", shards)


def open_source_samples(path: Path, request: TrainingRequest, dataset: str, split: str) -> Dataset:
    """One of several sources: a folder named after a data set is that one, any other is of `dataset`."""
    if path.name in list_datasets():
        return open_samples(path.name, path, request)
    return open_samples(dataset, path, request, split)


def refuse_export(request: TrainingRequest) -> None:
    """For recipes whose networks `sonjit export` turns into other formats.

    Raises:
        InputError: an export is asked for.
    """
    if request.export is not None:
        raise InputError(
            f"{request.recipe} writes PyTorch weights alone: leave --export out; sonjit export {request.recipe} "
            "--weights FILE --out FILE converts them"
        )


def exported(network: Network, name: str, side: int, request: TrainingRequest) -> dict[str, object]:
    """The path of the trained network's file for another runtime, as "export", where one is asked for."""
    if request.export is None:
        return {}
    file = request.out / f"{name}{ENDINGS[request.export]}"
    return {"export": export_network(network.cpu(), (InputSpec("images", (3, side, side)),), file).path}


@dataclass(frozen=True, eq=False)
class ExampleBatches(Generic[P, T, B]):
    """Batches for the training loop: examples of samples drawn at random; pickles where its functions do.

    Attributes:
        samples: to draw from.
        make: see `draw_examples`.
        join: examples as one batch, with tensors on the CPU.
        count: of the examples of a batch.
    """

    samples: Sequence[P]
    make: Callable[[P, np.random.Generator], T | None]
    join: Callable[[Sequence[T]], B]
    count: int

    def __call__(self, rng: np.random.Generator) -> B:
        """One batch."""
        return self.join(draw_examples(self.samples, self.make, rng, self.count))


def draw_examples(
    samples: Sequence[P], make: Callable[[P, np.random.Generator], T | None], rng: np.random.Generator, count: int
) -> list[T]:
    """Examples of samples drawn at random.

    Args:
        samples: to draw from, or their places.
        make: an example of a sample; None where the sample lacks the labels that are needed.
        rng: of the draw.
        count: of the examples.

    Raises:
        InputError: hardly any sample has the labels that are needed.
    """

    def one(own: np.random.Generator) -> T:
        for _ in range(_TRIES):
            example = make(samples[int(own.integers(len(samples)))], own)
            if example is not None:
                return example
        raise InputError(f"of {_TRIES} images none has the labels that are needed: give another data set or split")

    return [one(own) for own in rng.spawn(count)]


def known_hands(sample: Sample) -> list[Instance]:
    """The hands of an image whose side and all keypoints, in pixels and in camera space, are known."""
    return [
        one
        for one in sample.instances
        if one.kind == "hand"
        and one.side is not None
        and one.keypoints_px is not None
        and one.keypoints_m is not None
        and np.isfinite(one.keypoints_px).all()
        and np.isfinite(one.keypoints_m).all()
    ]


def _parted(samples: Sequence[Sample], name: str) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """All but the last fifth, and that."""
    first = len(samples) - max(len(samples) // 5, 1)
    if first < 1:
        raise InputError(f"{name} has {len(samples)} images: too few to train on some and evaluate on others")
    return Part(samples, range(first)), Part(samples, range(first, len(samples)))


def _demo_samples() -> tuple[list[Sample], list[Sample]]:
    """The bundled clip, made smaller: the first three quarters of each two seconds, and their last quarters."""
    import cv2

    training: list[Sample] = []
    held_out: list[Sample] = []
    with resources.as_file(resources.files("sonjit") / "assets") as assets, open_source(assets / "demo.mp4") as source:
        truth = json.loads((assets / "demo.json").read_text("utf-8"))
        scale = _LONG_SIDE_PX / max(truth["width"], truth["height"])
        focal, middle = truth["fx"] * scale, (truth["cx"] * scale, truth["cy"] * scale)
        camera = CalibratedCamera(camera_matrix((focal, focal), middle))
        size = round(truth["width"] * scale), round(truth["height"] * scale)
        frames = {frame["index"]: frame["hands"] for frame in truth["frames"]}
        for frame in source:
            hands = tuple(
                hand_before_camera(np.array(one["xyz_m"], np.float64), camera, one["handedness"])
                for one in frames[frame.index]
            )
            rgb = np.asarray(cv2.resize(frame.rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
            sample = Sample(
                dataset="demo", id=f"demo.mp4#{frame.index}", image=rgb, width=size[0], height=size[1],
                instances=hands, camera=camera, sequence="demo.mp4", frame=frame.index,
            )  # fmt: skip
            (training if frame.index % _SEGMENT < _SEGMENT * 3 // 4 else held_out).append(sample)
    return training, held_out
