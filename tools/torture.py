"""Attack Sonjit on purpose: damaged images and videos, and runs killed at random moments.

    make torture                                   # ten minutes
    .venv/bin/python tools/torture.py --minutes 60 --seed 7

Prints a table: test | tried | failures, and a line for each failure. Damaged files are read in processes of their own,
so that a crash of a decoder is counted; runs that were killed are typed again until they end, and must then hold the
same bytes as an undisturbed run, with nothing left over.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from sonjit import SonjitError
from sonjit.media import open_drawing_writer, open_source
from sonjit.media.sources.image_files import rgb_from

CLIP = Path(str(files("sonjit"))) / "assets" / "demo.mp4"
IMAGE_ENDINGS = (".jpg", ".png", ".webp", ".bmp", ".tiff", ".ppm")
VIDEO_CODECS = {".mp4": "libx264", ".mov": "prores_ks", ".mkv": "ffv1", ".webm": "libvpx", ".avi": "mpeg4"}
PIXELS = {"prores_ks": "yuv422p10le"}
HANG_S = 120
BATCH = 50
RUNS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "hands": (("hands", "{in}", "--model", "lite", "--save", "{out}/t/", "--draw", "{out}/d/"), ("t/*", "d/*")),
    "synth": (("synth", "{out}/s", "--count", "4", "--seed", "1", "--size", "96"), ("s/images/*", "s/coco.json")),
    "train": (
        ("train", "cam", "--smoke", "--set", "steps=6", "--set", "workers=0", "--out", "{out}/r"),
        ("r/*.safetensors", "r/network.json"),
    ),
}  # fmt: skip
"""Command lines, and what must come out the same of each."""


@dataclass
class Row:
    """One test: how often it was tried, and what failed."""

    name: str
    tried: int = 0
    failures: list[str] = field(default_factory=list[str])


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The same with bytes changed, cut, repeated or moved; most damage falls into the header."""
    made = bytearray(data)
    for _ in range(rng.choice((1, 2, 8, 64))):
        at = rng.randrange(min(len(made), rng.choice((64, 1024, len(made)))))
        made[at] = rng.choice((0, 0xFF, 0x7F, 0x80, rng.randrange(256)))
    if rng.random() < 0.2:
        del made[rng.randrange(1, len(made)) :]
    elif rng.random() < 0.1:
        start = rng.randrange(len(made))
        made[start:start] = made[: rng.randrange(1, 4096)]
    return bytes(made)


def make_originals(folder: Path) -> dict[str, list[Path]]:
    """Undamaged files: `images` and `videos`."""
    with open_source(CLIP) as source:
        frames = [cv2.resize(frame.rgb, (160, 120)) for frame in islice(source, 100, 106)]
    images: list[Path] = []
    for ending in IMAGE_ENDINGS:
        path = folder / f"image{ending}"
        path.write_bytes(cv2.imencode(ending, frames[0][..., ::-1])[1].tobytes())
        images.append(path)
    videos: list[Path] = []
    for ending, codec in VIDEO_CODECS.items():
        path = folder / f"video{ending}"
        with av.open(str(path), "w") as container:
            stream: Any = container.add_stream(codec, rate=30)
            stream.width, stream.height, stream.pix_fmt = 160, 120, PIXELS.get(codec, "yuv420p")
            for rgb in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb, np.uint8))))
            container.mux(stream.encode(None))
        videos.append(path)
    return {"images": images, "videos": videos}


def read_image(path: Path) -> None:
    """Read an image file."""
    rgb_from(path)


def read_and_draw_video(path: Path) -> None:
    """Read a few frames and draw them, as a run with `--draw` does."""
    with open_source(path) as source, open_drawing_writer(path.with_name("drawn.mp4"), source) as drawing:
        for frame in islice(source, 12):
            if frame.rgb.size < 3 * 4_000_000:  # a huge image is slow, not wrong
                drawing.write(frame.rgb, frame.time, index=frame.index, under=frame)


READERS: dict[str, Callable[[Path], None]] = {"images": read_image, "videos": read_and_draw_video}


def read_batch(kind: str, original: Path, seed: int, folder: Path) -> Iterator[str]:
    """Read many damaged copies of a file; a line for each that ended in anything but a line that names it."""
    data = original.read_bytes()
    for number in range(BATCH):
        path = folder / f"damaged-{seed + number}{original.suffix}"
        path.write_bytes(damaged(data, random.Random(seed + number)))
        try:
            READERS[kind](path)
        except SonjitError as error:
            if "\n" in str(error) or not ("damaged-" in str(error) or "drawn.mp4" in str(error)):
                yield f"{path.name}: {error!r}"
        except Exception as error:  # what is looked for
            yield f"{path.name}: {error!r}"
        path.unlink()


def read_damaged(row: Row, originals: list[Path], until_s: float, seed: int) -> None:
    """Read batches in processes of their own until the time is over."""
    command = (sys.executable, __file__, "--batch", row.name)
    while time.monotonic() < until_s:
        original = originals[row.tried // BATCH % len(originals)]
        with tempfile.TemporaryDirectory() as folder:
            arguments = (str(original), str(seed + row.tried), folder)
            try:
                done = subprocess.run(
                    [*command, *arguments], capture_output=True, text=True, timeout=HANG_S, check=False
                )
            except subprocess.TimeoutExpired:
                row.failures.append(f"{original.name}, seed {seed + row.tried}: no end after {HANG_S} s")
            else:
                found = json.loads(done.stdout) if done.returncode == 0 else [f"ended with {done.returncode}"]
                row.failures += [f"{original.name}, seed {seed + row.tried}: {line}" for line in found]
        row.tried += BATCH


def kill_and_resume(row: Row, inputs: Path, work: Path, until_s: float, rng: random.Random) -> None:
    """Kill a command line at random moments, type it again, and compare with an undisturbed run."""
    command, kept = RUNS[row.name]
    whole, begun_s = work / row.name / "whole", time.monotonic()
    if error := finished(command, inputs, whole):
        row.failures.append(f"undisturbed: {error}")
        return
    took_s, wanted = time.monotonic() - begun_s, contents(whole, kept)
    if not wanted:
        row.failures.append(f"undisturbed: nothing of {', '.join(kept)}")
    while time.monotonic() + took_s < until_s or not row.tried:
        out = work / row.name / f"killed-{row.tried}"
        for _ in range(2):
            process = start(command, inputs, out)
            try:
                process.wait(rng.uniform(0, took_s))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        error = finished(command, inputs, out)
        found = contents(out, kept)
        different = [name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)]
        left = [str(path.relative_to(out)) for path in out.rglob(".*.part*")]
        for said in (error, different and f"different: {different}", left and f"left over: {left}"):
            if said:
                row.failures.append(f"killed-{row.tried}: {said}")
        row.tried += 1
        shutil.rmtree(out, ignore_errors=True)


def start(command: tuple[str, ...], inputs: Path, out: Path) -> subprocess.Popen[bytes]:
    """A command line in a session of its own, so that its workers are killed with it."""
    line = [part.replace("{in}", str(inputs)).replace("{out}", str(out)) for part in command]
    out.mkdir(parents=True, exist_ok=True)
    with (out / "stderr.txt").open("wb") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "sonjit", *line], stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True
        )


def finished(command: tuple[str, ...], inputs: Path, out: Path) -> str:
    """Type it until its end; what it complained of where it failed."""
    return "" if start(command, inputs, out).wait() == 0 else (out / "stderr.txt").read_text(errors="replace")[-300:]


def contents(folder: Path, kept: tuple[str, ...]) -> dict[str, object]:
    """The bytes of what must be equal."""
    found = {path for pattern in kept for path in folder.glob(pattern) if path.is_file()}
    return {str(path.relative_to(folder)): path.read_bytes() for path in found if not path.name.startswith(".")}


def main() -> int:
    """Try everything for a share of the time each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="of all tests together, roughly")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", choices=[*READERS, *RUNS], default=[*READERS, *RUNS])
    parser.add_argument("--batch", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.batch:
        kind, original, seed, folder = given.batch
        sys.stdout.write(json.dumps(list(read_batch(kind, Path(original), int(seed), Path(folder)))))
        return 0
    rows = [Row(name) for name in given.only]
    share_s = 60 * given.minutes / len(rows)
    with tempfile.TemporaryDirectory(prefix="sonjit-torture-") as work:
        folder, inputs = Path(work) / "originals", Path(work) / "inputs"
        folder.mkdir()
        originals = make_originals(folder)
        shutil.copytree(folder, inputs, ignore=shutil.ignore_patterns("*.ppm"))
        for row in rows:
            until_s = time.monotonic() + share_s
            if row.name in READERS:
                read_damaged(row, originals[row.name], until_s, given.seed)
            else:
                kill_and_resume(row, inputs, Path(work), until_s, random.Random(given.seed))
    sys.stdout.write("| test | tried | failures |\n|---|---|---|\n")
    for row in rows:
        sys.stdout.write(f"| {row.name} | {row.tried} | {len(row.failures)} |\n")
    for row in rows:
        sys.stdout.writelines(f"{row.name}: {failure}\n" for failure in row.failures)
    return 1 if any(row.failures for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
