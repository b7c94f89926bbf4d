"""Runs over many stills process several at once, each in a thread, with the results of a single thread."""

import threading
from dataclasses import replace

import cv2
import numpy as np
import pytest

from sonjit.detectors.kinds import options_for
from sonjit.media import tables
from sonjit.media.drawing import DrawingStyle
from sonjit.media.tables import register_table_format
from sonjit.runs import Detect, Inputs, Outputs, detect, run_job
from sonjit.runs import run as runs
from sonjit.runs.detect import DetectWorker
from sonjit.runs.inputs import LOG
from sonjit.runs.task import Lift


@pytest.fixture
def stills(tmp_path, photo, weights):
    """Return six photographs, of which the second is empty."""
    folder = tmp_path / "stills"
    folder.mkdir()
    for number, rgb in enumerate((photo, photo * 0, photo[:, ::-1], photo[::-1], photo[40:], photo[:, 40:])):
        cv2.imwrite(str(folder / f"{number}.png"), np.ascontiguousarray(rgb[..., ::-1]))
    return folder


@pytest.fixture
def threads(monkeypatch):
    """Let runs use two threads, and return the names of the threads that process images."""
    monkeypatch.setattr(detect, "_CORES", 2)
    process, used = DetectWorker.process, list[str]()

    def process_and_note(self, frame):
        used.append(threading.current_thread().name)
        return process(self, frame)

    monkeypatch.setattr(DetectWorker, "process", process_and_note)
    return used


def task(kind="hands", threads=2, search="fast", **options):
    return Detect(options_for(kind, threads=threads, search=search, **options))


def run(work, stills, **outputs):
    return run_job(work, Inputs.find([str(stills)]), Outputs(**outputs))


def bytes_in(folder):
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != LOG)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def results_of(work, stills, folder, ending):
    """Return the contents of a common table, of a table and a drawing per file, and the counts."""
    one = run(work, stills, save=f"{folder}/t{ending}")
    each = run(work, stills, save=f"{folder}/each/{{name}}{ending}", draw=f"{folder}/drawn/")
    return bytes_in(folder), [(summary.files, summary.instances, summary.notes) for summary in (one, each)]


@pytest.mark.parametrize(
    ("kind", "search", "ending"),
    [
        ("hands", "fast", ".csv"),
        ("hands", "fast", ".yolo.yaml"),
        ("hands", "auto", ".jsonl"),
        ("face", "auto", ".json"),
        ("body", "auto", ".coco.json"),
        pytest.param("holistic", "auto", ".csv", marks=pytest.mark.slow),
        pytest.param("holistic", "fast", ".json", marks=pytest.mark.slow),
    ],
)
def test_two_threads_write_the_bytes_of_one(stills, tmp_path, threads, kind, search, ending):
    if ending == ".yolo.yaml":  # a description of labels needs a folder of its own
        ending = "/labels.yolo.yaml"
    work = Detect(options_for(kind, threads=1, search=search), measures=kind == "hands")
    one = results_of(work, stills, tmp_path / "1", ending)
    assert set(threads) == {threading.current_thread().name}
    threads.clear()
    two = results_of(replace(work, options=replace(work.options, threads=2)), stills, tmp_path / "2", ending)
    assert len(set(threads)) == 2
    assert all(name.startswith("sonjit-call") for name in threads)
    assert one == two


def test_detectors_of_threads_share_the_cores_and_their_networks(monkeypatch):
    monkeypatch.setattr(detect, "_CORES", 16)
    for given, count, each in ((None, 4, 4), (8, 4, 2), (3, 3, 1), (1, 1, 1)):
        monkeypatch.setenv("SONJIT_THREADS", "0")
        shared, found = replace(task(threads=given), also=(task("body", threads=given),)).for_threads()
        assert found == count
        if count > 1:
            assert [(one.options.threads, one.options.shared) for one in shared.all] == [(each, True)] * 2


def test_threads_are_not_used_where_their_networks_would_not_be_shared(monkeypatch):
    monkeypatch.setattr(detect, "_CORES", 2)
    usual = task()
    assert usual.for_threads()[1] == 2
    for other in (
        replace(usual, lift=Lift("internet", weights="demo")),
        replace(usual, style=DrawingStyle(anonymise="blur")),
        replace(usual, also=(task("body", threads=1),)),
        task(engine="onnxruntime"),
    ):
        assert other.for_threads() == (other, 1)


def test_kinds_and_formats_of_extensions_are_processed_by_one_thread(stills, tmp_path, threads, monkeypatch):
    monkeypatch.setattr(tables, "FORMATS", type(tables.FORMATS)("table format"))
    tables.FORMATS.update({".json": tables.TableFormat(tables.JsonWriter)})
    register_table_format(".own", lambda path, header, types: tables.JsonWriter(path, header, types), tables.load_json)
    for save, count in ((f"{tmp_path}/{{name}}.json", 2), (f"{tmp_path}/{{name}}.own", 1)):
        threads.clear()
        run(task(), stills, save=save)
        assert len(set(threads)) == count


def test_lines_of_json_and_videos_are_processed_by_one_thread(stills, threads, capsys, write_video):
    assert run_job(task(), Inputs.find([str(stills)]), Outputs(json=True)).files == 6
    printed = capsys.readouterr().out.splitlines()
    assert [line.rpartition("stills/")[2][0] for line in printed] == list("012345")
    write_video(stills / "clip.mp4", [np.zeros((64, 64, 3), np.uint8)] * 2)
    run(task(), stills)
    assert set(threads) <= {threading.current_thread().name}


def test_failures_of_files_are_named_in_order_and_do_not_stop_others(stills, tmp_path, threads):
    (stills / "1a.png").write_bytes(b"text\n")
    (stills / "9.png").write_bytes(b"")
    summary = run(task(), stills, save=f"{tmp_path}/t/")
    assert summary.files == 6
    assert [problem.partition(".png")[0].rpartition("/")[2] for problem in summary.problems] == ["1a", "9"]


def test_a_stop_keeps_what_is_finished_and_the_next_run_does_the_rest(stills, tmp_path, threads, monkeypatch):
    complete = tmp_path / "complete.csv"
    run(task(), stills, save=str(complete))
    process = runs._process_file

    def stopping(workers, call):
        if call[0].name == "2.png":
            raise KeyboardInterrupt
        return process(workers, call)

    for save in (tmp_path / "t.csv", f"{tmp_path}/t/"):
        monkeypatch.setattr(runs, "_process_file", stopping)
        with pytest.raises(KeyboardInterrupt):
            run(task(), stills, save=str(save))
        monkeypatch.setattr(runs, "_process_file", process)
        again = run(task(), stills, save=str(save))
        assert again.files + again.skipped == 6
        assert again.skipped >= 2  # both files before it, which were finished or under way
    assert (tmp_path / "t.csv").read_bytes() == complete.read_bytes()


def test_a_network_that_does_not_load_ends_the_run(stills, tmp_path, threads):
    (tmp_path / "broken.onnx").write_bytes(b"")
    with pytest.raises(detect.InputError, match=r"broken\.onnx"):
        run(task(landmark_model=tmp_path / "broken.onnx"), stills, save=f"{tmp_path}/t/")
    assert not (tmp_path / "t").exists()
