"""What was judged so far, one line per sample: a run that was stopped goes on from it, and never twice."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from sonjit.errors import InputError, JobError
from sonjit.evaluation.guesses import Judged

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from sonjit.datasets import Sample


@dataclass(frozen=True)
class Line:
    """One sample and what came of it.

    Attributes:
        place: of the sample in the run's order.
        dataset: its set.
        id: its name there.
        subject: whose hands; None where unknown.
        sha256: of its labels and picture.
        judged: one per instance, or one for the picture.
        problem: why it was left out; None where it was judged.
    """

    place: int
    dataset: str
    id: str
    subject: str | None
    sha256: str
    judged: tuple[Judged, ...]
    problem: str | None = None

    def to_json(self) -> str:
        """One line."""
        data = self.__dict__ | {"judged": [one.to_dict() for one in self.judged]}
        return json.dumps(data, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """What `to_json` wrote."""
        data = json.loads(line)
        return cls(**data | {"judged": tuple(Judged.from_dict(one) for one in data["judged"])})


class Journal:
    """A file that grows by a line per sample.

    Args:
        path: of the file.
        about: what the run is of: another one cannot go on from it.
        resume: keep the lines of a file that is there.

    Raises:
        InputError: the file is of another run; names what differs.
    """

    def __init__(self, path: Path, about: Mapping[str, Any], *, resume: bool) -> None:
        self.path = path
        self.lines = _read(path, about) if resume and path.is_file() else []
        self._about = about
        try:
            self._file = path.open("w", encoding="utf-8")
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror}") from None
        self._put(json.dumps(about))
        for line in self.lines:
            self._put(line.to_json())

    def keep(self, count: int) -> None:
        """Go on after so many lines; forget those that follow."""
        del self.lines[count:]
        self._file.seek(0)
        self._file.truncate()
        for line in (json.dumps(self._about), *(one.to_json() for one in self.lines)):
            self._put(line)

    def add(self, line: Line) -> None:
        """One more sample; it is on the disk when this returns."""
        self.lines.append(line)
        self._put(line.to_json())
        self._file.flush()

    def __enter__(self) -> Self:
        """The journal itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the file."""
        self._file.close()

    def _put(self, line: str) -> None:
        try:
            self._file.write(line + "\n")
        except OSError as error:
            raise JobError(f"writing {self.path} failed: {error.strerror}") from error


def hash_of(sample: Sample) -> str:
    """Hash of a sample's labels and picture."""
    digest = hashlib.sha256()
    for one in sample.instances:
        for array in (one.keypoints_px, one.valid_px, one.keypoints_m, one.valid_m, one.vertices_m):
            digest.update(b"-" if array is None else array.tobytes())
        digest.update(repr((one.kind, one.side, one.box, one.category_id)).encode())
    image = sample.image
    match image:
        case bytes():
            digest.update(image)
        case _ if hasattr(image, "read_bytes"):
            digest.update(image.read_bytes())  # pyright: ignore
        case _:
            digest.update(image.tobytes())  # pyright: ignore
    return digest.hexdigest()


def hash_of_lines(lines: Sequence[Line]) -> str:
    """Hash of all data that a run has seen, in its order."""
    return hashlib.sha256("".join(line.sha256 for line in lines).encode()).hexdigest()


def _read(path: Path, about: Mapping[str, Any]) -> list[Line]:
    """Lines of an earlier run; what was cut off in the middle of a line is judged again."""
    try:
        text = path.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); begin anew without --resume") from None
    first, *rest = text.split("\n")
    try:
        before = json.loads(first)
    except ValueError:
        raise InputError(f"{path} is no journal of sonjit eval; begin anew without --resume") from None
    if before != json.loads(json.dumps(about)):
        differs = [key for key in about if before.get(key) != json.loads(json.dumps(about[key]))]
        raise InputError(f"{path} is of a run with another {', '.join(differs)}; begin anew without --resume")
    lines: list[Line] = []
    for line in rest[:-1]:
        try:
            lines.append(Line.from_json(line))
        except (ValueError, KeyError, TypeError):
            break
    return lines
