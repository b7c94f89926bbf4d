"""Kill or stop runs at random moments, with SIGKILL, SIGINT, SIGTERM or SIGHUP.

After SIGKILL, no file with a final name may be half-written. The command is repeated until it ends. The files must then
equal those of an undisturbed run, without other files. A run that was stopped must end with one line and the status of
its signal.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from damage import CLIP, make_images, make_videos, write_labels
from rows import Row

from sonjit.geometry.cameras import CalibratedCamera
from sonjit.media import open_source
from sonjit_studio.project import create_project
from sonjit_studio.rig import CameraRig, RigCamera

LOG = "stderr.txt"
DISTURBED = 2  # disturbances per run
END_S = 600
JOBS = ("one", "two")
SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
UNFINISHED = "*.unfinished"  # frames of killed runs, which Sonjit keeps


class Verb(NamedTuple):
    """Command that runs in its output folder next to `../inputs`, and the outputs that must be equal."""

    line: str
    outputs: tuple[str, ...]
    grows: tuple[str, ...] = ()  # outputs that are complete only at the end


FAST = "--model lite --search fast"
VERBS = {
    "hands": Verb(f"hands ../inputs/media {FAST} --save t/ --draw d/", ("t/*", "d/*")),
    "hands-jobs": Verb(f"hands ../inputs/media {FAST} --save t/ --draw d/ --jobs 2", ("t/*", "d/*")),
    "hands-table": Verb(f"hands ../inputs/photos {FAST} --save t.csv", ("t.csv",)),
    "hands-parquet": Verb(f"hands ../inputs/clip.mkv {FAST} --save t.parquet", ("t.parquet",)),
    "hands-labels": Verb(f"hands ../inputs/photos {FAST} --save labels.coco.json", ("labels.coco.json",)),
    "body": Verb(f"body ../inputs/clip.mkv {FAST} --save t.csv --draw d.mp4", ("t.csv", "d.mp4")),
    "face": Verb("face ../inputs/clip.mkv --search fast --save t.xlsx --draw d.mp4", ("d.mp4",)),
    "motions": Verb("motions ../inputs/clip.mkv --save m.csv", ("m.csv",)),
    "gestures": Verb("gestures export ../inputs/clip.mkv --out g.csv", ("g.csv",)),
    "convert": Verb("datasets convert folder --root ../inputs/photos --out c.json", ("c.json",)),
    "board": Verb("annotate board charuco:8x6:30mm:22mm:4x4_50 --out board.svg", ("board.svg",)),
    "synth": Verb("synth s --count 4 --seed 1 --size 96x96", ("s/images/*/*", "s/coco.json")),
    "eval": Verb(
        "eval --protocol detection --model hands-lite --root ../inputs/set --out e --resume",
        ("e/eval.json", "e/*.jsonl"), ("e/*.jsonl",),
    ),
    "train": Verb(
        "train cam --smoke --set steps=6 --set workers=0 --out r", ("r/weights.safetensors", "r/network.json"),
        ("r/*",),
    ),
    "export": Verb("export hand-lite --weights demo --set trunk=tiny --out x.xml", ("x.xml", "x.bin")),
    "annotate": Verb(
        "annotate auto project --model lite --fps 1 --leave-out", ("project/auto/*/seen/*", "project/auto/*/labels/*")
    ),
}  # fmt: skip


def make_inputs(folder: Path) -> None:
    """Write images and videos, a labelled set, and a project of three cameras in front of a picture of hands."""
    media, photos, labelled = (folder / name for name in ("media", "photos", "set"))
    for one in (media, photos, labelled):
        one.mkdir(parents=True)
    make_images(media)
    make_videos(media)
    shutil.copy(media / "video.mkv", folder / "clip.mkv")
    (media / "image.ppm").unlink()  # drawings do not support this format
    with open_source(CLIP) as source:
        images = [cv2.resize(frame.rgb, (640, 480)) for frame in islice(source, 90, 134)]
    labels = {"width": 640, "height": 480, "hands": [{"box": [200, 200, 300, 300], "side": "Left"}]}
    for number, rgb in enumerate(images[:12]):
        cv2.imwrite(str(labelled / f"{number}.jpg"), rgb[..., ::-1])
        cv2.imwrite(str(photos / f"{number}.jpg"), rgb[..., ::-1])
    write_labels(photos / "dataset.json", [f"{number}.jpg" for number in range(12)])
    (labelled / "hands.json").write_text(json.dumps({f"{number}.jpg": labels for number in range(12)}))
    K, cameras = np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]]), list[RigCamera]()
    for number, shift_px in enumerate((0, 40, 80)):
        view = folder / "views" / f"cam{number}"
        view.mkdir(parents=True)
        for frame, rgb in enumerate(images):
            cv2.imwrite(str(view / f"{frame}.jpg"), np.roll(rgb, -shift_px, 1)[..., ::-1])
        camera = CalibratedCamera(K, np.eye(3), np.array([-shift_px / 600, 0.0, 0.0]), None)  # 1 m from the picture
        cameras.append(RigCamera(view.name, 640, 480, camera))
    create_project(
        folder / "project", CameraRig(cameras), {camera.name: folder / "views" / camera.name for camera in cameras}
    )


def disturb(row: Row, work: Path, verb: Verb) -> None:
    """Disturb a command at random moments, repeat it, and compare with an undisturbed run."""
    make_inputs(work / "inputs")
    reference, begun_s = work / "reference", time.monotonic()
    if error := finished(verb, reference):
        row.fail(f"undisturbed: {error}")
        return
    took_s, expected, rng = time.monotonic() - begun_s, contents(reference, verb.outputs), random.Random(row.seed)
    row.fail("" if expected else "undisturbed: no output")
    while row.has_time(took_s):
        out = work / "disturbed"
        for _ in range(DISTURBED):
            with_signal = rng.choice(SIGNALS)
            earlier = (
                contents(out, verb.outputs) if out.exists() else {}
            )  # those of a stopped run are valid, but not all
            process = start(verb, out)
            try:
                process.wait(rng.uniform(0, took_s))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, with_signal)
            row.fail(*troubles_of(process.wait(END_S), with_signal, (out / LOG).read_text(errors="replace")))
            written = contents(out, verb.outputs, without=verb.grows) if with_signal == signal.SIGKILL else {}
            half = [name for name, data in written.items() if data not in (expected.get(name), earlier.get(name))]
            row.fail(half and f"half-written: {half}")
        error = finished(verb, out)
        found = contents(out, verb.outputs)
        different = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        left = sorted(names(out) - names(reference))
        row.fail(error, different and f"different: {different}", left and f"unexpected files: {left}")
        row.tried += 1
        shutil.rmtree(out)


def troubles_of(status: int, with_signal: signal.Signals, log: str) -> list[str]:
    """Return what is wrong with the end of a run that received a signal, or ended before it came."""
    expected = {0, -with_signal} if with_signal == signal.SIGKILL else {0, 128 + with_signal}
    if status == -with_signal and (not log or "wrote" in log):  # Python was still starting, or already ending
        return []
    return [f"status {status}: {log[-300:]}"] * (status not in expected) + [log] * ("Traceback" in log)


def prepare(verb: Verb, out: Path) -> None:
    """Create the output folder of a command if it is missing, with a copy of the project if the command needs it."""
    if out.exists():
        return
    (out / "tmp").mkdir(parents=True)
    if "project" in verb.line:
        shutil.copytree(out.parent / "inputs" / "project", out / "project")
        (out / "views").symlink_to(out.parent / "inputs" / "views")


def start(verb: Verb, out: Path) -> subprocess.Popen[bytes]:
    """Start a command in a new session, so that signals also reach its workers."""
    prepare(verb, out)
    with (out / LOG).open("wb") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "sonjit", *verb.line.split()], cwd=out, stdout=subprocess.DEVNULL, stderr=errors,
            env=os.environ | {"TMPDIR": str(out / "tmp")}, start_new_session=True,
        )  # fmt: skip


def finished(verb: Verb, out: Path) -> str:
    """Repeat the command until it ends. Return the message of a failure."""
    return "" if start(verb, out).wait(END_S) == 0 else (out / LOG).read_text(errors="replace")[-300:]


def contents(folder: Path, outputs: tuple[str, ...], without: tuple[str, ...] = ()) -> dict[str, bytes]:
    """Return the bytes of the visible outputs, except the frames of killed runs."""
    found = {path for pattern in outputs for path in folder.glob(pattern) if path.is_file()}
    for pattern in (UNFINISHED, *without):
        found = {path for path in found if not path.match(pattern)}
    return {str(path.relative_to(folder)): content(path) for path in found if not path.name.startswith(".")}


def content(path: Path) -> bytes:
    """Return the bytes of a file; those of an evaluation without date and load."""
    if path.name == "eval.json":
        return json.dumps(json.loads(path.read_bytes()) | {"machine": None}).encode()
    return path.read_bytes()


def names(folder: Path) -> set[str]:
    """Return the names of all files and folders, with Sonjit's temporary ones, except the frames of killed runs."""
    found = (path for path in folder.rglob("*") if "tmp" not in path.parts or path.is_dir())
    return {str(path.relative_to(folder)) for path in found if not path.match(UNFINISHED)}


class Server:
    """`sonjit serve` with a folder of jobs."""

    def __init__(self, folder: Path, *options: str) -> None:
        folder.mkdir(exist_ok=True)
        self._log = (folder / LOG).open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sonjit", "serve", "--port", "0", "--jobs-folder", folder / "jobs", *options],
            stdout=subprocess.PIPE, stderr=self._log, text=True, start_new_session=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().rpartition(" ")[2].strip()

    def ask(self, path: str, body: bytes | None = None, *, method: str | None = None) -> bytes:
        """Send a request, and return the body of the response."""
        request = urllib.request.Request(self.url.rstrip("/") + path, data=body, method=method)
        with urllib.request.urlopen(request, timeout=END_S) as answer:
            return answer.read()

    def end(self, with_signal: signal.Signals) -> int:
        """Send a signal, and return the exit status."""
        os.killpg(self.process.pid, with_signal)
        status = self.process.wait(END_S)
        self._log.close()
        return status


def send(server: Server, clip: bytes) -> dict[str, str]:
    """Create two jobs, and return their IDs by name."""
    return {
        name: json.loads(server.ask(f"/v1/jobs?kind=hands&model=lite&name={name}.mkv", clip))["id"] for name in JOBS
    }


_DIFFERENT_EACH_TIME = ("parquet", "rrd")  # downloads whose bytes contain a time or a random number


def results(server: Server, ids: dict[str, str]) -> dict[str, bytes]:
    """Wait for jobs, and return their files by name."""
    found: dict[str, bytes] = {}
    for name, job_id in ids.items():
        while (job := json.loads(server.ask(f"/v1/jobs/{job_id}")))["state"] in ("waiting", "running"):
            time.sleep(0.1)
        found[name] = f"{job['state']} {job['message']}".encode()
        files = {kind: path for kind, path in job["downloads"].items() if kind not in _DIFFERENT_EACH_TIME}
        found |= {f"{name}.{kind}": server.ask(path) for kind, path in files.items()}
    return found


def disturb_server(row: Row, work: Path) -> None:
    """Disturb a server with running jobs, restart it, and compare the results of the jobs."""
    make_videos(work)
    clip, rng = (work / "video.mkv").read_bytes(), random.Random(row.seed)
    server, begun_s = Server(work / "reference"), time.monotonic()
    expected = results(server, send(server, clip))
    took_s = time.monotonic() - begun_s
    server.end(signal.SIGINT)
    files = {path.name for path in (work / "reference" / "jobs").rglob("*") if path.is_file()}
    while row.has_time(took_s):
        folder = work / "disturbed"
        server = Server(folder)
        ids = send(server, clip)
        for _ in range(DISTURBED):
            time.sleep(rng.uniform(0, took_s))
            with_signal = rng.choice(SIGNALS)
            status = server.end(with_signal)
            row.fail("" if status in (0, 128 + with_signal, -with_signal) else f"status {status}")
            server = Server(folder)
        try:
            found = results(server, ids)
        except urllib.error.HTTPError as error:
            row.fail(f"lost: {error} {error.read()!r}")
            found = {}
        server.end(signal.SIGINT)
        different = sorted(name for name in expected if found.get(name) != expected[name])
        left = {path.name for path in (folder / "jobs").rglob("*") if path.is_file()} - files
        log = (folder / LOG).read_text(errors="replace")
        row.fail(
            different and f"different: {different}", left and f"unexpected files: {left}", log * ("Traceback" in log)
        )
        row.tried += 1
        shutil.rmtree(folder)


TESTS = {
    **{f"kill-{name}": partial(disturb, verb=verb) for name, verb in VERBS.items()},
    "kill-server": disturb_server,
}
