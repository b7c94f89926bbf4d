"""Jobs without their store: files, records, run time and downloads."""

import json

import pytest

from sonjit.server import job_files, job_store
from sonjit.server.job_store import UploadJob

OWNER = "0" * 32


@pytest.mark.parametrize("style", [{}, {"anonymise": "blur"}])
def test_the_report_of_a_job_hides_the_name_of_the_video_where_the_drawing_hides_people(style, tmp_path, monkeypatch):
    job = UploadJob((("body", {"model": "full"}),), OWNER, style=style)
    job.folder, job.input = tmp_path, job_files.JobInput(tmp_path / "a.mp4", "a.mp4", ".mp4")
    calls = []
    monkeypatch.setattr(job_store.joint_angles, "write_report", lambda *_, **options: calls.append(options))
    job.file("report.ko.pdf")
    assert calls == [{"language": "ko", "anonymise": style.get("anonymise", "none")}]


@pytest.mark.parametrize(
    ("kinds", "ending", "draws", "keys"),
    [
        (["hands"], ".png", False, ["instances.csv", "wide.csv"]),
        (["hands"], ".mp4", True, ["instances.csv", "wide.csv", "drawn"]),
        (["hands", "face"], ".png", True, ["instances.csv", "drawn"]),
        (["body"], ".mp4", False, ["instances.csv", "wide.csv", "report.html", "report.ko.pdf"]),
        (["face", "holistic"], ".mp4", False, ["instances.csv", "report.html", "report.ko.pdf"]),
        (["body"], ".png", False, ["instances.csv", "wide.csv"]),
    ],
)
def test_a_finished_job_offers_the_files_of_its_detectors_and_input(tmp_path, kinds, ending, draws, keys):
    models = {"hands": "full", "face": "mesh", "body": "full", "holistic": "full"}
    detectors = tuple((kind, {"model": models[kind]}) for kind in kinds)
    job = UploadJob(detectors, OWNER, draw=draws, id="7", state="done")
    job.folder, job.input = tmp_path, job_files.JobInput(tmp_path / "a", "a.mov", ending)
    (tmp_path / f"drawn{ending}").write_bytes(b"x")
    shown = job.to_dict()
    optional = {"instances.csv", "wide.csv", "report.html", "report.ko.pdf", "drawn"}
    assert sorted(optional.intersection(shown["downloads"])) == sorted(keys)
    assert shown["downloads"]["instances.csv"] == "/v1/jobs/7/result.instances.csv"
    assert shown["downloads"].get("drawn") == (f"/v1/jobs/7/drawn{ending}" if draws else None)
    assert (shown["kind"], shown["name"]) == ("+".join(kinds), "a.mov")
    assert shown["model"] == "+".join(f"{kind}-{models[kind]}" for kind in kinds)
    job.state = "running"
    assert job.to_dict()["downloads"] == {}


def test_a_new_job_has_drawn_nothing_found_nothing_and_belongs_to_any_who_know_it():
    first, second = (UploadJob((("hands", {"model": "full"}),), OWNER) for _ in range(2))
    assert (first.state, first.frames, first.of, first.instances) == ("uploading", 0, None, 0)
    assert (first.disk_bytes, first.seconds, first.problems, first.message) == (0, 0.0, [], None)
    assert first.draw
    assert (first.is_private, first.is_suspended) == (False, False)
    assert first.number <= second.number
    assert first.id != second.id
    assert len(first.id) == 32


def test_a_job_runs_until_its_end_and_an_earlier_run_counts(monkeypatch):
    job = UploadJob((("hands", {"model": "full"}),), OWNER, ran_s=3.5)
    assert job.seconds == 3.5
    monkeypatch.setattr(job_store.time, "monotonic", lambda: 110.0)
    job.started_s = 100.0
    assert job.seconds == 10.0
    job.ended_s = 104.0
    assert job.seconds == 4.0


def test_a_saved_job_is_the_same_for_the_next_server(tmp_path):
    detectors = (("hands", {"model": "lite", "max_instances": 3}), ("face", {"model": "box"}))
    job = UploadJob(detectors, OWNER, draw=False, is_private=True, address="10.0.0.9", state="failed")
    job.folder = tmp_path
    job.input_folder.mkdir()
    job.input = job_files.JobInput(job.input_folder / "a.mp4", "a.mp4", ".mp4")
    job.frames, job.of, job.instances, job.disk_bytes, job.ran_s = 4, 9, 7, 88, 2.25
    job.message, job.problems = "broken", ["1.png is damaged"]
    job.save()
    again = job_store.load_job(tmp_path)
    assert again.to_dict() == job.to_dict()
    for name in ("detectors", "owner", "draw", "style", "is_private", "address", "number"):
        assert getattr(again, name) == getattr(job, name)
    assert again.input == job.input
    assert again.disk_bytes == (tmp_path / "job.json").stat().st_size  # the files of a failed job are removed


def test_the_size_of_a_job_is_that_of_its_files(tmp_path):
    job = UploadJob((("hands", {"model": "full"}),), OWNER)
    job.folder = tmp_path
    (tmp_path / "input").mkdir()
    (tmp_path / "job.json").write_bytes(b"12345")
    (tmp_path / "input" / "a.mp4").write_bytes(b"123")
    job.measure()
    assert job.disk_bytes == 8


def finished(folder, *kinds, ending=".mp4", **more):
    """Return a job that is done, in a folder."""
    models = {"hands": "full", "face": "mesh", "body": "lite", "holistic": "full"}
    detectors = tuple((kind, {"model": models[kind], **more}) for kind in kinds)
    job = UploadJob(detectors, OWNER, draw=False, id="7", state="done")
    job.folder, job.input = folder, job_files.JobInput(folder / "a", "a.mov", ending)
    return job


TABLES = ["result.json", "result.jsonl", "result.csv", "result.parquet"]
MORE = ["result.instances.csv", "result.wide.csv", "result.xlsx"]
REPORTS = ["report.html", "report.pdf", "report.ko.html", "report.ko.pdf"]


@pytest.mark.parametrize("ending", [".mp4", ".jpg", ".zip"])
def test_files_of_a_job_are_those_of_its_input(tmp_path, ending):
    is_video = ending == ".mp4"
    assert sorted(finished(tmp_path, "face", ending=ending).files) == sorted(TABLES + MORE)
    people = finished(tmp_path, "body", "hands", ending=ending)
    assert sorted(people.files) == sorted([*TABLES, MORE[0], MORE[2], *(REPORTS if is_video else [])])
    gestures = {"motions.csv", "motions.parquet", "events.csv", "events.parquet"}
    assert gestures.issubset(finished(tmp_path, "hands", ending=ending, gestures="canned").files) == is_video
    assert not gestures.intersection(finished(tmp_path, "hands", ending=ending).files)


@pytest.mark.parametrize("state", ["uploading", "waiting", "running", "failed", "cancelled"])
def test_only_a_finished_job_has_downloads(tmp_path, state):
    job = finished(tmp_path, "hands")
    job.ran_s, job.draw = 1.23456, True  # the encoder refused the drawing
    shown = job.to_dict()
    assert (shown["seconds"], "drawn" in shown["downloads"]) == (1.23, False)
    assert {name.rpartition("/")[2] for name in shown["downloads"].values()} == {*TABLES, *MORE}
    job.state = state
    assert job.to_dict()["downloads"] == {}


def test_the_first_call_for_a_file_writes_it(tmp_path, monkeypatch):
    written = []

    def writer(name):
        def write(*arguments, **options):
            (path,) = {one for one in arguments if str(one).startswith(str(tmp_path)) and one.name != "result.jsonl"}
            written.append((name, path.name, options.get("rows"), *[one for one in arguments if one == "lite"]))
            path.write_bytes(b"1234")

        return write

    for name in ("convert_table", "convert_motions", "convert_events"):
        monkeypatch.setattr(job_store, name, writer(name))
    monkeypatch.setattr(job_store.joint_angles, "write_report", writer("write_report"))
    job = finished(tmp_path, "body", "holistic")
    names = ["result.csv", "result.wide.csv", "result.instances.csv", "report.ko.html", "motions.csv", "events.csv"]
    for name in names * 2:
        assert job.file(name) == tmp_path / name
    assert written == [
        ("convert_table", "result.csv", None),
        ("convert_table", "result.wide.csv", "wide"),
        ("convert_table", "result.instances.csv", "instance"),
        ("write_report", "report.ko.html", None, "lite"),
        ("convert_motions", "motions.csv", None),
        ("convert_events", "events.csv", None),
    ]
    assert job.disk_bytes == 24


@pytest.mark.parametrize(
    ("state", "saved"),
    [
        ("uploading", "uploading"),
        ("waiting", "waiting"),
        ("running", "waiting"),
        ("done", "done"),
        ("failed", "failed"),
    ],
)
def test_a_record_has_the_state_with_which_the_next_server_begins(tmp_path, state, saved):
    job = finished(tmp_path, "hands", gesture_labels=False)
    job.state, job.style, job.ran_s, job.frames = state, {"thickness": 3}, 2.256, 4
    job.save()
    record = json.loads((tmp_path / job_store.RECORD).read_text())
    assert (record["state"], record["seconds"], record["given"] is None) == (saved, 2.26, state == "uploading")
    again = job_store.load_job(tmp_path)
    assert (again.state, again.style, again.detectors) == (saved, {"thickness": 3}, job.detectors)
    assert (again.seconds, again.frames) == ((0.0, 0) if saved == "waiting" else (2.26, 4))
    (tmp_path / job_store.RECORD).write_text(json.dumps({name: record[name] for name in record if name != "style"}))
    assert job_store.load_job(tmp_path).style == {}
