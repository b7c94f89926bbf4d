"""What eval.json holds: figures of each mode with what they are of; and reading it back."""

from __future__ import annotations

import json
import math
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from sonjit.errors import InputError
from sonjit.evaluation.published import ImpossibleTableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sonjit.evaluation.figures import Summary
    from sonjit.evaluation.guesses import Judged, Mode
    from sonjit.evaluation.journal import Line
    from sonjit.evaluation.judges import Judge

_LIBRARIES = ("numpy", "openvino", "opencv-python-headless", "torch", "faster-coco-eval")
_FEWEST_SUBJECTS = 5
"""From so many on, intervals draw whole subjects: pictures of one person are alike."""
_MOST_CLUSTERS = 4096


def load_evaluation(path: Path) -> dict[str, Any]:
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
        raise InputError(f"{path}: is no eval.json of sonjit eval")
    try:
        for run in record["runs"]:
            _check(path, record, run)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: is damaged, or of another version of sonjit eval ({error})") from None
    return record


def main_figure(run: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The figure that stands for a run; None where the run has it not."""
    return next((one for one in run["figures"] if one["name"] == run["main"]), None)


def run_record(judge: Judge, mode: Mode, lines: Sequence[Line]) -> dict[str, Any]:
    """Figures of one mode, and one row per thing that was judged."""
    pairs = [(line, one) for line in lines for one in line.judged]
    clusters, drawn = clusters_of([(line.dataset, line.id, line.subject) for line, _ in pairs])
    summary: Summary = judge.summary([one for _, one in pairs], clusters)
    return {
        "mode": mode,
        "main": judge.main,
        "samples": len(lines),
        "judged": len(pairs),
        "left_out": [f"{line.id}: {line.problem}" for line in lines if line.problem],
        "intervals_draw": drawn,
        **summary.to_dict(),
        "units": _units(pairs, summary.values),
    }


def _units(pairs: Sequence[tuple[Line, Judged]], values: Sequence[float]) -> dict[str, list[Any]]:
    return {
        "place": [line.place for line, _ in pairs],
        "dataset": [line.dataset for line, _ in pairs],
        "sample": [line.id for line, _ in pairs],
        "instance": [one.instance for _, one in pairs],
        "subject": [line.subject for line, _ in pairs],
        "side": [one.side for _, one in pairs],
        "group": [dict(one.group) for _, one in pairs],
        "value": [value if math.isfinite(value) else math.nan for value in values],
        "found": [not math.isinf(value) for value in values],
    }


def clusters_of(keys: Sequence[tuple[str, str, str | None]]) -> tuple[list[int], str]:
    """What intervals draw as one, and its name: subjects where enough are known, else pictures.

    Of very many, some go together at random places: that changes an interval's width by a hundredth, not by more.

    Args:
        keys: data set, sample and subject of each thing that was judged.
    """
    subjects = {subject for *_, subject in keys}
    by_subject = None not in subjects and len(subjects) >= _FEWEST_SUBJECTS
    numbers: dict[tuple[str, str | None], int] = {}
    labels = [(dataset, subject if by_subject else sample) for dataset, sample, subject in keys]
    for label in labels:
        numbers.setdefault(label, len(numbers) % _MOST_CLUSTERS)
    return [numbers[label] for label in labels], "subjects" if by_subject else "pictures"


def library_versions() -> dict[str, str]:
    """Of Python and what figures depend on."""
    known = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            known[name] = version(name)
        except PackageNotFoundError:
            continue
    return known


def _check(path: Path, record: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    """Refuse figures that contradict themselves."""
    main = main_figure(run)
    for one in run["figures"]:
        ends = one["low"], one["high"]
        if None not in (*ends, one["value"]) and ends[0] > ends[1]:
            raise ImpossibleTableError(f"{path}: {one['name']}: its interval {ends[0]:g} to {ends[1]:g} is upside down")
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
