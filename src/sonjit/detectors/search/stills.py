"""Search an image in four steps: propose, verify, suppress, score. Each kind defines its steps in a subclass."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, NamedTuple, TypeVar

from sonjit._util import Image
from sonjit.detectors.observations import Observation, is_same_object
from sonjit.detectors.search.geometry import Proposal, is_same_instance
from sonjit.detectors.search.score import LIMITS
from sonjit.geometry.windows import Window, is_long, windows

O = TypeVar("O", bound=Observation)  # noqa: E741


@dataclass(eq=False)
class Candidate(Generic[O]):
    """A possible instance with its observations."""

    views: list[O]  # observations of the landmark network; the last one becomes the result
    proposal: Proposal  # the proposal that led to it, with the maximum score of the proposals of the instance
    agreement: float = 1.0  # keypoint similarity of two views, 0..1
    published: bool = False  # True if the published search finds it too
    score: float = 0.0  # probability that this is an instance
    features: Mapping[str, float] = field(default_factory=dict[str, float])  # features of the score by name

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


class Extent(NamedTuple):
    """Extent of a search."""

    min_detection: float = 0.5  # minimum score of the published detector
    thorough: bool = False  # True to search all windows, as in images that are seven times as long as wide


AUTO = Extent()  # that of `search="auto"` with the default options


class StillSearch(ABC, Generic[O]):
    """Search of one image (H, W, 3). After it, `complete` is True if all sources were searched."""

    def __init__(self, rgb: Image, extent: Extent) -> None:
        self.rgb = rgb
        self.min_detection = extent.min_detection
        self.thorough = extent.thorough or is_long(rgb)
        self.candidates: list[Candidate[O]] = []
        self.complete = True

    def windows(self, parts: int) -> list[Window]:
        """Return nearly square windows, `parts` of them along the longer side of the image."""
        return windows(self.rgb.shape[1], self.rgb.shape[0], parts, fewer=True)

    @abstractmethod
    def propose(self) -> Iterator[Sequence[Proposal]]:
        """Yield the proposals of one source after another. Those of the published search come first."""

    def is_known(self, proposal: Proposal) -> bool:
        """Check whether a proposal shows a certain instance or an area that was verified before."""
        return self.shown(proposal) is not None

    def skips(self, proposal: Proposal) -> bool:
        """Check whether a proposal is known. If so, its certain instance gets the score of the proposal if higher."""
        candidate = self.shown(proposal)
        if candidate is not None and proposal.score > candidate.proposal.score:
            candidate.proposal = replace(candidate.proposal, score=proposal.score)
        return self.is_known(proposal)

    def shown(self, proposal: Proposal) -> Candidate[O] | None:
        """Return the first certain candidate that a proposal shows, or None."""
        certain = filter(self.is_certain, self.candidates)
        return next((candidate for candidate in certain if self.shows(proposal, candidate.last)), None)

    def is_certain(self, candidate: Candidate[O]) -> bool:
        """Check whether presence and agreement of the views are high."""
        return min(candidate.presence, candidate.agreement) > LIMITS["certain"]

    @abstractmethod
    def shows(self, proposal: Proposal, instance: O) -> bool:
        """Check whether a proposal shows an instance."""

    @abstractmethod
    def verify(self, proposal: Proposal) -> Candidate[O] | None:
        """Observe a proposal. Return None if it shows no instance."""

    @abstractmethod
    def score(self, candidate: Candidate[O]) -> float:
        """Return the probability that a candidate is an instance."""

    def is_same(self, candidate: Candidate[O], better: Candidate[O]) -> bool:
        """Check whether two candidates show the same instance."""
        return is_same_instance(candidate.last.keypoints, better.last.keypoints)

    def observations(self) -> tuple[list[O], bool]:
        """Return the observations of all instances, best first, and whether all sources were searched."""
        return [candidate.result for candidate in self.search()], self.complete

    def search(self) -> list[Candidate[O]]:
        """Return all instances with their scores, best first."""
        return self.run(self.propose())

    def run(self, sources: Iterable[Sequence[Proposal]]) -> list[Candidate[O]]:
        """Verify the proposals of each source. Return all instances, best first."""
        for proposals in sources:
            for proposal in proposals:
                if not proposal.published and self.skips(proposal):
                    continue
                candidate = self.verify(proposal)
                self.candidates += [] if candidate is None else [candidate]
        return self.suppressed()

    def suppressed(self) -> list[Candidate[O]]:
        """Score the candidates and return one per instance, best first, with the highest score of its duplicates.

        An instance of the published search stays unless that search suppresses it too.
        """
        for candidate in self.candidates:
            candidate.score = max(self.score(candidate), LIMITS["published"] * candidate.published)
        kept: list[Candidate[O]] = []
        for candidate in sorted(self.candidates, key=lambda c: (not c.published, -c.score)):
            same = next((other for other in kept if self._repeats(candidate, other)), None)
            if same is None:
                kept.append(candidate)
            else:
                same.score = max(same.score, candidate.score)
        return sorted(kept, key=lambda c: -c.score)

    def _repeats(self, candidate: Candidate[O], better: Candidate[O]) -> bool:
        both = candidate.published and better.published
        return is_same_object(candidate.last, better.last) if both else self.is_same(candidate, better)
