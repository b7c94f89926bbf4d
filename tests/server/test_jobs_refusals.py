"""Invalid inputs and failures of jobs: one line, and no leftovers."""

import sys

import numpy as np
import pytest

from ..support.waiting import wait_until  # noqa: TID252  # one polling helper for all packages
from .conftest import FRAMES, end_of, refusal


@pytest.mark.slow
def test_a_video_that_was_cut_gives_what_it_has(ask, media):
    client = ask()
    body = (media / "clip.mp4").read_bytes()
    job = end_of(client, client.post("/v1/jobs?kind=hands&name=cut.mp4", content=body[: len(body) * 2 // 3]))
    assert job["state"] == "done"
    assert 0 < job["frames"] < FRAMES
    assert any(problem.startswith("cut.mp4 is cut") for problem in job["problems"])


def test_a_truncated_image_fails_with_a_message(ask, media):
    client = ask()
    files = {"file": ("../../cut.jpg", (media / "photo.jpg").read_bytes()[:3000])}
    job = end_of(client, client.post("/v1/jobs?kind=hands", files=files))
    assert (job["state"], job["downloads"]) == ("failed", {})
    assert job["message"].startswith("cut.jpg: the image is cut short")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("", "kind is missing"),
        ("detector=body", "kind is missing, and 'detector' is not an option: write kind=body"),
        ("type=feet", "kind is missing, and 'type' is not an option: write kind=..."),
        ("model=lite", "kind is missing. Choose from hands"),
        ('detectors=[{"detector":"face"}]', "'detector' is not an option: write kind=face"),
        ("kind=feet", "Unknown kind 'feet'"),
        ("kind=hands&model=heavy", "full, lite"),
        ("kind=hands&max_instances=0", "from 1 to 50"),
        ("kind=hands&draw=maybe", "draw='maybe': give true or false"),
        ("kind=hands&colour=red", "colour"),
        ("kind=hands&style=red", "style: give an object"),
        ("kind=hands&style=[1]", "style: give an object"),
        (f'kind=hands&style={{"a":{"[" * 9000}', "style: give an object"),
        ('kind=hands&style={"colour":"red"}', "style: colour='red': give #rrggbb, or instance"),
        ('kind=hands&style={"colours":"%23ff0000"}', "style: Unknown setting 'colours'. Choose from colour, thickness"),
        ('kind=hands&style={"points":1}', "style: points=1: must be true or false"),
        ("kind=body&segmentation=true", "Unknown option 'segmentation' of a job of body"),
        ("kind=hands&explain=presence", "of a job of hands"),
        ("kind=hands&kind=face", "more than once"),
        ("detectors=hands", "give a list"),
        ("detectors=[]", "give a list"),
        ('detectors=["hands"]', "each is an object"),
        ('detectors=[{"kind":"hands"},{"kind":"hands"}]', "duplicate kind hands"),
        ('detectors=[{"kind":"hands","explain":"presence"}]', "of a job of hands"),
        ('detectors=[{"kind":"hands"}]&model=lite', "'model' does not apply together with detectors"),
    ],
)
def test_wrong_options_are_refused(ask, query, says):
    assert says in refusal(ask().post(f"/v1/jobs?{query}", content=b"x"), 400, "bad_option")


def test_invalid_media_is_refused_and_leaves_nothing(ask, place, media):
    client = ask(max_jobs=1)
    image = (media / "photo.jpg").read_bytes()
    clip = (media / "clip.mp4").read_bytes()
    for call, says in (
        ({"content": b"hello there"}, "upload contains text"),
        ({"content": b""}, "upload is empty"),
        ({"files": {"other": ("a.jpg", image)}}, "no file came"),
        ({"files": [("file", ("a.jpg", image)), ("file", ("b.mp4", clip))]}, "b.mp4 is a video among"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, "no boundary"),
        ({"content": b"x", "headers": {"content-type": f"multipart/form-data; boundary={'q' * 500}"}}, "no boundary"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=q"}}, "form is damaged"),
    ):
        assert says in refusal(client.post("/v1/jobs?kind=hands", **call), 422, "bad_image")
    wait_until(lambda: [list(root.iterdir()) for root in place.iterdir()] == [[]])
    assert client.get("/v1/jobs").json() == []


def test_a_body_that_is_too_large_is_refused(ask, place):
    client = ask(max_job_mb=0.01)
    stated = client.post("/v1/jobs?kind=hands", content=b"x" * 10_001)
    assert "--max-job-mb" in refusal(stated, 413, "too_large")
    chunked = client.post("/v1/jobs?kind=hands", content=(b"x" * 1000 for _ in range(11)))
    refusal(chunked, 413, "too_large")
    wait_until(lambda: [list(root.iterdir()) for root in place.iterdir()] == [[]])


def test_missing_weights_are_reported_before_anything_is_stored(ask, place, monkeypatch, tmp_path):
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path / "empty"))
    client = ask()
    message = refusal(client.post("/v1/jobs?kind=hands", content=b"x"), 503, "missing_weights")
    assert "sonjit models pull" in message
    assert list(place.iterdir()) == []


@pytest.mark.slow
def test_parquet_is_not_offered_without_its_extra(ask, media, monkeypatch):
    client = ask()
    job = end_of(client, client.post("/v1/jobs?kind=hands&draw=false", content=(media / "photo.jpg").read_bytes()))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    message = refusal(client.get(job["downloads"]["parquet"]), 404, "not_found")
    assert "has no 'result.parquet'. Choose from result.json" in message


def test_a_full_disk_is_named(ask, place, full_disk, weights):
    client = ask()
    with full_disk():
        message = refusal(client.post("/v1/jobs?kind=hands", content=b"x"), 500, "failed")
    assert message == "the server's disk cannot take the upload: File too large; make room or set TMPDIR"
    wait_until(lambda: [list(root.iterdir()) for root in place.iterdir()] == [[]])
    refusal(client.post("/v1/jobs?kind=hands", content=b"x"), 422, "bad_image")  # there is room again


@pytest.mark.nightly
@pytest.mark.slow
def test_a_refused_drawing_is_reported_at_its_download(ask, tmp_path, weights, write_video):
    wide = write_video(tmp_path / "wide.mkv", [np.zeros((16, 16_500, 3), np.uint8)], codec="ffv1", pix_fmt="bgr0")
    client = ask()
    job = end_of(client, client.post("/v1/jobs?kind=hands&model=lite", content=wide.read_bytes()))
    assert (job["state"], "drawn" in job["downloads"]) == ("done", False)
    message = refusal(client.get(f"/v1/jobs/{job['id']}/drawn.mp4"), 404, "not_found")
    assert message.startswith("drawn.mp4 cannot be drawn")


@pytest.mark.nightly
@pytest.mark.slow
def test_clients_above_the_limit_must_wait(ask, media, gate):
    client = ask(max_jobs=1)
    body = (media / "photo.jpg").read_bytes()
    first = client.post("/v1/jobs?kind=hands", content=body)
    assert "--max-jobs" in refusal(client.post("/v1/jobs?kind=hands", content=body), 503, "busy")
    gate.set()
    assert end_of(client, first)["state"] == "done"
    assert end_of(client, client.post("/v1/jobs?kind=hands", content=body))["state"] == "done"


def test_the_beginning_of_a_file_is_refused_before_all_of_it_is_sent(ask, media):
    client = ask()
    noise = np.random.default_rng(0).bytes(1_000_000)
    assert "noise.mkv is neither" in refusal(
        client.post("/v1/jobs/check?name=noise.mkv", content=noise), 422, "bad_image"
    )
    assert client.post("/v1/jobs/check", content=(media / "photo.jpg").read_bytes()[:1_000_000]).status_code == 204
    assert client.post("/v1/jobs/check", content=(media / "clip.mp4").read_bytes()[:500]).status_code == 204
