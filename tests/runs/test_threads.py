"""Runs over many stills process several at once, each in a thread, with the results of a single thread."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from sonjit.detectors.kinds import options_for
from sonjit.runs import Detect, Inputs, Outputs, detect, run_job
from sonjit.runs.inputs import LOG


@pytest.fixture
def stills(tmp_path, photo, weights):
    """Return four photographs, of which the second is empty."""
    folder = tmp_path / "stills"
    folder.mkdir()
    for number, rgb in enumerate((photo, photo * 0, photo[:, ::-1], photo[40:, 40:])):
        small = cv2.resize(np.ascontiguousarray(rgb[..., ::-1]), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / f"{number}.png"), small)
    return folder


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


@pytest.mark.nightly_after(2)
@pytest.mark.parametrize(
    ("kind", "search", "ending"),
    [
        ("hands", "fast", ".csv"),
        ("hands", "fast", ".yolo.yaml"),
        ("hands", "auto", ".jsonl"),
        ("face", "auto", ".json"),
        ("body", "auto", ".coco.json"),
        pytest.param("holistic", "auto", ".csv", marks=pytest.mark.slow),
    ],
)
def test_two_threads_write_the_bytes_of_one(stills, tmp_path, kind, search, ending):
    if ending == ".yolo.yaml":  # a description of labels needs a folder of its own
        ending = "/labels.yolo.yaml"
    models = {} if kind == "face" else {"model": "lite"}
    work = Detect(options_for(kind, threads=1, search=search, **models), measures=kind == "hands")
    one = results_of(work, stills, tmp_path / "1", ending)
    two = results_of(replace(work, options=replace(work.options, threads=2)), stills, tmp_path / "2", ending)
    assert one == two


def test_lines_of_json_have_the_order_of_the_files(stills, capsys):
    assert run_job(task(), Inputs.find([str(stills)]), Outputs(json=True)).files == 4
    printed = capsys.readouterr().out.splitlines()
    assert [line.rpartition("stills/")[2][0] for line in printed] == list("0123")


def test_failures_of_files_are_named_in_order_and_do_not_stop_others(stills, tmp_path):
    (stills / "1a.png").write_bytes(b"text\n")
    (stills / "9.png").write_bytes(b"")
    summary = run(task(), stills, save=f"{tmp_path}/t/")
    assert summary.files == 4
    assert [problem.partition(".png")[0].rpartition("/")[2] for problem in summary.problems] == ["1a", "9"]


def test_a_network_that_does_not_load_ends_the_run(stills, tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"")
    with pytest.raises(detect.InputError, match=r"broken\.onnx"):
        run(task(landmark_model=tmp_path / "broken.onnx"), stills, save=f"{tmp_path}/t/")
    assert not (tmp_path / "t").exists()
