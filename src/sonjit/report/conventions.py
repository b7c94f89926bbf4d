"""What the angles of a report mean: the conventions in words and as a drawing."""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from sonjit.report.documents import COLOURS, INK, Plot, svg_of
from sonjit.report.texts import Language, translated

Convention: TypeAlias = Literal["straight", "clinical"]

WORDS: Final[dict[Convention, str]] = {
    "straight": "A straight elbow, hip or knee has 180°, and bending makes the angle smaller. An arm along the trunk "
    "has 0°. The ankle is the angle between the shin and the sole from heel to toe, 90° for a flat foot below an "
    "upright shin.",
    "clinical": "A straight elbow, hip or knee has 0°, and flexion is positive. An arm along the trunk has 0°. "
    "The ankle is the angle between the shin and the sole from heel to toe, 0° for a flat foot below an upright shin, "
    "and raising the toes is positive.",
}
SIGNS: Final = (
    "The shoulder angle lies between upper arm and trunk, and the hip angle between trunk and thigh, both forward and "
    "to the side. Trunk lean and neck flexion are positive forward and negative backward. A trunk has 0° if it is "
    "upright in the picture of a level camera, a neck if it continues the trunk. Left and right are the sides of the "
    "person: orange is left, blue is right."
)
SIZE: Final = (670, 140)
"""Width and height of the drawing in pixels."""


class _Example(NamedTuple):
    """Two bones of a person who looks to the right, in pixels of the drawing, with the joint in the middle."""

    name: str
    texts: dict[Convention, str]
    points: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
    below: float = -8.0  # distance of the text below the joint


_EXAMPLES = (
    _Example("straight knee", {"straight": "180°", "clinical": "0°"}, ((55, 20), (55, 65), (55, 110))),
    _Example("bent knee", {"straight": "120°", "clinical": "60°"}, ((185, 20), (185, 65), (146, 88))),
    _Example("raised arm", {"straight": "90°", "clinical": "90°"}, ((310, 40), (265, 40), (265, 110)), 20.0),
    _Example("foot", {"straight": "90°", "clinical": "0°"}, ((370, 40), (370, 100), (410, 100))),
    _Example("trunk forward", {"straight": "+30°", "clinical": "+30°"}, ((507, 26), (480, 72), (480, 110)), 16.0),
    _Example("neck forward", {"straight": "+30°", "clinical": "+30°"}, ((616, 30), (603, 53), (603, 110)), 16.0),
)


def convention_plots(convention: Convention, language: Language = "en") -> tuple[Plot, Plot]:
    """Return the drawing as two plots."""
    half, title = SIZE[0] // 2, translated(language, "What the angles mean")
    marks: tuple[list[str], list[str]] = ([], [])
    for name, texts, points, below in _EXAMPLES:
        part = int(points[0][0] > half)
        moved = [(x - part * half, y) for x, y in points]
        path = " ".join(f"{x},{y}" for x, y in moved)
        x, y = moved[1]
        marks[part].append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[0]}" stroke-width="4"/>')
        marks[part].append(f'<circle cx="{x}" cy="{y}" r="5" fill="{COLOURS[1]}"/>')
        marks[part].append(f'<text x="{x + 10}" y="{y + below}" fill="{INK}">{texts[convention]}</text>')
        words = translated(language, name)
        marks[part].append(f'<text x="{_middle(moved)}" y="132" text-anchor="middle" fill="{INK}">{words}</text>')
    first, second = (
        Plot(f"convention-{at}", svg_of(half, SIZE[1], part, title), title) for at, part in enumerate(marks)
    )
    return first, second


def _middle(points: Sequence[tuple[float, float]]) -> float:
    return (min(x for x, _ in points) + max(x for x, _ in points)) / 2
