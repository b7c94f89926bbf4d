"""Select the training set and the held-out images of a recipe on hands, from a data set or from the bundled clip."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import cv2
import numpy as np

from sonjit._util import FloatArray, InputError, data_files, json_from
from sonjit._util.files import file_stamp
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.media import open_source
from sonjit_lab.datasets import Dataset, Instance, Sample, convert, list_datasets, open_dataset, reading
from sonjit_lab.datasets.dataset import Identity
from sonjit_lab.datasets.sample import CORNER_PIXEL, VideoFrame, name_of, ordered_hand
from sonjit_lab.datasets.splits import SplitReport, hold_out, identities, split_report
from sonjit_lab.training.augment import AugmentedSettings
from sonjit_lab.training.batches import epoch_indices
from sonjit_lab.training.building_blocks import evenly_spaced
from sonjit_lab.training.recipes import TrainingRequest
from sonjit_lab.training.settings import Count, ImageBatch, Side, Steps

_LOG = logging.getLogger(__name__)
P = TypeVar("P")
T = TypeVar("T")
B = TypeVar("B")
FRAMES = "frames"  # subfolder of a run with the frames of a video that it trains on

_LONG_SIDE_PX = 320  # longer side of the bundled clip's frames after scaling
_SEGMENT_FRAMES = 60  # segments of the bundled clip, of which three quarters are for training
HELD_OUT = 0.2  # share of the samples to evaluate on without a split for that
_COUNTED = 2000  # maximum number of images whose labels are read to count those that are left out
_MAX_TRIES = 50  # maximum number of images that are searched for one with the labels that a network requires


@dataclass(frozen=True)
class DataSettings(AugmentedSettings):
    """Settings of all recipes on images of a data set."""

    # kind of data set of `--data`, by its name in `sonjit datasets list`; `folder` reads COCO's format and other own
    # files
    dataset: str = "folder"
    split: str = ""  # split to train on; "" is the first split of the data set
    skip_bad: bool = False  # leave out samples with wrong labels
    # order of the keypoints of a `folder` whose names do not define it: `mediapipe`, `mano`, `interhand`, `openpose`
    order: str = ""


@dataclass(frozen=True)
class HandSettings(DataSettings):
    """Settings of all recipes on images of hands."""

    # split to evaluate on; "" holds out a fifth of `split`: some subjects, else recordings, else the last images
    test_split: str = ""
    images: Count = 0  # maximum number of training images, evenly spaced; 0 for all
    held_out: Steps = 500  # maximum number of images to evaluate on, evenly spaced
    batch: ImageBatch = 16  # number of examples in a step


@dataclass(frozen=True)
class CropSettings(HandSettings):
    """Settings of the recipes on square crops of hands."""

    side: Side = 256  # side of the crops in pixels, a multiple of 32


class HandData(NamedTuple):
    """The training set, the held-out images, and a description of their source."""

    training: Sequence[Sample]
    held_out: Sequence[Sample]
    name: str
    split: SplitReport  # what separates the two

    def inputs(self, request: TrainingRequest) -> dict[str, object]:
        """Return the inputs that identify a run."""
        return request.inputs(self.name) | self.split.inputs()


def hand_data(request: TrainingRequest, settings: HandSettings, usable: Callable[[Sample], bool]) -> HandData:
    """Return the data of a recipe, or the bundled clip of rendered hands without `--data`."""
    if request.data is None:
        training, held_out, name = *_demo_samples(), "the bundled clip of rendered hands"
    else:
        samples = open_samples(request.data, request, settings)
        name = f"{settings.dataset} {samples.split} in {request.data}"
        if settings.test_split:
            training = samples
            held_out = open_samples(request.data, request, replace(settings, split=settings.test_split))
        else:
            training, held_out = held_out_parts(samples, HELD_OUT, name)
    split = report_split(training, held_out)
    for samples, use in ((training, "to train on"), (held_out, "to evaluate on")):
        if not any(map(usable, evenly_spaced(samples, _MAX_TRIES))):
            raise InputError(f"{name}: {len(samples)} images {use} without the labels that {request.recipe} requires")
        counted = evenly_spaced(samples, _COUNTED)
        if left_out := sum(not usable(sample) for sample in counted):
            few = "" if len(counted) == len(samples) else f", counted in {len(counted)} of {len(samples)}"
            _LOG.warning(
                "%d images %s lack the labels that %s requires, and are left out%s", left_out, use, request.recipe, few
            )
    return HandData(evenly_spaced(training, settings.images), evenly_spaced(held_out, settings.held_out), name, split)


def held_out_parts(samples: Dataset, share: float, name: str) -> tuple[Dataset, Dataset]:
    """Return the samples to train on and about a share to evaluate on, see `hold_out`. `name` is shown in errors."""
    (chosen,) = hold_out([identities(samples)], share)
    training = np.setdiff1d(np.arange(len(samples)), chosen)
    if not len(chosen) or not len(training):
        raise InputError(f"{name} has {len(samples)} images: too few to train on some and evaluate on others")
    return samples.subset(training.tolist()), samples.subset(chosen.tolist())


def report_split(training: Sequence[Sample], held_out: Sequence[Sample]) -> SplitReport:
    """Return what separates the samples to train on from the held-out ones, and warn if they may share people."""
    return warn_if_shared(split_report(identities(training), identities(held_out)))


def report_folders(request: TrainingRequest, training: Sequence[str], held_out: Sequence[str]) -> SplitReport:
    """Return what separates the folders below the data to train on from those to evaluate on, as `report_split`.

    Raises:
        InputError: A folder does not exist.
    """
    assert request.data is not None
    for name in (*training, *held_out):
        if not (folder := request.data / name).is_dir():
            raise InputError(f"{folder}: no such folder; see the comments in training/own_recipes.py")
    sides: list[list[Identity]] = []
    for names in (training, held_out):
        sides.append([])
        for name in names:
            with suppress(InputError):  # the recipe reads the folder later and reports what is wrong with it
                sides[-1] += identities(open_dataset("folder", request.data / name, check="none"))
    return warn_if_shared(split_report(*sides))


def warn_if_shared(report: SplitReport) -> SplitReport:
    """Warn if people may be on both sides of a split, and return its report."""
    if not report.separates:
        _LOG.warning("held out %s", report.text)
    return report


def open_samples(data: Path, request: TrainingRequest, settings: DataSettings) -> Dataset:
    """Open a data set to train on, in any order; `images` is the folder of a `folder`, or the video of its frames."""
    options: dict[str, Any] = {"images": str(request.images)} if request.images else {}
    options |= {"order": settings.order} if settings.order else {}
    data_set = open_dataset(settings.dataset, data, settings.split or None, skip_bad=settings.skip_bad, **options)
    return allow_any_order(data_set, request.out / FRAMES)


def allow_any_order(samples: Dataset, folder: Path) -> Dataset:
    """Return a data set unchanged, or write video frames as images, since seeking back decodes a video again.

    A later call with the same videos and labels reads the images of `folder`.
    """
    if not (len(samples) and isinstance(samples[0].image, VideoFrame)):
        return samples
    digest = hashlib.sha256()
    for sample in samples:
        image = sample.image
        video = file_stamp(image.video) if isinstance(image, VideoFrame) else None
        digest.update(json_from([str(image), video, convert.sample_to_dict(sample)]).encode())
    frames = folder / f"{digest.hexdigest()[:16]}.json"
    if not frames.is_file():
        convert.save_coco(frames, samples)
    return open_dataset("folder", frames)


def source_path(request: TrainingRequest, name: str) -> Path:
    """Return a source of a recipe with several: annotations or their folder, relative to the folder of the data."""
    data = request.data
    assert data is not None
    path = (data if data.is_dir() else data.parent) / name
    if not path.exists():
        raise InputError(f"{name}: no such file or folder: {path}")
    return path


def open_source_samples(path: Path, request: TrainingRequest, settings: DataSettings) -> Dataset:
    """Open one of several sources: a folder with the name of a data set is that data set, any other is of `dataset`."""
    if path.name in list_datasets():
        settings = replace(settings, dataset=path.name, split="")
    return open_samples(path, request, settings)


def draw_examples(
    samples: Sequence[P],
    make_example: Callable[[P, np.random.Generator], T | None],
    rng: np.random.Generator,
    count: int,
) -> list[T]:
    """Return the next examples of shuffled epochs of samples, and random others where `make_example` returns None."""

    def draw_one(generator: np.random.Generator, index: int) -> T:
        for _ in range(_MAX_TRIES):
            example = make_example(samples[index], generator)
            if example is not None:
                return example
            index = int(generator.integers(len(samples)))
        raise InputError(f"None of {_MAX_TRIES} images has the required labels. Choose another data set or split.")

    indices = epoch_indices(rng, len(samples), count).tolist()
    return [draw_one(generator, index) for generator, index in zip(rng.spawn(count), indices, strict=True)]


def draw_batch(
    rng: np.random.Generator,
    *,
    samples: Sequence[P],
    make_example: Callable[[P, np.random.Generator], T | None],
    join: Callable[[Sequence[T]], B],
    count: int,
) -> B:
    """Return a batch for the training loop: examples from `draw_examples`, joined to tensors on the CPU."""
    return join(draw_examples(samples, make_example, rng, count))


def complete_hands(sample: Sample) -> list[Instance]:
    """Return the hands of an image whose side and all keypoints, in pixels and in camera space, are known.

    The keypoints are in MediaPipe's order, see `ordered_hand`.
    """
    hands = (ordered_hand(hand, name_of(sample)) for hand in sample.instances if hand.side is not None)
    points = ((hand, (hand.keypoints_px, hand.keypoints_m)) for hand in hands if hand is not None)
    return [
        hand
        for hand, both in points
        if all(coordinates is not None and np.isfinite(coordinates).all() for coordinates in both)
    ]


def exact_keypoints(sample: Sample, instance: Instance) -> tuple[FloatArray, FloatArray]:
    """Return a labelled hand's (21, 3) in the image, with z in its scale, and its (21, 3) metres."""
    assert instance.keypoints_m is not None
    assert instance.keypoints_px is not None
    assert sample.camera is not None
    depth = instance.keypoints_m[:, 2]
    z = (depth / depth[0] - 1) * sample.camera.K[0, 0]
    return np.column_stack([instance.keypoints_px, z]), instance.keypoints_m


def _demo_samples() -> tuple[list[Sample], list[Sample]]:
    """Return training and held-out frames of the bundled clip, at a smaller size."""
    training: list[Sample] = []
    held_out: list[Sample] = []
    with open_source(data_files.ASSETS / "demo.mp4") as source:
        truth = data_files.read_json(data_files.ASSETS / "demo.json")
        scale = _LONG_SIDE_PX / max(truth["width"], truth["height"])
        middle = truth["cx"] * scale - CORNER_PIXEL, truth["cy"] * scale - CORNER_PIXEL
        focal = truth["fx"] * scale
        camera = CalibratedCamera(reading.camera_matrix((focal, focal), middle))
        size = round(truth["width"] * scale), round(truth["height"] * scale)
        frames = {frame["index"]: frame["hands"] for frame in truth["frames"]}
        for frame in source:
            hands = tuple(
                reading.hand_before_camera(np.array(item["xyz_m"], np.float64), camera, item["handedness"])
                for item in frames[frame.index]
            )
            rgb = np.asarray(cv2.resize(frame.rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
            sample = Sample(
                dataset="demo",
                id=f"demo.mp4#{frame.index}",
                image=rgb,
                width=size[0],
                height=size[1],
                instances=hands,
                camera=camera,
                sequence="demo.mp4",
                frame=frame.index,
            )
            is_training = frame.index % _SEGMENT_FRAMES < _SEGMENT_FRAMES * 3 // 4
            (training if is_training else held_out).append(sample)
    return training, held_out
