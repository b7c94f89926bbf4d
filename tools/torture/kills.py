"""Kill runs, or stop them with Ctrl-C, at random moments.

The command is repeated until it ends. The files must then equal those of an undisturbed run, without leftovers. A run
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
DISTURBED = 2  # times before it may end
JOBS = ("one", "two")
END_S = 600


class Verb(NamedTuple):
    """Command that runs in its output folder next to `../inputs`, and the outputs that must be equal."""

    line: str
    kept: tuple[str, ...]


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
    "annotate": Verb(
        "annotate auto project --model lite --fps 1 --leave-out", ("project/auto/*/seen/*", "project/auto/*/labels/*")
    ),
}


def make_inputs(folder: Path) -> None:
    """Images and videos, a set with labels, and a project of three cameras before a wall with hands on it."""
    media, labelled = folder / "media", folder / "set"
    for one in (media, labelled):
        one.mkdir(parents=True)
    make_images(media)
    make_videos(media)
    (media / "image.ppm").unlink()  # of a format that drawings have not
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
        camera = CalibratedCamera(K, np.eye(3), np.array([-shift_px / 600, 0.0, 0.0]), None)  # a metre from the wall
        cameras.append(RigCamera(view.name, 640, 480, camera))
    create_project(folder / "project", CameraRig(cameras), {one.name: folder / "views" / one.name for one in cameras})


def disturb(row: Row, work: Path, verb: Verb, with_signal: signal.Signals) -> None:
    """Disturb a command line at random moments, type it again, and compare with an undisturbed run."""
    make_inputs(work / "inputs")
    whole, begun_s = work / "whole", time.monotonic()
    if error := finished(verb, whole):
        row.fail(f"undisturbed: {error}")
        return
    took_s, wanted, rng = time.monotonic() - begun_s, contents(whole, verb.kept), random.Random(row.seed)
    row.fail("" if wanted else "undisturbed: nothing came out")
    while row.goes_on(took_s):
        out = work / "disturbed"
        for _ in range(DISTURBED):
            process = start(verb, out)
            try:
                process.wait(rng.uniform(0, took_s))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, with_signal)
            status = process.wait(END_S)
            said = (out / LOG).read_text(errors="replace")
            is_begun = (
                status != -with_signal or "sonjit:" in said or "__main__.py" in said
            )  # else Python itself was not
            if with_signal != signal.SIGKILL and is_begun:
                row.fail("" if status in (0, 130) else f"status {status}: {said[-300:]}", said * ("Traceback" in said))
        error = finished(verb, out)
        found = contents(out, verb.kept)
        different = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        left = sorted(names(out) - names(whole))
        row.fail(error, different and f"different: {different}", left and f"left over: {left}")
        row.tried += 1
        shutil.rmtree(out)


def start(verb: Verb, out: Path) -> subprocess.Popen[bytes]:
    """A command line in a session of its own, so that its workers are disturbed with it."""
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


def contents(folder: Path, kept: tuple[str, ...]) -> dict[str, bytes]:
    """Return the bytes that must be equal."""
    found = {path for pattern in kept for path in folder.glob(pattern) if path.is_file()}
    return {str(path.relative_to(folder)): content(path) for path in found if not path.name.startswith(".")}


def content(path: Path) -> bytes:
    """The bytes of a file; of an evaluation without when and how busy the machine was."""
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
        """What it answers."""
        request = urllib.request.Request(self.url.rstrip("/") + path, data=body, method=method)
        with urllib.request.urlopen(request, timeout=END_S) as answer:
            return answer.read()

    def end(self, with_signal: signal.Signals) -> int:
        """Its status after a signal."""
        os.killpg(self.process.pid, with_signal)
        status = self.process.wait(END_S)
        self._log.close()
        return status


def send(server: Server, clip: bytes) -> dict[str, str]:
    """Two jobs: their ids by name, of those that were taken."""
    return {
        name: json.loads(server.ask(f"/v1/jobs?kind=hands&model=lite&name={name}.mkv", clip))["id"] for name in JOBS
    }


def results(server: Server, ids: dict[str, str]) -> dict[str, bytes]:
    """The files of jobs by name, when they have ended."""
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
    server, begun_s = Server(work / "whole"), time.monotonic()
    wanted = results(server, send(server, clip))
    took_s = time.monotonic() - begun_s
    server.end(signal.SIGINT)
    files = {path.name for path in (work / "whole" / "jobs").rglob("*") if path.is_file()}
    while row.goes_on(took_s):
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
        different = sorted(name for name in wanted if found.get(name) != wanted[name])
        left = {path.name for path in (folder / "jobs").rglob("*") if path.is_file()} - files
        said = (folder / LOG).read_text(errors="replace")
        row.fail(different and f"different: {different}", left and f"left over: {left}", said * ("Traceback" in said))
        row.tried += 1
        shutil.rmtree(folder)


TESTS = {
    **{f"kill-{name}": partial(disturb, verb=verb, with_signal=signal.SIGKILL) for name, verb in VERBS.items()},
    "kill-server": partial(disturb_server, with_signal=signal.SIGKILL),
    **{f"stop-{name}": partial(disturb, verb=verb, with_signal=signal.SIGINT) for name, verb in VERBS.items()},
    "stop-server": partial(disturb_server, with_signal=signal.SIGTERM),
}
