"""Data sets of any size: a run reads the images of its batches and stores none."""

import tracemalloc
from functools import partial

import numpy as np
import pytest

from sonjit_lab.datasets import Instance, Sample, dataset, registry
from sonjit_lab.papers.mask_rcnn import recipe as mask_rcnn
from sonjit_lab.papers.mediapipe_hands.landmarks import LandmarkSettings, draw_batch
from sonjit_lab.papers.mediapipe_hands.palms import PalmSamples, PalmSettings, draw_palms, palm_anchors
from sonjit_lab.training import augment, building_blocks
from sonjit_lab.training.hands.landmark_data import LandmarkCrops
from sonjit_lab.training.hands.samples import draw_batch as draw_instances

SIDE = 256
POINTS = np.array(
    [[60, 120], *([20 + 4 * finger + 12 * joint, 20 + 25 * finger] for finger in range(5) for joint in range(4))]
)


class MadeSet(dataset.Dataset):
    """Data set whose images are painted on demand and counted."""

    def __init__(self, count, tmp_path):
        super().__init__(registry.dataset_entry("folder"), tmp_path, "")
        self.count, self.read = count, 0

    def __len__(self):
        return self.count

    def load(self, index):
        points = POINTS + index % 7 + 0.5
        hand = Instance(kind="hand", side="Left", skeleton="hand_mediapipe21", keypoints_px=points, category="hand")
        return Painted(self, dataset="made", id=str(index), image=b"", width=SIDE, height=SIDE, instances=(hand,))


class Painted(Sample):
    def __init__(self, owner, **fields):
        super().__init__(**fields)
        object.__setattr__(self, "owner", owner)

    def rgb(self, *_, **__):
        self.owner.read += 1
        return np.full((SIDE, SIDE, 3), int(self.id) % 255, np.uint8)


def palms(samples):
    settings = PalmSettings(size=64, batch=4)
    joined, anchors = building_blocks.Concat([PalmSamples(samples, 64)]), palm_anchors(64)
    return lambda rng: draw_palms(rng, joined, anchors, settings)


def landmarks(samples):
    settings = LandmarkSettings(size=64, batch=4, negatives=0.25)
    crops = LandmarkCrops(samples, size=64, without_hands=True)
    return lambda rng: draw_batch(rng, {"": crops}, settings)


def instances(samples):
    fixed = {"categories": {1: "hand"}, "mirror": np.array([0, 1]), "augmentation": augment.AugmentationSettings()}
    made = partial(mask_rcnn.make_example, **fixed)
    return partial(draw_instances, samples=samples, make_example=made, join=list, count=4)


@pytest.mark.nightly_after(1)
@pytest.mark.parametrize("recipe", [palms, landmarks, instances])
@pytest.mark.slow
def test_memory_stays_flat_however_large_the_set(recipe, tmp_path):
    """Check that memory stays below the 196 MB of 1,000 such images."""
    peaks = []
    for count in (40, 40, 1000):  # the first one's peak holds what is made once
        samples = MadeSet(count, tmp_path)
        tracemalloc.start()
        draw = recipe(samples)
        for step in range(3):
            draw(np.random.default_rng(step))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert samples.read == 12
    assert peaks[2] < peaks[1] + 1_000_000
