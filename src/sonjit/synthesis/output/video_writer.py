"""Videos, one for each camera of a sequence, with their truth in JSON beside them."""

from __future__ import annotations

import json
from contextlib import ExitStack
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict

import av
import numpy as np

from sonjit.datasets.formats.coco import mask_from_segmentation
from sonjit.datasets.formats.shards import instance_to_dict, plain
from sonjit.datasets.sample import HAND_SKELETON, Instance, Sample
from sonjit.errors import InputError
from sonjit.files import atomic_file, atomic_text, write_text
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.media import open_source
from sonjit.synthesis.output.layouts import FolderLayout, RenderedImage
from sonjit.synthesis.output.samples import DATASET

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import TextIO

    from av.video.stream import VideoStream
    from numpy.typing import NDArray

_OPTIONS: Final = {"preset": "veryfast", "crf": "18", "threads": "1", "x264-params": "mbtree=0:weightp=0"}
"""One thread, and nothing of x264 that encodes the same images to other bytes now and then."""
_TICKS: Final = 90_000
_OF_HAND: Final = ("causes", "palm_box", "shape", "pose")


class _Clip:
    """One camera's video and truth, while they are written."""

    def __init__(self, stack: ExitStack, path: Path, fps: float, first: Sample) -> None:
        draft = stack.enter_context(atomic_file(path, of_run=True))
        self._container = stack.enter_context(av.open(str(draft), "w", format="mp4"))
        rate = Fraction(fps).limit_denominator(1001)
        self._stream: VideoStream = self._container.add_stream("libx264", rate=rate, options=_OPTIONS)  # pyright: ignore[reportUnknownMemberType]
        self._stream.width, self._stream.height, self._stream.pix_fmt = first.width, first.height, "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, _TICKS)
        self._truth: TextIO = stack.enter_context(atomic_text(path.with_suffix(".json"), of_run=True))
        self._truth.write(json.dumps(_head(first, fps))[:-1] + ',\n"frames": [\n')
        self._count = 0

    def write(self, sample: Sample, time: float) -> None:
        """One frame."""
        frame = av.VideoFrame.from_ndarray(sample.rgb(), format="rgb24")
        frame.pts, frame.time_base = round(time * _TICKS), Fraction(1, _TICKS)
        self._container.mux(self._stream.encode(frame))
        hands = [_hand(instance_to_dict(one)) for one in sample.instances]
        line = json.dumps({"index": self._count, "time": round(time, 6), "hands": hands}, separators=(",", ":"))
        self._truth.write(f",\n{line}" if self._count else line)
        self._count += 1

    def finish(self) -> None:
        """The last frames of the encoder, and the end of the JSON."""
        self._container.mux(self._stream.encode(None))
        self._truth.write("\n]}\n")


class VideoLayout(FolderLayout):
    """`videos/{sequence}/cam{camera}.mp4` and `.json`."""

    def check(self) -> None:
        """A video needs a motion, and has images of one kind."""
        if not self.settings.moves:
            raise InputError("--format video: name a motion too, --sequence any or --poses hands.json")
        if extras := self.settings.extras:
            raise InputError(f"--{extras[0]}: a video holds no further images; name another --format")
        if any(side % 2 for side in self.settings.size):
            width, height = self.settings.size
            raise InputError(f"--size {width}x{height}: videos are of even width and height")

    def write(self, chunk: int, images: Iterator[RenderedImage]) -> None:
        """All cameras' videos at once, then the list of them."""
        clips: dict[str, _Clip] = {}
        names: list[str] = []
        with ExitStack() as stack:
            for one in images:
                sample = one.sample
                assert sample.view is not None
                if sample.view not in clips:
                    names.append(f"videos/{sample.sequence}/cam{sample.view}.mp4")
                    clips[sample.view] = _Clip(stack, self.root / names[-1], self.settings.fps, sample)
                clips[sample.view].write(sample, one.time_s)
            for clip in clips.values():
                clip.finish()
        write_text(self.chunk_path(chunk), json.dumps(names) + "\n", of_run=True)

    def finish(self, chunks: Sequence[int]) -> None:
        """Each video has its own truth."""

    def samples(self, chunks: Sequence[int], count: int) -> list[Sample]:
        """From the middles of the videos."""
        names = [name for chunk in chunks for name in json.loads(self.chunk_path(chunk).read_text("utf-8"))]
        samples: list[Sample] = []
        for name in (names[place] for place in np.linspace(0, len(names) - 1, min(count, len(names))).astype(int)):
            truth: _VideoTruth = json.loads((self.root / name).with_suffix(".json").read_text("utf-8"))
            wanted = len(truth["frames"]) // 3
            with open_source(self.root / name) as source:
                rgb = next(frame.rgb for frame in source if frame.index == wanted)
            samples.append(_sample(truth, wanted, name, rgb))
        return samples


class _VideoHand(TypedDict):
    handedness: Literal["Left", "Right"]
    xy: list[list[float]]
    xyz_m: list[list[float]]
    box: tuple[float, float, float, float] | None
    mask: Any
    causes: list[str]
    palm_box: list[float]
    shape: dict[str, float]
    pose: dict[str, list[object]]


class _VideoFrame(TypedDict):
    index: int
    time: float
    hands: list[_VideoHand]


class _VideoTruth(TypedDict):
    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    frames: list[_VideoFrame]


def _head(first: Sample, fps: float) -> dict[str, object]:
    """What is the same for all frames."""
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


def _hand(one: Mapping[str, Any]) -> dict[str, object]:
    return {
        "handedness": one["side"],
        "xy": one["keypoints_px"],
        "xyz_m": one["keypoints_m"],
        "box": one.get("box"),
        "mask": one["mask"],
        **{name: one["extra"][name] for name in _OF_HAND},
    }


def _sample(truth: _VideoTruth, frame: int, name: str, rgb: NDArray[np.uint8]) -> Sample:
    """One frame of a video as a sample."""
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
                side=one["handedness"],
                skeleton=HAND_SKELETON,
                keypoints_px=np.array(one["xy"], np.float64),
                visible=np.array(one["causes"]) == "visible",
                keypoints_m=np.array(one["xyz_m"], np.float64),
                box=one["box"],
                read_mask=partial(mask_from_segmentation, one["mask"], truth["height"], truth["width"]),
            )
            for one in hands
        ),
        camera=CalibratedCamera(eye),
    )
