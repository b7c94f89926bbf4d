"""Measure recall and delay of hand motions on generated paths, and false events of ordinary movement.

The paths have random sizes, speeds, directions and people, and the keypoints have noise. No network runs. With clips,
it measures real motions, which were labelled by eye in motions_wild.toml.
"""

import argparse
import time
import tomllib
from collections import Counter
from pathlib import Path

import numpy as np

from sonjit import track
from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit.gestures import CustomMotions, MotionRecognizer, MotionRecording, MotionSpotter
from sonjit.results import Frame, Hand
from sonjit.results.measures import hand_length_m
from sonjit_lab.hand_models.rig import RigPose
from sonjit_lab.synthesis.gestures import add_deviation, gestures, resolved_angles
from sonjit_lab.synthesis.hand_shapes import rig_from_shape

PALM = [0, 5, 9, 13, 17]
POSES = ("open", "point", "pinch", "fist", "half", "relaxed")
ONE_HAND = (
    "Swipe_Right", "Swipe_Down", "Swipe_Left", "Swipe_Up", "Wave", "Circle_Clockwise", "Circle_Counterclockwise",
    "Pinch", "Drag", "Rotate", "Push",
)  # fmt: skip
TWO_HANDS = ("Zoom", "Clap")
RATES = (10, 30, 60)
FPS = 30  # rate of ordinary movement
LABELS = Path(__file__).with_name("motions_wild.toml")
LATE_S = 0.5
"""Maximum delay of the begin event after the end of a labelled motion."""
CUSTOM_FPS = 30
TURN = [(0.5 * np.cos(angle), 0.5 * np.sin(angle)) for angle in np.linspace(-np.pi, np.pi, 13)]
CUSTOM = {
    "turn": ("point", TURN),
    "tick": ("point", [(0, 0), (0.4, 0.5), (1.2, -0.6)]),
    "zigzag": ("open", [(0, 0), (1, 0), (0, 0.8), (1, 0.8)]),
    "square": ("point", [(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]),
    "ess": ("open", [(1, 0), (0.2, 0), (0, 0.3), (0.5, 0.5), (1, 0.7), (0.8, 1), (0, 1)]),
    "beckon": ("open", [(0, 0), (0, -0.8), (0, 0), (0, -0.8), (0, 0)]),
    "vee": ("point", [(0, 0), (0.5, 1), (1, 0)]),
    "hook": ("half", [(0, 0), (0, 1), (0.5, 1.2), (0.8, 0.8)]),
}
"""Custom motions: the shape of the hand, and the corners of the path in hand lengths."""
EXAMPLES, REPEATS = 3, 4
"""Number of examples of a custom motion by one person, and of repetitions by another one."""


class Person:
    """Return poses of a hand with the palm to the camera and the fingers up, in hand lengths around the palm."""

    def __init__(self, rng):
        rig = rig_from_shape("Right", rng.normal(size=36).clip(-2, 2))
        rest = rig.frames[0]
        axes = np.stack([rest[:, 0], -rest[:, 2], rest[:, 1]], 1)
        self.poses = {}
        for name in POSES:
            pose = gestures()[name]
            angles = resolved_angles(rig, add_deviation(pose.angles, rng), pose.touch)
            joints = rig.keypoints(RigPose(np.eye(3)[None], np.zeros((1, 3)), angles[None]))[0]
            points = (joints - joints.mean(0)) @ axes * [1, -1, 1]
            points /= float(hand_length_m(points))
            self.poses[name] = points - points[PALM].mean(0)

    def hand(self, rng, noise, shape, place, *, id, scale=1.0, roll=0.0):
        """Return a hand. `shape` is two poses and the position between them, `place` is in hand lengths."""
        first, second, share = shape
        points = self.poses[first] * (1 - share) + self.poses[second] * share
        points /= float(hand_length_m(points))  # bones keep their length between two poses
        points = points @ matrix_from_rotation_vector(np.array([0.0, 0.0, roll])).T
        pixels = (points * scale + [*place, 0] + rng.normal(0, noise, (21, 3))) * 150
        metres = (points + rng.normal(0, noise, (21, 3))) * 0.18
        side = "Left" if id == 1 else "Right"
        return Hand(side, 1.0, pixels.astype(np.float32), metres.astype(np.float32), id=id)


def smooth(t, start, seconds):
    """Return 0 before a movement, 1 after it, and a minimum-jerk transition between."""
    s = min(1.0, max(0.0, (t - start) / seconds))
    return s**3 * (10 - 15 * s + 6 * s * s)


def motion(name, rng):
    """Return the duration of a motion, and a function from a time to the shape, place, scale and roll of each hand."""
    size, tilt, slow = rng.uniform(0.85, 1.3), rng.uniform(-0.25, 0.25), rng.uniform(0.85, 1.2)
    start, still = 0.6, ("open", "open", 0.0)
    if name.startswith("Swipe"):
        angle = np.pi / 2 * ("Right", "Down", "Left", "Up").index(name[6:]) + tilt
        way, seconds = 1.8 * size * np.array([np.cos(angle), np.sin(angle)]), 0.3 * min(slow, 1.0)
        return start + seconds, lambda t: [(still, way * smooth(t, start, seconds), 1.0, 0.0)]
    if name == "Wave":
        hertz, end = rng.uniform(1.2, 2.5), start + 2
        return end, lambda t: [
            (still, (0.35 * size * np.sin(2 * np.pi * hertz * (np.clip(t, start, end) - start)), 0), 1, 0)
        ]
    if name.startswith("Circle"):
        turn, seconds = (1 if name.endswith("_Clockwise") else -1) * 2 * np.pi, rng.uniform(0.8, 1.6)
        end, radius = start + 2.3 * seconds, 0.5 * size

        def around(t):
            angle = turn * (np.clip(t, start, end) - start) / seconds
            return [(("point", "point", 0.0), radius * np.array([np.cos(angle) - 1, np.sin(angle)]), 1.0, 0.0)]

        return end, around
    if name == "Push":
        return start + 0.35 * slow, lambda t: [(still, (0, 0), 1 + 0.55 * size * smooth(t, start, 0.35 * slow), 0.0)]
    if name == "Clap":
        gap = 2.4 * size - 2.2 * size
        at = start + 0.2 * slow

        def apart(t):
            return 2.4 * size + (gap - 2.4 * size) * (smooth(t, start, 0.2 * slow) - smooth(t, at + 0.05, 0.25))

        return at, lambda t: [(still, (side * apart(t) / 2, 0), 1.0, 0.0) for side in (-1, 1)]
    closed, end = "fist" if name == "Drag" else "pinch", start + 1.8

    def grasp(t):
        shape = "open", closed, smooth(t, start, 0.25 * slow) - smooth(t, end - 0.25, 0.25)
        roll = tilt + (1.2 * size * smooth(t, start + 0.5, 0.7) if name == "Rotate" else 0)
        if name == "Zoom":
            gap = 2 + 1.5 * size * smooth(t, start + 0.5, 0.8)
            return [(shape, (side * gap / 2, 0), 1.0, 0.0) for side in (-1, 1)]
        return [(shape, (0.8 * size * smooth(t, start + 0.5, 0.8), 0), 1.0, roll)]

    return end, grasp


def judge_motions(count, noise, seed):
    """Print recall, delay and false events of each motion."""
    parts = {"Rotate": {"Pinch"}, "Zoom": {"Pinch"}}
    for name in (*ONE_HAND, *TWO_HANDS):
        correct, delays, others = 0, [], Counter()
        for number in range(count):
            rng = np.random.default_rng([seed, number, *name.encode()])
            person, fps, recognizer = Person(rng), RATES[number % 3], MotionRecognizer()
            over, hands_at = motion(name, rng)
            events = []
            for index in range(round((over + 1) * fps)):
                shown = enumerate(hands_at(index / fps), 1)
                hands = [
                    person.hand(rng, noise, shape, place, id=id, scale=scale, roll=roll)
                    for id, (shape, place, scale, roll) in shown
                ]
                events += recognizer(hands, index / fps)
            begun = Counter(
                event.name for event in events if event.phase == "begin" and event.name not in parts.get(name, ())
            )
            cancelled = Counter(event.name for event in events if event.phase == "cancel")
            begun -= cancelled
            ends = [
                event.time
                for event in events
                if (event.name, event.phase) == (name, "begin" if name == "Clap" else "end")
            ]
            correct += begun == {name: 1}
            delays += [ends[0] - over] if begun == {name: 1} and ends else []
            others += begun - Counter([name])
        delay = f"{np.median(delays):.2f} s, at most {max(delays):.2f} s" if delays else "-"
        print(f"{name}: {correct} of {count} reported once without others; delay {delay}; others {dict(others)}")


def ordinary(minute, noise, seed):
    """Yield times and two hands that reach, rest, turn and slowly change their shape, of another person each minute."""
    rng = np.random.default_rng([seed, minute])
    person = Person(rng)
    state = [[np.array([-1.5, 0.0]), 0.0, None], [np.array([1.5, 0.0]), 0.0, None]]
    poses = [["half", "half"], ["relaxed", "relaxed"]]
    phases = rng.uniform(0, 6, (2, 4))
    for index in range(60 * FPS):
        t, hands = index / FPS, []
        for side in range(2):
            home, until, move = state[side]
            if t >= until:
                here = home if move is None else move[1]
                reaches = rng.random() < 0.5
                away = here if not reaches else np.array([side * 3 - 1.5, 0]) + rng.uniform(-1, 1, 2) * [0.8, 1.5]
                seconds = rng.uniform(0.7, 1.5)
                state[side] = [here, t + seconds + rng.uniform(0.2, 2), (here, away, t, seconds)]
                poses[side] = [poses[side][1], str(rng.choice(["half", "relaxed", "point", "half"]))]
                home, _, move = state[side]
            here, away, since, seconds = move
            share = smooth(t, since, seconds)
            drift = 0.06 * np.sin(phases[side, :2] + t * np.array([0.9, 1.3]))
            roll, scale = 0.3 * np.sin(phases[side, 2] + 0.7 * t), 1 + 0.12 * np.sin(phases[side, 3] + 0.8 * t)
            place = here + (away - here) * share + drift
            hands.append(person.hand(rng, noise, (*poses[side], share), place, id=side + 1, scale=scale, roll=roll))
        yield t, hands


def judge_ordinary(minutes, noise, seed):
    """Print the events of ordinary movement."""
    events, cost_s, hands_seen = Counter(), 0.0, 0
    for minute in range(minutes):
        recognizer = MotionRecognizer()
        for t, hands in ordinary(minute, noise, seed):
            begin_s = time.process_time()
            found = recognizer(hands, t)
            cost_s += time.process_time() - begin_s
            hands_seen += 2
            events.update(event.name for event in found if event.phase == "begin")
    print(f"{minutes} minutes of ordinary movement of two hands: {sum(events.values())} events {dict(events)}")
    print(f"cost: {1000 * cost_s / hands_seen:.2f} ms of processor time per hand and frame")


def custom_frames(name, repeats, person, noise, rng):
    """Return frames of a hand that repeats a path with rests, and the start and end of each repetition in seconds."""
    pose, corners = CUSTOM[name]
    roll, places, spans = rng.normal(0, 0.2), [np.zeros(2)], []
    for _ in range(repeats):
        way = np.array(corners, np.float64) * rng.uniform(0.8, 1.25) + rng.normal(0, 0.08, (len(corners), 2))
        turn = rng.normal(0, 0.15)
        way = (way - way[0]) @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        far = np.concatenate([[0], np.linalg.norm(np.diff(way, axis=0), axis=1).cumsum()])
        share = np.linspace(0, 1, round(rng.uniform(0.8, 1.6) * CUSTOM_FPS))
        at = far[-1] * np.array([0.6 * smooth(part, 0, 1) + 0.4 * part for part in share])
        places += [places[-1]] * round(rng.uniform(0.4, 0.9) * CUSTOM_FPS)
        start, path = len(places), np.stack([np.interp(at, far, column) for column in way.T], 1)
        places += list(places[-1] + path)
        spans.append((start / CUSTOM_FPS, len(places) / CUSTOM_FPS))
    places += [places[-1]] * (CUSTOM_FPS // 2)
    hands = [person.hand(rng, noise, (pose, pose, 0.0), place, id=1, roll=roll) for place in places]
    return [Frame(index, index / CUSTOM_FPS, [hand]) for index, hand in enumerate(hands)], spans


def spotted(motions, frames):
    """Return the custom motions of some frames."""
    spotter = MotionSpotter(motions)
    return [item for frame in frames for item in spotter(frame.hands, frame.time)] + spotter.finish()


def judge_custom(people, noise, seed):
    """Print how often custom motions of another person, other paths and ordinary movement are reported."""
    found, repeats, others, other_paths, ordinary_events = Counter(), 0, 0, 0, Counter()
    for number in range(people):
        rng = np.random.default_rng([seed, number])
        teacher, other = Person(rng), Person(rng)
        recordings = {
            name: MotionRecording.of(name, custom_frames(name, EXAMPLES, teacher, noise, rng)[0]) for name in CUSTOM
        }
        tests = {name: custom_frames(name, REPEATS, other, noise, rng) for name in CUSTOM}
        usual = [Frame(index, t, hands[:1]) for index, (t, hands) in enumerate(ordinary(number, noise, seed))]
        for name, (_, spans) in tests.items():
            repeats += len(spans)
            for taught, motions in ((1, [recordings[name]]), (len(CUSTOM), [*recordings.values()])):
                events = spotted(CustomMotions.learn(motions), tests[name][0])
                right = [event for event in events if event.name == name]
                found[taught] += sum(
                    any(event.start < end and event.end > start for event in right) for start, end in spans
                )
                others += len(events) - len(right)
            single = CustomMotions.learn([recordings[name]])
            other_paths += sum(len(spotted(single, frames)) for path, (frames, _) in tests.items() if path != name)
            ordinary_events[1] += len(spotted(single, usual))
        ordinary_events[len(CUSTOM)] += len(spotted(CustomMotions.learn([*recordings.values()]), usual))
    print(f"custom motions of {EXAMPLES} examples, {people} pairs of people, {repeats} repetitions")
    print(f"  one taught: {found[1]} found; {other_paths} false in {repeats * (len(CUSTOM) - 1)} other paths")
    print(f"  {len(CUSTOM)} taught: {found[len(CUSTOM)]} found, {others} confused")
    minutes = {1: people * len(CUSTOM), len(CUSTOM): people}
    for taught, events in ordinary_events.items():
        print(f"  ordinary movement, {taught} taught: {events} events in {minutes[taught]} minutes")


def judge_taught_clips(clips):
    """Print the custom motions in clips, after learning from the labelled examples in each of them."""
    labels = tomllib.loads(LABELS.read_text("utf-8"))["taught"]
    frames = {clip.name: list(track(str(clip), "hands")) for clip in clips}
    for taught, spans in labels.items():
        if taught not in frames:
            continue
        examples = [[frame for frame in frames[taught] if start <= frame.time <= end] for start, end in spans]
        motions = CustomMotions.learn([MotionRecording.of("turn", example) for example in examples])
        for name in frames.keys() - {taught}:
            events, left = spotted(motions, frames[name]), list(labels.get(name, ()))
            for event in events:
                fits = [span for span in left if min(event.end, span[1]) - max(event.start, span[0]) > 0.5]
                left = [span for span in left if span not in fits[:1]]
            found = len(labels.get(name, ())) - len(left)
            print(f"taught in {taught}: {name}: {found} of {found + len(left)} found, {len(events) - found} false")


def judge_clips(clips):
    """Print the reported, missed and false motions of labelled clips."""
    labels, found, false, seconds = tomllib.loads(LABELS.read_text("utf-8"))["clips"], [], 0, 0.0
    for clip in clips:
        recognizer, begun, missed, frame = MotionRecognizer(), [], list(labels[clip.name]), None
        for frame in track(str(clip), "hands"):
            begun += [event for event in recognizer(frame.hands, frame.time) if event.phase == "begin"]
        seconds += frame.time
        for event in begun:
            fits = [label for label in missed if label[0] == event.name and label[1] <= event.time <= label[2] + LATE_S]
            if fits:
                missed.remove(fits[0])
                continue
            false += 1
            print(f"  {clip.name}: {event.name} at {event.time:.2f} s is false")
        found += [label not in missed for label in labels[clip.name]]
        for name, start, _ in missed:
            print(f"  {clip.name}: {name} of {start} s is missed")
    print(f"{len(clips)} clips, {seconds:.0f} s: {sum(found)} of {len(found)} motions reported, {false} false")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--count", type=int, default=21, help="paths of each motion, alternately at 10, 30 and 60 frames per second"
    )
    parser.add_argument("--minutes", type=int, default=10, help="duration of ordinary movement at 30 frames per second")
    parser.add_argument("--noise", type=float, default=0.01, help="standard deviation of a coordinate, in hand lengths")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--clips", type=Path, nargs="+", default=[], help="measure only these clips of motions_wild.toml"
    )
    parser.add_argument("--custom", type=int, metavar="PEOPLE", help="measure only custom motions of pairs of people")
    options = parser.parse_args()
    if options.clips:
        judge_clips(options.clips)
        judge_taught_clips(options.clips)
        return
    if options.custom:
        judge_custom(options.custom, 2 * options.noise, options.seed)
        return
    judge_motions(options.count, options.noise, options.seed)
    judge_ordinary(options.minutes, options.noise, options.seed)


if __name__ == "__main__":
    main()
