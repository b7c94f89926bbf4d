"""Define labels in space, store them as Parquet, and find those of a project's newest run.

Results are in `auto` of the project: a folder for each detector, its settings and the recordings, with files of chunks,
labels and offsets. Marks of the annotation page are projections of the labels and are not stored.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from sonjit._util import BoolArray, Float32Array, FloatArray, InputError, IntArray, data_files
from sonjit._util.files import atomic_file, sha256_of_file
from sonjit.media.tables.columns import arrow
from sonjit_studio.bones import JOINTS_PER_HAND, SIDES
from sonjit_studio.marks import MACHINE, Mark
from sonjit_studio.project import Project
from sonjit_studio.rig import CameraRig

SOURCES: Final = ("", "M", "H", "H+M")  # origins of a label; files store the index
_AXES: Final = ("x_m", "y_m", "z_m")
_FILE_NAME: Final = "{:012d}.parquet"  # name of the file of labels of a chunk, by its first frame set
FOLDER: Final = "auto"
OFFSETS: Final = "offsets.json"
CURRENT: Final = "current.json"
SETTINGS: Final = "settings.json"
LABELS: Final = "labels"
CHUNK_FRAME_SETS: Final = 20


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of N frame sets for the right and the left hand."""

    frames: IntArray  # (N,) numbers of the frame sets
    points_m: FloatArray  # (N, 2, 21, 3) joints in the world, NaN without a label
    covariance_m2: FloatArray  # (N, 2, 21, 3, 3) covariances of the joints
    source: IntArray  # (N, 2, 21) indices in `SOURCES`
    views: IntArray  # (N, 2, 21) number of views that agree
    residual_px: FloatArray  # (N, 2, 21) root mean square error over these views
    seen: BoolArray  # (N, C, 2, 21) which views agree
    mesh_m: FloatArray  # (N, 2) mean distance of the fitted mesh's joints, NaN without a mesh

    @property
    def std_m(self) -> FloatArray:
        """Root of the summed variances (N, 2, 21), metres."""
        return np.sqrt(np.trace(self.covariance_m2, axis1=-2, axis2=-1))

    @property
    def expected(self) -> BoolArray:
        """Which hands (N, 2) are seen or labelled."""
        return np.asarray((self.views > 0).any(-1) | (self.source > 0).any(-1), np.bool_)

    def part(self, rows: slice) -> Labels:
        """Return some of the frame sets."""
        return Labels(**{name: value[rows] for name, value in self.__dict__.items()})

    def save(self, folder: Path) -> Path:
        """Write the labels atomically as `FRAME.parquet`, named by the first frame set, and return the file.

        It has a row for each frame set, hand and joint, in this order: frame, hand, joint, x_m, y_m, z_m, covariance_m2
        (9), source, views, residual_px, seen (a truth value for each view), mesh_m. Unknown values are null.
        """
        pa = arrow()
        joints = len(self.frames) * len(SIDES) * JOINTS_PER_HAND
        indices = np.indices((len(self.frames), len(SIDES), JOINTS_PER_HAND)).reshape(3, -1)

        def nullable(values: NDArray[Any]) -> Any:  # noqa: ANN401  # PyArrow's
            return pa.array(values.reshape(-1), from_pandas=True)  # null, because NaN spreads through sums in SQL

        def lists(values: NDArray[Any], size: int) -> Any:  # noqa: ANN401  # PyArrow's
            return pa.FixedSizeListArray.from_arrays(nullable(np.ascontiguousarray(values)), size)

        columns = {
            "frame": self.frames[indices[0]],
            "hand": np.array(SIDES)[indices[1]],
            "joint": indices[2].astype(np.int8),
            **{name: nullable(self.points_m[..., axis]) for axis, name in enumerate(_AXES)},
            "covariance_m2": lists(self.covariance_m2, 9),
            "source": self.source.reshape(-1),
            "views": self.views.reshape(-1),
            "residual_px": nullable(self.residual_px),
            "seen": lists(np.moveaxis(self.seen, 1, -1).reshape(joints, -1), self.seen.shape[1]),
            "mesh_m": nullable(np.repeat(self.mesh_m.reshape(-1), JOINTS_PER_HAND)),
        }
        path = folder / _FILE_NAME.format(int(self.frames[0]))
        with atomic_file(path) as draft:
            pa.parquet.write_table(pa.table(columns), draft, compression="zstd")
        return path


def load_labels(path: Path) -> Labels:
    """Load a file of `Labels.save`."""
    pa = arrow()
    try:
        table = pa.parquet.read_table(path)
        shape = (-1, len(SIDES), JOINTS_PER_HAND)

        def flat(name: str) -> NDArray[Any]:
            column = table[name].combine_chunks()
            if pa.types.is_fixed_size_list(column.type):
                column = column.flatten()
            return column.to_numpy(zero_copy_only=False)

        return Labels(
            frames=flat("frame").reshape(shape)[:, 0, 0],
            points_m=np.stack([flat(name).reshape(shape) for name in _AXES], -1),
            covariance_m2=flat("covariance_m2").reshape(*shape, 3, 3),
            source=flat("source").reshape(shape),
            views=flat("views").reshape(shape),
            residual_px=flat("residual_px").reshape(shape),
            seen=np.moveaxis(flat("seen").reshape(*shape, table.schema.field("seen").type.list_size), -1, 1),
            mesh_m=flat("mesh_m").reshape(shape)[..., 0],
        )
    except (pa.ArrowException, OSError, KeyError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is damaged ({error}): delete it, and run sonjit annotate auto again") from None


def run_name(detection: DetectionSettings) -> str:
    """Return the folder name of detection settings, by the bytes of a network and independent of the project's path."""
    fields = asdict(replace(detection, project=""))
    if detection.network:
        path = Path(detection.network)
        path = path / "weights.safetensors" if path.is_dir() else path
        if not path.is_file():
            raise InputError(
                f"--network {detection.network}: no weights there; sonjit annotate train --network writes them"
            )
        fields["network"] = sha256_of_file(path)
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]


def current_run(project: Project) -> Path:
    """Return the folder of the newest run."""
    return _newest_run(project) or _refuse(project)


def _newest_run(project: Project) -> Path | None:
    try:
        return project.folder / FOLDER / str(data_files.read_json(project.folder / FOLDER / CURRENT)["run"])
    except (InputError, KeyError):
        return None


def _refuse(project: Project) -> NoReturn:
    raise InputError(f"{project.folder} has no automatic labels: run sonjit annotate auto {project.folder}")


def label_files(folder: Path) -> list[Path]:
    """Return the files of labels in order."""
    return sorted((folder / LABELS).glob("[0-9]*.parquet"))


def read_labels(project: Project) -> Iterator[Labels]:
    """Iterate over the newest labels, chunk by chunk."""
    files = label_files(current_run(project)) or _refuse(project)
    return (load_labels(file) for file in files)


def labelled_rig(project: Project) -> CameraRig:
    """Return the cameras of the newest run, which may have excluded some. Without a run, return all."""
    folder = _newest_run(project)
    return project.rig if folder is None else _rig_of_run(project, folder)


def _rig_of_run(project: Project, folder: Path) -> CameraRig:
    return project.rig.subset(data_files.read_json(folder / SETTINGS)["views"])


def machine_marks(project: Project, frame: int) -> list[Mark]:
    """Return the newest run's labels of one frame set, projected into the views."""
    folder = _newest_run(project)
    if folder is None:
        return []
    end = bisect_right(project.frames, frame)  # a chunk is named by its first frame set
    numbers = reversed(project.frames[max(end - CHUNK_FRAME_SETS, 0) : end])
    candidates = (folder / LABELS / _FILE_NAME.format(number) for number in numbers)
    chunk = next((file for file in candidates if file.is_file()), None)
    if chunk is None:
        return []
    labels = load_labels(chunk)
    rig = _rig_of_run(project, folder)
    row = int(np.searchsorted(labels.frames, frame))
    return marks_of_labels(rig, labels.part(slice(row, row + 1)), folder.name) if frame in labels.frames else []


@dataclass(frozen=True)
class DetectionSettings:
    """Settings of the detection, which identify a run."""

    project: str
    views: tuple[str, ...]
    model: str = "full"
    network: str = ""  # folder of `sonjit annotate train --network` for a second pass, or ""
    recordings: str = ""  # hash of the recordings, see `Project.recordings`
    version: int = 2


@dataclass(frozen=True, eq=False)
class ChunkDetections:
    """Both hands in C views of n frame sets."""

    frames: IntArray  # (n,) numbers of the frame sets
    points_px: Float32Array  # (n, C, 2, 21, 2) right and left hand in pixels, NaN without
    confidence: Float32Array  # (n, C, 2, 21) confidences, 0 without
    problems: tuple[str, ...]  # one line for each image that was not used

    def swap_hands(self, rows: BoolArray) -> ChunkDetections:
        """Return detections with the hands swapped where the mask of the frame sets (N,) is True."""
        points, confidence = self.points_px.copy(), self.confidence.copy()
        points[rows], confidence[rows] = points[rows, :, ::-1], confidence[rows, :, ::-1]
        return replace(self, points_px=points, confidence=confidence)

    def part(self, rows: slice | BoolArray) -> ChunkDetections:
        """Return some of the N frame sets, by a slice or a mask (N,)."""
        return replace(self, frames=self.frames[rows], points_px=self.points_px[rows], confidence=self.confidence[rows])

    def save(self, path: Path) -> None:
        """Write the detections atomically as one file."""
        lines = np.array(self.problems, np.str_)
        with atomic_file(path) as draft:
            np.savez(draft, frames=self.frames, points_px=self.points_px, confidence=self.confidence, problems=lines)


def concatenate_detections(chunks: Sequence[ChunkDetections]) -> ChunkDetections:
    """Concatenate chunks of the same views, without their problems."""
    names = "frames", "points_px", "confidence"
    frames, points, confidence = (np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in names)
    return ChunkDetections(frames, points, confidence, ())


def load_detections(path: Path) -> ChunkDetections:
    """Load a file of `ChunkDetections.save`."""
    try:
        file = data_files.read_npz(path)
        lines: list[str] = file["problems"].tolist()
        return ChunkDetections(file["frames"], file["points_px"], file["confidence"], tuple(lines))
    except (InputError, KeyError) as error:
        raise InputError(f"{path} is damaged ({error}): delete it, and the next run writes it again") from None


def marks_of_labels(rig: CameraRig, labels: Labels, run: str) -> list[Mark]:
    """Return marks of a run, named in their ids, in views that contain a label: seen in inliers, else occluded."""
    pixels = rig.project(labels.points_m)  # (C, N, 2, 21, 2)
    finite_pixels = np.nan_to_num(pixels, nan=-1.0)
    inside = np.stack([camera.inside(points) for camera, points in zip(rig, finite_pixels, strict=True)])
    seen = np.moveaxis(labels.seen, 1, 0)[inside]
    marks: list[Mark] = []
    rows = zip(np.argwhere(inside).tolist(), np.round(pixels[inside], 2).tolist(), seen, strict=True)
    for (view, row, side, joint), (x, y), is_seen in rows:
        frame, index = int(labels.frames[row]), JOINTS_PER_HAND * side + joint
        state = "seen" if is_seen else "occluded"
        name = f"{run}-{frame}-{view}-{index}"
        marks.append(Mark(name, frame, rig.names[view], index, MACHINE, state, x, y, source="M"))
    return marks
