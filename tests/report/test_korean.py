"""A report in Korean has Korean texts only, and every language has all texts."""

import re
import string
from typing import get_args

import numpy as np
import pytest
from tests.support.moving_people import frames_of, knees_of, squat, walker

from sonjit import Frame, InputError
from sonjit.media import Header, open_writer
from sonjit.report import conventions, documents, fonts, joint_angles, texts
from sonjit.report.comparison import earlier_report
from sonjit.report.recording import recording_of
from sonjit.runs.annotations import AngleLimits

CONVENTIONS = "straight", "clinical"
KNEE = "left_knee_angle_rad"
LABELS = joint_angles.Labels("스쿼트", "김민지", "무릎 수술 후 6주", "2026-01-02")
FOREIGN = {"full", "sonjit", "report", "before"}  # names of networks, commands and files
WORD = re.compile(r"[A-Za-z]{2,}")


def fields(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def readable(page):
    """Return what a reader sees of a page."""
    body = page[page.index("<body>") :]
    labels = " ".join(re.findall(r'(?:alt|aria-label|lang)="([^"]*)"', body))
    body = re.sub(r"<(style|script|defs|metadata)\b.*?</\1>|<!--.*?-->", " ", body, flags=re.DOTALL)
    return f"{labels} {re.sub('<[^>]*>', ' ', body)}"


def recorded(knees, **options):
    return recording_of("a.mp4", "full", frames_of(knees), (AngleLimits(KNEE),), **options)


def walking_frames():
    bodies = walker()
    for body in bodies:
        body.keypoints_3d[:, 2] += 0.01
    return [Frame(k, k / 30, bodies=[body]) for k, body in enumerate(bodies)]


@pytest.fixture(params=CONVENTIONS)
def recordings(request):
    """Recordings whose pages have all texts: repetitions and incomplete ones, gaps, a walk, another person."""
    options = {"convention": request.param, "language": "ko"}
    incomplete = [*squat(90)[25:], *squat(80), *squat(90)[:40], *[None] * 40, *squat(90)[50:], *squat(85)[:40]]
    pair = frames_of(squat(90))
    pair[3].bodies.append(frames_of([90])[0].bodies[0])
    pair[3].bodies[1].id = 7
    rare = frames_of(squat(90))
    for frame in rare[10:]:
        frame.bodies[0].visibility[25:] = 0
    return [
        recorded(incomplete, **options),
        recording_of("b.mp4", "full", pair, (AngleLimits(KNEE),), person=3, **options),
        recording_of("c.mp4", "full", rare, (), **options),
        recording_of("d.mp4", "full", walking_frames(), (), height_m=1.7, **options),
        recorded([170.0] * 20, **options),
    ]


def written_lines(lines, x_title, title, **options):
    """Return the texts of a plot, which takes long to draw."""
    return f'<svg viewBox="0 0 1 1"><text>{" ".join(line.name for line in lines)} {x_title} {title}</text></svg>'


@pytest.fixture
def quick_plots(monkeypatch):
    """Write the texts of plots instead of drawing them."""
    monkeypatch.setattr(documents, "lines_svg", written_lines)


@pytest.mark.usefixtures("quick_plots")
def test_each_text_of_a_page_is_korean(recordings, tmp_path):
    joint_angles.write_page(tmp_path / "before.html", [recordings[0]], [[]], labels=joint_angles.Labels(title="before"))
    earlier = earlier_report(tmp_path / "before.html")
    for recording in recordings:
        pictures = [(moment.caption, np.zeros((20, 30, 3), np.uint8)) for moment in recording.moments]
        joint_angles.write_page(tmp_path / "k.html", [recording], [pictures], labels=LABELS, earlier=earlier)
        page = (tmp_path / "k.html").read_text("utf-8")
        assert '<html lang="ko">' in page
        foreign = set(WORD.findall(readable(page).replace(recording.name, ""))) - FOREIGN
        assert foreign == set()
    assert recordings[3].gait is not None


@pytest.mark.parametrize("language", get_args(texts.Language)[1:])
def test_translations_have_all_texts_with_the_fields_of_the_english_ones(language):
    found = texts.translations(language)
    assert found.keys() == texts.translations("ko").keys()
    assert [text for text, other in found.items() if fields(text) != fields(other)] == []
    assert [text for text, other in found.items() if not other.strip()] == []


def test_a_pdf_in_korean_requires_a_font(monkeypatch, tmp_path):
    monkeypatch.setattr(fonts, "installed_fonts", lambda: ["DejaVu Sans"])
    with pytest.raises(InputError, match="no font has the letters of ko"):
        joint_angles.require_fonts(tmp_path / "k.pdf", "ko")
    joint_angles.require_fonts(tmp_path / "k.html", "ko")
    names = "\N{HANGUL SYLLABLE JEON}.mp4", "\N{HANGUL SYLLABLE HU}.mp4"  # their letters are left out
    videos = [knees_of(recording_of(name, "full", frames_of(squat(90)), (AngleLimits(KNEE),))) for name in names]
    joint_angles.write_page(tmp_path / "k.pdf", videos, [[], []])
    assert (tmp_path / "k.pdf").read_bytes()[:4] == b"%PDF"


@pytest.mark.usefixtures("quick_plots")
def test_the_page_of_a_server_is_korean_with_its_note(tmp_path):
    with open_writer(tmp_path / "a.jsonl", Header(kind="bodies")) as writer:
        for frame in frames_of([*squat(90), *[170] * 10]):
            writer.write(frame)
    joint_angles.write_report(tmp_path / "k.html", tmp_path / "a.jsonl", None, "a.mp4", "full", language="ko")
    page = readable((tmp_path / "k.html").read_text("utf-8"))
    assert set(WORD.findall(page.replace("a.mp4", ""))) - FOREIGN == set()
    assert texts.translations("ko")[joint_angles._PLAIN].split("`")[0] in page
    assert {*conventions.WORDS.values(), conventions.SIGNS} <= set(texts.translations("ko"))


def test_repetitions_are_counted_by_default_unless_the_person_walks():
    walking = recording_of("a.mp4", "full", walking_frames(), None)
    assert walking.counted == ()
    assert "steps, " in walking.headline
    standing = recording_of("a.mp4", "full", walking_frames()[:5], None)
    assert {limits.measure for limits in standing.counted} == {"left_knee_angle_rad", "right_knee_angle_rad"}
