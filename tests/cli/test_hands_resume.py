"""`sonjit hands` with many files: several processes, and continuation after an interruption."""

import json
import os
import signal
import subprocess
import sys

import av
import cv2
import numpy as np
import pytest

from sonjit._util.errors import OUT_OF_MEMORY
from sonjit.media import load_frames, open_source, sources
from sonjit.runs import run as runs
from sonjit.runs.inputs import LOG

from ..support.waiting import wait_until  # noqa: TID252  # one polling helper for all packages

pytestmark = pytest.mark.slow


def test_images_and_videos_of_a_folder_are_drawn_each_in_kind(sonjit, media, out, names_in):
    assert sonjit("hands", media, "--draw", out / "drawn")[0] == 0
    assert names_in(out) == ["drawn/clip.mp4", "drawn/photo.png"]


def test_two_jobs_give_what_one_gives(sonjit, stills, out, names_in):
    for jobs in (1, 2):
        assert sonjit("hands", stills, "--save", out / f"{jobs}.json", "--jobs", jobs)[0] == 0
    assert (out / "1.json").read_text() == (out / "2.json").read_text()
    assert names_in(out) == ["1.json", "2.json"]


def test_a_second_run_does_only_what_is_missing(sonjit, stills, out):
    assert sonjit("hands", stills, "--save", f"{out}/tables/")[0] == 0
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (out / "tables").glob("*.json")}
    status, _, (line,) = sonjit("hands", stills, "--save", f"{out}/tables/")
    assert status == 0
    assert line.startswith("0 files, 0 hands, 3 finished before")
    lost = out / "tables" / "f9.json"
    lost.unlink()
    _, _, (line,) = sonjit("hands", stills, "--save", f"{out}/tables/")
    assert line.startswith("1 file, 0 hands, 2 finished before")
    assert line.endswith(f"; wrote {out}/tables/*.json")
    after = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (out / "tables").glob("*.json")}
    assert {path for path in before if before[path] != after[path]} == {lost}
    assert after[lost][0] == before[lost][0]


def test_a_file_with_one_of_two_outputs_is_done_again(sonjit, stills, out, names_in):
    arguments = ("hands", stills, "--save", f"{out}/tables/", "--draw", f"{out}/drawn/")
    assert sonjit(*arguments)[0] == 0
    complete = names_in(out)
    (out / "drawn" / "f2.png").unlink()
    assert sonjit(*arguments)[2][0].startswith("1 file, ")
    assert names_in(out) == complete


def test_a_half_written_log_loses_only_its_last_line(sonjit, stills, out):
    assert sonjit("hands", stills, "--save", f"{out}/tables/")[0] == 0
    log = out / "tables" / LOG
    log.write_bytes(log.read_bytes()[:-20])
    assert sonjit("hands", stills, "--save", f"{out}/tables/")[2][0].startswith("1 file, ")


@pytest.mark.nightly
def test_several_inputs_are_taken_together_and_each_once(sonjit, media, stills, out, names_in):
    inputs = (media / "clip.mp4", stills, f"{stills}/f1*.png", media / "photo.png", media / "photo.png")
    status, _, (line,) = sonjit("hands", *inputs, "--save", f"{out}/t/", "--limit", 2)
    assert status == 0
    assert line.startswith("5 files, ")
    assert names_in(out) == [f"t/{name}.json" for name in ("clip", "f10", "f2", "f9", "photo")]
    assert len(load_frames(out / "t" / "clip.json")[1]) == 2
    assert all(len(load_frames(out / "t" / f"{name}.json")[1]) == 1 for name in ("f10", "f2", "f9", "photo"))


@pytest.mark.nightly
def test_networks_that_do_not_load_end_a_run_over_many_files_with_one_line(sonjit, stills, out, names_in):
    for jobs in (1, 2):
        status, _, lines = sonjit("hands", stills, "--models-dir", out, "--save", f"{out}/t/", "--jobs", jobs)
        assert status == 2
        assert len(lines) == 1
        assert "sonjit models pull" in lines[0]
    assert names_in(out) == []


@pytest.mark.parametrize("outputs", [("--save", "t.csv"), ("--save", "tables/", "--draw", "drawn/")])
def test_a_run_that_does_not_begin_leaves_no_folder(sonjit, stills, out, monkeypatch, outputs):
    monkeypatch.chdir(out.parent)
    before = sorted(out.parent.iterdir())
    (stills / "broken.onnx").write_bytes(b"")
    assert sonjit("hands", stills, *outputs, "--landmark-model", stills / "broken.onnx")[0] == 2
    assert sorted(out.parent.iterdir()) == before


def test_what_a_killed_run_left_does_no_harm(sonjit, stills, out):
    (out / "tables").mkdir()
    (out / "tables" / ".f2.sonjit-0badcafe.lines.json").write_text('{"source": "half')
    (out / "tables" / "f9.json").write_text(json.dumps({"frames": []}))
    status, _, (line,) = sonjit("hands", stills, "--save", f"{out}/tables/")
    assert status == 0
    assert line.startswith("3 files, ")  # what another program wrote is not ours
    assert load_frames(out / "tables" / "f2.json")[1][0].hands


@pytest.mark.nightly_after(1)
@pytest.mark.parametrize("save", ["t.json", "tables/"])
def test_images_of_one_name_in_two_folders_do_not_mix(
    sonjit, photo, weights, tmp_path, out, save, write_image, names_in
):
    for name, rgb in (("a", photo), ("b", np.zeros_like(photo))):
        (tmp_path / "shots" / name).mkdir(parents=True)
        write_image(tmp_path / "shots" / name / "x.png", rgb)
    assert sonjit("hands", f"{tmp_path}/shots/*/x.png", "--save", f"{out}/{save}")[0] == 0
    frames = [frame for name in names_in(out) for frame in load_frames(out / name)[1]]
    assert [bool(frame.hands) for frame in frames] == [True, False]


def test_a_broken_file_is_named_and_the_others_are_finished(sonjit, stills, out, names_in):
    (stills / "f3.png").write_bytes(b"this is a text\n")
    status, _, lines = sonjit("hands", stills, "--save", f"{out}/tables/")
    assert status == 1
    assert len(lines) == 2
    assert lines[0].startswith("sonjit: ")
    assert "f3.png" in lines[0]
    assert "1 failed" in lines[1]
    assert names_in(out) == ["tables/f10.json", "tables/f2.json", "tables/f9.json"]


@pytest.mark.nightly_after(1)
@pytest.mark.parametrize("where", ["open_source", "run_input"])
def test_a_file_that_needs_too_much_memory_is_named_and_the_others_are_finished(
    sonjit, stills, out, monkeypatch, where
):
    module = sources if where == "open_source" else runs
    real, calls = getattr(module, where), []

    def refuse_the_second(*args, **options):
        calls.append(args)
        if len(calls) == 2:
            raise MemoryError
        return real(*args, **options)

    monkeypatch.setattr(module, where, refuse_the_second)
    status, _, lines = sonjit("hands", stills, "--save", f"{out}/t/")
    assert status == 1
    assert any(line.endswith(f"f9.png: {OUT_OF_MEMORY}") for line in lines)
    assert sorted(file.name for file in (out / "t").glob("*.json")) == ["f10.json", "f2.json"]


def test_a_broken_file_of_one_table_is_named_and_missing_there(sonjit, stills, out, write_image, names_in):
    (stills / "f3.png").write_bytes(b"")
    status, _, lines = sonjit("hands", stills, "--save", out / "t.json")
    assert status == 1
    assert "f3.png" in lines[0]
    assert [frame.source for frame in load_frames(out / "t.json")[1]] == ["f2.png", "f9.png", "f10.png"]
    write_image(stills / "f3.png", np.zeros((9, 9, 3), np.uint8))
    assert sonjit("hands", stills, "--save", out / "t.json")[0] == 0
    assert len(load_frames(out / "t.json")[1]) == 4
    assert names_in(out) == ["t.json"]


INTERRUPTIBLE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job has it switched off
for number in (signal.SIGTERM, signal.SIGHUP): signal.signal(number, signal.SIG_DFL)  # unlike coverage and nohup
from sonjit.__main__ import run
run()
"""


@pytest.fixture(scope="module")
def long_clip(demo_clip, write_video, tmp_path_factory):
    """A clip of 4000 frames, so that a run never ends before the signal: 40 encoded frames, repeated."""
    folder = tmp_path_factory.mktemp("long")
    frames = [cv2.resize(rgb, (320, 240)) for rgb in demo_clip[1][:40]]
    with av.open(write_video(folder / "short.mp4", frames)) as short, av.open(folder / "long.mp4", "w") as long:
        packets = [packet for packet in short.demux(video=0) if packet.dts is not None]
        stream = long.add_stream_from_template(short.streams.video[0])
        data = [(bytes(packet), packet.pts, packet.dts, packet.is_keyframe) for packet in packets]
        step, time_base = packets[0].duration, packets[0].time_base
        for start in range(0, 4000 * step, len(frames) * step):
            for content, pts, dts, is_keyframe in data:
                packet = av.Packet(content)
                packet.pts, packet.dts, packet.duration = pts + start, dts + start, step
                packet.time_base, packet.is_keyframe, packet.stream = time_base, is_keyframe, stream
                long.mux(packet)
    return folder / "long.mp4"


@pytest.mark.nightly_after(1)
@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
@pytest.mark.parametrize(("how", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_keeps_what_was_finished(how, status, weights, long_clip, out, names_in):
    command = [sys.executable, "-c", INTERRUPTIBLE, "hands", long_clip]
    command += ["--save", out / "t.jsonl", "--draw", out / "d.mp4"]
    with subprocess.Popen([str(part) for part in command], stderr=subprocess.PIPE, text=True) as process:
        wait_until(
            lambda: process.poll() is not None or any(path.stat().st_size > 20_000 for path in out.glob(".*")), 300
        )
        process.send_signal(how)
        errors = process.communicate()[1]
    assert process.returncode == status
    assert errors == "sonjit: stopped; finished results are kept\n"
    assert names_in(out) == ["d.mp4", "t.jsonl"]
    kept = load_frames(out / "t.jsonl")[1]
    with open_source(long_clip) as source:
        assert 0 < len(kept) < source.count
    with open_source(out / "d.mp4") as source:
        assert len(list(source)) == len(kept)
        assert source.problems == []
