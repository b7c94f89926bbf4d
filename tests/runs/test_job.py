"""The runner with a user task that needs no network: the mean brightness of every image."""

import itertools
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from sonjit._util.errors import InputError, JobError
from sonjit._util.files import folded_name
from sonjit.runs import Inputs, Outputs, Task, Worker, inputs, run_job
from sonjit.runs.frame_tables import SIDE_TABLES, RecordTable

from ..support.progress_log import ProgressLog  # noqa: TID252  # one helper for all packages


@dataclass(frozen=True)
class Brightness(Task):
    """Task that computes the mean of each image times a factor."""

    factor: float = 1.0
    unit: str = ""
    weights: str | None = None

    @property
    def files(self):
        return () if self.weights is None else (self.weights,)

    def count_text(self, count):
        return f"{count} values"

    def open(self, source):
        return BrightnessWorker(self)

    def open_table(self, save, source):
        return RecordTable(save, {"source": source.name}, {"frame": int, "value": float}, lambda one: [one], _placed)


def _placed(record, index, source):
    return {**record, "frame": index}


class BrightnessWorker(Worker):
    processed = []  # noqa: RUF012  # of all of them, for the tests
    stops_at = []  # noqa: RUF012  # ends of the names of inputs, and frames, at which the user stops a run

    def __init__(self, task):
        super().__init__()
        self.task = task

    def start(self, source, outputs, files):
        self.source = source
        self.table = files.enter_context(self.task.open_table(outputs.save, source)) if outputs.save else None

    def process(self, frame):
        if any(self.source.name.endswith(name) and frame.index == index for name, index in self.stops_at):
            raise KeyboardInterrupt
        self.processed.append((self.source.name, frame.index))
        return float(frame.rgb.mean() * self.task.factor)

    def count(self, item):
        return 1

    def write(self, frame, item):
        if self.table is not None:
            self.table.write({"frame": frame.index, "value": item})


@pytest.fixture
def processed():
    """Return the inputs that were processed since the start of the test."""
    BrightnessWorker.processed.clear()
    yield BrightnessWorker.processed
    BrightnessWorker.stops_at.clear()


@pytest.fixture
def media(tmp_path, write_video):
    """Return three images and a video of eight frames."""
    folder = tmp_path / "media"
    folder.mkdir()
    for level in (10, 20, 30):
        cv2.imwrite(str(folder / f"{level}.png"), np.full((8, 8, 3), level, np.uint8))
    write_video(folder / "clip.mp4", [np.full((32, 32, 3), 20 * level, np.uint8) for level in range(8)])
    return folder


def run(task, named, save=None, **options):
    return run_job(task, Inputs.find([str(one) for one in named]), Outputs(save and str(save)), **options)


def test_the_limit_counts_frames_of_each_input_file(media, processed):
    assert run(Brightness(), [media / "clip.mp4"], limit=3).frames == 3
    assert run(Brightness(), [media], limit=3).frames == 3 + 3
    assert run(Brightness(), [media / "10.png", media / "clip.mp4"], limit=1).frames == 2


def test_a_finished_input_is_processed_again_only_where_something_differs(media, tmp_path, processed):
    save = f"{tmp_path}/t/"
    first = run(Brightness(), [media], save)
    assert (first.files, first.skipped, len(processed)) == (4, 0, 3 + 8)
    again = run(Brightness(), [media], save)
    assert (again.files, again.skipped, len(processed)) == (0, 4, 11)
    assert run(Brightness(2.0), [media], save).files == 4
    assert run(Brightness(2.0), [media], save, limit=3).files == 4
    assert run(Brightness(2.0), [media / "10.png", media / "20.png"], save, limit=3).skipped == 2
    assert run(Brightness(2.0), [media], f"{tmp_path}/t/{{name}}.csv", limit=3).files == 4
    values = [frame["value"] for frame in json.loads((tmp_path / "t" / "30.json").read_text("utf-8"))["frames"]]
    assert values == [60.0]


def test_a_lost_or_changed_output_is_written_again(media, tmp_path, processed):
    folder = tmp_path / "t"
    run(Brightness(), [media], f"{folder}/")
    written = {path.name: path.read_bytes() for path in folder.glob("*.json")}
    (folder / "10.json").unlink()
    (folder / "20.json").write_text("changed")
    again = run(Brightness(), [media], f"{folder}/")
    assert (again.files, again.skipped) == (2, 2)
    assert {path.name: path.read_bytes() for path in folder.glob("*.json")} == written


def test_files_on_remote_storage_give_the_same_results(media, tmp_path, processed):
    pytest.importorskip("fsspec")
    url, save = f"file://{media}", f"{tmp_path}/t/"
    assert (run(Brightness(), [url], save).files, len(processed)) == (4, 3 + 8)
    cv2.imwrite(str(media / "20.png"), np.full((8, 8, 3), 25, np.uint8))
    again = run(Brightness(), [url], save)
    assert (again.files, again.skipped) == (1, 3)
    run(Brightness(), [f"{url}/10.png", f"{url}/*.png"], tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text().split() == ["frame,value", "0,10.0", "1,25.0", "2,30.0"]
    both = run(Brightness(), [url, media / "10.png"], f"{tmp_path}/u/")
    named = {file.name for file in (tmp_path / "u").glob("*.json")}
    assert named == {"10.json", "10_2.json", "20.json", "30.json", "clip.json"}
    assert both.files == 5


def test_a_stop_keeps_what_is_finished_and_the_next_run_does_the_rest(media, tmp_path, processed):
    for save in (f"{tmp_path}/t/", tmp_path / "t.csv"):
        BrightnessWorker.stops_at.append(("20.png", 0))
        with pytest.raises(KeyboardInterrupt):
            run(Brightness(), [f"{media}/*.png"], save)
        if save == tmp_path / "t.csv":
            assert save.read_text().split() == ["frame,value", "0,10.0"]
        BrightnessWorker.stops_at.clear()
        summary = run(Brightness(), [f"{media}/*.png"], save)
        assert (summary.files, summary.skipped) == (2, 1)
    assert (tmp_path / "t.csv").read_text().split() == ["frame,value", "0,10.0", "1,20.0", "2,30.0"]


def test_a_stopped_video_is_processed_again_completely(media, tmp_path, processed):
    BrightnessWorker.stops_at.append(("clip.mp4", 4))
    with pytest.raises(KeyboardInterrupt):
        run(Brightness(), [media / "clip.mp4", media / "10.png"], f"{tmp_path}/t/")
    frames = tmp_path / "t" / "clip.json"
    assert len(json.loads(frames.read_text("utf-8"))["frames"]) == 4  # kept, and valid
    BrightnessWorker.stops_at.clear()
    assert run(Brightness(), [media / "clip.mp4", media / "10.png"], f"{tmp_path}/t/").files == 2
    assert len(json.loads(frames.read_text("utf-8"))["frames"]) == 8


def test_failures_are_named_and_do_not_stop_others(media, tmp_path, processed):
    (media / "25.png").write_bytes(b"text\n")
    summary = run(Brightness(), [media], f"{tmp_path}/t/")
    assert summary.files == 4
    assert len(summary.problems) == 1
    assert "25.png" in summary.problems[0]
    assert run(Brightness(), [media], f"{tmp_path}/t/").problems == summary.problems  # not taken for finished


@pytest.mark.parametrize(
    "named", [[], ["--frob"], ["-", "a.png"], ["camera:0", "a.png"], ["a.png", "no.png"], ["*.png"]]
)
def test_inputs_that_stand_for_nothing_are_refused_before_any_work(named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if named != ["*.png"]:
        (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(InputError):
        Inputs.find(named)


def test_errors_of_inputs_and_outputs_are_one_line(media, tmp_path):
    (media / "broken").mkdir()
    for name in ("a.mp4", "b.png"):
        (media / "broken" / name).write_bytes(b"text")
    with pytest.raises(InputError, match="broken: none of the 2 files can be read"):
        Inputs.find([str(media / "broken")]).open_all(videos=True)
    with pytest.raises(InputError, match=r"clip\.mp4 is a video and cannot share a table"):
        Inputs.find([str(media)]).open_all(videos=False)
    with pytest.raises(InputError, match=r"10.png/t cannot be written: Not a directory; choose another folder"):
        run(Brightness(), [media], f"{media}/10.png/t/")
    with pytest.raises(InputError, match="--limit 0: must be at least 1"):
        run(Brightness(), [media], limit=0)


def test_workers_of_a_cluster_need_several_files(media):
    pytest.importorskip("ray", reason="needs sonjit[ray]")
    with pytest.raises(InputError, match="--workers ray applies only to several files"):
        run(Brightness(), [media / "10.png"], workers="ray")


COLLIDING = [
    ("a.png", "a.jpg", "a.png.jpg"),
    ("a.jpg", "a.png", "a.jpg.png", "a.jpg.png.png", "a.jpg.jpg"),
    ("d/e_f.png", "d_e/f.png", "e_f.png", "f.png", "d_e_f.png"),
    ("A.png", "a.png", "a_2.png"),
    ("a.png", "a.events.png", "a.motions.png", "a.events.events.png"),
    ("b.events.png", "b.png", "b.png.png"),
]


@pytest.mark.parametrize("names", COLLIDING)
def test_every_input_gets_its_own_output(tmp_path, names):
    for k, name in enumerate(names):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(cv2.imencode(".png", np.full((8, 8, 3), 10 * k, np.uint8))[1].tobytes())
    assert run(Brightness(), [f"{tmp_path}/in/**/*"], f"{tmp_path}/out/").files == len(names)
    values = [json.loads(file.read_text())["frames"][0]["value"] for file in (tmp_path / "out").glob("*.json")]
    assert sorted(values) == [10 * k for k in range(len(names))]


name = (st.text("aA.é_2", min_size=1, max_size=4) | st.sampled_from([".events", ".motions", ".events.events"])).map(
    lambda text: f"x{text}"
)


@given(st.lists(st.tuples(name, name, st.sampled_from([".png", ".jpg", ".mp4", ".PNG", ""])), unique=True, max_size=9))
def test_output_names_are_distinct_on_all_systems(parts):
    files = [Path("in", folder, stem + ending) for folder, stem, ending in parts]
    files += [Path("in", f"{file.name}{ending}") for file in files for ending in (".png", "_2.png")]
    outputs = Outputs(save="out/", draw="drawn", mask="{name}.webm")
    placed = inputs.output_paths(outputs, list(dict.fromkeys(files)), Brightness())
    inputs.check_distinct(placed, Brightness())
    for option in ("save", "draw", "mask"):
        assert len({folded_name(getattr(item, option)) for item in placed}) == len(placed)
    tables = [Path(item.save).with_suffix("") for item in placed]
    written = [folded_name(f"{table}{more}.json") for table in tables for more in ("", *SIDE_TABLES)]
    assert len(set(written)) == len(written)


@pytest.mark.parametrize(
    ("named", "outputs"),
    [("10.png", {"draw": "o.png", "mask": "./o.png"}), ("*.png", {"draw": "o/", "mask": "O/../o"}),
     ("*.png", {"save": "{name}.PNG", "draw": "{name}.png"})],
)  # fmt: skip
def test_two_outputs_with_one_name_are_refused_before_the_first_frame(media, processed, monkeypatch, named, outputs):
    monkeypatch.chdir(media)
    before = sorted(media.iterdir())
    with pytest.raises(InputError, match=r"and --\w+ write the same .*\. Choose another name or folder\."):
        run_job(Brightness(), Inputs.find([named]), Outputs(**outputs))
    assert not processed
    assert sorted(media.iterdir()) == before


def test_labels_of_several_inputs_do_not_share_a_folder(media, tmp_path, processed):
    inputs = Inputs.find([f"{media}/*.png"])
    with pytest.raises(InputError, match=r"20\.yolo\.yaml: the labels of another input are in its folder\. Use one"):
        run_job(Brightness(), inputs, Outputs(save=f"{tmp_path}/{{name}}.yolo.yaml"))
    assert not processed


@pytest.mark.parametrize("name", ["10.png", "a{name}.png", "b.c.png"])
def test_the_output_of_one_input_may_have_its_name(media, tmp_path, name):
    """Commands in a loop over files then replace nothing."""
    shutil.copyfile(media / "10.png", tmp_path / name)
    summary = run(Brightness(), [tmp_path / name], f"{tmp_path}/t/{{name}}_light.csv")
    stem = name.removesuffix(".png")
    assert summary.written == [f"{tmp_path}/t/{stem}_light.csv"]
    assert (tmp_path / "t" / f"{stem}_light.csv").is_file()


@pytest.mark.parametrize("option", ["draw", "mask", "figures"])
def test_images_of_several_inputs_require_a_folder(media, tmp_path, option):
    inputs = Inputs.find([f"{media}/*.png"])
    single = tmp_path / "out.png"
    with pytest.raises(InputError, match=r"out\.png: several inputs require a folder"):
        run_job(Brightness(), inputs, Outputs(**{option: str(single)}))
    assert not single.exists()
    for folder in (f"{single}/", str(tmp_path / "out.v2"), f"{tmp_path}/{{name}}.png"):
        assert run_job(Brightness(), inputs, Outputs(**{option: folder})).files == 3


def test_a_changed_file_of_the_task_recreates_its_results(media, tmp_path, processed):
    weights, save = tmp_path / "weights", f"{tmp_path}/t/"
    weights.write_bytes(b"1")
    task = Brightness(weights=str(weights))
    assert run(task, [f"{media}/*.png"], save).files == 3
    assert run(task, [f"{media}/*.png"], save).skipped == 3
    weights.write_bytes(b"22")
    assert run(task, [f"{media}/*.png"], save).files == 3


@pytest.mark.parametrize("ending", [".json", ".jsonl"])
def test_records_without_a_header_are_strict_json_in_plain_characters(tmp_path, ending):
    path = tmp_path / f"out{ending}"
    with RecordTable(str(path), None, {"name": str, "value": float}) as table:
        table.write({"name": "손짓", "value": float("nan")})
    text = path.read_text("utf-8")
    assert "손짓" in text
    record = json.loads(text, parse_constant=pytest.fail)
    assert (record[0] if ending == ".json" else record) == {"name": "손짓", "value": None}


def test_a_disk_that_is_full_ends_the_run_and_leaves_nothing(media, tmp_path, full_disk, processed):
    out = tmp_path / "t.jsonl"

    with pytest.raises(JobError, match=r"t\.jsonl failed: File too large"), full_disk():
        run(Brightness(), [media / "clip.mp4"], out)
    assert [path.name for path in tmp_path.iterdir()] == ["media"]


NAMES = st.sampled_from(["a", "b", "c"])


class Resuming(RuleBasedStateMachine):
    """Inputs change and break, outputs are changed and lost, runs are stopped: what a run leaves is always current."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.changes = 0
        self.levels, self.finished = {}, {}
        for number, name in enumerate("abc"):
            self.paint(name, number)

    def teardown(self):
        shutil.rmtree(self.folder)

    @rule(name=NAMES, level=st.integers(0, 9))
    def paint(self, name, level):
        self.put(name, cv2.imencode(".png", np.full((8, 8, 3), level, np.uint8))[1].tobytes())
        self.levels[name] = level

    @rule(name=NAMES)
    def damage(self, name):
        self.put(name, b"no image")
        self.levels[name] = None

    def put(self, name, data):
        path = self.folder / f"{name}.png"
        path.write_bytes(data)
        self.changes += 1
        os.utime(path, (self.changes, self.changes))  # a clock that no test is too fast for
        self.finished.pop(name, None)

    @rule(name=NAMES, lost=st.booleans())
    def change_output(self, name, lost):
        path = self.folder / "t" / f"{name}.json"
        if path.exists():
            path.unlink() if lost else path.write_text("something else than before")
            self.finished.pop(name, None)

    @rule(factor=st.sampled_from([1.0, 2.0]), stop_after=st.integers(1, 8))
    def run(self, factor, stop_after):
        left = itertools.chain(range(stop_after - 1, -1, -1), itertools.repeat(0))

        def advance():
            if next(left) == 0:
                raise KeyboardInterrupt

        inputs, outputs = Inputs.find([str(self.folder)]), Outputs(f"{self.folder}/t/")
        try:
            summary = run_job(Brightness(factor), inputs, outputs, progress=ProgressLog(advance))
        except KeyboardInterrupt:
            self.finished.clear()  # of some; the next run knows of which
            self.unknown = True
            return
        if not self.unknown:
            assert summary.skipped == sum(one == factor for one in self.finished.values())
        self.unknown = False
        assert len(summary.problems) == sum(level is None for level in self.levels.values())
        for name, level in self.levels.items():
            if level is not None:
                record = json.loads((self.folder / "t" / f"{name}.json").read_text())
                assert record["frames"][0]["value"] == level * factor
                self.finished[name] = factor
        assert [path for path in (self.folder / "t").iterdir() if ".part" in path.name] == []

    unknown = False


TestResuming = pytest.mark.slow(Resuming.TestCase)
TestResuming.settings = settings(max_examples=20, stateful_step_count=12, deadline=None)
