"""Gestures, motions and measures of hands that move things: rules of a map, and the messages that they make.

A map is a TOML file of rules. Each says on what it acts (`on`, a gesture or motion, or `measure`, a number) and what is
done then (`osc`, `post`, `key` or `click`). Nothing is sent to any address that does not stand in the map.
"""

from __future__ import annotations

import logging
import math
import socket
import tomllib
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final, NamedTuple, Self, TypeVar, cast, get_args
from urllib.parse import urlsplit

from sonjit.errors import InputError
from sonjit.extras import require
from sonjit.gestures.classifier import GESTURES, gesture_of
from sonjit.gestures.motion import MOTIONS, MotionRecognizer, Phase
from sonjit.gestures.smoothing import GestureSmoother
from sonjit.json_text import json_from
from sonjit.measures import MEASURE_NAMES, measures
from sonjit.osc import osc_message
from sonjit.results import Hand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import ModuleType, TracebackType

    from sonjit.gestures.custom import CustomGestures
    from sonjit.json_text import JsonObject

T = TypeVar("T")

_LOG = logging.getLogger(__name__)

_NUMBERS: Final = MEASURE_NAMES[Hand.kind]
_PLACES: Final = ("x", "y")
"""Measures beside those of `sonjit.measures`: the middle of the palm in shares of the image's width and height."""
_ACTIONS: Final = ("osc", "post", "key", "click")
_OF_MEASURES: Final = ("from", "to", "smooth_s", "dead_zone")
_BUTTONS: Final = ("left", "middle", "right")
_PALM: Final = [0, 5, 9, 13, 17]
_TIMEOUT_S: Final = 1.0


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
        action: one of `osc`, `post`, `key` and `click`.
        target: `HOST:PORT/ADDRESS` of osc, the URL of post, keys such as `ctrl+right`, or the button of click.
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
        known = ("on", "phase", "measure", "hand", *_OF_MEASURES, *_ACTIONS)
        if unknown := [key for key in table if key not in known]:
            raise InputError(f"unknown key {unknown[0]!r}; known: {', '.join(known)}")
        if ("on" in table) == ("measure" in table):
            raise InputError("give either on, a gesture or motion, or measure")
        actions = [key for key in _ACTIONS if key in table]
        if len(actions) != 1:
            raise InputError(f"give one of {', '.join(_ACTIONS)}")
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
        _check_target(action, target)
        assert isinstance(target, str)
        return cls(on, phase, measure, hand, low, high, (first, last), smooth_s, dead_zone, action, target)


def load_map(path: Path, custom: Sequence[str] = ()) -> list[Rule]:
    """The rules of a map, a TOML file with a table `[[rule]]` for each.

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
    if unknown := [key for key in content if key != "rule"]:
        raise InputError(f"{path}: unknown key {unknown[0]!r}; known: rule")
    tables = content.get("rule")
    if not isinstance(tables, list) or not tables or not all(isinstance(one, dict) for one in tables):  # pyright: ignore[reportUnknownVariableType]
        raise InputError(f"{path}: no rule; begin each with a line [[rule]]")
    rules: list[Rule] = []
    for number, table in enumerate(tables, 1):  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
        try:
            rules.append(Rule.from_table(table, custom))  # pyright: ignore[reportUnknownArgumentType]
        except InputError as error:
            raise InputError(f"{path}, rule {number}: {error}") from None
    return rules


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
        rules: of the map.
        custom: gestures that go before the shipped ones, or None.
    """

    def __init__(self, rules: Sequence[Rule], custom: CustomGestures | None = None) -> None:
        self._rules, self._custom = rules, custom
        self._motions, self._gestures = MotionRecognizer(), GestureSmoother()
        self._names: dict[int, str | None] = {}
        self._followers = [_Follower() for _ in rules]

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


class Outlets:
    """Sends commands to where their rules say, and nowhere else.

    Args:
        rules: of the map.

    Raises:
        InputError: a host that is not known, or a key that the keyboard does not have.
        MissingExtraError: keys or clicks without pynput.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._failed: set[str] = set()
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())
        actions = {"osc": self._osc, "post": self._post, "key": _key, "click": _click}
        with ExitStack() as stack:
            self._sockets = {
                family: stack.enter_context(socket.socket(family, socket.SOCK_DGRAM)) for family in _FAMILIES
            }
            self._send = {rule: actions[rule.action](rule.target) for rule in rules}
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def send(self, command: Command) -> None:
        """Send one; a target that does not take it is named once in a warning."""
        try:
            self._send[command.rule](command)
        except OSError as error:
            if command.rule.target not in self._failed:
                self._failed.add(command.rule.target)
                _LOG.warning("%s %s: %s", command.rule.action, command.rule.target, error)

    def _osc(self, target: str) -> Callable[[Command], object]:
        parts = urlsplit(f"osc://{target}")
        try:
            family, *_, place = socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_DGRAM)[0]
        except OSError as error:
            raise InputError(f"osc {target}: {error.strerror or error}") from error
        return lambda command: self._sockets[family].sendto(osc_message(parts.path, command.value), place)

    def _post(self, target: str) -> Callable[[Command], object]:
        def post(command: Command) -> None:
            data = json_from({"value": command.value} | command.content).encode()
            request = urllib.request.Request(target, data, {"Content-Type": "application/json"})
            with self._opener.open(request, timeout=_TIMEOUT_S):
                pass

        return post


_FAMILIES: Final = (socket.AF_INET, *((socket.AF_INET6,) if socket.has_ipv6 else ()))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """An answer that points elsewhere is an error: elsewhere does not stand in the map."""

    def redirect_request(self, *_: object, **__: object) -> None:
        """None of them."""


def _pynput(part: str) -> ModuleType:
    require("pynput", "key and click")
    try:
        return import_module(f"pynput.{part}")
    except ImportError as error:  # where there is no screen
        raise InputError(f"key and click cannot work here: {' '.join(str(error).split())}") from None


def _key(target: str) -> Callable[[Command], object]:
    keyboard = _pynput("keyboard")
    *held, last = [one if len(one) == 1 else getattr(keyboard.Key, one, None) for one in target.split("+")]
    if None in (*held, last):
        raise InputError(
            f"key {target!r}: an unknown key; known: single characters and {', '.join(keyboard.Key.__members__)}"
        )
    controller = keyboard.Controller()

    def press(_: Command) -> None:
        with controller.pressed(*held):
            controller.tap(last)

    return press


def _click(target: str) -> Callable[[Command], object]:
    mouse = _pynput("mouse")
    controller = mouse.Controller()
    return lambda _: controller.click(mouse.Button[target])


def _check_target(action: str, target: object) -> None:
    wanted = {
        "osc": "HOST:PORT/ADDRESS, as in 127.0.0.1:9000/volume",
        "post": "an address, as in http://127.0.0.1:8000/hand",
        "key": "keys, as in right or ctrl+s",
        "click": f"one of {', '.join(_BUTTONS)}",
    }[action]
    text = target if isinstance(target, str) else ""
    try:
        parts = urlsplit(f"osc://{text}" if action == "osc" else text)
        place = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        raise InputError(f"{action} = {target!r}: give {wanted}") from None
    fits = {
        "osc": place and bool(parts.port) and len(parts.path) > 1 and text.isascii() and not set(text) & set(" #*,?{}"),
        "post": place and parts.scheme in ("http", "https"),
        "key": all(text.split("+")),
        "click": text in _BUTTONS,
    }
    if not fits[action]:
        raise InputError(f"{action} = {target!r}: give {wanted}")


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
