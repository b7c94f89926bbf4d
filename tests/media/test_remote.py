"""Files on remote storage, with fsspec's `file://` and `memory://`."""

import os
import sys

import cv2
import pytest

from sonjit import InputError, open_source
from sonjit._util import InputNote
from sonjit._util.addresses import hide_secrets, is_address, shown_name
from sonjit.media.sources.remote import RemoteFile, is_remote, remote_files
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


def test_parts_of_the_url_of_a_remote_file_are_those_of_its_path():
    file = RemoteFile("s3://bucket/clips/a.b.mp4")
    assert (file.name, file.stem, file.suffix) == ("a.b.mp4", "a.b", ".mp4")
    assert file.parts == ("bucket", "clips", "a.b.mp4")
    assert str(file) == os.fspath(file) == "s3://bucket/clips/a.b.mp4"
    assert RemoteFile("memory:///bucket/x").parts == ("bucket", "x")
    assert RemoteFile("memory://x").suffix == ""


@pytest.mark.parametrize(
    ("named", "is_storage", "is_camera"),
    [
        ("s3://a", True, False), ("gs://a/b", True, False), ("a1+b://c", True, False), ("C://a", False, False),
        ("c://a", False, False), ("rtsp://a", False, True), ("HTTP://a", False, True), ("https://a", False, True),
        ("rtsps://a", False, True), ("udp://@:9", False, True), ("SRT://a", False, True), ("rtmp://a", False, True),
        ("tcp://a", False, True), ("rtspx://a", True, False), ("a.png", False, False), ("x s3://a", False, False),
        ("s3:/a", False, False),
    ],
)  # fmt: skip
def test_addresses_of_cameras_are_no_storage(named, is_storage, is_camera):
    assert (is_remote(named), is_address(named)) == (is_storage, is_camera)


def test_files_of_a_remote_folder_or_glob_are_listed_without_the_folder(bucket):
    def names(named):
        return sorted(file.url.rpartition("/")[2] for file in remote_files(named))

    every = ["a.png", "b.png", "clip.mp4", "notes.txt"]
    assert names(bucket) == names(f"{bucket}/") == names(f"{bucket}/*") == every
    assert names(f"{bucket}/?.png") == names(f"{bucket}/[ab].png") == ["a.png", "b.png"]
    assert remote_files(f"{bucket}/a.png") is None
    system = fsspec.filesystem("memory")
    system.pipe("/bucket/in/c.png", b"x")
    assert "c.png" not in names(bucket)
    with pytest.raises(InputError) as caught:
        remote_files(f"{bucket}/none")
    assert str(caught.value) == f"{bucket}/none: no such file or folder"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError(13, "Permission denied"), "Permission denied"), (OSError("gone\nfor good"), "gone"),
        (RuntimeError("no answer\nat all"), "no answer"), (RuntimeError(), "RuntimeError"), (OSError(), "OSError"),
    ],
)  # fmt: skip
def test_any_error_of_a_storage_is_its_first_line(bucket, monkeypatch, error, reason):
    def fail(*_):
        raise error

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "cat_file", fail)
    with pytest.raises(InputError) as caught:
        RemoteFile(f"{bucket}/a.png").read_bytes()
    assert str(caught.value) == f"{bucket}/a.png cannot be read: {reason}"


@pytest.mark.parametrize(
    ("value", "is_offline"), [("1", True), ("yes", True), ("0", False), ("", False), (None, False)]
)
def test_only_a_value_other_than_0_is_offline(tmp_path, noise, monkeypatch, value, is_offline):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    if value is None:
        monkeypatch.delenv("SONJIT_OFFLINE", raising=False)
    else:
        monkeypatch.setenv("SONJIT_OFFLINE", value)
    with pytest.raises(InputError) as caught:
        RemoteFile("s3://bucket/a.png").read_bytes()
    assert ("SONJIT_OFFLINE" in str(caught.value)) == is_offline
    (tmp_path / "a").write_bytes(b"abc")
    for scheme in ("file", "local"):
        assert RemoteFile(f"{scheme}://{tmp_path}/a").read_bytes() == b"abc"


@pytest.mark.parametrize(
    ("named", "shown"),
    [
        ("rtsp://admin:S3cret@10.0.0.5:554/a", "rtsp://10.0.0.5:554/a"),
        ("rtsp://admin:S3@cret9@10.0.0.5/a", "rtsp://10.0.0.5/a"),
        ("rtsp://admin:@@10.0.0.5/a", "rtsp://10.0.0.5/a"),
        ("rtsp://admin:S3/cr@et@10.0.0.5/a", "rtsp://10.0.0.5/a"),
        ("rtsp://admin:S3?cr#et@10.0.0.5/a", "rtsp://10.0.0.5/a"),
        ("HTTP://secret@cam/video@2", "HTTP://cam/video@2"),
        ("rtsp://cam/1@2", "rtsp://cam/1@2"), ("rtsp://cam:554/1@2", "rtsp://cam:554/1@2"),
        ("rtsp://[fe80::1]:554/a", "rtsp://[fe80::1]:554/a"),
        ("http://cam/v.cgi?usr=admin&pwd=S3cret", "http://cam/v.cgi?usr=…&pwd=…"),
        ("http://cam/v.cgi?usr=admin;pwd=S3=cret", "http://cam/v.cgi?usr=…;pwd=…"),
        ("http://cam/v.cgi?pwd=S3cret&", "http://cam/v.cgi?pwd=…&"), ("http://cam/v.cgi?S3cret", "http://cam/v.cgi?…"),
        ("http://cam/v.cgi?pwd=S3%26cret#t=S3cret", "http://cam/v.cgi?pwd=…#t=…"),
        ("http://cam/v.cgi?pwd=S3&cret", "http://cam/v.cgi?pwd=…&…"),
        ("http://cam/v.cgi?u=http://x:S3cret@y/", "http://cam/v.cgi?u=…"),
        ("rtsp://cam/user=admin_password=S3cret_channel=1_stream=0.sdp?real", "rtsp://cam/user=…?…"),
        ("srt://cam:9000?passphrase=S3cret&mode=caller", "srt://cam:9000?passphrase=…&mode=…"),
        ("udp://@239.0.0.1:1234", "udp://239.0.0.1:1234"),
        ("s3://bucket/a?.png", "s3://bucket/a?.png"), ("s3://bucket/a.png?X-Key=S3cret", "s3://bucket/a.png?X-Key=…"),
        ("ftp://me:S3@cret@host/a b.mp4", "ftp://host/a b.mp4"), ("a@b:c.png", "a@b:c.png"), ("x=1/y?z=2", "x=1/y?z=2"),
        (r"C:\x=1\y.png", r"C:\x=1\y.png"), ("-", "-"), ("camera:0", "camera:0"),
    ],
)  # fmt: skip
def test_an_address_is_shown_without_its_secrets(named, shown):
    assert shown_name(named) == shown
    assert shown_name(shown) == shown
    assert "cret" not in shown or "cret" not in named.lower()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp:/admin:S3@cret@10.0.0.5/a?pwd=S3cret: no such file", "rtsp://10.0.0.5/a?pwd=…: no such file"),
        ("s3:/bucket/a.png: no such file", "s3://bucket/a.png: no such file"),
        ("host:/data/a.mp4: no such file", "host:/data/a.mp4: no such file"),
        ("'http://me:S3cret@cam/', or 'x'", "'http://cam/', or 'x'"),
        ('value "rtsp://me:S3 cret@cam/a".', 'value "rtsp://cam/a".'),
        ("rtsp://cam:554/a,rtsp://me:S3cret@cam/b", "rtsp://cam:554/a,rtsp://cam/b"),
        ("rtsp://cam:554/a is lost; write to me@cam", "rtsp://cam:554/a is lost; write to me@cam"),
        ("colour='rtsp://admin:S3cre': give #rrggbb", "colour='rtsp://…': give #rrggbb"),
        ("http://127.0.0.1:8765/", "http://127.0.0.1:8765/"), ("C:/a=1/b@c: no such file", "C:/a=1/b@c: no such file"),
        ("ws://me:S3cret@cam:9/x", "ws://cam:9/x"), ("a/b=c.mp4 and d@e:f", "a/b=c.mp4 and d@e:f"),
    ],
)  # fmt: skip
def test_messages_have_no_secrets_of_addresses(text, shown):
    assert hide_secrets(text) == str(InputError(text)) == str(InputNote(text)) == shown
    assert hide_secrets(shown) == shown


def test_secrets_of_remote_files_are_in_no_message_name_or_label(monkeypatch):
    monkeypatch.delenv("SONJIT_OFFLINE", raising=False)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    for named in ("s3://me:S3@cret@bucket/a.png", "s4://me:S3cret@bucket/a.png", "s3://bucket/a?token=S3cret"):
        with pytest.raises(InputError) as caught:
            open_source(named)
        assert "cret" not in str(caught.value)
    file = RemoteFile("ftp://me:S3@cret@host/clips/a.mp4")
    assert os.fspath(file) == file.url
    assert "cret" not in "".join([str(file), *file.parts, file.name])
