"""Measure one configuration in a fresh process: `python -m sonjit.benchmark.worker JOB_JSON` prints one JSON line.

Run by its path, even the package's own import falls inside the clock; that is what the benchmark does. The loop knows
no library, and runs under Python 3.9 or newer: the peer's script calls it in the peer's own interpreter, so that both
sides are measured by the same lines.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NotRequired  # this file runs under Python 3.9 too

    import numpy as np
    from numpy.typing import NDArray

    from sonjit.engines import Engine

Result = Any
"""What a library itself gives for one frame."""
WARM_UP = 6
"""Frames at the start that do not count: networks are loaded and the first search is done there."""
_BARE_RUNS = 100


class Job(TypedDict):
    """What a worker is asked for: frames (path of the `.npy`), how many, and the options of `create_detector`.

    For `tasks.py` also the module with the tasks, and the path of the bundle.
    """

    task: Literal["time", "find"]
    frames: str
    count: int
    kind: str
    model: str
    max_instances: int
    static_image: bool
    segmentation: NotRequired[bool]
    precision: NotRequired[str]
    threads: NotRequired[int | None]
    module: NotRequired[str]
    bundle: NotRequired[str]


class Instance(TypedDict):
    """A hand, face or body that was found: whose own hand, its id, and its keypoints (K, 2) in pixels."""

    handedness: str | None
    id: int | None
    xy: list[list[float]]


class Found(TypedDict):
    """The outcome of "find": what was found in each frame."""

    frames: list[list[Instance]]


class Extras(TypedDict):
    """Figures of one library's own: what its networks ran in, and the p50 of its landmark network alone."""

    precision: str
    bare_ms: NotRequired[float | None]


class Timing(TypedDict):
    """Time per frame, `cpu_ms` of all threads; the first frame's; and how many frames showed how many instances."""

    p50_ms: float
    p90_ms: float
    mean_ms: float
    cpu_ms: float
    first_s: float
    found: dict[str, int]


class Timed(Timing, Extras):
    """The outcome of "time": with the peak memory in 10^6 bytes, and the start, whose parts `cold_s` adds up."""

    rss_mb: float | None
    import_s: float
    create_s: float
    cold_s: float


class Library(Protocol):
    """A library under test. `load`, `create` and `detect` are timed, the others are not."""

    def load(self) -> None:
        """Import it."""
        ...

    def create(self, job: Job) -> None:
        """Make a detector."""
        ...

    def detect(self, rgb: NDArray[np.uint8]) -> Result:
        """What is found in one frame, in the library's own form."""
        ...

    def describe(self, result: Result, rgb: NDArray[np.uint8]) -> list[Instance]:
        """The hands, faces and bodies of a result; the person of holistic is as many as it has parts."""
        ...

    def extras(self, job: Job, rgb: NDArray[np.uint8]) -> Extras:
        """Further metrics of this library's own, measured after everything else."""
        ...


class Clip:
    """Frames in an `.npy` file (N, H, W, 3), read one at a time: peak memory must not hold the clip."""

    def __init__(self, path: str) -> None:
        import numpy as np

        self._file = Path(path).open("rb")  # noqa: SIM115
        np.lib.format.read_magic(self._file)
        shape, _, _ = np.lib.format.read_array_header_1_0(self._file)
        self._start = self._file.tell()
        self.count = int(shape[0])
        self._frame = np.empty(shape[1:], np.uint8)

    def read(self, turn: int) -> NDArray[np.uint8]:
        """The frame of one turn, there and back again without end; overwritten by the next call."""
        index = turn % max(2 * self.count - 2, 1)
        index = min(index, 2 * self.count - 2 - index)
        self._file.seek(self._start + index * self._frame.nbytes)
        self._file.readinto(self._frame.reshape(-1).data)
        return self._frame

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def run_job(job: Job, library: Library) -> Timed | Found:
    """Do what a job asks, with one library."""
    start = time.perf_counter()
    library.load()
    imported = time.perf_counter()
    library.create(job)
    created = time.perf_counter()
    clip = Clip(job["frames"])
    if job["task"] == "find":
        frames = (clip.read(turn) for turn in range(job["count"]))
        outcome: Timed | Found = {"frames": [library.describe(library.detect(rgb), rgb) for rgb in frames]}
    else:
        timing = _time_frames(clip, job["count"], library)
        outcome = {
            **timing,
            "rss_mb": peak_rss_mb(),  # before the extras, which are not the library's own need
            "import_s": imported - start,
            "create_s": created - imported,
            "cold_s": created - start + timing["first_s"],
            **library.extras(job, clip.read(0)),
        }
    clip.close()
    return outcome


def _time_frames(clip: Clip, count: int, library: Library) -> Timing:
    import numpy as np

    walls: list[float] = []
    cpus: list[float] = []
    found: dict[str, int] = {}
    for turn in range(count):
        rgb = clip.read(turn)
        cpu, wall = time.process_time(), time.perf_counter()
        result = library.detect(rgb)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
        number = str(len(library.describe(result, rgb)))
        found[number] = found.get(number, 0) + 1
    ms = np.array(walls[WARM_UP:]) * 1e3
    return {
        "p50_ms": float(np.percentile(ms, 50)),
        "p90_ms": float(np.percentile(ms, 90)),
        "mean_ms": float(ms.mean()),
        "cpu_ms": float(np.mean(cpus[WARM_UP:])) * 1e3,
        "first_s": walls[0],
        "found": found,
    }


def peak_rss_mb() -> float | None:
    """Peak resident memory of this process in 10^6 bytes; None where the system does not report it."""
    status = Path("/proc/self/status")
    if status.is_file():  # Linux's ru_maxrss would start at the size of the process that started this one
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


class Sonjit:
    """Sonjit as a library under test."""

    def load(self) -> None:
        """Import it; the runtime follows in `create`."""
        from sonjit import create_detector

        self._create = create_detector

    def create(self, job: Job) -> None:
        """Make a detector with the job's options."""
        names = ("model", "max_instances", "static_image", "segmentation", "precision", "threads")
        options: dict[str, Any] = {name: value for name, value in job.items() if name in names}
        self._detector = self._create(job["kind"], search="fast", **options)  # as the peer searches

    def detect(self, rgb: NDArray[np.uint8]) -> Result:
        """One frame."""
        return self._detector.detect(rgb)

    def describe(self, result: Result, rgb: NDArray[np.uint8]) -> list[Instance]:
        """Parts as plain JSON types."""
        del rgb
        parts = [part for one in result for part in getattr(one, "parts", (one,))]
        return [{"handedness": part.handedness, "id": part.id, "xy": part.keypoints[:, :2].tolist()} for part in parts]

    def extras(self, job: Job, rgb: NDArray[np.uint8]) -> Extras:
        """precision: what the networks ran in.

        bare_ms: p50 of the landmark network alone, or of the detector where there is no other, on the last crop that
        it was given; None for holistic, which has several.
        """
        del rgb
        engines = list(engines_of(self._detector))
        precision = "+".join(sorted({engine.precision for engine in engines}))
        if job["kind"] == "holistic":
            return {"bare_ms": None, "precision": precision}
        walls: list[float] = []
        for _ in range(_BARE_RUNS):
            wall = time.perf_counter()
            engines[-1].run()
            walls.append(time.perf_counter() - wall)
        return {"bare_ms": sorted(walls)[len(walls) // 2] * 1e3, "precision": precision}


def engines_of(part: object) -> Iterator[Engine]:
    """The networks in a detector's parts, as they run there: threads, precision and outputs are each kind's choice.

    Every kind has its landmark network last.
    """
    from sonjit.engines.openvino import OpenVinoEngine

    if isinstance(part, OpenVinoEngine):
        yield part
    elif type(part).__module__.startswith("sonjit.detectors."):
        for value in getattr(part, "__dict__", {}).values():
            yield from engines_of(value)


def main(library: Library) -> None:
    """Do the job on the command line and print its outcome; nothing else may reach standard output."""
    out = os.dup(1)
    os.dup2(2, 1)
    line = json.dumps(run_job(json.loads(sys.argv[1]), library))
    with os.fdopen(out, "w") as stdout:
        stdout.write(line + "\n")


if __name__ == "__main__":
    main(Sonjit())
