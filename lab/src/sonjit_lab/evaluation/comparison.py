"""Draw the results of several evaluations next to each other."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonjit._util import InputError
from sonjit_lab.datasets import Sample
from sonjit_lab.evaluation import predictions
from sonjit_lab.evaluation.drawn_samples import CASE_PX, draw_case
from sonjit_lab.evaluation.models import uses_windows
from sonjit_lab.evaluation.protocols import ProtocolData, load_protocol
from sonjit_lab.evaluation.report import slug

_LABEL_PX = 220


class _Run(NamedTuple):
    """One row of a comparison."""

    label: str
    kind: str
    record: predictions.EvaluationRecord
    items: dict[tuple[int, int], predictions.EvaluatedItem]  # by place of the sample, and instance
    values: dict[tuple[int, int], float]
    names: dict[int, tuple[str, str]]  # data set and id of the sample by place


def draw_comparison(
    runs: Sequence[tuple[str | None, Path]], root: Path, samples: Sequence[str] | None, columns: int
) -> NDArray[np.uint8]:
    """Draw (H, W, 3) uint8 with a row per label (None: the model's name) and folder, by default where they differ."""
    rows = [_load_run(label, folder) for label, folder in runs]
    first = rows[0].record
    for (_, folder), row in zip(runs, rows, strict=True):
        same_protocol = first["protocol"]["name"] == row.record["protocol"]["name"]
        if not same_protocol or first["data_sha256"] != row.record["data_sha256"]:
            what = "data" if same_protocol else "protocol"
            raise InputError(f"{folder} has another {what} than {runs[0][1]}; evaluate both with the same")
    keys = _select_keys(rows, samples, columns)
    chosen = [f"{item['set']}:{item['split']}" for item in first["data"]]
    options = first["data"][0].get("options")
    data = ProtocolData(load_protocol(first["protocol"]["name"]), root, chosen=chosen, options=options)
    cases = [(_sample_at(data, key[0], rows[0].names[key[0]]), key) for key in keys]
    pictures = [[draw_case(sample, index, None, bare=True) for sample, (_, index) in cases]]
    pictures += [
        [draw_case(sample, key[1], row.items[key].points_px, only_labels=True) for sample, key in cases] for row in rows
    ]
    labels = [("image", ""), *((row.label, row.kind) for row in rows)]
    lines = [np.concatenate([_heading(*label), *row], 1) for label, row in zip(labels, pictures, strict=True)]
    return np.concatenate(lines)


def _sample_at(data: ProtocolData, place: int, name: tuple[str, str]) -> Sample:
    """Return an evaluated sample, which is at a later place if the evaluation had a limit or left out bad samples."""
    samples = (data[row] for row in range(place, len(data)))
    if (
        sample := next((candidate for candidate in samples if (candidate.dataset, candidate.id) == name), None)
    ) is None:
        raise InputError(f"--root has no {name[1]} of {name[0]}; choose the folder of the evaluated data set")
    return sample


def _load_run(label: str | None, folder: Path) -> _Run:
    record = predictions.load_evaluation(folder / "eval.json")
    if len(record["runs"]) != 1:
        raise InputError(f"{folder}: has {len(record['runs'])} modes; evaluate with --mode")
    mode, model, units = record["runs"][0]["mode"], record["model"]["name"], record["runs"][0]["units"]
    journal = folder / f"evaluated-{slug(mode)}.jsonl"
    try:
        lines = [predictions.JournalLine.from_json(text) for text in journal.read_text("utf-8").splitlines()[1:]]
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise InputError(f"{journal}: cannot be read ({error}); evaluate again") from None
    keys = zip(units["place"], units["instance"], strict=True)
    return _Run(
        label=label or model,
        kind="sequence" if uses_windows(model) else "" if mode == "predictions" else "one image",
        record=record,
        items={(line.place, item.instance): item for line in lines for item in line.evaluated},
        values=dict(zip(keys, np.array(units["value"], np.float64).tolist(), strict=True)),
        names={line.place: (line.dataset, line.id) for line in lines},
    )


def _select_keys(rows: Sequence[_Run], samples: Sequence[str] | None, columns: int) -> list[tuple[int, int]]:
    shared = [key for key in rows[0].items if all(key in row.items for row in rows)]
    if samples is None:
        apart = {key: np.ptp([row.values.get(key, np.nan) for row in rows]) for key in shared}
        ranked = sorted((key for key in shared if np.isfinite(apart[key])), key=lambda key: -apart[key])
        if not ranked:
            protocol = rows[0].record["protocol"]["name"]
            reason = (
                f"{protocol} has one value for all images, and none by sample" if shared else "they share no sample"
            )
            raise InputError(f"the runs cannot be compared by sample: {reason}")
        return ranked[:columns]
    keys: list[tuple[int, int]] = []
    for name in samples:
        of = [key for key in shared if rows[0].names[key[0]][1] == name]
        if not of:
            such = rows[0].names[shared[0][0]][1]
            raise InputError(f"--samples {name}: not among those that all runs evaluated, such as {such}")
        keys += of
    return keys


def _heading(label: str, kind: str) -> NDArray[np.uint8]:
    """Draw a row's name (CASE_PX, _LABEL_PX, 3) with its input below."""
    import cv2

    strip = np.full((CASE_PX, _LABEL_PX, 3), 255, np.uint8)
    for text, y, grey in ((label, CASE_PX // 2 - 8, 0), (kind, CASE_PX // 2 + 22, 110)):
        (wide, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.7, 2)
        size = 0.7 * min(1, (_LABEL_PX - 20) / max(wide, 1))
        cv2.putText(strip, text, (10, y), cv2.FONT_HERSHEY_SIMPLEX, size, (grey,) * 3, 2, cv2.LINE_AA)
    return strip
