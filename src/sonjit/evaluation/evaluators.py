"""Which judge a protocol has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit.evaluation.images import Instances, Localization
from sonjit.evaluation.joints import Joints, TwoHands
from sonjit.evaluation.landmarks import Landmarks

if TYPE_CHECKING:
    from sonjit.evaluation.models import ModelChoice
    from sonjit.evaluation.protocols import Protocol

Judge = Landmarks | Joints | TwoHands | Localization | Instances


def judge_of(protocol: Protocol, choice: ModelChoice) -> Judge:
    """What judges by a protocol."""
    match protocol.task:
        case "landmarks_2d":
            return Landmarks(protocol, choice.kind)
        case "joints_3d":
            return Joints(protocol)
        case "two_hands":
            return TwoHands(protocol)
        case "localization":
            return Localization(protocol)
        case "instances":
            return Instances(protocol)
