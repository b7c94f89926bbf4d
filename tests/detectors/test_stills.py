"""The search of stills: which proposals are verified, and which candidates become instances."""

import numpy as np
import pytest

from sonjit.detectors.search.geometry import Proposal
from sonjit.detectors.search.score import LIMITS
from sonjit.detectors.search.stills import AUTO, Candidate, Extent, StillSearch
from sonjit.geometry.boxes import RotatedBox

from .fakes import seen_at


def proposal_at(x, score=0.5, source="window"):
    return Proposal(RotatedBox(float(x), 0.0, 100.0, 100.0), score, source)


class Numbers(StillSearch):
    """Search with given sources. The presence and the score of an instance are given by its x."""

    def __init__(self, *sources, rgb=None, extent=AUTO):
        super().__init__(np.zeros((100, 200, 3), np.uint8) if rgb is None else rgb, extent)
        self.sources, self.verified, self.scores, self.presence, self.refused = sources, [], {}, {}, ()

    def propose(self):
        yield from self.sources

    def shows(self, proposal, instance):
        return abs(proposal.box.cx - instance.keypoints[:2, 0].mean()) < 10

    def verify(self, proposal):
        x = proposal.box.cx
        self.verified.append((x, proposal.source))
        if x in self.refused:
            return None
        seen = seen_at(x, score=self.presence.get(x, 0.95), left=0.5)
        return Candidate([seen], proposal, published=proposal.published)

    def score(self, candidate):
        return self.scores.get(candidate.proposal.box.cx, 0.8)


def test_a_proposal_is_verified_unless_it_shows_a_certain_instance():
    search = Numbers(
        [proposal_at(0, source="published"), proposal_at(5, source="published")],
        [proposal_at(4, 0.7), proposal_at(300), proposal_at(600)],
        [proposal_at(305, 0.6), proposal_at(605), proposal_at(900)],
    )
    search.presence, search.refused = {300.0: 0.89}, (900.0,)
    found = search.search()
    windows = [(300, "window"), (600, "window"), (305, "window"), (900, "window")]
    assert search.verified == [(0, "published"), (5, "published"), *windows]
    assert search.candidates[0].proposal.score == 0.7  # of the stronger proposal that it shows
    assert search.candidates[3].proposal.score == 0.5
    assert [round(float(one.last.keypoints[:2, 0].mean())) for one in found] == [0, 300, 600]


def test_instances_have_the_best_score_of_their_candidates_best_first():
    search = Numbers([proposal_at(x) for x in (0, 12, 300, 600, 24)])
    search.scores = {0: 0.3, 12: 0.6, 300: 0.9, 600: 0.1, 24: 0.5}
    found = search.search()
    assert [(one.proposal.box.cx, one.score) for one in found] == [(300, 0.9), (12, 0.6), (600, 0.1)]
    observations, complete = search.observations()
    assert [one.score for one in observations][:3] == [0.9, 0.6, 0.1]
    assert complete


def test_a_published_instance_stays_with_the_best_score_and_at_least_that_of_its_search():
    search = Numbers([proposal_at(0, source="published"), proposal_at(300, source="published")], [proposal_at(13)])
    search.scores, search.presence = {0: 0.1, 13: 0.7, 300: 0.2}, {0.0: 0.5}
    found = search.search()
    assert [(one.proposal.box.cx, one.score) for one in found] == [(0, 0.7), (300, LIMITS["published"])]
    assert found[0].result.score == 0.7


def test_two_published_instances_are_one_only_if_they_coincide():
    """Others are also one if they overlap by a third."""
    for source, count in (("published", 2), ("window", 1)):
        search = Numbers([proposal_at(0, source=source), proposal_at(40, source=source)])
        search.presence = {0.0: 0.5, 40.0: 0.5}
        assert len(search.search()) == count
    search = Numbers([proposal_at(0, source="published"), proposal_at(3, source="published")])
    assert len(search.search()) == 1


@pytest.mark.parametrize(
    ("presences", "agreement", "certain"),
    [
        ((0.91,), 1.0, True),
        ((0.9,), 1.0, False),
        ((0.95, 0.89), 1.0, False),
        ((0.95, 0.91), 0.91, True),
        ((0.95,), 0.89, False),
    ],
)
def test_a_candidate_is_certain_by_its_lowest_presence_and_its_agreement(presences, agreement, certain):
    candidate = Candidate([seen_at(0, score=score) for score in presences], proposal_at(0), agreement)
    assert candidate.presence == min(presences)
    assert candidate.certain == certain
    assert candidate.last is candidate.views[-1]


def test_a_new_candidate_is_not_published_and_has_no_score():
    candidate = Candidate([seen_at(0)], proposal_at(0))
    assert (candidate.agreement, candidate.published, candidate.score, candidate.features) == (1, False, 0, {})
    assert candidate.result.score == 0


@pytest.mark.parametrize(
    ("shape", "thorough", "is_thorough"),
    [((100, 200), False, False), ((100, 200), True, True), ((100, 720), False, True), ((720, 100), False, True)],
)
def test_all_windows_of_long_images_are_searched(shape, thorough, is_thorough):
    search = Numbers(rgb=np.zeros((*shape, 3), np.uint8), extent=Extent(0.7, thorough=thorough))
    assert (search.thorough, search.min_detection, search.complete) == (is_thorough, 0.7, True)


def test_the_usual_extent_is_the_published_score():
    assert (AUTO.min_detection, AUTO.thorough) == (0.5, False)
    assert [len(Numbers(rgb=np.zeros((400, 640, 3), np.uint8)).windows(parts)) for parts in (1, 2, 3)] == [1, 2, 6]
