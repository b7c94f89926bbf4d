"""Complete runs: identical files after interruptions and with any number of processes."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from tests.support.progress_log import ProgressLog

from sonjit._util.errors import InputError, JobError
from sonjit.media.sources.images import encode_image
from sonjit_lab.synthesis.job import synthesize
from sonjit_lab.synthesis.layouts import SynthSettings

SETTINGS = SynthSettings(6, 6, ("hands=0,1",), rig="dome", views=8, size=(64, 64))  # two chunks
RUN = """
import sys
from pathlib import Path
from sonjit_lab.synthesis.job import synthesize
from sonjit_lab.synthesis.layouts import SynthSettings
if __name__ == "__main__":
    settings = SynthSettings(6, 6, ("hands=0,1",), rig="dome", views=8, size=(64, 64))
    synthesize(Path(sys.argv[1]), settings, jobs=int(sys.argv[2]))
"""


def tree(folder):
    """Return the content of every file by name."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@pytest.fixture(scope="module")
def integer(tmp_path_factory, renderer, rigs):
    """Return an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    synthesize(folder, SETTINGS)
    return tree(folder)


@pytest.mark.slow
def test_a_killed_run_continues_to_the_same_bytes(tmp_path, integer):
    script = tmp_path / "run.py"
    script.write_text(RUN)
    out = tmp_path / "out"
    for images in (1, 34):  # killed in the first chunk, and in the second
        process = subprocess.Popen([sys.executable, script, out, "2"], start_new_session=True, stdout=subprocess.PIPE)
        while process.poll() is None and len(list(out.glob("images/*/*.jpg"))) < images:
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)  # with its workers, which would write into the next run
        process.communicate()  # until its workers have ended too: their locks protect their drafts
        assert not (out / "coco.json").exists()
    summary = synthesize(out, SETTINGS)
    assert 0 < summary.rendered <= SETTINGS.count
    assert summary.rendered + summary.reused == SETTINGS.count
    assert summary.images == summary.rendered * SETTINGS.views
    assert tree(out) == integer


@pytest.mark.slow
def test_a_finished_run_recreates_nothing(tmp_path, integer):
    synthesize(tmp_path / "out", SETTINGS, jobs=2)
    log = ProgressLog()
    summary = synthesize(tmp_path / "out", SETTINGS, progress=log)
    assert (summary.images, summary.reused, sum(log.steps)) == (0, SETTINGS.count, SETTINGS.count)
    assert tree(tmp_path / "out") == integer


@pytest.mark.slow
def test_a_folder_of_something_else_is_unchanged(tmp_path, integer):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("do not touch")
    with pytest.raises(InputError, match="is not empty"):
        synthesize(mine, SETTINGS)
    assert list(tree(mine)) == ["notes.txt"]
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file cannot be written"):
        synthesize(tmp_path / "file", SETTINGS)


def test_other_settings_are_refused_in_a_begun_folder(tmp_path, renderer, rigs):
    out, images = tmp_path / "out", tmp_path / "backgrounds"
    images.mkdir()
    (images / "1.png").write_bytes(encode_image(np.zeros((80, 80, 3), np.uint8), ".png"))
    settings = SynthSettings(2, size=(64, 64), factors=("hands=0",), backgrounds=str(images))
    synthesize(out, settings)
    before = tree(out)
    for other in (replace(settings, count=3), replace(settings, seed=1), replace(settings, backgrounds=None)):
        with pytest.raises(InputError, match="contains a run with other settings"):
            synthesize(out, other)
    (images / "2.png").write_bytes(encode_image(np.zeros((90, 80, 3), np.uint8), ".png"))
    with pytest.raises(InputError, match="contains a run with other settings"):
        synthesize(out, settings)
    assert tree(out) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(JobError, match=r"writing .* failed"):
        synthesize(tmp_path / "closed" / "out", SETTINGS)


def test_a_full_disk_is_one_line_and_leaves_no_half_file(tmp_path, renderer, rigs, monkeypatch):
    real = os.replace
    done = []

    def full(source, target):
        if len(done) == 9:
            raise OSError(28, "No space left on device")
        done.append(target)
        real(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(JobError, match=r"writing .* failed: No space left on device"):
        synthesize(tmp_path / "out", SETTINGS)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (SynthSettings(0), "--count 0"),
        (SynthSettings(1, seed=-1), "--seed -1"),
        (SynthSettings(1, size=(8, 64)), "--size 8x64"),
        (SynthSettings(1, views=3), "--rig webcam with --views 3"),
        (SynthSettings(1, factors=("nose=1",)), "Unknown factor 'nose'"),
    ],
)
def test_invalid_values_are_reported_before_anything_is_written(tmp_path, settings, says):
    with pytest.raises(InputError, match=says):
        synthesize(tmp_path / "out", settings)
    assert not (tmp_path / "out").exists()
