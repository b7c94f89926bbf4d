"""This version reads the files of every released version, and refuses files of newer versions in one line."""

import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from tests.server.page.test_modules import run_module

from sonjit import InputError
from sonjit.gestures import LearnedGestures, control, custom
from sonjit.media import TABLE_ENDINGS, load_frames
from sonjit.server import job_store, settings

from . import write

VERSIONS = sorted(Path(__file__).parent.glob("*.zip"))


@pytest.fixture(params=VERSIONS, ids=lambda path: path.stem)
def folder(request, tmp_path):
    """Return the unpacked files of one version."""
    shutil.unpack_archive(request.param, tmp_path / "files")
    return tmp_path / "files"


@pytest.mark.parametrize("ending", TABLE_ENDINGS)
@pytest.mark.parametrize("kind", write.KINDS)
def test_tables(folder, kind, ending):
    header, read = load_frames(folder / f"{kind}{ending}")
    if ending != ".csv":
        assert (header.source, header.width, header.height, header.fps, header.kind) == ("clip.mp4", 640, 480, 25, kind)
    reference = write.frames(kind)[0]
    assert len(read) == 2
    pairs = zip(read[0].instances(), reference.instances(), strict=True)
    for (_, part), (_, expected) in pairs:
        np.testing.assert_array_equal(part.keypoints, expected.keypoints)
        assert (part.score, part.id) == (expected.score, expected.id)


def test_gestures_and_their_recordings(folder):
    learned = LearnedGestures.load(folder / "gestures.npz")
    assert set(learned.names) >= {"claw", "tick"}
    recorded, moving = (custom.load_recording(folder / f"recorded-{kind}.npz") for kind in ("gesture", "motion"))
    assert (recorded.name, len(recorded), moving.name, len(moving)) == ("claw", 3, "tick", 2)
    again = LearnedGestures.learn([recorded, moving])
    np.testing.assert_allclose(again.static.means, learned.static.means, atol=1e-3)


def test_maps_of_control(folder):
    (rule,) = control.load_map(folder / "control.toml").rules
    assert rule.on == "Thumb_Up"


def test_rigs_and_projects(folder):
    from sonjit_studio.camera_files import load_cameras
    from sonjit_studio.project import open_project

    rig = load_cameras(folder / "rig.json")
    assert rig.names == ("cam0", "cam1")
    project = open_project(folder / "project")
    read = {mark.id: (mark.view, mark.joint, mark.state, mark.x, mark.y) for mark in project.store.marks()}
    frames = project.frames
    project.close()
    assert read == {mark.id: (mark.view, mark.joint, mark.state, mark.x, mark.y) for mark in write.MARKS}
    assert frames == (0,)


def test_an_interrupted_training_continues(folder):
    steps = []
    write.network()(folder / "run", lambda done, _steps, _losses: steps.append(done))
    assert steps == [3, 4]
    assert (folder / "run" / "weights.safetensors").is_file()


def test_jobs_of_a_server(folder):
    store = job_store.JobStore(settings.Settings(jobs_folder=folder / "jobs"))
    try:
        job = store.find(write.JOB)
        assert (job.state, job.frames, job.instances) == ("done", 2, 1)
        assert job.file("result.csv").read_text("utf-8").startswith("frame,")
    finally:
        store.close()


def test_settings_of_the_page(folder):
    """Check that unknown values are ignored, because the page has no place for errors."""
    given = json.loads((folder / "page-settings.json").read_text("utf-8"))
    read = run_module(
        """
        globalThis.document = {documentElement: {lang: "en"}, querySelectorAll: () => [], addEventListener: () => 0};
        globalThis.localStorage = {getItem: (name) => name === "sonjit.settings" ? JSON.stringify(input) : null};
        const {memory} = await page("common.js");
        output(memory.read("settings"));
        """,
        given,
    )
    assert read == given == write.PAGE_SETTINGS


def change_json(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | values), "utf-8")


def change_store(path):
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")


def open_project_of(folder):
    from sonjit_studio.project import open_project

    open_project(folder / "project")


def load_rig_of(folder):
    from sonjit_studio.camera_files import load_cameras

    load_cameras(folder / "rig.json")


@pytest.mark.parametrize(
    ("change", "read", "message"),
    [
        (lambda f: change_json(f / "rig.json", version=2), load_rig_of, "has version 2 and this Sonjit reads 1"),
        (
            lambda f: change_json(f / "project" / "project.json", version=2),
            open_project_of,
            "was written by a newer Sonjit (version 2, known 1): update Sonjit",
        ),
        (
            lambda f: change_store(f / "project" / "annotations.sqlite"),
            open_project_of,
            "was written by a newer Sonjit (version 99, known ",
        ),
        (
            lambda f: change_json(f / "hands.json", frames=[{"frame": 0, "hands": [{"shape": "of later"}]}]),
            lambda f: load_frames(f / "hands.json"),
            "is not a .json table that Sonjit wrote, or it is damaged",
        ),
        (
            lambda f: change_json(f / "hands.json", kind="feet"),
            lambda f: load_frames(f / "hands.json"),
            "hands.json: Unknown list of results 'feet'. Choose from",
        ),
        (
            lambda f: change_json(f / "run" / "settings.json", momentum_of_later=1),
            lambda f: write.network()(f / "run", write.stop_after_two),
            "contains a run with other settings",
        ),
        (
            lambda f: (f / "control.toml").write_text(f"later = 1\n{write.CONTROL}", "utf-8"),
            lambda f: control.load_map(f / "control.toml"),
            "unknown key 'later'. Choose from rule, pause",
        ),
    ],
)
def test_newer_files_are_refused_in_one_line(folder, change, read, message):
    change(folder)
    with pytest.raises(InputError) as caught:
        read(folder)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_job_of_a_newer_server_is_named_and_stays(folder, caplog):
    record = folder / "jobs" / "0123456789abcdef" / "job.json"
    change_json(record, state="archived")
    for _ in range(2):
        store = job_store.JobStore(settings.Settings(jobs_folder=folder / "jobs"))
        store.close()
        assert store.newest_first() == []
        assert "this job cannot be read" in caplog.text
        caplog.clear()
    assert record.parent.is_dir()


def test_newer_gestures_are_refused_in_one_line(folder):
    path = folder / "gestures.npz"
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **arrays | {"spread": arrays["spread"] + 1})
    with pytest.raises(InputError, match=r"another version\. Train"):
        LearnedGestures.load(path)
