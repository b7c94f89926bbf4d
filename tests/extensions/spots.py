"""A detector kind of an extension: bright spots. It needs only this file."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from sonjit.detectors.interfaces import Kind
from sonjit.detectors.kinds import KindEntry, Model, register_kind
from sonjit.detectors.options import CommonOptions, Option
from sonjit.geometry.boxes import RotatedBox
from sonjit.media.drawing import Drawing
from sonjit.results import Points, Result, Value
from sonjit.results.skeletons import Skeleton

SKELETON = Skeleton(
    name="spot_corners4",
    keypoints=("top", "right", "bottom", "left"),
    parents=(-1, 0, 1, 2),
    connections=((0, 1), (1, 2), (2, 3), (3, 0)),
    groups={},
)


def draw_spot(canvas, spot, person):
    x_min, y_min, x_max, y_max = (round(edge) for edge in spot.box)
    canvas[max(y_min, 0) : y_max, max(x_min, 0) : x_max] = (255, 0, 0)


@dataclass(eq=False, slots=True)
class Spot(Result):
    """Bright spot with a score and four points around it."""

    score: float
    keypoints: np.ndarray
    id: int | None = None

    kind: ClassVar[str] = "spot"
    list_name: ClassVar[str] = "spots"
    skeletons: ClassVar[dict[int, Skeleton]] = {4: SKELETON}
    measure_names: ClassVar[tuple[str, ...]] = ("spot_width_px",)
    drawing: ClassVar[Drawing] = Drawing(draw_spot, label=lambda spot: None)
    schema: ClassVar[tuple] = (
        Value("score", "score"),
        Points("keypoints", "keypoints", ("x", "y", "z")),
        Value("id", "id", full=True),
        Value("box", "box", full=True, is_box=True),
    )

    def measure(self):
        return {"spot_width_px": self.box[2] - self.box[0]}


@dataclass(frozen=True, eq=False)
class Seen:
    """Observation of a box; see `sonjit.detectors.observations.Observation`."""

    score: float
    keypoints: np.ndarray
    keypoints_3d: None = None
    left: None = None
    colours: None = None


class Spots(Kind):
    """Detector of squares around pixels that are brighter than a threshold."""

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold

    def find(self, rgb, min_score):
        rows, columns = np.nonzero(rgb.min(axis=2) >= self._threshold)
        if not len(rows):
            return []
        side = float(max(np.ptp(rows), np.ptp(columns)) + 1)
        return [RotatedBox(float(columns.mean() + 0.5), float(rows.mean() + 0.5), side, side, 0.0)]

    def observe(self, rgb, box):
        found = self.find(rgb, 0.0)
        if not found:
            return Seen(0.0, np.zeros((4, 3), np.float32))
        x, y, half = found[0].cx, found[0].cy, found[0].width / 2
        points = [[x, y - half, 0], [x + half, y, 0], [x, y + half, 0], [x - half, y, 0]]
        return Seen(1.0, np.array(points, np.float32))

    def follow(self, track):
        low, high = track.observation.keypoints[:, :2].min(0), track.observation.keypoints[:, :2].max(0)
        return RotatedBox(*((low + high) / 2).tolist(), *(high - low).tolist(), 0.0)

    def result(self, rgb, observation, track):
        return Spot(observation.score, observation.keypoints, None if track is None else track.id)


@dataclass(frozen=True, kw_only=True)
class SpotOptions(CommonOptions):
    """Options of spot detectors."""

    threshold: Annotated[int, Option("Minimum brightness, 0 to 255.", minimum=0, maximum=255)] = 200


SPOTS = register_kind(
    KindEntry(
        name="spots",
        result=Spot,
        summary="Find a bright spot.",
        plural="spots",
        models={"plain": Model("plain", {})},
        model_help="There is one.",
        options=SpotOptions,
        load=lambda options: Spots(options.threshold),
        instances=("spot",),
    )
)
