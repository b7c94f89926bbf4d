"""Run the tasks of a search in the order of expected gain per cost, and suppress duplicate candidates."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Generic, NamedTuple, TypeVar

from sonjit.detectors.observations import Observation, is_same_object
from sonjit.detectors.search.geometry import is_same_instance
from sonjit.detectors.search.score import CONSTANTS, LIMITS, Budget, Score
from sonjit.geometry.boxes import box_around, box_iou

O = TypeVar("O", bound=Observation)  # noqa: E741

COMPLETE = Budget()
"""The budget that runs all tasks."""


@dataclass(eq=False)
class Candidate(Generic[O]):
    """A possible instance with its observations.

    Attributes:
        views: Observations of the landmark network. The last one becomes the result.
        detection: Maximum score of its proposals.
        votes: Windows and sources of its proposals.
        task: Index in `Agenda.log` of the task that proposed it first.
        agreement: Keypoint similarity of two views, 0..1.
        published: True if the published search finds it too.
        replaced: Candidate of the published search that shows the same instance. `without_duplicates` sets it.
        score: Probability that this is an instance.
        features: Features of the score by name.
    """

    views: list[O]
    detection: float
    votes: set[object]
    task: int = -1
    agreement: float = 1.0
    published: bool = False
    replaced: Candidate[O] | None = None
    score: float = 0.0
    features: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def last(self) -> O:
        """The observation that becomes the result."""
        return self.views[-1]

    @property
    def result(self) -> O:
        """The observation with the score of the candidate."""
        return replace(self.last, score=self.score)  # pyright: ignore[reportArgumentType, reportReturnType, reportUnknownVariableType]  # every observation is a dataclass

    @property
    def presence(self) -> float:
        """Minimum presence of the views."""
        return min(view.score for view in self.views)

    def rate(self, score: Score) -> None:
        """Compute the score from the features. Candidates of the published search are always accepted."""
        self.score = max(score(self.features), LIMITS["published"] * self.published)

    @property
    def certain(self) -> bool:
        """Whether presence and agreement of the views are high."""
        return min(self.presence, self.agreement) > LIMITS["plain"]


class Task(NamedTuple):
    """A task that ran.

    Attributes:
        name: Name in `search.json`.
        features: Features of its expected gain by name.
        parent: Index in the log of the task that added it, or -1.
    """

    name: str
    features: Mapping[str, float]
    parent: int


class Agenda:
    """Tasks of one image, in the order of their expected gain per cost.

    Equal tasks run in the order in which they were added.

    Args:
        kind: Name of the table of tasks in `search.json`.
        budget: Limit of the search.

    Attributes:
        table: Costs and gains of the tasks by name, from `search.json`.
        complete: False if the budget prevented a task.
        log: Finished tasks and the current one.
    """

    def __init__(self, kind: str, budget: Budget) -> None:
        self.table, self._budget = CONSTANTS["tasks"][kind], budget
        self._heap: list[tuple[float, int, str, Callable[[], Mapping[str, float]], int, Callable[[], None]]] = []
        self._number = count()
        self._spent, self.complete = 0.0, True
        self.log: list[Task] = []

    @property
    def current(self) -> int:
        """Index in `log` of the current task."""
        return len(self.log) - 1

    def add(self, name: str, task: Callable[[], None], features: Callable[[], Mapping[str, float]]) -> None:
        """Add a task.

        Args:
            name: Name in the table of tasks.
            task: Function to run.
            features: Function that returns the features of the expected gain. It is called again before the task.
        """
        entry = (-self._worth(name, features()), next(self._number), name, features, self.current, task)
        heapq.heappush(self._heap, entry)

    def _worth(self, name: str, features: Mapping[str, float]) -> float:
        of = self.table[name]
        return Score(of["bias"], of["weights"])(features) / of["follow_up"]

    def run(self, is_enough: Callable[[], bool]) -> None:
        """Run all tasks, also those that tasks add, until `is_enough` returns True or the budget is spent."""
        while self._heap and not is_enough():
            before, _, name, features, parent, task = heapq.heappop(self._heap)
            values, cost = features(), self.table[name]["cost"]
            worth = self._worth(name, values)
            if self._heap and -worth > max(before, self._heap[0][0]):  # its gain decreased
                heapq.heappush(self._heap, (-worth, next(self._number), name, features, parent, task))
            elif worth < self._budget.worth or self._spent + cost > self._budget.cost:
                self.complete = False
            else:
                self._spent += cost
                self.log.append(Task(name, values, parent))
                task()


class Found(NamedTuple, Generic[O]):
    """Result of the search of an image.

    Attributes:
        candidates: All candidates, best first.
        complete: True if all proposals were processed or enough was found.
        log: See `Agenda`.
    """

    candidates: list[Candidate[O]]
    complete: bool
    log: list[Task]


def is_duplicate(a: Candidate[O], b: Candidate[O]) -> bool:
    """Check whether two candidates show the same instance."""
    return is_same_instance(a.last.keypoints, b.last.keypoints)


def without_duplicates(
    candidates: Iterable[Candidate[O]], is_same: Callable[[Candidate[O], Candidate[O]], bool] = is_duplicate
) -> list[Candidate[O]]:
    """Return one candidate per instance, best first.

    The best candidate of an instance replaces at most one candidate of the published search, so the number of
    instances does not decrease. If both have the same keypoints, the published one stays with the higher score. It also
    stays if its box overlaps no better candidate.

    Args:
        candidates: All candidates.
        is_same: Function that compares two candidates. The score of the second is higher.
    """

    def are_same(candidate: Candidate[O], other: Candidate[O]) -> bool:
        if candidate.published and other.replaced is not None:
            return is_same_object(candidate.last, other.replaced.last)  # as in the published search
        return is_same(candidate, other)

    kept: list[Candidate[O]] = []
    for candidate in sorted(candidates, key=lambda f: -f.score):
        candidate.replaced = candidate if candidate.published else None
        index = next((i for i, other in enumerate(kept) if are_same(candidate, other)), None)
        if index is None:
            kept.append(candidate)
        elif candidate.published and (best := kept[index]).replaced is None:
            box = box_around(candidate.last.keypoints)
            if is_same_object(candidate.last, best.last):
                candidate.score, kept[index] = best.score, candidate
            elif any(box_iou(box, box_around(other.last.keypoints)) > LIMITS["same_box"] for other in kept):
                best.replaced = candidate
            else:
                del kept[index]
                kept.append(candidate)
    return kept


def are_enough(candidates: Sequence[Candidate[O]], budget: Budget) -> bool:
    """Check whether certain candidates show as many instances as a search has to find."""
    enough = budget.enough
    return enough is not None and len(candidates) >= enough and len(without_duplicates(candidates)) >= enough
