import av
import cv2
import numpy as np
import pytest

from sonjit.media import open_source
from sonjit.server import errors, job_files

from .conftest import png_of

MANY = 50_000_000
GREY = np.full((24, 32, 3), 120, np.uint8)


def image(path, ending=".png"):
    path.write_bytes(cv2.imencode(ending, GREY)[1].tobytes())
    return path


def video(path, size=(64, 48)):
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((size[1], size[0], 3), np.uint8))
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def cut(path):
    path.write_bytes(path.read_bytes()[:-600])  # where an MP4 has its index
    return path


def sound(path):
    with av.open(str(path), "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    return path


@pytest.mark.parametrize(("make", "name", "drawing"), [(video, "손.jpg", ".mp4"), (image, "upload", ".jpg")])
def test_one_file_whatever_its_name(tmp_path, make, name, drawing):
    file = make(tmp_path / name)
    given = job_files.input_from_files([file], None, max_pixels=MANY)
    assert (given.source, given.name, given.drawing) == (file, name, drawing)


@pytest.mark.parametrize("names", [("a", "a.jpg", "b.jpg"), ("A", "a.JPG"), ("a.bin", "a.bin.jpg", "a.bin_2.jpg")])
def test_no_image_without_an_ending_replaces_another(tmp_path, names):
    for k, name in enumerate(names):
        (tmp_path / name).write_bytes(cv2.imencode(".png", np.full((8, 8, 3), 10 * k, np.uint8))[1].tobytes())
    job_files.input_from_files([tmp_path / name for name in names], "shots", max_pixels=MANY)
    with open_source(tmp_path) as source:
        assert sorted(int(frame.rgb.mean()) for frame in source) == [10 * k for k in range(len(names))]


def test_images_become_a_folder_that_is_read_completely_and_in_order(tmp_path):
    files = [image(tmp_path / name) for name in ("f10.png", "f9", "F1.jpeg", "f2.bin")]
    (tmp_path / "f3.webp").write_bytes(b"text")  # a problem of the job's, not of the upload's
    given = job_files.input_from_files([*files, tmp_path / "f3.webp"], "shots", max_pixels=MANY)
    assert (given.source, given.name, given.drawing) == (tmp_path, "shots", ".zip")
    with open_source(given.source) as source:
        assert [source.frame_source(frame.index) for frame in source] == ["F1.jpeg", "f2.bin.jpg", "f9.jpg", "f10.png"]
        assert len(source.problems) == 1


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: [], "no file came"),
        (lambda folder: [write(folder / "a.txt", b"hello there")], "a.txt contains text"),
        (lambda folder: [write(folder / "a.mp4", b"")], "a.mp4 is empty"),
        (lambda folder: [write(folder / "a.mp4", bytes(range(256)) * 9)], "a.mp4 is neither"),
        (lambda folder: [cut(video(folder / "a.mp4"))], "a.mp4 .* never finished"),
        (lambda folder: [sound(folder / "a.wav")], "a.wav contains no video"),
        (lambda folder: [image(folder / "a.png"), write(folder / "b.bin", b"\0\1" * 99)], "b.bin is neither"),
        (lambda folder: [image(folder / "a.png"), video(folder / "b.mp4")], "b.mp4 is a video among"),
        (lambda folder: [video(folder / "a.mp4"), video(folder / "b.mp4")], "a.mp4 is a video among"),
    ],
)
def test_invalid_input_is_named(tmp_path, make, says):
    files = make(tmp_path)
    with pytest.raises(errors.RefusedError, match=says) as refused:
        job_files.input_from_files(files, None, max_pixels=MANY)
    assert refused.value.code == "bad_image"
    assert str(tmp_path) not in str(refused.value)


def write(path, data):
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: [video(folder / "big", (640, 480))],
        lambda folder: [write(folder / "big", png_of(60_000, 60_000))],
        lambda folder: [image(folder / "a.png"), write(folder / "big", png_of(60_000, 60_000))],
    ],
)
def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path, make):
    with pytest.raises(errors.RefusedError, match="big has") as refused:
        job_files.input_from_files(make(tmp_path), None, max_pixels=640 * 480 - 1)
    assert refused.value.code == "too_many_pixels"


def test_a_file_that_no_image_can_fill_is_not_read(tmp_path):
    file = image(tmp_path / "big.png")
    with file.open("ab") as opened:
        opened.truncate(100_000_000)
    with pytest.raises(errors.RefusedError, match="larger than any image") as refused:
        job_files.input_from_files([file], None, max_pixels=1_000_000)
    assert refused.value.code == "too_large"
