"""Limits of the motions of a hand: what is a little inside is found, and what is a little outside is not."""

import cmath
import itertools
import math
from types import SimpleNamespace

import pytest

from sonjit.gestures.motion_finders import Circles, HandState, Holds, Pushes, Rotations, Swipes, Waves
from sonjit.gestures.motions import HandPair

OPEN = {
    "palm": 0j, "velocity": 0j, "tip": 0j, "tips": 0j, "is_up": True, "reach": (1.0, 1.0, 1.0), "index_reach": 1.0,
    "pinch": 0.5, "size": 100.0, "angle_rad": 0.0,
}  # fmt: skip


def steps(finder, frames):
    """Return the steps of a finder for frames of a time and changes of an open hand at rest."""
    return [step for time_s, changes in frames for step in finder(HandState(time_s, **OPEN | changes))]


def phases(found):
    """Return the names and phases without progress."""
    return [(step.name, step.phase) for step in found if step.phase != "progress"]


def times(seconds, start=0.0, step=0.01):
    return [start + step * k for k in range(round(seconds / step))]


def swipe(
    *, rest_s=0.2, rest_speed=0.0, speed=8.0, distance=2.0, degrees=0.0, bend=0.0, slow_s=0.0, last_speed=0.0, after=()
):
    """Yield a palm that rests, creeps, moves straight at a speed, and then moves at another one for 0.1 s."""
    way, along = cmath.rect(1, math.radians(degrees)), 0.0
    frames = [(t, {"velocity": rest_speed * way}) for t in times(rest_s)]
    for speed_now, seconds in ((2.0, slow_s), (speed, distance / speed), (last_speed, 0.1)):
        for t in times(seconds, frames[-1][0] + 0.01):
            along += 0.01 * speed_now
            aside = 4j * bend * along * max(0, 1 - along / distance)
            frames.append((t, {"palm": way * (along + aside), "velocity": speed_now * way}))
    return [*frames, *((frames[-1][0] + t, {"palm": way * (along + at), "velocity": way * v}) for t, at, v in after)]


SWIPE = [("Swipe_Right", "begin"), ("Swipe_Right", "end")]


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        ({"rest_s": 0.12}, {"rest_s": 0.09}),
        ({"rest_speed": 1.4}, {"rest_speed": 1.6}),
        ({"speed": 7.1}, {"speed": 6.9}),
        ({"distance": 1.25}, {"distance": 1.15}),
        ({"degrees": 29}, {"degrees": 31}),
        ({"degrees": -29}, {"degrees": -31}),
        ({"bend": 0.17, "distance": 1.3}, {"bend": 0.2, "distance": 1.3}),
        ({"slow_s": 0.58, "distance": 2.2}, {"slow_s": 0.6, "distance": 2.2}),
    ],
)
def test_a_swipe_is_quick_straight_and_comes_from_rest(inside, outside):
    assert phases(steps(Swipes(), swipe(**inside))) == SWIPE
    assert phases(steps(Swipes(), swipe(**outside))) == []


@pytest.mark.parametrize(("degrees", "name"), [(0, "Right"), (90, "Down"), (180, "Left"), (-90, "Up"), (115, "Down")])
def test_a_swipe_is_named_by_its_nearest_direction(degrees, name):
    assert {one for one, _ in phases(steps(Swipes(), swipe(degrees=degrees)))} == {f"Swipe_{name}"}


def test_a_swipe_ends_below_two_fifths_of_its_highest_speed_and_states_it():
    found = steps(Swipes(), swipe(speed=8.4))
    assert [step.strength for step in found] == pytest.approx([0.6] * len(found))
    assert {step.start for step in found} == {0j}
    assert steps(Swipes(), swipe(speed=20))[-1].strength == 1
    assert phases(steps(Swipes(), swipe(speed=10, last_speed=4.1))) == SWIPE[:1]
    assert phases(steps(Swipes(), swipe(speed=10, last_speed=3.9))) == SWIPE


def test_a_swipe_that_lasts_or_bends_is_cancelled():
    cancelled = [SWIPE[0], ("Swipe_Right", "cancel")]
    assert phases(steps(Swipes(), swipe(distance=9.2))) == SWIPE  # 1.15 s
    assert phases(steps(Swipes(), swipe(distance=10.4))) == cancelled
    aside = [(0.01 * k, 0.08j * k + 0.01 * k, 8) for k in range(1, 12)]
    assert phases(steps(Swipes(), swipe(after=aside, last_speed=5))) == cancelled


@pytest.mark.parametrize(("pause_s", "count"), [(0.3, 1), (0.45, 2)])
def test_a_swipe_back_soon_after_is_a_return(pause_s, count):
    finder, first = Swipes(), swipe()
    back = [
        (time_s + pause_s, values | {"palm": 2 + values.get("palm", 0)})
        for time_s, values in swipe(degrees=180)
    ]  # fmt: skip
    found = phases(steps(finder, first + [(first[-1][0] + time_s, values) for time_s, values in back]))
    assert found == SWIPE + [("Swipe_Left", phase) for phase in ("begin", "end")] * (count - 1)


def test_a_swipe_stops_when_its_hand_is_lost():
    finder = Swipes()
    steps(finder, swipe()[:-12])
    assert finder.is_active
    assert [(step.name, step.phase) for step in finder.stop()] == [("Swipe_Right", "cancel")]
    assert not finder.is_active
    assert list(finder.stop()) == []
    assert phases(steps(finder, swipe(rest_s=0.05))) == []  # its rest is forgotten


def hold(name, closure, *, within_s=0.5, shut_s=0.3, opened=0.0, **changes):
    """Yield a hand that is open, closes so far (0..1) within a time, stays shut, and opens to a closure."""
    frames = [(0.01 * k, 0.0) for k in range(20)]
    frames += [(0.2 + t, 0.5) for t in times(within_s)]
    frames += [(0.2 + within_s + t, closure) for t in times(shut_s)]
    frames += [(0.2 + within_s + shut_s + t, opened) for t in times(0.3)]
    for time_s, closed in frames:
        shape = {"pinch": 0.3 - 0.24 * closed} if name == "Pinch" else {"reach": (0.85 - 0.35 * closed,) * 3}
        yield time_s, shape | (changes if closed == closure else {})


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("Pinch", {"closure": 0.82}, {"closure": 0.78}),
        ("Drag", {"closure": 0.87}, {"closure": 0.83}),
        ("Pinch", {"closure": 1, "shut_s": 0.12}, {"closure": 1, "shut_s": 0.08}),
        ("Drag", {"closure": 1, "within_s": 0.85}, {"closure": 1, "within_s": 1.05}),
        ("Pinch", {"closure": 1, "index_reach": 0.61}, {"closure": 1, "index_reach": 0.59}),
        ("Drag", {"closure": 1}, {"closure": 1, "reach": (0.3, 0.4, 0.8)}),
        ("Drag", {"closure": 1, "reach": (0.3, 0.5, 0.74)}, {"closure": 1, "reach": (0.3, 0.5, 0.76)}),
    ],
)
def test_a_hand_holds_that_closes_soon_and_stays_so(name, inside, outside):
    assert phases(steps(Holds(name), hold(name, **inside))) == [(name, "begin"), (name, "end")]
    assert phases(steps(Holds(name), hold(name, **outside))) == []


@pytest.mark.parametrize("name", ["Pinch", "Drag"])
def test_a_hold_lasts_above_a_quarter_of_closure_and_states_it(name):
    assert phases(steps(Holds(name), hold(name, 1, opened=0.27))) == [(name, "begin")]
    ended = steps(Holds(name), hold(name, 1, opened=0.23))
    assert phases(ended) == [(name, "begin"), (name, "end")]
    assert (ended[0].strength, ended[-1].strength) == pytest.approx((1, 0.23))
    short = [*hold(name, 1, opened=0.27), *((2 + 0.01 * k, next(hold(name, 0))[1]) for k in range(8))]
    assert phases(steps(Holds(name), short)) == [(name, "begin")]  # it opens for less than 0.1 s


def test_a_lost_hold_needs_an_open_hand_again():
    finder, shut = Holds("Pinch"), {"pinch": 0.06}
    assert phases(steps(finder, [(0, {}), (0.01, shut), (0.12, shut)])) == [("Pinch", "begin")]
    assert [step.phase for step in finder.stop()] == ["cancel"]
    assert steps(finder, [(0.2, shut), (0.4, shut)]) == []
    assert phases(steps(finder, [(0.5, {}), (0.6, shut), (0.8, shut)])) == [("Pinch", "begin")]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_pinch_that_turns_by_20_degrees_is_a_rotation(sign):
    pinch = Holds("Pinch")
    finder, frames = Rotations(pinch), []
    for k in range(60):  # turn by a degree per frame, past the angle of half a turn
        angle = math.remainder(math.radians(155 + k) * sign, 2 * math.pi)
        state = HandState(0.01 * k, **OPEN | {"pinch": 0.06 if k else 0.5, "angle_rad": angle, "palm": complex(k)})
        list(pinch(state))
        frames.append([(step.phase, step.rounds * 360, step.strength * 180) for step in finder(state)])
    begin = next(k for k, found in enumerate(frames) if found)
    first = next(k for k in range(60) if 0.01 * k >= 0.109)  # of the pinch
    assert begin - first in (20, 21)
    assert frames[begin] == [("begin", pytest.approx(sign * (begin - first)), pytest.approx(begin - first))]
    assert frames[-1] == [("progress", pytest.approx(sign * (59 - first)), pytest.approx(59 - first))]
    list(pinch.stop())
    assert [step.phase for step in finder(HandState(1, **OPEN))] == ["end"]
    assert not finder.is_active
    assert list(finder(HandState(2, **OPEN))) == []


def push(*, growth=1.5, rate=1.5, aside=0.0, is_up=True, before=20):
    """Yield a hand that rests and grows by a factor, by its logarithm per second, then rests at that size."""
    frames = [(0.01 * k, {"is_up": is_up}) for k in range(before)]
    count = round(math.log(growth) / rate / 0.01)
    for k in range(count + 40):
        share = min(1, (k + 1) / count)
        frames.append((0.01 * (before + k), {"size": 100 * growth**share, "palm": aside * share + 0j}))
    return frames


PUSH = [("Push", "begin"), ("Push", "end")]


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        ({"growth": 1.33}, {"growth": 1.27}),
        ({"rate": 0.75, "growth": 1.5}, {"rate": 0.65, "growth": 1.5}),
        ({"aside": 0.6 * 1.2}, {"aside": 2.0}),
        ({"is_up": True}, {"is_up": False}),
        ({"rate": 0.72, "growth": 1.45}, {"rate": 0.5, "growth": 2.0}),
    ],
)
def test_a_push_is_a_quick_growth_of_a_raised_hand(inside, outside):
    assert phases(steps(Pushes(), push(**inside))) == PUSH
    assert phases(steps(Pushes(), push(**outside))) == []


def test_a_push_states_its_growth_and_its_highest_speed():
    found = steps(Pushes(), push(growth=1.6, rate=2.0))
    assert found[-1].rounds == pytest.approx(1.6)
    assert found[-1].strength == pytest.approx(math.log(1.6) / 0.24 / 4)
    assert found[0].rounds == pytest.approx(1.3, abs=0.03)
    assert found[0].start == 0
    assert phases(steps(Pushes(), push(before=1, rate=6)[:8])) == PUSH[:1]  # at once
    # it ends when the growth of the last 0.09 s is below 0.7 per second
    assert phases(steps(Pushes(), push(growth=1.6, rate=2.0)[: 20 + 24 + 5])) == PUSH[:1]
    assert phases(steps(Pushes(), push(growth=1.6, rate=2.0)[: 20 + 24 + 7])) == PUSH


@pytest.mark.parametrize(("size", "count"), [(108, 2), (114, 1)])
def test_another_push_soon_needs_a_hand_that_retreats(size, count):
    """Let the hand shrink again, at most to a tenth more than its smallest size, and grow at once."""
    frames = push(growth=1.5, rate=3)[: 20 + 14 + 9]
    for count_of_frames, begin, end in ((4, 150, size), (12, size, 1.5 * size), (30, 1.5 * size, 1.5 * size)):
        for k in range(count_of_frames):
            share = (k + 1) / count_of_frames
            frames.append((frames[-1][0] + 0.01, {"size": begin ** (1 - share) * end**share}))
    assert phases(steps(Pushes(), frames)) == PUSH * count


def wave(*, swing=0.5, period_s=0.6, flat=0.0, is_up=True, swings=5, still_s=0.5, noise=0.0):
    """Yield fingertips that swing to and fro by a length, with a height, and then rest."""
    count = round(period_s / 2 / 0.01)
    turns = [0.0, *(swing * (k % 2) for k in range(1, swings + 1))]
    frames = [(0.0, {"is_up": is_up})]
    for a, b in itertools.pairwise(turns):
        for k in range(count):
            x, y = a + (b - a) * (k + 1) / count, flat * swing * math.sin(math.pi * (k + 1) / count)
            frames.append((frames[-1][0] + 0.01, {"tips": complex(x, y), "is_up": is_up}))
    last = frames[-1][1]
    return frames + [(frames[-1][0] + 0.01 * (k + 1), last) for k in range(round(still_s / 0.01))]


WAVE = [("Wave", "begin"), ("Wave", "end")]


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        ({"swing": 0.32}, {"swing": 0.28}),
        ({"swing": 1.95}, {"swing": 2.05}),
        ({"period_s": 1.16}, {"period_s": 1.24}),
        ({"flat": 0.3}, {"flat": 0.38}),
        ({"is_up": True}, {"is_up": False}),
        ({"swings": 4}, {"swings": 3}),
    ],
)
def test_a_wave_swings_sideways_at_least_three_times(inside, outside):
    assert phases(steps(Waves(), wave(**inside))) == WAVE
    assert phases(steps(Waves(), wave(**outside))) == []


def test_a_wave_counts_its_swings_and_ends_after_a_rest():
    found = steps(Waves(), wave(swings=7, swing=0.6))
    assert (found[0].rounds, found[-1].rounds) == (3, 6)
    assert found[-1].strength == pytest.approx(0.57, abs=0.02)  # a reversal is known to 0.05
    assert phases(steps(Waves(), wave(still_s=0.29))) == WAVE[:1]
    assert phases(steps(Waves(), wave(still_s=0.37))) == WAVE
    finder = Waves()
    steps(finder, wave(still_s=0))
    assert [step.phase for step in finder.stop()] == ["cancel"]
    assert phases(steps(finder, wave(swings=3))) == []  # earlier swings are forgotten


def test_a_wave_to_the_left_is_one_to_the_right_in_a_mirror():
    right, left = (steps(Waves(), wave(swing=swing)) for swing in (0.5, -0.5))
    assert phases(right) == WAVE
    assert left == right


@pytest.mark.parametrize("share", [0.16, 0.26])
def test_a_small_movement_back_is_no_swing(share):
    """Interrupt a swing by a movement back: two swings shorter than 0.3 are no wave."""
    points = [0, 0.8, 0, 0.4, 0.4 - share, 0.8, 0.3]
    ways = [a + (b - a) * (k + 1) / 15 for a, b in itertools.pairwise(points) for k in range(15)]
    found = steps(Waves(), [(0.01 * k, {"tips": complex(x)}) for k, x in enumerate([0, *ways])])
    assert phases(found) == WAVE[: 1 if share < 0.2 else 2]


def circle(*, radius=0.5, turn_s=1.0, turns=1.5, squeeze=1.0, still_s=0.0, sign=1, index_reach=1.0):
    """Yield a fingertip that circles and then rests."""
    frames = []
    for t in times(turn_s * turns):
        angle = sign * 2 * math.pi * t / turn_s
        tip = complex(radius * math.cos(angle), squeeze * radius * math.sin(angle))
        frames.append((t, {"tip": tip, "index_reach": index_reach}))
    return frames + [(frames[-1][0] + t + 0.01, frames[-1][1]) for t in times(still_s)]


CIRCLE = [("Circle_Clockwise", "begin")]


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        ({"radius": 0.32}, {"radius": 0.28}),
        ({"turn_s": 2.4}, {"turn_s": 2.8}),
        ({"index_reach": 0.61}, {"index_reach": 0.59}),
        ({"squeeze": 0.6}, {"squeeze": 0.4}),
        ({"turns": 1.1}, {"turns": 0.9}),
    ],
)
def test_a_circle_is_round_and_complete(inside, outside):
    assert phases(steps(Circles(), circle(**inside))) == CIRCLE
    assert phases(steps(Circles(), circle(**outside))) == []


@pytest.mark.parametrize("sign", [1, -1])
def test_a_circle_has_a_direction_a_radius_and_its_turns(sign):
    found = steps(Circles(), circle(sign=sign, turns=3, radius=0.7))
    assert {step.name for step in found} == {"Circle_Clockwise" if sign > 0 else "Circle_Counterclockwise"}
    assert found[-1].strength == pytest.approx(0.7, abs=0.02)
    assert found[-1].rounds == pytest.approx(2.95, abs=0.1)
    assert found[0].rounds == pytest.approx(0.97, abs=0.06)


def test_a_circle_ends_at_rest_and_outside_its_ring():
    end = [*CIRCLE, ("Circle_Clockwise", "end")]
    assert phases(steps(Circles(), circle(still_s=0.27))) == CIRCLE
    assert phases(steps(Circles(), circle(still_s=0.37))) == end
    last = circle()[-1][0]  # the next point is part of the circle whose centre counts
    for radii, ends in ((1.85, False), (2.1, True), (0.2, False), (0.1, True)):
        tip = {"tip": cmath.rect(0.5 * radii, math.radians(178))}
        assert phases(steps(Circles(), [*circle(), (last + 0.02, tip)])) == (end if ends else CIRCLE), radii
    assert phases(steps(Circles(), [*circle(), (last + 0.02, {"index_reach": 0.5})])) == end


def pair_steps(distances, pinches=(), step_s=0.01):
    """Return the steps of two hands with these distances, one per frame, and the pair of hands."""
    pair, found = HandPair(), []
    for index, distance in enumerate(distances):
        hand = SimpleNamespace(
            time_s=index * step_s, palm=complex(index), pinch=SimpleNamespace(is_active=index in pinches)
        )
        hand.distance_to = lambda _, distance=distance: distance
        found += pair(hand, hand)
    return found, pair


def closing(*, start=2.0, stop=0.5, speed=8.0, after=()):
    """Return distances of hands that rest for 0.4 s, and move at a speed, and then at further ones to distances."""
    found = [start] * 40
    for target, at in ((stop, speed), *after):
        count = max(1, round(abs(target - found[-1]) / at / 0.01))
        found += [found[-1] + (target - found[-1]) * (k + 1) / count for k in range(count)]
    return found


CLAP = [("Clap", "begin")]


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        ({"stop": 0.78}, {"stop": 0.82}),
        ({"speed": 5.2}, {"speed": 4.8}),
        ({"start": 0.9, "stop": 0.48}, {"start": 0.9, "stop": 0.52}),
        ({"stop": 1.0, "after": [(0.78, 0.9)]}, {"stop": 1.0, "after": [(0.78, 0.6)]}),
    ],
)
def test_a_clap_is_a_quick_approach(inside, outside):
    assert phases(pair_steps(closing(**inside))[0]) == CLAP
    assert phases(pair_steps(closing(**outside))[0]) == []


def test_a_clap_states_its_speed_and_ends_when_the_hands_part():
    found, _ = pair_steps(closing(speed=7.5, after=[(1.08, 3)]))
    assert phases(found) == CLAP
    assert found[0].strength == pytest.approx(0.5)
    assert pair_steps(closing(speed=20))[0][0].strength == 1
    assert phases(pair_steps(closing(after=[(1.12, 3)]))[0]) == [*CLAP, ("Clap", "end")]
    assert phases(pair_steps(closing(after=[(1.2, 3), (0.5, 8)]))[0]) == [*CLAP, ("Clap", "end"), *CLAP]


@pytest.mark.parametrize(("distance", "speed", "is_clap"), [(1.45, 8, True), (1.55, 8, False), (1.45, 4.8, False)])
def test_a_hand_that_is_lost_close_to_another_one_claps(distance, speed, is_clap):
    _, pair = pair_steps(closing(start=2.5, stop=distance, speed=speed))
    assert [step.phase for step in pair.stop()] == ["begin", "end"] * is_clap


@pytest.mark.parametrize(("first", "ratios"), [(0.8, [1, 1.25, 0.5, 2]), (0.05, [0.5, 10, 4, 16])])
def test_two_pinches_zoom_by_the_ratio_of_their_distances(first, ratios):
    found, pair = pair_steps([2.0, first, 1.0, 0.4, 1.6, 1.6], range(1, 5))
    assert [step.phase for step in found] == ["begin", "progress", "progress", "progress", "end"]
    assert [step.rounds for step in found[:4]] == pytest.approx(ratios)
    assert {step.name for step in found} == {"Zoom"}
    assert {step.start for step in found} == {1}
    assert list(pair.stop()) == []
    _, pair = pair_steps([2.0, first], [1])
    assert [(step.name, step.phase) for step in pair.stop()] == [("Zoom", "cancel")]
