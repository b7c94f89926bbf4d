"""Parts of a run with a task that measures brightness: order, limits, workers, notes, times and failures of files."""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.media.sources import Reading
from sonjit.results import Frame
from sonjit.runs import Inputs, Outputs, Task, Worker, run_input, run_job
from sonjit.runs.frame_tables import RecordTable
from sonjit.runs.hiding import Hidden

from ..support.progress_log import ProgressLog  # noqa: TID252  # one helper for all packages
from ..support.scripted import Clip  # noqa: TID252

LOG = []  # what the workers of a test did: the file of each frame, "open KIND", "close"


@dataclass(frozen=True)
class Light(Task):
    """Task whose worker notes each call; `shares` makes a common table of parts."""

    shares: bool = True
    fails: str = ""  # part of the name of files that fail
    doubts: str = ""  # part of the name of files with a problem
    error: type = InputError

    def count_text(self, count):
        return f"{count} lights"

    def open(self, source):
        LOG.append(f"open {source}")
        return LightWorker(self)

    def for_threads(self):
        LOG.append("threads")
        return self, 1

    def open_table(self, save, source):
        return RecordTable(save, None, {"file": str, "frame": int, "value": float}) if self.shares else None


class Hiding:
    """Hider of people that notes what it scans."""

    hidden = Hidden(2, 1, 1)

    def reset(self):
        self.scans = []

    def scan(self, source, limit, progress):
        self.scans.append((source.name, limit))


class LightWorker(Worker):
    def __init__(self, task):
        super().__init__()
        self.task, self.hidden = task, Hiding()

    def start(self, source, outputs, files):
        self.source = source
        columns = {"file": str, "frame": int, "value": float}
        self.table = outputs.save and files.enter_context(RecordTable(outputs.save, None, columns))
        self.path = outputs.draw and Path(outputs.draw)

    def process(self, frame):
        name = Path(self.source.frame_source(frame.index) or self.source.name).name
        LOG.append(name)
        if self.task.fails and self.task.fails in name:
            raise self.task.error(f"{name} is too dark" if self.task.error is InputError else "out of memory")
        return {"file": name, "frame": frame.index, "value": float(frame.rgb.mean())}

    def count(self, item):
        return 1 + (item["value"] > 15)

    def write(self, frame, item):
        if self.table:
            self.table.write(item)
        if self.path:
            self.path.parent.mkdir(exist_ok=True)
            self.path.write_text("drawn")

    def report(self, summary):
        summary.last = Frame(0, None)
        if self.task.doubts and self.task.doubts in Path(self.source.name).name:
            summary.problems.append("one frame is damaged")
        summary.lines = [f"{self.source.name}: bright", "a line"]
        summary.notes += [f"note on {Path(self.source.name).name}", "common note"]
        self.times["own"] += 0.5
        summary.times["own"] += 0.5

    def close(self):
        LOG.append("close")


TASK, ALL, NONE = Light(), Reading(), Outputs()


@pytest.fixture(autouse=True)
def _new_log():
    LOG.clear()


@pytest.fixture
def folder(tmp_path):
    """Return a folder with three images."""
    for level in (10, 20, 30):
        cv2.imwrite(str(tmp_path / f"{level}.png"), np.full((8, 8, 3), level, np.uint8))
    return tmp_path


def run(folder, *, task=TASK, reading=ALL, pattern="*.png", outputs=NONE, **more):
    return run_job(task, Inputs.find([f"{folder}/{pattern}"], reading), outputs, **more)


@pytest.mark.parametrize(
    ("count", "limit", "total", "frames"), [(8, None, 8, 8), (8, 3, 3, 3), (8, 8, 8, 8), (8, 20, 8, 8), (None, 5, 5, 5)]
)
def test_progress_has_the_number_of_frames_up_to_the_limit(count, limit, total, frames):
    source, log, start_s = Clip(8), ProgressLog(), time.perf_counter()
    source.count = count
    summary = run_input(LightWorker(Light()), source, limit=limit, progress=log)
    assert (log.totals, summary.frames, log.steps) == ([total], frames, [1] * frames)
    assert log.instances == summary.instances == 2 * frames
    note = f"clip.mp4: only the first {frames} frames read, --limit"
    assert source.notes == [note] * (limit is not None and limit < 8)
    assert all(0 < summary.times[part] <= summary.seconds for part in ("detect", "write"))
    assert summary.times["own"] == 0.5
    assert 0 < summary.seconds <= time.perf_counter() - start_s


def test_a_summary_has_the_problems_and_distinct_notes_of_its_source():
    class Damaged(Clip):
        def _frames(self):
            self.problems += ["frame 1 is damaged"]
            self.notes += ["turned", "turned"]
            yield from super()._frames()

    summary = run_input(LightWorker(Light()), Damaged(2))
    assert (summary.problems, summary.notes[:1]) == (["frame 1 is damaged"], ["turned"])
    assert summary.notes.count("turned") == 1
    assert summary.hidden is None


def test_people_are_hidden_only_below_drawings(tmp_path):
    worker = LightWorker(TASK)
    for draw, count in ((None, 0), (str(tmp_path / "d.mp4"), 1)):
        summary = run_input(worker, Clip(3), Outputs(draw=draw), limit=2)
        assert (summary.hidden, worker.hidden.scans) == ((count and Hiding.hidden) or None, [("clip.mp4", 2)] * count)


def test_files_of_a_kind_share_a_worker_that_is_closed_at_the_end(folder, write_video):
    write_video(folder / "a.mp4", [np.zeros((16, 16, 3), np.uint8)] * 2)
    log, start_s = ProgressLog(), time.perf_counter()
    summary = run(folder, pattern="*.??[g4]", progress=log, outputs=Outputs(draw=f"{folder}/drawn/"))
    assert "threads" not in LOG
    assert sorted(LOG[:-2]) == sorted(
        ["10.png", "20.png", "30.png", "a.mp4", "a.mp4", "open image", "open video"]
    )  # fmt: skip
    assert LOG[-2:] == ["close", "close"]
    assert (log.totals, log.steps, log.instances) == ([4], [1] * 4, 0)
    assert (summary.files, summary.frames, summary.instances, summary.skipped) == (4, 5, 7, 0)
    assert (summary.hidden.people, summary.hidden.frames, summary.hidden.of) == (8, 4, 4)
    assert summary.times["own"] == 2
    assert all(0 < summary.times[part] <= summary.seconds for part in ("detect", "write"))
    assert summary.times["read"] > 0
    assert 0 < summary.seconds <= time.perf_counter() - start_s
    assert summary.last is None
    names = [f"{folder}/{name}" for name in ("10.png", "20.png", "30.png", "a.mp4")]
    assert summary.lines == [line for name in names for line in (f"{name}: bright", f"{name}: a line")]
    notes = [f"note on {Path(name).name}" for name in names]
    assert summary.notes == [notes[0], "common note", *notes[1:]]


def test_one_of_several_files_is_processed_without_further_processes(folder):
    outputs = Outputs(f"{folder}/t/")
    assert run(folder, pattern="[12]0.png", outputs=outputs).files == 2
    assert run(folder, outputs=outputs, jobs=2).files == 1
    assert LOG[-3:] == ["open image", "30.png", "close"]


def test_a_video_cannot_share_a_table_that_one_worker_writes(folder, write_video):
    write_video(folder / "a.mp4", [np.zeros((16, 16, 3), np.uint8)])
    with pytest.raises(InputError, match=r"a\.mp4 is a video and cannot share a table"):
        run(folder, pattern="[a1]*", task=Light(shares=False), outputs=Outputs(f"{folder}/t.json"))


def test_more_than_ten_notes_are_cut(folder):
    for level in range(40, 49):
        cv2.imwrite(str(folder / f"{level}.png"), np.full((8, 8, 3), level, np.uint8))
    notes = run(folder).notes
    assert (len(notes), notes[0], notes[1], notes[-2]) == (11, "note on 10.png", "common note", "note on 45.png")
    assert notes[-1] == "3 more notes omitted"
    (folder / "48.png").unlink()
    (folder / "47.png").unlink()
    (folder / "46.png").unlink()
    assert len(run(folder).notes) == 10


@pytest.mark.parametrize(
    ("error", "text"), [(InputError, "20.png is too dark"), (MemoryError, "not enough memory: close other")]
)
def test_a_file_that_fails_is_named_and_the_others_are_processed(folder, error, text):
    task = Light(fails="20", error=error)
    for outputs, files in ((Outputs(), 2), (Outputs(f"{folder}/t/"), 2), (Outputs(f"{folder}/t/"), 0)):
        summary = run(folder, task=task, outputs=outputs)
        assert (summary.files, len(summary.problems)) == (files, 1)
        assert summary.problems[0].startswith(f"{folder}/20.png: ")
        assert text in summary.problems[0]
    full = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes")
    assert "not enough memory" in run(folder, task=replace(task, error=lambda _: full)).problems[0]
    with pytest.raises(RuntimeError, match="another error"):
        run(folder, task=replace(task, error=lambda _: RuntimeError("another error")))


def test_a_file_with_a_problem_and_one_that_is_printed_are_processed_again(folder):
    for _ in range(2):
        summary = run(folder, task=Light(doubts="20"), outputs=Outputs(f"{folder}/t/"))
        assert summary.problems == ["one frame is damaged"]
    assert (summary.files, summary.skipped) == (1, 2)
    for _ in range(2):
        assert run(folder, outputs=Outputs(f"{folder}/u/", json=True)).skipped == 0


def test_a_file_that_cannot_be_opened_is_named_once(folder):
    (folder / "25.png").write_bytes(b"no image")
    (problem,) = run(folder).problems
    assert problem.count("25.png") == 1


@pytest.mark.parametrize("failing", [0, 3, 7])
def test_a_frame_that_cannot_be_written_ends_the_run(failing):
    def write(frame, item):
        if frame.index == failing:
            raise InputError(f"frame {failing} cannot be written")

    worker = LightWorker(TASK)
    worker.write = write
    with pytest.raises(InputError, match=f"frame {failing} cannot be written"):
        run_input(worker, Clip(8))


def test_finished_files_depend_on_the_limit_and_on_what_is_read(folder, write_video):
    write_video(folder / "a.mp4", [np.full((16, 16, 3), 30 * k, np.uint8) for k in range(6)], fps=10)
    outputs = Outputs(f"{folder}/t/")
    settings = [
        ({}, 6), ({"limit": 2}, 2), ({"reading": Reading(every=2)}, 3), ({"reading": Reading(every=2), "limit": 1}, 1),
        ({"reading": Reading(start_s=0.3)}, 3), ({"reading": Reading(end_s=0.3)}, 3), ({"reading": Reading(fps=5)}, 6),
    ]  # fmt: skip
    for given, frames in settings:
        first, again = (run(folder, pattern="*.mp4", outputs=outputs, **given) for _ in range(2))
        assert (first.files, first.skipped, again.files, again.skipped) == (1, 0, 0, 1)
        records = json.loads((folder / "t" / "a.json").read_text("utf-8"))
        assert len(records) == frames


def test_all_files_are_one_source_where_a_task_has_no_common_table(folder):
    inputs = Inputs.find([f"{folder}/10.png", f"{folder}/*.png"])
    inputs = replace(inputs, notes=("left out x",))
    summary = run_job(Light(shares=False), inputs, Outputs(f"{folder}/t.json"))
    assert [record["file"] for record in json.loads((folder / "t.json").read_text("utf-8"))] == [
        "10.png",
        "20.png",
        "30.png",
    ]
    assert (LOG[0], LOG[-1], summary.files, summary.frames) == ("open folder", "close", None, 3)
    assert "left out x" in summary.notes
    assert summary.notes.count("left out x") == 1


def test_a_common_table_has_the_records_of_its_parts_and_leaves_no_folder(folder):
    (folder / "25.png").write_bytes(b"no image")
    log = ProgressLog()
    summary = run(folder, outputs=Outputs(f"{folder}/t.json", f"{folder}/drawn/"), progress=log)
    records = json.loads((folder / "t.json").read_text("utf-8"))
    assert [record["file"] for record in records] == ["10.png", "20.png", "30.png"]
    assert (summary.files, len(summary.problems)) == (3, 1)
    assert summary.written == [f"{folder}/t.json", f"{folder}/drawn/"]
    assert {path.name for path in folder.iterdir()} == {
        "10.png", "20.png", "25.png", "30.png", "t.json", "drawn"
    }  # fmt: skip
    assert log.steps == [1] * 4


def test_the_only_input_takes_its_notes_limit_and_names(folder):
    inputs = replace(Inputs.find([f"{folder}/10.png"]), notes=("a note",))
    log = ProgressLog()
    summary = run_job(Light(), inputs, Outputs(f"{folder}/{{name}}_t.json"), limit=1, progress=log)
    assert summary.written == [f"{folder}/10_t.json"]
    assert (summary.notes[0], log.totals, log.steps, LOG) == ("a note", [1], [1], ["open image", "10.png", "close"])
    with pytest.raises(InputError, match="write the same"):
        run_job(Light(), inputs, Outputs(f"{folder}/x.png", f"{folder}/x.png"))
    with pytest.raises(InputError, match="--limit 0: must be at least 1"):
        run_job(Light(), inputs, limit=0)
    with pytest.raises(InputError, match="--jobs 0"):
        run_job(Light(), inputs, jobs=0)
