import ntpath
from contextlib import suppress
from pathlib import Path, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit._util.errors import InputError
from sonjit.server import job_files
from sonjit.server.job_files import Upload, split_name

BOUNDARY = "b0und"
TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def form(files, field="file"):
    """Return a multipart body with files of (name, content)."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
        f"Content-Type: application/octet-stream\r\n\r\n".encode()
        + content
        + b"\r\n"
        for name, content in files
    ]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def receive(folder, body, cuts=(), content_type=TYPE, name="upload"):
    upload = Upload(folder, content_type, name)
    try:
        for start, end in zip((0, *cuts), (*cuts, len(body)), strict=True):
            upload.feed(body[start:end])
        upload.finish()
    finally:
        upload.close()
    return upload


@pytest.fixture
def into(tmp_path):
    """Return a function that gives a new empty folder."""
    made = iter(range(10_000))

    def new():
        folder = tmp_path / str(next(made))
        folder.mkdir()
        return folder

    return new


contents = st.binary(max_size=200) | st.sampled_from([b"\r\n", b"--b0und", b"\r\n--b0un", b"\r\n--b0un\r\n--"])


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    return tmp_path_factory.mktemp


@given(st.lists(contents, max_size=4), st.data())
def test_a_form_gives_its_files_however_it_is_cut(numbered, files, draw):
    body = form([(f"손 {i}.bin", content) for i, content in enumerate(files)])
    cuts = sorted(draw.draw(st.sets(st.integers(0, len(body)), max_size=6)))
    upload = receive(numbered("form"), body, cuts)
    assert [file.name for file in upload.files] == [f"손 {i}.bin" for i in range(len(files))]
    assert [file.read_bytes() for file in upload.files] == files


@given(st.binary(max_size=200), st.integers(0, 200))
def test_any_other_body_is_one_file(numbered, body, cut):
    upload = receive(numbered("raw"), body, [min(cut, len(body))], "video/mp4", "a/../clip.mp4")
    (file,) = upload.files
    assert (file.name, file.read_bytes()) == ("clip.mp4", body)


@given(
    st.binary(max_size=300), st.sampled_from([TYPE, "multipart/form-data; boundary=", "multipart/form-data", "x;=;"])
)
def test_no_body_does_worse_than_an_input_error(numbered, junk, content_type):
    folder = numbered("junk")
    with suppress(InputError):
        receive(folder, form([("a.jpg", b"x")])[:60] + junk, content_type=content_type)
    assert all(file.parent == folder for file in folder.rglob("*"))


def test_folders_hidden_files_and_other_fields(into):
    files = [("shots/b/9.jpg", b"1"), ("shots/b/9.jpg", b"2"), ("shots/.DS_Store", b"3"), ("shots/b/B.jpg", b"4")]
    upload = receive(into(), form(files))
    assert upload.folder == "shots"
    assert [(file.name, file.read_bytes()) for file in upload.files] == [
        ("b_9.jpg", b"1"), ("b_9_2.jpg", b"2"), ("b_B.jpg", b"4"),
    ]  # fmt: skip
    assert receive(into(), form([("a.jpg", b"x")], field="comment")).files == []


def test_a_form_that_was_cut(into):
    body = form([("a.jpg", b"x" * 50)])
    for end in (0, 30, len(body) - 20, len(body) - 6):
        with pytest.raises(InputError, match="cut"):
            receive(into(), body[:end])


def test_too_many_files(into, monkeypatch):
    monkeypatch.setattr(job_files, "MAX_FILES", 3)
    files = [(f"{i}.jpg", b"") for i in range(4)]
    assert len(receive(into(), form(files[:3])).files) == 3
    with pytest.raises(InputError, match="more than 3 files"):
        receive(into(), form(files))


def test_headers_without_end(into):
    body = f"--{BOUNDARY}\r\nContent-Disposition: ".encode() + b"x" * 100_000
    with pytest.raises(InputError, match="damaged"):
        receive(into(), body)


is_reserved = getattr(ntpath, "isreserved", lambda name: PureWindowsPath(name).is_reserved())  # from Python 3.13 on
devices = st.sampled_from(["con", "NUL", "aux", "Com1", "lpt\u00b2", "conin$", "prn"])
on_windows = st.tuples(
    st.sampled_from(["", " ", ".", "a/"]), devices, st.sampled_from(["", ".", ".png", " .png", ":x"])
)
anything = (
    on_windows.map("".join)
    | st.text()
    | st.text("./\\:ab \0\n", max_size=30)
    | st.text("한é.", min_size=80, max_size=400)
)


@given(anything)
def test_any_sent_name_becomes_a_visible_file_of_one_folder(tmp_path_factory, sent):
    folder, name = split_name(sent)
    for part in (name, folder):
        if part is not None:
            assert Path(part).name == part
            assert PureWindowsPath(part).parts == (part,)
            assert not is_reserved(part)
            assert part == part.strip(". ")
            assert not set(part) & set('<>:"|?*')
            assert all(character >= " " for character in part)
            assert len(part.encode()) <= 160
    target = tmp_path_factory.getbasetemp() / name
    target.write_bytes(b"x")  # the file system takes it
    target.unlink()


def test_names_that_climb():
    for sent in ("../../etc/passwd.png", "/etc/passwd.png", "C:\\Windows\\passwd.png", "a/./../passwd.png"):
        assert split_name(sent)[1].endswith("passwd.png")
        assert "/" not in split_name(sent)[1]


def test_progress_counts_frames_and_instances_and_begins_again():
    sent = []
    progress = job_files._SentProgress(sent.append)
    for _ in range(2):
        progress.start(7)
        progress.advance(instances=2)
        progress.advance(3, instances=5)
    expected = [{"of": 7, "frames": 0, "instances": 0}, {"frames": 1, "instances": 2}, {"frames": 4, "instances": 7}]
    assert sent == 2 * expected
