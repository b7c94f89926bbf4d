"""The doors of jobs from outside: what comes back is what `sonjit KIND INPUT --save --draw` writes."""

import errno
import io
import json
import sys
import threading
import time
import zipfile
from contextlib import ExitStack
from itertools import pairwise
from urllib.parse import unquote

import av
import cv2
import numpy as np
import pytest
from starlette.testclient import TestClient

from sonjit.cli import main
from sonjit.media import natural_key, open_source
from sonjit.server import job_queue, job_upload
from sonjit.server import jobs as jobs_module
from sonjit.server.app import create_app
from sonjit.server.options import OPTIONS
from sonjit.server.settings import Settings

FRAMES = 20
TABLES = ("json", "jsonl", "csv", "parquet")


@pytest.fixture(scope="module")
def media(tmp_path_factory, demo_clip, photo, weights):
    """`clip.mp4` of 20 frames, `photo.jpg`, and the folder `shots` with three pictures and a broken one."""
    folder = tmp_path_factory.mktemp("media")
    _, frames, truth = demo_clip
    start = next(i for i, record in enumerate(truth) if len(record["hands"]) == 2)
    with av.open(str(folder / "clip.mp4"), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        stream.height, stream.width = photo.shape[:2]
        stream.pix_fmt = "yuv420p"
        for rgb in frames[start : start + FRAMES]:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb)))
        container.mux(stream.encode(None))
    (folder / "shots").mkdir()
    for name, rgb in (("9.jpg", photo), ("10.png", np.zeros_like(photo)), ("손.jpg", frames[start])):
        cv2.imencode(name[-4:], rgb[..., ::-1])[1].tofile(folder / "shots" / name)
    (folder / "photo.jpg").write_bytes((folder / "shots" / "9.jpg").read_bytes())
    (folder / "shots" / "11.jpg").write_bytes((folder / "photo.jpg").read_bytes()[:2000])
    return folder


@pytest.fixture
def doors(tmp_path, monkeypatch):
    """`doors(**settings)`: a client of a new server, closed at the end; nothing may be left where files were kept."""
    place = tmp_path / "server"
    place.mkdir()
    monkeypatch.setattr(job_queue.tempfile, "tempdir", str(place))
    with ExitStack() as clients:

        def get(**settings):
            app = create_app(Settings(**settings))
            client = TestClient(app, "http://127.0.0.1", raise_server_exceptions=False)
            client.place = place
            return clients.enter_context(client)

        yield get
    assert list(place.iterdir()) == []


def end_of(client, response):
    """The job that a POST began, when it has ended."""
    assert response.status_code == 202, response.text
    return events_of(client, response.json()["id"])[-1]


def events_of(client, job_id):
    with client.stream("GET", f"/v1/jobs/{job_id}/events") as stream:
        return [json.loads(line.removeprefix("data: ")) for line in stream.iter_lines() if line.startswith("data: ")]


def refused(response, code, status):
    error = response.json()["error"]
    assert (error["code"], response.status_code) == (code, status)
    assert "\n" not in error["message"]
    return error["message"]


def command_line(monkeypatch, folder, out, *arguments, status=0):
    """The files that a call of `sonjit` makes, next to its input."""
    monkeypatch.chdir(folder)
    out.mkdir()
    assert main([argument.replace("OUT", str(out)) for argument in arguments]) == status


@pytest.mark.parametrize("measures", [False, True])
def test_a_video_comes_back_as_the_command_line_writes_it(doors, media, tmp_path, monkeypatch, measures):
    client = doors()
    body = (media / "clip.mp4").read_bytes()
    query = f"kind=hands&model=lite&name=clip.mp4&max_instances=2{'&measures=true' if measures else ''}"
    job = end_of(client, client.post(f"/v1/jobs?{query}", content=body))
    assert (job["state"], job["message"], job["problems"]) == ("done", None, [])
    assert (job["model"], job["name"], job["frames"], job["of"]) == ("hands-lite", "clip.mp4", FRAMES, FRAMES)
    more = ["--measures"] if measures else []
    options = ["--model", "lite", "--max-instances", "2", *more]
    command_line(
        monkeypatch,
        media,
        tmp_path / "out",
        "hands",
        "clip.mp4",
        "--save",
        "OUT/t.json",
        "--draw",
        "OUT/d.mp4",
        *options,
    )
    for kind in TABLES:
        main(["hands", "clip.mp4", "--save", str(tmp_path / "out" / f"t.{kind}"), *options])
        got = client.get(job["downloads"][kind])
        assert got.headers["content-disposition"] == f'attachment; filename="clip.{kind}"'
        assert got.content == (tmp_path / "out" / f"t.{kind}").read_bytes()
    found = json.loads((tmp_path / "out" / "t.json").read_text("utf-8"))["frames"]
    assert job["instances"] == sum(len(frame["hands"]) for frame in found) >= FRAMES
    drawn = client.get(job["downloads"]["drawn"])
    assert drawn.headers["content-type"] == "video/mp4"
    assert pixels(drawn.content, tmp_path) == pixels((tmp_path / "out" / "d.mp4").read_bytes(), tmp_path)


def pixels(video, folder):
    (folder / "v.mp4").write_bytes(video)
    with open_source(folder / "v.mp4") as source:
        return [(frame.time, frame.rgb.tobytes()) for frame in source]


def test_pictures_come_back_as_the_command_line_writes_them(doors, media, tmp_path, monkeypatch, capsys):
    client = doors()
    shots = sorted((media / "shots").iterdir(), reverse=True)
    files = [("file", (f"shots/{file.name}", file.read_bytes())) for file in shots]
    job = end_of(client, client.post("/v1/jobs?kind=hands", files=files))
    assert (job["state"], job["name"], job["frames"], job["of"]) == ("done", "shots", 3, 4)
    (problem,) = job["problems"]
    assert problem.startswith("11.jpg: ")
    arguments = ("hands", "shots", "--save", "OUT/t.csv", "--draw", "OUT/drawn/")
    command_line(monkeypatch, media, tmp_path / "out", *arguments, status=1)
    for kind in TABLES:
        main(["hands", "shots", "--save", str(tmp_path / "out" / f"t.{kind}")])
        assert client.get(job["downloads"][kind]).content == (tmp_path / "out" / f"t.{kind}").read_bytes()
    got = client.get(job["downloads"]["drawn"])
    assert got.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(got.content)) as archive:
        assert archive.namelist() == sorted(["9.jpg", "10.png", "손.jpg"], key=natural_key)
        for name in archive.namelist():
            assert archive.read(name) == (tmp_path / "out" / "drawn" / name).read_bytes()


def test_one_picture_and_its_korean_name(doors, media, tmp_path, monkeypatch):
    client = doors()
    files = {"file": ("손 짓.jpg", (media / "photo.jpg").read_bytes())}
    job = end_of(client, client.post("/v1/jobs?kind=hands", files=files))
    assert (job["name"], job["frames"], job["of"]) == ("손 짓.jpg", 1, 1)
    command_line(monkeypatch, media, tmp_path / "out", "hands", "photo.jpg", "--draw", "OUT/d.jpg")
    got = client.get(job["downloads"]["drawn"])
    assert got.content == (tmp_path / "out" / "d.jpg").read_bytes()
    assert got.headers["content-type"] == "image/jpeg"
    name = got.headers["content-disposition"].removeprefix("attachment; filename*=utf-8''")
    assert unquote(name) == "손 짓-drawn.jpg"
    assert got.headers["content-disposition"].isascii()
    assert job["downloads"].keys() == {*TABLES, "drawn"}


def test_pictures_may_be_tracked_as_a_video_is(doors, media):
    client = doors()
    files = [("file", (f"{i}.jpg", (media / "photo.jpg").read_bytes())) for i in range(3)]
    job = end_of(client, client.post("/v1/jobs?kind=hands&static_image=false&draw=false&measures=true", files=files))
    frames = client.get(job["downloads"]["json"]).json()["frames"]
    ids = [[hand["id"] for hand in frame["hands"]] for frame in frames]
    assert ids[0] == ids[1] == ids[2] != []
    assert None not in ids[0]


def test_without_a_drawing(doors, media):
    client = doors()
    job = end_of(client, client.post("/v1/jobs?kind=hands&draw=false", content=(media / "photo.jpg").read_bytes()))
    assert job["downloads"].keys() == set(TABLES)
    assert "draw=false" in refused(client.get(f"/v1/jobs/{job['id']}/drawn.jpg"), "not_found", 404)


def test_a_video_can_be_played_from_anywhere(doors, media):
    client = doors()
    job = end_of(client, client.post("/v1/jobs?kind=hands", content=(media / "clip.mp4").read_bytes()))
    whole = client.get(job["downloads"]["drawn"]).content
    for asked, part in (("bytes=5-9", whole[5:10]), ("bytes=-7", whole[-7:]), ("bytes=100-", whole[100:])):
        got = client.get(job["downloads"]["drawn"], headers={"range": asked})
        assert (got.status_code, got.content) == (206, part)
    assert client.get(job["downloads"]["drawn"], headers={"range": f"bytes={len(whole)}-"}).status_code == 416


def test_events_come_in_order_to_every_listener(doors, media):
    client = doors()
    body = (media / "clip.mp4").read_bytes()
    client.post("/v1/jobs?kind=hands", content=body)
    job_id = client.post("/v1/jobs?kind=hands", content=body).json()["id"]
    heard = [[], []]
    listeners = [threading.Thread(target=lambda mine=mine: mine.extend(events_of(client, job_id))) for mine in heard]
    for listener in listeners:
        listener.start()
    for listener in listeners:
        listener.join(30)
    order = ["waiting", "running", "done"]
    for told in heard:
        states = [order.index(job["state"]) for job in told]
        assert states == sorted(states)
        assert [job["frames"] for job in told] == sorted(job["frames"] for job in told)
        assert told[-1]["state"] == "done"
        assert all(one | {"seconds": 0} != other | {"seconds": 0} for one, other in pairwise(told))


def test_a_quiet_stream_of_events_is_kept_alive(doors, media, monkeypatch):
    monkeypatch.setattr(jobs_module, "_KEEP_ALIVE_S", 0.05)
    client, gate = doors(), threading.Event()
    monkeypatch.setattr("sonjit.tasks.run.draw_frame", lambda rgb, *_, **__: gate.wait(10) and rgb)
    job_id = client.post("/v1/jobs?kind=hands", content=(media / "photo.jpg").read_bytes()).json()["id"]
    threading.Timer(0.5, gate.set).start()
    with client.stream("GET", f"/v1/jobs/{job_id}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert any(line.startswith(":") for line in stream.iter_lines())


def test_a_job_is_cancelled_while_it_draws(doors, media, monkeypatch):
    client, gate, drawn = doors(), threading.Event(), []
    monkeypatch.setattr("sonjit.tasks.run.draw_frame", lambda rgb, *_, **__: drawn.append(gate.wait(10)) or rgb)
    job_id = client.post("/v1/jobs?kind=hands", content=(media / "clip.mp4").read_bytes()).json()["id"]
    wait_for(lambda: drawn or client.get(f"/v1/jobs/{job_id}").json()["frames"] > 2)
    assert "running" in refused(client.get(f"/v1/jobs/{job_id}/result.csv"), "conflict", 409)
    assert client.post(f"/v1/jobs/{job_id}/cancel").json()["state"] == "cancelled"
    gate.set()
    assert events_of(client, job_id)[-1]["state"] == "cancelled"
    (root,) = client.place.iterdir()
    wait_for(lambda: not list(root.iterdir()))
    assert len(drawn) < FRAMES / 2
    assert "cancelled" in refused(client.get(f"/v1/jobs/{job_id}/result.csv"), "not_found", 404)


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_jobs_are_listed_and_deleted(doors, media):
    client = doors()
    body = (media / "photo.jpg").read_bytes()
    ids = [end_of(client, client.post("/v1/jobs?kind=hands", content=body))["id"] for _ in range(3)]
    assert [job["id"] for job in client.get("/v1/jobs").json()] == ids[::-1]
    assert client.delete(f"/v1/jobs/{ids[1]}").status_code == 204
    assert [job["id"] for job in client.get("/v1/jobs").json()] == [ids[2], ids[0]]
    (root,) = client.place.iterdir()
    assert len(list(root.iterdir())) == 2
    for call in ("GET", "DELETE"):
        refused(client.request(call, f"/v1/jobs/{ids[1]}"), "not_found", 404)
    for door in ("events", "result.csv", "drawn.jpg"):
        refused(client.get(f"/v1/jobs/{ids[1]}/{door}"), "not_found", 404)


def test_a_video_that_was_cut_gives_what_it_has(doors, media):
    client = doors()
    body = (media / "clip.mp4").read_bytes()
    job = end_of(client, client.post("/v1/jobs?kind=hands&name=cut.mp4", content=body[: len(body) * 2 // 3]))
    assert job["state"] == "done"
    assert 0 < job["frames"] < FRAMES
    assert any(problem.startswith("cut.mp4 is cut") for problem in job["problems"])


def test_a_picture_that_was_cut_fails_and_says_so(doors, media):
    client = doors()
    files = {"file": ("../../cut.jpg", (media / "photo.jpg").read_bytes()[:3000])}
    job = end_of(client, client.post("/v1/jobs?kind=hands", files=files))
    assert (job["state"], job["downloads"]) == ("failed", {})
    assert job["message"].startswith("cut.jpg: the image is cut short")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("", "unknown kind"),
        ("kind=feet", "unknown kind 'feet'"),
        ("kind=hands&model=heavy", "full, lite"),
        ("kind=hands&max_instances=0", "from 1 to 10"),
        ("kind=hands&draw=maybe", "draw='maybe': give true or false"),
        ("kind=hands&colour=red", "colour"),
        ("kind=hands&kind=face", "more than once"),
    ],
)
def test_wrong_options_are_refused(doors, query, says):
    assert says in refused(doors().post(f"/v1/jobs?{query}", content=b"x"), "bad_option", 400)


def test_what_is_no_media_is_refused_and_leaves_nothing(doors, media):
    client = doors(max_jobs=1)
    picture = (media / "photo.jpg").read_bytes()
    clip = (media / "clip.mp4").read_bytes()
    for call, says in (
        ({"content": b"hello there"}, "upload holds text"),
        ({"content": b""}, "upload is empty"),
        ({"files": {"other": ("a.jpg", picture)}}, "no file came"),
        ({"files": [("file", ("a.jpg", picture)), ("file", ("b.mp4", clip))]}, "b.mp4 is a video among"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, "no boundary"),
        ({"content": b"x", "headers": {"content-type": f"multipart/form-data; boundary={'q' * 500}"}}, "no boundary"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=q"}}, "form is damaged"),
    ):
        assert says in refused(client.post("/v1/jobs?kind=hands", **call), "bad_image", 422)
    assert [list(root.iterdir()) for root in client.place.iterdir()] == [[]]
    assert client.get("/v1/jobs").json() == []


def test_a_body_that_is_too_large_is_refused(doors, monkeypatch):
    client = doors(max_job_mb=0.01)
    monkeypatch.setattr(jobs_module, "_PIECE_BYTES", 1000)
    stated = client.post("/v1/jobs?kind=hands", content=b"x" * 10_001)
    assert "--max-job-mb" in refused(stated, "too_large", 413)
    chunked = client.post("/v1/jobs?kind=hands", content=(b"x" * 1000 for _ in range(11)))
    refused(chunked, "too_large", 413)
    assert [list(root.iterdir()) for root in client.place.iterdir()] == [[]]


def test_missing_weights_are_said_before_anything_is_stored(doors, monkeypatch, tmp_path):
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path / "empty"))
    client = doors()
    message = refused(client.post("/v1/jobs?kind=hands", content=b"x"), "missing_weights", 503)
    assert "sonjit models pull" in message
    assert list(client.place.iterdir()) == []


def test_parquet_names_its_extra(doors, media, monkeypatch):
    client = doors()
    job = end_of(client, client.post("/v1/jobs?kind=hands&draw=false", content=(media / "photo.jpg").read_bytes()))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    message = refused(client.get(job["downloads"]["parquet"]), "failed", 500)
    assert "sonjit[tables]" in message


def test_a_full_disk_is_named(doors, monkeypatch, weights):
    client = doors()

    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(job_upload._RawUpload, "feed", refuse)
    message = refused(client.post("/v1/jobs?kind=hands", content=b"x"), "failed", 500)
    assert "No space left on device" in message
    assert [list(root.iterdir()) for root in client.place.iterdir()] == [[]]


def test_a_crowd_is_told_to_wait(doors, media, monkeypatch):
    client, gate = doors(max_jobs=1), threading.Event()
    monkeypatch.setattr("sonjit.tasks.run.draw_frame", lambda rgb, *_, **__: gate.wait(10) and rgb)
    body = (media / "photo.jpg").read_bytes()
    first = client.post("/v1/jobs?kind=hands", content=body)
    assert "--max-jobs" in refused(client.post("/v1/jobs?kind=hands", content=body), "busy", 503)
    gate.set()
    assert end_of(client, first)["state"] == "done"
    assert end_of(client, client.post("/v1/jobs?kind=hands", content=body))["state"] == "done"


def test_pages_of_other_sites_may_not_begin_or_read_jobs(doors, media):
    client = doors()
    body = (media / "photo.jpg").read_bytes()
    foreign = {"origin": "http://example.org"}
    for call, door in (("POST", "/v1/jobs?kind=hands"), ("GET", "/v1/jobs"), ("POST", "/v1/jobs/x/cancel")):
        refused(client.request(call, door, content=body, headers=foreign), "bad_origin", 403)
    assert client.get("/v1/jobs").json() == []
    assert list(client.place.iterdir()) == []


def test_every_door_wants_the_token_where_there_is_one(doors, media):
    client = doors(token="s3cret")
    body = (media / "photo.jpg").read_bytes()
    refused(client.post("/v1/jobs?kind=hands", content=body), "no_token", 401)
    shown = client.post("/v1/jobs?kind=hands", content=body, headers={"authorization": "Bearer s3cret"})
    door = f"/v1/jobs/{shown.json()['id']}"
    for path in (door, f"{door}/events", f"{door}/result.csv", f"{door}/drawn.jpg"):
        refused(client.get(path), "no_token", 401)
    with client.stream("GET", f"{door}/events?token=s3cret") as events:
        assert '"state":"done"' in list(events.iter_lines())[-2]
    assert client.get(f"{door}/drawn.jpg?token=s3cret").status_code == 200


def test_health_counts_jobs_under_way(doors, media, monkeypatch):
    client, gate = doors(), threading.Event()
    monkeypatch.setattr("sonjit.tasks.run.draw_frame", lambda rgb, *_, **__: gate.wait(10) and rgb)
    begun = client.post("/v1/jobs?kind=hands", content=(media / "photo.jpg").read_bytes())
    assert client.get("/healthz").json()["jobs"] == 1
    gate.set()
    end_of(client, begun)
    assert client.get("/healthz").json()["jobs"] == 0


def test_the_description_names_every_parameter(doors):
    door = doors().get("/openapi.json").json()["paths"]["/v1/jobs"]["post"]
    names = [parameter["name"] for parameter in door["parameters"]]
    assert names == ["kind", "draw", "name", *OPTIONS]
    assert door["requestBody"]["content"].keys() == {"application/octet-stream", "multipart/form-data"}
