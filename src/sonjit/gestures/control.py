"""Gestures, motions and measures of hands that move things: rules of a map, and the commands that they make.

A map is a TOML file of rules. Each says on what it acts (`on`, a gesture or motion, or `measure`, a number) and what is
done then, one of `sonjit.gestures.outlets.ACTIONS`. A gesture may pause and resume all of them.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Self, TypeVar, cast, get_args

from sonjit.errors import InputError
from sonjit.gestures.classifier import GESTURES, gesture_of
from sonjit.gestures.motion import MOTIONS, MotionRecognizer, Phase
from sonjit.gestures.outlets import ACTIONS, check_target
from sonjit.gestures.smoothing import GestureSmoother
from sonjit.measures import MEASURE_NAMES, measures
from sonjit.results import Hand

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from sonjit.gestures.custom import CustomGestures
    from sonjit.json_text import JsonObject

T = TypeVar("T")

_NUMBERS: Final = MEASURE_NAMES[Hand.kind]
_PLACES: Final = ("x", "y")
"""Measures beside those of `sonjit.measures`: the middle of the palm in shares of the image's width and height."""
_OF_MEASURES: Final = ("from", "to", "smooth_s", "dead_zone")
_PALM: Final = [0, 5, 9, 13, 17]


@dataclass(frozen=True, eq=False)
class Rule:
    """One rule of a map.

    Attributes:
        on: a gesture, shipped or custom, or one of `MOTIONS`; None for a measure.
        phase: of a motion; by default the `end` of swipes and the `begin` of others. Gestures have None.
        measure: of hands, or `x` or `y`, the palm's place in shares of the image; None for a gesture or motion.
        hand: the side that counts, or None for both.
        low, high: `from` in the map: of the measure, what is sent as the first and last of `to`.
        to: the least and greatest number that is sent.
        smooth_s: time constant of the smoothing in seconds; 0 is none.
        dead_zone: least difference from the number that was sent last.
        action: one of `ACTIONS`.
        target: of the action, see `ACTIONS`.
    """

    on: str | None
    phase: Phase | None
    measure: str | None
    hand: str | None
    low: float
    high: float
    to: tuple[float, float]
    smooth_s: float
    dead_zone: float
    action: str
    target: str

    @classmethod
    def from_table(cls, table: Mapping[str, object], custom: Sequence[str] = ()) -> Self:
        """Read one rule.

        Args:
            table: of TOML.
            custom: names of gestures beside the shipped ones.

        Raises:
            InputError: an unknown key or value, or keys that have no effect together.
        """
        known = ("on", "phase", "measure", "hand", *_OF_MEASURES, *ACTIONS)
        if unknown := [key for key in table if key not in known]:
            raise InputError(f"unknown key {unknown[0]!r}; known: {', '.join(known)}")
        if ("on" in table) == ("measure" in table):
            raise InputError("give either on, a gesture or motion, or measure")
        actions = [key for key in ACTIONS if key in table]
        if len(actions) != 1:
            raise InputError(f"give one of {', '.join(ACTIONS)}")
        (action,) = actions
        on, measure = (None if table.get(key) is None else str(table[key]) for key in ("on", "measure"))
        motion = on in MOTIONS
        idle = [*(("phase",) if not motion else ()), *(_OF_MEASURES if measure is None else ("key", "click"))]
        if stray := [key for key in idle if key in table]:
            raise InputError(f"{stray[0]} has no effect with {'a measure' if on is None else on}: leave it out")
        if on is None:
            _one_of("measure", measure, (*_NUMBERS, *_PLACES))
        else:
            _one_of("on", on, (*MOTIONS, *GESTURES, *custom))
        hand = _one_of("hand", table.get("hand"), (None, "Left", "Right"))
        usual: Phase = "end" if str(on).startswith("Swipe") else "begin"
        phase = (
            _one_of("phase", table.get("phase", usual), cast("tuple[Phase, ...]", get_args(Phase))) if motion else None
        )
        low, high = _numbers("from", table.get("from", [0, 1]), 2)
        if low == high:
            raise InputError(f"from = [{low:g}, {high:g}]: give two different numbers")
        first, last = _numbers("to", table.get("to", [0, 1]), 2)
        smooth_s, dead_zone = (_numbers(name, [table.get(name, 0)], 1)[0] for name in ("smooth_s", "dead_zone"))
        if min(smooth_s, dead_zone) < 0:
            raise InputError("smooth_s and dead_zone: give 0 or more")
        target = table[action]
        check_target(action, target, is_measure=measure is not None)
        assert isinstance(target, str)
        return cls(on, phase, measure, hand, low, high, (first, last), smooth_s, dead_zone, action, target)


class ControlMap(NamedTuple):
    """What a map says.

    Attributes:
        rules: in their order.
        pause: the gesture that stops all commands, and lets them go on when it is made again; None for none.
    """

    rules: list[Rule]
    pause: str | None = None


def load_map(path: Path, custom: Sequence[str] = ()) -> ControlMap:
    """Read a map, a TOML file with a table `[[rule]]` for each rule.

    Args:
        path: of the file.
        custom: names of gestures beside the shipped ones.

    Raises:
        InputError: the file cannot be read, or a rule is none; the message says which.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{path} cannot be read: {reason}") from error
    if unknown := [key for key in content if key not in ("rule", "pause")]:
        raise InputError(f"{path}: unknown key {unknown[0]!r}; known: rule, pause")
    tables = content.get("rule")
    if not isinstance(tables, list) or not tables or not all(isinstance(one, dict) for one in tables):  # pyright: ignore[reportUnknownVariableType]
        raise InputError(f"{path}: no rule; begin each with a line [[rule]]")
    rules: list[Rule] = []
    for number, table in enumerate(tables, 1):  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
        try:
            rules.append(Rule.from_table(table, custom))  # pyright: ignore[reportUnknownArgumentType]
        except InputError as error:
            raise InputError(f"{path}, rule {number}: {error}") from None
    try:
        pause = _one_of("pause", content.get("pause"), (None, *GESTURES, *custom))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if pause is not None and any(rule.on == pause for rule in rules):
        raise InputError(f"{path}: {pause} pauses and has a rule: give one of them another gesture")
    return ControlMap(rules, pause)


@dataclass(frozen=True, eq=False)
class Command:
    """What a rule makes of a frame.

    Attributes:
        rule: that made it.
        value: of the measure after `to`; of a gesture its score, of a motion its strength.
        content: what `post` sends.
    """

    rule: Rule
    value: float
    content: JsonObject

    def to_dict(self) -> JsonObject:
        """As plain JSON types, as a dry run prints it."""
        return {self.rule.action: self.rule.target, "value": round(self.value, 4), **self.content}


@dataclass(slots=True)
class _Follower:
    """Smoothing and dead zone of one rule's number."""

    time_s: float = -math.inf
    value: float = 0.0
    sent: float | None = None

    def follow(self, rule: Rule, value: float, time_s: float) -> float | None:
        """The next number to send, or None."""
        elapsed = time_s - self.time_s
        keep = math.exp(-elapsed / rule.smooth_s) if rule.smooth_s > 0 and self.sent is not None else 0.0
        self.value, self.time_s = value + (self.value - value) * keep, time_s
        if self.sent is not None and (abs(self.value - self.sent) < rule.dead_zone or self.value == self.sent):
            return None
        self.sent = self.value
        return self.value


class _Event(NamedTuple):
    """A step of a motion, or a gesture that begins, whose phase is None."""

    name: str
    phase: Phase | None
    handedness: str
    value: float
    content: JsonObject


class Controller:
    """Makes commands of hands, frame by frame.

    Args:
        control_map: what to act on.
        custom: gestures that go before the shipped ones, or None.

    Attributes:
        is_paused: by the map's gesture.
    """

    def __init__(self, control_map: ControlMap, custom: CustomGestures | None = None) -> None:
        (self._rules, self._pause), self._custom = control_map, custom
        self.is_paused = False
        self._motions, self._gestures = MotionRecognizer(), GestureSmoother()
        self._names: dict[int, str | None] = {}
        self._followers = [_Follower() for _ in self._rules]

    def __call__(self, hands: Sequence[Hand], time_s: float | None, size: tuple[int, int]) -> Iterator[Command]:
        """The commands of one frame, in the order of the rules.

        Args:
            hands: all of the frame, with their ids.
            time_s: of the frame, in seconds.
            size: of the image, width and height in pixels.

        Raises:
            InputError: a still's hand, without an id or a time.
        """
        moved = self._motions(hands, time_s)
        assert time_s is not None  # the line before refuses stills
        events = [_Event(one.name, one.phase, one.handedness, one.strength, one.to_dict()) for one in moved]
        events += self._begun(hands, time_s)
        if sum(one.name == self._pause for one in events) % 2:
            self.is_paused = not self.is_paused
        if self.is_paused:
            return
        for rule, follower in zip(self._rules, self._followers, strict=True):
            if rule.measure is not None:
                value = _measured(rule, hands, size)
                number = None if value is None else follower.follow(rule, value, time_s)
                if number is not None:
                    yield Command(rule, number, {"measure": rule.measure, "time": round(time_s, 4)})
            for event in events:
                if (event.name, event.phase) == (rule.on, rule.phase) and rule.hand in (None, event.handedness):
                    yield Command(rule, event.value, event.content)

    def _begun(self, hands: Sequence[Hand], time_s: float) -> Iterator[_Event]:
        """The gestures that hands make now and did not before."""
        before, self._names = self._names, {}
        for hand in hands:
            assert hand.id is not None
            key = 2 * hand.id + (hand.handedness == "Left")
            seen = (self._custom and self._custom(hand)) or gesture_of(hand)
            steady = self._gestures.update(key, seen, time_s)
            self._names[key] = steady and steady.name
            if steady is not None and before.get(key) != steady.name:
                content: JsonObject = {"name": steady.name, "id": hand.id, "handedness": hand.handedness}
                yield _Event(steady.name, None, hand.handedness, steady.score, content | {"time": round(time_s, 4)})


def _measured(rule: Rule, hands: Sequence[Hand], size: tuple[int, int]) -> float | None:
    """The number of a rule, after `to`, of the hand that was seen first; None where it is not known."""
    theirs = [hand for hand in hands if rule.hand in (None, hand.handedness)]
    if not theirs or rule.measure is None:
        return None
    hand = min(theirs, key=lambda one: one.id or 0)
    if rule.measure in _PLACES:
        axis = _PLACES.index(rule.measure)
        value = float(hand.keypoints[_PALM, axis].mean()) / size[axis]
    else:
        value = measures(hand)[rule.measure]
    share = min(1.0, max(0.0, (value - rule.low) / (rule.high - rule.low)))
    return None if math.isnan(value) else rule.to[0] + (rule.to[1] - rule.to[0]) * share


def _one_of(name: str, value: object, known: Sequence[T]) -> T:
    for one in known:
        if one == value:
            return one
    raise InputError(f"{name} = {value!r}: give one of {', '.join(str(one) for one in known if one)}")


def _numbers(name: str, values: object, count: int) -> list[float]:
    given = values if isinstance(values, list) else [values]  # pyright: ignore[reportUnknownVariableType]
    numbers = [float(one) for one in given if isinstance(one, int | float) and not isinstance(one, bool)]  # pyright: ignore[reportUnknownVariableType]
    if len(given) != count or len(numbers) != count or not all(map(math.isfinite, numbers)):  # pyright: ignore[reportUnknownArgumentType]
        raise InputError(f"{name}: give {'a number' if count == 1 else f'{count} numbers, as in [0, 1]'}")
    return numbers
