"""Texts, plots and headings of a report as PDF."""

import re
import zlib
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tests.support.moving_people import frames_of, knees_of, squat

from sonjit.report import fonts, joint_angles
from sonjit.report.recording import recording_of
from sonjit.report.texts import Language
from sonjit.runs.annotations import AngleLimits

COUNTED = (AngleLimits("left_knee_angle_rad"),)


def contents_of(path: Path) -> list[bytes]:
    """Return the decompressed contents of the pages and drawings of a PDF."""
    contents: list[bytes] = []
    for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", path.read_bytes(), re.DOTALL):
        with suppress(zlib.error):
            contents.append(zlib.decompress(stream))
    return contents


def checked_texts(content: bytes) -> int:
    """Return the number of texts of a page. Each one must have a font, as readers leave out others."""
    count, font, saved = 0, b"", list[bytes]()
    tokens = re.findall(rb"\((?:\\.|[^\\)])*\)|[^\s()]+", content, re.DOTALL)
    for (before, _), (size, token) in zip(pairwise([b"", b"", *tokens]), pairwise([b"", *tokens]), strict=False):
        if token == b"q":
            saved.append(font)
        elif token == b"Q":
            font = saved.pop() if saved else b""
        elif token == b"Tf":
            font = before + size
        elif token in (b"Tj", b"TJ"):
            assert font, content[:200]
            count += 1
    return count


@pytest.mark.parametrize("language", ["ko", "en"])
def test_every_text_of_a_pdf_has_a_font_with_its_letters(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, language: Language
) -> None:
    if not set(fonts.FONTS["ko"]) & set(fonts.installed_fonts()):
        pytest.skip("no font with Korean letters is installed")
    knees = [*squat(80), *squat(90)[:40]]
    recording = knees_of(recording_of("스쿼트 1월.mov", "full", frames_of(knees), COUNTED, language=language))
    labels = joint_angles.Labels("스쿼트", "김민지", "무릎 수술 후 6주", "2026-01-02")
    joint_angles.write_page(tmp_path / "k.pdf", [recording], [[]], labels=labels)
    assert sum(map(checked_texts, contents_of(tmp_path / "k.pdf"))) > 100
    assert "glyph" not in caplog.text  # fpdf2 logs letters that no font has


def test_a_plot_next_to_two_images_has_a_row_of_its_own(tmp_path: Path) -> None:
    """The page of a movement without repetitions has two images. The plot below them is not narrow."""
    recording = recording_of("a.mp4", "full", frames_of([170 - 0.9 * k for k in range(70)]), None)
    shown = [
        (moment.caption, np.full((400, 600, 3), 50 * k, np.uint8)) for k, moment in enumerate(recording.moments, 1)
    ]
    assert len(shown) == 2
    joint_angles.write_page(tmp_path / "a.pdf", [knees_of(recording)], [shown])
    pages = [content for content in contents_of(tmp_path / "a.pdf") if b"/I1 Do" in content]
    (first,) = (content for content in pages if b"/I2 Do" in content)
    images = re.findall(rb"([\d.]+) 0 0 ([\d.]+) ([\d.]+) ([\d.]+) cm /I\d Do", first)
    widths = [float(width) for width, *_ in images]
    assert len(widths) == 2
    assert min(widths) > 200  # points: both fill the width of the page
