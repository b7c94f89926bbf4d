"""Define labels in space and store them as Parquet.

There is a file for each chunk of frame sets with a row for each joint. The marks of the annotation page are projections
of the labels and are not stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import BoolArray, FloatArray, IntArray
from sonjit._util.errors import InputError
from sonjit._util.files import atomic_file
from sonjit.media.tables.parquet_tables import arrow
from sonjit.studio.triangulation.bones import JOINTS_PER_HAND, SIDES

SOURCES: Final = ("", "M", "H", "H+M")
"""Origins of a label; files store the index."""
_AXES: Final = ("x_m", "y_m", "z_m")


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of N frame sets for the right and the left hand.

    Attributes:
        frames: (N,) numbers of the frame sets.
        points_m: (N, 2, 21, 3) joints in the world, NaN without a label.
        covariance_m2: (N, 2, 21, 3, 3) covariances of the joints.
        source: (N, 2, 21) indices in `SOURCES`.
        views: (N, 2, 21) number of views that agree.
        residual_px: (N, 2, 21) root mean square error over these views.
        seen: (N, C, 2, 21) which views agree.
        mesh_m: (N, 2) mean distance of the fitted mesh's joints, NaN without a mesh.
    """

    frames: IntArray
    points_m: FloatArray
    covariance_m2: FloatArray
    source: IntArray
    views: IntArray
    residual_px: FloatArray
    seen: BoolArray
    mesh_m: FloatArray

    @property
    def std_m(self) -> FloatArray:
        """Root of the summed variances (N, 2, 21), metres."""
        return np.sqrt(np.trace(self.covariance_m2, axis1=-2, axis2=-1))

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
            return pa.array(
                values.reshape(-1), from_pandas=True
            )  # null instead of NaN, which would propagate through sums in SQL

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
        path = label_file(folder, int(self.frames[0]))
        with atomic_file(path) as draft:
            pa.parquet.write_table(pa.table(columns), draft, compression="zstd")
        return path


def label_file(folder: Path, first: int) -> Path:
    """Return the file of the chunk that starts with a frame set, in the run's folder `labels`."""
    return folder / f"{first:012d}.parquet"


def load_labels(path: Path) -> Labels:
    """Load a file of `Labels.save`.

    Raises:
        InputError: The file is damaged.
    """
    pa = arrow()
    try:
        table = pa.parquet.read_table(path)
        shape = (-1, len(SIDES), JOINTS_PER_HAND)

        def flat(name: str) -> NDArray[Any]:
            column = table[name].combine_chunks()
            return (column.flatten() if pa.types.is_fixed_size_list(column.type) else column).to_numpy(False)

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
