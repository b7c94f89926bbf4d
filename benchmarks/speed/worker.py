"""Measure one configuration in a fresh process: `PYTHON worker.py JOB_JSON` prints one JSON line.

Start it by its path, so that the import of the package is timed too. It runs under Python 3.9 or newer and imports
nothing of Sonjit at its top, so that the interpreter of MediaPipe measures by the same lines. The library of a job is
`sonjit` (its own interface), `solutions` (`mediapipe.solutions`), or `tasks` under the module's name.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import sys
import time
from contextlib import contextmanager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from typing import NotRequired  # this file runs under Python 3.9 too

    import numpy as np
    from numpy.typing import NDArray

    from sonjit.engines.openvino import OpenVinoEngine

WARM_UP = 6  # frames at the start that do not count: networks are loaded and the first search runs there
_FRAME_MS = 33
_OTHER = {"Left": "Right", "Right": "Left"}
_PARTS = {
    "pose_landmarks": None, "left_hand_landmarks": "Left", "right_hand_landmarks": "Right", "face_landmarks": None
}  # fmt: skip


class Job(TypedDict):
    """Job of a worker: path and number of frames, options of `create_detector`, and for tasks module and bundle."""

    task: Literal["time", "find"]
    library: Literal["sonjit", "solutions", "tasks"]
    frames: str
    count: int
    kind: str
    model: str
    max_instances: int
    static_image: bool
    segmentation: NotRequired[bool]
    search: NotRequired[str]
    precision: NotRequired[str]
    threads: NotRequired[int | None]
    module: NotRequired[str]
    bundle: NotRequired[str]


class Instance(TypedDict):
    """Hand, face or body that was found: handedness, id and keypoints (K, 2) in pixels."""

    handedness: str | None
    id: int | None
    xy: list[list[float]]


class Found(TypedDict):
    """Result of "find": instances of each frame, and the processor time of all frames, the first one as the others."""

    frames: list[list[Instance]]
    cpu_s: float


class Timed(TypedDict):
    """Result of "time": `cold_s` is the sum of the start-up times, `found` counts frames by number of instances.

    Memory is the peak in 10^6 bytes. `networks_ms` is the mean time in which networks run, and `outside` the median
    share of a frame's time outside them.
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
    precision: str
    networks_ms: NotRequired[float]
    outside: NotRequired[float]


class Closure(TypedDict):
    """Distribution with all its requirements, largest first, as version and bytes; none if it is not installed."""

    python: str
    bytes: int
    distributions: dict[str, dict[str, Any]]


class Sonjit:
    """Sonjit as a library under test. `load`, `create` and `detect` of a library are timed, other methods are not."""

    def load(self) -> None:
        """Import the library. The runtime is loaded by `create`."""
        from sonjit import create_detector

        self._create: Any = create_detector

    def create(self, job: Job) -> None:
        """Create a detector with the job's options."""
        names = ("model", "max_instances", "static_image", "segmentation", "precision", "threads", "keypoints")
        options: dict[str, Any] = {name: value for name, value in job.items() if name in names}
        options["search"] = job.get("search", "fast")  # by default as the peer, like the smoothing
        self._detector = self._create(job["kind"], smoothing="published", **options)

    def detect(self, rgb: NDArray[np.uint8]) -> Any:  # the library's own form
        """Process one frame."""
        return self._detector.detect(rgb)

    def describe(self, result: Any, rgb: NDArray[np.uint8]) -> list[Instance]:
        """Return the instances as plain JSON types. The person of holistic counts by its parts."""
        parts = [part for item in result for part in getattr(item, "parts", (item,))]
        return [{"handedness": part.handedness, "id": part.id, "xy": part.keypoints[:, :2].tolist()} for part in parts]

    def extras(self, job: Job) -> dict[str, Any]:
        """Return the precision."""
        return {"precision": "+".join(sorted({engine.precision for engine in engines_of(self._detector)}))}


class Solutions:
    """MediaPipe's solutions with their defaults."""

    def load(self) -> None:
        """Import the library."""
        self._module: Any = import_module("mediapipe")

    def create(self, job: Job) -> None:
        """Create a detector with the job's options."""
        solutions, model, count = self._module.solutions, job["model"], job["max_instances"]
        shared: dict[str, Any] = {"static_image_mode": job["static_image"]}
        complexity = {"lite": 0, "full": 1, "heavy": 2}.get(model)
        if job["kind"] == "hands":
            self._solution = solutions.hands.Hands(max_num_hands=count, model_complexity=complexity, **shared)
        elif job["kind"] == "body":
            segmentation = job.get("segmentation", False)
            self._solution = solutions.pose.Pose(
                model_complexity=complexity, enable_segmentation=segmentation, **shared
            )
        elif job["kind"] == "holistic":
            shared.update(model_complexity=complexity, refine_face_landmarks=True)
            self._solution = solutions.holistic.Holistic(**shared)
        elif model in ("mesh", "attention"):
            shared.update(max_num_faces=count, refine_landmarks=model == "attention")
            self._solution = solutions.face_mesh.FaceMesh(**shared)
        else:
            number = {"box": 0, "box-full": 1}[model]
            self._solution = solutions.face_detection.FaceDetection(model_selection=number)

    def detect(self, rgb: NDArray[np.uint8]) -> Any:
        """Process one frame."""
        return self._solution.process(rgb)

    def describe(self, result: Any, rgb: NDArray[np.uint8]) -> list[Instance]:
        """Return the instances as plain JSON types. A hand's label assumes a selfie view and is therefore exchanged."""
        height, width = rgb.shape[:2]
        found: list[tuple[str | None, Any]] = []
        for number, hand in enumerate(getattr(result, "multi_hand_landmarks", None) or ()):
            found.append((_OTHER[result.multi_handedness[number].classification[0].label], hand.landmark))
        found += [(None, face.landmark) for face in getattr(result, "multi_face_landmarks", None) or ()]
        faces = getattr(result, "detections", None) or ()
        found += [(None, face.location_data.relative_keypoints) for face in faces]
        parts = [(side, getattr(result, name, None)) for name, side in _PARTS.items()]
        found += [(side, part.landmark) for side, part in parts if part is not None]
        return [
            {"handedness": side, "id": None, "xy": [[p.x * width, p.y * height] for p in points]}
            for side, points in found
        ]

    def extras(self, job: Job) -> dict[str, Any]:
        """Return the precision: XNNPACK runs in f32."""
        return {"precision": "f32"}


class Tasks:
    """Tasks of one module, `mediapipe` or `sonjit.compat.mediapipe`, run frame by frame as a video."""

    def __init__(self, module: str) -> None:
        self._name, self._time_ms = module, 0

    def load(self) -> None:
        """Import the library."""
        self._module: Any = import_module(self._name)

    def create(self, job: Job) -> None:
        """Create the task of the job's kind with its bundle; faces also output blendshapes and matrices."""
        vision, count = self._module.tasks.vision, job["max_instances"]
        data = Path(job.get("bundle", "")).read_bytes()
        base = self._module.tasks.BaseOptions(model_asset_buffer=data)
        shared: dict[str, Any] = {"base_options": base, "running_mode": vision.RunningMode.VIDEO}
        if job["kind"] == "hands":
            options = vision.HandLandmarkerOptions(num_hands=count, **shared)
            self._task = vision.HandLandmarker.create_from_options(options)
        else:
            further = {"output_face_blendshapes": True, "output_facial_transformation_matrixes": True}
            options = vision.FaceLandmarkerOptions(num_faces=count, **further, **shared)
            self._task = vision.FaceLandmarker.create_from_options(options)

    def detect(self, rgb: NDArray[np.uint8]) -> Any:
        """Process one frame."""
        self._time_ms += _FRAME_MS
        image = self._module.Image(image_format=self._module.ImageFormat.SRGB, data=rgb)
        return self._task.detect_for_video(image, self._time_ms)

    def describe(self, result: Any, rgb: NDArray[np.uint8]) -> list[Instance]:
        """Return hands or faces as plain JSON types."""
        height, width = rgb.shape[:2]
        faces = getattr(result, "face_landmarks", [])
        sides = [item[0].category_name for item in getattr(result, "handedness", [])] or [None] * len(faces)
        return [
            {"handedness": side, "id": None, "xy": [[mark.x * width, mark.y * height] for mark in marks]}
            for side, marks in zip(sides, getattr(result, "hand_landmarks", faces))  # noqa: B905  # Python 3.9
        ]

    def extras(self, job: Job) -> dict[str, Any]:
        """Return the precision: XNNPACK runs in f32."""
        if self._name == "mediapipe":
            return {"precision": "f32"}
        engines = engines_of(self._task._loading.result())
        return {"precision": "+".join(sorted({engine.precision for engine in engines}))}


class Clip:
    """Frames (H, W, 3) in an `.npy` file, read one at a time so that peak memory does not include the clip."""

    def __init__(self, path: str) -> None:
        import numpy as np

        self._load = np.load
        self._file = Path(path).open("rb")  # noqa: SIM115
        self._load(self._file)
        self._step = self._file.tell()
        self.count = Path(path).stat().st_size // self._step

    def read(self, turn: int) -> NDArray[np.uint8]:
        """Return the frame of one turn, forwards and backwards without end."""
        index = turn % max(2 * self.count - 2, 1)
        self._file.seek(min(index, 2 * self.count - 2 - index) * self._step)
        return self._load(self._file)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def run_job(job: Job, library: Sonjit | Solutions | Tasks) -> Timed | Found:
    """Run a job with one library."""
    start = time.perf_counter()
    library.load()
    imported = time.perf_counter()
    library.create(job)
    created = time.perf_counter()
    clip = Clip(job["frames"])
    cpus: list[float] = []
    if job["task"] == "find":
        frames: list[list[Instance]] = []
        for turn in range(job["count"]):
            rgb = clip.read(turn)
            cpu = time.process_time()
            result = library.detect(rgb)
            cpus.append(time.process_time() - cpu)
            frames.append(library.describe(result, rgb))
        later = cpus[1:] or cpus  # the first frame loads networks
        return {"frames": frames, "cpu_s": sum(later) * len(cpus) / len(later)}
    import numpy as np  # not earlier: the library's own import of it is timed

    walls: list[float] = []
    networks: list[float] = []
    found: dict[str, int] = {}
    for turn in range(job["count"]):
        rgb = clip.read(turn)
        spent: list[float] = []
        with networks_timed(spent) if isinstance(library, Sonjit) else nullcontext():
            cpu, wall = time.process_time(), time.perf_counter()
            result = library.detect(rgb)
            walls.append(time.perf_counter() - wall)
            cpus.append(time.process_time() - cpu)
        networks.append(sum(spent))
        number = str(len(library.describe(result, rgb)))
        found[number] = found.get(number, 0) + 1
    clip.close()
    ms, networks_ms = (np.array(seconds[WARM_UP:]) * 1e3 for seconds in (walls, networks))
    floor: dict[str, float] = {}
    if isinstance(library, Sonjit):
        floor = {"networks_ms": float(networks_ms.mean()), "outside": float(np.median(1 - networks_ms / ms))}
    return {  # pyright: ignore[reportReturnType]  # the extras complete it
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
        **floor,
        **library.extras(job),
    }


@contextmanager
def networks_timed(walls: list[float], clock: Callable[[], float] = time.perf_counter) -> Generator[None]:
    """Append the time of each run of a network in seconds to a list."""
    from sonjit.engines.openvino import OpenVinoEngine

    run = OpenVinoEngine.run

    def timed(self: OpenVinoEngine) -> Any:
        start = clock()
        outputs = run(self)
        walls.append(clock() - start)
        return outputs

    OpenVinoEngine.run = timed
    try:
        yield
    finally:
        OpenVinoEngine.run = run


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


def engines_of(part: object) -> Iterator[OpenVinoEngine]:
    """Yield the networks of a detector with their own threads, precision and outputs. The landmark network is last."""
    from sonjit.engines.openvino import OpenVinoEngine

    if isinstance(part, OpenVinoEngine):
        yield part
    elif type(part).__module__.startswith("sonjit.detectors."):
        for value in getattr(part, "__dict__", {}).values():
            yield from engines_of(value)


def measure_closure(name: str) -> Closure:
    """Measure the disk space of an installed distribution and of all that it requires here without extras.

    Bytecode does not count: whether a RECORD lists it depends on the installer.
    """
    found: dict[str, dict[str, Any]] = {}
    waiting = [name]
    while waiting:
        key = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if key in found:
            continue
        try:
            distribution = importlib.metadata.distribution(key)
        except importlib.metadata.PackageNotFoundError:
            continue
        found[key] = {"version": distribution.version, "bytes": _size(distribution, key)}
        required = (line for line in distribution.requires or () if not re.search(r";.*\bextra\b", line))
        waiting += [re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in required]
    return {
        "python": platform.python_version(),
        "bytes": sum(entry["bytes"] for entry in found.values()),
        "distributions": dict(sorted(found.items(), key=lambda item: -item[1]["bytes"])),
    }


def _size(distribution: importlib.metadata.Distribution, key: str) -> int:
    """Return the size of a distribution's files in bytes; for an editable install, that of the package folder."""
    paths = [Path(str(file.locate())) for file in distribution.files or ()]
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        spec = importlib.util.find_spec(key.replace("-", "_"))
        for folder in (spec and spec.submodule_search_locations) or ():
            paths += [Path(root, file) for root, _, files in os.walk(folder) for file in files]
    return sum(path.stat().st_size for path in set(paths) if path.suffix != ".pyc" and path.is_file())


def main(argument: str) -> None:
    """Run a job, or measure the distribution of a name, and print the result and nothing else."""
    out = os.dup(1)
    os.dup2(2, 1)
    if argument.startswith("{"):
        job: Job = json.loads(argument)
        name = job.get("library", "sonjit")
        library = Tasks(job.get("module", "")) if name == "tasks" else Solutions() if name == "solutions" else Sonjit()
        result: object = run_job(job, library)
    else:
        result = measure_closure(argument)
    with os.fdopen(out, "w") as stdout:
        stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
