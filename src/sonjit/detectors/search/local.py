"""Search near a loose box for crops in which the landmark network recognises a hand."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from sonjit._util import Image
from sonjit.detectors.kinds.hands import HandObservation, box_around_hand, box_from_palm
from sonjit.detectors.search.geometry import Proposal, Window, merge_proposals, window_around
from sonjit.detectors.search.score import LIMITS
from sonjit.detectors.ssd import Detection
from sonjit.geometry.boxes import RotatedBox

CLOSER = "closer"  # source of the proposals
_WINDOW = 3.0  # side of the window around a loose box, in sides of the box
_MOST_PALMS = 4


def crops_near(
    rgb: Image,
    box: RotatedBox,
    find: Callable[[Window, float], list[Detection]],
    observe: Callable[[RotatedBox], HandObservation],
    skips: Callable[[Proposal], bool],
) -> Iterator[Proposal]:
    """Yield crops of hands in a window around a box of an image (H, W, 3), in pixels.

    The box may be off by half a hand, have any rotation, and be 0.6 to 1.7 times as large as the crop of the hand.
    `find` detects palms in a window above a score, and palms that `skips` accepts are left out. Each crop is that of
    the keypoints which `observe` returns for the crop of a palm.
    """
    window = window_around(box.cx, box.cy, _WINDOW * box.width, rgb)
    found = [] if window is None else find(window, LIMITS["closer_palm"])
    proposals = [] if window is None else window.proposals(found, box_from_palm, CLOSER)
    for palm in merge_proposals(proposals, 4 * max(rgb.shape))[:_MOST_PALMS]:
        if skips(palm):
            continue
        first = observe(palm.box)
        if first.score > LIMITS["closer_seen"]:
            yield replace(palm, box=box_around_hand(first.keypoints))
