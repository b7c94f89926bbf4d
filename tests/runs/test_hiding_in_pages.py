"""Web pages follow the same boxes of faces as Python, and keep them until the next search of a slow machine."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from sonjit.detectors import bystanders
from sonjit.detectors.bystanders import Bystanders
from sonjit.media import SourceFrame
from sonjit.runs.hiding import Anonymiser

WEB = Path(__file__).parents[2] / "web"
BUILD = """
import { build } from "esbuild";

const [folder, text] = process.argv.slice(1);
await build({
  entryPoints: ["src/search/bystanders.ts"], bundle: true, format: "esm", platform: "node",
  outfile: `${folder}/bystanders.mjs`,
});
const { addFound, BystanderSearch } = await import(`${folder}/bystanders.mjs`);
const given = JSON.parse(text);
"""
FOLLOW = """
const regions = [];
const covered = given.map((found, time) => {
  addFound(regions, found, time / 8, "faces");
  return regions.map(({ box }) => box);
});
process.stdout.write(JSON.stringify(covered));
"""
SLOW = """
let now = 0; // a search takes `given.searchMs`
performance.now = () => (now += given.searchMs);
let isFirst = true;
const faces = {
  find: async () => [],
  findIn: async () => {
    const keypoints = [[36, 27], [44, 27], [40, 31], [40, 36], [31, 29], [49, 29]];
    const found = isFirst ? [{ score: 0.9, box: [30, 20, 50, 40], keypoints }] : [];
    isFirst = false;
    return found;
  },
};
const meshes = { find: async () => [], isSameInstance: () => false, observe: async () => ({ score: 0 }) };
const people = { find: async () => ({ people: [], hands: [] }) };
const search = new BystanderSearch({ faces, meshes, people, bodies: {} });
const image = { width: 80, height: 60, data: new Uint8ClampedArray(80 * 60 * 4).fill(200) };
const counts = [];
for (const time of given.times) counts.push((await search.cover(image, time)).faces.length);
process.stdout.write(JSON.stringify(counts));
"""
FOUND = [
    [(100, 60, 180, 140), (20, 20, 60, 60)],
    [(110, 70, 130, 90)],  # inside a face
    [(102, 60, 182, 140), (100, 60, 145, 105)],  # the second is a part of the first
    [(135, 60, 215, 140), (160, 60, 240, 140)],  # the first is nearer to the second than to a face
    [(130, 60, 210, 140)],
]


@pytest.fixture
def in_page(tmp_path):
    """Return a function that runs a script with the search of pages and a value, and returns its output."""
    if not shutil.which("node") or not (WEB / "node_modules").is_dir():
        pytest.skip("what builds web/ is not installed: it needs npm; type: make web")

    def run(script, given):
        command = ["node", "--input-type=module", "-e", BUILD + script, tmp_path, json.dumps(given)]
        return json.loads(subprocess.run(command, cwd=WEB, check=True, timeout=120, capture_output=True).stdout)

    return run


@pytest.mark.parametrize(
    ("search_ms", "times", "shown"),
    [
        (10, [0, 0.9, 1.1], [True, True, False]),  # for a second
        (2000, [0, 3.9, 7.9, 8.1], [True, True, True, False]),  # 2 periods of twice the time of a search
    ],
)
def test_a_face_stays_covered_until_a_later_search_of_a_slow_machine(in_page, search_ms, times, shown):
    counts = in_page(SLOW, {"searchMs": search_ms, "times": times})
    assert [count > 0 for count in counts] == shown


def test_the_same_boxes_are_covered_as_in_python(in_page, monkeypatch):
    covered_in_page = [{tuple(box) for box in boxes} for boxes in in_page(FOLLOW, FOUND)]

    class Search:
        def __init__(self, *_):
            self.finds = iter(FOUND)

        def find(self, rgb, **_):
            return Bystanders(next(self.finds), [])

        def glance(self, rgb, parts, number=None):
            return next(self.finds) if parts == 1 else []

    monkeypatch.setattr(bystanders, "BystanderSearch", Search)
    anonymiser, rgb = Anonymiser("blur"), np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    for number, expected in enumerate(covered_in_page):
        covered = anonymiser.boxes(SourceFrame(number, number / 8, rgb)).faces
        assert {tuple(map(round, box)) for box in covered} == expected
    assert (100, 60, 180, 140) in covered_in_page[1]  # and not the part of it that is found
