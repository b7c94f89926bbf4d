"""One instant of a made world: hands, objects, light, background and the cameras that look at it.

Everything is said in numbers and names, so that a scene can be kept as truth and drawn again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sonjit.datasets.sample import SampleCamera
    from sonjit.hand_models import RigPose
    from sonjit.hand_models.rig import Side
    from sonjit.synthesis.drawable import Drawable, Lighting
    from sonjit.synthesis.hand_files import HandFiles


@dataclass(frozen=True)
class HandLook:
    """How a hand's surface looks.

    Attributes:
        tone: 1 (lightest) to 10 (darkest) on the Monk scale.
        texture: variant of the skin, 0 to 4 or more.
        amounts: strength of details by name, as `drawable.Material.amounts`.
        glove: name of a glove, or None.
        rings: fingers (0 thumb to 4 little) that wear one.
        sleeve: name of a sleeve, or None for a bare forearm.
        seed: of every pattern.
    """

    tone: int = 4
    texture: int = 0
    amounts: dict[str, float] = field(default_factory=dict[str, float])
    glove: str | None = None
    rings: tuple[int, ...] = ()
    sleeve: str | None = None
    seed: float = 0.0


@dataclass(frozen=True, eq=False)
class SceneHand:
    """One hand in the world.

    Attributes:
        side: whose hand it is, the person's own.
        shape: (36,) values by `hands.SHAPE_NAMES`, in standard deviations from the rig.
        pose: of one frame, in the world's axes.
        look: its surface.
        person: index of whose hand it is.
        bend: radians that the hand is bent towards its palm, and turned towards the thumb's side, against its forearm.
        files: the user's own hand that it is; None for the catalog's.
    """

    side: Side
    shape: NDArray[np.float64]
    pose: RigPose
    look: HandLook
    person: int = 0
    bend: tuple[float, float] = (0.0, 0.0)
    files: HandFiles | None = None


@dataclass(frozen=True, eq=False)
class Scene:
    """One instant.

    Hands have instances 1, 2, … in their order; gloves have 100 + the hand's instance; forearms, sleeves and rings have
    150 + the hand's instance; objects have 200, 201, ….

    Attributes:
        hands: in the world.
        objects: held things and occluders, ready to be drawn.
        lighting: in the world.
        background: (H, W, 3) uint8 RGB, stretched over each picture; one for each camera.
        cameras: with R and t of the world; their sizes stand in `sizes`.
        sizes: (width, height) pixels of each camera.
        factors: every named factor and its value, as drawn.
        sequence: name of the recording that it belongs to.
        frame: its number within that.
        time_s: likewise.
        seed: of what each camera's sensor adds.
    """

    hands: tuple[SceneHand, ...]
    objects: tuple[Drawable, ...]
    lighting: Lighting
    background: tuple[NDArray[np.uint8], ...]
    cameras: tuple[SampleCamera, ...]
    sizes: tuple[tuple[int, int], ...]
    factors: dict[str, float | int | str | bool]
    sequence: str = "still"
    frame: int = 0
    time_s: float = 0.0
    seed: int = 0
