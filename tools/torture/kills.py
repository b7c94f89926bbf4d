"""Kill runs, or stop them with Ctrl-C, at random moments.

The command is repeated until it ends. The files must then equal those of an undisturbed run, without other files. A run
that was stopped must print one line and end with status 130.
"""

from __future__ import annotations

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
from damage import CLIP, make_images, make_videos
from rows import Row

from sonjit.geometry.cameras import CalibratedCamera
from sonjit.media import open_source
from sonjit.studio.annotation.project import create_project
from sonjit.studio.cameras.rig import CameraRig, RigCamera

LOG = "stderr.txt"
DISTURBED = 2  # disturbances per run
JOBS = ("one", "two")
END_S = 600


class Verb(NamedTuple):
    """Command that runs in its output folder next to `../inputs`, and the outputs that must be equal."""

    line: str
    outputs: tuple[str, ...]


VERBS = {
    "hands": Verb("hands ../inputs/media --model lite --save t/ --draw d/", ("t/*", "d/*")),
    "hands-jobs": Verb("hands ../inputs/media --model lite --save t/ --draw d/ --jobs 2", ("t/*", "d/*")),
    "hands-table": Verb("hands ../inputs/media --model lite --save t.csv", ("t.csv",)),
    "synth": Verb("synth s --count 4 --seed 1 --size 96x96", ("s/images/*", "s/coco.json")),
    "eval": Verb(
        "eval --protocol detection --model hands-lite --root ../inputs/set --out e --resume",
        ("e/eval.json", "e/*.jsonl"),
    ),
    "train": Verb(
        "train cam --smoke --set steps=6 --set workers=0 --out r", ("r/weights.safetensors", "r/network.json")
    ),
    "export": Verb("export hand-lite --weights demo --set trunk=tiny --out x.xml", ("x.xml", "x.bin")),
    "annotate": Verb(
        "annotate auto project --model lite --fps 1 --leave-out", ("project/auto/*/seen/*", "project/auto/*/labels/*")
    ),
}


def make_inputs(folder: Path) -> None:
    """Write images and videos, a labelled set, and a project of three cameras in front of a picture of hands."""
    media, labelled = folder / "media", folder / "set"
    for one in (media, labelled):
        one.mkdir(parents=True)
    make_images(media)
    make_videos(media)
    (media / "image.ppm").unlink()  # drawings do not support this format
    with open_source(CLIP) as source:
        images = [cv2.resize(frame.rgb, (640, 480)) for frame in islice(source, 90, 134)]
    labels = {"width": 640, "height": 480, "hands": [{"box": [200, 200, 300, 300], "side": "Left"}]}
    for number, rgb in enumerate(images[:12]):
        cv2.imwrite(str(labelled / f"{number}.jpg"), rgb[..., ::-1])
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


def disturb(row: Row, work: Path, verb: Verb, with_signal: signal.Signals) -> None:
    """Disturb a command line at random moments, repeat it, and compare with an undisturbed run."""
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
            process = start(verb, out)
            try:
                process.wait(rng.uniform(0, took_s))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, with_signal)
            status = process.wait(END_S)
            log = (out / LOG).read_text(errors="replace")
            is_begun = (
                status != -with_signal or "sonjit:" in log or "__main__.py" in log
            )  # otherwise Python was still starting
            if with_signal != signal.SIGKILL and is_begun:
                row.fail("" if status in (0, 130) else f"status {status}: {log[-300:]}", log * ("Traceback" in log))
        error = finished(verb, out)
        found = contents(out, verb.outputs)
        different = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        left = sorted(names(out) - names(reference))
        row.fail(error, different and f"different: {different}", left and f"unexpected files: {left}")
        row.tried += 1
        shutil.rmtree(out)


def start(verb: Verb, out: Path) -> subprocess.Popen[bytes]:
    """Start a command in a new session, so that signals also reach its workers."""
    if not out.exists():
        (out / "tmp").mkdir(parents=True)
        if "project" in verb.line:
            shutil.copytree(out.parent / "inputs" / "project", out / "project")
            (out / "views").symlink_to(out.parent / "inputs" / "views")
    with (out / LOG).open("wb") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "sonjit", *verb.line.split()], cwd=out, stdout=subprocess.DEVNULL, stderr=errors,
            env=os.environ | {"TMPDIR": str(out / "tmp")}, start_new_session=True,
        )  # fmt: skip


def finished(verb: Verb, out: Path) -> str:
    """Repeat the command until it ends. Return the message of a failure."""
    return "" if start(verb, out).wait(END_S) == 0 else (out / LOG).read_text(errors="replace")[-300:]


def contents(folder: Path, outputs: tuple[str, ...]) -> dict[str, bytes]:
    """Return the bytes that must be equal."""
    found = {path for pattern in outputs for path in folder.glob(pattern) if path.is_file()}
    return {str(path.relative_to(folder)): content(path) for path in found if not path.name.startswith(".")}


def content(path: Path) -> bytes:
    """Return the bytes of a file; those of an evaluation without date and load."""
    if path.name == "eval.json":
        return json.dumps(json.loads(path.read_bytes()) | {"machine": None}).encode()
    return path.read_bytes()


def names(folder: Path) -> set[str]:
    """Return the names of all files and folders, with Sonjit's temporary ones."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if "tmp" not in path.parts or path.is_dir()}


class Server:
    """`sonjit serve` with a folder of jobs."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._log = (folder / LOG).open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sonjit", "serve", "--port", "0", "--jobs-folder", str(folder / "jobs")],
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


def results(server: Server, ids: dict[str, str]) -> dict[str, bytes]:
    """Wait for jobs, and return their files by name."""
    found: dict[str, bytes] = {}
    for name, job_id in ids.items():
        while (job := json.loads(server.ask(f"/v1/jobs/{job_id}")))["state"] in ("waiting", "running"):
            time.sleep(0.1)
        found |= {f"{name}.{kind}": server.ask(path) for kind, path in job["downloads"].items() if kind != "parquet"}
    return found


def disturb_server(row: Row, work: Path, with_signal: signal.Signals) -> None:
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
            status = server.end(with_signal)
            row.fail("" if status in (0, 130, -with_signal) else f"status {status}")
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
    **{f"kill-{name}": partial(disturb, verb=verb, with_signal=signal.SIGKILL) for name, verb in VERBS.items()},
    "kill-server": partial(disturb_server, with_signal=signal.SIGKILL),
    **{f"stop-{name}": partial(disturb, verb=verb, with_signal=signal.SIGINT) for name, verb in VERBS.items()},
    "stop-server": partial(disturb_server, with_signal=signal.SIGTERM),
}
