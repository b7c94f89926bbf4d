"""Measure the waiting time for batches and the memory of a training run, by workers and by size of the data set.

The samples are JPEG files of 640 x 480 pixels, decoded, cropped and augmented as in `keypoint-detector`. The network
only sleeps for `--step` per batch, as the processor does while a GPU computes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import psutil
import torch

from sonjit.lab.datasets import open_dataset
from sonjit.lab.documents import Table, markdown_of
from sonjit.lab.training.augment import AugmentationSettings
from sonjit.lab.training.hands.keypoint_detector import example_from_sample, tensors_from_examples
from sonjit.lab.training.hands.samples import draw_batch
from sonjit.lab.training.loop import LOG, TrainingSettings, train
from sonjit.lab.training.recipes import load_recipe, settings_from
from sonjit.results.skeletons import load_skeleton

MB = 1 << 20


def write_set(folder, count, files=50):
    """Write a folder of images with one hand each. `files` images are encoded, the others are links to them."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(count):
        name = f"{number:06}.jpg"
        if number < files:
            coarse = rng.integers(0, 256, (24, 32, 3), np.uint8)
            picture = cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(folder / name), picture, [cv2.IMWRITE_JPEG_QUALITY, 95])
        else:
            os.link(folder / f"{number % files:06}.jpg", folder / name)
        points = rng.uniform((250, 150), (450, 350), (21, 2))
        keypoints = np.column_stack([points, np.full(21, 2)]).round(1).ravel().tolist()
        images.append({"id": number, "file_name": name, "width": 640, "height": 480})
        annotations.append({"id": number, "image_id": number, "category_id": 1, "keypoints": keypoints})
    names = load_skeleton("hand_mediapipe21").keypoints
    categories = [{"id": 1, "name": "hand", "keypoints": list(names)}]
    (folder / "hands.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories}), "utf-8"
    )


class Peak(threading.Thread):
    """Record the maximum private memory (USS) of this process and its workers in MB within a block."""

    def __enter__(self):
        self.own, self.workers, self.over = 0.0, 0.0, False
        self.start()
        return self

    def __exit__(self, *_):
        self.over = True
        self.join()

    def run(self):
        this = psutil.Process()
        while not self.over:
            self.own = max(self.own, this.memory_full_info().uss / MB)
            used = 0.0
            for child in this.children():
                try:
                    used += child.memory_full_info().uss / MB
                except psutil.Error:  # process has ended
                    continue
            self.workers = max(self.workers, used)
            time.sleep(0.1)


def measure(folder, out, options, workers):
    """Return the share of time in the network, and the peak memory of a training run."""
    recipe = load_recipe("keypoint-detector")
    augmentation = settings_from(AugmentationSettings, recipe.settings["augmentation"])
    samples = open_dataset("folder", folder)
    make = partial(example_from_sample, side=256, augmentation=augmentation)
    batches = partial(draw_batch, samples=samples, make_example=make, join=tensors_from_examples, count=options.batch)
    network = torch.nn.Linear(1, 1)
    if not workers:
        begun = time.process_time()
        for step in range(5):
            batches(np.random.default_rng(step))
        sys.stderr.write(f"{200 * (time.process_time() - begun):.0f} ms of processor time per batch\n")

    def losses(model, _):
        time.sleep(options.step)
        return {"nothing": model.weight.square().sum()}

    settings = TrainingSettings(steps=options.steps, workers=workers)
    with Peak(daemon=True) as peak:
        train(network, batches, losses, settings, out=out)
    rows = [json.loads(line) for line in (out / LOG).read_text("utf-8").splitlines()][
        2:
    ]  # without the start of the workers
    seconds, waited = (sum(row[name] for row in rows) for name in ("seconds", "waited_seconds"))
    return 1 - waited / seconds, peak


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--counts", type=int, nargs="*", default=[100, 1000, 10_000])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--step", type=float, default=0.3, help="seconds per batch in the network")
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for count in options.counts:
            write_set(root / f"{count}", count)
            for workers in options.workers if count == options.counts[0] else options.workers[-1:]:
                share, peak = measure(root / f"{count}", root / f"run-{count}-{workers}", options, workers)
                rows.append(
                    (f"{count:,}", str(workers), f"{share:.1%}", f"{peak.own:.0f} MB", f"{peak.workers:.0f} MB")
                )
    sys.stdout.write(
        f"{options.batch} images of 640 x 480 per batch, {1000 * options.step:.0f} ms in the network, "
        f"{os.cpu_count()} cores\n\n"
    )
    sys.stdout.write(
        markdown_of(Table(("images", "workers", "in the network", "memory", "worker memory"), tuple(rows)))
    )


if __name__ == "__main__":
    main()
