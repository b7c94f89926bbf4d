"""The tutorial on a first network runs as it stands, with few images and steps."""

import re
import shlex
import shutil

import pytest

from sonjit.cli import main

from .test_pages import DOCS, blocks_of

PAGE = DOCS / "tutorials" / "first-network.md"
FEW = "batch=2 --set workers=0"  # workers are forks, which lack the threads of this process for networks and OpenGL
SMALL = {r"--count \d+": "--count 12", r"256x256": "128x128", r"--steps \d+": "--steps 2", r"batch=4": FEW}


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.usefixtures("weights")
def test_from_data_to_a_card(reader_files, tmp_path, monkeypatch, capfd):
    pytest.importorskip("moderngl", reason="moderngl is not installed; type: pip install sonjit-lab[synth]")
    monkeypatch.chdir(tmp_path)
    shutil.copy(reader_files / "photo.jpg", tmp_path)
    ran = []
    for block in blocks_of(PAGE):
        assert block.language == "sh"
        code = block.code.replace("\\\n", " ")
        for before, after in SMALL.items():
            code = re.sub(before, after, code)
        for line in code.splitlines():
            program, *words = shlex.split(line, comments=True)
            assert program == "sonjit"
            if "hand.tflite" in words:
                continue  # needs an extra
            assert main(words) == 0, (line, capfd.readouterr().err)
            ran.append(words[0])
    assert ran == ["synth", "synth", "train", "hands", "eval", "card"]
    assert (tmp_path / "runs/first/report.html").is_file()
    assert (tmp_path / "drawn.jpg").is_file()
    assert "my-hands" in (tmp_path / "cards/my-hands.md").read_text("utf-8")
