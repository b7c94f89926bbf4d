"""Which files an input names, of which kind they are, and how they are opened."""

import io
import math
import os
import sys
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.media.sources import (
    FolderSource,
    Reading,
    Rejoined,
    distinct_files,
    file_kind,
    file_labels,
    find_files,
    image_files,
    is_mp4,
    is_pattern,
    is_stream,
    matching_files,
    missing_input,
    natural_key,
    numbered_names,
    open_source,
    read_sequence,
    select_files,
)

VIDEO = b"\0\0\0\x18ftypisom"


def encoded(ending=".png", value=9, size=(4, 6)):
    return cv2.imencode(ending, np.full((*size, 3), value, np.uint8))[1].tobytes()


def made(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded() if path.suffix == ".png" else VIDEO if path.suffix == ".mp4" else b"x")
    return [folder / name for name in names]


def jpegs(count):
    return b"".join(encoded(".jpg", 40 * number) for number in range(count))


def test_numbers_in_names_count_as_numbers_and_after_letters():
    names = ["a10b2", "a9", "a10b1", "A1", "10", "9x", "a", "b", "a9a", "ab"]
    expected = ["a", "A1", "a9", "a9a", "a10b1", "a10b2", "ab", "b", "9x", "10"]
    assert sorted(names, key=natural_key) == expected
    assert natural_key("F012.p") == [(-1, "f"), (12, ""), (-1, ".p")]
    assert natural_key("") == []


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("-", True), ("camera:0", True), ("camera:x", True), ("rtsp://a", True), ("RTSPS://a", True),
        ("http://a", True),
        ("https://a", True), ("s3://a", False), ("a.mp4", False), ("camera", False), ("--", False), ("", False),
        ("*.png", False),
        ("my-camera:0", False),
    ],
)  # fmt: skip
def test_cameras_and_standard_input_are_streams(named, expected):
    assert is_stream(named) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(({"reconnect_s": value}, f"reconnect {value:g}: give a time in seconds from 0")
          for value in (-1, -1e-9, math.inf, math.nan)),
        *(({"fps": value}, f"fps={value:g}: give a number of frames per second above 0")
          for value in (0, -1, math.nan, math.inf, 100_000)),
    ],
)  # fmt: skip
def test_a_rate_and_a_time_have_limits(tmp_path, options, message):
    made(tmp_path, "a.png")
    with pytest.raises(InputError) as caught:
        open_source(tmp_path, **options)
    assert str(caught.value) == message


@pytest.mark.parametrize("named", ["camera:99999999999", f"camera:{5000 * '9'}", "f_%99999999999d.png"])
def test_impossible_numbers_are_refused_in_one_line(named):
    with pytest.raises(InputError, match=r"a camera has a number|no such file"):
        open_source(named)


def test_rates_up_to_the_limits_are_taken(tmp_path):
    (path,) = made(tmp_path, "a.png")
    for fps in (1e-3, 99_999.5, None):
        with open_source(tmp_path, fps=fps, reconnect_s=0) as source:
            assert (source.kind, source.fps) == (("folder", None) if fps is None else ("video", fps))
    with open_source(path, reconnect_s=1e9) as source:
        assert source.kind == "image"


@pytest.mark.parametrize("named", ["camera", "webcam", "cam", "CAM", "0", "12", "x", "cameras", "-1"])
def test_a_name_of_a_camera_has_a_hint(named):
    is_camera = named in ("camera", "webcam", "cam", "CAM", "0", "12")
    hint = ". Use camera:0 for a camera" if is_camera else ""
    assert missing_input(named) == f"{named}: no such file or folder{hint}"
    with pytest.raises(InputError) as caught:
        open_source(named)
    assert str(caught.value) == missing_input(named)
    with pytest.raises(InputError, match=r"camera:x: a camera has a number, such as camera:0"):
        open_source("camera:x")


def test_images_are_read_and_other_files_are_noted(tmp_path):
    names = made(tmp_path, "f10.png", "f9.png", "a.mp4", "b.txt", ".c.png", "in/a.png", ".d/a.png")
    hint = f". It contains folders: use {str(tmp_path / '**' / '*')!r}"
    folders = f"{tmp_path}: left out 1 folder{hint}"
    with open_source(tmp_path) as source:
        assert source.files == [names[1], names[0]]
        assert (source.count, source.width, source.height) == (2, 6, 4)
        assert source.notes == [f"{tmp_path}: left out 2 files: a.mp4, b.txt", folders]
        assert [source.frame_source(frame.index) for frame in source] == ["f9.png", "f10.png"]
    files, notes = find_files(str(tmp_path), videos=True)
    assert files == [names[2], names[1], names[0]]
    assert notes == [f"{tmp_path}: left out 1 file: b.txt", folders]
    files, notes = find_files(f"{tmp_path}/f*", videos=False)
    assert (files, notes) == ([names[1], names[0]], [])
    assert find_files(str(names[0]), videos=True) is None
    assert find_files(str(tmp_path / "none"), videos=True) is None


@pytest.mark.parametrize("videos", [False, True])
def test_a_folder_or_pattern_without_images_states_the_known_endings(tmp_path, videos):
    kinds = "no images or videos" if videos else "no images"
    made(tmp_path, "a.txt", "in/b.txt")
    hint = f". It contains folders: use {str(tmp_path / '**' / '*')!r}"
    for named, problem, ends in (
        (tmp_path, "contains", hint), (tmp_path / "in", "contains", ""), (tmp_path / "*.png", "matches nothing:", ""),
        (tmp_path / "*.txt", "contains", ""),
    ):  # fmt: skip
        with pytest.raises(InputError) as caught:
            find_files(str(named), videos=videos)
        text = str(caught.value)
        assert text.startswith(f"{named} {problem} {kinds}, such as .jpg, ")
        assert text.endswith(ends)
        assert (".mp4" in text, ".png" in text) == (videos, True)
        assert ("It contains" in text) == bool(ends)


def test_a_folder_that_cannot_be_read_is_named(tmp_path):
    made(tmp_path, "a.png", "in/b.png")
    error = PermissionError(13, "Permission denied", "somewhere")
    files, notes = find_files(str(tmp_path), videos=False, locked=[error])
    assert [file.name for file in files] == ["a.png"]
    assert notes[0] == "somewhere cannot be opened: Permission denied"
    empty = tmp_path / "none"
    empty.mkdir()
    with pytest.raises(InputError, match="none cannot be opened: Permission denied"):
        find_files(str(empty), videos=False, locked=[error])


def test_links_to_files_that_are_inputs_already_are_counted(tmp_path):
    first, second = made(tmp_path, "a.png", "b.png")
    for name, target in (("1.png", "a.png"), ("2.png", "a.png"), ("c.png", "c.png")):
        (tmp_path / name).symlink_to(target)
    files, notes = find_files(str(tmp_path), videos=False)
    assert files == [first, second]
    assert notes == [
        f"{tmp_path}: left out 1 file: c.png", f"{tmp_path}: left out 2 links to files that are inputs already",
    ]  # fmt: skip
    links = [tmp_path / "1.png", tmp_path / "2.png"]
    assert distinct_files(links) == links[:1]
    assert distinct_files([links[0], first, second, links[1]]) == [first, second]
    assert distinct_files([second, first, links[1]]) == [second, first]
    assert distinct_files([]) == []


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("f_%03d.png", ["f_001.png", "f_0010.png", "f_010.png"]),
        ("f_%d.png", ["f_001.png", "f_0010.png", "f_010.png", "f_1.png"]),
        ("f_%04d.png", ["f_0010.png"]), ("f_%1d.png", ["f_001.png", "f_0010.png", "f_010.png", "f_1.png"]),
        ("g%02d", []),
        ("f.%02d.png", ["f.02.png"]), ("[x]%d.png", ["[x]3.png"]), ("f_%05d.png", []),
        ("f_*0.png", ["f_0010.png", "f_010.png"]),
        ("f_?.png", ["f_1.png", "f_x.png"]),
    ],
)  # fmt: skip
def test_the_place_of_a_number_matches_as_many_digits(tmp_path, pattern, found):
    made(
        tmp_path,
        "f_001.png",
        "f_0010.png",
        "f_010.png",
        "f_1.png",
        "f_x.png",
        "f.02.png",
        "fx02.png",
        "[x]3.png",
        "x3.png",
    )
    assert sorted(path.name for path in matching_files(f"{tmp_path}/{pattern}", [])) == sorted(found)
    assert is_pattern(tmp_path / pattern)
    if found:
        assert [path.name for path in image_files(tmp_path / pattern)] == sorted(found, key=natural_key)


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(tmp_path):
    for path in made(tmp_path, "a%03d.png", "a[1].png", "b*.png"):
        assert not is_pattern(path)
    assert not is_pattern(tmp_path / "none.png")
    assert [path.name for path in image_files(tmp_path)] == ["a%03d.png", "a[1].png", "b*.png"]


def test_a_pattern_of_folders_reaches_all_that_are_not_hidden(tmp_path, monkeypatch):
    made(tmp_path, "a.png", "x/b.png", "x/y/c.png", "z/x/d.png", ".h/e.png", "x/.i/f.png")
    monkeypatch.chdir(tmp_path)
    for pattern, found in (
        ("**/*.png", ["a.png", "x/b.png", "x/y/c.png", "z/x/d.png"]), ("x/**/*.png", ["x/b.png", "x/y/c.png"]),
        ("**/x/*.png", ["x/b.png", "z/x/d.png"]), ("**/x/**/*.png", ["x/b.png", "x/y/c.png", "z/x/d.png"]),
        ("*/**/y/*", ["x/y/c.png"]), ("**/y/c.png", ["x/y/c.png"]), ("none/**/*", []),
    ):  # fmt: skip
        assert sorted({os.path.normpath(path) for path in matching_files(pattern, [])}) == found
    assert {path.name for path in matching_files("x/**", []) if path.is_file()} == {"b.png", "c.png"}


def test_files_are_selected_by_kind_in_natural_order(tmp_path):
    names = made(tmp_path, "b10.png", "b9.png", "z.mp4", "a.MP4", "c.txt", "B1.PNG", ".d.png", "in/a.png")
    (tmp_path / "B1.PNG").write_bytes(encoded())
    paths = [*names[:7], tmp_path / "in"]
    images, others = select_files(paths, videos=False)
    assert [path.name for path in images] == ["B1.PNG", "b9.png", "b10.png"]
    assert [path.name for path in others] == ["a.MP4", "c.txt", "z.mp4"]
    images, others = select_files(paths, videos=True)
    assert [path.name for path in images] == ["a.MP4", "B1.PNG", "b9.png", "b10.png", "z.mp4"]
    assert [path.name for path in others] == ["c.txt"]
    assert file_labels(str(tmp_path), paths[:2]) == ["b10.png", "b9.png"]
    assert file_labels(f"{tmp_path}/*", paths[:2]) == [str(path) for path in paths[:2]]


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.PNG", b"x", "image"), ("a.jpeg", b"", "image"), ("a.MKV", b"x", "video"), ("a.gif", b"x", "video"),
        ("a.x", encoded(), "image"), ("a", encoded(".jpg"), "image"), ("a.x", VIDEO, "video"),
        ("a.x", b"GIF89a", "video"),
        ("a.txt", b"some text", None), ("a", b"", None), ("a.x", bytes(4) + (b"G" + bytes(191)) * 2, "video"),
        ("a.x", b"\0\0\0\x10ftypheic" + bytes(8), "image"), ("a.x", b"\0\0\0\x10ftypavif" + bytes(8), "image"),
    ],
)  # fmt: skip
def test_the_kind_of_a_file_is_that_of_its_ending_or_else_its_content(tmp_path, name, content, kind):
    path = tmp_path / name
    assert file_kind(path) is None
    path.write_bytes(content)
    assert file_kind(path) == kind
    (tmp_path / "folder.png").mkdir()
    assert file_kind(tmp_path / "folder.png") is None


def test_images_that_cannot_be_read_are_skipped_or_refused(tmp_path):
    made(tmp_path, "1.png", "2.png", "3.png")
    (tmp_path / "1.png").write_bytes(b"")
    (tmp_path / "3.png").write_bytes(encoded()[:50])
    with open_source(tmp_path) as source:
        assert [(frame.index, frame.time) for frame in source] == [(1, None)]
        assert source.problems == [
            f"{tmp_path}/1.png is empty (0 bytes): copy or export it again",
            f"{tmp_path}/3.png: the image is cut short; copy or export it again",
        ]
        assert source.remarks()[0] == "1.png is empty (0 bytes): copy or export it again"
        assert source.finished
    (tmp_path / "2.png").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        open_source(tmp_path)
    first = f"{tmp_path}/1.png is empty (0 bytes): copy or export it again"
    assert str(caught.value) == f"{tmp_path}: none of its 3 images can be read; first: {first}"


@pytest.mark.parametrize(
    ("names", "numbers", "notes"),
    [
        (("f3.png", "f4.png", "f5.png"), (0, 1, 2), []),
        (("f3.png", "f5.png", "f9.png"), (0, 2, 6), ["{0}: 4 frames missing between the numbers of the files"]),
        (("f3.png", "f5.png"), (0, 2), ["{0}: 1 frame missing between the numbers of the files"]),
        (("s1_3_x7.png", "s1_5_x7.png"), (0, 2), ["{0}: 1 frame missing between the numbers of the files"]),
        (("s1_f3.png", "s2_f4.png"), (0, 1), []), (("s1_f3.png", "s3_f4.png"), (0, 1), []), (("f7.png",), (0,), []),
        (("x.png",), (0,), []),
        (("a.png", "b.png", "c.png"), (0, 1, 2),
         ["{0}: the names have no number that rises from file to file. Gaps are not visible"]),
        (("1.png", "1a2.png"), (0, 1),
         ["{0}: the names have no number that rises from file to file. Gaps are not visible"]),
    ],
)  # fmt: skip
def test_the_last_number_that_rises_is_that_of_the_frame(tmp_path, names, numbers, notes):
    made(tmp_path, *names)
    for fps in (4, 10):
        with open_source(tmp_path, fps=fps) as source:
            assert [frame[:2] for frame in source] == [(number, number / fps) for number in numbers]
            assert (source.fps, source.kind, source.frame_source(0)) == (fps, "video", None)
            assert source.notes == [note.format(tmp_path) for note in notes]
            assert [file.name for file in source.files] == list(names)


@pytest.mark.parametrize(
    ("reading", "problem"),
    [
        (Reading(), None), (Reading(start_s=0.0, end_s=0.1), None), (Reading(every=2), None),
        (Reading(start_s=5, end_s=math.inf), None),
        (Reading(every=0), "every 0: give 1 for all frames, or a larger number"),
        (Reading(every=-3), "every -3: give 1 for all frames, or a larger number"),
        (Reading(start_s=-0.1), "start -0.1: give a time in seconds from 0"),
        (Reading(start_s=math.inf), "start inf: give a time in seconds from 0"),
        (Reading(start_s=math.nan), "start nan: give a time in seconds from 0"),
        (Reading(end_s=0), "end 0: give a time in seconds after the start, 0"),
        (Reading(end_s=-1), "end -1: give a time in seconds after the start, 0"),
        (Reading(end_s=math.nan), "end nan: give a time in seconds after the start, 0"),
        (Reading(start_s=5, end_s=2), "end 2: give a time in seconds after the start, 5"),
    ],
)  # fmt: skip
def test_the_frames_to_read_have_limits_that_are_named(tmp_path, reading, problem):
    (tmp_path / "a.mjpeg").write_bytes(jpegs(4))
    if problem is None:
        with reading.open(tmp_path / "a.mjpeg") as source:
            assert list(source) == [] if reading.start_s else len(list(source)) in (2, 3, 4)
        return
    with pytest.raises(InputError) as caught:
        reading.open(tmp_path / "a.mjpeg")
    assert str(caught.value) == problem


def test_options_that_have_no_effect_are_noted(tmp_path):
    (path,) = made(tmp_path, "a.png")
    rate = "fps applies to videos and folders of images, not to single images"
    with Reading(fps=5, reconnect_s=2).open(path) as source:
        assert source.notes == ["reconnect applies to cameras", rate]
        assert len(list(source)) == 1
    with Reading(fps=5).open(tmp_path) as source:
        assert source.notes == []
    (tmp_path / "b").write_bytes(jpegs(2))
    with Reading(fps=5, reconnect_s=2).open(tmp_path / "b") as source:
        assert source.notes == ["reconnect applies to cameras"]
    with Reading().open(path) as source:
        assert source.notes == []
    source = FolderSource("x", [path], ["a"])
    Reading(fps=5).select(source)
    assert source.notes == [rate]
    assert Reading() == (None, 0, None, 1, 0)


def stdin(monkeypatch, data):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))


def test_an_image_on_standard_input_has_no_file(monkeypatch, tmp_path):
    stdin(monkeypatch, encoded())
    with open_source("-") as source:
        assert (source.kind, source.name, source.files, source.count) == ("image", "standard input", [], 1)
        assert (source.width, source.height, source.finished) == (6, 4, False)
        (frame,) = source
        assert (frame.index, frame.time, source.finished) == (0, None, True)
    stdin(monkeypatch, jpegs(3))
    with open_source("-", fps=2) as source:
        assert [frame.time for frame in source] == [0, 0.5, 1]
    (path,) = made(tmp_path, "a.png")
    with open_source(path) as source:
        assert (source.kind, source.files) == ("image", [path])
        assert source.geometry is not None


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.mp4", b"", "{0} is empty (0 bytes): copy or export it again"),
        ("-", b"", "standard input is empty: pipe an image or a video into it"),
        ("a.mp4", b"some text", "{0} contains text. Use an image, a folder, a glob, a video or camera:0"),
        ("a.png", bytes(99), "{0} is not an image, or damaged from its first byte: copy or export it again"),
        ("a.xyz", bytes(99), "{0} is neither an image nor a video that can be read: Invalid data found when "
         "processing input"),
        ("a.mp4", VIDEO + bytes(99), "{0} is neither an image nor a video that can be read: Invalid data found when "
         "processing input; an MP4 without its index was cut or never finished: copy or record it again"),
        ("-", VIDEO + bytes(99), "standard input is neither an image nor a video that can be read: Invalid data "
         "found when processing input; an MP4 with its index at the end cannot be piped: name the file itself"),
    ],
)  # fmt: skip
def test_what_cannot_be_opened_is_named_with_advice(tmp_path, monkeypatch, name, data, message):
    stdin(monkeypatch, data)
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        open_source("-" if name == "-" else path)
    assert str(caught.value) == message.format(path)


@pytest.mark.parametrize("kind", [b"ftyp", b"mdat", b"wide", b"free", b"moov", b"fty", b""])
def test_the_first_box_of_an_mp4_file_is_known(kind):
    assert is_mp4(b"\0\0\0\x08" + kind + b"x" * 9) == (kind in (b"ftyp", b"mdat", b"wide", b"free"))
    assert not is_mp4(b"\0\0\0\0\x08" + kind)


@pytest.mark.parametrize("ending", [".jpg", ".png", ".bmp", ".webp", ".pgm"])
def test_images_that_follow_each_other_are_a_sequence(ending):
    image = np.random.default_rng(0).integers(0, 255, (200, 300), np.uint8)
    one = cv2.imencode(ending, image)[1].tobytes()
    for more, expected in (
        (one, True), (one[:3], True), (one[:2], False), (b"xyz", False), (b"", False), (one[:1] + b"xy", False),
        (b"x" + one, False)
    ):  # fmt: skip
        for size in (64, len(one), len(one) + len(more)):
            stream = io.BytesIO(one + more)
            found, head = read_sequence(stream.read(size), stream)
            assert head + stream.read() == one + more
            assert found == expected
    stream = io.BytesIO(b"II*\0" + one * 2)
    assert read_sequence(stream.read(64), stream)[0] is False
    assert stream.tell() == 64


@pytest.mark.parametrize("size", [1, 5, 7, 8, 13, 64])
@pytest.mark.parametrize("head", [b"FLV\x01\x05\0\0\0", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", b"\0\0\0\x18ftyp"])
def test_recordings_are_counted_across_the_parts_that_are_read(head, size):
    data = head + b"x" * 20 + head + b"\n" + head[:-1] + b"y" + head
    joined, parts = Rejoined(data[:10], io.BytesIO(data[10:])), []
    while part := joined.read(size):
        assert len(part) <= size
        parts.append(part)
    assert b"".join(parts) == data
    assert joined.heads == 3


def test_a_pattern_of_one_video_is_that_video_and_of_one_image_a_folder(tmp_path):
    made(tmp_path, "a.png")
    (tmp_path / "b.mjpeg").write_bytes(jpegs(3))
    for named, kind, count in (("*.png", "folder", 1), ("*.mjpeg", "video", 3), ("*", "folder", 1)):
        with open_source(f"{tmp_path}/{named}", fps=5 if kind == "video" else None) as source:
            assert (source.kind, len(list(source))) == (kind, count)
            assert source.fps == (5 if kind == "video" else None)


def test_an_address_is_text_and_a_path_is_a_file(monkeypatch):
    monkeypatch.setenv("SONJIT_OFFLINE", "1")
    with pytest.raises(InputError, match=r"SONJIT_OFFLINE is set and rtsp://camera/x is in the network"):
        open_source("rtsp://camera/x")
    with pytest.raises(InputError, match="no such file or folder"):
        open_source(Path("rtsp://camera/x"))
    for named in ("s3://bucket/a.png", "s3://bucket/*.png"):
        with pytest.raises(InputError, match="SONJIT_OFFLINE is set and s3://bucket/"):
            open_source(named)


def test_remote_files_and_folders_are_opened_as_those_of_this_machine():
    system = pytest.importorskip("fsspec").filesystem("memory")
    for name, data in (("a.png", encoded()), ("b.png", encoded()), ("c", jpegs(3)), ("d.png", bytes(99))):
        system.pipe(f"/found/{name}", data)
    try:
        with open_source("memory://found/a.png") as source:
            assert (source.name, source.kind, len(list(source))) == ("memory://found/a.png", "image", 1)
        with open_source("memory://found/c", fps=2) as source:
            (copy,) = source.files
            assert copy.name == "c"
            assert [frame.time for frame in source] == [0, 0.5, 1]
        assert not copy.parent.exists()
        with open_source("memory://found") as source:
            assert [source.frame_source(frame.index) for frame in source] == ["a.png", "b.png"]
            assert (source.files, source.count, len(source.problems)) == ([], 3, 1)
            assert source.notes == ["memory://found: left out 1 file: c"]
        with pytest.raises(InputError) as caught:
            open_source("memory://found/d.png")
        problem = "is not an image, or damaged from its first byte: copy or export it again"
        assert str(caught.value) == f"memory://found/d.png {problem}"
        assert find_files("memory://found/a.png", videos=True) is None
    finally:
        system.rm("/found", recursive=True)


def deep(folder, name, values):
    cv2.imwrite(str(folder / name), np.asarray(values, np.uint16))


@pytest.mark.parametrize("fps", [None, 10])
@pytest.mark.parametrize("ending", [".png", ".tiff"])
def test_16_bit_images_of_a_source_share_their_levels(tmp_path, fps, ending):
    scene = np.linspace(3000, 5000, 40 * 60).reshape(40, 60)
    for number in range(3):
        deep(tmp_path, f"f_{number}{ending}", scene + 200 * number)
    deep(tmp_path, f"f_3{ending}", np.where(np.arange(2400).reshape(40, 60) == 7, 60_000, scene))
    with open_source(tmp_path, fps=fps) as source:
        images = [frame.rgb[..., 0] for frame in source]
    (note,) = source.notes
    assert note.endswith("the same for all images")
    black, white = (int(word) for word in note.split() if word.isdecimal())
    assert (black, white) == (pytest.approx(3000, abs=9), pytest.approx(5400, abs=9))
    np.testing.assert_array_equal(images[0][1:], images[3][1:])  # one pixel of 60000 changes no other
    for number, image in enumerate(images[:3]):
        expected = np.clip((scene + 200 * number - black) * 255 / (white - black), 0, 255)
        np.testing.assert_allclose(image, expected, atol=1.1)


def test_16_bit_images_of_a_wide_range_and_images_after_one_of_8_bits_keep_their_own(tmp_path):
    narrow, wide = (np.linspace(0, end, 2400).reshape(40, 60) for end in (3000, 60_000))
    deep(tmp_path, "1.png", narrow)
    deep(tmp_path, "2.png", wide)
    with open_source(tmp_path) as source:
        assert [frame.rgb.max() for frame in source] == [3000 >> 8, 60_000 >> 8]
    assert source.notes == []
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((40, 60), np.uint8))
    with open_source(tmp_path) as source:
        assert [frame.rgb.max() for frame in source] == [0, 255, 60_000 >> 8]


@pytest.mark.parametrize("pattern", ["{0}/f_%03d.png", "{0}/./f_%03d.png", "{0}//f_%d.png", "{0}/../{1}/f_%02d.png"])
def test_a_pattern_with_a_number_is_found_whatever_its_slashes(tmp_path, pattern):
    made(tmp_path, "f_001.png", "f_002.png", "f_x.png")
    with open_source(pattern.format(tmp_path, tmp_path.name)) as source:
        assert source.count == 2


@pytest.mark.parametrize("folder", ["dir/", "dir\\", "C:\\my shots\\", "\\\\host\\share\\"])
def test_a_pattern_with_a_number_matches_paths_of_windows(folder):
    candidates, matcher = numbered_names(PureWindowsPath(f"{folder}f_%06d.png"))
    for number, is_match in (("000001", True), ("1234567", True), ("00001", False), ("00000x", False)):
        path = PureWindowsPath(folder, f"f_{number}.png")  # as glob gives it
        assert bool(matcher.fullmatch(path.as_posix())) == is_match
        assert path.match(candidates.rpartition("/")[2])
