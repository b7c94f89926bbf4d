import json
import re
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonjit import InputError
from sonjit.cli import main
from sonjit_studio.synchronisation import (
    Timecode,
    Timeline,
    flash_times,
    onsets,
    read_stamps,
    read_timeline,
    synchronise,
)

FPS = 30


def _line(flashes, *, offset=0.0, drift_ppm=0.0, fps=FPS, seconds=20.0, start=0):
    """Return the images of a camera whose clock shows 0 at `offset`, with light over the complete frame period."""
    own = np.arange(round(seconds * fps)) / fps
    true = own * (1 + drift_ppm * 1e-6) + offset
    light = np.zeros(len(own))
    for at in flashes:
        light += np.clip((true + 0.5 / fps - at) * fps, 0, 1) - np.clip((true + 0.5 / fps - at - 0.3) * fps, 0, 1)
    noise = np.random.default_rng(len(own)).normal(0, 0.3, len(own))
    return Timeline(np.arange(len(own)) + start, own, 60 + 80 * light + noise)


@given(st.floats(-3, 3), st.floats(-500, 500), st.sampled_from([FPS, 25, 60]))
def test_flashes_give_offset_and_drift_with_subframe_precision(offset, drift_ppm, fps):
    flashes = [5.0, 9.31, 12.4, 15.77]
    lines = {"a": _line(flashes), "b": _line(flashes, offset=offset, drift_ppm=drift_ppm, fps=fps)}
    clock = synchronise(lines, "flash").clocks["b"]
    middle = 10.0  # of the recording: offset and drift hang together
    estimated = clock.offset_s + middle * clock.drift_ppm * 1e-6
    assert estimated == pytest.approx(offset + middle * drift_ppm * 1e-6, abs=0.35 / FPS)
    assert clock.drift_ppm == pytest.approx(drift_ppm, abs=2500)  # a third of an image over ten seconds
    assert clock.rms_s < 0.5 / FPS


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([24, 30, 60]), st.floats(0, 0.9), st.integers(0, 10**6)), min_size=2, max_size=4)
)
def test_an_image_belongs_to_one_frame_set_and_times_do_not_decrease(cameras):
    lines = {}
    for number, (fps, jitter, seed) in enumerate(cameras):
        rng = np.random.default_rng(seed)
        times = np.sort((np.arange(40) + rng.uniform(-jitter, jitter, 40)) / fps)
        kept = np.flatnonzero(rng.random(40) < 0.9)  # the others were dropped
        lines[f"cam{number}"] = Timeline(kept, times[kept], np.full(len(kept), 60.0))
    found = synchronise(lines, "time")
    slowest_s = max(line.period_s for line in lines.values())
    assert ((found.images >= 0).sum(1) >= 2).all()
    for column, line in enumerate(lines.values()):
        numbers = found.images[:, column]
        there = numbers >= 0
        assert (np.diff(numbers[there]) > 0).all()
        assert set(numbers[there]) <= set(line.index)
        delays = line.time_s[np.searchsorted(line.index, numbers[there])] - found.times_s[there]
        assert (np.abs(delays) <= slowest_s / 2 + 1e-6).all()


def test_numbers_match_images_and_gaps_are_reported():
    b = _line([5.0])
    kept = np.delete(np.arange(len(b.index)), [7, 8])
    holes = Timeline(
        b.index[kept], b.time_s[kept], b.brightness[kept], duplicates=(40,), problems=("frame 7: damaged",)
    )
    found = synchronise({"a": b, "b": holes}, "index")
    assert found.images[7].tolist() == [7, -1]
    assert found.images[9].tolist() == [9, 9]
    warnings = "\n".join(found.warnings)
    for part in (
        "unequal length",
        "b: 1 image repeats the previous one, first 40",
        "b: 2 images are missing after 6",
        "b: frame 7: damaged",
        "b: no image of 2 of 600 frame sets",
    ):
        assert part in warnings
    assert not synchronise({"a": b, "b": b}, "index").warnings


def test_timecodes_are_times_of_day():
    a, b = _line([]), _line([])
    lines = {
        "a": Timeline(a.index, a.time_s, a.brightness, Timecode.of("10:00:00:00", FPS)),
        "b": Timeline(b.index, b.time_s, b.brightness, Timecode.of("10:00:02:00", FPS)),
    }
    found = synchronise(lines, "timecode")
    assert found.clocks["b"].offset_s == pytest.approx(2)
    assert found.images[0].tolist() == [2 * FPS, 0]
    with pytest.raises(InputError, match="'a': its video states no timecode"):
        synchronise({"a": a, "b": b}, "timecode")


def test_recordings_that_cannot_be_synchronised_are_named():
    with pytest.raises(InputError, match="'b' saw no flash"):
        synchronise({"a": _line([5.0]), "b": _line([])}, "flash")
    with pytest.raises(InputError, match="do not fit together"):
        synchronise({"a": _line([4.0, 5.0, 9.0, 13.0]), "b": _line([2.0, 7.3, 8.1, 15.0])}, "flash")
    still = Timeline(np.arange(5), np.full(5, np.nan), np.zeros(5))
    with pytest.raises(InputError, match="'a' has images without times"):
        synchronise({"a": still}, "time")


@pytest.fixture
def video(tmp_path):
    """Return 24 images with a light from the 10th on. The 5th repeats the 4th."""
    path = tmp_path / "v.mov"
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        container.metadata["timecode"] = "10:00:02:12"
        stream = container.add_stream("mpeg4", rate=24)
        stream.bit_rate = 4_000_000
        stream.width, stream.height = 64, 48
        for number in range(24):
            if number != 5:
                level = 200 if number >= 10 else 40
                image = np.clip(level + rng.normal(0, 12, (48, 64, 3)), 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_a_videos_timeline(video, tmp_path):
    line = read_timeline(video)
    assert line.index.tolist() == list(range(24))
    assert line.period_s == pytest.approx(1 / 24, abs=1e-3)
    assert line.duplicates == (5,)
    assert line.timecode.start_s == pytest.approx(36002.5)
    assert flash_times(line) == pytest.approx([9.5 / 24], abs=0.5 / 24)
    stamps = tmp_path / "v.txt"
    stamps.write_text("\n".join(str(5 + number / 10) for number in range(24)))
    assert read_timeline(video, read_stamps(tmp_path, "v")).time_s[3] == pytest.approx(5.3)
    stamps.write_text("\n".join(str(1000 * number / 10) for number in range(24)))
    assert read_timeline(video, read_stamps(tmp_path, "v")).problems == (
        "its times are 100 s apart; must be seconds, not milliseconds or nanoseconds",
    )
    stamps.write_text("1 2 3")
    with pytest.raises(InputError, match="3 times for 24 images"):
        read_timeline(video, read_stamps(tmp_path, "v"))
    stamps.write_text("now")
    with pytest.raises(InputError, match="a time in seconds"):
        read_stamps(tmp_path, "v")


def test_a_table_of_times_has_those_of_every_camera(tmp_path):
    table = tmp_path / "timestamps.csv"
    table.write_text("sync_index,cam_id,frame_time\n35,2,25.1\n35,3,25.2\n36,2,25.3\n")
    assert read_stamps(table, "cam_2").tolist() == [25.1, 25.3]
    assert read_stamps(table, "3").tolist() == [25.2]
    assert read_stamps(table, "boards_cam3").tolist() == [25.2]
    (tmp_path / "cam2.txt").write_text("1 2")
    assert read_stamps(tmp_path, "boards_Camera_2").tolist() == [1, 2]
    with pytest.raises(InputError, match="no times of camera 'cam_1'"):
        read_stamps(table, "cam_1")
    table.write_text("sync_index,cam_id,frame_time\n35,2," + "1" * 200_000)
    with pytest.raises(InputError, match="a table of times is wanted"):
        read_stamps(table, "cam_2")


def _heard(claps, seconds, *, offset=0.0, drift_ppm=0.0, seed=0):
    """Return the 16 kHz signal of a microphone with echo and noise whose clock shows 0 at `offset`."""
    rng = np.random.default_rng(seed)
    samples = rng.normal(0, 10 ** rng.uniform(-4, -3), round(seconds * 16000))
    tail = rng.normal(size=3200) * np.exp(-np.arange(3200) / rng.uniform(200, 800))
    for at in claps:
        first = round((at - offset) / (1 + drift_ppm * 1e-6) * 16000)
        if 0 <= first < len(samples) - len(tail):
            samples[first : first + len(tail)] += rng.uniform(0.02, 0.5) * tail
    return np.clip(samples, -1, 1)


def _with_sound(claps, *, seconds=12.0, **clock):
    own = np.arange(round(seconds * FPS)) / FPS
    return Timeline(np.arange(len(own)), own, own, onsets=onsets(_heard(claps, seconds, **clock)))


@given(st.floats(-3, 3), st.integers(0, 100))
@settings(max_examples=10)
def test_one_clap_gives_the_offset(offset, seed):
    lines = {"a": _with_sound([6.0], seed=seed), "b": _with_sound([6.0], offset=offset, seed=seed + 1)}
    assert synchronise(lines, "sound").clocks["b"].offset_s == pytest.approx(offset, abs=0.004)


@pytest.mark.parametrize(("claps", "drift_ppm"), [((6.0, 21.0, 33.0, 55.0), 100), ((6.0, 21.0, 55.0), None)])
def test_four_claps_in_parts_of_ten_seconds_give_the_drift(claps, drift_ppm):
    clocks = {"offset": 0.4, "drift_ppm": 100}
    lines = {
        name: _with_sound(claps, seconds=60.0, seed=seed, **own)
        for seed, (name, own) in enumerate({"a": {}, "b": clocks}.items())
    }
    clock = synchronise(lines, "sound").clocks["b"]
    assert (clock.drift_ppm if clock.has_drift else None) == pytest.approx(drift_ppm, abs=30)
    assert clock.has_drift or clock.drift_ppm == 0


def test_sounds_that_cannot_be_matched_are_named():
    quiet = _line([])
    with pytest.raises(InputError, match="'b' recorded no sound"):
        synchronise({"a": _with_sound([6.0]), "b": quiet}, "sound")
    with pytest.raises(InputError, match="'b' and 'a' heard does not fit"):
        synchronise({"a": _with_sound([2.0, 8.0]), "b": _with_sound([6.0], seed=1)}, "sound")


def test_the_sound_of_a_video_begins_with_its_first_image(tmp_path, capsys):
    for name, offset in (("a", 0.0), ("b", 0.25)):
        samples = _heard([0.9], 2.0, offset=offset, seed=len(name)).astype(np.float32)
        with av.open(str(tmp_path / f"{name}.mov"), "w") as container:
            video, audio = container.add_stream("mpeg4", rate=10), container.add_stream("pcm_s16le", rate=16000)
            video.width, video.height = 32, 32
            audio.layout = "mono"
            for number in range(20):
                image = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 10 * number, np.uint8), format="rgb24")
                container.mux(video.encode(image))
            container.mux(video.encode())
            part = av.AudioFrame.from_ndarray((samples * 32767).astype(np.int16)[None], format="s16", layout="mono")
            part.sample_rate = 16000
            container.mux(audio.encode(part))
            container.mux(audio.encode())
    lines = {name: read_timeline(tmp_path / f"{name}.mov", sound=True) for name in "ab"}
    found = synchronise(lines, "sound")
    assert found.clocks["b"].offset_s == pytest.approx(0.25, abs=0.004)
    assert read_timeline(tmp_path / "a.mov").onsets is None
    assert main(["annotate", "sync", str(tmp_path), "--by", "sound", "--out", str(tmp_path / "sync.json")]) in (0, 1)
    assert "b: too few sounds for a drift; clap four times or more" in capsys.readouterr().err
    assert json.loads((tmp_path / "sync.json").read_text())["clocks"]["b"]["offset_s"] == pytest.approx(0.25, abs=0.004)
    assert main(["annotate", "sync", str(tmp_path), "--by", "sound", "--stamps", str(tmp_path)]) == 2


@pytest.mark.parametrize(
    ("first", "second", "rate", "offset_s"),
    [
        ("10:00:00:00", "10:00:02:00", 25, 2),
        ("23:59:58:00", "00:00:01:00", 25, 3),
        ("00:00:01:00", "23:59:58:00", 25, -3),
        ("23:59:58:00", "00:00:01:00", 30000 / 1001, 3 * 1.001),
        ("23:59:58;00", "00:00:01;00", 30000 / 1001, 3 * 1.001),
        ("10:00:00:00", "10:02:00:00", 30000 / 1001, 120.12),
        ("10:00:00:00", "11:00:00:00", 24000 / 1001, 3603.6),
        ("10:00:00:00", "11:00:00:00", 60000 / 1001, 3603.6),
        ("10:00:00;00", "11:00:00;00", 30000 / 1001, 107_892 * 1001 / 30000),  # SMPTE: 17,982 labels in ten minutes
        ("10:00:59;29", "10:01:00;02", 30000 / 1001, 1001 / 30000),  # ;00 and ;01 are left out
        ("10:09:59;29", "10:10:00;00", 30000 / 1001, 1001 / 30000),
        ("10:00:59;59", "10:01:00;04", 60000 / 1001, 1001 / 60000),
        ("10:00:00:00", "10:00:02:00", 12.5, 2.0),  # no rate of a standard
    ],
)
def test_labels_are_counted_as_frames_of_the_true_rate(first, second, rate, offset_s):
    line = _line([])
    lines = {
        name: Timeline(line.index, line.time_s, line.brightness, Timecode.of(label, rate))
        for name, label in (("a", first), ("b", second))
    }
    assert synchronise_offset(lines) == pytest.approx(offset_s, abs=6e-4)


def synchronise_offset(lines):
    """Return by how much later the second recording begins, also if no frame set is common."""
    try:
        return synchronise(lines, "timecode").clocks["b"].offset_s
    except InputError as error:
        return float(re.search(r"b lasts from (-?[0-9.]+)", str(error))[1])


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("timecode", r"by timecode, a lasts from 0.000 to [0-9.]+ s, b lasts from 3600.000 to"),
        ("time", r"by time, a lasts from 0.000 to [0-9.]+ s, b lasts from 500.000 to"),
        ("index", "their images have no number in common"),
    ],
)
def test_recordings_without_a_common_frame_set_are_refused_with_the_reason(method, reason):
    line, codes = _line([]), [Timecode.of(f"{hour}:00:00:00", FPS) for hour in (10, 11)]
    late = 500.0 if method == "time" else 0.0
    lines = {
        "a": Timeline(line.index, line.time_s, line.brightness, codes[0]),
        "b": Timeline(line.index + 10_000 * (method == "index"), line.time_s + late, line.brightness, codes[1]),
    }
    with pytest.raises(InputError, match=f"no frame set has images of two cameras: {reason}"):
        synchronise(lines, method)


@pytest.mark.parametrize(
    ("rate", "codes", "offset_s"),
    [
        (Fraction(30000, 1001), ("10:00:00;00", "10:00:01;00"), 1.001),
        (Fraction(24000, 1001), ("23:59:59:12", "00:00:00:12"), 1.001),
        (Fraction(25), ("23:59:59:12", "00:00:00:12"), 1.0),
    ],
)
def test_videos_around_midnight_and_of_other_rates_begin_when_their_labels_say(tmp_path, rate, codes, offset_s):
    for number, code in enumerate(codes):
        with av.open(str(tmp_path / f"cam{number}.mov"), "w") as container:
            container.metadata["timecode"] = code
            stream = container.add_stream("mpeg4", rate=rate)
            stream.width, stream.height = 64, 48
            for _ in range(60):
                container.mux(
                    stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24"))
                )
            container.mux(stream.encode())
    found = synchronise({f"cam{n}": read_timeline(tmp_path / f"cam{n}.mov") for n in range(2)}, "timecode")
    assert found.clocks["cam1"].offset_s == pytest.approx(offset_s, abs=1e-6)
    assert len(found.images) > 20
