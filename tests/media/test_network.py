"""Network cameras, served on this machine."""

import http.server
import socketserver
import struct
import threading
from contextlib import contextmanager

import av
import cv2
import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.media import open_source
from sonjit.runs import Inputs

GREYS = [20 * k for k in range(1, 11)]


@contextmanager
def serving(handler):
    """Start a server on a free port and yield the port."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


class Mjpeg(http.server.BaseHTTPRequestHandler):
    """Server of grey images in the format of most web cameras, or of a short video file at /file.mp4."""

    video = b""

    def do_GET(self):
        self.send_response(200)
        if self.path == "/file.mp4":
            self.send_header("Content-Length", str(len(self.video)))
            self.end_headers()
            self.wfile.write(self.video)
            return
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for grey in GREYS:
            data = cv2.imencode(".jpg", np.full((48, 64, 3), grey, np.uint8))[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            self.wfile.write(head.encode() + data + b"\r\n")

    def log_message(self, *_):
        pass


class Rtsp(socketserver.StreamRequestHandler):
    """Server of endless MPEG-4 in RTP packets, interleaved with RTSP (RFC 2326)."""

    def handle(self):
        while (request := self.rfile.readline().decode().split()) and (headers := self._headers()):
            method, body = request[0], b""
            more = {"OPTIONS": "Public: DESCRIBE, SETUP, PLAY\r\n", "PLAY": "Session: 1\r\n"}.get(method, "")
            if method == "DESCRIBE":
                body = b"v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 MP4V-ES/90000\r\na=control:video\r\n"
                more = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
            elif method == "SETUP":
                more = "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
            answer = f"RTSP/1.0 200 OK\r\nCSeq: {headers['cseq']}\r\n{more}\r\n"
            self.wfile.write(answer.encode() + body)
            if method == "PLAY":
                self._play()
                return

    def _headers(self):
        lines = iter(lambda: self.rfile.readline().decode().strip(), "")
        return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def _play(self):
        with av.open(self, "w", format="rtp", buffer_size=1200) as container:
            stream = container.add_stream("mpeg4", rate=25, options={"bf": "0"})
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for k, grey in enumerate(GREYS):
                frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), grey, np.uint8), format="rgb24")
                frame.pts = k
                container.mux(stream.encode(frame))

    def write(self, packet):
        """Write FFmpeg's output: RTP on channel 0, sender reports on channel 1."""
        channel = 1 if 200 <= packet[1] <= 204 else 0
        self.wfile.write(struct.pack(">cBH", b"$", channel, len(packet)) + bytes(packet))
        return len(packet)


@pytest.mark.parametrize(("handler", "scheme"), [(Mjpeg, "http"), (Rtsp, "rtsp")])
def test_images_of_a_network_camera(handler, scheme):
    with serving(handler) as port:
        with open_source(f"{scheme}://user:secret@127.0.0.1:{port}/video?size=1") as source:
            frames = list(source)
        assert source.name == f"{scheme}://127.0.0.1:{port}/video?size=…"
    assert (source.kind, source.live, source.width, source.height) == ("camera", True, 64, 48)
    assert (source.files, source.count) == ([], None)
    indices, times = [frame.index for frame in frames], [frame.time for frame in frames]
    assert indices == sorted(set(indices))
    assert times == sorted(times)
    assert times[0] >= 0
    shades = [GREYS[np.abs(np.array(GREYS) - frame.rgb.mean()).argmin()] for frame in frames]
    assert shades  # the first images identify the stream, and older ones may have been dropped
    assert shades == sorted(set(shades))
    for frame, grey in zip(frames, shades, strict=True):
        assert np.abs(frame.rgb.astype(int) - grey).max() < 9
    if handler is Mjpeg:
        assert source.notes == [f"{source.name}: its images have no times and get those of their arrival"]
    else:
        assert source.notes == []
        np.testing.assert_allclose(np.diff(times), np.diff(indices) / 25, atol=1e-3)
    (problem,) = source.problems
    assert "secret" not in problem
    assert " ended after " in problem


def test_a_camera_that_drops_is_opened_again():
    class DropsOnce(Mjpeg):
        calls = 0

        def do_GET(self):
            type(self).calls += 1
            super().do_GET() if self.calls <= 2 else self.send_error(404)

    with serving(DropsOnce) as port, open_source(f"http://127.0.0.1:{port}/", reconnect_s=4) as source:
        times = [frame.time for frame in source]
        numbers = [note for note in source.notes if " sent nothing from " in note]
    assert times == sorted(times)
    assert max(np.diff(times)) > 0.9  # the gap
    assert len(numbers) == 1
    assert " ended after " in source.problems[0]


class Recording(Mjpeg):
    """Server of a finished recording."""


def test_invalid_camera_is_one_line(clip, monkeypatch):
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:9/x cannot be opened: "):
        open_source("http://user:secret@127.0.0.1:9/x")
    Recording.video = clip("v.mp4").read_bytes()
    with serving(Recording) as port, pytest.raises(InputError, match="is a recording of 0 s; download it"):
        open_source(f"http://127.0.0.1:{port}/file.mp4")
    with pytest.raises(InputError, match=r"Protocol not known: gopher.*begins with rtsp://"):
        open_source("gopher://127.0.0.1/v.mp4")
    monkeypatch.setenv("SONJIT_OFFLINE", "1")
    with pytest.raises(InputError, match="SONJIT_OFFLINE is set"):
        open_source("rtsp://127.0.0.1/stream")


def test_an_address_is_the_only_input():
    assert Inputs.find(["http://127.0.0.1/a.jpg?x=*"]).files is None
    with pytest.raises(InputError, match="is a stream: give it as the only INPUT"):
        Inputs.find(["rtsp://127.0.0.1/a", "b.png"])
