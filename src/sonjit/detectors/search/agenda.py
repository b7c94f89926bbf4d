"""The loop of every search: tasks in the order of expected finds per cost, and what they find."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Generic, NamedTuple, TypeVar

from sonjit.detectors.observations import Observation, is_same_object
from sonjit.detectors.search.geometry import corners, is_same_instance
from sonjit.detectors.search.score import CONSTANTS, LIMITS, Budget, Score
from sonjit.geometry.boxes import box_iou

O = TypeVar("O", bound=Observation)  # noqa: E741

COMPLETE = Budget()
"""The budget that runs all tasks."""


@dataclass(eq=False)
class Find(Generic[O]):
    """One candidate and its views.

    Attributes:
        views: What the landmark network saw, the view that counts last.
        detection: Best score of the detectors that led here.
        votes: Windows and sources that led here.
        task: Index in `Agenda.log` of the task that led here first.
        agreement: Keypoint similarity of two views, 0..1.
        published: True if the published search finds it too.
        replaced: Find of the published search that this one shows or replaces; set by `without_same`.
        score: Probability that this is an instance.
        features: What the score was made of.
    """

    views: list[O]
    detection: float
    votes: set[object]
    task: int = -1
    agreement: float = 1.0
    published: bool = False
    replaced: Find[O] | None = None
    score: float = 0.0
    features: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def last(self) -> O:
        """The view that counts."""
        return self.views[-1]

    @property
    def result(self) -> O:
        """The view that counts, with the score of the find."""
        return replace(self.last, score=self.score)  # pyright: ignore[reportArgumentType, reportReturnType, reportUnknownVariableType]  # every observation is a dataclass

    @property
    def presence(self) -> float:
        """The lowest presence of all views."""
        return min(one.score for one in self.views)

    def rate(self, score: Score) -> None:
        """Score the find from its features; what the published search finds is always found."""
        self.score = max(score(self.features), LIMITS["published"] * self.published)

    @property
    def plain(self) -> bool:
        """Whether the views leave no doubt."""
        return min(self.presence, self.agreement) > LIMITS["plain"]


class Task(NamedTuple):
    """A task that ran.

    Attributes:
        name: Name in `search.json`.
        features: What its expected finds were made of.
        parent: Index in the log of the task that added it; -1 for none.
    """

    name: str
    features: Mapping[str, float]
    parent: int


class Agenda:
    """Tasks of one image, in the order of their expected finds per cost.

    Equal tasks run in the order in which they were added.

    Attributes:
        complete: True if nothing was left undone for want of budget.
        log: The tasks that ran.
        current: Index in `log` of the task that runs.
    """

    def __init__(self, kind: str, budget: Budget) -> None:
        self._kind, self._budget = kind, budget
        self._heap: list[tuple[float, int, str, Callable[[], Mapping[str, float]], int, Callable[[], None]]] = []
        self._number = count()
        self._spent, self.complete = 0.0, True
        self.log: list[Task] = []

    @property
    def current(self) -> int:
        """Index in `log` of the task that runs."""
        return len(self.log) - 1

    def add(self, name: str, task: Callable[[], None], features: Callable[[], Mapping[str, float]]) -> None:
        """Add a task.

        Args:
            name: Name in the table of tasks in `search.json`.
            task: What is run.
            features: Returns what the expected finds are made of; called again before the task runs.
        """
        self._push(name, task, features, self.current)

    def _push(
        self, name: str, task: Callable[[], None], features: Callable[[], Mapping[str, float]], parent: int
    ) -> None:
        entry = (-self._worth(name, features()), next(self._number), name, features, parent, task)
        heapq.heappush(self._heap, entry)

    def _worth(self, name: str, features: Mapping[str, float]) -> float:
        table = CONSTANTS["tasks"][self._kind][name]
        return Score(table["bias"], table["weights"])(features) / table["follow_up"]

    def run(self, is_enough: Callable[[], bool]) -> None:
        """Run tasks, and those that they add, until there is enough or the budget is spent."""
        while self._heap and not is_enough():
            worth, _, name, features, parent, task = heapq.heappop(self._heap)
            values = features()
            if self._heap and -self._worth(name, values) > max(worth, self._heap[0][0]):  # it is worth less by now
                self._push(name, task, features, parent)
                continue
            cost = CONSTANTS["tasks"][self._kind][name]["cost"]
            if self._worth(name, values) < self._budget.worth or self._spent + cost > self._budget.cost:
                self.complete = False
                continue
            self._spent += cost
            self.log.append(Task(name, values, parent))
            task()


class Found(NamedTuple, Generic[O]):
    """What a search found in an image.

    Attributes:
        finds: All candidates, best first.
        complete: True if all proposals were processed or enough was found.
        log: See `Agenda`.
    """

    finds: list[Find[O]]
    complete: bool
    log: list[Task]


def is_same_find(a: Find[O], b: Find[O]) -> bool:
    """Check whether two finds show one instance."""
    return is_same_instance(a.last.keypoints, b.last.keypoints)


def without_same(finds: Iterable[Find[O]], is_same: Callable[[Find[O], Find[O]], bool] = is_same_find) -> list[Find[O]]:
    """Return one find of each instance, best first.

    The best find of an instance replaces at most one find of the published search, so that no fewer instances are
    found. Where both have the same keypoints, that of the published search stays, with the better score. It also stays
    where its box overlaps that of no better find.

    Args:
        finds: All candidates.
        is_same: Checks whether the first find shows the instance of the second, which has a higher score.
    """
    kept: list[Find[O]] = []
    for find in sorted(finds, key=lambda f: -f.score):
        find.replaced = find if find.published else None
        index = next((i for i, other in enumerate(kept) if _are_same(find, other, is_same)), None)
        if index is None:
            kept.append(find)
        elif find.published and (best := kept[index]).replaced is None:
            if is_same_object(find.last, best.last):
                find.score, kept[index] = best.score, find
            elif any(_overlap(find, other) for other in kept):
                best.replaced = find
            else:
                del kept[index]
                kept.append(find)
    return kept


def _overlap(a: Find[O], b: Find[O]) -> bool:
    return box_iou(corners(a.last.keypoints), corners(b.last.keypoints)) > LIMITS["same_box"]


def _are_same(find: Find[O], other: Find[O], is_same: Callable[[Find[O], Find[O]], bool]) -> bool:
    if find.published and other.replaced is not None:
        return is_same_object(find.last, other.replaced.last)  # as in the published search
    return is_same(find, other)
