"""What eval.json holds: metrics of each mode with what they are of; and reading it back.

What was evaluated so far, one line per sample: a run that was stopped goes on from it, and never twice.
"""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from sonjit.errors import InputError, JobError
from sonjit.evaluation.predictions import EvaluatedItem
from sonjit.evaluation.published import ImpossibleTableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from sonjit.datasets import Sample
    from sonjit.evaluation.schema import EvaluationRecord, MetricRecord, RunRecord

_LIBRARIES = ("numpy", "openvino", "opencv-python-headless", "torch", "faster-coco-eval")


def load_evaluation(path: Path) -> EvaluationRecord:
    """An eval.json, checked against itself.

    Raises:
        InputError: a missing file, or no evaluation of Sonjit's.
        ImpossibleTableError: a mean outside of its own values.
    """
    try:
        record: Any = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as an evaluation ({error})") from None
    if not isinstance(record, dict) or not {"protocol", "model", "runs", "data"} <= record.keys():
        raise InputError(f"{path}: is not an eval.json of sonjit eval")
    try:
        found = cast("EvaluationRecord", record)
        for run in found["runs"]:
            _check(path, found, run)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: is damaged, or of another version of sonjit eval ({error})") from None
    return found


def main_metric(run: RunRecord) -> MetricRecord | None:
    """The metric that stands for a run; None where the run has it not."""
    return next((one for one in run["metrics"] if one["name"] == run["main"]), None)


def library_versions() -> dict[str, str]:
    """Of Python and what metrics depend on."""
    known = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            known[name] = version(name)
        except PackageNotFoundError:
            continue
    return known


def _check(path: Path, record: EvaluationRecord, run: RunRecord) -> None:
    """Refuse metrics that contradict themselves."""
    main = main_metric(run)
    for one in run["metrics"]:
        low, high = one["low"], one["high"]
        if one["value"] is not None and low is not None and high is not None and low > high:
            raise ImpossibleTableError(f"{path}: {one['name']}: its interval {low:g} to {high:g} is upside down")
    known = [value for value in run["units"]["value"] if value is not None]
    if main is None or main["value"] is None or not known or record["protocol"]["average"] != "all":
        return
    low, high = min(known), max(known)
    slack = 1e-6 * max(1.0, abs(high))
    if not low - slack <= main["value"] <= high + slack:
        raise ImpossibleTableError(
            f"{path}: {main['name']}, {run['mode']}: the mean {main['value']:g} lies outside of its values, "
            f"{low:g} to {high:g}"
        )


@dataclass(frozen=True)
class JournalLine:
    """One sample and what came of it.

    Attributes:
        place: of the sample in the run's order.
        dataset: its set.
        id: its name there.
        subject: whose hands; None where unknown.
        sha256: of its labels and image.
        evaluated: one per instance, or one for the image.
        problem: why it was left out; None where it was evaluated.
    """

    place: int
    dataset: str
    id: str
    subject: str | None
    sha256: str
    evaluated: tuple[EvaluatedItem, ...]
    problem: str | None = None

    def to_json(self) -> str:
        """One line."""
        data = self.__dict__ | {"evaluated": [one.to_dict() for one in self.evaluated]}
        return json.dumps(data, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """What `to_json` wrote."""
        data = json.loads(line)
        return cls(**data | {"evaluated": tuple(EvaluatedItem.from_dict(one) for one in data["evaluated"])})


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

    def add(self, line: JournalLine) -> None:
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
    """Hash of a sample's labels and image."""
    digest = hashlib.sha256()
    for one in sample.instances:
        for array in (one.keypoints_px, one.valid_px, one.keypoints_m, one.valid_m, one.vertices_m):
            digest.update(b"-" if array is None else array.tobytes())
        digest.update(repr((one.kind, one.side, one.box, one.category_id)).encode())
    match sample.image:
        case bytes():
            digest.update(sample.image)
        case Path():
            digest.update(sample.image.read_bytes())
        case _:
            digest.update(sample.rgb().tobytes())
    return digest.hexdigest()


def hash_of_lines(lines: Sequence[JournalLine]) -> str:
    """Hash of all data that a run has seen, in its order."""
    return hashlib.sha256("".join(line.sha256 for line in lines).encode()).hexdigest()


def _read(path: Path, about: Mapping[str, Any]) -> list[JournalLine]:
    """Lines of an earlier run; what was cut off in the middle of a line is evaluated again."""
    try:
        text = path.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); begin anew without --resume") from None
    first, *rest = text.split("\n")
    try:
        before = json.loads(first)
    except ValueError:
        raise InputError(f"{path} is not a journal of sonjit eval; begin anew without --resume") from None
    if before != json.loads(json.dumps(about)):
        differs = [key for key in about if before.get(key) != json.loads(json.dumps(about[key]))]
        raise InputError(f"{path} is of a run with another {', '.join(differs)}; begin anew without --resume")
    lines: list[JournalLine] = []
    for line in rest[:-1]:
        try:
            lines.append(JournalLine.from_json(line))
        except (ValueError, KeyError, TypeError):
            break
    return lines
