"""Hands from several data sets, drawn in any proportion."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sonjit.errors import InputError
from sonjit.training.landmark_crops import augmented, landmark_crops

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sonjit.training.landmark_crops import LandmarkCrop
    from sonjit.training.landmarks import LandmarkSettings


def read_sources(
    data: Path, images: Path | None, settings: LandmarkSettings
) -> tuple[dict[str, list[LandmarkCrop]], list[LandmarkCrop]]:
    """Crops to learn from by source, and crops to measure on.

    Args:
        data: annotations, or with `mix` or `test` the folder that these are in.
        images: folder or video of the pictures of a single source.
        settings: which sources, and what is held out.

    Raises:
        InputError: a source that is not there, or holds no hand.
    """
    folder = data if data.is_dir() else data.parent
    names = {name: folder / name for name, part in settings.mix.items() if part > 0} or {"": data}
    for name, path in (names | ({settings.test: folder / settings.test} if settings.test else {})).items():
        if not path.exists():
            raise InputError(f"{name}: {path} is not there")
    sources = {name: _read(path, images, settings, settings.limit) for name, path in names.items()}
    for name, crops in sources.items():
        if settings.heads_from and name not in settings.heads_from:
            sources[name] = [replace(crop, side=None, present=None) for crop in crops if crop.present is not False]
    if settings.test:
        return sources, _read(folder / settings.test, None, settings, 0)
    tested: list[LandmarkCrop] = []
    for name, crops in sources.items():
        sources[name] = []
        for part in _hands_and_empty(crops):
            first = len(part) - int(settings.held_out * len(part))
            sources[name] += part[:first]
            tested += part[first:]
    return sources, tested


def _hands_and_empty(crops: Sequence[LandmarkCrop]) -> tuple[list[LandmarkCrop], list[LandmarkCrop]]:
    return [crop for crop in crops if crop.present is not False], [crop for crop in crops if crop.present is False]


def _read(path: Path, images: Path | None, settings: LandmarkSettings, limit: int) -> list[LandmarkCrop]:
    return landmark_crops(
        path,
        images,
        settings.extra_keypoints,
        size=settings.size,
        limit=limit,
        without_hands=settings.negatives > 0,
    )


def draw_crops(
    sources: Mapping[str, Sequence[LandmarkCrop]], settings: LandmarkSettings, rng: np.random.Generator
) -> list[LandmarkCrop]:
    """What one step learns from: of each source its part, of each batch its part without hands."""
    names = list(sources)
    parts = np.array([settings.mix.get(name, 1.0) for name in names])
    counts = rng.multinomial(settings.batch, parts / parts.sum())
    chosen: list[LandmarkCrop] = []
    for name, count in zip(names, counts.tolist(), strict=True):
        hands, empty = _hands_and_empty(sources[name])
        without = int(rng.binomial(count, settings.negatives)) if empty else 0
        for crops, wanted in ((hands, count - without), (empty, without)):
            if wanted:
                picked = rng.choice(len(crops), wanted, replace=wanted > len(crops))
                chosen += [crops[index] for index in picked.tolist()]
    return [augmented(crop, rng, settings.strength) for crop in chosen] if settings.augment else chosen
