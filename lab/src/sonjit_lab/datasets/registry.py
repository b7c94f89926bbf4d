"""Open data sets by name, check the labels of samples against each other, and draw samples on contact sheets.

The records of the sets come from `catalog.toml` and from `register`.
"""

import inspect
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module, resources
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sonjit._util import BoolArray, FloatArray, Image, InputError, SonjitError, data_files, extensions, unknown_name
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.media.drawing.instances import FINGERS, PERSON_COLOURS, draw_tint
from sonjit.media.drawing.labels import draw_captions
from sonjit.media.drawing.strokes import INK, LEFT, NEUTRAL, RIGHT, Colour, Strokes, draw_path, draw_ring
from sonjit.results import Box
from sonjit.results.skeletons import load_skeleton
from sonjit_lab.datasets.dataset import Dataset, DatasetEntry, Skipped
from sonjit_lab.datasets.sample import Instance, Sample

TOLERANCE_PX = 2.0  # maximum distance between a label and its projected 3D label; some sets round to pixels

_MARGIN = 0.25  # of a box's or image's longer side: how far outside labels may lie
_MIN_SHARE_INSIDE = 0.5  # of labels that must lie inside
_MIN_KEYPOINTS = 10  # keypoints of a hand that may lie close together
_HAND_M = 0.02, 0.6  # between which more of them span, across the diagonal of their box

CELL_PX = 360  # longer side of each image on the sheet
_GAP_PX = 6
_PROJECTED: Colour = (255, 255, 255)
Check = Literal["first", "all", "none"]  # samples to check when a set is opened, see `check_sample`
_ENTRIES: extensions.Registry[DatasetEntry] = extensions.Registry("data set")


def check_sample(sample: Sample) -> None:
    """Refuse a sample whose image is missing or whose labels contradict each other.

    3D labels have to project onto the 2D labels, in front of the camera, and a hand needs the size of a hand. Some
    visible labels have to lie in the image, and half of them in their own box, with a margin.
    """
    if isinstance(sample.image, Path) and not sample.image.is_file():
        raise InputError(f"{sample.dataset} {sample.id}: the image {sample.image} is missing")
    for instance in sample.instances:
        if sample.camera is not None and instance.keypoints_m is not None:
            _check_projection(sample, instance, sample.camera)
        if instance.keypoints_px is not None:
            _check_place(sample, instance, instance.keypoints_px)


def decoder_warning(path: Path) -> str | None:
    """Return the report of a JPEG decoder about an image that it repairs, such as missing data; None without a report.

    libjpeg writes its reports to the standard error of the process, which is read here.
    """
    import cv2

    if path.suffix.lower() not in (".jpg", ".jpeg"):
        return None
    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
        finally:
            os.dup2(before, 2)
            os.close(before)
        file.seek(0)
        text = file.read().decode("utf-8", "replace").strip()
    return f"the decoder repairs it ({text.splitlines()[0]}); copy or download it again" if text else None


def check_all(dataset: Dataset, *, skip_bad: bool = False) -> Dataset:
    """Check every sample; `skip_bad` lists bad samples in `skipped` and continues."""
    good: list[int] = []
    bad: list[Skipped] = []
    for index in range(len(dataset)):
        try:
            check_sample(dataset[index])
        except SonjitError as error:
            if not skip_bad:
                raise
            bad.append(Skipped(f"#{index}", str(error)))
        else:
            good.append(index)
    if not bad:
        return dataset
    usable = dataset.subset(good)
    usable.skipped = (*dataset.skipped, *bad)
    return usable


def _check_projection(sample: Sample, instance: Instance, camera: CalibratedCamera) -> None:
    points = _labelled_rows(instance.keypoints_m, instance.valid_m)
    if not len(points):
        return
    behind = int((points[:, 2] <= 0).sum())
    if behind > _MIN_SHARE_INSIDE * len(points):
        raise InputError(
            f"{_sample_name(sample, instance)}: {behind} of {len(points)} keypoints lie behind the camera: "
            "the axes or the extrinsics are not those of this set"
        )
    span_m = float(np.linalg.norm(np.ptp(points, axis=0)))
    if instance.kind == "hand" and len(points) > _MIN_KEYPOINTS and not _HAND_M[0] < span_m < _HAND_M[1]:
        raise InputError(
            f"{_sample_name(sample, instance)}: its keypoints span {span_m:.3g} m: the unit is not that of this set"
        )
    if instance.keypoints_px is None or instance.keypoints_m is None:
        return
    error_px = np.linalg.norm(camera.project(instance.keypoints_m) - instance.keypoints_px, axis=1)
    error_px = error_px[np.isfinite(error_px)]
    if len(error_px) and (middle := float(np.median(error_px))) > TOLERANCE_PX:
        raise InputError(
            f"{_sample_name(sample, instance)}: projected 3D keypoints lie {middle:.1f} px from the 2D ones: "
            "joint order, unit, axes or camera are not those of this set"
        )


def _check_place(sample: Sample, instance: Instance, keypoints_px: FloatArray) -> None:
    valid = instance.valid_px
    if instance.visible is not None:
        valid = instance.visible if valid is None else valid & instance.visible
    points = _labelled_rows(keypoints_px, valid)
    if not len(points):
        return
    frames: list[tuple[str, Box, float]] = [("image", (0, 0, sample.width, sample.height), 1.0)]
    if instance.box is not None:
        frames.append(("own box", instance.box, _MIN_SHARE_INSIDE))
    if sample.box is not None:
        frames.append(("box around all", sample.box, _MIN_SHARE_INSIDE))
    for noun, (x_min, y_min, x_max, y_max), share in frames:
        margin = _MARGIN * max(x_max - x_min, y_max - y_min)
        outside = np.maximum(
            np.array([x_min - margin, y_min - margin]) - points, points - np.array([x_max + margin, y_max + margin])
        ).max(axis=1)
        if (outside > 0).mean() >= share:
            raise InputError(
                f"{_sample_name(sample, instance)}: {(outside > 0).sum()} of {len(points)} keypoints lie outside of "
                f"the {noun}, up to {outside.max():.1f} px: joint order, unit, axes or camera are not those of this set"
            )


def _labelled_rows(points: FloatArray | None, valid: BoolArray | None) -> FloatArray:
    if points is None:
        return np.zeros((0, 3))
    labelled = np.isfinite(points).all(axis=1)
    return points[labelled if valid is None else labelled & valid]


def _sample_name(sample: Sample, instance: Instance) -> str:
    side = f", {instance.side.lower()} {instance.kind}" if instance.side else ""
    return f"{sample.dataset} {sample.id}{side}"


def draw_contact_sheet(
    samples: Sequence[Sample], *, columns: int | None = None, cell_px: int = CELL_PX, zoom: bool = False
) -> Image:
    """Draw a sheet of samples with their boxes, masks and keypoints.

    Keypoints are dots, joined if their skeleton is known: a hand's in the colour of their finger, others warm on the
    person's left and blue on the right. The bones of a hand have an outline in the colour of its side. Hidden keypoints
    are rings. Small white rings are projected 3D keypoints, which should lie on the dots. An image that cannot be read
    is a dark cell with the reason.

    Args:
        samples: Samples in reading order.
        columns: Number of columns; by default about as many as rows.
        cell_px: Longer side of each cell in pixels.
        zoom: Crop each image around its labels.

    Returns:
        Sheet (H, W, 3), uint8 RGB.

    Raises:
        InputError: There are no samples.
    """
    if not samples:
        raise InputError("no samples to show")
    columns = columns or min(len(samples), max(1, round(len(samples) ** 0.5 + 0.4)))
    rows = -(-len(samples) // columns)
    step = cell_px + _GAP_PX
    sheet = np.full((rows * step + _GAP_PX, columns * step + _GAP_PX, 3), INK, np.uint8)
    for index, sample in enumerate(samples):
        try:
            canvas = draw_sample(sample, cell_px, zoom=zoom)
            about = ", ".join(dict.fromkeys(filter(None, map(_draw_text, sample.instances)))) or "nothing in it"
        except InputError as error:
            canvas, about = np.full((cell_px, cell_px, 3), 40, np.uint8), str(error)
        lines = (f"{sample.id[-40:]}  {sample.width}x{sample.height}", about)
        draw_captions(canvas, [line.encode("ascii", "replace").decode() for line in lines])
        height, width = canvas.shape[:2]
        top = _GAP_PX + index // columns * step + (cell_px - height) // 2
        left = _GAP_PX + index % columns * step + (cell_px - width) // 2
        sheet[top : top + height, left : left + width] = canvas
    return sheet


def spread_indices(count: int, maximum: int, order: Literal["spread", "first", "random"]) -> list[int]:
    """Return the indices of samples to show: spread over all, the first ones, or the same random ones each time.

    >>> spread_indices(9, 3, "spread"), spread_indices(2, 3, "first")
    ([0, 4, 8], [0, 1])
    """
    maximum = min(maximum, count)
    match order:
        case "spread":
            return np.linspace(0, count - 1, maximum).round().astype(int).tolist()
        case "first":
            return list(range(maximum))
        case "random":
            return np.sort(np.random.default_rng(0).choice(count, maximum, replace=False)).tolist()


def draw_sample(sample: Sample, size_px: int, *, zoom: bool = False) -> Image:
    """Draw all labels of a sample into its image, scaled so that the longer side has `size_px` pixels."""
    import cv2

    left, top, right, bottom = _label_bounds(sample) if zoom else (0, 0, sample.width, sample.height)
    scale = size_px / max(right - left, bottom - top)
    size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    canvas = np.array(cv2.resize(sample.rgb()[top:bottom, left:right], size, interpolation=how), np.uint8)
    origin = np.array([left, top])
    for number, instance in enumerate(sample.instances):
        if (mask := instance.mask()) is not None:
            part = mask[top:bottom, left:right].astype(np.float32)
            draw_tint(canvas, part, PERSON_COLOURS[number % len(PERSON_COLOURS)])
    for side, box in ((None, sample.box), *((instance.side, instance.box) for instance in sample.instances)):
        if box is not None:
            corners = (np.reshape(box, (2, 2)) - origin) * scale
            (x_min, y_min), (x_max, y_max) = corners
            path = np.array([[x_min, y_min], [x_max, y_min], [x_max, y_max], [x_min, y_max]])
            draw_path(canvas, path, INK, 3)
            draw_path(canvas, path, {"Left": LEFT, "Right": RIGHT}.get(side or "", NEUTRAL), 1)
    for instance in sample.instances:
        if instance.keypoints_px is not None:
            _draw_keypoints(canvas, instance, (instance.keypoints_px - origin) * scale)
        if sample.camera is not None and instance.keypoints_m is not None:
            labelled = slice(None) if instance.valid_m is None else instance.valid_m
            projected = (sample.camera.project(instance.keypoints_m[labelled]) - origin) * scale
            for point in projected[np.isfinite(projected).all(axis=1)]:
                draw_ring(canvas, point, 3.0, _PROJECTED, 1)
    return canvas


def _label_bounds(sample: Sample) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom around all boxes and keypoints, with a margin, inside the image."""
    boxes = [np.reshape(instance.box, (2, 2)) for instance in sample.instances if instance.box is not None]
    points = [instance.keypoints_px for instance in sample.instances if instance.keypoints_px is not None]
    labelled_points = np.concatenate([*boxes, *points, np.zeros((0, 2))])
    labelled_points = labelled_points[np.isfinite(labelled_points).all(axis=1)]
    room = np.array([sample.width, sample.height])
    if len(labelled_points):
        margin = 0.15 * np.ptp(labelled_points, axis=0).max() + 4
        left, top = np.clip(labelled_points.min(axis=0) - margin, 0, room).astype(int).tolist()
        right, bottom = np.clip(np.ceil(labelled_points.max(axis=0) + margin), 0, room).astype(int).tolist()
        if right > left and bottom > top:
            return left, top, right, bottom
    return 0, 0, sample.width, sample.height


def _draw_text(instance: Instance) -> str:
    noun = instance.category or instance.kind
    side = None if instance.side and instance.side.lower() in noun.lower() else instance.side
    words = (side, noun, "crowd" if instance.crowd else None)
    return " ".join(word for word in words if word)


def _draw_keypoints(canvas: Image, instance: Instance, points: FloatArray) -> None:
    """Draw labelled points and the lines between them."""
    labelled_points = points if instance.valid_px is None else np.where(instance.valid_px[:, None], points, np.nan)
    strokes = Strokes(
        canvas, np.column_stack([labelled_points, np.full(len(labelled_points), np.nan)]).astype(np.float32)
    )
    width = strokes.width(0.012)
    colours, lines = _colours_and_lines(instance, len(points))
    outline = {"Left": LEFT, "Right": RIGHT}.get(instance.side or "", INK)
    for a, b in lines:
        strokes.line(a, b, outline, width + 3)
    for a, b in lines:
        strokes.line(a, b, colours[b], width)
    for k, colour in enumerate(colours):
        if instance.visible is not None and not instance.visible[k]:
            draw_ring(canvas, strokes.points[k], width + 1.5, colour, 1)
        else:
            strokes.dot(k, INK, width + 1)
            strokes.dot(k, colour, width)


def _colours_and_lines(instance: Instance, count: int) -> tuple[list[Colour], tuple[tuple[int, int], ...]]:
    """Return a colour per keypoint, and the pairs of keypoints to join."""
    try:
        skeleton = load_skeleton(instance.skeleton or "")
    except InputError:  # a convention of the set's own: no names, no lines
        return [NEUTRAL] * count, ()
    fingers = {k: FINGERS[name] for name, members in skeleton.groups.items() if name in FINGERS for k in members}
    sides = {"left": LEFT, "right": RIGHT}
    colours = [
        fingers.get(k) or next((colour for side, colour in sides.items() if name.startswith(side)), NEUTRAL)
        for k, name in enumerate(skeleton.keypoints)
    ]
    return colours, skeleton.connections


def register(entry: DatasetEntry) -> DatasetEntry:
    """Register a data set. The module of a set outside this package calls it once per name.

    Raises:
        InputError: The name is already registered.
    """
    _ENTRIES.add(entry.name, entry)
    return entry


def list_datasets() -> list[str]:
    """Return the sorted names of all data sets."""
    return sorted(_entries())


def dataset_entry(name: str) -> DatasetEntry:
    """Return the record of a data set.

    Raises:
        InputError: The set is unknown. The message lists the known ones.
    """
    return _entries().find(name)


def open_dataset(
    name: str,
    root: str | os.PathLike[str],
    split: str | None = None,
    *,
    check: Check = "first",
    skip_bad: bool = False,
    **options: Any,  # noqa: ANN401  # each set's own
) -> Dataset:
    """Open one split of a data set.

    Args:
        name: Name from `list_datasets`.
        root: Folder with the unpacked set.
        split: Name of the split; by default the entry's first.
        check: Samples whose labels are checked before the set is returned. `first` also refuses what was found wrong
            when the annotations were read.
        skip_bad: Check all samples, exclude the bad ones and list them in `Dataset.skipped`.
        **options: Options of the set, see `DatasetEntry.options`.

    Raises:
        InputError: A name, split or option is unknown; a file is missing (the message names its download page); an
            annotation is bad (the message names file and field); or 3D labels do not project onto 2D labels.
    """
    entry = dataset_entry(name)
    chosen = entry.splits[0] if split is None else split
    if chosen not in entry.splits:
        raise InputError(f"{name}: {unknown_name('split', chosen, entry.splits)}")
    if unknown := sorted(set(options) - set(entry.options)):
        option_names = ", ".join(entry.options) or "none"
        raise InputError(f"{name}: Unknown option {', '.join(map(repr, unknown))}. Choose from {option_names}")
    dataset = entry.open(entry, Path(root), chosen, **options)
    if skip_bad:
        return check_all(dataset, skip_bad=True)
    if check == "all":
        return check_all(dataset)
    if check == "first" and dataset.wrong:
        first, *others = dataset.wrong.values()
        more = f", and {len(others)} more of {len(dataset)} samples are bad" if others else ""
        raise InputError(f"{first}{more}; skip_bad leaves bad samples out")
    if check == "first" and len(dataset):
        check_sample(dataset[0])
    return dataset


@dataclass(frozen=True)
class _Reader:
    """Function of the lab that opens a data set, and imports its module on first use."""

    path: str

    def __call__(self, *args: Any, **options: Any) -> Dataset:  # noqa: ANN401  # each set's own
        return self._function(*args, **options)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._function)

    @property
    def _function(self) -> Callable[..., Dataset]:
        module, _, name = self.path.partition(":")
        return getattr(import_module(f"sonjit_lab.{module}"), name)


@cache
def _load_catalog() -> None:
    for name, record in data_files.read_toml_table(resources.files("sonjit_lab.datasets") / "catalog.toml").items():
        reader = _Reader(record.pop("reader"))
        facts: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in record.items()
        }
        _ENTRIES.add(name, DatasetEntry(name=name, open=reader, **facts))


def _entries() -> extensions.Registry[DatasetEntry]:
    _load_catalog()
    extensions.load_extensions()
    return _ENTRIES
