"""Results of jobs equal those of `sonjit KIND INPUT --save --draw`."""

import csv
import io
import json
import math
import re
import zipfile
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from itertools import islice, pairwise
from urllib.parse import quote, unquote

import openpyxl
import pytest
from tests.support.faces import faces_in, photographs_of_one_person

from sonjit.cli import main
from sonjit.media import natural_key, open_source, rgb_from
from sonjit.media.tables import FORMATS

from .conftest import FRAMES, end_of, refusal

pytestmark = pytest.mark.slow
SQUATS = files("sonjit._util") / "assets" / "squats.mp4"
TABLES = [ending[1:] for ending, table_format in FORMATS.items() if table_format.load and table_format.in_threads]
MORE_TABLES = {"instances.csv": "instance", "wide.csv": "wide"}


def command_line(monkeypatch, folder, out, *arguments, status=0):
    """Return the files that a call of `sonjit` writes next to its input."""
    monkeypatch.chdir(folder)
    out.mkdir()
    assert main([argument.replace("OUT", str(out)) for argument in arguments]) == status


@pytest.mark.nightly_after(1)
@pytest.mark.parametrize("measures", [False, True])
def test_the_server_writes_a_video_as_the_command_line_does(ask, media, tmp_path, monkeypatch, measures):
    client = ask()
    body = (media / "clip.mp4").read_bytes()
    query = f"kind=hands&model=lite&name=clip.mp4&max_instances=2{'&measures=true' if measures else ''}"
    job = end_of(client, client.post(f"/v1/jobs?{query}", content=body))
    assert (job["state"], job["message"], job["problems"]) == ("done", None, [])
    assert (job["model"], job["name"], job["frames"], job["of"]) == ("hands-lite", "clip.mp4", FRAMES, FRAMES)
    options = ["--model", "lite", "--max-instances", "2", *["--measures"] * measures]
    arguments = ("hands", "clip.mp4", "--save", "OUT/t.json", "--draw", "OUT/d.mp4", *options)
    command_line(monkeypatch, media, tmp_path / "out", *arguments)
    for kind in TABLES if measures else TABLES[:2]:
        if kind != "json":
            main(["hands", "clip.mp4", "--save", str(tmp_path / "out" / f"t.{kind}"), *options])
        got = client.get(job["downloads"][kind])
        assert got.headers["content-disposition"] == f'attachment; filename="clip.{kind}"'
        assert got.content == (tmp_path / "out" / f"t.{kind}").read_bytes()
    for kind, rows in MORE_TABLES.items() if measures else ():
        main(["hands", "clip.mp4", "--save", str(tmp_path / "out" / "t.csv"), "--rows", rows, *options])
        got = client.get(job["downloads"][kind])
        assert got.headers["content-disposition"] == f'attachment; filename="clip.{kind}"'
        assert got.content == (tmp_path / "out" / "t.csv").read_bytes()
    assert client.get(job["downloads"]["xlsx"]).content.startswith(b"PK")
    curves = client.get(job["downloads"]["curves.json"]).json()
    assert abs(datetime.now(UTC) - datetime.fromisoformat(job["ended"])) < timedelta(hours=1)
    assert (job["length"], job["summaries"]) == (curves["times"][-1], [])  # only people have a summary
    lines = client.get(job["downloads"]["jsonl"]).content
    rows = [json.loads(lines[begin:end]) for begin, end in pairwise(curves["offsets"])]
    assert [row["time"] for row in rows] == curves["times"]
    of_hands = [hand.get("measures", {}).get("index_curl_rad") for row in rows for hand in row["hands"]]
    drawn_values = [value for one in curves["instances"] for value in one["measures"].get("index_curl_rad", ())]
    assert sorted(filter(None, drawn_values)) == pytest.approx(sorted(filter(None, of_hands)), abs=1e-4)
    assert bool(drawn_values) == measures
    for name in ("motions.csv", "motions.parquet", "events.csv"):
        got = client.get(f"/v1/jobs/{job['id']}/{name}")
        assert (job["downloads"].get(name) is not None) == measures == (got.status_code == 200)
        if measures:
            assert got.headers["content-disposition"] == f'attachment; filename="clip.{name}"'
            assert got.content == (tmp_path / "out" / f"t.{name}").read_bytes()
    assert "Choose from result.json, " in refusal(client.get(f"/v1/jobs/{job['id']}/motions.json"), 404, "not_found")
    found = json.loads((tmp_path / "out" / "t.json").read_text("utf-8"))["frames"]
    assert job["instances"] == sum(len(frame["hands"]) for frame in found) >= FRAMES
    drawn = client.get(job["downloads"]["drawn"])
    assert drawn.headers["content-type"] == "video/mp4"
    assert pixels(drawn.content, tmp_path) == pixels((tmp_path / "out" / "d.mp4").read_bytes(), tmp_path)


def test_several_detectors_are_one_job_with_one_table_and_one_drawing(ask, media, all_weights):
    client = ask()
    kinds = [{"kind": "hands", "model": "lite"}, {"kind": "face", "model": "box", "min_detection_score": 0.1}]
    kinds += [{"kind": "body", "model": "lite", "search": "fast", "measures": True}]
    body = (media / "clip.mp4").read_bytes()
    job = end_of(client, client.post("/v1/jobs", params={"detectors": json.dumps(kinds)}, content=body))
    assert (job["state"], job["message"], job["frames"]) == ("done", None, FRAMES)
    assert (job["kind"], job["model"]) == ("hands+face+body", "hands-lite+face-box+body-lite")
    separate = end_of(client, client.post("/v1/jobs?kind=hands&model=lite&draw=false", content=body))
    frames, hands = (client.get(one["downloads"]["json"]).json()["frames"] for one in (job, separate))
    points = [[[hand["keypoints"] for hand in frame["hands"]] for frame in every] for every in (frames, hands)]
    assert points[0] == points[1]
    names = "hands", "faces", "bodies"
    assert job["instances"] == sum(len(frame.get(name, ())) for frame in frames for name in names)
    rows = client.get(job["downloads"]["csv"]).text.splitlines()
    assert "left_knee_angle_rad" in rows[0].split(",")
    assert client.get(job["downloads"]["drawn"]).headers["content-type"] == "video/mp4"
    assert "report.html" not in separate["downloads"]
    pages = [client.get(job["downloads"][f"report.{ending}"]).content for ending in ("html", "pdf")]
    assert (b"Joint angles" in pages[0], pages[1][:4]) == (True, b"%PDF")
    assert '<html lang="ko">' in client.get(job["downloads"]["report.ko.html"]).text
    assert "glb" not in job["downloads"]  # a character is made of the first kind
    for name, begin in {"points.trc": b"PathFileType", "angles.mot": b"sonjit_angles"}.items():
        assert client.get(job["downloads"][name]).content.startswith(begin)


def _check_first_sheets(client, job, curves):
    """Check that the first sheet of both workbooks has the headline, and a row for each repetition."""
    (repetition,), (summary,) = curves["repetitions"], job["summaries"]
    lowest = {name[:4]: round(math.degrees(one["value"]), 1) for name, one in repetition["lowest"].items()}
    for file, language, title in (("xlsx", "en", "Summary"), ("ko.xlsx", "ko", "요약")):
        book = openpyxl.load_workbook(io.BytesIO(client.get(job["downloads"][file]).content))
        assert (book.sheetnames[0], book.active.title, book.active.freeze_panes) == (title, title, "A3")
        assert book.sheetnames[1:] == ["frames", "instances", "run"]
        (lead, *_), heading, row, *facts = book.active.iter_rows(values_only=True)
        assert lead == f"{summary['texts'][language]}."
        assert row[:2] == (1, {"en": "knee", "ko": "무릎"}[language])
        assert row[2:4] == (round(repetition["begin"], 3), round(repetition["end"], 3))
        assert row[4] == round(min(repetition["lowest"].values(), key=lambda one: one["value"])["time"], 3)
        assert row[5:7] == pytest.approx((lowest["left"], lowest["righ"]), abs=0.11)
        words = [text for fact in facts for text in fact if text]
        assert "squats.mp4" in words
        assert any("lite" in text for text in words)
        widths = [book.active.column_dimensions[column].width for column in "ABCDEFG"]
        assert all(width > len(str(name)) for width, name in zip(widths, heading, strict=False))


@pytest.mark.nightly
def test_all_files_of_a_video_have_the_same_angles(ask, all_weights, write_video, tmp_path):
    with open_source(SQUATS) as source:
        one_squat = write_video(tmp_path / "squats.mp4", [frame.rgb for frame in islice(source, 40)], 15)
    client = ask()
    query = "kind=body&model=lite&measures=true&draw=false&name=squats.mp4"
    job = end_of(client, client.post(f"/v1/jobs?{query}", content=one_squat.read_bytes()))
    assert (job["state"], job["problems"]) == ("done", [])
    get = {name: client.get(path) for name, path in job["downloads"].items() if name != "rrd"}
    curves = get["curves.json"].json()
    (shown,) = (one["measures"] for one in curves["instances"])
    table = list(csv.DictReader(io.StringIO(get["instances.csv"].text)))
    sheets = openpyxl.load_workbook(io.BytesIO(get["xlsx"].content), read_only=True)
    heading, *cells = sheets["instances"].iter_rows(values_only=True)
    for name, values in shown.items():
        seen = [value for value in values if value is not None]
        assert [float(row[name]) for row in table if row[name]] == pytest.approx(seen, abs=1e-4), name
        is_angle = name.endswith("_rad")
        column = heading.index(name.replace("_rad", "_deg") if is_angle else name)
        in_excel = [row[column] for row in cells if row[column] is not None]
        assert in_excel == pytest.approx([math.degrees(x) if is_angle else x for x in seen], abs=0.01), name
    left, right, both = (shown[f"{name}_rad"] for name in ("left_knee_angle", "right_knee_angle", "symmetry_knee"))
    assert both == pytest.approx([a - b for a, b in zip(left, right, strict=True)], abs=2e-4)
    (summary,) = curves["summaries"]
    assert summary["texts"]["en"] in get["report.html"].text
    sides = summary.pop("sides")
    assert sides["en"] in get["report.html"].text
    assert sides["ko"] in client.get(job["downloads"]["report.ko.html"]).text
    assert (job["length"], job["summaries"]) == (curves["times"][-1], [summary])
    lowest = [one for row in curves["repetitions"] for one in row["lowest"].values()]
    assert all(
        f"{math.degrees(one['value']):.0f} ± {math.degrees(one['error']):.0f}" in get["report.html"].text
        for one in lowest
    )
    _check_first_sheets(client, job, curves)
    deepest = min(row["lowest"][summary["measure"]]["value"] for row in curves["repetitions"])
    assert min(float(row[summary["measure"]]) for row in table) == pytest.approx(deepest, abs=1e-4)


@pytest.mark.nightly
def test_a_job_reports_that_more_were_found(ask, data, need):
    need("face-short", "face-full", "face-attention")
    photo = data / "real" / "wild" / "group-5.jpg"
    if not photo.is_file():
        pytest.skip("no photograph of a group")
    client = ask()
    job = end_of(client, client.post("/v1/jobs?kind=face&max_instances=2&name=a.jpg", content=photo.read_bytes()))
    (problem,) = job["problems"]
    assert re.fullmatch(r"a\.jpg: 2 of at least \d+ shown\. Use max_instances\.", problem)


def pixels(video, folder):
    (folder / "v.mp4").write_bytes(video)
    with open_source(folder / "v.mp4") as source:
        return [(frame.time, frame.rgb.tobytes()) for frame in source]


def test_the_server_writes_images_as_the_command_line_does(ask, media, tmp_path, monkeypatch, capsys):
    client = ask()
    shots = sorted((media / "shots").iterdir(), reverse=True)
    files = [("file", (f"shots/{file.name}", file.read_bytes())) for file in shots]
    query = {"kind": "hands", "style": '{"colour": "#ff0000", "thickness": 2}'}
    job = end_of(client, client.post("/v1/jobs", params=query, files=files))
    assert (job["state"], job["name"], job["frames"], job["of"]) == ("done", "shots", 3, 4)
    assert (job["length"], job["summaries"]) == (None, [])
    assert job["ended"]
    (problem,) = job["problems"]
    assert problem.startswith("11.jpg: ")
    arguments = ("hands", "shots", "--save", "OUT/t.csv", "--draw", "OUT/drawn/")
    arguments += ("--draw-colour", "#ff0000", "--draw-thickness", "2")
    command_line(monkeypatch, media, tmp_path / "out", *arguments, status=1)
    for kind in TABLES:
        if kind != "csv":
            main(["hands", "shots", "--save", str(tmp_path / "out" / f"t.{kind}")])
        assert client.get(job["downloads"][kind]).content == (tmp_path / "out" / f"t.{kind}").read_bytes()
    got = client.get(job["downloads"]["drawn"])
    assert got.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(got.content)) as archive:
        assert archive.namelist() == sorted(["9.jpg", "10.png", "손.jpg"], key=natural_key)
        for name in archive.namelist():
            assert archive.read(name) == (tmp_path / "out" / "drawn" / name).read_bytes()
    curves = client.get(job["downloads"]["curves.json"]).json()
    for source, (begin, size) in zip(curves["sources"], curves["pictures"], strict=True):
        assert got.content[begin : begin + size] == (tmp_path / "out" / "drawn" / source).read_bytes()


@pytest.mark.nightly
def test_one_image_and_its_korean_name(ask, media, tmp_path, monkeypatch):
    client = ask()
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
    assert job["downloads"].keys() == {*TABLES, *MORE_TABLES, "xlsx", "curves.json", "drawn"}


def test_a_video_can_be_played_from_anywhere(ask, media):
    client = ask()
    job = end_of(client, client.post("/v1/jobs?kind=hands", content=(media / "clip.mp4").read_bytes()))
    complete = client.get(job["downloads"]["drawn"]).content
    for requested, part in (("bytes=5-9", complete[5:10]), ("bytes=-7", complete[-7:]), ("bytes=100-", complete[100:])):
        got = client.get(job["downloads"]["drawn"], headers={"range": requested})
        assert (got.status_code, got.content) == (206, part)
    assert client.get(job["downloads"]["drawn"], headers={"range": f"bytes={len(complete)}-"}).status_code == 416


@pytest.mark.golden
@pytest.mark.slow
def test_a_job_hides_people_as_the_command_line_does(ask, data, need):
    need("face-short", "face-full", "face-mesh", "body-full", "body-lite", "person-detector")
    photo = next(photographs_of_one_person(data), None)
    if photo is None:
        pytest.skip("no photographs of one person")
    client, style = ask(), quote(json.dumps({"anonymise": "blur"}))
    query = f"kind=hands&model=lite&name=a.jpg&style={style}"
    job = end_of(client, client.post(f"/v1/jobs?{query}", content=photo.read_bytes()))
    assert job["state"] == "done"
    assert any("others may not be found" in problem for problem in job["problems"])
    assert faces_in(rgb_from(photo)) != []
    assert faces_in(rgb_from(client.get(job["downloads"]["drawn"]).content)) == []
