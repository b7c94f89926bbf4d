"""Fit the scores of the search to photographs labelled by eye, leaving out one set at a time.

    python research/fit_search.py record RECORD [--data ../shared/real] [--kinds hands,face,body] [--precision f32]
    python research/fit_search.py fit RECORD [--kinds body] [--write]

`record` runs the search on all photographs and on changed copies, and keeps every candidate with its features.
`fit` fits a logistic regression for each kind, and prints recall and precision without the set that is scored, next to
the fit to all sets, and the instances that only one source proposes. `--write` writes `search.json`. Hands have two
scores: one for all networks, and one that also reads the maps of the full landmark network. `fit` also
prints how often a side that is fitted to them is right; `--write` keeps the shipped one.
"""

from __future__ import annotations

import argparse
import json
import pickle
import time
from collections import Counter
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from sklearn.linear_model import LogisticRegression

import sonjit
from sonjit.detectors.search import network, score, stills
from sonjit.detectors.search.bodies import BodySearch
from sonjit.detectors.search.faces import FaceSearch
from sonjit.detectors.search.hands import HandSearch
from sonjit.results.classes import LEAST_SIDE_SCORE
from sonjit_lab.datasets import Sample, open_dataset
from sonjit_lab.evaluation.detection import assign

FILE = Path(score.__file__).with_name("search.json")
SETS = ("wild", "wild2", "wild3", "wild4")
WHAT = {"hands": "hand", "face": "face", "body": "body"}
SEARCHES: dict[str, type[Any]] = {"hands": HandSearch, "face": FaceSearch, "body": BodySearch}
PRECISION = {"hands": 0.98, "face": 0.98, "body": 0.97}
"""Minimum precision on left-out sets."""
PENALTY = {"hands": 30.0, "face": 10.0, "body": 10.0}
"""L2 penalty of standardised weights."""
MAP_PENALTY = 100.0
"""L2 penalty of the standardised weights of maps, chosen by the log loss of left-out sets."""
SIDE_PENALTY = 1.0
"""L2 penalty of the standardised weights of the side of hands."""
SCORES = {"hands": ("hand", "verified_hand"), "face": ("face",), "body": ("body",)}
ALLOWED = 20
HEAD = [0, 2, 5, 9, 10]
THRESHOLDS = np.linspace(-2, 4, 121)
"""Log odds that may become the threshold."""
Box = tuple[float, float, float, float]
Place = tuple[str, str]
"""Set and file of a photograph."""


class Variant(NamedTuple):
    """A changed copy of each photograph: relative size, exponent of the brightness, mirrored, JPEG quality."""

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


VARIANTS = (Variant(), Variant(scale=0.75, gamma=1.5, mirrored=True, quality=40))
"""The photograph and the copy that scores are fitted to."""


class Candidate(NamedTuple):
    """A candidate of a search with its keypoints (K, 2 or more) in pixels of the photograph.

    `maps`: (L,) Mean maps of its views; None for networks without them.
    """

    keypoints: np.ndarray
    features: dict[str, float]
    source: str
    published: bool
    maps: np.ndarray | None = None


class Row:
    """A candidate with its box and label: 1 and the index of the instance, 0 for none, -1 if the label is unclear.

    `StillSearch.suppressed` reads `last`, `features` and `published`, and writes `score`.
    """

    def __init__(self, last: Candidate, box: Box, label: int, instance: int) -> None:
        self.last, self.features, self.published = last, last.features, last.published
        self.box, self.label, self.instance, self.score = box, label, instance, 0.0


def photographs(data: Path, kind: str) -> dict[Place, Sample]:
    """Return the photographs with labels of a kind."""
    every = {(name, sample.id): sample for name in SETS for sample in open_dataset("photographs", data / name)}
    return {place: sample for place, sample in every.items() if WHAT[kind] in sample.tags["labelled"]}


def record(data: Path, kinds: list[str], target: Path, precision: str, networks: Path | None) -> None:
    """Record all candidates of the default search, and processor times of it and the fast search in ms."""
    found: list[Any] = []
    run = stills.StillSearch.run

    def run_and_keep(self: Any, proposals: Any) -> Any:
        found[:] = [self]
        return run(self, proposals)

    stills.StillSearch.run = run_and_keep  # type: ignore[method-assign]
    kept = pickle.loads(target.read_bytes()) if target.is_file() else {}
    shipped = network.OWN_FILE
    create: Any = sonjit.create_detector
    for kind, left_out in product(kinds, SETS):
        network.OWN_FILE = networks / f"{left_out}.tflite" if networks else shipped  # type: ignore[misc]
        make = partial(create, kind, static_image=True, threads=1, precision=precision)
        with make(max_instances=1000) as default, make(search="fast", max_instances=ALLOWED) as fast:
            own: dict[Place, Any] = {} if left_out == SETS[0] else kept[kind]
            kept[kind] = own
            for place, sample in photographs(data, kind).items():
                if place[0] != left_out:
                    continue
                rgb = sample.rgb()
                times: list[float] = []
                for detector in (default, fast) if own else (default, fast, default, fast):
                    start = time.process_time()
                    detector.detect(rgb)
                    times.append(1e3 * (time.process_time() - start))
                copies: list[list[tuple[Any, ...]]] = []
                for variant in VARIANTS:
                    copy = variant.image(rgb)
                    default.detect(copy)
                    placed = partial(variant.placed, width=copy.shape[1])
                    copies.append([
                        (placed(c.last.keypoints), dict(c.features), c.proposal.source, c.published, mean_maps(c.views))
                        for c in found[0].candidates
                    ])  # fmt: skip
                own[place] = copies, times[-2:]
        target.write_bytes(pickle.dumps(kept))
    stills.StillSearch.run = run  # type: ignore[method-assign]


def mean_maps(views: list[Any]) -> np.ndarray | None:
    """Return the mean (L,) of the maps at the keypoints over keypoints and views; None without them."""
    maps: list[Any] = [getattr(view, "maps", None) for view in views]
    return None if maps[0] is None else np.mean(maps, axis=(0, 1))


class Labels:
    """Labels of one kind in a photograph."""

    def __init__(self, sample: Sample, what: str) -> None:
        own = [instance for instance in sample.instances if instance.kind == what]
        self.sample = sample
        self.crowds = [box for instance in own if instance.crowd and (box := instance.bounds())]
        labels = [(box, instance) for instance in own if not instance.crowd and (box := instance.bounds())]
        self.boxes = [box for box, _ in labels]
        self.sides = [instance.side for _, instance in labels]
        self.clear = [bool(instance.extra.get("clear", True)) for _, instance in labels]
        following = zip(sample.instances, sample.instances[1:], strict=False)
        faces_of = {id(body): other.bounds() for body, other in following if other.kind == "face"}
        self.faces = [faces_of.get(id(instance)) for _, instance in labels] if what == "body" else []

    def row(self, candidate: Candidate) -> Row:
        """Return a candidate with its label. A body with another person's face is false."""
        points = candidate.keypoints[:, :2].clip(0, (self.sample.width, self.sample.height))
        box = (*points.min(0).tolist(), *points.max(0).tolist())
        assigned = assign([(box, 1.0)], self.boxes, self.crowds)
        if not assigned.detection_of_label:
            return Row(candidate, box, 0 if assigned.false else -1, -1)
        (instance,) = assigned.detection_of_label
        fits = [i for i, other in enumerate(self.boxes) if assign([(box, 1.0)], [other]).detection_of_label]
        if self.faces:
            x, y = candidate.keypoints[HEAD, :2].mean(axis=0).tolist()
            fits = [i for i in fits if is_near(x, y, self.faces[i])]
        if not fits:
            return Row(candidate, box, 0, -1)
        clear = [i for i in fits if self.clear[i]]
        best = instance if instance in (clear or fits) else (clear or fits)[0]
        return Row(candidate, box, 1 if clear else -1, best)


def is_near(x: float, y: float, box: Box | None) -> bool:
    """Check whether a point lies in a box that is enlarged by half. Return True without a box."""
    if box is None:
        return True
    x_min, y_min, x_max, y_max = box
    return abs(2 * x - x_min - x_max) < 1.5 * (x_max - x_min) and abs(2 * y - y_min - y_max) < 1.5 * (y_max - y_min)


class Regression(NamedTuple):
    """A logistic regression of named features."""

    names: list[str]
    weights: np.ndarray
    bias: float

    @classmethod
    def fitted(cls, names: list[str], rows: list[Row], penalty: float) -> Regression:
        """Fit to the labelled rows. The penalty applies to standardised weights."""
        rows = [row for row in rows if row.label >= 0]
        return cls(names, *logistic(cls.table(names, rows), labels_of(rows), penalty))

    @staticmethod
    def table(names: list[str], rows: list[Row]) -> np.ndarray:
        """Return the features (N, F) of rows."""
        return np.array([[row.features[name] for name in names] for row in rows]).reshape(-1, len(names))

    def __call__(self, rows: list[Row]) -> np.ndarray:
        """Return the log odds (N,) of rows."""
        return self.table(self.names, rows) @ self.weights + self.bias


def labels_of(rows: list[Row]) -> np.ndarray:
    """Return the labels (N,) of rows."""
    return np.array([row.label for row in rows])


def logistic(x: np.ndarray, y: np.ndarray, penalty: float) -> tuple[np.ndarray, float]:
    """Return weights (F,) and bias of a logistic regression of features (N, F) with labels (N,) of 0 or 1."""
    middle, scale = x.mean(0), x.std(0) + 1e-6
    model = LogisticRegression(C=1 / penalty, tol=1e-6, max_iter=5000).fit((x - middle) / scale, y)
    weights = model.coef_[0] / scale
    return weights, float(model.intercept_[0] - weights @ middle)


class MapModels:
    """Regressions of the mean maps of candidates, each fitted without some sets."""

    def __init__(self, rows: dict[Place, list[list[Row]]]) -> None:
        self._rows = [(place[0], row) for place, copies in rows.items() for copy in copies for row in copy]
        self._fitted: dict[frozenset[str | None], tuple[np.ndarray, float]] = {}

    def without(self, *sets: str | None) -> tuple[np.ndarray, float]:
        """Return weights (L,) and bias of the regression that is fitted without sets."""
        key = frozenset(sets)
        if key not in self._fitted:
            own = [row for name, row in self._rows if name not in key and row.label >= 0]
            self._fitted[key] = logistic(np.array([row.last.maps for row in own]), labels_of(own), MAP_PENALTY)
        return self._fitted[key]

    def set_features(self, left_out: str | None) -> None:
        """Set the feature `maps` of all rows. No regression is fitted to the set of the row or the set left out."""
        for name, row in self._rows:
            weights, bias = self.without(name, left_out)
            row.features["maps"] = float(row.last.maps @ weights + bias)


def suppressed(kind: str, rows: list[Row], odds: np.ndarray, threshold: float) -> list[Row]:
    """Return one row per instance, best first, with the scores of a search whose threshold has these log odds."""
    search: Any = object.__new__(SEARCHES[kind])
    scores = dict(zip(map(id, rows), 1 / (1 + np.exp(threshold - odds)), strict=True))

    def score_of(row: Row) -> float:
        return scores[id(row)]

    search.candidates, search.score = rows, score_of
    return search.suppressed()


def counts(kept: dict[Place, list[Row]], labels: dict[Place, Labels]) -> tuple[int, int]:
    """Return the numbers of found clear instances and of wrong detections."""
    found = wrong = 0
    for place, rows in kept.items():
        accepted = [(row.box, row.score) for row in rows if row.score > 0.5][:ALLOWED]
        assigned = assign(accepted, labels[place].boxes, labels[place].crowds)
        found += sum(labels[place].clear[instance] for instance in assigned.detection_of_label)
        wrong += len(assigned.false) + len(assigned.doubled)
    return found, wrong


def fit_score(kind: str, name: str, recorded: dict[Place, Any], data: Path) -> dict[str, Any]:
    """Fit one score of a kind, print its tables, and return its constants for `search.json` by group."""
    samples = photographs(data, kind)
    labels = {place: Labels(samples[place], WHAT[kind]) for place in recorded}
    rows = {
        place: [[labels[place].row(Candidate(*candidate)) for candidate in copy] for copy in copies]
        for place, (copies, _) in recorded.items()
    }
    names = list(score.CONSTANTS["scores"][name]["weights"])
    clear = sum(sum(own.clear) for own in labels.values())
    maps = MapModels(rows) if "maps" in names else None

    def fitted(left_out: str | None) -> Regression:
        if maps is not None:
            maps.set_features(left_out)
        chosen = [row for place, copies in rows.items() if place[0] != left_out for copy in copies for row in copy]
        return Regression.fitted(names, chosen, PENALTY[kind])

    final = fitted(None)
    odds_of = {"set left out": {}, "tuned": {place: final(copies[0]) for place, copies in rows.items()}}
    for left_out in SETS:
        own = fitted(left_out)
        odds_of["set left out"] |= {p: own(copies[0]) for p, copies in rows.items() if p[0] == left_out}
    shift = 0.0
    for title, odds in odds_of.items():
        threshold, found, wrong, kept = 0.0, 0, 0, dict[Place, list[Row]]()
        for threshold in THRESHOLDS:
            kept = {p: suppressed(kind, rows[p][0], odds[p], threshold) for p in rows}
            found, wrong = counts(kept, labels)
            if found / max(found + wrong, 1) >= PRECISION[kind]:
                break
        if title == "set left out":
            shift = threshold
        print(f"{name}, {title}: {found} of {clear}, {found / clear:.1%}, precision {found / (found + wrong):.1%}")
        for part in SETS:
            some = {place: own for place, own in kept.items() if place[0] == part}
            found, wrong = counts(some, labels)
            own_clear = sum(sum(labels[place].clear) for place in some)
            print(f"  {part}: {found} of {own_clear}, {wrong} wrong")
    print_sources(rows)
    ratios = [default / fast for _, (default, fast) in recorded.values()]
    print(f"  processor time relative to fast: median {np.median(ratios):.1f}, mean {np.mean(ratios):.1f}")
    weights = {n: round(float(w), 4) for n, w in zip(names, final.weights, strict=True)}
    fit: dict[str, Any] = {"scores": {name: {"bias": round(final.bias - shift, 4), "weights": weights}}}
    if maps is not None:
        own_weights, bias = maps.without(None)
        fit["hand_maps"] = {"bias": round(bias, 4), "weights": [round(float(w), 4) for w in own_weights]}
    return fit


def print_side(recorded: dict[Place, Any], data: Path) -> None:
    """Fit the side to the candidates of clear hands, and print how often it is right, next to the shipped weights.

    Mirrored hands have the opposite side and the opposite features, so that the regression has no bias.
    """
    samples = photographs(data, "hands")
    rows: list[tuple[str, Row, bool]] = []
    for place, (copies, _) in recorded.items():
        labels = Labels(samples[place], WHAT["hands"])
        own = (labels.row(Candidate(*candidate)) for candidate in copies[0])
        sided = [row for row in own if row.label == 1 and labels.sides[row.instance] is not None]
        rows += [(place[0], row, labels.sides[row.instance] == "Left") for row in sided]
    names = list(score.CONSTANTS["scores"]["side"]["weights"])
    x, sets = Regression.table(names, [row for _, row, _ in rows]), np.array([name for name, _, _ in rows])
    left = np.array([is_left for _, _, is_left in rows])

    def fitted(left_out: str | None) -> np.ndarray:
        own = sets != left_out
        return logistic(np.vstack([x[own], -x[own]]), np.concatenate([left[own], ~left[own]]), SIDE_PENALTY)[0]

    shipped, final = np.array([*score.CONSTANTS["scores"]["side"]["weights"].values()]), fitted(None)
    by_set = {name: fitted(name) for name in SETS}
    chosen = np.array([by_set[name] for name in sets])
    print("side:", ", ".join(f"{name} {weight:.2f}" for name, weight in zip(names, final, strict=True)))
    for title, weights in (("shipped", shipped), ("set left out", chosen), ("tuned", final)):
        odds = (x * weights).sum(axis=1)
        right, sure = (odds > 0) == left, np.abs(odds) > score.logit(LEAST_SIDE_SCORE)
        print(f"  {title}: {right.sum()} of {len(rows)}, sure: {right[sure].sum()} of {sure.sum()}")


def print_sources(rows: dict[Place, list[list[Row]]]) -> None:
    """Print the instances that each source proposes, and those that no other source proposes."""
    found: dict[str, set[tuple[Place, int]]] = {}
    verified: Counter[str] = Counter()
    for place, copies in rows.items():
        for row in copies[0]:
            verified[row.last.source] += 1
            own = found.setdefault(row.last.source, set())
            own |= {(place, row.instance)} if row.label == 1 else set()
    for source, own in found.items():
        others: set[tuple[Place, int]] = set().union(*(more for name, more in found.items() if name != source))
        print(
            f"  {source}: {len(own)} instances, {len(own - others)} of no other source, {verified[source]} candidates"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("record", "fit"))
    parser.add_argument("record", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/real"))
    parser.add_argument("--kinds", default="hands,face,body")
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--networks", type=Path, help="folder with SET.tflite, the network trained without a set")
    parser.add_argument("--write", action="store_true", help="write search.json")
    options = parser.parse_args()
    kinds = options.kinds.split(",")
    if options.command == "record":
        record(options.data, kinds, options.record, options.precision, options.networks)
        return
    recorded = pickle.loads(options.record.read_bytes())
    constants = json.loads(FILE.read_text("utf-8"))
    for kind, name in [(each, score_name) for each in kinds for score_name in SCORES[each]]:
        fit = fit_score(kind, name, recorded[kind], options.data)
        constants["scores"] |= fit["scores"]
        constants["hand_maps"] = fit.get("hand_maps", constants["hand_maps"])
    if "hands" in kinds:
        print_side(recorded["hands"], options.data)
    if options.write:
        FILE.write_text(json.dumps(constants, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
