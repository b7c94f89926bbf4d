"""Run ablations of a recipe, and compare the results with a published table.

Each row is trained with each seed. The table of results is written as `ablation.json`, `ablation.md` and
`ablation.html`, with means and intervals over the seeds.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise, product
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

from sonjit._util import InputError, JobError, data_files, json_from
from sonjit.report import documents as docs
from sonjit_lab.training.recipes import Ablation, AblationRow, Recipe, TrainingRequest, load_recipe, prepare, run_recipe
from sonjit_lab.training.run_folder import RESULT, differing

SWEEP = "sweep"  # name of the grid of a sweep


class Mean(NamedTuple):
    """A mean over seeds with its 95 % interval by Student's t; the interval is NaN for one seed or a failed run."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class RowResult:
    """One row of a finished grid."""

    label: str  # label of the row
    values: tuple[float, ...]  # values of the metric by seed
    mean: Mean  # mean of the values, with its interval
    published: float | None  # value in the published table
    also: tuple[Mean, ...] = ()  # means of the other results in the table


@dataclass(frozen=True)
class AblationResult:
    """A finished grid."""

    recipe: str
    name: str
    grid: Ablation
    rows: tuple[RowResult, ...]
    smoke: bool


def run_ablation(
    request: TrainingRequest, name: str, announce: Callable[[str], None] = lambda line: None
) -> AblationResult:
    """Train every row with every seed, each in a subfolder of the request's folder; finished runs are not repeated.

    The request's settings apply to all rows, which are checked before any training. `announce` receives a line per run.
    """
    recipe = load_recipe(request.recipe)
    if name not in recipe.ablation:
        if not recipe.ablation:
            raise InputError(f"{recipe.name} has no ablations")
        raise InputError(f"{recipe.name}: Unknown ablation {name!r}. Choose from {', '.join(recipe.ablation)}")
    return _run_grid(recipe, request, name, recipe.ablation[name], announce)


def run_sweep(
    request: TrainingRequest,
    values: Mapping[str, Sequence[str]],
    metric: str,
    announce: Callable[[str], None] = lambda line: None,
) -> AblationResult:
    """Train every combination of values by setting, each in a subfolder; values of `seed` are averaged."""
    recipe = load_recipe(request.recipe)
    varied = {name: tuple(dict.fromkeys(texts)) for name, texts in values.items() if name != "seed"}
    rows = tuple(
        AblationRow(", ".join(f"{name} {value}" for name, value in row.items()) or "all settings", row)
        for row in (dict(zip(varied, combination, strict=True)) for combination in product(*varied.values()))
    )
    try:
        seeds = tuple(int(seed) for seed in values.get("seed", [str(request.settings.get("seed", 0))]))
    except ValueError:
        raise InputError(f"--sweep seed={','.join(values['seed'])}: seeds are integers") from None
    fixed = {name: value for name, value in request.settings.items() if name != "seed" or "seed" in values}
    grid = Ablation("Sweep", metric, rows, seeds=seeds)
    return _run_grid(recipe, replace(request, settings=fixed), SWEEP, grid, announce)


def _run_grid(
    recipe: Recipe, request: TrainingRequest, name: str, grid: Ablation, announce: Callable[[str], None]
) -> AblationResult:
    """Train every row of a grid with every seed."""
    varied = {key for row in grid.rows for key in (*row.set, *row.smoke_set)}
    if fixed := sorted(request.settings.keys() & {"seed", *varied}):
        raise InputError(f"--set {fixed[0]} cannot be combined with the ablation {name}, whose runs vary it")
    runs: dict[tuple[int, int], TrainingRequest] = {}
    for seed, (place, row) in product(grid.seeds, enumerate(grid.rows)):
        small, row_settings = (grid.smoke_settings, row.smoke_set) if request.smoke else ({}, {})
        settings = {**grid.settings, **small, **request.settings, **row.set, **row_settings, "seed": seed}
        slug = re.sub(r"\W+", "-", row.label.lower()).strip("-")
        run = replace(request, settings=settings, out=request.out / f"{place + 1}-{slug}-seed{seed}")
        prepare(recipe, run)
        runs[place, seed] = run
    results: dict[tuple[int, int], Mapping[str, object]] = {}
    for done, ((place, seed), run) in enumerate(runs.items(), 1):
        announce(f"{done} of {len(runs)}: {grid.rows[place].label}, seed {seed}")
        results[place, seed] = _finished_results(recipe, run) or run_recipe(run)
    rows: list[RowResult] = []
    for place, row in enumerate(grid.rows):
        own_results = [results[place, seed] for seed in grid.seeds]
        values = _numbers(own_results, grid.metric)
        also = tuple(mean_with_interval(_numbers(own_results, key)) for key in grid.also)
        rows.append(RowResult(row.label, values, mean_with_interval(values), row.published, also))
    return AblationResult(recipe.name, name, grid, tuple(rows), request.smoke)


def _finished_results(recipe: Recipe, run: TrainingRequest) -> Mapping[str, object] | None:
    """Return the results of a run, or None if it is not finished."""
    file = run.out / RESULT
    if not file.exists():
        return None
    saved = data_files.read_json(file)
    now = prepare(recipe, run)
    for name, value in (("settings", now.settings), ("inputs", now.inputs())):
        if differing(saved.get(name) or {}, json.loads(json_from(value, spaced=True, default=str))):
            raise InputError(f"{run.out}: contains a run with other {name} ({RESULT}). Choose another folder.")
    return {key: math.nan if value is None else value for key, value in saved["results"].items()}  # null is NaN


def _numbers(results: Sequence[Mapping[str, object]], key: str) -> tuple[float, ...]:
    numbers = [float(value) for result in results if isinstance(value := result.get(key), int | float)]
    if len(numbers) < len(results):
        raise JobError(f"Result {key!r} is missing or not a number. The recipe's results: {', '.join(results[0])}")
    return tuple(numbers)


def mean_with_interval(values: Sequence[float]) -> Mean:
    """Return a mean and its 95 % interval by Student's t.

    >>> Mean(*(round(value, 3) for value in mean_with_interval([1.0, 2.0, 3.0])))
    Mean(value=2.0, low=-0.484, high=4.484)
    """
    mean = fmean(values)
    if len(values) < 2 or not math.isfinite(mean):
        return Mean(mean, math.nan, math.nan)
    from scipy.stats import t

    half = float(t.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    return Mean(mean, mean - half, mean + half)


def order_of(result: AblationResult) -> tuple[bool | None, list[str]]:
    """Check whether all known means have the published order of rows, else None, and describe each step in a line.

    The differences of neighbours are taken seed by seed, with a 95 % interval by Student's t.
    """
    published_rows = [row for row in result.rows if row.published is not None]
    if len(published_rows) < 2 or not all(math.isfinite(row.mean.value) for row in published_rows):
        return None, []
    sign = 1 if result.grid.higher_is_better else -1
    ranked = sorted(published_rows, key=lambda row: -sign * (row.published or 0))
    has_published_order, lines = True, []
    for better, worse in pairwise(ranked):
        difference = mean_with_interval([sign * (a - b) for a, b in zip(better.values, worse.values, strict=True)])
        if better.published != worse.published:
            has_published_order = has_published_order and difference.value > 0
        sure = "sure" if difference.low > 0 else "sure the other way" if difference.high < 0 else "not sure"
        lines.append(
            f"{better.label} better than {worse.label} by {difference.value:.4g} "
            f"({difference.low:.4g} to {difference.high:.4g}): {sure} with {len(better.values)} seeds"
        )
    return has_published_order, lines


def record_of(result: AblationResult) -> dict[str, object]:
    """Return the content of ablation.json."""
    has_published_order, steps = order_of(result)
    of_grid = ("title", "metric", "unit", "higher_is_better", "source", "notes")
    return {
        "recipe": result.recipe,
        "ablation": result.name,
        "smoke": result.smoke,
        **{key: getattr(result.grid, key) for key in of_grid},
        "seeds": result.grid.seeds,
        "interval": "95 %, Student's t over seeds",
        "rows": [
            {
                **asdict(row),
                "mean": row.mean._asdict(),
                "also": [mean.value for mean in row.also],
                "also_intervals": [[mean.low, mean.high] for mean in row.also],
            }
            for row in result.rows
        ],
        "published_order_holds": has_published_order,
        "steps": steps,
    }


def save_ablation(result: AblationResult, out: Path) -> str:
    """Write ablation.json, ablation.md and ablation.html into an existing folder, and return the Markdown."""
    title = f"{result.grid.title} ({result.recipe}, {result.name})"
    blocks = list(_blocks(result))
    text = docs.markdown_from(title, blocks)
    record = json_from(record_of(result), indent=1) + "\n"
    page = docs.html_from(title, blocks)
    docs.save_files(out, {**docs.plots_of(blocks), "ablation.json": record, "ablation.md": text, "ablation.html": page})
    return text


def _digits(values: Iterable[float]) -> int:
    """Return the number of digits after the point of a column, so that its largest value has four."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0)
    return 2 if largest == 0 else max(0, 3 - math.floor(math.log10(largest)))


def _cells(mean: Mean, digits: int) -> tuple[str, str]:
    value, low, high = (docs.number(part, digits) for part in mean)
    return value, f"{low} to {high}"


def _blocks(result: AblationResult) -> Iterator[docs.Block]:
    grid, rows = result.grid, result.rows
    digits = _digits(row.mean.value for row in rows)
    digits_of_also = [_digits(row.also[index].value for row in rows) for index in range(len(grid.also))]
    published = any(row.published is not None for row in rows)
    if result.smoke:
        yield docs.Text("Smoke size: compare only the order of the rows, not the values.")
    unit = f", {grid.unit}" if grid.unit else ""
    further = (text for name in grid.also for text in (name, "95 % interval"))
    headings = ("", f"{grid.metric}{unit}", "95 % interval", "seeds", *further, *(("published",) if published else ()))
    lines: list[tuple[str, ...]] = []
    for row in rows:
        also = (
            text
            for mean, mean_digits in zip(row.also, digits_of_also, strict=True)
            for text in _cells(mean, mean_digits)
        )
        last = (docs.number(row.published, digits),) if published else ()
        lines.append((row.label, *_cells(row.mean, digits), str(len(row.values)), *also, *last))
    yield docs.Table(headings, tuple(lines))
    better = "Higher" if grid.higher_is_better else "Lower"
    direction = "" if result.name == SWEEP else f" {better} is better."
    yield docs.Text(f"Means over seeds {', '.join(map(str, grid.seeds))}, with intervals by Student's t.{direction}")
    if published:
        yield docs.Text(f"Published: {grid.source}.")
    has_published_order, steps = order_of(result)
    if has_published_order is not None:
        yield docs.Text("The published order holds." if has_published_order else "The published order does not hold.")
        yield docs.BulletList(tuple(steps))
    bars = [row.mean if math.isfinite(row.mean.value) else (math.nan,) * 3 for row in rows]
    yield docs.Plot(
        "ablation",
        docs.bars_svg([row.label for row in rows], bars, grid.unit, grid.title),
        f"{grid.title}: means and intervals",
    )
    if grid.notes:
        yield docs.Heading("Notes")
        yield docs.BulletList(grid.notes)
