"""Web pages follow the same boxes of faces as Python, here on an image that does not change."""

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
SCRIPT = """
import { readFileSync } from "node:fs";
import { build } from "esbuild";

const [folder] = process.argv.slice(1);
await build({
  entryPoints: ["src/search/bystanders.ts"], bundle: true, format: "esm", platform: "node",
  outfile: `${folder}/bystanders.mjs`,
});
const { addFound } = await import(`${folder}/bystanders.mjs`);
const regions = [];
const covered = JSON.parse(readFileSync(`${folder}/given.json`, "utf8"))
  .map((found, time) => [...addFound(regions, found, time / 8), ...regions.map(({ box }) => box)]);
process.stdout.write(JSON.stringify(covered));
"""
FOUND = [
    [(100, 60, 180, 140), (20, 20, 60, 60)],
    [(110, 70, 130, 90)],  # inside a face
    [(102, 60, 182, 140), (100, 60, 145, 105)],  # the second is a part of the first
    [(135, 60, 215, 140), (160, 60, 240, 140)],  # the first is nearer to the second than to a face
    [(130, 60, 210, 140)],
]


def test_the_same_boxes_are_covered_as_in_python(tmp_path, monkeypatch):
    if not shutil.which("node") or not (WEB / "node_modules").is_dir():
        pytest.skip("what builds web/ is not installed: it needs npm; type: make web")
    (tmp_path / "given.json").write_text(json.dumps(FOUND), "utf-8")
    command = ["node", "--input-type=module", "-e", SCRIPT, tmp_path]
    answer = subprocess.run(command, cwd=WEB, check=True, timeout=120, capture_output=True)
    in_page = [{tuple(box) for box in boxes} for boxes in json.loads(answer.stdout)]

    class Search:
        def __init__(self, _):
            self.finds = iter(FOUND)

        def find(self, rgb, *, thorough):
            return Bystanders(next(self.finds), [])

        def glance(self, rgb, parts, **_):
            return next(self.finds) if parts == 1 else []

    monkeypatch.setattr(bystanders, "BystanderSearch", Search)
    anonymiser, rgb = Anonymiser("blur"), np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    for number, expected in enumerate(in_page):
        covered = anonymiser.boxes(SourceFrame(number, number / 8, rgb)).faces
        assert {tuple(map(round, box)) for box in covered} == expected
    assert {(100, 60, 180, 140), (110, 70, 130, 90)} <= in_page[1]
