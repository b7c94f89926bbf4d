"""Files of jobs at their bounds: names, forms, sizes, tasks, and what a run reports."""

from contextlib import nullcontext
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.server import job_files
from sonjit.server.errors import RefusedError
from sonjit.server.job_files import NETWORK_BYTES, Upload, input_from_files, run_detectors, split_name, task_of
from sonjit.server.processes import CrashError, TooSlowError

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


class Opening:
    """Process that opens videos of a stated size, or fails."""

    answer = (20, 10)
    asked = []  # noqa: RUF012

    def __init__(self, *arguments):
        self.asked.append(arguments)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def call(self, function, file, *, seconds):
        self.asked.append((function, file.name, seconds))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def opening(monkeypatch):
    monkeypatch.setattr(job_files, "Worker", Opening)
    monkeypatch.setattr(Opening, "asked", [])
    return Opening


def files_of(folder, **contents):
    """Write files, named as arguments with their last underscore as a dot."""
    made = []
    for name, content in contents.items():
        stem, _, ending = name.rpartition("_")
        made.append(folder / f"{stem}.{ending}")
        made[-1].write_bytes(content)
    return made


def refusal(files, max_pixels=200):
    with pytest.raises(RefusedError) as refused:
        input_from_files(files, None, max_pixels=max_pixels)
    return refused.value.code, str(refused.value)


BINARY = bytes(range(256)) * 4
MP4 = b"\0\0\0\x18ftypisom" + BINARY
GIF = b"GIF89a\x14\0\x0a\0" + BINARY


def test_a_file_is_opened_as_a_video_if_it_is_no_image(tmp_path, opening):
    (image,) = files_of(tmp_path, a_png=PNG)
    assert input_from_files([image], "shots", max_pixels=200).drawing == ".jpg"
    assert opening.asked == [(200, NETWORK_BYTES)]
    assert NETWORK_BYTES == 4_000_000_000
    for content in (MP4, GIF, BINARY):
        (video,) = files_of(tmp_path, v_jpg=content)
        given = input_from_files([video], "shots", max_pixels=200)
        assert (given.source, given.name, given.drawing) == (video, "v.jpg", ".mp4")
        assert opening.asked[-1] == (job_files.open_video, "v.jpg", 30.0)
        assert refusal([video], 199) == (
            "too_many_pixels",
            "v.jpg has 20 x 10 pixels, more than 0.000199 million: send a smaller one or raise --max-megapixels",
        )
        assert "v.jpg is a video among other files" in refusal([image, video])[1]


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (InputError("a.jpg is neither"), "a.jpg is neither"),
        (TooSlowError("takes more than 30 s"), "a.jpg takes more than 30 s to open"),
        (CrashError("ended its process"), "a.jpg cannot be read: it ended its process; export it again"),
    ],
)
def test_a_file_that_does_not_open_is_named(tmp_path, opening, monkeypatch, error, says):
    monkeypatch.setattr(opening, "answer", error)
    (file,) = files_of(tmp_path, a_jpg=BINARY)
    tail = ": send a video, or images (JPEG, PNG, WebP, ...)"
    assert refusal([file]) == ("bad_image", says + tail)
    file.write_bytes(MP4)
    assert refusal([file])[1] == f"{says}; an MP4 without its index was cut or never finished{tail}"
    file.write_bytes(b"text")
    assert refusal([file])[1] == f"a.jpg contains text{tail}"
    file.write_bytes(b"")
    assert refusal([file])[1] == f"a.jpg is empty{tail}"


def test_an_unreadable_image_among_others_is_a_problem_of_its_own(tmp_path, opening, monkeypatch):
    monkeypatch.setattr(opening, "answer", InputError("b.bin is neither"))
    image, broken, other = files_of(tmp_path, a_png=PNG, b_webp=b"text", b_bin=BINARY)
    given = input_from_files([image, broken], None, max_pixels=200)
    assert (given.source, given.name, given.drawing) == (tmp_path, "images", ".zip")
    assert "b.bin is neither" in refusal([image, other])[1]
    assert refusal([])[1].startswith("no file came")


def test_an_image_without_an_image_ending_gets_one(tmp_path, opening):
    files = files_of(tmp_path, a_png=PNG, b_bin=PNG)
    given = input_from_files(files, "shots", max_pixels=200)
    assert (given.name, sorted(path.name for path in tmp_path.iterdir())) == ("shots", ["a.png", "b.bin.jpg"])


def test_an_image_has_eight_bytes_for_each_pixel_and_ten_megabytes_more(tmp_path, opening):
    (file,) = files_of(tmp_path, a_png=PNG)
    for size, is_taken in ((10_001_600, True), (10_001_601, False)):
        with file.open("ab") as opened:
            opened.truncate(size)
        if is_taken:
            assert input_from_files([file], None, max_pixels=200).drawing == ".jpg"
        else:
            code, message = refusal([file])
            assert (code, message) == ("too_large", "a.png is larger than any image of 0.0002 megapixels")


def test_an_image_that_is_cut_is_left_to_the_decoder_and_one_without_a_size_is_not(tmp_path, opening):
    (file,) = files_of(tmp_path, a_png=PNG[:20])
    assert input_from_files([file], None, max_pixels=200).drawing == ".jpg"
    file.write_bytes(PNG)
    assert refusal([file], 199)[0] == "too_many_pixels"
    (file,) = files_of(tmp_path, a_tif=b"II*\0" + b"\xff" * 90)
    assert refusal([file]) == ("bad_image", "a.tif has no size: export it again")


def test_the_first_eight_megabytes_show_whether_images_follow_each_other(tmp_path, opening, monkeypatch):
    (file,) = files_of(tmp_path, a_png=PNG)
    with file.open("ab") as opened:
        opened.truncate(9_000_000)
    seen = []

    def read(head, rest):
        seen.append((len(head), len(rest.read())))
        return True, head

    monkeypatch.setattr(job_files, "read_sequence", read)
    assert input_from_files([file], None, max_pixels=200).drawing == ".mp4"
    assert seen == [(job_files.SNIFF_BYTES, 8_000_000)]


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


def test_a_run_reports_notes_and_numbers_before_problems(tmp_path, monkeypatch):
    asked, source = [], SimpleNamespace(kind="video", name="", notes=["note", "note"])

    def run(worker, opened, outputs, progress):
        asked.append((worker, opened.name, outputs.draw))
        progress.start(3)
        progress.advance(instances=2)
        progress.advance(2)
        return SimpleNamespace(hidden=4, omitted="1 of at least 2 shown", problems=["problem"])

    monkeypatch.setattr(
        job_files, "task_of", lambda *given: SimpleNamespace(open=lambda kind: nullcontext((given, kind)))
    )
    monkeypatch.setattr(job_files, "open_source", lambda _: nullcontext(source))
    monkeypatch.setattr(job_files, "run_input", run)
    sent, kinds = [], SimpleNamespace(load=lambda: asked.append("loaded"))
    given = SimpleNamespace(source="", name="clip")
    drawing = tmp_path / "drawn.mp4"
    lines = run_detectors(kinds, given, tmp_path, drawing, ["detectors"], {"a": 1}, sent.append)
    assert lines == ["note", "1 of at least 2 shown. Use max_instances.", "4", "problem"]
    assert asked == ["loaded", (((["detectors"], {"a": 1}), "video"), "clip", str(drawing))]
    assert sent == [
        {"of": 3, "frames": 0, "instances": 0},
        {"frames": 1, "instances": 2},
        {"frames": 3, "instances": 2},
    ]
