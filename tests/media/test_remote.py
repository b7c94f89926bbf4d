"""Files on remote storage, with fsspec's `file://` and `memory://`."""

import sys

import cv2
import pytest

from sonjit import InputError, open_source
from sonjit.runs import Inputs

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def photo_file(tmp_path, noise):
    assert cv2.imwrite(str(tmp_path / "photo.png"), noise)
    return tmp_path / "photo.png"


@pytest.fixture
def clip_file(clip):
    return clip("clip.mp4")


@pytest.fixture
def bucket(photo_file, clip_file):
    system = fsspec.filesystem("memory")
    for name, file in (("a.png", photo_file), ("b.png", photo_file), ("clip.mp4", clip_file)):
        system.pipe(f"/bucket/{name}", file.read_bytes())
    system.pipe("/bucket/notes.txt", b"no image")
    yield "memory://bucket"
    system.rm("/bucket", recursive=True)


def test_a_file_is_read_and_its_copy_removed(bucket, photo_file, clip_file):
    with open_source(f"{bucket}/a.png") as source, open_source(photo_file) as same:
        assert (source.name, source.kind) == (f"{bucket}/a.png", "image")
        assert (next(iter(source)).rgb == next(iter(same)).rgb).all()
    with open_source(f"{bucket}/clip.mp4") as source, open_source(clip_file) as same:
        (copy,) = source.files
        assert copy.is_file()
        assert [frame.time for frame in source] == [frame.time for frame in same]
    assert not copy.exists()


def test_a_folder_and_a_glob_are_their_images(bucket):
    for named, labels in ((bucket, ["a.png", "b.png"]), (f"{bucket}/b*", ["memory:///bucket/b.png"])):
        with open_source(named) as source:
            assert source.kind == "folder"
            assert [source.frame_source(frame.index) for frame in source] == labels


def test_inputs_hold_videos_too_and_keep_where_they_lie(bucket):
    found = Inputs.find([bucket])
    assert [file.url for file in found.files] == [f"memory:///bucket/{name}" for name in ("a.png", "b.png", "clip.mp4")]
    assert found.labels == ("a.png", "b.png", "clip.mp4")
    assert Inputs.find([f"{bucket}/a.png"]).files is None


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("memory://nothing/a.png", "memory://nothing/a.png: no such file"),
        ("{bucket}/notes.txt", "{bucket}/notes.txt contains text"),
        ("{bucket}/*.tif", "matches nothing: no images"),
        ("s4://bucket/a.png", "s4://bucket/a.png cannot be opened .Protocol not known: s4"),
    ],
)
def test_errors_of_reading_are_one_line(bucket, named, words):
    with pytest.raises(InputError, match=words.format(bucket=bucket)) as caught:
        open_source(named.format(bucket=bucket))
    assert "\n" not in str(caught.value)


def test_a_file_that_vanishes_while_its_folder_is_read_is_named(bucket):
    with open_source(bucket) as source:
        fsspec.filesystem("memory").rm("/bucket/b.png")
        assert [frame.index for frame in source] == [0]
    (problem,) = source.problems
    assert problem.startswith("memory:///bucket/b.png cannot be read: ")


def test_storage_without_its_package_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delenv("SONJIT_OFFLINE", raising=False)
    with pytest.raises(InputError, match=r"s3://bucket/a.jpg: .*s3fs"):
        open_source("s3://bucket/a.jpg")


def test_offline_forbids_remote_files(bucket, monkeypatch):
    monkeypatch.setenv("SONJIT_OFFLINE", "1")
    with pytest.raises(InputError, match=r"SONJIT_OFFLINE is set and s3://bucket/a.jpg is in the network"):
        open_source("s3://bucket/a.jpg")
    open_source(f"{bucket}/a.png").close()
