"""The images of hands that a recipe learns from and is judged by: a data set's, or the bundled clip's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from sonjit.datasets import Dataset, Instance, Sample, list_datasets, open_dataset
from sonjit.datasets.joint_orders import camera_matrix, hand_before_camera
from sonjit.errors import InputError
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.media import open_source
from sonjit.training.loop import LoopOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from sonjit.training.recipes import TrainingRequest

P = TypeVar("P")
T = TypeVar("T")
_LONG_SIDE_PX = 320  # of the clip's frames that are kept
_SEGMENT = 60  # frames of the clip, of which three parts in four are learnt from
_TRIES = 50  # images that are looked at for one with what a network needs


@dataclass(frozen=True)
class HandSettings(LoopOptions):
    """What recipes on images of hands have in common; the first are those of every loop.

    Attributes:
        dataset: what `--data` is, by its name in `sonjit datasets list`; `folder` is COCO's format and other own files.
        split: what is learnt from; "" is the set's first.
        test_split: what is judged by; "" holds out the last fifth of `split`.
        images: to learn from, spread evenly; 0 for all.
        held_out: images to judge by, spread evenly, at most.
        batch: examples a step.
        workers: threads that read images.
    """

    dataset: str = "folder"
    split: str = ""
    test_split: str = ""
    images: int = 0
    held_out: int = 500
    batch: int = 16
    workers: int = 4

    def __post_init__(self) -> None:
        """Refuse numbers that train nothing."""
        super().__post_init__()
        for name, least in (("images", 0), ("held_out", 1), ("batch", 1), ("workers", 1)):
            if getattr(self, name) < least:
                raise InputError(f"{name}={getattr(self, name)}: give at least {least}")


class HandData(NamedTuple):
    """Images to learn from, others to judge by, and where they are from."""

    learnt: Sequence[Sample]
    judged: Sequence[Sample]
    name: str


def hand_data(request: TrainingRequest, settings: HandSettings, usable: Callable[[Sample], bool]) -> HandData:
    """What a recipe learns from: the bundled clip of rendered hands where no data are given.

    Args:
        request: with the data's root, or none.
        settings: which part of them.
        usable: whether an image has the labels that are needed.

    Raises:
        InputError: data that are missing or damaged, too few, or without the labels.
    """
    if request.data is None:
        learnt, judged, name = *_demo_samples(), "the bundled clip of rendered hands"
    else:
        whole = open_samples(settings.dataset, request.data, request.images, settings.split)
        name = f"{settings.dataset} {whole.split} in {request.data}"
        if settings.test_split:
            learnt = whole
            judged = open_samples(settings.dataset, request.data, request.images, settings.test_split)
        else:
            learnt, judged = _parted(whole, name)
    for samples, use in ((learnt, "to learn from"), (judged, "to judge by")):
        if not any(map(usable, _spread(samples, _TRIES))):
            raise InputError(f"{name}: {len(samples)} images {use}, without the labels that {request.recipe} needs")
    return HandData(_spread(learnt, settings.images), _spread(judged, settings.held_out), name)


def open_samples(dataset: str, data: Path, images: Path | None = None, split: str = "") -> Dataset:
    """A split of a data set to train on.

    Args:
        dataset: its name in `sonjit datasets list`; `folder` is COCO's format and other own files.
        data: where it is.
        images: of a folder: its images' folder, or the video that they are frames of.
        split: "" is the set's first.

    Raises:
        InputError: data that are missing or damaged.
    """
    own: dict[str, Any] = {"images": str(images)} if images else {}
    return open_dataset(dataset, data, split or None, **own)


def open_source_samples(path: Path, images: Path | None, dataset: str, split: str) -> Dataset:
    """One of several sources: a folder that is called after a data set is that, any other is of `dataset`."""
    if path.name in list_datasets():
        return open_samples(path.name, path, images)
    return open_samples(dataset, path, images, split)


def refuse_export(request: TrainingRequest) -> None:
    """For recipes whose networks `sonjit export` turns into other formats.

    Raises:
        InputError: an export is asked for.
    """
    if request.export is not None:
        raise InputError(
            f"{request.recipe} writes PyTorch weights alone: leave --export out; sonjit export {request.recipe} "
            "--weights FILE --out FILE makes others of them"
        )


def drawn(
    samples: Sequence[P],
    make: Callable[[P, np.random.Generator], T | None],
    rng: np.random.Generator,
    count: int,
    workers: int,
) -> list[T]:
    """So many examples of samples drawn at random, made by several threads; the same whatever their number.

    Args:
        samples: to draw from, or their places.
        make: an example of a sample; None where the sample has not what is needed.
        rng: of the draw.
        count: of the examples.
        workers: threads.

    Raises:
        InputError: hardly any sample has what is needed.
    """

    def one(own: np.random.Generator) -> T:
        for _ in range(_TRIES):
            example = make(samples[int(own.integers(len(samples)))], own)
            if example is not None:
                return example
        raise InputError(f"of {_TRIES} images none has the labels that are needed: give another data set or split")

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(one, rng.spawn(count)))


def known_hands(sample: Sample) -> list[Instance]:
    """The hands of an image whose side and all of whose keypoints, in pixels and before the camera, are known."""
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


def _spread(samples: Sequence[Sample], most: int) -> Sequence[Sample]:
    """At most so many, evenly spread; 0 for all."""
    if not most or most >= len(samples):
        return samples
    places = [i * len(samples) // most for i in range(most)]
    return _Chosen(samples, np.array(places))


class _Chosen(Sequence[Sample]):
    """Some of the samples, read when they are asked for."""

    def __init__(self, samples: Sequence[Sample], places: NDArray[np.int64]) -> None:
        self._samples, self._places = samples, places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Sample:  # pyright: ignore[reportIncompatibleMethodOverride]  # no slices
        return self._samples[int(self._places[index])]


def _parted(samples: Sequence[Sample], name: str) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """All but the last fifth, and that."""
    first = len(samples) - max(len(samples) // 5, 1)
    if first < 1:
        raise InputError(f"{name} has {len(samples)} images: too few to learn from some and be judged by others")
    return _Chosen(samples, np.arange(first)), _Chosen(samples, np.arange(first, len(samples)))


def _demo_samples() -> tuple[list[Sample], list[Sample]]:
    """The bundled clip, made smaller: most of each two seconds, and their last halves of a second."""
    import cv2

    learnt: list[Sample] = []
    judged: list[Sample] = []
    with resources.as_file(resources.files("sonjit") / "assets") as assets, open_source(assets / "demo.mp4") as source:
        said = json.loads((assets / "demo.json").read_text("utf-8"))
        scale = _LONG_SIDE_PX / max(said["width"], said["height"])
        focal, middle = said["fx"] * scale, (said["cx"] * scale, said["cy"] * scale)
        camera = CalibratedCamera(camera_matrix((focal, focal), middle))
        size = round(said["width"] * scale), round(said["height"] * scale)
        frames = {frame["index"]: frame["hands"] for frame in said["frames"]}
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
            (learnt if frame.index % _SEGMENT < _SEGMENT * 3 // 4 else judged).append(sample)
    return learnt, judged
