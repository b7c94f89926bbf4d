"""`sonjit explain` and `sonjit segment` on several inputs: table formats, processes, and continuation."""

import csv
import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from sonjit.detectors.bystanders import Bystanders
from sonjit.explanations.task import ExplainWorker


@pytest.fixture
def stills(tmp_path, photo):
    """Return three images, of which the second shows nothing."""
    folder = tmp_path / "stills"
    folder.mkdir()
    for name, rgb in (("f2.png", photo), ("f9.png", np.zeros_like(photo)), ("10.png", photo[:, ::-1])):
        cv2.imwrite(str(folder / name), rgb[..., ::-1])
    return folder


@pytest.mark.usefixtures("weights")
class TestExplain:
    @pytest.mark.slow
    def test_every_format_contains_the_same(self, sonjit, stills, tmp_path):
        pq = pytest.importorskip("pyarrow.parquet")
        for ending in ("json", "jsonl", "csv", "parquet"):
            options = "--of", "handedness,wrist.x", "--model", "lite"
            status, _, lines = sonjit("explain", stills, *options, "--save", tmp_path / f"t.{ending}")
            assert status == 0
            assert lines[-1].startswith("3 files, ")
        complete = json.loads((tmp_path / "t.json").read_text("utf-8"))
        header, *frames = map(json.loads, (tmp_path / "t.jsonl").read_text("utf-8").splitlines())
        assert frames == complete["frames"]
        assert {**header, "frames": frames} == complete
        assert [frame["source"] for frame in frames] == ["10.png", "f2.png", "f9.png"]
        expected = [
            (frame["index"], number, target_map["target"], target_map["value"], target_map["map"])
            for frame in frames
            for number, hand in enumerate(frame["hands"])
            for target_map in hand["maps"]
        ]
        assert expected
        with (tmp_path / "t.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert rows[-1]["target"] == ""  # the image that shows nothing
        as_rows = [
            (int(row["frame"]), int(row["instance"]), row["target"], float(row["value"]), json.loads(row["map"]))
            for row in rows[:-1]
        ]
        assert as_rows == expected
        names = ("frame", "instance", "target", "value", "map")
        table = pq.read_table(tmp_path / "t.parquet").to_pylist()
        assert [(*(row[name] for name in names[:-1]), json.loads(row["map"])) for row in table[:-1]] == expected

    @pytest.mark.nightly
    @pytest.mark.slow
    def test_two_processes_write_what_one_writes(self, sonjit, stills, tmp_path):
        for jobs in (1, 2):
            outputs = ("--save", tmp_path / f"{jobs}.json", "--draw", f"{tmp_path}/{jobs}/")
            assert sonjit("explain", stills, "--model", "full", *outputs, "--jobs", jobs)[0] == 0
        assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()
        for name in ("10.png", "f2.png", "f9.png"):
            assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()

    @pytest.mark.slow
    def test_a_stopped_run_continues_and_other_targets_restart(self, sonjit, stills, tmp_path, monkeypatch):
        process, seen = ExplainWorker.process, []

        def stopping(self, frame):
            seen.append(frame.index)
            if len(seen) == 3:
                raise KeyboardInterrupt
            return process(self, frame)

        monkeypatch.setattr(ExplainWorker, "process", stopping)
        arguments = ("explain", stills, "--model", "full", "--save", f"{tmp_path}/t/")
        assert sonjit(*arguments)[0] == 130
        monkeypatch.undo()
        assert sonjit(*arguments)[2][-1].startswith("1 file, ")
        assert sonjit(*arguments)[2][-1].startswith("0 files, ")
        assert sonjit(*arguments, "--of", "presence")[2][-1].startswith("3 files, ")


class TestSegment:
    OPTIONS = ("--weights", "demo", "--min-side", "64", "--min-score", "0")

    def test_a_side_that_no_memory_has_is_refused(self, sonjit, stills):
        status, _, lines = sonjit("segment", stills, "--weights", "demo", "--min-side", "1000000000")
        assert (status, lines) == (2, ["sonjit: --min-side 1000000000: must be between 32 and 4096"])

    @pytest.mark.slow
    def test_each_input_has_its_own_steps_and_files(self, sonjit, stills, tmp_path):
        pytest.importorskip("torch")
        outputs = ("--save", f"{tmp_path}/t/", "--draw", f"{tmp_path}/d/", "--steps", f"{tmp_path}/s/")
        status, _, (note, _) = sonjit("segment", stills / "f2.png", stills / "10.png", *self.OPTIONS, *outputs)
        assert (status, "placeholders" in note) == (0, True)
        assert sorted(path.name for path in (tmp_path / "d").iterdir()) == ["10.png", "f2.png"]
        for name in ("10", "f2"):
            assert isinstance(json.loads((tmp_path / "t" / f"{name}.json").read_text("utf-8")), list)
            assert (tmp_path / "s" / name / "1-resized.png").is_file()


@pytest.mark.nightly_after(1)
@pytest.mark.slow
@pytest.mark.parametrize("command", [("explain", "--model", "lite"), ("mesh",), ("segment", *TestSegment.OPTIONS)])
def test_drawings_hide_people(sonjit, stills, tmp_path, monkeypatch, command):
    def spread(how):
        assert sonjit(*command, stills / "f9.png", "--anonymise", how, "--draw", tmp_path / f"{how}.png")[0] == 0
        return cv2.imread(str(tmp_path / f"{how}.png"))[130:150, 130:150].std()

    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    cv2.imwrite(str(stills / "f9.png"), noise)
    found = Bystanders([(120, 120, 160, 160)], [(100, 100, 160, 200)])
    search = SimpleNamespace(find=lambda *_, **__: found, find_again=lambda *_: [])
    monkeypatch.setattr("sonjit.detectors.bystanders.BystanderSearch", lambda *_: search)
    plain, blurred, persons, black = map(spread, ("none", "blur", "persons", "black"))
    assert plain > 2 * max(blurred, persons) > black == 0
