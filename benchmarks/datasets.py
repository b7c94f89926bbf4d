"""Measure the overhead of data sets over decoding their images, and their memory.

    python benchmarks/datasets.py [--samples 100000] [--set NAME ROOT]...

For each set: milliseconds per sample of `dataset[i].rgb()` and of the bare decode of the same files, in turns, and the
overhead. Then, for a generated COCO file of many samples: time to open, memory, and growth of memory while all labels
are read.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import psutil

from sonjit.lab.datasets import open_dataset
from sonjit.lab.datasets.convert import convert_dataset
from sonjit.media.sources.images import decode_image, load_image

_ROUNDS = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--set", nargs=2, action="append", default=[], metavar=("NAME", "ROOT"), dest="sets")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    print("| set | samples | decode ms | sample ms | added % |")
    print("| --- | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        generated = _generate(Path(folder) / "made", 100, with_images=True)
        print(_row("generated, 640 x 480, one hand each", open_dataset("folder", generated)))
        convert_dataset(open_dataset("folder", generated), Path(folder) / "shards")
        print(_row("generated, as shards", open_dataset("shards", Path(folder) / "shards")))
        for name, root in arguments.sets:
            print(_row(name, open_dataset(name, root)))
        _many(_generate(Path(folder) / "many", arguments.samples, with_images=False), arguments.samples)


def _row(name, dataset):
    """Return the shortest time of each image. Other processes only increase it."""
    count = min(len(dataset), 100)
    bare, whole = np.full((2, count), np.inf)
    for _ in range(_ROUNDS):
        for k in range(count):
            image = dataset[k].image
            bare[k] = min(bare[k], _seconds(lambda image=image: _decoded(image)))
            whole[k] = min(whole[k], _seconds(lambda k=k: dataset[k].rgb()))
    decode, sample = 1e3 * bare.mean(), 1e3 * whole.mean()
    return f"| {name} | {len(dataset)} | {decode:.3f} | {sample:.3f} | {100 * (sample / decode - 1):.1f} |"


def _decoded(file):
    return load_image(file) if isinstance(file, Path) else decode_image(file, "")


def _seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _many(root, count):
    process = psutil.Process()
    before = process.memory_info().rss
    start = time.perf_counter()
    dataset = open_dataset("folder", root, check="none")
    opened = time.perf_counter() - start
    block = len(dataset.records._block) / 1e6
    start, marks = time.perf_counter(), []
    for index, _ in enumerate(dataset):
        if index % (count // 4) == 0:
            marks.append((process.memory_info().rss - before) / 1e6)
    read = time.perf_counter() - start
    print(f"\n{count} generated samples: opened in {opened:.1f} s, {block:.0f} MB of records; ", end="")
    print(f"labels read at {count / read:.0f} per second; memory growth, MB: {[round(mark) for mark in marks]}")


def _generate(root, count, *, with_images):
    """Write a folder data set with one hand per image."""
    rng = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    images, annotations = [], []
    for number in range(count):
        if with_images:
            small = rng.integers(0, 255, (24, 32, 3), np.uint8)
            cv2.imwrite(str(root / "images" / f"{number}.jpg"), cv2.resize(small, (640, 480)))
        images.append({"id": number, "file_name": f"{number}.jpg", "width": 640, "height": 480, "subject": "s"})
        points = np.hstack([rng.uniform(100, 300, (21, 2)).round(2), np.full((21, 1), 2)])
        annotation = {"id": number, "image_id": number, "category_id": 1, "bbox": [100, 100, 200, 200]}
        annotations.append(annotation | {"keypoints": points.ravel().tolist()})
    labels = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "hand"}]}
    (root / "dataset.json").write_text(json.dumps(labels), "utf-8")
    return root


if __name__ == "__main__":
    main()
