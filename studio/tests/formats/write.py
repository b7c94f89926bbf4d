"""Write one small file of each format that users keep, into `studio/tests/formats/VERSION.zip`.

    .venv/bin/python -m studio.tests.formats.write

Run it before a release whose files differ. Archives of earlier versions stay: `test_formats.py` reads all of them.
"""

import json
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from studio.tests.projects import make_project

import sonjit
from sonjit.gestures import GestureRecording, LearnedGestures, MotionRecording
from sonjit.media import TABLE_ENDINGS, Header, open_writer
from sonjit.results import Body, Face, Frame, Hand, Person, box_around
from sonjit.server import job, job_files, job_store, options
from sonjit.server.settings import Settings
from sonjit_lab.training.loop import TrainingSettings, train
from sonjit_studio.marks import Mark

JOB = "1" * 32
MARKS = [
    Mark("first", 0, "cam0", 4, "Ann", "seen", 320.5, 240.25),
    Mark("second", 0, "cam1", 4, "Ann", "occluded", 300.0, 200.0),
    Mark("third", 0, "cam1", 5, "Ann", "absent"),
]
CONTROL = '[[rule]]\non = "Thumb_Up"\nkey = "space"\n'
PAGE_SETTINGS = {
    "detectors": {"hands": {"on": True, "model": "lite", "max": 3}, "face": {"on": False, "model": "full", "max": 1}},
    "options": {"smoothing": "none"},
    "mirrors": {"camera": False, "files": False},
    "style": {},
    "compare": "",
    "longest": 640,
    "here": False,
}


def points(seed, *shape):
    """Return numbers that do not depend on the version of NumPy."""
    return (np.random.RandomState(seed).randint(0, 4000, shape) / 8).astype(np.float32)


def frames(kind):
    """Return two frames of a kind, the second of them empty."""
    hand = Hand("Left", 0.75, points(1, 21, 3), points(2, 21, 3) / 4096, 7)
    mesh = points(3, 478, 3)
    face = Face(0.5, mesh, box_around(mesh), 1)
    body = Body(0.875, points(4, 33, 3), points(5, 33, 3), points(6, 33) / 500, np.full(33, np.nan, np.float32), 2)
    found = {"hands": hand, "faces": face, "bodies": body, "people": Person(body, hand, None, None)}
    return [Frame(0, 0.0, **{kind: [found[kind]]}), Frame(1, 0.04)]


KINDS = ("hands", "faces", "bodies", "people")


def network():
    """Return a network and a function that trains it for four steps, or until `progress` raises."""
    torch.manual_seed(0)
    line = torch.nn.Linear(2, 1)

    def run(out, progress):
        train(
            line,
            lambda rng: torch.from_numpy(rng.standard_normal((4, 2), "float32")),
            lambda model, values: {"squares": (model(values) - 1).square().mean()},
            TrainingSettings(steps=4, save_every=2),
            out=out,
            progress=progress,
        )

    return run


def stop_after_two(done, steps, losses):
    """Interrupt a training after its first checkpoint."""
    if done == 2:
        raise KeyboardInterrupt


def write_all(folder):
    """Write all files into an empty folder."""
    for kind in KINDS:
        for ending in TABLE_ENDINGS:
            with open_writer(folder / f"{kind}{ending}", Header("clip.mp4", 640, 480, 25.0, "full", kind)) as writer:
                for frame in frames(kind):
                    writer.write(frame)
    static = GestureRecording("claw", (points(7, 3, 2, 21, 3) / 512).astype(np.float16))
    moving = MotionRecording("tick", tuple((points(seed, 9, 24) / 512).astype(np.float16) for seed in (8, 9)))
    static.save(folder / "recorded-gesture.npz")
    moving.save(folder / "recorded-motion.npz")
    LearnedGestures.learn([static, moving]).save(folder / "gestures.npz")
    (folder / "control.toml").write_text(CONTROL, "utf-8")
    project, _ = make_project(folder, cameras=2, frames=1)
    project.store.add(MARKS)
    project.close()
    shutil.copy(folder / "project" / "cameras.json", folder / "rig.json")
    with suppress(KeyboardInterrupt):
        network()(folder / "run", stop_after_two)
    settings = folder / "run" / "settings.json"
    record = json.loads(settings.read_text("utf-8"))
    record["environment"] |= {"command": ["sonjit", "train"], "platform": "Linux"}  # not those of who ran this script
    settings.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", "utf-8")
    write_job(folder / "jobs")
    (folder / "page-settings.json").write_text(json.dumps(PAGE_SETTINGS, indent=1) + "\n", "utf-8")


def write_job(folder):
    """Write a jobs folder with one finished job."""
    store = job_store.JobStore(Settings(jobs_folder=folder))
    finished = job.UploadJob((options.read_detector({"kind": "hands"}, job=True),), draw=False, id=JOB)
    store.add(finished)
    finished.input = job_files.JobInput(finished.input_folder, "clip", ".mp4")
    shutil.copy(folder.parent / "hands.jsonl", finished.folder / "result.jsonl")
    finished.state, finished.frames, finished.of, finished.instances = "done", 2, 2, 1
    store._finish(finished)
    store.close()


def main():
    with TemporaryDirectory() as folder:
        write_all(Path(folder))
        path = shutil.make_archive(str(Path(__file__).with_name(sonjit.__version__)), "zip", folder)
    sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
