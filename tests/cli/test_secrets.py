"""Addresses in messages: as they are typed, but without the user, the password and the query."""

import re

import pytest
from PIL import Image

from sonjit._util import InputError
from sonjit.cli import main
from sonjit.media import load_frames, open_writer
from sonjit.media.tables.base import Header

from .conftest import NEEDS_STUDIO

ADDRESSES = (
    "rtsp://admin:S3@zkq@127.0.0.1:9/live?usr=S3zkq&pwd=S3zkq",
    "http://me:S3 zkq@127.0.0.1:9/v.cgi?pwd=S3zkq.csv",
)
COMMANDS = (
    "{}", "hands {}", "hands {} photo.png", "hands photo.png --save {}", "hands photo.png --draw {}",
    "hands photo.png --models-dir {}", "hands photo.png --landmark-model {}", "hands photo.png --gestures {}",
    "hands photo.png --draw-colour {}", "hands photo.png --count {}", "hands photo.png --events {}",
    "hands photo.png --roi {}", "hands photo.png --model {}", "hands photo.png --max-instances {}",
    "hands photo.png --camera {}", "hands photo.png --workers {}", "hands photo.png --device {}",
    "body photo.png --mask {}", "control {}", "control {} clip.mp4", "control map.toml clip.mp4 --gestures {}",
    "motions {} --save {}", "stream photo.png --to {}", "report {}", "report clip.mp4 --save {}",
    "report clip.mp4 --before {}", "report clip.mp4 --save r.html --motion {}",
    "gestures record fist photo.png --to {}", "gestures train {} --out a.json", "gestures train photos --out {}",
    "gestures list {}", "gestures export clip.mp4 --out {}", "demo --out {}", "demo --copy {}", "page {}",
    "page out --engine {}", "serve --cert {}", "serve --jobs-folder {}", "serve --host {}", "serve --allow-origin {}",
    "models add {}", "models pull {}", "models path {}", "explain photo.png --weights {}",
    "segment photo.png --save {}", "nothing {}", "{} photo.png",
)  # fmt: skip

ANNOTATE = (
    "annotate {}", "annotate new {}", "annotate new {} --cameras {} --views photo.png",
    "annotate new desk --cameras {} --views photo.png", "annotate open {}", "annotate auto {}", "annotate rank {}",
    "annotate train {}", "annotate error {}", "annotate agreement {}", "annotate release {} out",
    "annotate cameras {}", "annotate cameras photo.png {}", "annotate sync {}", "annotate triangulate {}",
    "annotate surfaces {}", "annotate export {}", "annotate calibrate {}", "annotate board {}",
)  # fmt: skip


@pytest.mark.parametrize("address", ADDRESSES, ids=["rtsp", "http"])
@pytest.mark.parametrize("command", [*COMMANDS, *(pytest.param(each, marks=NEEDS_STUDIO) for each in ANNOTATE)])
def test_no_command_shows_or_creates_the_secrets_of_an_address(command, address, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SONJIT_OFFLINE", "1")
    Image.new("RGB", (64, 48), (90, 80, 70)).save("photo.png")
    (tmp_path / "map.toml").write_text("")
    before = sorted(tmp_path.rglob("*"))
    status = main([word.format(address) for word in command.split()])
    shown = "".join(capfd.readouterr())
    assert status in (1, 2)
    assert "zkq" not in shown
    assert re.search(r"(rtsp|http):/[^/]", shown) is None
    assert shown.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("address", ADDRESSES)
def test_errors_of_python_have_no_secrets(address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for call in (load_frames, lambda path: open_writer(path, Header("a"))):
        with pytest.raises(InputError) as caught:
            call(address)
        assert "zkq" not in str(caught.value)
        assert "127.0.0.1" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_commands_that_are_printed_and_addresses_that_receive_have_no_secrets(media, tmp_path, capfd):
    rules, clip = tmp_path / "map.toml", str(media / "clip.mp4")
    rules.write_text('[[rule]]\nmeasure = "x"\npost = "http://me:S3zkq@127.0.0.1:9/hook?key=S3zkq"\n')
    assert main(["control", str(rules), clip, "--dry-run"]) == 0
    out = capfd.readouterr().out
    assert '"post":"http://127.0.0.1:9/hook?key=…"' in out.replace(": ", ":")
    assert "zkq" not in out
    assert main(["control", str(rules), clip]) == 0
    assert "zkq" not in "".join(capfd.readouterr())
