"""Draw several evaluations of the same samples as one image: a row per method, a column per sample."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sonjit._util.errors import InputError
from sonjit.lab.evaluation.protocols import ProtocolData, load_protocol
from sonjit.lab.evaluation.records import JournalLine, load_evaluation
from sonjit.lab.evaluation.report_images import CASE_PX, draw_case

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sonjit._util.arrays import Image
    from sonjit.lab.evaluation.predictions import EvaluatedItem
    from sonjit.lab.evaluation.schema import EvaluationRecord

_LABEL_PX = 220
_WINDOW_MODELS = ("deformer",)
"""Models that use neighbouring frames."""


class _Run(NamedTuple):
    """One row."""

    label: str
    kind: str
    record: EvaluationRecord
    items: dict[tuple[str, int], EvaluatedItem]  # by sample and instance
    values: dict[tuple[str, int], float]
    indices: dict[str, int]


def draw_comparison(
    runs: Sequence[tuple[str | None, Path]], root: Path, samples: Sequence[str] | None, columns: int
) -> Image:
    """Draw the image, uint8 RGB.

    Args:
        runs: Label, or None for the model's name, and folder of `sonjit eval` of each row.
        root: Root of the data set.
        samples: Names of the samples; None selects those on which the methods differ most.
        columns: Number of such samples.

    Raises:
        InputError: The runs have different protocols or data, or lack a sample.
    """
    rows = [_load(label, folder) for label, folder in runs]
    first = rows[0].record
    for (_, folder), row in zip(runs[1:], rows[1:], strict=True):
        for field, first_value, other in (
            ("protocol", first["protocol"]["name"], row.record["protocol"]["name"]),
            ("data", first["data_sha256"], row.record["data_sha256"]),
        ):
            if first_value != other:
                raise InputError(f"{folder} has another {field} than {runs[0][1]}; evaluate both with the same")
    keys = _chosen(rows, samples, columns)
    chosen = [f"{item['set']}:{item['split']}" for item in first["data"]]
    data = ProtocolData(load_protocol(first["protocol"]["name"]), root, chosen=chosen)
    cases = [(data[rows[0].indices[name]], name, number) for name, number in keys]
    pictures = [[draw_case(sample, number, None, bare=True) for sample, _, number in cases]]
    pictures += [
        [draw_case(sample, at, row.items[name, at].points_px, only_labels=True) for sample, name, at in cases]
        for row in rows
    ]
    labels = [("image", ""), *((row.label, row.kind) for row in rows)]
    return np.concatenate(
        [np.concatenate([_heading(*label), *row], 1) for label, row in zip(labels, pictures, strict=True)]
    )


def _load(label: str | None, folder: Path) -> _Run:
    record = load_evaluation(folder / "eval.json")
    if len(record["runs"]) != 1:
        raise InputError(f"{folder}: has {len(record['runs'])} modes; evaluate with --mode")
    mode = record["runs"][0]["mode"]
    journal = folder / f"evaluated-{mode.replace(' ', '-')}.jsonl"
    try:
        lines = [JournalLine.from_json(text) for text in journal.read_text("utf-8").splitlines()[1:]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{journal}: cannot be read ({error}); evaluate again") from None
    items = {(line.id, item.instance): item for line in lines for item in line.evaluated}
    units = record["runs"][0]["units"]
    values = {
        (name, number): float("nan") if value is None else value
        for name, number, value in zip(units["sample"], units["instance"], units["value"], strict=True)
    }
    model = record["model"]["name"]
    kind = "sequence" if model in _WINDOW_MODELS else "" if mode == "predictions" else "one image"
    return _Run(
        label=label or model,
        kind=kind,
        record=record,
        items=items,
        values=values,
        indices={line.id: line.place for line in lines},
    )


def _chosen(rows: Sequence[_Run], samples: Sequence[str] | None, columns: int) -> list[tuple[str, int]]:
    shared = [key for key in rows[0].items if all(key in row.items for row in rows)]
    if samples is None:
        apart = {key: np.ptp([row.values.get(key, np.nan) for row in rows]) for key in shared}
        known = sorted((key for key in shared if np.isfinite(apart[key])), key=lambda key: -apart[key])
        if not known:
            raise InputError("the runs share no sample that was evaluated")
        return known[:columns]
    found: list[tuple[str, int]] = []
    for name in samples:
        of = [key for key in shared if key[0] == name]
        if not of:
            raise InputError(f"--samples {name}: not among those that all runs evaluated, such as {shared[0][0]}")
        found += of
    return found


def _heading(label: str, kind: str) -> Image:
    """Draw a row's name (CASE_PX, _LABEL_PX, 3) with its input below."""
    import cv2

    strip = np.full((CASE_PX, _LABEL_PX, 3), 255, np.uint8)
    for text, y, grey in ((label, CASE_PX // 2 - 8, 0), (kind, CASE_PX // 2 + 22, 110)):
        (wide, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.7, 2)
        size = 0.7 * min(1, (_LABEL_PX - 20) / max(wide, 1))
        cv2.putText(strip, text, (10, y), cv2.FONT_HERSHEY_SIMPLEX, size, (grey,) * 3, 2, cv2.LINE_AA)
    return strip
