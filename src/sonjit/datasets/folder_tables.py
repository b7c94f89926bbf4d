"""Tables as data sets: what Sonjit found in pictures (`sonjit hands photos/ --save t.json`), and converted sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sonjit.datasets.parquet import is_dataset_parquet, records_from_parquet
from sonjit.datasets.records import RecordDataset, picture_size
from sonjit.datasets.sample import Instance
from sonjit.datasets.sample_json import instance_to_dict, sample_from_dict
from sonjit.errors import InputError
from sonjit.media import load_frames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sonjit.datasets.registry import DatasetEntry
    from sonjit.datasets.sample import Sample
    from sonjit.results import Frame
    from sonjit.results import Instance as Found

_SEEN = 0.5  # visibility from which a body's keypoint counts as seen


class TableSet(RecordDataset):
    """The pictures of a table.

    Args:
        entry: of the set.
        root: folder that sample ids are relative to.
        split: "all".
        table: the file.
        images: folder of the pictures; by default they are looked for beside the table.
    """

    def __init__(self, entry: DatasetEntry, root: Path, split: str, table: Path, images: Path | None) -> None:
        super().__init__(entry, root, split)
        self._folders = [images] if images else [table.parent, root / "images", root]
        self.keep(_records(table), str(table))

    def sample(self, record: Any) -> Sample:  # noqa: ANN401  # JSON
        """One picture with what the table says."""
        path = self._picture(record["image"])
        if "width" in record:
            return sample_from_dict(record, path)
        width, height = picture_size(path, upright=True)
        own = {
            "dataset": self.entry.name,
            "id": record["image"],
            "width": width,
            "height": height,
            "upright": True,
            "source": self.annotations,
            "licence": self.entry.licence,
        }
        return sample_from_dict(own | record, path)

    def _picture(self, name: str) -> Path:
        places = [folder / place for folder in self._folders for place in (name, Path(name).name)]
        return next((place for place in places if place.is_file()), places[0])


def _records(table: Path) -> Iterator[dict[str, Any]]:
    if table.suffix.lower() == ".parquet" and is_dataset_parquet(table):
        yield from records_from_parquet(table)
        return
    header, frames = load_frames(table)
    for frame in frames:
        source = frame.source or (header.source if len(frames) == 1 else None)
        if source is None:
            raise InputError(f"{table} is of a video: write its frames into a folder and find what is in that")
        yield _record(source, frame)


def _record(source: str, frame: Frame) -> dict[str, Any]:
    return {
        "image": source,
        "frame": frame.index,
        "instances": [instance_to_dict(_instance(one)) for _, one in frame.instances()],
    }


def _instance(one: Found) -> Instance:
    points = np.asarray(one.keypoints[:, :2], np.float64)
    return Instance(
        kind=one.kind,  # pyright: ignore[reportArgumentType]  # results use the same words
        side=one.handedness,
        skeleton=one.skeleton.name,
        keypoints_px=points,
        valid_px=np.asarray(np.isfinite(points).all(axis=1), np.bool_),
        visible=None if one.visibility is None else ~(one.visibility < _SEEN),
        box=one.box if np.isfinite(one.box).all() else None,
        extra={"score": one.score, "id": one.id},
    )
