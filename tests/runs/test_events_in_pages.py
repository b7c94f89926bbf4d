"""Web pages compute the same measures and events as Python for the same frames."""

import json
import math
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from sonjit import Body, Face, Hand, InputError
from sonjit.results import Frame, Gesture, Person
from sonjit.results.measures import MEASURE_NAMES, measures
from sonjit.runs import EventLimits, EventTracker

WEB = Path(__file__).parents[2] / "web"
SCRIPT = """
import { readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const [folder] = process.argv.slice(1);
const names = ["events", "options"];
await build({
  entryPoints: names.map((name) => `src/${name}.ts`),
  bundle: true, format: "esm", outdir: folder, outExtension: { ".js": ".mjs" },
});
const [{ measuresOf, withEvents }, { settingsOf }] = await Promise.all(
  names.map((name) => import(`${folder}/${name}.mjs`)),
);
const given = JSON.parse(readFileSync(`${folder}/given.json`, "utf8"));
const PARTS = ["body", "leftHand", "rightHand", "face"];
const numbers = (list) => list && Float32Array.from(list.flat());
const points = ([values, score]) => ({ values: numbers(values), score: numbers(score) });
const valueOf = (key, value) => {
  if (key.startsWith("keypoints")) return points(value);
  if (key === "hands") return value.map(made);
  return PARTS.includes(key) && value ? made(value) : value;
};
const made = (one) => Object.fromEntries(Object.entries(one).map(([key, value]) => [key, valueOf(key, value)]));
const measured = given.measured.map(([kind, one]) => [...measuresOf({ kind, handedness: null, ...made(one) })]
  .map(([name, value]) => [name, Number.isNaN(value) ? null : value]));
const streams = [];
for (const { kind, events, frames } of given.streams) {
  let found = [];
  const detector = withEvents({ track: async () => ({ found }), reset() {} }, settingsOf(kind, { events }));
  const reported = [];
  for (const frame of frames) {
    found = frame.found.map(made);
    reported.push((await detector.track({ width: 640, height: 480 }, frame.time)).events);
  }
  streams.push(reported);
}
const refused = given.refused.map(([kind, events]) => {
  try {
    settingsOf(kind, { events });
    return null;
  } catch (error) {
    return error.message;
  }
});
writeFileSync(`${folder}/answers.json`, JSON.stringify({ measured, streams, refused }));
"""


@pytest.fixture
def in_page(tmp_path):
    """Return a function that gives the results of the browser module."""
    if not shutil.which("node") or not (WEB / "node_modules").is_dir():
        pytest.skip("what builds web/ is not installed: it needs npm; type: make web")

    def run(**given):
        empty = {"measured": [], "streams": [], "refused": []}
        (tmp_path / "given.json").write_text(json.dumps(empty | given), "utf-8")
        subprocess.run(["node", "--input-type=module", "-e", SCRIPT, tmp_path], cwd=WEB, check=True, timeout=120)
        return json.loads((tmp_path / "answers.json").read_text("utf-8"))

    return run


def points(rng, count):
    return rng.normal(0, 0.1, (count, 3)).astype(np.float32)


def hand(rng, handedness="Right", gesture=None, shape=None):
    shape = points(rng, 21) if shape is None else shape
    return Hand(handedness, 1.0, 100 * shape, shape, id=1, gesture=gesture and Gesture(gesture, 0.9))


def body(rng, shape=None, visibility=None):
    shape = points(rng, 33) if shape is None else shape
    visibility = np.ones(33, np.float32) if visibility is None else visibility
    return Body(1.0, 100 * shape + 1, shape, visibility, visibility, id=1)


def face(rng, count=478):
    return Face(1.0, 100 * points(rng, count), id=1)


def plain(instance):
    """Return an instance as the worker of a page has it."""
    if isinstance(instance, Person):
        parts = (instance.body, instance.left_hand, instance.right_hand, instance.face)
        named = zip(("body", "leftHand", "rightHand", "face"), parts, strict=True)
        return {"id": instance.id} | {name: part and plain(part) for name, part in named}
    result = {"id": instance.id, "keypoints": [instance.keypoints.tolist(), None]}
    if isinstance(instance, Hand):
        result |= {"handedness": instance.handedness, "keypoints3D": [instance.keypoints_3d.tolist(), None]}
        result["gesture"] = instance.gesture and instance.gesture._asdict()
    if isinstance(instance, Body):
        for name, values in (("keypoints", instance.keypoints), ("keypoints3D", instance.keypoints_3d)):
            result[name] = [values.tolist(), instance.visibility.tolist()]
    return result


def test_pages_compute_the_measures_that_python_computes(in_page):
    rng = np.random.default_rng(3)
    hidden = rng.random(33).astype(np.float32)
    instances = [hand(rng, side) for side in ("Left", "Right") for _ in range(4)]
    instances += [hand(rng, shape=np.zeros((21, 3), np.float32)), face(rng), face(rng, 468), face(rng, 6)]
    instances += [body(rng), body(rng, visibility=hidden), Face(1.0, np.zeros((478, 3), np.float32))]
    person = Person(body(rng), hand(rng, "Left"), hand(rng))
    given = [[instance.kind, plain(instance)] for instance in instances]
    given.append(["body", plain(person.body) | {"hands": [plain(person.left_hand), plain(person.right_hand)]}])
    for ours, instance in zip(in_page(measured=given)["measured"], [*instances, person], strict=True):
        theirs = measures(instance)
        assert (
            [name for name, _ in ours] == [*theirs] == [*MEASURE_NAMES["body" if instance is person else instance.kind]]
        )
        values = [math.nan if value is None else value for _, value in ours]
        np.testing.assert_allclose(values, [*theirs.values()], rtol=1e-5, atol=1e-6)


def bent(rng, angle_rad):
    """Return the keypoints of a body whose left elbow has an angle."""
    shape = points(rng, 33)
    shape[13], shape[11] = 0, (0.3, 0, 0)
    shape[15] = (0.3 * math.cos(angle_rad), 0.3 * math.sin(angle_rad), 0)
    return shape


def test_pages_report_the_events_that_python_reports(in_page):
    """Check people, hands with gestures, and bodies that are lost while a measure exceeds a limit."""
    rng = np.random.default_rng(4)
    person_limits = ["left_elbow_angle_rad:60:120", "left_elbow_angle_2d_rad:130:80", "index_reach:0.45:0.3"]
    hand_limits = ["thumb_curl:0.6:0.4", "palm_facing:0:0.2"]
    people, hands, bodies = [], [], []
    for index in range(90):
        angle = math.radians(90 + 80 * math.sin(index / 6))
        right_hand = hand(rng, "Right", "Fist" if index % 40 > 15 else None)
        person = Person(body(rng, bent(rng, angle)), None, right_hand, face(rng))
        people.append([] if 64 < index < 80 else [person])
        hands.append([hand(rng, side, "Victory" if index // 12 % 2 else None) for side in ("Left", "Right")])
        bodies.append([body(rng, bent(rng, 0.5))] if index % 45 < 20 else [])
    cases = [
        ("holistic", "people", person_limits, people),
        ("hands", "hands", hand_limits, hands),
        ("body", "bodies", person_limits[:2], bodies),
    ]
    streams = [
        {
            "kind": kind,
            "events": limits,
            "frames": [{"time": index / 20, "found": list(map(plain, found))} for index, found in enumerate(frames)],
        }
        for kind, _, limits, frames in cases
    ]
    answers = in_page(streams=streams)["streams"]
    phases = set()
    for (kind, name, limits, frames), ours in zip(cases, answers, strict=True):
        tracker = EventTracker([EventLimits.from_text(text, kind) for text in limits])
        for index, (found, events) in enumerate(zip(frames, ours, strict=True)):
            theirs = [asdict(event) for event in tracker(Frame(index, index / 20, **{name: found}))]
            assert [event.keys() for event in events] == [event.keys() for event in theirs]
            for event, own in zip(theirs, events, strict=True):
                assert own == pytest.approx(event, abs=1e-5)
                phases.add((kind, event["type"], event["phase"]))
    assert phases >= {(kind, "measure", phase) for kind in ("holistic", "body") for phase in ("begin", "cancel")}
    assert phases >= {("holistic", "measure", "end"), ("hands", "gesture", "begin"), ("hands", "gesture", "end")}


def test_pages_refuse_the_limits_that_python_refuses(in_page):
    texts = ["tail:1:2", "left_elbow_angle_rad:1", "left_elbow_angle_rad:1:2:3", "left_elbow_angle_rad::2"]
    texts += ["left_elbow_angle_rad:9:9", "left_elbow_angle_rad:1:Infinity"]
    messages = in_page(refused=[["body", [text]] for text in texts])["refused"]
    for text, message in zip(texts, messages, strict=True):
        with pytest.raises(InputError) as refused:
            EventLimits.from_text(text, "body")
        assert message.replace('"', "'") == str(refused.value)
