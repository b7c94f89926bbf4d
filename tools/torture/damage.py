"""Read damaged files in separate processes with a memory limit, so that a crash of a decoder is counted.

As a program, it reads a batch (format, original, seed, count, end, folder) and prints a line of JSON for each file.
"""

import faulthandler
import json
import pickle
import random
import resource
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import scipy.io
import torch
from rows import Row
from safetensors.torch import save_file

from sonjit import SonjitError
from sonjit.engines.onnxruntime import onnx_from_tflite
from sonjit.engines.openvino import read_model
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.gestures.control import load_map
from sonjit.gestures.custom import load_recording
from sonjit.media import TABLE_ENDINGS, open_drawing_writer, open_source
from sonjit.media.sources.images import rgb_from
from sonjit.media.tables import load_frames
from sonjit.weights import find_weight, load_bundle
from sonjit_lab.datasets.reading import load_matlab
from sonjit_lab.datasets.registry import open_dataset
from sonjit_lab.evaluation.protocols import load_protocol
from sonjit_lab.hand_models.mano_files import SHAPES, read_mano
from sonjit_lab.hand_models.rig import read_rig
from sonjit_lab.networks.checkpoints import load_checkpoint
from sonjit_lab.training.recipes import load_recipe
from sonjit_studio.camera_files import load_cameras, save_cameras
from sonjit_studio.marks import AnnotationStore, Mark
from sonjit_studio.rig import CameraRig, RigCamera

CLIP = Path(str(files("sonjit"))) / "_util" / "assets" / "demo.mp4"
VIDEO_CODECS = {".mp4": "libx264", ".mov": "prores_ks", ".mkv": "ffv1", ".webm": "libvpx", ".avi": "mpeg4"}
PIXELS = {"prores_ks": "yuv422p10le"}
HANG_S = 120  # time limit of one file on a busy machine
BATCH = 1000  # files of one process
MEMORY_BYTES = 6 * 2**30  # memory limit of a process; the largest image that OpenCV accepts takes 3 GiB


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
    """Return six small images with hands."""
    with open_source(CLIP) as source:
        return [cv2.resize(frame.rgb, (160, 120)) for frame in islice(source, 100, 106)]


def command(folder: Path, line: str) -> None:
    """Run a command of Sonjit in a folder."""
    subprocess.run([sys.executable, "-m", "sonjit", *line.split()], cwd=folder, check=True, capture_output=True)


def make_images(folder: Path) -> None:
    """Write an image in each format."""
    for ending in (".jpg", ".png", ".webp", ".bmp", ".tiff", ".ppm", ".gif"):
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


def make_tables(folder: Path) -> None:
    """Write a table in each format that can be read."""
    for ending in TABLE_ENDINGS:
        command(folder, f"hands {CLIP} --start 3.3 --limit 6 --model lite --search fast --save table{ending}")


def make_gestures(folder: Path) -> None:
    """Write a recording of a gesture."""
    command(folder, f"gestures record wave {CLIP} --to .")


def make_tflite(folder: Path) -> None:
    """Copy small published networks."""
    for name in ("hand-recrop", "face-short"):
        shutil.copy(find_weight(name), folder / f"{name}.tflite")


def make_onnx(folder: Path) -> None:
    """Write a small network as ONNX."""
    (folder / "network.onnx").write_bytes(onnx_from_tflite(find_weight("face-short")))


def make_checkpoints(folder: Path) -> None:
    """Write weights as PyTorch and safetensors save them."""
    weights = {f"layer{number}.weight": torch.zeros(4, 3) for number in range(4)}
    torch.save({"state_dict": weights, "epoch": 3}, folder / "weights.pth")
    save_file(weights, folder / "weights.safetensors")


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


def copy_texts(source: str, *names: str) -> Callable[[Path], None]:
    """Return a function that copies text files of the lab."""

    def make(folder: Path) -> None:
        for name in names:
            shutil.copy(Path(str(files("sonjit_lab"))) / source / name, folder / name)

    return make


def make_recipes(folder: Path) -> None:
    """Write recipes of a user: with a base, and with a function."""
    settings = "[settings]\nsteps = 300\n[settings.augmentation]\nmirror = 0.5\nscale = [0.8, 1.2]\n"
    (folder / "based.toml").write_text(f'base = "internet"\nsummary = "a trial"\n{settings}')
    cam = load_recipe("cam")
    facts = (
        ("summary", cam.summary),
        ("function", cam.function),
        ("settings_class", cam.settings_class),
        ("data", cam.data),
    )
    (folder / "own.toml").write_text("".join(f'{name} = "{value}"\n' for name, value in facts) + settings)


def make_maps(folder: Path) -> None:
    """Copy the maps from gestures to commands of the examples."""
    for path in sorted((Path(__file__).parents[2] / "examples" / "control").glob("*.toml")):
        shutil.copy(path, folder / path.name)


def make_rigs(folder: Path) -> None:
    """Write a rigged hand."""
    shutil.copy(find_weight("hand-rig-left"), folder / "left.glb")


def make_cameras(folder: Path) -> None:
    """Write cameras in each format of one file."""
    K = np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]])
    cameras = [CalibratedCamera(K, np.eye(3), np.array([-x, 0.0, 0.0]), None) for x in (0.0, 0.1)]
    rig = CameraRig([RigCamera(f"cam{number}", 640, 480, camera) for number, camera in enumerate(cameras)])
    for ending in (".json", ".toml", ".yml", ".xml"):
        save_cameras(rig, folder / f"cameras{ending}")


def write_labels(path: Path, images: list[str]) -> None:
    """Write labels of images of 640 x 480 pixels in the format of COCO."""
    labels = {
        "images": [{"id": i, "file_name": name, "width": 640, "height": 480} for i, name in enumerate(images)],
        "categories": [{"id": 1, "name": "hand"}],
        "annotations": [
            {
                "id": i,
                "image_id": i,
                "category_id": 1,
                "bbox": [20, 20, 90, 90],
                "segmentation": [[20, 20, 90, 20, 90, 90]],
            }
            for i in range(len(images))
        ],
    }
    path.write_text(json.dumps(labels), "utf-8")


def make_labels(folder: Path) -> None:
    """Write labels of images."""
    write_labels(folder / "dataset.json", ["0.jpg"])
    read_labels(folder / "dataset.json")
    shutil.rmtree(folder / "damaged-set")


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


def read_labels(path: Path) -> None:
    """Read the samples of a labelled folder."""
    root = path.parent / "damaged-set"
    root.mkdir()
    cv2.imwrite(str(root / "0.jpg"), np.zeros((480, 640, 3), np.uint8))
    shutil.copy(path, root / "dataset.json")
    for sample in open_dataset("folder", root):
        for instance in sample.instances:
            instance.mask()


FORMATS: dict[str, tuple[Callable[[Path], None], Callable[[Path], object]]] = {
    "images": (make_images, rgb_from),
    "videos": (make_videos, read_and_draw_video),
    "tables": (make_tables, load_frames),
    "gestures": (make_gestures, load_recording),
    "maps": (make_maps, load_map),
    "tflite": (make_tflite, read_model),
    "onnx": (make_onnx, read_model),
    "checkpoints": (make_checkpoints, load_checkpoint),
    "pickles": (make_pickles, read_mano),
    "matlab": (make_matlab, load_matlab),
    "sqlite": (make_stores, read_store),
    "bundles": (make_bundles, load_bundle),
    "protocols": (copy_texts("evaluation/protocols", "freihand.toml", "detection.toml"), load_protocol),
    "recipes": (make_recipes, lambda path: load_recipe(str(path))),
    "rigs": (make_rigs, read_rig),
    "cameras": (make_cameras, lambda path: load_cameras(path, unit="m")),
    "labels": (make_labels, read_labels),
}
"""Functions that write the originals and read a damaged copy."""
CRASHING = ("tflite", "onnx")
"""Formats whose reader in C++ may crash. docs/deployment.md advises to name only trusted files."""


def outcome(name: str, path: Path) -> str:
    """Read a damaged file. Return an unexpected outcome, or nothing."""
    try:
        FORMATS[name][1](path)
    except SonjitError as error:
        if "\n" in str(error) or "damaged-" not in str(error):
            return repr(error)
    except Exception as error:  # all that is not an error of Sonjit
        return repr(error)[:500]
    return ""


def read_batch(name: str, originals: Path, seed: int, count: int, until_s: float, folder: Path) -> Iterator[str]:
    """Read damaged copies of files for a limited time. Return the unexpected outcomes."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    paths = files_in(originals)
    for number in range(seed, seed + count):
        original = paths[number % len(paths)]
        path = folder / f"damaged-{number}{original.suffix}"
        path.write_bytes(damaged(original.read_bytes(), random.Random(number)))
        faulthandler.dump_traceback_later(HANG_S, exit=True)
        yield outcome(name, path)
        shutil.rmtree(folder)
        folder.mkdir()
        if time.monotonic() > until_s:
            break


def files_in(folder: Path) -> list[Path]:
    """Return the files in a folder in a fixed order."""
    return sorted(path for path in folder.iterdir() if path.is_file())


def read_damaged(row: Row, work: Path) -> None:
    """Read batches in separate processes until the time is over. A crash or hang ends the batch at its file."""
    originals, folder = work / "originals", work / "batch"
    originals.mkdir()
    FORMATS[row.name][0](originals)
    paths = files_in(originals)
    while row.has_time():
        folder.mkdir()
        first, count = row.seed + row.tried, int(min(BATCH, row.max_tries - row.tried))
        line = (__file__, row.name, originals, first, count, row.until_s, folder)
        done = subprocess.run([sys.executable, *map(str, line)], capture_output=True, text=True, errors="replace")
        found = [json.loads(line) for line in done.stdout.splitlines()]
        if done.returncode:
            failure = f"ended with {done.returncode}: {done.stderr[-300:]}"
            is_known = row.name in CRASHING and done.returncode < 0
            found.append("" if is_known else failure)
            row.notes += [failure] * is_known
        for number, failure in enumerate(found, first):
            row.failures += [f"{paths[number % len(paths)].name}, seed {number}: {failure}"] if failure else []
        shutil.rmtree(folder)
        row.tried += len(found)


TESTS = dict.fromkeys(FORMATS, read_damaged)


if __name__ == "__main__":
    name, originals, seed, count, until_s, folder = sys.argv[1:]
    for line in read_batch(name, Path(originals), int(seed), int(count), float(until_s), Path(folder)):
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
