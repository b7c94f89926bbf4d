"""Errors of the disk, an encoder or a damaged file: one line that names the file, and no leftovers."""

import os
import random

import av
import cv2
import numpy as np
import pytest

from sonjit._util.errors import InputError, JobError
from sonjit._util.files import DiskError
from sonjit.media import Header, open_drawing_writer, open_source, open_writer
from sonjit.media.sources.images import encode_image, load_image
from sonjit.results import Frame

TIMES = [i / 25 for i in range(25)]


def write_all(writer, images):
    """Write images until an error, after which the writer leaves no file."""
    with writer:
        for image, time in images:
            writer.write(image, time)


def black(width, height=48):
    return np.zeros((height, width, 3), np.uint8)


def sound_file(path, seconds=1):
    """Return a file with a tone and no image."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000 * seconds), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return path


@pytest.mark.parametrize("room", [0, 6000])
@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".gif", ".webp"])
def test_a_disk_that_is_full_ends_a_drawing(tmp_path, clip, full_disk, ending, room):
    """Fill the disk at the start, during the drawing, and when the encoder is flushed."""
    noise, out = np.random.default_rng(0), tmp_path / f"o{ending}"
    with open_source(clip("v.mp4")) as source:
        writer = open_drawing_writer(out, source)
        images = [(noise.integers(0, 255, (48, 64, 3), np.uint8), time) for time in TIMES]
        with pytest.raises(JobError, match=f"writing {out} failed: File too large"), full_disk(room):
            write_all(writer, images)
    assert {path.name for path in tmp_path.iterdir()} <= {"v.mp4", f"o{ending}.unfinished"}


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system reserves no room on a disk")
@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv", ".webm", ".avi", ".gif"])
def test_a_disk_that_fills_up_keeps_the_images_until_then(tmp_path, clip, full_disk, ending):
    """The file is complete, and its images are those of a drawing that ends there, but for those in the encoder."""
    noise, out, room = np.random.default_rng(0), tmp_path / f"o{ending}", 300_000
    images = [noise.integers(0, 255, (48, 64, 3), np.uint8) for _ in range(30)]
    with open_source(clip("v.mp4", sound="aac")) as source:
        writer, count, caught = open_drawing_writer(out, source), 0, None
        with full_disk(room):
            while caught is None:
                try:
                    writer.write(images[count % 30], count / 30)
                    count += 1
                except DiskError as error:
                    caught = error
                    writer.__exit__(DiskError, error, None)
        kept = tmp_path / f"o{ending}.unfinished"
        assert str(caught) == f"writing {out} failed: File too large; the frames until then are in {kept}"
        assert sorted(path.name for path in tmp_path.iterdir()) == [kept.name, "v.mp4"]
        with open_drawing_writer(tmp_path / f"short{ending}", source) as short:
            for index in range(count + 1):
                short.write(images[index % 30], index / 30)
    assert room / 10 < kept.stat().st_size <= room
    kept = kept.rename(tmp_path / f"kept{ending}")
    with open_source(kept) as found, open_source(tmp_path / f"short{ending}") as expected:
        shown, right = list(found), list(expected)
        assert not found.problems
    assert len(shown) >= 0.5 * len(right)
    rights = {frame.time: frame.rgb for frame in right}
    for frame in (shown[0], shown[len(shown) // 2]):
        np.testing.assert_array_equal(frame.rgb, rights[frame.time])


def test_an_animation_that_is_too_wide_is_reported(tmp_path, clip):
    with open_source(clip("v.mp4")) as source:
        writer = open_drawing_writer(tmp_path / "o.webp", source)
        with pytest.raises(JobError, match=r"o\.webp cannot be drawn"):
            write_all(writer, [(black(20_000), 0.0)])
    assert [path.name for path in tmp_path.iterdir()] == ["v.mp4"]


@pytest.mark.parametrize("ending", [".csv", ".json", ".jsonl", ".parquet", ".xlsx"])
def test_a_disk_that_is_full_ends_a_table(tmp_path, hand, full_disk, ending):
    """Also check an interrupted table that discards buffered rows."""
    out = tmp_path / f"t{ending}"
    writer = open_writer(out, Header("a"))
    rows = [(Frame(number, None, [hand()]), None) for number in range(2000)]
    with pytest.raises(JobError, match=f"writing {out} failed: .*File too large"), full_disk():
        write_all(writer, rows)
    stopped = open_writer(out, Header("a"))
    with pytest.raises(ZeroDivisionError), full_disk(4):  # a Parquet file begins with as many
        write_all(stopped, ((Frame(1 // (1 - count), None, [hand()]), None) for count in range(2)))
    assert list(tmp_path.iterdir()) == []


def test_a_video_that_is_gone_before_it_is_drawn_is_one_line(tmp_path, clip):
    path = clip("v.mp4", sound="aac")
    with open_source(path) as source:
        path.unlink()
        with pytest.raises(InputError, match=r"v\.mp4 .* No such file"):
            open_drawing_writer(tmp_path / "o.mp4", source)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("shape", "ending"), [((1, 70_000, 3), ".jpg"), ((0, 5, 3), ".png")])
def test_images_that_a_format_cannot_hold(shape, ending):
    with pytest.raises(JobError, match=f"a {shape[1]} x {shape[0]} image does not fit {ending}"):
        encode_image(np.zeros(shape, np.uint8), ending)


def test_files_that_cannot_be_opened_or_decoded_at_all(tmp_path, clip):
    with pytest.raises(InputError, match="cannot be read: File name too long"):
        load_image(tmp_path / ("a" * 300))
    with pytest.raises(InputError, match="cannot be read: embedded null byte"):
        load_image(tmp_path / "a\0b")
    (tmp_path / "a.mp4").write_bytes(clip("v.mp4").read_bytes().replace(b"mp4v", b"xyzv").replace(b"avc1", b"xyz1"))
    for path in (sound_file(tmp_path / "a.wav"), tmp_path / "a.mp4"):  # no stream, no decoder
        with pytest.raises(InputError, match="contains no video stream"):
            open_source(path)


def test_an_image_of_more_pixels_than_the_decoder_takes(tmp_path):
    path = tmp_path / "huge.pgm"
    path.write_bytes(b"P5\n60000 60000\n255\n" + bytes(100))
    with pytest.raises(InputError, match=r"huge\.pgm cannot be decoded: .*make it smaller"):
        load_image(path)


def test_a_video_without_a_complete_image(tmp_path, clip):
    data = bytearray(clip("v.avi", codec="mpeg4").read_bytes())
    first, end = data.index(b"movi") + 12, data.index(b"idx1")
    data[first:end] = bytes(end - first)
    (tmp_path / "empty.avi").write_bytes(data)
    with pytest.raises(InputError, match="no frame of this video can be decoded"):
        open_source(tmp_path / "empty.avi")


@pytest.mark.parametrize(("seed", "ending"), [(6, ".mp4"), (24, ".mov"), (58, ".webm")])
def test_sound_that_is_damaged_costs_no_image(tmp_path, clip, seed, ending):
    """Use a recording with damaged bytes, from which FFmpeg decodes no more sound."""
    path, rng = clip("v.ts", TIMES[:20], sound="aac"), random.Random(seed)
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 8, 64))):
        data[rng.randrange(len(data))] = rng.randrange(256)
    path.write_bytes(data)
    with open_source(path) as source:
        write_all(open_drawing_writer(tmp_path / f"o{ending}", source), [(black(64), time) for time in TIMES[:20]])
    with open_source(tmp_path / f"o{ending}") as drawn:
        assert len(list(drawn)) == 20


def test_damaged_sound_is_left_out_where_it_is_encoded_again(tmp_path, clip):
    path = clip("v.mp4", TIMES, sound="aac")
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(audio=0) if packet.size]
    data = bytearray(path.read_bytes())
    for start, size in places[10:20]:
        data[start : start + size] = b"\xff" * size
    path.write_bytes(data)
    with open_source(path) as source:
        write_all(open_drawing_writer(tmp_path / "o.webm", source), [(black(64), time) for time in TIMES])
    with av.open(str(tmp_path / "o.webm")) as made:
        heard = sum(frame.samples for frame in made.decode(audio=0)) / 48_000
    assert 0.5 < heard < 1.2


def test_a_drawing_does_not_replace_a_hard_link_of_its_input(tmp_path, noise):
    cv2.imwrite(str(tmp_path / "in.png"), noise)
    (tmp_path / "link.png").hardlink_to(tmp_path / "in.png")
    with open_source(tmp_path / "in.png") as source, pytest.raises(InputError, match="is the input itself"):
        open_drawing_writer(tmp_path / "link.png", source)
