"""Write rendered sequences as one video per camera, with the truth in a JSON file of the same name."""

from __future__ import annotations

from contextlib import ExitStack
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import av
import numpy as np

from sonjit._util.arrays import Image
from sonjit._util.data_files import read_json, write_json
from sonjit._util.errors import InputError
from sonjit._util.files import atomic_file, atomic_text
from sonjit._util.json_text import json_from
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.lab.datasets.coco import mask_from_segmentation
from sonjit.lab.datasets.sample import HAND_SKELETON, Instance, Sample
from sonjit.lab.datasets.shards import instance_to_dict, plain
from sonjit.lab.synthesis.output.layouts import (
    FolderLayout,
    RenderedImage,
)
from sonjit.lab.synthesis.output.samples import DATASET
from sonjit.media import open_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import TextIO

    from av.video.stream import VideoStream


_ENCODER_OPTIONS: Final = {"preset": "veryfast", "crf": "18", "threads": "1", "x264-params": "mbtree=0:weightp=0"}
"""Encoder options: one thread, and no x264 feature that may encode the same images to other bytes."""
_TICKS_PER_SECOND: Final = 90_000
_VIDEO_HAND_FIELDS: Final = ("causes", "palm_box", "shape", "pose")


class _Clip:
    """Video and truth of one camera while they are written."""

    def __init__(self, stack: ExitStack, path: Path, fps: float, first: Sample) -> None:
        draft = stack.enter_context(atomic_file(path))
        self._container = stack.enter_context(av.open(str(draft), "w", format="mp4"))
        rate = Fraction(fps).limit_denominator(1001)
        self._stream: VideoStream = self._container.add_stream("libx264", rate=rate, options=_ENCODER_OPTIONS)  # pyright: ignore[reportUnknownMemberType]
        self._stream.width, self._stream.height, self._stream.pix_fmt = first.width, first.height, "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, _TICKS_PER_SECOND)
        self._truth: TextIO = stack.enter_context(atomic_text(path.with_suffix(".json")))
        self._truth.write(json_from(_head(first, fps), spaced=True)[:-1] + ',\n"frames": [\n')
        self._count = 0

    def write(self, sample: Sample, time: float) -> None:
        """Write one frame."""
        frame = av.VideoFrame.from_ndarray(sample.rgb(), format="rgb24")
        frame.pts, frame.time_base = round(time * _TICKS_PER_SECOND), Fraction(1, _TICKS_PER_SECOND)
        self._container.mux(self._stream.encode(frame))
        hands = [_hand(instance_to_dict(instance)) for instance in sample.instances]
        line = json_from({"index": self._count, "time": round(time, 6), "hands": hands})
        self._truth.write(f",\n{line}" if self._count else line)
        self._count += 1

    def finish(self) -> None:
        """Write the last frames of the encoder and the end of the JSON."""
        self._container.mux(self._stream.encode(None))
        self._truth.write("\n]}\n")


class VideoLayout(FolderLayout):
    """`videos/{sequence}/cam{camera}.mp4` and `.json`."""

    def check(self) -> None:
        """Refuse settings without a motion or with additional images."""
        if not self.settings.moves:
            raise InputError("--format video requires a motion: --sequence any or --poses hands.json")
        if extras := self.settings.extras:
            raise InputError(f"--{extras[0]} cannot be combined with --format video")
        if any(side % 2 for side in self.settings.size):
            width, height = self.settings.size
            raise InputError(f"--size {width}x{height}: videos require even width and height")

    def write(self, chunk: int, images: Iterator[RenderedImage]) -> None:
        """Write the videos of all cameras, then their list."""
        clips: dict[str, _Clip] = {}
        names: list[str] = []
        with ExitStack() as stack:
            for image in images:
                sample = image.sample
                assert sample.view is not None
                if sample.view not in clips:
                    names.append(f"videos/{sample.sequence}/cam{sample.view}.mp4")
                    clips[sample.view] = _Clip(stack, self.root / names[-1], self.settings.fps, sample)
                clips[sample.view].write(sample, image.time_s)
            for clip in clips.values():
                clip.finish()
        write_json(self.chunk_path(chunk), names)

    def finish(self, chunks: Sequence[int]) -> None:
        """Do nothing: each video has its own truth."""

    def samples(self, chunks: Sequence[int], count: int) -> list[Sample]:
        """Return samples from the middles of the videos."""
        names = [name for chunk in chunks for name in read_json(self.chunk_path(chunk))]
        samples: list[Sample] = []
        for name in (names[place] for place in np.linspace(0, len(names) - 1, min(count, len(names))).astype(int)):
            truth: Mapping[str, Any] = read_json((self.root / name).with_suffix(".json"))
            middle = len(truth["frames"]) // 3
            with open_source(self.root / name) as source:
                rgb = next(frame.rgb for frame in source if frame.index == middle)
            samples.append(_sample(truth, middle, name, rgb))
        return samples


def _head(first: Sample, fps: float) -> dict[str, object]:
    """Return the fields that are the same for all frames."""
    camera = first.camera
    assert camera is not None
    eye = camera.intrinsics
    return {
        "width": first.width,
        "height": first.height,
        "fps": fps,
        **{name: getattr(eye, name) for name in ("fx", "fy", "cx", "cy")},
        "R": plain(camera.R),
        "t_m": plain(camera.t),
        "sequence": first.sequence,
        "view": first.view,
        "factors": plain(first.tags),
    }


def _hand(record: Mapping[str, Any]) -> dict[str, object]:
    return {
        "handedness": record["side"],
        "xy": record["keypoints_px"],
        "xyz_m": record["keypoints_m"],
        "box": record.get("box"),
        "mask": record["mask"],
        **{name: record["extra"][name] for name in _VIDEO_HAND_FIELDS},
    }


def _sample(truth: Mapping[str, Any], frame: int, name: str, rgb: Image) -> Sample:
    """Return one frame of a video as a sample."""
    hands = truth["frames"][frame]["hands"]
    eye = np.array([[truth["fx"], 0, truth["cx"]], [0, truth["fy"], truth["cy"]], [0, 0, 1]])
    return Sample(
        dataset=DATASET,
        id=f"{name} {frame}",
        image=rgb,
        width=truth["width"],
        height=truth["height"],
        instances=tuple(
            Instance(
                kind="hand",
                side=hand["handedness"],
                skeleton=HAND_SKELETON,
                keypoints_px=np.array(hand["xy"], np.float64),
                visible=np.array(hand["causes"]) == "visible",
                keypoints_m=np.array(hand["xyz_m"], np.float64),
                box=hand["box"],
                read_mask=partial(mask_from_segmentation, hand["mask"], truth["height"], truth["width"]),
            )
            for hand in hands
        ),
        camera=CalibratedCamera(eye),
    )
