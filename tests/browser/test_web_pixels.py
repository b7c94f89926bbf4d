"""Crops that sample the centres of pixels, as MediaPipe's on graphics cards, in exact numbers."""

import json
import shutil
import subprocess

import numpy as np
import pytest

from .web_module import WEB

SCRIPT = """
import { readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const [folder] = process.argv.slice(1);
await build({ entryPoints: ["src/pixels.ts"], bundle: true, format: "esm", outfile: `${folder}/pixels.mjs` });
const { cropInto, letterboxInto } = await import(`${folder}/pixels.mjs`);
const { width, height, data, boxes, size } = JSON.parse(readFileSync(`${folder}/given.json`, "utf8"));
const image = { width, height, data: Uint8Array.from(data) };
const levels = Float32Array.from({ length: 256 }, (_, level) => -1 + (2 * level) / 255);
const crop = (fill) => {
  const to = { input: new Float32Array(size * size * 3), size, rows: size, levels, samplesCentres: true };
  fill(to);
  return [...to.input];
};
const found = boxes.map(([box, isBlack]) => crop((to) => cropInto(image, box, to, isBlack)));
found.push(crop((to) => letterboxInto(image, to)));
writeFileSync(`${folder}/found.json`, JSON.stringify(found));
"""
SIZE = 12


def expected_crop(rgb, box, is_black):
    """Interpolate an image (H, W, 3) at the middle of each pixel of a crop, (SIZE, SIZE, 3) from -1 to 1."""
    height, width = rgb.shape[:2]
    middles = (np.arange(SIZE) + 0.5) / SIZE - 0.5
    u, v = np.meshgrid(middles * box["width"], middles * box["height"])
    cos, sin = np.cos(box["rotation"]), np.sin(box["rotation"])
    x, y = box["cx"] + cos * u - sin * v, box["cy"] + sin * u + cos * v
    is_outside = (x < 0) | (x > width) | (y < 0) | (y > height)
    x, y = np.clip(x - 0.5, 0, width - 1), np.clip(y - 0.5, 0, height - 1)
    left, top = x.astype(int), y.astype(int)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, down = (x - left)[..., None], (y - top)[..., None]
    above = rgb[top, left] * (1 - across) + rgb[top, right] * across
    below = rgb[bottom, left] * (1 - across) + rgb[bottom, right] * across
    values = (above * (1 - down) + below * down) / 127.5 - 1
    if is_black:
        values[is_outside] = -1
    return values


def test_centres_are_interpolated_without_rounding(tmp_path):
    if not shutil.which("node") or not (WEB / "node_modules").is_dir():
        pytest.skip("what builds web/ is not installed: it needs npm; type: make web")
    rgb = np.random.default_rng(0).integers(0, 256, (20, 31, 3))
    rgba = np.dstack([rgb, np.full(rgb.shape[:2], 255)])
    turned = {"cx": 14.3, "cy": 9.1, "width": 17.0, "height": 17.0, "rotation": 0.4}
    beyond = {"cx": 2.0, "cy": 18.0, "width": 30.0, "height": 24.0, "rotation": -1.0}
    boxes = [(turned, False), (beyond, False), (beyond, True)]
    given = {"width": 31, "height": 20, "data": rgba.ravel().tolist(), "boxes": boxes, "size": SIZE}
    (tmp_path / "given.json").write_text(json.dumps(given), "utf-8")
    subprocess.run(["node", "--input-type=module", "-e", SCRIPT, tmp_path], cwd=WEB, check=True, timeout=60)
    found = json.loads((tmp_path / "found.json").read_text("utf-8"))
    whole = {"cx": 15.5, "cy": 10.0, "width": 31.0, "height": 31.0, "rotation": 0.0}
    for values, (box, is_black) in zip(found, [*boxes, (whole, True)], strict=True):
        expected = expected_crop(rgb, box, is_black)
        np.testing.assert_allclose(np.reshape(values, (SIZE, SIZE, 3)), expected, atol=1e-5)
