"""Write rendered images as WebDataset shards; a shard is a chunk."""

from __future__ import annotations

import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from sonjit._util.data_files import write_json
from sonjit._util.errors import InputError
from sonjit._util.files import atomic_file
from sonjit.lab.datasets import open_dataset
from sonjit.lab.datasets.registry import spread_indices
from sonjit.lab.datasets.sample import Sample
from sonjit.lab.datasets.shards import INDEX, add_sample, shard_name
from sonjit.lab.synthesis.output.layouts import (
    MIN_PIXELS,
    FolderLayout,
    RenderedImage,
)
from sonjit.lab.synthesis.output.samples import DATASET
from sonjit.media.encode import encode_image

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


class ShardLayout(FolderLayout):
    """`000000.tar`, `000001.tar` ... and `index.json`."""

    images_per_chunk: ClassVar[int] = 512

    def check(self) -> None:
        """Refuse settings that add anything to an image and its labels."""
        if extras := self.settings.extras:
            raise InputError(f"--{extras[0]} cannot be combined with --format shards")
        if self.settings.moves:
            raise InputError("--format shards applies only to single images, not to sequences")

    def chunk_path(self, chunk: int) -> Path:
        """Return the shard itself."""
        return self.root / shard_name(chunk)

    def write(self, chunk: int, images: Iterator[RenderedImage]) -> None:
        """Write sample by sample."""
        first = self.numbers(chunk).start * self.settings.views
        path = self.chunk_path(chunk)
        with atomic_file(path) as draft, tarfile.open(draft, "w", format=tarfile.USTAR_FORMAT) as tar:
            for image in images:
                instances = tuple(hand for hand in image.sample.instances if (hand.area_px2 or 0) >= MIN_PIXELS)
                place = first + image.row
                sample = replace(
                    image.sample, id=f"{place:08d}", image=encode_image(image.sample.rgb(), ".jpg"), instances=instances
                )
                add_sample(tar, place, sample)

    def finish(self, chunks: Sequence[int]) -> None:
        """Write the index with the number of samples up to the first missing shard."""
        gap = next((number for number, chunk in enumerate(chunks) if number != chunk), len(chunks))
        index = {
            "dataset": DATASET,
            "split": "all",
            "licence": "your own",
            "samples": min(gap * self.per_chunk, self.settings.count) * self.settings.views,
            "per_shard": self.per_chunk * self.settings.views,
        }
        write_json(self.root / INDEX, index, indent=1)

    def samples(self, chunks: Sequence[int], count: int) -> list[Sample]:
        """Return samples of the shards up to the first missing one."""
        dataset = open_dataset("shards", self.root, check="none")
        return [dataset[index] for index in spread_indices(len(dataset), count, "spread")]
