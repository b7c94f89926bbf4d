"""Files of jobs at their bounds: names, forms, sizes, tasks, and what a run reports."""

from contextlib import nullcontext
from importlib.resources import files

import cv2
import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit._util.files import DiskError
from sonjit.media import open_source
from sonjit.runs import Outputs, run_input
from sonjit.server.curves import recordings_of_job, use_report_angles, write_curves
from sonjit.server.job_files import Upload, split_name, task_of

SQUATS = files("sonjit._util") / "assets" / "squats.mp4"
PNG = cv2.imencode(".png", np.zeros((10, 20, 3), np.uint8))[1].tobytes()


@pytest.mark.parametrize(
    ("sent", "folder", "name"),
    [
        ("", None, "upload"),
        ("...", None, "upload"),
        ("a.png", None, "a.png"),
        ("shots/a.png", "shots", "a.png"),
        ("shots/1/2/a.png", "shots", "1_2_a.png"),
        ("../a.png", None, "a.png"),
        ("con.png", None, "_con.png"),
        ("console.png", None, "console.png"),
        ("a" * 200, None, "a" * 150),
        ("a" * 200 + ".png", None, "a" * 146 + ".png"),
        ("a" * 200 + ".abcdefgh", None, "a" * 141 + ".abcdefgh"),
        ("a" * 200 + ".abcdefghi", None, "a" * 150),
        ("손" * 60, None, "손" * 50),
        ("x" + "손" * 60, None, "x" + "손" * 49),
    ],
)
def test_a_sent_name_is_cut_before_its_ending(sent, folder, name):
    assert split_name(sent) == (folder, name)


def part(headers, content=b"x"):
    return b"--q\r\n" + headers.encode() + b"\r\n\r\n" + content + b"\r\n"


FILE = 'Content-Disposition: form-data; name="file"; filename="{}"'


@pytest.mark.parametrize(
    ("headers", "names"),
    [
        (FILE.format("a.png"), ["a.png"]),
        (FILE.format("a.png") + "\r\nAccept: b\r\nContent-Type: image/png\r\nX-Other: y", ["a.png"]),
        ("Accept: b\r\nX-Other: y\r\n" + FILE.format("a.png").upper().replace('"FILE"', '"file"'), ["A.PNG"]),
        (FILE.format("shots/.hidden"), []),
        (FILE.format(".shots/a.png"), ["a.png"]),
        (FILE.format("shots\\\\.hidden"), []),
        ('Content-Disposition: form-data; name="file"', []),
        ('Content-Disposition: form-data; name="a"; filename="a.png"', []),
        ('Content-Disposition: form-data; name="zip"; filename="a.png"', []),
        ("Accept: b", []),
    ],
)
def test_a_part_is_a_file_by_its_field_and_its_name(tmp_path, headers, names):
    upload = Upload(tmp_path, "multipart/form-data; boundary=q", "upload")
    upload.feed(part(headers) + part("Accept: c") + b"--q--\r\n")
    upload.finish()
    assert [file.name for file in upload.files] == names
    assert [file.read_bytes() for file in upload.files] == [b"x"] * len(names)


def test_the_first_folder_names_the_job(tmp_path):
    upload = Upload(tmp_path, "multipart/form-data; boundary=q", "upload")
    assert upload.folder is None
    upload.feed(b"".join(part(FILE.format(name)) for name in ("a.png", "shots/b.png", "more/c.png")) + b"--q--\r\n")
    upload.finish()
    assert (upload.folder, [file.name for file in upload.files]) == ("shots", ["a.png", "b.png", "c.png"])


@pytest.mark.parametrize("kind", ["", "application/octet-stream", "text/plain", "video/mp4"])
def test_another_body_is_one_file(tmp_path, kind):
    upload = Upload(tmp_path, kind, "a.bin")
    upload.feed(b"--q")
    upload.feed(b"--q--")
    upload.finish()
    upload.close()
    upload.feed(b"late")  # a closed upload takes nothing
    assert [file.read_bytes() for file in upload.files] == [b"--q--q--"]


@pytest.mark.parametrize(("count", "is_taken"), [(0, False), (1, True), (70, True), (71, False)])
def test_a_boundary_has_1_to_70_characters(tmp_path, count, is_taken):
    with nullcontext() if is_taken else pytest.raises(InputError, match="no boundary of 1 to 70 characters"):
        Upload(tmp_path, f"multipart/form-data; boundary={'q' * count}", "upload")


def test_a_job_has_twenty_thousand_files(tmp_path):
    upload = Upload(tmp_path, "multipart/form-data; boundary=q", "upload")
    upload.files = [tmp_path] * 19_999
    upload.feed(part(FILE.format("a.png")))
    with pytest.raises(InputError, match="more than 20000 files in one job"):
        upload.feed(part(FILE.format("b.png")))
    upload.close()


def test_a_task_has_the_options_and_the_style_of_its_detectors():
    task = task_of([("hands", {"model": "lite", "gestures": "canned", "measures": True}), ("face", {"model": "mesh"})])
    assert (task.options.kind, task.options.threads, task.options.gestures, task.measures) == (
        "hands",
        1,
        "canned",
        True,
    )
    (face,) = task.also
    assert (face.options.kind, face.options.threads, face.measures, task.style.gestures) == ("face", 1, False, True)
    for gestures in ("asl", "canned"):
        assert task_of([("hands", {"model": "lite", "gestures": gestures})]).options.gestures == gestures
    assert task_of([("hands", {"model": "lite", "gestures": "none"})]).options.gestures is None
    silent = [("hands", {"model": "lite", "gesture_labels": False}), ("holistic", {"model": "lite"})]
    assert task_of(silent, {"thickness": 2}).style.gestures is False
    assert task_of(silent, {"thickness": 2}).style.thickness == 2
    assert task_of(silent[1:], {"gestures": False}).style.gestures is False


def test_a_full_disk_keeps_the_table_whose_angles_would_be_smoothed(need, tmp_path, full_disk):
    need("body-lite", "face-short", "person-detector")
    table, curves = tmp_path / "result.jsonl", tmp_path / "curves.json"
    with (
        open_source(SQUATS) as source,
        task_of([("body", {"model": "lite", "measures": True})]).open("video") as worker,
    ):
        run_input(worker, source, Outputs(str(table)))
    before = table.read_bytes()
    recordings = recordings_of_job(table, "squats.mp4", "lite")
    with full_disk(1000):
        with pytest.raises(DiskError):
            use_report_angles(table, recordings)
        with pytest.raises(DiskError):
            write_curves(curves, table, "squats.mp4", recordings, None)
    assert table.read_bytes() == before
    assert not curves.exists()
    use_report_angles(table, recordings)
    write_curves(curves, table, "squats.mp4", recordings, None)
    assert table.read_bytes() != before
    assert {path.name for path in tmp_path.iterdir()} == {"result.jsonl", "curves.json"}
