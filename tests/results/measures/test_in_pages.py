"""Web pages compute the same measures as Python."""

import json
import math
import shutil
import subprocess
from copy import copy
from pathlib import Path

import numpy as np
import pytest

from sonjit import Body, Face, Hand
from sonjit.results import Person
from sonjit.results.measures import measure_names, measures

WEB = Path(__file__).parents[3] / "web"
SCRIPT = """
import { readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const [folder] = process.argv.slice(1);
await build({ entryPoints: ["src/measures.ts"], bundle: true, format: "esm", outfile: `${folder}/measures.mjs` });
const { measuresOf } = await import(`${folder}/measures.mjs`);
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
writeFileSync(`${folder}/answers.json`, JSON.stringify(measured));
"""


@pytest.fixture
def in_page(tmp_path):
    """Return a function that gives the results of the browser module."""
    if not shutil.which("node") or not (WEB / "node_modules").is_dir():
        pytest.skip("what builds web/ is not installed: it needs npm; type: make web")

    def run(measured):
        (tmp_path / "given.json").write_text(json.dumps({"measured": measured}), "utf-8")
        subprocess.run(["node", "--input-type=module", "-e", SCRIPT, tmp_path], cwd=WEB, check=True, timeout=120)
        return json.loads((tmp_path / "answers.json").read_text("utf-8"))

    return run


def points(rng, count):
    return rng.normal(0, 0.1, (count, 3)).astype(np.float32)


def hand(rng, handedness="Right", shape=None):
    shape = points(rng, 21) if shape is None else shape
    return Hand(handedness, 1.0, 100 * shape, shape, id=1)


def body(rng, shape=None, visibility=None):
    shape = points(rng, 33) if shape is None else shape
    visibility = np.ones(33, np.float32) if visibility is None else visibility
    return Body(1.0, 100 * shape + 1, shape, visibility, visibility, id=1)


def face(rng, count=478):
    return Face(1.0, 100 * points(rng, count), id=1)


def plain(instance):
    """Return an instance as the worker of a page has it."""
    result = {"id": instance.id, "keypoints": [instance.keypoints.tolist(), None], "mirrored": instance.is_mirrored}
    if isinstance(instance, Hand):
        result |= {"handedness": instance.handedness, "keypoints3D": [instance.keypoints_3d.tolist(), None]}
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
    for selfie in [*map(copy, (instances[0], instances[4], instances[-3])), person]:
        selfie.is_mirrored = True
        instances += [] if selfie is person else [selfie]
    given = [[instance.kind, plain(instance)] for instance in instances]
    given.append(["body", plain(person.body) | {"hands": [plain(person.left_hand), plain(person.right_hand)]}])
    for ours, instance in zip(in_page(given), [*instances, person], strict=True):
        theirs = measures(instance)
        assert (
            [name for name, _ in ours] == [*theirs] == [*measure_names("body" if instance is person else instance.kind)]
        )
        values = [math.nan if value is None else value for _, value in ours]
        np.testing.assert_allclose(values, [*theirs.values()], rtol=1e-5, atol=1e-6)
