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

from sonjit.errors import InputError
from sonjit.evaluation.predictions import EvaluatedItem
from sonjit.evaluation.published import ImpossibleTableError
from sonjit.files import write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

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
    submission: str = ""

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
    """A file that grows by a line per sample, in whatever order processes come to them; in order when it is closed.

    Args:
        path: of the file.
        about: what the run is of: another one cannot go on from it.
        groups: places of the samples that are evaluated one after the other, in the order of the lines.
        resume: go on from a file that is there: a group that is not whole, or changed, is evaluated anew.
        is_current: whether a line's sample is still what was evaluated.

    Attributes:
        left: groups to evaluate.

    Raises:
        InputError: the file cannot be written, or is of another run; names what differs.
    """

    def __init__(
        self,
        path: Path,
        about: Mapping[str, Any],
        groups: Sequence[tuple[int, ...]],
        *,
        resume: bool,
        is_current: Callable[[JournalLine], bool] = lambda _: True,
    ) -> None:
        self.path = path
        self._about = json.dumps(about)
        self._order = [place for group in groups for place in group]
        lines = self._read(check=True) if resume and path.is_file() else []
        done = {line.place for line in lines if is_current(line)}
        self.left = [group for group in groups if not done.issuperset(group)]
        anew = {place for group in self.left for place in group}
        self._write([line for line in lines if line.place not in anew])

    def close(self) -> list[JournalLine]:
        """Put the lines in their order, and give them."""
        lines = self._read()
        self._write(lines)
        return lines

    def _write(self, lines: Sequence[JournalLine]) -> None:
        write_text(self.path, "".join(f"{line}\n" for line in (self._about, *(one.to_json() for one in lines))))

    def _read(self, *, check: bool = False) -> list[JournalLine]:
        """Lines in their order; what was cut off in the middle of a line is evaluated again."""
        try:
            about, *rest = self.path.read_text("utf-8").split("\n")
        except (OSError, ValueError) as error:
            raise InputError(f"{self.path}: cannot be read ({error}); begin anew without --resume") from None
        if check:
            self._check(about)
        found: dict[int, JournalLine] = {}
        for text in rest:
            try:
                line = JournalLine.from_json(text)
            except (ValueError, KeyError, TypeError):
                continue
            found[line.place] = line
        return [found[place] for place in self._order if place in found]

    def _check(self, about: str) -> None:
        now = json.loads(self._about)
        try:
            before = json.loads(about)
        except ValueError:
            raise InputError(f"{self.path} is not a journal of sonjit eval; begin anew without --resume") from None
        if differs := [key for key in now if before.get(key) != now[key]]:
            raise InputError(f"{self.path} is of a run with another {', '.join(differs)}; begin anew without --resume")


def hash_of(sample: Sample) -> str:
    """Hash of a sample's labels and image."""
    digest = hashlib.sha256()
    for one in sample.instances:
        for array in (one.keypoints_px, one.valid_px, one.keypoints_m, one.valid_m, one.vertices_m):
            digest.update(b"-" if array is None else array.tobytes())
        digest.update(repr((one.kind, one.side, one.box, one.category_id, one.crowd, one.extra.get("clear"))).encode())
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
