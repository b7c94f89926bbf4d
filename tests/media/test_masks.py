import av
import cv2
import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.media import mask_from_frame, open_mask_writer, open_source
from sonjit.results import Frame, Person

TIMES = (0, 0.04, 0.08, 0.2, 0.5)


def ramp(height=48, width=64):
    """Return probabilities (H, W) from 0 at the left to 1 at the right."""
    return np.tile(np.linspace(0, 1, width, dtype=np.float32), (height, 1))


def write_masks(out, source, mask, **more):
    with open_mask_writer(out, source, **more) as writer:
        for frame in source:
            writer.write(frame.rgb, mask, frame.time, index=frame.index)


def decoded_rgba(path):
    """Return times and pixels (N, H, W, 4) of a video. FFmpeg's own VP9 decoder ignores alpha."""
    times, frames = [], []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        decoder = stream.codec_context
        if path.suffix == ".webm":
            decoder = av.CodecContext.create("libvpx-vp9", "r")
        for packet in container.demux(stream):
            for frame in decoder.decode(packet if packet.size else None):
                times.append(float(frame.pts * stream.time_base))
                frames.append(np.dstack([frame.to_ndarray(format="rgb24"), alpha_of(frame)]))
    return times, np.array(frames)


def alpha_of(frame):
    """Return alpha (H, W), 0..255, from its plane. FFmpeg's conversion to RGBA is wrong at the edge of some widths."""
    plane, bits = frame.planes[3], frame.format.components[3].bits
    values = np.frombuffer(plane, np.uint8 if bits == 8 else np.uint16).reshape(frame.height, -1)[:, : frame.width]
    return np.round(values / (2**bits - 1) * 255).astype(np.uint8)


@pytest.mark.parametrize("ending", [".webm", ".mov"])
def test_a_video_keeps_times_sound_and_alpha(tmp_path, clip, ending):
    out = tmp_path / f"cut{ending}"
    with open_source(clip("v.mkv", TIMES, sound="aac")) as source:
        rgb = [frame.rgb for frame in source]
        write_masks(out, source, ramp())
    times, frames = decoded_rgba(out)
    np.testing.assert_allclose(times, TIMES, atol=2e-3)
    assert np.abs(frames[..., 3].astype(int) - np.round(ramp() * 255)).mean() < 3
    for frame, seen in zip(frames, rgb, strict=True):
        right = frame[8:40, 40:, :3].astype(int)
        assert np.abs(right - seen[8:40, 40:]).mean() < 10
    with av.open(str(out)) as container:
        assert len(container.streams.audio) == 1


@pytest.mark.parametrize(("ending", "cutout"), [(".mp4", True), (".mkv", True), (".avi", True), (".webm", False)])
@pytest.mark.parametrize("kind", ["video", "camera"])
def test_without_alpha_a_video_contains_the_mask_in_grey(tmp_path, clip, ending, cutout, kind):
    out = tmp_path / f"mask{ending}"
    with open_source(clip("v.mkv", TIMES)) as source:
        source.kind = kind
        write_masks(out, source, ramp(), cutout=cutout)
    with open_source(out) as masks:
        frames = list(masks)
    if ending != ".avi":  # which has a fixed rate
        np.testing.assert_allclose([frame.time for frame in frames], TIMES, atol=2e-3)
    for frame in frames:
        assert np.abs(frame.rgb.astype(int) - np.round(ramp() * 255)[..., None]).mean() < 4


@pytest.mark.parametrize("ending", [".png", ".webp", ".tiff", ".jpg", ".bmp"])
def test_a_still(tmp_path, noise, ending):
    cv2.imwrite(str(tmp_path / "in.png"), noise[..., ::-1])
    mask = ramp(40, 60)
    mask[:, 20], mask[:, 2] = np.nan, 1 / 255  # the least alpha keeps a pixel
    alpha = np.round(np.nan_to_num(mask) * 255)
    for cutout in (True, False):
        out = tmp_path / f"out{ending}"
        with open_source(tmp_path / "in.png") as source:
            write_masks(out, source, mask, cutout=cutout)
        made = cv2.imread(str(out), cv2.IMREAD_UNCHANGED)
        if cutout and ending not in (".jpg", ".bmp"):
            np.testing.assert_array_equal(made[..., 3], alpha)
            assert not made[alpha == 0, :3].any() or ending == ".webp"
            if ending != ".webp":
                np.testing.assert_array_equal(made[alpha > 0, 2::-1], noise[alpha > 0])
        else:
            grey = made if made.ndim == 2 else made[..., 0]
            assert np.abs(grey.astype(int) - alpha).max() <= (0 if ending in (".png", ".bmp", ".tiff") else 40)
            assert ending != ".png" or made.ndim == 2


def test_a_folder_becomes_a_folder_of_pngs(tmp_path, noise):
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.jpg"):
        cv2.imwrite(str(tmp_path / "in" / name), noise)
    with open_source(tmp_path / "in") as source:
        write_masks(tmp_path / "out", source, ramp(40, 60))
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["a.png", "b.png"]
    assert cv2.imread(str(tmp_path / "out" / "b.png"), cv2.IMREAD_UNCHANGED).shape == (40, 60, 4)


def test_odd_sizes_and_frames_without_anyone(tmp_path, clip):
    path = clip("v.mkv", TIMES, size=(65, 49), pix_fmt="yuv444p")
    for ending in (".webm", ".mov"):
        with open_source(path) as source:
            write_masks(tmp_path / f"o{ending}", source, None)
        _, frames = decoded_rgba(tmp_path / f"o{ending}")
        assert frames.shape == (5, 50, 66, 4)
        assert frames[..., 3].max() < 3
        assert frames[..., :3].max() < 3


def test_an_output_is_kept_or_removed_completely(tmp_path, clip):
    path = clip("v.mp4", TIMES)
    with pytest.raises(InputError, match=r"\(3, 3\) does not fit"), open_source(path) as source:
        write_masks(tmp_path / "o.webm", source, np.ones((3, 3), np.float32))
    with open_source(path) as source, pytest.raises(InputError, match=r"\.webm"):
        open_mask_writer(tmp_path / "o.png", source)
    assert [file.name for file in tmp_path.iterdir()] == ["v.mp4"]


def test_masks_of_several_people_are_one(body):
    half = np.zeros((4, 6), np.float32)
    half[:, :3] = 0.75
    frame = Frame(0, None, bodies=[body(mask=half), body()], people=[Person(body(mask=half[:, ::-1]))])
    np.testing.assert_array_equal(mask_from_frame(frame), np.full((4, 6), 0.75, np.float32))
    assert mask_from_frame(Frame(0, None, bodies=[body()])) is None
