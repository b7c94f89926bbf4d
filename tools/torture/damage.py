"""Read damaged files in separate processes, so that a crash of a decoder is counted.

As a program, it reads a batch (format, original, seed, count, end, folder) and prints a line of JSON for each file.
"""

from __future__ import annotations

import faulthandler
import json
import pickle
import random
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from importlib.resources import files
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import scipy.io
from rows import Row

from sonjit import SonjitError
from sonjit.engines.onnxruntime import onnx_from_tflite
from sonjit.engines.openvino import read_model
from sonjit.lab.datasets.reading import load_matlab
from sonjit.lab.evaluation.protocols import load_protocol
from sonjit.lab.hand_models.mano_files import SHAPES, read_mano
from sonjit.lab.hand_models.rig import read_rig
from sonjit.lab.training.recipes import load_recipe
from sonjit.media import open_drawing_writer, open_source
from sonjit.media.sources.images import rgb_from
from sonjit.studio.annotation.mark_store import AnnotationStore
from sonjit.studio.annotation.marks import Mark
from sonjit.weights import find_weight
from sonjit.weights.bundles import load_bundle

CLIP = Path(str(files("sonjit"))) / "_util" / "assets" / "demo.mp4"
VIDEO_CODECS = {".mp4": "libx264", ".mov": "prores_ks", ".mkv": "ffv1", ".webm": "libvpx", ".avi": "mpeg4"}
PIXELS = {"prores_ks": "yuv422p10le"}
HANG_S = 300
BATCH = 1000


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Change, cut, repeat or move bytes, mostly in the header."""
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


def frames() -> list[np.ndarray]:
    """Return six small images."""
    with open_source(CLIP) as source:
        return [cv2.resize(frame.rgb, (160, 120)) for frame in islice(source, 100, 106)]


def make_images(folder: Path) -> None:
    """Write an image in each format."""
    for ending in (".jpg", ".png", ".webp", ".bmp", ".tiff", ".ppm"):
        (folder / f"image{ending}").write_bytes(cv2.imencode(ending, frames()[0][..., ::-1])[1].tobytes())


def make_videos(folder: Path) -> None:
    """Write a video in each container."""
    images = frames()
    for ending, codec in VIDEO_CODECS.items():
        with av.open(str(folder / f"video{ending}"), "w") as container:
            stream: Any = container.add_stream(codec, rate=30)
            stream.width, stream.height, stream.pix_fmt = 160, 120, PIXELS.get(codec, "yuv420p")
            for rgb in images:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb, np.uint8))))
            container.mux(stream.encode(None))


def make_tflite(folder: Path) -> None:
    """Copy small published networks."""
    for name in ("hand-recrop", "selfie", "face-short"):
        shutil.copy(find_weight(name), folder / f"{name}.tflite")


def make_onnx(folder: Path) -> None:
    """Write a small network as ONNX."""
    (folder / "network.onnx").write_bytes(onnx_from_tflite(find_weight("face-short")))


def make_pickles(folder: Path) -> None:
    """Write pickles with the fields of MANO."""
    rng = np.random.default_rng(0)
    fields = {name: rng.normal(0, 0.01, shape).astype(np.float16) for name, shape in SHAPES.items()}
    for protocol in (2, 4):
        (folder / f"mano{protocol}.pkl").write_bytes(pickle.dumps(fields, protocol))


def make_matlab(folder: Path) -> None:
    """Write labels in the format of STB, plain and compressed."""
    labels = {"handPara": np.random.default_rng(0).normal(size=(3, 21, 20))}
    for compressed in (False, True):
        scipy.io.savemat(folder / f"labels{compressed:d}.mat", labels, do_compression=compressed)


def mark(frame: int, joint: int) -> Mark:
    """Somebody's mark."""
    return Mark(f"{frame}-{joint}", frame, "cam0", joint, "kim", x=10.5, y=20.5)


def make_stores(folder: Path) -> None:
    """Write the marks of an annotation project."""
    store = AnnotationStore(folder / "marks.sqlite")
    store.add([mark(frame, joint) for frame in range(20) for joint in range(42)])
    store.close()


def make_bundles(folder: Path) -> None:
    """Write bundles of small networks, stored and compressed."""
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(folder / f"hands{method}.task", "w", method) as bundle:
            for name in ("hand_detector.tflite", "hand_landmarks_detector.tflite"):
                bundle.write(find_weight("hand-recrop"), name)


def make_toml(folder: Path) -> None:
    """Protocols."""
    for name in ("freihand", "detection", "coco-keypoints"):
        text = files("sonjit").joinpath(f"lab/evaluation/protocols/{name}.toml").read_text("utf-8")
        (folder / f"{name}.toml").write_text(text, "utf-8")


def make_recipes(folder: Path) -> None:
    """Write training recipes."""
    for name in ("cam", "internet"):
        text = files("sonjit").joinpath(f"lab/training/recipes/{name}.toml").read_text("utf-8")
        (folder / f"{name}.toml").write_text(text, "utf-8")


def make_rigs(folder: Path) -> None:
    """Write a rigged hand."""
    shutil.copy(find_weight("hand-rig-left"), folder / "left.glb")


def read_and_draw_video(path: Path) -> None:
    """Read a few frames and draw them, as a run with `--draw` does."""
    with open_source(path) as source, open_drawing_writer(path.with_name("damaged-drawn.mp4"), source) as drawing:
        for frame in islice(source, 12):
            if frame.rgb.size < 3 * 4_000_000:  # huge images are valid, but slow
                drawing.write(frame.rgb, frame.time, index=frame.index, under=frame)


def read_store(path: Path) -> None:
    """Open a store, read and write it."""
    store = AnnotationStore(path)
    try:
        for frame in range(20):
            store.marks(frame)
        store.add([mark(99, 2)])
    finally:
        store.close()


FORMATS: dict[str, tuple[Callable[[Path], None], Callable[[Path], object]]] = {
    "images": (make_images, rgb_from),
    "videos": (make_videos, read_and_draw_video),
    "tflite": (make_tflite, read_model),
    "onnx": (make_onnx, read_model),
    "pickles": (make_pickles, read_mano),
    "matlab": (make_matlab, load_matlab),
    "sqlite": (make_stores, read_store),
    "bundles": (make_bundles, load_bundle),
    "protocols": (make_toml, lambda path: load_protocol(str(path))),
    "recipes": (make_recipes, lambda path: load_recipe(str(path))),
    "rigs": (make_rigs, read_rig),
}
"""Functions that write the originals and read a damaged copy."""


def read_batch(name: str, original: Path, seed: int, count: int, until_s: float, folder: Path) -> Iterator[str]:
    """Read damaged copies of a file for a limited time. Return the unexpected outcomes."""
    data = original.read_bytes()
    for number in range(count):
        path = folder / f"damaged-{seed + number}{original.suffix}"
        path.write_bytes(damaged(data, random.Random(seed + number)))
        faulthandler.dump_traceback_later(HANG_S, exit=True)
        found = ""
        try:
            FORMATS[name][1](path)
        except SonjitError as error:
            if "\n" in str(error) or "damaged-" not in str(error):
                found = repr(error)
        except Exception as error:  # expected outcome
            found = repr(error)[:500]
        yield found
        for left in folder.iterdir():
            left.unlink()
        if time.monotonic() > until_s:
            break


def read_damaged(row: Row, work: Path) -> None:
    """Read batches in separate processes until the time is over. A crash or hang ends the batch at its file."""
    FORMATS[row.name][0](work)
    originals = sorted(work.iterdir())
    for original in cycle(originals):
        if not row.has_time():
            break
        first, folder = row.seed + row.tried, work / "batch"
        folder.mkdir()
        command = (__file__, row.name, original, first, int(min(BATCH, row.max_tries - row.tried)), row.until_s, folder)
        done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, errors="replace")
        found = [json.loads(line) for line in done.stdout.splitlines()]
        if done.returncode:
            found.append(f"ended with {done.returncode}: {done.stderr[-300:]}")
        for number, failure in enumerate(found):
            row.failures += [f"{original.name}, seed {first + number}: {failure}"] if failure else []
        shutil.rmtree(folder)
        row.tried += len(found)


TESTS = dict.fromkeys(FORMATS, read_damaged)


if __name__ == "__main__":
    name, original, seed, count, until_s, folder = sys.argv[1:]
    for line in read_batch(name, Path(original), int(seed), int(count), float(until_s), Path(folder)):
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
