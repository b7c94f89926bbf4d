"""`sonjit card`: model cards from evaluations."""

from __future__ import annotations

import json
import math
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from sonjit.errors import InputError

if TYPE_CHECKING:
    from sonjit.documents.document import Plot


def card(
    evaluations: Annotated[tuple[str, ...], Parameter(name="EVAL_JSON")] = (),
    /,
    *,
    out: str = "cards",
    groups: str | None = None,
    goal: float | None = None,
    fewest: int = 20,
    bench: str | None = None,
) -> int:
    """Write a card per model, in Markdown with Hugging Face's metadata and as a page.

    `sonjit card evaluation/eval.json --out cards --groups groups.csv --goal 2.56 --bench bench.json`

    Args:
        evaluations: Files that sonjit eval wrote, of one model or several.
        out: Folder for the cards.
        groups: CSV file with a column subject or sample, and one per factor: region, fitzpatrick, monk, gender, age.
        goal: How much worse than the average the worst group may be, in the figure's unit.
        fewest: Instances that a group needs to be judged.
        bench: File of sonjit bench --save, for latency.
    """
    from sonjit.documents.document import save_files
    from sonjit.evaluation.cards import CardRequest, card_files
    from sonjit.evaluation.groups import load_group_file
    from sonjit.evaluation.records import load_evaluation

    if not evaluations:
        raise InputError("name at least one eval.json of sonjit eval")
    if fewest < 2:
        raise InputError(f"--fewest {fewest}: give at least 2")
    records = [load_evaluation(Path(one)) for one in evaluations]
    request = CardRequest(
        groups=load_group_file(Path(groups)) if groups else (),
        goal=math.nan if goal is None else goal,
        fewest=fewest,
        bench=_json(Path(bench)) if bench else None,
        looks=_looks({record["model"]["name"] for record in records}),
    )
    files = card_files(records, request)
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {out}: {error.strerror}; name a folder that can be made") from None
    save_files(folder, files)
    names = sorted(name for name in files if name.endswith(".md"))
    sys.stderr.write(f"wrote {', '.join(str(folder / name) for name in names)}, each also as .html\n")
    return 0


def _looks(models: set[str]) -> dict[str, Plot]:
    """Where the published hand networks among the models look, those whose weights are here."""
    from sonjit.evaluation.looked import hand_maps_plot

    found: dict[str, Plot] = {}
    for model in sorted(models & {"hands-full", "hands-lite"}):
        with suppress(InputError):  # a card can do without
            found[model] = hand_maps_plot(model.removeprefix("hands-"))
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        data: Any = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"--bench {path}: cannot be read as JSON ({error})") from None
    if not isinstance(data, dict):
        raise InputError(f"--bench {path}: is no file of sonjit bench --save")
    return data
