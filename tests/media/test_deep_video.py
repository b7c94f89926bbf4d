"""Videos of 16 bits per channel, as of thermal and depth cameras."""

from fractions import Fraction

import av
import numpy as np
import pytest

from sonjit.media import open_drawing_writer, open_source


def write_deep(path, frames, pixels="gray16le", rate=25):
    """Write 16-bit frames (H, W) without loss; as RGB for another format of pixels."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=rate)
        stream.height, stream.width = frames[0].shape
        stream.pix_fmt = pixels
        for index, values in enumerate(frames):
            image = values if pixels == "gray16le" else np.dstack([values] * 3)
            frame = av.VideoFrame.from_ndarray(image.astype(np.uint16), "gray16le" if image.ndim == 2 else "rgb48le")
            frame.pts, frame.time_base = index, Fraction(1, rate)
            container.mux(stream.encode(frame.reformat(format=pixels)))
        container.mux(stream.encode(None))
    return path


def read(path):
    with open_source(path) as source:
        return source, [frame.rgb for frame in source]


@pytest.mark.parametrize("pixels", ["gray16le", "gbrp16le"])
@pytest.mark.parametrize("first", ["usual", "uniform", "dark"])
def test_a_narrow_band_is_stretched_in_the_same_way_in_all_frames(tmp_path, pixels, first):
    scene = 29_000 + 6 * np.random.default_rng(0).integers(0, 256, (48, 64))
    frames = [scene + 20 * (number % 5) for number in range(40)]
    frames[0] = {"usual": frames[0], "uniform": np.full_like(scene, 29_400), "dark": scene * 0}[first]
    source, shown = read(write_deep(tmp_path / "a.mkv", frames, pixels))
    (note,) = source.notes
    black, white = (int(word) for word in note.split() if word.isdecimal())
    assert (black, white) == (pytest.approx(29_000, abs=20), pytest.approx(30_610, abs=20))
    for values, image in list(zip(frames, shown, strict=True))[1:]:
        expected = np.clip((values - black) * 255 / (white - black), 0, 255)
        np.testing.assert_allclose(image[..., 1], expected, atol=1.2)
    stretch = f"16-bit values are stretched from {black} (black) to {white} (white), the same for all frames"
    assert source.notes == [f"{source.name}: {stretch}"]


def test_what_appears_late_in_a_file_is_not_cut_off(tmp_path):
    room, person = np.full((48, 64), 29_300), np.full((48, 64), 29_300)
    room[::2] += 100
    person[:] = room
    person[10:40, 20:40] = 30_700 + 5 * np.arange(30)[:, None]
    _, shown = read(write_deep(tmp_path / "a.mkv", [room] * 60 + [person] * 60))
    assert len(np.unique(shown[-1][10:40, 20:40])) > 15


@pytest.mark.parametrize("pixels", ["gray16le", "gbrp16le"])
def test_a_wide_range_keeps_its_upper_8_bits(tmp_path, pixels):
    values = np.linspace(0, 65_535, 48 * 64).reshape(48, 64).astype(np.uint16)
    source, (image,) = read(write_deep(tmp_path / "a.mkv", [values], pixels))
    np.testing.assert_allclose(image[..., 0], values >> 8, atol=1)
    assert source.notes == []


def test_a_drawing_has_the_stretched_images(tmp_path):
    scene = 29_000 + 6 * np.add.outer(np.arange(48), np.arange(64))
    path = write_deep(tmp_path / "a.mkv", [scene] * 5)
    with open_source(path) as source, open_drawing_writer(tmp_path / "b.mp4", source) as drawing:
        for frame in source:
            drawing.write(frame.rgb, frame.time, under=frame)
    drawn, shown = read(tmp_path / "b.mp4")[1][0], read(path)[1][0]
    assert np.abs(drawn.astype(int) - shown).mean() < 4
