"""Fit the scores, tasks and limits of the search to photographs labelled by eye, leaving out one source at a time.

    python benchmarks/fit_search.py record RECORD [--data ../shared/real] [--kinds hands,face,body]
    python benchmarks/fit_search.py fit RECORD [--kinds body] [--worth 0.000562] [--write]

`record` runs the complete search on all photographs and on changed copies, and keeps every candidate with its features.
`fit` fits a logistic regression for each kind to all copies, and prints recall and precision on left-out sources and
sets. `--write` writes `search.json` and, for hands, the likeness in `hand_heads.npz`. With `--write tasks`, faces or
bodies keep their scores.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import pickle
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

import sonjit
from sonjit.detectors.kinds.hand_heads import ASSET, shipped_arrays
from sonjit.detectors.kinds.hands import Hands, box_around_hand, load_hands
from sonjit.detectors.options import HandOptions
from sonjit.detectors.search import agenda, bodies, faces, hands, load, score
from sonjit.detectors.search.light import in_good_light
from sonjit.detectors.search.score import Budget
from sonjit.lab.datasets import Sample, open_dataset
from sonjit.lab.evaluation.detection import assign
from sonjit.results import LEAST_SIDE_SCORE

FILE = Path(score.__file__).with_name("search.json")
CONSTANTS = score.CONSTANTS
HEADS = Path(sonjit.__file__).parent / "_util" / "assets" / ASSET
SETS = ("wild", "wild2", "wild3")
MODULES = {"hands": hands, "face": faces, "body": bodies}
WHAT = {"hands": "hand", "face": "face", "body": "body"}
SCORES = {"hands": ("hand",), "face": ("face",), "body": ("body", "body_faced")}
"""Scores of each kind; the second is for candidates with a separate face."""
PRECISION = {"hands": 0.98, "face": 0.98, "body": 0.97}
"""Minimum precision on held-out sources at score 0.5."""
PENALTY = {"hands": 100.0, "face": 10.0, "body": 10.0}
TASK_PENALTY = 5.0
"""L2 penalty of standardised weights of the tasks."""
COMPONENTS = 12
"""Number of principal components of the pooled maps of hands from which the likeness is fitted."""
LITE_COMPONENTS = 24
"""Number of principal components of the lite model's pooled maps, which are fitted to the full model's likeness."""
ALLOWED = 20
HEAD = [0, 2, 5, 9, 10]
ALWAYS = ("faces", "faces1", "faces2")
"""Tasks with a fixed value, because scores depend on them."""
ON_THEIR_OWN = (
    "half",
    "half_turned",
    "third",
    "part1",
    "part2",
    "part3",
    "arm_turned",
    "arm_box",
    "body1",
    "head1",
    "head2",
)
"""Tasks whose gain and cost do not count for the task that added them."""
ALWAYS_FOUND = 0.2
"""Log odds above the threshold of candidates of the published search. See `LIMITS["published"]`."""
WORTHS = [0.0, *np.geomspace(1e-4, 1e-2, 17).tolist()]
SHARE = 0.965
"""Share of the instances of the complete search that the budgeted search finds."""
COMPLETE_LOSS = 0.02
"""Precision that the complete search may lose against the budgeted search."""
MEGAPIXEL = 0.7, 1.5
THRESHOLDS = np.linspace(-0.5, 3.5, 33)
"""Log odds that may become the threshold."""
SHIFTS = (0.0, -1.0, -0.5, 0.5, 1.0)
SIDE_FEATURES, SIDE_PENALTY = ("side", "arm"), 1.0
"""Features of the score that a hand is a left one, and the L2 penalty of their standardised weights."""


Place = tuple[str, str]
"""Set and file of a photograph."""


class Variant(NamedTuple):
    """A changed copy of each photograph.

    Attributes:
        scale: Size relative to the photograph.
        gamma: Exponent of the brightness.
        mirrored: True to exchange left and right.
        quality: JPEG quality, or None for no compression.
    """

    scale: float = 1.0
    gamma: float = 1.0
    mirrored: bool = False
    quality: int | None = None

    def image(self, rgb: np.ndarray) -> np.ndarray:
        """Return the copy of a photograph (H, W, 3)."""
        if self.scale != 1:
            smooth = cv2.INTER_AREA if self.scale < 1 else cv2.INTER_CUBIC
            rgb = cv2.resize(rgb, None, fx=self.scale, fy=self.scale, interpolation=smooth)
        if self.gamma != 1:
            rgb = (255 * (rgb / 255) ** self.gamma).round().astype(np.uint8)
        if self.mirrored:
            rgb = np.ascontiguousarray(rgb[:, ::-1])
        if self.quality is not None:
            data = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, self.quality])[1]
            rgb = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
        return rgb

    def placed(self, keypoints: np.ndarray, width: int) -> np.ndarray:
        """Return keypoints (K, 2 or more) of a copy of some width in pixels of the photograph."""
        keypoints = keypoints.copy()
        if self.mirrored:
            keypoints[:, 0] = width - keypoints[:, 0]
        return keypoints / self.scale


VARIANTS = (
    Variant(scale=0.6),
    Variant(mirrored=True, quality=30),
    Variant(scale=1.35, quality=50),
    Variant(scale=0.8, gamma=1.8, mirrored=True),
)
"""Copies that scores are fitted to, in addition to the photographs."""


class Candidate(NamedTuple):
    """A candidate of the complete search.

    Attributes:
        keypoints: (K, 2 or more) pixels of the photograph.
        features: Features by name.
        task: Index of the task that led to it.
        published: True if the published search finds it.
        pooled: (C,) float16 pooled map of a hand, averaged over its views.
        pooled_lite: The same from the lite model.
    """

    keypoints: np.ndarray
    features: Mapping[str, float]
    task: int
    published: bool
    pooled: np.ndarray | None = None
    pooled_lite: np.ndarray | None = None


class Recorded(NamedTuple):
    """Record of the complete search of a photograph.

    Attributes:
        log: Name, features and parent of each task.
        finds: All candidates.
        variants: All candidates of each of `VARIANTS`.
        times: Processor time of each task in milliseconds.
        fast: Processor time of the published search in milliseconds.
        rest: Other processor time in milliseconds.
    """

    log: list[tuple[str, Mapping[str, float], int]]
    candidates: list[Candidate]
    variants: list[list[Candidate]]
    times: list[float]
    fast: float
    rest: float


class Row(NamedTuple):
    """A candidate and its label.

    Attributes:
        place: Set and file of the photograph.
        label: 1 for an instance, 0 for a false detection, -1 for an unclear label.
        instance: Index of the label that it fits, or -1.
        published: See `Candidate`. After suppression, True if the published search finds the instance.
        keypoints, features, task, pooled, pooled_lite: See `Candidate`.
    """

    place: Place
    label: int
    instance: int
    keypoints: np.ndarray
    features: Mapping[str, float]
    task: int
    published: bool
    pooled: np.ndarray | None
    pooled_lite: np.ndarray | None

    @property
    def part(self) -> int:
        """Index of the score in `SCORES`."""
        return int(self.features.get("own_head", -1) >= 0)


def features_of(score_name: str) -> tuple[str, ...]:
    """Return the features of a score. The likeness of hands is fitted from their pooled maps."""
    return tuple(name for name in CONSTANTS["scores"][score_name]["weights"] if name != "likeness")


def photographs(data: Path) -> dict[Place, Sample]:
    """Return all photographs by set and file."""
    return {(name, sample.id): sample for name in SETS for sample in open_dataset("photographs", data / name)}


def sources(data: Path) -> dict[Place, str]:
    """Return the source of each photograph: its repository. All photographs of a source are left out together."""
    found: dict[Place, str] = {}
    for name in SETS:
        file = data / name / "sources.json"
        if file.is_file():
            repositories = json.loads(file.read_text("utf-8"))
            found |= {(name, image): entry["repo"].rstrip("/") for image, entry in repositories.items()}
        else:
            images = json.loads((data / name / "hands.json").read_text("utf-8"))
            prefixes = {"mps_": "mediapipe-samples", "hm_": "HandMesh"}
            for image in images:
                found[name, image] = next((r for p, r in prefixes.items() if image.startswith(p)), "human")
    return found


def record(data: Path, kinds: Sequence[str], target: Path) -> None:
    """Run the complete search without suppression. Record all candidates and the processor time of the tasks.

    The faces below which bodies are searched are those of `search="auto"`.
    """
    times: dict[int, float] = {}
    add = agenda.Agenda.add

    def add_timed(self: agenda.Agenda, name: str, task: Callable[[], None], features: Any) -> None:
        def timed() -> None:
            start, index = time.process_time(), self.current
            task()
            times[index] = 1e3 * (time.process_time() - start)

        add(self, name, timed if self.table is CONSTANTS["tasks"][kind] else task, features)

    found: list[agenda.Found[Any]] = []
    as_still_search = load.as_still_search

    def as_kept_search(search: Callable[[Any], agenda.Found[Any]], options: Any) -> Any:
        def keep(rgb: np.ndarray) -> agenda.Found[Any]:
            found[:] = [search(rgb)]
            return found[0]

        return as_still_search(keep, options)

    def budget_of(options: Any, name: str) -> Budget:
        return Budget.of(name, "auto" if name == "body_faces" else options.search, options.max_instances)

    agenda.Agenda.add = add_timed  # type: ignore[method-assign]
    load._budget = budget_of  # type: ignore[attr-defined]
    load.as_still_search = as_kept_search  # type: ignore[assignment]
    kept = pickle.loads(target.read_bytes()) if target.is_file() else {}
    for kind in kinds:
        kept[kind] = {}
        MODULES[kind].without_duplicates = lambda candidates, *_: list(candidates)  # type: ignore[attr-defined]
        make = partial(sonjit.create_detector, kind, static_image=True, max_instances=1000, threads=1, precision="f32")
        lite = (
            load_hands(HandOptions(kind="hands", model="lite", static_image=True, precision="f32"))
            if kind == "hands"
            else None
        )
        with make(search="fast") as fast, make(search="thorough") as detector:
            samples = {at: sample for at, sample in photographs(data).items() if WHAT[kind] in sample.tags["labelled"]}
            first = next(iter(samples.values())).rgb()
            for warmed in (fast, detector):
                warmed.detect(first)  # networks are loaded when first used
            for place, sample in samples.items():
                rgb = sample.rgb()
                start = time.process_time()
                fast.detect(rgb)
                middle = time.process_time()
                times.clear()
                detector.detect(rgb)
                end = time.process_time()
                log = [tuple(task) for task in found[0].log]
                task_times = [times[index] for index in range(len(log))]
                candidates = [candidate(find, rgb, lite) for find in found[0].candidates]
                variants: list[list[tuple[Any, ...]]] = []
                for variant in VARIANTS:
                    copy = variant.image(rgb)
                    detector.detect(copy)
                    own = [candidate(find, copy, lite) for find in found[0].candidates]
                    placed = [moved._replace(keypoints=variant.placed(moved.keypoints, copy.shape[1])) for moved in own]
                    variants.append([tuple(moved) for moved in placed])
                kept[kind][place] = (
                    log,
                    [tuple(found_candidate) for found_candidate in candidates],
                    variants,
                    task_times,
                    1e3 * (middle - start),
                    1e3 * (end - middle) - sum(task_times),
                )
        MODULES[kind].without_duplicates = agenda.without_duplicates  # type: ignore[attr-defined]
        target.write_bytes(pickle.dumps(kept))
    load.as_still_search = as_still_search


def candidate(find: agenda.Candidate[Any], rgb: np.ndarray, lite: Hands | None) -> Candidate:
    """Return the recorded fields of a candidate."""
    own = find.last.keypoints, find.features, find.task, find.published
    if lite is None:
        return Candidate(*own)
    light, box = in_good_light(rgb), box_around_hand(find.last.keypoints)
    views = [lite.observe(light, box), hands.observe_mirrored(lite, light, box)]
    return Candidate(*own, pooled(find.views), pooled(views))


def pooled(views: Sequence[Any]) -> np.ndarray:
    """Return the mean (C,) float16 of the pooled maps of some views."""
    return np.mean([view.pooled for view in views], axis=0).astype(np.float16)


def clipped(keypoints: np.ndarray, sample: Sample) -> tuple[float, float, float, float]:
    """Return the box around keypoints within an image."""
    (x_min, y_min), (x_max, y_max) = keypoints[:, :2].min(0).tolist(), keypoints[:, :2].max(0).tolist()
    return max(x_min, 0.0), max(y_min, 0.0), min(x_max, float(sample.width)), min(y_max, float(sample.height))


class Labels:
    """Labels of one kind in a photograph."""

    def __init__(self, sample: Sample, what: str) -> None:
        own = [instance for instance in sample.instances if instance.kind == what]
        self.crowds = [box for instance in own if instance.crowd and (box := instance.bounds())]
        labels = [(box, instance) for instance in own if not instance.crowd and (box := instance.bounds())]
        self.boxes = [box for box, _ in labels]
        self.clear = [bool(instance.extra.get("clear", True)) for _, instance in labels]
        self.sides = [instance.side for _, instance in labels]
        following = zip(sample.instances, sample.instances[1:], strict=False)
        faces_of = {id(body): other.bounds() for body, other in following if other.kind == "face"}
        self.faces = [faces_of.get(id(instance)) for _, instance in labels] if what == "body" else []

    def of(self, box: tuple[float, float, float, float], keypoints: np.ndarray) -> tuple[int, int]:
        """Return label and instance of a candidate. See `Row`. A body with another person's face is false."""
        assigned = assign([(box, 1.0)], self.boxes, self.crowds)
        if assigned.found:
            (instance,) = assigned.found
            fits = [i for i, other in enumerate(self.boxes) if assign([(box, 1.0)], [other]).found]
            if self.faces:
                head = keypoints[HEAD, :2].mean(axis=0).tolist()
                fits = [i for i in fits if is_near(head, self.faces[i])]
                if not fits:
                    return 0, -1
                instance = instance if instance in fits else fits[0]
            clear = [i for i in fits if self.clear[i]]
            return (1, clear[0] if instance not in clear else instance) if clear else (-1, instance)
        return (0 if assigned.false else -1), -1


def is_near(point: Sequence[float], box: Sequence[float] | None) -> bool:
    """Check whether a point lies in a box that is enlarged by half. Return True without a box."""
    if box is None:
        return True
    (x, y), (x_min, y_min, x_max, y_max) = point, box
    return abs(x - (x_min + x_max) / 2) < 0.75 * (x_max - x_min) and abs(y - (y_min + y_max) / 2) < 0.75 * (
        y_max - y_min
    )


class Regression(NamedTuple):
    """A logistic regression of named features."""

    names: tuple[str, ...]
    weights: np.ndarray
    bias: float

    @classmethod
    def fitted(cls, names: Sequence[str], x: np.ndarray, y: np.ndarray, penalty: float) -> Regression:
        """Fit with Newton's method. The penalty applies to standardised weights."""
        middle, scale = x.mean(0), x.std(0) + 1e-6
        a = np.c_[(x - middle) / scale, np.ones(len(x))]
        ridge = np.r_[np.full(x.shape[1], penalty), 1e-6]
        b = np.zeros(a.shape[1])
        for _ in range(50):
            p = 1 / (1 + np.exp(-np.clip(a @ b, -30, 30)))
            step = np.linalg.solve((a * (p * (1 - p))[:, None]).T @ a + np.diag(ridge), a.T @ (p - y) + ridge * b)
            b -= step
            if abs(step).max() < 1e-8:
                break
        weights = b[:-1] / scale
        return cls(tuple(names), weights, float(b[-1] - weights @ middle))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return log odds."""
        return x @ self.weights + self.bias

    def as_json(self) -> dict[str, Any]:
        """Return the entry of `search.json`."""
        return {
            "bias": round(self.bias, 4),
            "weights": {n: round(float(w), 4) for n, w in zip(self.names, self.weights, strict=True)},
        }


class Counts(NamedTuple):
    """Counts of detections.

    Attributes:
        clear: Number of labelled instances.
        found: Number of these that are found.
        wrong: Number of false and duplicate detections.
        forced: Number of these that are kept because the published search finds them.
    """

    clear: int
    found: int
    wrong: int
    forced: int

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> Counts:
        """Count the detections of some photographs."""
        each = [
            (
                sum(outcome.labels.clear),
                sum(outcome.labels.clear[label] for label in outcome.found),
                len(outcome.wrong),
                sum(outcome.finds[index][0] <= 0 for index in outcome.wrong),
            )
            for outcome in outcomes
        ]
        return cls(*(sum(column) for column in zip(*each, strict=True)))

    @property
    def precision(self) -> float:
        """Share of correct detections."""
        return self.found / max(self.found + self.wrong, 1)

    @property
    def precision_of_score(self) -> float:
        """Precision without the detections that are kept in spite of their score."""
        return self.found / max(self.found + self.wrong - self.forced, 1)

    def __str__(self) -> str:
        recall = self.found / max(self.clear, 1)
        return (
            f"{self.found}/{self.clear} ({recall:.1%}), {self.wrong} wrong ({self.forced} as published), "
            f"precision {self.precision:.1%}"
        )


class Seen(NamedTuple):
    """Keypoints of a candidate."""

    keypoints: np.ndarray


Kept = Mapping[Place, Sequence[tuple[float, Row]]]
"""Log odds and candidates after suppression, by photograph."""
Outcomes = dict[Place, "Outcome"]


def kept_rows(rows: Sequence[Row], odds: np.ndarray, kind: str) -> list[tuple[float, Row]]:
    """Suppress duplicates in one photograph. Return the log odds and rows of the others, best first."""
    candidates: list[Any] = []
    for row, value in zip(rows, odds, strict=True):
        find = agenda.Candidate([Seen(row.keypoints)], 0.0, set(), published=row.published)  # type: ignore[type-var]
        find.features, find.score = {**row.features, "row": float(len(candidates))}, float(value)
        candidates.append(find)
    is_same: Any = bodies.is_same_person if kind == "body" else agenda.is_duplicate
    kept = agenda.without_duplicates(candidates, is_same)
    return [(f.score, rows[int(f.features["row"])]._replace(published=f.replaced is not None)) for f in kept]


class Outcome(NamedTuple):
    """Detections of one photograph.

    Attributes:
        labels: Labels of the photograph.
        finds: Log odds above the threshold and rows, best first.
        found: Index of the detection by index of the label.
        wrong: Indices of false and duplicate detections.
    """

    labels: Labels
    finds: Sequence[tuple[float, Row]]
    found: Mapping[int, int]
    wrong: Sequence[int]


def outcomes_of(kept: Kept, labels: Mapping[Place, Labels], samples: Mapping[Place, Sample], least: float) -> Outcomes:
    """Return the detections above a threshold in log odds and those of the published search, assigned to the labels."""
    outcomes: Outcomes = {}
    for place, own in labels.items():
        chosen = [(value - least, row) for value, row in kept.get(place, ()) if value > least or row.published]
        finds = sorted(chosen, key=lambda find: -max(find[0], 0.0))[:ALLOWED]
        boxes = [(clipped(row.keypoints, samples[place]), value) for value, row in finds]
        assigned = assign(boxes, own.boxes, own.crowds)
        outcomes[place] = Outcome(own, finds, assigned.found, [*assigned.false, *assigned.doubled])
    return outcomes


class Table(NamedTuple):
    """Candidates as arrays.

    Attributes:
        x: (N, F) features.
        pooled: (N, C) pooled maps of hands, else (N, 0).
        y: (N,) labels; see `Row`.
    """

    x: np.ndarray
    pooled: np.ndarray
    y: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[Row], names: Sequence[str]) -> Table:
        """Return the table of some candidates with the named features."""
        x = np.array([[row.features[name] for name in names] for row in rows])
        empty = np.zeros(0)
        maps = np.array([empty if row.pooled is None else row.pooled for row in rows], np.float64)
        return cls(x, maps, np.array([row.label for row in rows]))

    def take(self, chosen: np.ndarray) -> Table:
        """Return chosen rows."""
        return Table(*(column[chosen] for column in self))


class Model(NamedTuple):
    """A fitted score.

    Attributes:
        regression: Regression of the features, and of the likeness with weight 1.
        likeness: Weights (C,) of the pooled map, or (0,).
        likeness_bias: Constant term of the likeness, which is 0 on average.
    """

    regression: Regression
    likeness: np.ndarray
    likeness_bias: float

    @classmethod
    def fitted(cls, names: Sequence[str], table: Table, penalty: float) -> Model:
        """Fit to all rows with a clear label."""
        own = table.take(table.y >= 0)
        middle = own.pooled.mean(0)
        columns = principal_components(own.pooled - middle, COMPONENTS)
        x = np.c_[own.x, (own.pooled - middle) @ columns]
        fit = Regression.fitted(names, x, own.y, penalty)
        likeness = columns @ fit.weights[len(names) :]
        weights = fit.weights[: len(names)]
        if len(likeness):
            names, weights = (*names, "likeness"), np.r_[weights, 1.0]
        return cls(Regression(tuple(names), weights, fit.bias), likeness, float(-middle @ likeness))

    def __call__(self, table: Table) -> np.ndarray:
        """Return log odds (N,)."""
        likeness = table.pooled @ self.likeness + self.likeness_bias
        return self.regression(np.c_[table.x, likeness] if len(self.likeness) else table.x)


def principal_components(centred: np.ndarray, count: int) -> np.ndarray:
    """Return the first principal components (C, `count`) of centred data (N, C), each with variance 1."""
    if not centred.shape[1]:
        return np.zeros((0, 0))
    variances, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    return vectors[:, -count:] / np.sqrt(variances[-count:])


def likeness_of_lite(model: Model, rows: Sequence[Row]) -> dict[str, np.ndarray]:
    """Return the likeness of both models as arrays of `hand_heads.npz`. The lite one is fitted to the full one."""
    maps = np.array([row.pooled for row in rows], np.float64)
    target = maps @ model.likeness + model.likeness_bias
    lite = np.array([row.pooled_lite for row in rows], np.float64)
    middle = lite.mean(0)
    columns = principal_components(lite - middle, LITE_COMPONENTS)
    weights = columns @ np.linalg.lstsq((lite - middle) @ columns, target - target.mean(), rcond=None)[0]
    fitted = (lite - middle) @ weights + target.mean()
    print(f"  likeness of the lite model: correlation {np.corrcoef(fitted, target)[0, 1]:.3f}")
    bias = target.mean() - middle @ weights
    return {
        "full.likeness": model.likeness,
        "full.likeness_bias": np.array([model.likeness_bias]),
        "lite.likeness": weights,
        "lite.likeness_bias": np.array([bias]),
    }


def rows_of(place: Place, candidates: Sequence[Candidate], labels: Labels, sample: Sample) -> list[Row]:
    """Return the candidates of one photograph with their labels."""
    return [
        Row(place, *labels.of(clipped(found_candidate.keypoints, sample), found_candidate.keypoints), *found_candidate)
        for found_candidate in candidates
    ]


def shipped_odds(kind: str, rows: Sequence[Row]) -> np.ndarray:
    """Return the log odds (N,) of faces or bodies by the scores in `search.json`."""
    scores = [CONSTANTS["scores"][name] for name in SCORES[kind]]

    def odds(row: Row) -> float:
        own = scores[row.part]
        return own["bias"] + sum(weight * row.features[name] for name, weight in own["weights"].items())

    return np.array([odds(row) for row in rows])


def fit_kind(
    kind: str, recorded: Any, data: Path, worths: Sequence[float] = WORTHS, *, keep_scores: bool = False
) -> dict[str, Any]:
    """Fit one kind. Print recall and precision on held-out sources, and return its parts of `search.json`.

    With `keep_scores`, the returned tasks are those for the scores in `search.json`.
    """
    fit = KindFit(kind, recorded, data)
    fit.fit_scores()
    return fit.fitted(worths, keep_scores=keep_scores)


class KindFit:
    """Fit of one kind.

    Args:
        kind: Kind of detector.
        recorded: Its part of the record.
        data: Folder of the photographs.
    """

    def __init__(self, kind: str, recorded: Any, data: Path) -> None:
        self.kind = kind
        self.recorded = {
            place: Recorded(log, candidates_of(own), [candidates_of(variant) for variant in variants], *times)
            for place, (log, own, variants, *times) in recorded.items()
        }
        self.samples, source = photographs(data), sources(data)
        self.labels = {place: Labels(self.samples[place], WHAT[kind]) for place in self.recorded}
        self.rows = [row for place, searched in self.recorded.items() for row in self._rows(place, searched.candidates)]
        self.copies = [
            row
            for place, searched in self.recorded.items()
            for own in searched.variants
            for row in self._rows(place, own)
        ]
        self.part = np.array([row.part for row in self.rows])
        self.groups = {
            "source left out": {place: source[place] for place in self.recorded},
            "set left out": {place: place[0] for place in self.recorded},
        }
        self.finals: list[Model] = []
        self.odds = {name: np.zeros(len(self.rows)) for name in ("fitted", *self.groups)}
        self.shift = 0.0
        self.complete: list[Counts] = []

    def _rows(self, place: Place, candidates: Sequence[Candidate]) -> list[Row]:
        return rows_of(place, candidates, self.labels[place], self.samples[place])

    def fit_scores(self) -> None:
        """Fit the scores to all photographs, and without each group for its own candidates."""
        everything = [*self.rows, *self.copies]
        every_part = np.array([row.part for row in everything])
        for number, score_name in enumerate(SCORES[self.kind]):
            names = features_of(score_name)
            table, own, mine = Table.of(everything, names), every_part == number, self.part == number
            self.finals.append(Model.fitted(names, table.take(own), PENALTY[self.kind]))
            self.odds["fitted"][mine] = self.finals[-1](table.take(np.flatnonzero(mine)))
            for name, group_of in self.groups.items():
                groups = np.array([group_of[row.place] for row in everything])
                for left_group in sorted(set(groups)):
                    test = np.flatnonzero((groups[: len(self.rows)] == left_group) & mine)
                    model = Model.fitted(names, table.take((groups != left_group) & own), PENALTY[self.kind])
                    self.odds[name][test] = model(table.take(test))
        shifts = SHIFTS if len(self.finals) > 1 else SHIFTS[:1]  # of the second score relative to the first
        left_out = self.odds["source left out"]
        by_shift = {shift: self.counts(left_out - shift * (self.part == 1)) for shift in shifts}
        self.shift = max(shifts, key=lambda shift: self.best_of(by_shift[shift], by_shift[shift])[0].found)
        self.complete = by_shift[self.shift]
        for odds in self.odds.values():
            odds -= self.shift * (self.part == 1)

    def kept(self, odds: np.ndarray, chosen: np.ndarray | None = None) -> Kept:
        """Suppress the duplicates among all or some candidates."""
        at: dict[Place, list[int]] = {}
        for index, row in enumerate(self.rows):
            if chosen is None or chosen[index]:
                at.setdefault(row.place, []).append(index)
        return {place: kept_rows([self.rows[i] for i in own], odds[own], self.kind) for place, own in at.items()}

    def outcomes(self, kept: Kept, least: float) -> Outcomes:
        """See `outcomes_of`."""
        return outcomes_of(kept, self.labels, self.samples, least)

    def counts(self, odds: np.ndarray, chosen: np.ndarray | None = None) -> list[Counts]:
        """Count the detections at each threshold."""
        kept = self.kept(odds, chosen)
        return [Counts.of(self.outcomes(kept, least).values()) for least in THRESHOLDS]

    def best_of(self, found: Sequence[Counts], complete: Sequence[Counts]) -> tuple[Counts, float]:
        """Return the best counts at the required precision, and their threshold in log odds."""
        least = PRECISION[self.kind], PRECISION[self.kind] - COMPLETE_LOSS
        precise = [
            i
            for i in range(len(THRESHOLDS))
            if found[i].precision_of_score >= least[0] and complete[i].precision_of_score >= least[1]
        ]
        best = max(precise or [len(THRESHOLDS) - 1], key=lambda i: found[i].found)
        return found[best], float(THRESHOLDS[best])

    def tasks_without(self, groups: Mapping[Place, str], odds: np.ndarray) -> dict[Place, dict[str, Any]]:
        """Return the tasks of each photograph, fitted without its group."""
        by_group: dict[str, dict[str, Any]] = {}
        for group in set(groups.values()):
            others = {place: searched for place, searched in self.recorded.items() if groups[place] != group}
            own = [i for i, row in enumerate(self.rows) if row.place in others]
            by_group[group] = fit_tasks(self.kind, others, [self.rows[i] for i in own], odds[own], quiet=True)
        return {place: by_group[group] for place, group in groups.items()}

    def rows_done(self, done: Mapping[Place, set[int]]) -> np.ndarray:
        """Return whether the tasks that ran found each candidate (N,)."""
        return np.array([row.task < 0 or row.task in done[row.place] for row in self.rows])

    def fitted(self, worths: Sequence[float], *, keep_scores: bool) -> dict[str, Any]:
        """Fit tasks and budget. Print the results, and return the parts of `search.json`. See `fit_kind`."""
        least = self.best_of(self.complete, self.complete)[1]
        odds = shipped_odds(self.kind, self.rows) if keep_scores else self.odds["fitted"] - least
        tasks = fit_tasks(self.kind, self.recorded, self.rows, odds)
        tasks_by = {name: self.tasks_without(groups, self.odds[name] - least) for name, groups in self.groups.items()}
        tasks_by = {"fitted": dict.fromkeys(self.recorded, tasks), **tasks_by}

        def count(done: Mapping[Place, set[int]]) -> tuple[Counts, float]:
            return self.best_of(self.counts(self.odds["source left out"], self.rows_done(done)), self.complete)

        without = tasks_by["source left out"]
        budget, chosen = fit_budget(self.recorded, tasks, without, self.samples, count, worths)
        count_of = Counter(row.label for row in self.rows)
        print(f"{self.kind}: {count_of[1]} right and {count_of[0]} wrong candidates; {chosen:.2f} becomes 0")
        scores: dict[str, Any] = {}
        for name in self.odds:
            done = {
                place: tasks_done(searched, tasks_by[name][place], budget["worth"])
                for place, searched in self.recorded.items()
            }
            outcomes = self.print_results(name, self.rows_done(done), chosen)
            if name == "source left out" and self.kind == "hands":
                scores["side"] = fit_side(sided_rows(outcomes.values()), self.groups)
        scores |= {
            score_name: model.regression._replace(bias=model.regression.bias - chosen - number * self.shift).as_json()
            for number, (score_name, model) in enumerate(zip(SCORES[self.kind], self.finals, strict=True))
        }
        heads = likeness_of_lite(self.finals[0], [*self.rows, *self.copies]) if self.kind == "hands" else {}
        return {"heads": heads, "scores": scores, "tasks": {self.kind: tasks}, "budgets": {self.kind: budget}}

    def print_results(self, name: str, ran: np.ndarray, chosen: float) -> Outcomes:
        """Print and return the results of the budgeted search.

        Args:
            name: Name of the odds.
            ran: (N,) whether the budgeted search finds each candidate.
            chosen: Threshold in log odds.
        """
        odds = self.odds[name]
        outcomes = self.outcomes(self.kept(odds, ran), chosen)
        print(f"  {name:16s} budgeted {Counts.of(outcomes.values())}")
        print(f"  {'':16s} complete {Counts.of(self.outcomes(self.kept(odds), chosen).values())}")
        for part_of in SETS if name != "fitted" else ():
            own = [outcome for place, outcome in outcomes.items() if place[0] == part_of]
            print(f"    {part_of}: {Counts.of(own)}")
        if name == "source left out":
            print("  reliability:", reliability(outcomes.values()))
            wrong = [
                f"{place[1]} {outcome.finds[i][0]:.1f}" for place, outcome in outcomes.items() for i in outcome.wrong
            ]
            print("  wrong:", ", ".join(wrong))
            reasons = Counter(self.reasons_of_misses(outcomes, odds - chosen, ran))
            print("  missed:", ", ".join(f"{count} {reason}" for reason, count in reasons.most_common()))
        return outcomes

    def reasons_of_misses(self, outcomes: Outcomes, odds: np.ndarray, ran: np.ndarray) -> list[str]:
        """Return why each missed instance is missed.

        Args:
            outcomes: Detections by photograph.
            odds: (N,) log odds of the candidates relative to the threshold.
            ran: (N,) whether the budgeted search finds each candidate.
        """
        of: dict[tuple[Place, int], list[int]] = {}
        for index, row in enumerate(self.rows):
            of.setdefault((row.place, row.instance), []).append(index)
        reasons: list[str] = []
        for place, outcome in outcomes.items():
            for instance, clear in enumerate(outcome.labels.clear):
                if not clear or instance in outcome.found:
                    continue
                own = of.get((place, instance), [])
                if not own:
                    reasons.append("without a candidate")
                elif not ran[own].any():
                    reasons.append("beyond the budget")
                elif odds[own][ran[own]].max() <= 0:
                    reasons.append("with a low score")
                else:
                    reasons.append("suppressed as duplicates")
        return reasons


def candidates_of(recorded: Sequence[Sequence[Any]]) -> list[Candidate]:
    """Return recorded candidates."""
    return [Candidate(*values) for values in recorded]


def reliability(outcomes: Iterable[Outcome]) -> str:
    """Return the share of correct detections by score."""
    scores: list[tuple[float, bool]] = []
    for outcome in outcomes:
        right = {find for label, find in outcome.found.items() if outcome.labels.clear[label]}
        values = [max(value, ALWAYS_FOUND * row.published) for value, row in outcome.finds]
        scores += [(1 / (1 + math.exp(-values[i])), i in right) for i in sorted(right | {*outcome.wrong})]
    edges = (0.5, 0.6, 0.7, 0.8, 0.9, 1.001)
    parts = [(low, [ok for value, ok in scores if low <= value < high]) for low, high in itertools.pairwise(edges)]
    return ", ".join(f"{low:g}+: {sum(ok)}/{len(ok)}" for low, ok in parts if ok)


def sided_rows(outcomes: Iterable[Outcome]) -> list[tuple[Row, bool]]:
    """Return the found hands with a clear label and a labelled side, and whether each is a left hand."""
    return [
        (outcome.finds[find][1], outcome.labels.sides[label] == "Left")
        for outcome in outcomes
        for label, find in outcome.found.items()
        if outcome.labels.clear[label] and outcome.labels.sides[label]
    ]


def fit_side(
    sided: Sequence[tuple[Row, bool]], groups: Mapping[str, Mapping[Place, str]]
) -> dict[str, float | Mapping[str, float]]:
    """Fit the score that a hand is a left one. Print how often the side is right, also with groups left out.

    Args:
        sided: Hands, and whether each is a left hand.
        groups: Groups of the photographs that are left out together, by name.
    """
    x = np.array([[row.features[feature] for feature in SIDE_FEATURES] for row, _ in sided])
    is_left = np.array([left for _, left in sided])

    def fitted(own: np.ndarray) -> Regression:
        both = np.r_[is_left[own], ~is_left[own]].astype(float)  # of each hand and its mirror image
        return Regression.fitted(SIDE_FEATURES, np.r_[x[own], -x[own]], both, SIDE_PENALTY)

    shipped = CONSTANTS["scores"]["side"]["weights"]
    every = fitted(np.ones(len(x), bool))
    odds = {"as shipped": x @ [shipped[feature] for feature in SIDE_FEATURES], "fitted": every(x)}
    for name, group_of in groups.items():
        of, odds[name] = np.array([group_of[row.place] for row, _ in sided]), np.zeros(len(x))
        for group in sorted(set(of)):
            odds[name][of == group] = fitted(of != group)(x[of == group])
    for name, values in odds.items():
        right, known = (values > 0) == is_left, abs(values) >= math.log(LEAST_SIDE_SCORE / (1 - LEAST_SIDE_SCORE))
        print(
            f"  handedness, {name}: {right.sum()}/{len(x)} ({right.mean():.1%}), "
            f"hand.side {(right & known).sum()}/{known.sum()} ({right[known].mean():.1%})"
        )
    return every.as_json()


def tasks_done(searched: Recorded, tasks: Mapping[str, Any], worth: float) -> set[int]:
    """Return the tasks of a search that skips tasks of less value and those that they would have added."""
    done: set[int] = set()
    for index, (name, features, parent) in enumerate(searched.log):
        table = tasks[name]
        own = score.Score(table["bias"], table["weights"])(features) / table["follow_up"]
        if (parent < 0 or parent in done) and own >= worth:
            done.add(index)
    return done


def fit_budget(
    recorded: Mapping[Place, Recorded],
    tasks: Mapping[str, Any],
    left_out: Mapping[Place, Mapping[str, Any]],
    samples: Mapping[Place, Sample],
    count: Callable[[Mapping[Place, set[int]]], tuple[Counts, float]],
    worths: Sequence[float],
) -> tuple[dict[str, float], float]:
    """Return the budget with the highest minimum worth that keeps `SHARE` of the instances, and the threshold.

    Args:
        recorded: Complete search of each photograph.
        tasks: Fitted tasks.
        left_out: Tasks of each photograph, fitted without its source.
        samples: Photographs, to select those of about a megapixel for the times.
        count: Function that returns counts and threshold for the candidates of some tasks of each photograph.
        worths: Minimum worths to try.
    """
    tried: list[tuple[Counts, dict[str, float], float]] = []
    low, high = MEGAPIXEL
    for worth in worths:
        done = {place: tasks_done(searched, tasks, worth) for place, searched in recorded.items()}
        cost = max(sum(tasks[searched.log[i][0]]["cost"] for i in done[place]) for place, searched in recorded.items())
        done_without = {place: tasks_done(searched, left_out[place], worth) for place, searched in recorded.items()}
        found, threshold = count(done_without)
        tried.append((found, {"cost": float(math.ceil(cost)), "worth": round(worth, 6)}, threshold))
        ratios = np.array(
            [
                (searched.rest + sum(searched.times[i] for i in done[place])) / searched.fast
                for place, searched in recorded.items()
                if low <= samples[place].width * samples[place].height / 1e6 <= high
            ]
        )
        print(f"  worth {worth:.6f}: {found}; time median {np.median(ratios):.1f} mean {ratios.mean():.1f}")
    most = max(found.found for found, *_ in tried)
    return [trial[1:] for trial in tried if trial[0].found >= SHARE * most][-1]


def fit_tasks(
    kind: str, recorded: Any, rows: Sequence[Row], scores: np.ndarray, *, quiet: bool = False
) -> dict[str, Any]:
    """Fit the expected gain of each task: whether it, or a task that it added, was the first to find an instance."""
    table = CONSTANTS["tasks"][kind]
    found: dict[tuple[tuple[str, str], int], set[int]] = {}
    firsts: dict[tuple[tuple[str, str], int], int] = {}
    for row, odds in zip(rows, scores, strict=True):
        if row.label == 1 and odds > 0:
            key = (row.place, row.instance)
            firsts[key] = min(firsts.get(key, row.task), row.task)
    for (place, instance), task in firsts.items():
        log = recorded[place].log
        while task >= 0:
            found.setdefault((place, task), set()).add(instance)
            if log[task][0] in ON_THEIR_OWN:
                break
            task = log[task][2]
    cost: dict[tuple[tuple[str, str], int], float] = {}
    for place, searched in recorded.items():
        for index in range(len(searched.log) - 1, -1, -1):
            name, _, parent = searched.log[index]
            own = cost[place, index] = cost.get((place, index), 0.0) + searched.times[index]
            if parent >= 0 and name not in ON_THEIR_OWN:
                cost[place, parent] = cost.get((place, parent), 0.0) + own
    fitted: dict[str, Any] = {}
    for name, entry in table.items():
        tasks = [
            ((place, i), task[1])
            for place, own in recorded.items()
            for i, task in enumerate(own.log)
            if task[0] == name
        ]
        if len(tasks) < 20 or name in ALWAYS:
            fitted[name] = entry
            continue
        features = sorted(tasks[0][1])
        y = np.array([float(key in found) for key, _ in tasks])
        values = np.array([[task[feature] for feature in features] for _, task in tasks]).reshape(
            len(tasks), len(features)
        )
        fit = Regression.fitted(features, values, y, TASK_PENALTY)
        follow_up = np.mean([cost[key] for key, _ in tasks]) / max(
            sum(len(found.get(key, ())) for key, _ in tasks) / max(y.sum(), 1), 1
        )
        times = [recorded[place].times[i] for (place, i), _ in tasks]
        fitted[name] = {
            "cost": round(float(np.mean(times)), 1),
            "follow_up": round(float(follow_up), 1),
            **fit.as_json(),
        }
        if not quiet:
            share = f"{y.mean():5.1%} find a new instance"
            print(f"    {name:12s} {len(tasks):5d} times, {share}, follow-up cost {follow_up:.0f}")
    return fitted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("record", "fit"))
    parser.add_argument("record", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/real"))
    parser.add_argument("--kinds", default="hands,face,body")
    parser.add_argument("--worth", type=float, help="minimum worth of tasks with search='auto'; fitted by default")
    parser.add_argument("--write", nargs="?", const="scores,tasks,budgets", metavar="PARTS", help="write constants")
    options = parser.parse_args()
    if options.what == "record":
        record(options.data, options.kinds.split(","), options.record)
        return
    recorded = pickle.loads(options.record.read_bytes())
    constants = json.loads(json.dumps(CONSTANTS))
    worths = WORTHS if options.worth is None else [options.worth]
    written = options.write.split(",") if options.write else []
    keep_scores = bool(written) and "scores" not in written
    if keep_scores and "hands" in options.kinds:
        parser.error("hands need --write with scores")
    heads: dict[str, np.ndarray] = {}
    for kind in options.kinds.split(","):
        fitted = fit_kind(kind, recorded[kind], options.data, worths, keep_scores=keep_scores)
        heads |= fitted.pop("heads")
        for part in written:
            constants[part] |= fitted[part]
    if written:
        FILE.write_text(json.dumps(constants, indent=1) + "\n", "utf-8")
    if "scores" in written and heads:
        arrays = shipped_arrays() | {name: value.astype(np.float32) for name, value in heads.items()}
        np.savez(HEADS, allow_pickle=False, **arrays)


if __name__ == "__main__":
    main()
