"""Web pages detect changes of streams on the same thumbnails as Python."""

import json
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from sonjit.detectors.search import streams

WEB = Path(__file__).parents[2] / "web"
SIZES = (640, 480), (1280, 720), (333, 200), (384, 216), (385, 201), (640, 20), (77, 901)
SCRIPT = """
import { readFileSync } from "node:fs";
import { build } from "esbuild";

const folder = process.argv[1];
await build({ entryPoints: ["src/search/streams.ts"], bundle: true, format: "esm", outfile: `${folder}/streams.mjs` });
const { thumbnailOf } = await import(`${folder}/streams.mjs`);
const sizes = JSON.parse(readFileSync(`${folder}/sizes.json`, "utf8"));
const images = sizes.map(([width, height]) => {
  return { width, height, data: new Uint8ClampedArray(readFileSync(`${folder}/${width}x${height}.rgba`)) };
});
console.log(JSON.stringify(images.map(thumbnailOf).map(({ width, height, data }) => [height, width, [...data]])));
"""


def test_thumbnails_are_those_of_python(tmp_path):
    """Images of few pixels have fractions of pixels in each mean, which Python adds with less precision."""
    if not shutil.which("node") or not (WEB / "node_modules").is_dir():
        pytest.skip("what builds web/ is not installed: it needs npm; type: make web")
    rng, expected = np.random.default_rng(3), []
    for width, height in SIZES:
        rgb = cv2.resize(rng.integers(0, 256, (30, 40, 3), np.uint8), (width, height), interpolation=cv2.INTER_LINEAR)
        np.dstack([rgb, np.full((height, width), 255, np.uint8)]).tofile(tmp_path / f"{width}x{height}.rgba")
        expected.append(streams.thumbnail_of(rgb))
    (tmp_path / "sizes.json").write_text(json.dumps(SIZES))
    command = ["node", "--input-type=module", "-e", SCRIPT, str(tmp_path)]
    out = subprocess.run(command, cwd=WEB, check=True, timeout=120, capture_output=True, text=True).stdout
    for (height, width, data), thumbnail in zip(json.loads(out), expected, strict=True):
        assert thumbnail.shape == (height, width, 3)
        assert np.abs(np.array(data).reshape(thumbnail.shape) - thumbnail).max() <= 1
        assert (np.array(data).reshape(thumbnail.shape) != thumbnail).mean() < 0.01
