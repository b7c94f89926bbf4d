"""Measure one configuration in a fresh process: `python -m sonjit.lab.benchmark.worker JOB_JSON` prints one JSON line.

Start it by its path, as the benchmark does, so that the import of the package is timed too. The loop is independent of
the library and runs under Python 3.9 or newer: the peer's script calls it in the peer's interpreter, so that both sides
are measured by the same lines.
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

    from sonjit.engines.openvino import OpenVinoEngine

Result = Any
"""Result of one frame in the library's own form."""
WARM_UP = 6
"""Frames at the start that do not count: networks are loaded and the first search runs there."""
_BARE_RUNS = 100


class Job(TypedDict):
    """Job of a worker: frames (path of the `.npy`), their number, and the options of `create_detector`.

    Jobs of `tasks.py` also name the module with the tasks and the path of the bundle.
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
    """Hand, face or body that was found: handedness, id and keypoints (K, 2) in pixels."""

    handedness: str | None
    id: int | None
    xy: list[list[float]]


class Extras(TypedDict):
    """Figures that only one library has: the precision of its networks and the p50 of its landmark network alone."""

    precision: str
    bare_ms: NotRequired[float | None]


class Timed(Extras):
    """Result of "time".

    It has the time per frame, `cpu_ms` over all threads, the time of the first frame, the frames by number of
    instances, the peak memory in 10^6 bytes, and the start-up time, whose parts add up to `cold_s`.
    """

    p50_ms: float
    p90_ms: float
    mean_ms: float
    cpu_ms: float
    first_s: float
    found: dict[str, int]
    rss_mb: float | None
    import_s: float
    create_s: float
    cold_s: float


class Library(Protocol):
    """Library under test. `load`, `create` and `detect` are timed, the other methods are not."""

    def load(self) -> None:
        """Import the library."""
        ...

    def create(self, job: Job) -> None:
        """Create a detector."""
        ...

    def detect(self, rgb: NDArray[np.uint8]) -> Result:
        """Process one frame and return the result in the library's own form."""
        ...

    def describe(self, result: Result, rgb: NDArray[np.uint8]) -> list[Instance]:
        """Return the hands, faces and bodies of a result. The person of holistic counts by its parts."""
        ...

    def extras(self, job: Job, rgb: NDArray[np.uint8]) -> Extras:
        """Return metrics that only this library has, measured last."""
        ...


class Clip:
    """Frames in an `.npy` file (N, H, W, 3), read one at a time so that peak memory does not include the clip."""

    def __init__(self, path: str) -> None:
        import numpy as np

        self._file = Path(path).open("rb")  # noqa: SIM115
        np.lib.format.read_magic(self._file)
        shape, _, _ = np.lib.format.read_array_header_1_0(self._file)
        self._start = self._file.tell()
        self.count = int(shape[0])
        self._frame = np.empty(shape[1:], np.uint8)

    def read(self, turn: int) -> NDArray[np.uint8]:
        """Return the frame of one turn, forwards and backwards without end. The next call overwrites it."""
        index = turn % max(2 * self.count - 2, 1)
        index = min(index, 2 * self.count - 2 - index)
        self._file.seek(self._start + index * self._frame.nbytes)
        self._file.readinto(self._frame.reshape(-1).data)
        return self._frame

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def run_job(job: Job, library: Library) -> Timed | dict[str, list[list[Instance]]]:
    """Run a job with one library. "find" returns the instances of each frame as "frames"."""
    start = time.perf_counter()
    library.load()
    imported = time.perf_counter()
    library.create(job)
    created = time.perf_counter()
    clip = Clip(job["frames"])
    if job["task"] == "find":
        frames = (clip.read(turn) for turn in range(job["count"]))
        outcome: Timed | dict[str, list[list[Instance]]] = {
            "frames": [library.describe(library.detect(rgb), rgb) for rgb in frames]
        }
    else:
        import numpy as np  # not earlier: the library's own import of it is timed

        walls, cpus, found = _time_frames(clip, job["count"], library)
        ms = np.array(walls[WARM_UP:]) * 1e3
        outcome = {
            "p50_ms": float(np.percentile(ms, 50)),
            "p90_ms": float(np.percentile(ms, 90)),
            "mean_ms": float(ms.mean()),
            "cpu_ms": float(np.mean(cpus[WARM_UP:])) * 1e3,
            "first_s": walls[0],
            "found": found,
            "rss_mb": peak_rss_mb(),  # before the extras, which are not the library's own need
            "import_s": imported - start,
            "create_s": created - imported,
            "cold_s": created - start + walls[0],
            **library.extras(job, clip.read(0)),
        }
    clip.close()
    return outcome


def _time_frames(clip: Clip, count: int, library: Library) -> tuple[list[float], list[float], dict[str, int]]:
    """Return the wall and processor time of each frame in seconds, and the frames by number of instances."""
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
    return walls, cpus, found


def peak_rss_mb() -> float | None:
    """Return the peak resident memory of this process in 10^6 bytes; None where the system does not report it."""
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
        """Import the library. The runtime is loaded by `create`."""
        from sonjit import create_detector

        self._create = create_detector

    def create(self, job: Job) -> None:
        """Create a detector with the job's options."""
        names = ("model", "max_instances", "static_image", "segmentation", "precision", "threads", "keypoints")
        options: dict[str, Any] = {name: value for name, value in job.items() if name in names}
        self._detector = self._create(job["kind"], search="fast", smoothing="published", **options)  # as the peer

    def detect(self, rgb: NDArray[np.uint8]) -> Result:
        """Process one frame."""
        return self._detector.detect(rgb)

    def describe(self, result: Result, rgb: NDArray[np.uint8]) -> list[Instance]:
        """Return the instances as plain JSON types."""
        del rgb
        parts = [part for item in result for part in getattr(item, "parts", (item,))]
        return [{"handedness": part.handedness, "id": part.id, "xy": part.keypoints[:, :2].tolist()} for part in parts]

    def extras(self, job: Job, rgb: NDArray[np.uint8]) -> Extras:
        """Report precision and `bare_ms` of the networks.

        `bare_ms` is the p50 of the landmark network alone, or of the detector if there is no other, on its last crop;
        None for holistic, which has several.
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


def engines_of(part: object) -> Iterator[OpenVinoEngine]:
    """Yield the networks of a detector with their own threads, precision and outputs.

    The landmark network comes last in every kind.
    """
    from sonjit.engines.openvino import OpenVinoEngine

    if isinstance(part, OpenVinoEngine):
        yield part
    elif type(part).__module__.startswith("sonjit.detectors."):
        for value in getattr(part, "__dict__", {}).values():
            yield from engines_of(value)


def main(library: Library) -> None:
    """Run the job of the command line and print its result; nothing else may be printed to standard output."""
    out = os.dup(1)
    os.dup2(2, 1)
    line = json.dumps(run_job(json.loads(sys.argv[1]), library))
    with os.fdopen(out, "w") as stdout:
        stdout.write(line + "\n")


if __name__ == "__main__":
    main(Sonjit())
