"""Read control maps: rules with a trigger and an action, and the commands that they make.

A map is a TOML file of rules. Each rule has a trigger (`on`, a gesture or motion, or `measure`, a number) and an
action, one of `ACTIONS`. A gesture may pause and resume all rules.
"""

import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Final, NamedTuple, Self, TypeVar, cast, get_args
from urllib.parse import urlsplit

from sonjit._util import InputError, Json, JsonObject, data_files, json_from
from sonjit._util.addresses import shown_name
from sonjit.gestures import classifier, custom_motions, motion_finders
from sonjit.gestures.custom import LearnedGestures
from sonjit.gestures.motions import MotionRecognizer
from sonjit.results import Hand, MotionEvent, Phase
from sonjit.results.measures import measure_names, measures

T = TypeVar("T")

ACTIONS: Final = {
    "osc": "HOST:PORT/ADDRESS, as in 127.0.0.1:9000/volume",
    "post": "an address, as in http://127.0.0.1:8000/hand",
    "websocket": "an address, as in ws://127.0.0.1:8000/hand",
    "mqtt": "HOST:PORT/TOPIC, as in 127.0.0.1:1883/room/light",
    "midi": "PORT/CHANNEL/control/NUMBER, PORT/CHANNEL/note/NUMBER or PORT/CHANNEL/pitch, as in Sonjit/1/control/7",
    "key": "keys, as in right or ctrl+s",
    "click": "one of left, middle, right",
    "pointer": "x or y with a measure, press or release with a gesture or motion",
}
"""Actions of rules, with the form of their target."""
_BUTTONS: Final = ("left", "middle", "right")
_SCHEMES: Final = {"post": ("http", "https"), "websocket": ("ws", "wss")}
_NUMBERS: Final = measure_names(Hand.kind)
PLACES: Final = ("x", "y")  # further measures: the centre of the palm as fractions of the image's width and height
_OF_MEASURES: Final = ("from", "to", "smooth_s", "dead_zone")
_NETWORK: Final = ("post", "websocket", "mqtt")
_OF_ACTIONS: Final = {
    "payload": _NETWORK,
    "headers": ("post",),
    "retain": ("mqtt",),
    "qos": ("mqtt",),
    "valid_s": _NETWORK,
    "state": ("post",),
}
"""Keys of rules, with the actions that use them."""
_COUNTED: Final = ("Rotate", "Zoom")  # motions whose value is their count
_LOST_S: Final = 1.0  # time after which a lost hand starts its gesture again, as in `GestureSmoother`
_MIN_PAUSE_INTERVAL_S: Final = 0.3  # time within which several hands that make the pause gesture count once


@dataclass(frozen=True, eq=False)
class Rule:
    """Rule of a control map."""

    on: str | None  # gesture, shipped or custom, or one of `MOTIONS`; None for a measure
    phase: Phase | None  # phase of a motion. Default: `end` for swipes, `begin` for others. Gestures have None.
    # Measure of a hand, or `x` or `y` of the palm as share of the image; None for a gesture or motion
    measure: str | None
    hand: str | None  # side of the hand, or None for both
    # `from` in the map: values of the measure that are sent as the first and last number of `to`
    low: float
    high: float
    to: tuple[float, float]  # minimum and maximum number to send
    smooth_s: float  # time constant of the smoothing in seconds; 0 for no smoothing
    dead_zone: float  # minimum difference from the last number sent
    action: str  # name in `ACTIONS`
    target: str  # target of the action, see `ACTIONS`
    # What `post`, `websocket` and `mqtt` send instead of the event: a text, or JSON with "{value}" for the value
    payload: Json = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])  # headers of `post`
    retain: bool = False  # the broker gives the last message to clients that subscribe later
    qos: int = 1  # quality of service of `mqtt`: 1 repeats a message whose receipt is not confirmed, 0 does not
    rest_s: float = 0.0  # minimum time between two commands of the rule in seconds
    valid_s: float = 60.0  # time for which a command waits for a receiver that does not answer, in seconds
    state: str | None = (
        None  # commands of `post` with one state replace each other while they wait; None for the target
    )

    @classmethod
    def from_table(cls, table: Mapping[str, object], custom: Sequence[str] = ()) -> Self:
        """Read one rule. Raise InputError for unknown keys or values, and keys that have no effect together."""
        choices = ("on", "phase", "measure", "hand", *_OF_MEASURES, *_OF_ACTIONS, "rest_s", *ACTIONS)
        if unknown := [key for key in table if key not in choices]:
            raise InputError(f"unknown key {unknown[0]!r:.60}. Choose from {', '.join(choices)}")
        if ("on" in table) == ("measure" in table):
            raise InputError("give either on, a gesture or motion, or measure")
        actions = [key for key in ACTIONS if key in table]
        if len(actions) != 1:
            raise InputError(f"give one of {', '.join(ACTIONS)}")
        (action,) = actions
        on, measure = (None if table.get(key) is None else str(table[key]) for key in ("on", "measure"))
        motion = on in motion_finders.MOTIONS
        idle = [*(("phase",) if not motion else ()), *(_OF_MEASURES if measure is None else ("key", "click"))]
        idle += ("rest_s",) if on is None else ()
        if stray := [key for key in idle if key in table]:
            raise InputError(f"{stray[0]} does not apply to {'a measure' if on is None else on}")
        if stray := [key for key, users in _OF_ACTIONS.items() if key in table and action not in users]:
            raise InputError(f"{stray[0]} does not apply to {action}, only to {', '.join(_OF_ACTIONS[stray[0]])}")
        if on is None:
            _choice("measure", measure, (*_NUMBERS, *PLACES))
        else:
            _chosen_name("on", on, (*custom, *motion_finders.MOTIONS, *classifier.GESTURES))
        hand = _choice("hand", table.get("hand"), (None, "Left", "Right"))
        usual: Phase = "end" if str(on).startswith("Swipe") else "begin"
        phase = (
            _choice("phase", table.get("phase", usual), cast("tuple[Phase, ...]", get_args(Phase))) if motion else None
        )
        low, high = _numbers("from", table.get("from", [0, 1]), 2)
        if low == high:
            raise InputError(f"from = [{low:g}, {high:g}]: give two different numbers")
        first, last = _numbers("to", table.get("to", [0, 1]), 2)
        smooth_s, dead_zone = (_numbers(name, [table.get(name, 0)], 1)[0] for name in ("smooth_s", "dead_zone"))
        rest_s, valid_s = (
            _numbers(name, [table.get(name, usual)], 1)[0] for name, usual in (("rest_s", 0), ("valid_s", 60))
        )
        if min(smooth_s, dead_zone, rest_s, valid_s) < 0:
            raise InputError("smooth_s, dead_zone, rest_s and valid_s: give 0 or more")
        target = table[action]
        _check_target(action, target, is_measure=measure is not None)
        assert isinstance(target, str)
        return cls(
            on,
            phase,
            measure,
            hand,
            low,
            high,
            (first, last),
            smooth_s,
            dead_zone,
            action,
            target,
            _payload(table.get("payload")),
            _headers(table.get("headers", {})),
            _choice("retain", table.get("retain", False), (False, True)),
            _choice("qos", table.get("qos", 1), (0, 1)),
            rest_s,
            valid_s,
            None if "state" not in table else str(table["state"]),
        )


class Broker(NamedTuple):
    """How all rules with `mqtt` connect to their brokers: the table `[mqtt]` of a map."""

    user: str | None = None
    password: str | None = None  # or $NAME for a variable of the environment
    tls: bool | str = False  # True for the certificates of the system, or the path of the broker's authority
    status: str | None = None  # topic with `online`, and `offline` as last will and at the end, both retained

    @classmethod
    def from_table(cls, table: object) -> Self:
        """Read the table. Raise InputError for unknown keys or values."""
        if not isinstance(table, dict):
            raise InputError("mqtt: give a table [mqtt]")
        items = cast("dict[str, object]", table)
        if unknown := [key for key in items if key not in cls._fields]:
            raise InputError(f"mqtt: unknown key {unknown[0]!r:.60}. Choose from {', '.join(cls._fields)}")
        for key, value in items.items():
            if not isinstance(value, (str, bool) if key == "tls" else str):
                raise InputError(f"mqtt: {key} = {value!r:.60}: give {'true or a path' if key == 'tls' else 'a text'}")
        broker = cls(**items)  # pyright: ignore[reportArgumentType]
        if broker.password is not None and broker.user is None:
            raise InputError("mqtt: password requires user")
        if broker.status is not None and (not broker.status or set(broker.status) & set("#+")):
            raise InputError(f"mqtt: status = {broker.status!r}: give a topic without # and +")
        return broker


class ControlMap(NamedTuple):
    """Rules of a map."""

    rules: list[Rule]  # rules in their order
    pause: str | None = None  # gesture that stops all commands, and resumes them when it is made again; None for none
    broker: Broker = Broker()


def load_map(path: Path, custom: Sequence[str] = ()) -> ControlMap:
    """Read a map, a TOML file with a table `[[rule]]` for each rule. Raise InputError if it is invalid."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{path} cannot be read: {reason}") from error
    return read_map(text, str(path), custom)


def read_map(text: str, path: str, custom: Sequence[str] = ()) -> ControlMap:
    """Read the text of a map, see `load_map`."""
    content = data_files.parse_toml(text, path)
    if unknown := [key for key in content if key not in ("rule", "pause", "mqtt")]:
        raise InputError(f"{path}: unknown key {unknown[0]!r:.60}. Choose from rule, pause, mqtt")
    tables = content.get("rule")
    if not isinstance(tables, list) or not tables or not all(isinstance(item, dict) for item in tables):  # pyright: ignore[reportUnknownVariableType]
        raise InputError(f"{path}: no rule; begin each with a line [[rule]]")
    rules: list[Rule] = []
    for number, table in enumerate(tables, 1):  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
        try:
            rules.append(Rule.from_table(table, custom))  # pyright: ignore[reportUnknownArgumentType]
        except InputError as error:
            raise InputError(f"{path}, rule {number}: {error}") from None
    try:
        pause = _chosen_name("pause", content.get("pause"), (None, *custom, *classifier.GESTURES))
        broker = Broker.from_table(content.get("mqtt", {}))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if pause is not None and any(rule.on == pause for rule in rules):
        raise InputError(f"{path}: {pause} pauses and has a rule. Choose another gesture for one of them")
    if "mqtt" in content and not any(rule.action == "mqtt" for rule in rules):
        raise InputError(f"{path}: [mqtt] has no effect, because no rule has mqtt")
    return ControlMap(rules, pause, broker)


@dataclass(frozen=True, eq=False)
class Command:
    """Command of a rule for a frame."""

    rule: Rule
    # value of the measure after `to`, score of a gesture, strength of a motion, turns of `Rotate`, or for `Zoom` the
    # ratio of distances
    value: float
    content: JsonObject  # the event or measure

    def to_dict(self) -> JsonObject:
        """Return the command as plain JSON types, an address without its secrets."""
        shown: JsonObject = {self.rule.action: shown_name(self.rule.target), "value": round(self.value, 4)}
        return shown | self.content | ({} if self.rule.payload is None else {"payload": self._payload})

    @property
    def text(self) -> str:
        """What `post`, `websocket` and `mqtt` send: the payload of the rule, or JSON with the value and the event."""
        if self.rule.payload is None:
            return json_from({"value": self.value} | self.content)
        return self._payload if isinstance(self._payload, str) else json_from(self._payload)

    @property
    def _payload(self) -> Json:
        return _with_value(self.rule.payload, self.value)


def examples_of(rule: Rule) -> Iterator[Command]:
    """Yield commands as the trigger of a rule makes them: one, or both ends of the range of a measure."""
    side = rule.hand or "Right"
    if rule.measure is not None:
        for value in rule.to:
            yield Command(rule, value, {"measure": rule.measure, "id": 1, "handedness": side, "time": 0.0})
        return
    phase: JsonObject = {} if rule.phase is None else {"phase": rule.phase}
    yield Command(rule, 1.0, {"name": rule.on, **phase, "id": 1, "handedness": side, "time": 0.0})


def _payload(value: object) -> Json:
    """Check a payload, which TOML may have given as a date or an infinite number."""
    try:
        json_from(value)
    except (TypeError, ValueError):
        raise InputError(f"payload = {value!r:.60}: give a text, a number, true, false, a list or a table") from None
    return cast("Json", value)


def _with_value(payload: Json, value: float) -> Json:
    """Return a payload with the value in place of each "{value}"."""
    if isinstance(payload, dict):
        return {key: _with_value(item, value) for key, item in payload.items()}
    if isinstance(payload, list):
        return [_with_value(item, value) for item in payload]
    if isinstance(payload, str) and payload != "{value}":
        return payload.replace("{value}", f"{value:g}")
    return round(value, 4) if payload == "{value}" else payload


def _headers(table: object) -> dict[str, str]:
    items = cast("dict[str, object]", table) if isinstance(table, dict) else {"": None}
    for name, value in items.items():
        is_line = isinstance(value, str) and value.isascii() and value.isprintable()
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not is_line:
            raise InputError('headers: give a table of texts, as in { Authorization = "Bearer $TOKEN" }')
    return cast("dict[str, str]", items)


class MidiMessage(NamedTuple):
    """Target of `midi`."""

    port: str
    channel: int  # channel, 0..15
    kind: str  # kind of message: `control`, `note` or `pitch`
    number: int  # number of the controller or note, 0..127

    @classmethod
    def of(cls, target: str) -> Self | None:
        """Read a target; None if it is invalid."""
        match = re.fullmatch(r"(.+)/(\d{1,2})/(?:(control|note)/(\d{1,3})|(pitch))", target, re.ASCII)
        if match is None or not 1 <= int(match[2]) <= 16 or int(match[4] or 0) > 127:
            return None
        return cls(match[1], int(match[2]) - 1, match[3] or match[5], int(match[4] or 0))


def _check_target(action: str, target: object, *, is_measure: bool) -> None:
    """Check the target of an action."""
    text = target if isinstance(target, str) else ""
    try:
        address = urlsplit(text if action in _SCHEMES else f"osc://{text}")
        has_host = bool(address.hostname) and (address.port is None or address.port > 0)
        has_port = has_host and bool(address.port) and len(address.path) > 1
    except ValueError:
        has_host = has_port = False
        address = urlsplit("")
    message = MidiMessage.of(text) if action == "midi" else None
    fits = {
        "osc": has_port and text.isascii() and not set(text) & set(" #*,?{}"),
        "post": has_host and address.scheme in _SCHEMES["post"],
        "websocket": has_host and address.scheme in _SCHEMES["websocket"],
        "mqtt": has_port and not set(text) & set("#+?@"),
        "midi": message is not None and not (is_measure and message.kind == "note"),
        "key": all(text.split("+")),
        "click": text in _BUTTONS,
        "pointer": text in (("x", "y") if is_measure else ("press", "release")),
    }
    if not fits[action]:
        note = "; a note is played by a gesture or motion" if message is not None else ""
        raise InputError(f"{action} = {target!r}: give {ACTIONS[action]}{note}")


def _choice(name: str, value: object, choices: Sequence[T]) -> T:
    for choice in choices:
        if choice == value:
            return choice
    raise InputError(f"{name} = {value!r}: choose from {', '.join(str(choice) for choice in choices if choice)}")


def _chosen_name(name: str, value: object, choices: Sequence[T]) -> T:
    """Return the known gesture or motion that a value names."""
    choices = tuple(dict.fromkeys(choices))
    try:
        return _choice(name, value, choices)
    except InputError as error:
        names = {str(choice).replace("_", "").casefold(): str(choice) for choice in choices if choice is not None}
        close = get_close_matches(str(value).replace("_", "").casefold(), names, 1, cutoff=0.8)
        hint = f". Did you mean {names[close[0]]!r}?" if close else ""
        raise InputError(f"{error}, or a custom gesture with its file (--gestures){hint}") from None


def _numbers(name: str, values: object, count: int) -> list[float]:
    items = values if isinstance(values, list) else [values]  # pyright: ignore[reportUnknownVariableType]
    finite = (item for item in items if isinstance(item, int | float) and abs(item) <= sys.float_info.max)  # pyright: ignore[reportUnknownVariableType]
    numbers = [float(item) for item in finite if not isinstance(item, bool)]
    if len(items) != count or len(numbers) != count:  # pyright: ignore[reportUnknownArgumentType]
        raise InputError(f"{name}: give {'a number' if count == 1 else f'{count} numbers, as in [0, 1]'}")
    return numbers


class _Number(NamedTuple):
    """Number of a rule in the last frame."""

    time_s: float
    value: float  # smoothed
    sent: float


@dataclass(slots=True)
class _Follower:
    """Smoothing and dead zone of one rule's number."""

    last: _Number | None = None

    def follow(self, rule: Rule, value: float, time_s: float) -> float | None:
        """Return the next number to send, or None."""
        if self.last is None:
            self.last = _Number(time_s, value, value)
            return value
        keep = math.exp((self.last.time_s - time_s) / rule.smooth_s) if rule.smooth_s > 0 else 0.0
        value += (self.last.value - value) * keep
        is_sent = abs(value - self.last.sent) >= rule.dead_zone and value != self.last.sent
        self.last = _Number(time_s, value, value if is_sent else self.last.sent)
        return value if is_sent else None


class _RecentHand(NamedTuple):
    """Hand that was visible recently."""

    name: str | None  # of the gesture that it makes
    since_s: float
    time_s: float


class _Event(NamedTuple):
    """Step of a motion, or a custom motion or new gesture, whose phase is None."""

    name: str
    phase: Phase | None
    handedness: str
    value: float
    content: JsonObject

    @classmethod
    def of(cls, event: MotionEvent) -> Self:
        phase = event.phase if event.name in motion_finders.MOTIONS else None  # a custom motion only ends
        value = event.count if event.name in _COUNTED else event.strength
        return cls(event.name, phase, event.handedness, value, event.to_dict())


class Controller:
    """Turn the hands of each frame into commands. Custom gestures take precedence over the shipped ones."""

    def __init__(self, control_map: ControlMap, custom: LearnedGestures | None = None) -> None:
        self._rules, self._pause = control_map.rules, control_map.pause
        self.is_paused = False
        self._motions = MotionRecognizer(custom=custom and custom.motions)
        classify = classifier.gesture_of if custom is None else custom.or_shipped
        self._gestures = classifier.GestureSmoother(least_score=0, classify=classify)  # a dip starts no gesture again
        self._hands: dict[int, _RecentHand] = {}
        self._pause_made_s = -math.inf
        self._begun: dict[tuple[str, str, object], _Event] = {}  # motions that began and did not end
        self._followers = [_Follower() for _ in self._rules]
        self._rests_until_s: dict[Rule, float] = {}

    def __call__(
        self,
        hands: Sequence[Hand],
        time_s: float | None,
        size: tuple[int, int],
        motions: Sequence[MotionEvent] | None = None,
    ) -> Iterator[Command]:
        """Yield the commands of a frame in the order of the rules.

        The hands have ids. The time is in seconds, and the size of the image in pixels. Motions come from the detector,
        or are found here.
        """
        time_s = custom_motions.time_of(hands, time_s, -math.inf)
        recognized = self._motions(hands, time_s) if motions is None else motions
        events = [_Event.of(motion) for motion in recognized]
        events += self._new_gestures(hands, time_s)
        if self._is_pause_made(events, time_s):
            self.is_paused = not self.is_paused
        events = self._paired(events)
        for rule, follower in zip(self._rules, self._followers, strict=True):
            if rule.measure is not None and not self.is_paused:
                theirs = [hand for hand in hands if rule.hand in (None, hand.handedness)]
                hand = min(theirs, key=lambda hand: cast("int", hand.id), default=None)
                value = None if hand is None else _measure(rule, hand, size)
                number = None if value is None else follower.follow(rule, value, time_s)
                if hand is not None and number is not None:
                    content: JsonObject = {"measure": rule.measure, "id": hand.id, "handedness": hand.handedness}
                    yield Command(rule, number, content | {"time": round(time_s, 4)})
            for command in _commands(rule, events):
                if time_s >= self._rests_until_s.get(rule, -math.inf):
                    self._rests_until_s[rule] = time_s + rule.rest_s
                    yield command

    def finish(self) -> Iterator[Command]:
        """Yield the commands of the motions that end with the stream, after its last frame.

        Motions that began and were given to the controller are cancelled, so that every begin has an end.
        """
        events = self._paired([_Event.of(motion) for motion in self._motions.finish()])
        events += [
            event._replace(phase="cancel", content=event.content | {"phase": "cancel"})
            for event in self._begun.values()
        ]
        self._begun.clear()
        for rule in self._rules:
            yield from _commands(rule, events)

    def _paired(self, events: Sequence[_Event]) -> list[_Event]:
        """Return the events that become commands: during a pause only the ends of motions whose begin was one.

        A button that a begin pressed is therefore released. An end whose begin was in a pause is left out.
        """
        kept: list[_Event] = []
        for event in events:
            key = event.name, event.handedness, event.content["id"]
            is_pair = any((rule.on, rule.phase) == (event.name, "begin") for rule in self._rules)
            if is_pair and event.phase in ("end", "cancel"):
                is_kept = self._begun.pop(key, None) is not None
            else:
                is_kept = not self.is_paused
            if is_kept and event.phase == "begin":
                self._begun[key] = event
            if is_kept:
                kept.append(event)
        return kept

    def _new_gestures(self, hands: Sequence[Hand], time_s: float) -> Iterator[_Event]:
        """Yield the gestures that start in this frame."""
        self._hands = {key: gesture for key, gesture in self._hands.items() if time_s - gesture.time_s <= _LOST_S}
        for hand, steady in zip(hands, self._gestures(hands, time_s), strict=True):
            assert hand.id is not None
            key = 2 * hand.id + (hand.handedness == "Left")
            before = self._hands.get(key, _RecentHand(None, time_s, time_s))
            name = steady.name if steady is not None and time_s - before.since_s >= classifier.MIN_VISIBLE_S else None
            self._hands[key] = _RecentHand(name, before.since_s, time_s)
            if steady is not None and name not in (None, before.name):
                content: JsonObject = {"name": steady.name, "id": hand.id, "handedness": hand.handedness}
                yield _Event(steady.name, None, hand.handedness, steady.score, content | {"time": round(time_s, 4)})

    def _is_pause_made(self, events: Sequence[_Event], time_s: float) -> bool:
        """Check whether a hand starts the pause gesture, and none made it shortly before."""
        begins = any(event.name == self._pause for event in events)
        is_new = begins and time_s - self._pause_made_s > _MIN_PAUSE_INTERVAL_S
        is_held = any((hand.name, hand.time_s) == (self._pause, time_s) for hand in self._hands.values())
        if begins or (self._pause is not None and is_held):
            self._pause_made_s = time_s
        return is_new


def _commands(rule: Rule, events: Sequence[_Event]) -> Iterator[Command]:
    """Yield the commands of a rule for the events of its gesture or motion."""
    for event in events:
        if (event.name, event.phase) == (rule.on, rule.phase) and rule.hand in (None, event.handedness):
            yield Command(rule, event.value, event.content)


def _measure(rule: Rule, hand: Hand, size: tuple[int, int]) -> float | None:
    """Return the measure of a rule, mapped to its range; None if it is unknown."""
    assert rule.measure is not None
    if rule.measure in PLACES:
        axis = PLACES.index(rule.measure)
        value = float(hand.keypoints[classifier.PALM, axis].mean()) / size[axis]
    else:
        value = measures(hand)[rule.measure]
    share = min(1.0, max(0.0, (value - rule.low) / (rule.high - rule.low)))
    return None if math.isnan(value) else rule.to[0] + (rule.to[1] - rule.to[0]) * share
