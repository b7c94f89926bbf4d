"""Times and order of live streams that arrive in bursts, stall or jump, served on this machine."""

import http.server
import itertools
import socket
import threading
import time
from contextlib import contextmanager
from fractions import Fraction
from io import BytesIO

import av
import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.media import open_source
from sonjit.media.sources.live import LiveClock

RATE = 25
STEP = 1 / RATE


def stream_of(count, first_s=0.0):
    """Return the bytes of each frame of an MPEG-TS. The brightness of an image is its number, modulo 25, times 10."""
    parts, buffer = [], BytesIO()
    with av.open(buffer, "w", format="mpegts") as container:
        options = {"preset": "ultrafast", "tune": "zerolatency", "g": "5"}
        stream = container.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * (number % 25), np.uint8))
            frame.pts, frame.time_base = round(first_s * 90_000) + number * 90_000 // RATE, Fraction(1, 90_000)
            for packet in stream.encode(frame):
                container.mux(packet)
            parts.append(buffer.getvalue())
    whole = [b"", *parts[:-1], buffer.getvalue()]
    return [after[len(before) :] for before, after in itertools.pairwise(whole)]


@contextmanager
def serving(bursts, pause_s):
    """Serve parts of a stream over HTTP, with a pause after each, and yield the address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            for burst, wait_s in zip(bursts, itertools.chain([0], itertools.repeat(pause_s)), strict=False):
                time.sleep(wait_s)
                try:
                    self.wfile.write(burst)
                except OSError:  # the reader has left
                    return

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/live.ts?token=secret"
        finally:
            server.shutdown()


def numbers_of(frames):
    return [round(float(frame.rgb.mean()) / 10) for frame in frames]


def in_bursts(parts, size):
    return [b"".join(parts[start : start + size]) for start in range(0, len(parts), size)]


@pytest.mark.parametrize("size", [1, 25])
def test_images_that_arrive_in_bursts_have_the_times_of_the_stream(size):
    with serving(in_bursts(stream_of(50, 7.5), size), size * STEP) as address, open_source(address) as source:
        frames = list(source)
    times = np.array([frame.time for frame in frames])
    indices = np.array([frame.index for frame in frames])
    np.testing.assert_allclose(times, indices * STEP, atol=1e-3)  # also if a slow machine drops some
    assert numbers_of(frames) == (indices % 25).tolist()
    assert len(frames) > 15
    assert "secret" not in "".join([source.name, *source.notes, *source.problems])


def test_a_slow_reader_gets_fewer_images_with_their_own_times():
    with serving(in_bursts(stream_of(100), 50), 2) as address, open_source(address) as source:
        frames = []
        for frame in source:
            frames.append(frame)
            time.sleep(0.2)
    times = np.array([frame.time for frame in frames])
    indices = np.array([frame.index for frame in frames])
    np.testing.assert_allclose(times, indices * STEP, atol=1e-3)
    assert numbers_of(frames) == (indices % 25).tolist()
    assert len(frames) < 50
    assert np.diff(times).max() < 2.5  # it drops single images, not one part of the stream


@pytest.mark.parametrize("jump_s", [3 * 3600, -5.0, 2**33 / 90_000])
def test_a_clock_that_jumps_continues_with_a_note(jump_s):
    parts = stream_of(50, 10.0) + stream_of(50, (10.0 + 2 + jump_s) % (2**33 / 90_000))
    with serving(in_bursts(parts, 25), 0.5) as address, open_source(address) as source:
        frames = list(source)
    times = np.array([frame.time for frame in frames])
    np.testing.assert_allclose(np.diff(times), np.diff([frame.index for frame in frames]) * STEP, atol=0.3)
    assert (np.diff(times) > 0).all()
    restarts = [note for note in source.notes if "its clock restarts. The time continues" in note]
    assert len(restarts) == (jump_s < 2**33 / 90_000)


def test_streams_over_udp_and_tcp_are_read():
    parts = stream_of(150)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = threading.Event()

    def send():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            for part in itertools.cycle(parts):
                for start in range(0, len(part), 7 * 188):
                    out.sendto(part[start : start + 7 * 188], ("127.0.0.1", port))
                if done.wait(0.01):
                    return

    threading.Thread(target=send, daemon=True).start()
    try:
        with open_source(f"udp://127.0.0.1:{port}") as source:
            frames = list(itertools.islice(source, 10))
    finally:
        done.set()
    assert len(frames) == 10
    assert [frame.time for frame in frames] == sorted({frame.time for frame in frames})
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            with server.accept()[0] as connection:
                for part in parts:
                    connection.sendall(part)

        threading.Thread(target=answer, daemon=True).start()
        with open_source(f"tcp://127.0.0.1:{server.getsockname()[1]}") as source:
            frames = list(itertools.islice(source, 10))
    np.testing.assert_allclose([frame.time for frame in frames], [frame.index * STEP for frame in frames], atol=1e-3)


@pytest.mark.parametrize("scheme", ["rtmp", "tcp", "rtsp", "http", "srt"])
def test_a_stream_that_does_not_answer_is_one_line_without_secrets(scheme):
    with pytest.raises(InputError) as caught:
        open_source(f"{scheme}://me:se@cret@127.0.0.1:9/live?key=secret")
    assert scheme in str(caught.value)
    assert "cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def follow(stamps, arrivals):
    clock = LiveClock()
    return clock, [clock.time_of(*pair) for pair in zip(stamps, arrivals, strict=True)]


def test_a_gap_of_the_stream_is_kept_and_a_jump_is_not():
    stamps = [*np.arange(50) * STEP, *(30 + np.arange(50) * STEP)]
    arrivals = [*(100 + np.arange(50) * STEP), *(130 + np.arange(50) * STEP)]
    np.testing.assert_allclose(follow(stamps, arrivals)[1], stamps, atol=1e-9)
    at_once = 100 + np.arange(100) * STEP
    clock, times = follow(stamps, at_once)
    np.testing.assert_allclose(times, np.arange(100) * STEP, atol=1e-9)
    assert clock.restarts == 1


def test_images_after_a_stall_of_the_network_keep_their_times_and_are_not_dropped_at_once():
    stamps = np.arange(500) * STEP
    arrivals = 100 + stamps
    arrivals[250:500] = np.maximum(arrivals[250:500], 118.0)  # 8 s arrive together
    clock, dropped = LiveClock(), []
    for stamp, arrival in zip(stamps, arrivals, strict=True):
        assert clock.time_of(stamp, arrival) == pytest.approx(stamp)
        dropped.append(clock.wait_s(arrival) == -np.inf)
    assert not any(dropped)
    assert clock.wait_s(arrivals[-1] + 12) == -np.inf


@pytest.mark.parametrize("missing", [[100], [100, 101, 102], [100, 200, 201]])
def test_images_without_a_stamp_follow_the_one_before(missing):
    """After a pause of some seconds, FFmpeg's reader of RTSP gives a packet without one."""
    stamps = np.arange(500) * STEP
    arrivals = 100 + stamps
    arrivals[100:275] = np.maximum(arrivals[100:275], 111.0)
    given = [None if number in missing else stamp for number, stamp in enumerate(stamps)]
    clock, times = follow(given, arrivals)
    np.testing.assert_allclose(times, stamps, atol=1e-9)
    assert clock.is_timed
    assert clock.restarts == 0


def test_a_stream_that_loses_its_stamps_gets_times_of_arrival():
    arrivals = 100 + np.arange(200) * 0.1
    clock, times = follow([*np.arange(100) * 0.1, *[None] * 100], arrivals)
    np.testing.assert_allclose(times, arrivals - 100, atol=1e-6)
    assert not clock.is_timed


@pytest.mark.parametrize("drift", [0.999, 1.001])
def test_the_clock_of_a_camera_may_be_too_fast_or_slow(drift):
    clock = LiveClock()
    for number in range(90_000):  # one hour
        stamp = number * STEP
        clock.time_of(stamp * drift, 100 + stamp)
        assert -np.inf < clock.wait_s(100 + stamp) < 1.6
