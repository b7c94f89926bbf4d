"""Truth on disk: one JSON line for each picture, in the form in which shards hold samples."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sonjit.datasets.sample_json import sample_from_dict, sample_to_dict
from sonjit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from sonjit.datasets.sample import Sample


@dataclass(frozen=True, eq=False)
class MaskReader:
    """A mask (H, W) that is there already."""

    mask: NDArray[np.bool_]

    def __call__(self) -> NDArray[np.bool_]:
        """The mask itself."""
        return self.mask


def truth_line(sample: Sample, **more: str) -> bytes:
    """A sample without its picture as one line, with some of its fields set anew."""
    return json.dumps(sample_to_dict(sample) | more, separators=(",", ":"), sort_keys=True).encode() + b"\n"


def read_truth(path: Path) -> Iterator[dict[str, Any]]:
    """The records of one file of truth.

    Raises:
        InputError: it is damaged.
    """
    try:
        with path.open("rb") as file:
            for line in file:
                yield json.loads(line)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); delete it and run again") from None


def sample_from_truth(record: dict[str, Any], root: Path) -> Sample:
    """The sample of a record whose picture lies below a folder under the sample's id."""
    return sample_from_dict(record, root / record["id"])
