"""WebDataset shards, as `datasets.shards` reads them; a shard is a chunk."""

from __future__ import annotations

import json
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from sonjit.datasets import open_dataset
from sonjit.datasets.contact_sheet import chosen_places
from sonjit.datasets.shards import INDEX, add_sample, shard_name
from sonjit.errors import InputError
from sonjit.synthesis.layouts import LEAST_PIXELS, Layout, Made, jpeg_bytes, whole_path, write_whole
from sonjit.synthesis.samples import DATASET

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sonjit.datasets.sample import Sample


class ShardLayout(Layout):
    """`000000.tar`, `000001.tar` ... and `index.json`."""

    pictures_per_chunk: ClassVar[int] = 512

    def check(self) -> None:
        """A shard holds a picture and its labels, nothing else."""
        if extras := self.settings.extras:
            raise InputError(f"--{extras[0]}: shards hold no further pictures; name another --format")
        if self.settings.moves:
            raise InputError("--format shards: shards are of equal length and sequences are not; name another --format")

    def chunk_path(self, chunk: int) -> Path:
        """The shard itself."""
        return self.root / shard_name(chunk)

    def write(self, chunk: int, made: Iterator[Made]) -> None:
        """Sample by sample."""
        first = self.numbers(chunk).start * self.settings.views
        with whole_path(self.chunk_path(chunk)) as draft, tarfile.open(draft, "w", format=tarfile.USTAR_FORMAT) as tar:
            for one in made:
                seen = tuple(hand for hand in one.sample.instances if (hand.area_px2 or 0) >= LEAST_PIXELS)
                place = first + one.row
                sample = replace(one.sample, id=f"{place:08d}", image=jpeg_bytes(one.sample.rgb()), instances=seen)
                add_sample(tar, place, sample)

    def finish(self, chunks: Sequence[int]) -> None:
        """The index names as many as are there without a gap."""
        gap = next((number for number, there in enumerate(chunks) if number != there), len(chunks))
        index = {
            "dataset": DATASET,
            "split": "all",
            "licence": "your own",
            "samples": min(gap * self.per_chunk, self.settings.count) * self.settings.views,
            "per_shard": self.per_chunk * self.settings.views,
        }
        write_whole(self.root / INDEX, (json.dumps(index, indent=1) + "\n").encode())

    def samples(self, chunks: Sequence[int], count: int) -> list[Sample]:
        """From the shards up to the first gap."""
        dataset = open_dataset("shards", self.root, check="none")
        return [dataset[place] for place in chosen_places(len(dataset), count, "spread")]
