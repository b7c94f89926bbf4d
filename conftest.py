"""Fixtures for reference data and weights, which skip tests that lack them, and one detector per set of options."""

import gc
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import av
import cv2
import hypothesis
import numpy as np
import pytest
from tests.support.registered import REGISTRIES, restored

import sonjit
from sonjit._util.errors import SonjitError
from sonjit.cli import main
from sonjit.media import open_source
from sonjit.weights import find_weight
from sonjit_lab.hand_models.rig import load_rig

pytest_plugins = ["tests.support.levels"]
PROJECT = Path(__file__).parent
DATA = (PROJECT / os.environ.get("SONJIT_TEST_DATA", "../shared")).resolve()

os.environ.setdefault("SONJIT_THREADS", "1")  # networks of many threads slow each other down on a busy machine
os.environ.setdefault("OMP_NUM_THREADS", "1")  # PyTorch's too
os.environ.setdefault("SONJIT_KEPT_NETWORKS", "64")  # many tests create the same detector

for name, examples in {"long": 200, "short": 30}.items():  # of `make test-all`, and of all other runs
    hypothesis.settings.register_profile(
        name,
        deadline=None,
        derandomize=True,
        database=None,
        max_examples=examples,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],  # depends on the load of the machine
    )
hypothesis.settings.load_profile("short")


def pytest_configure(config):
    gc.disable()  # until all is imported, which leaves no garbage
    if number := getattr(config, "workerinput", {}).get("workerid", "")[2:]:
        # A worker begins with other folders, because the first that imports a file compiles it for all.
        first = int(number) % len(config.args)
        config.args[:] = config.args[first:] + config.args[:first]
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as shells do in background jobs, and so in our processes
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish():
    """Exclude imported objects from garbage collection, and run it less often: exports and servers allocate much."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)
    gc.enable()


def pytest_terminal_summary(terminalreporter):
    """Print the number of skipped tests for each reason."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    if reasons:
        terminalreporter.section(f"{sum(reasons.values())} skipped")
        for reason, count in reasons.most_common():
            terminalreporter.line(f"{count:5} {reason}")


def pytest_generate_tests(metafunc):
    """Create one case per file for `@pytest.mark.files(pattern)`."""
    for mark in metafunc.definition.iter_markers("files"):
        (pattern,) = mark.args
        absent = pytest.param(None, marks=pytest.mark.skip(reason=f"no {pattern} in {DATA}"), id="none")
        metafunc.parametrize(
            "file", sorted(DATA.glob(pattern)) or [absent], ids=lambda file: getattr(file, "stem", None)
        )


@pytest.fixture(scope="module", autouse=True)
def registries():
    """Remove what the tests of a file register, because tests of every kind and format are in other files."""
    with restored(*REGISTRIES):
        yield


@pytest.fixture(scope="session")
def data():
    """Return the folder of the reference data."""
    return DATA


@pytest.fixture(scope="session")
def golden_frames(data):
    """Return a function: whether a golden is synthetic, and an iterator over its images. It skips missing files."""

    def frames(file, golden):
        if not (data / golden["source"]).is_file():
            pytest.skip(f"{golden['source']} is not in {data}")
        sequences = file.with_name("sequences.py")
        made = getattr(_module(sequences), file.name.split(".")[1], None) if sequences.is_file() else None
        return made is not None, made(data) if made else _images(data / golden["source"])

    return frames


@pytest.fixture(scope="session")
def read_rgb():
    """Read the image of a golden, or skip the test."""

    def read(path):
        if not path.is_file():
            pytest.skip(f"{path} is not there")
        return np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])

    return read


@pytest.fixture(scope="session")
def need():
    """Return a function that gives the paths of networks by name, or skips the test."""

    def paths(*names):
        try:
            return {name: find_weight(name) for name in names}
        except SonjitError as error:
            pytest.skip(f"{str(error).partition(';')[0]}; type: sonjit models pull")

    return paths


@pytest.fixture(scope="session")
def registry():
    """Skip the test if pip reaches no package registry."""
    asked = [sys.executable, "-m", "pip", "index", "versions", "numpy", "--retries", "0", "--timeout", "20"]
    if subprocess.run(asked, capture_output=True, check=False).returncode:
        pytest.skip("pip reaches no package registry")


@pytest.fixture(scope="session")
def weights(need):
    """Skip without the hand networks."""
    return need("palm-lite", "palm-full", "hand-lite", "hand-full")


@pytest.fixture(scope="session")
def rigs():
    """Return both rigged hands by side, or skip the test."""
    try:
        return {side: load_rig(side) for side in ("Right", "Left")}
    except SonjitError as error:
        pytest.skip(f"{str(error).partition(';')[0]}; type: sonjit models pull rigs")


@pytest.fixture(name="sonjit")
def run_sonjit(capsys):
    """Run a command in this process; return exit status, standard output, and lines of standard error."""

    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return status, captured.out, captured.err.splitlines()

    return run


@pytest.fixture
def refusal(sonjit):
    """Run a command that refuses its arguments; return the one line that it prints."""

    def run(*arguments):
        status, out, lines = sonjit(*arguments)
        assert (status, out) == (2, "")
        (line,) = lines
        return line

    return run


@contextmanager
def reused(kind):
    """Yield `get(**options)`, which returns a reset detector with published search and smoothing, one per options."""
    made = {}

    def get(**options):
        options = {"search": "fast", "smoothing": "published"} | options
        key = json.dumps(options, sort_keys=True)
        if key not in made:
            made[key] = sonjit.create_detector(kind, **options)
        made[key].reset()
        return made[key]

    yield get
    for detector in made.values():
        detector.close()


@pytest.fixture(scope="session")
def hands(weights):
    """Return a function that gives a reset hand detector with published search. Tests share the detectors."""
    with reused("hands") as get:
        yield get


@pytest.fixture(scope="session")
def demo_clip():
    """Return the path of the bundled clip, its frames (H, W, 3), and the ground truth of each frame."""
    path = PROJECT / "src" / "sonjit" / "_util" / "assets" / "demo.mp4"
    with open_source(path) as source:
        frames = [frame.rgb for frame in source]
    truth = json.loads(path.with_suffix(".json").read_text("utf-8"))["frames"]
    return path, frames, truth


@pytest.fixture(scope="session")
def photo(demo_clip):
    """Return an image with one or two hands."""
    _, frames, truth = demo_clip
    return frames[max(range(len(frames)), key=lambda i: (len(truth[i]["hands"]), -i))]


@pytest.fixture(scope="session")
def write_video():
    """Write frames (H, W, 3) as a file, H.264 by default, and return its path."""

    def write(path, frames, fps=30, codec="libx264", pix_fmt="yuv420p"):
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, fps, options={"crf": "12"} if codec == "libx264" else {})
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt = pix_fmt
            for rgb in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb)))
            container.mux(stream.encode())
        return path

    return write


@pytest.fixture(scope="session")
def full_disk():
    """Return a context manager that limits the size of new files, as on a full disk."""
    resource = pytest.importorskip("resource", reason="Windows limits no files")

    @contextmanager
    def limit(room=0):
        before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))

    return limit


@pytest.fixture(scope="session")
def reader_files(demo_clip, write_video, tmp_path_factory):
    """Return a folder with the files of readers of the documentation: clip.mp4, photo.jpg, photos/, recordings/.

    All are of the bundled clip, where both hands are in it: `clip.mp4` 40 frames, recordings/ its halves, `short.mp4`
    its first 8.
    """
    _, frames, _ = demo_clip
    folder = tmp_path_factory.mktemp("reader")
    shown = frames[100:140]
    write_video(folder / "clip.mp4", shown)
    write_video(folder / "short.mp4", shown[:8])
    for name in ("photos", "recordings"):
        (folder / name).mkdir()
    write_video(folder / "recordings" / "one.mp4", shown[:20])
    write_video(folder / "recordings" / "two.mp4", shown[20:])
    for name, rgb in {"photo": shown[0], "photos/a": shown[10], "photos/b": shown[30]}.items():
        cv2.imwrite(str(folder / f"{name}.jpg"), rgb[..., ::-1])
    return folder


def _images(path):
    if path.suffix in (".jpg", ".png"):  # the reference programs apply no colour profile
        yield np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])
        return
    with open_source(path) as source:
        for frame in source:
            yield frame.rgb


@pytest.fixture(scope="session")
def load_module():
    """Return a function that imports the Python file at a path."""
    return _module


@cache
def _module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
