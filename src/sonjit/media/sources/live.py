"""Read the packets of a live stream as they arrive, and give their images at the stream's own pace and times."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Self

from sonjit.media.sources.video import demuxed

if TYPE_CHECKING:
    from collections.abc import Iterator

    import av
    from av.container import InputContainer

_MAX_BYTES, _MAX_PACKETS = 64_000_000, 6000  # of packets that wait; 6000 are four minutes of 25 images per second
_JUMP_S = 10.0  # difference between the steps of the stream and of its arrival from which a clock has restarted
_USUAL_STEP_S = 0.04
_MAX_UNSTAMPED = 25  # images in a row whose stamps may be missing, as after a pause of RTSP
_LAG_S = 1.0  # lateness from which images are dropped
_SPARE_S, _SPARE_WINDOW_S = 1.0, 10.0  # time for which images wait at least, and for which this is observed
_MAX_GAIN_S = 0.5  # of a window, by which a stream that waits longer comes nearer to live


class Packets:
    """The packets of a live stream with the times of their arrival, which a thread reads ahead.

    The thread never waits for the reader, so that the times are those of the network. If the reader stops, old packets
    are dropped up to an image that can be decoded without others.
    """

    def __init__(self, container: InputContainer, stream: av.VideoStream) -> None:
        self.damage = Counter[str]()
        self._packets = demuxed(container, stream, self.damage)
        self._ready: deque[tuple[av.Packet[av.VideoStream], float]] = deque()
        self._bytes = 0
        self._waits_for_key = False
        self._is_closed = self._is_ended = False
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="sonjit-live", daemon=True)
        self._thread.start()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[av.Packet[av.VideoStream], float]:
        with self._change:
            self._change.wait_for(lambda: self._ready or self._is_ended or self._is_closed)
            if not self._ready or self._is_closed:
                raise StopIteration
            packet, arrival_s = self._ready.popleft()
            self._bytes -= packet.size
            return packet, arrival_s

    def close(self) -> None:
        """Stop the thread and wait for it: until a packet arrives or the stream's time limit has passed."""
        with self._change:
            self._is_closed = True
            self._change.notify_all()
        self._thread.join()

    def _run(self) -> None:
        try:
            for packet in self._packets:
                with self._change:
                    if self._is_closed:
                        break
                    self._add(packet)
                    self._change.notify_all()
        finally:
            with self._change:
                self._is_ended = True
                self._change.notify_all()

    def _add(self, packet: av.Packet[av.VideoStream]) -> None:
        if self._bytes + packet.size > _MAX_BYTES or len(self._ready) >= _MAX_PACKETS:
            self._ready.clear()
            self._bytes, self._waits_for_key = 0, True
        if self._waits_for_key and not packet.is_keyframe and packet.size:
            return
        self._waits_for_key = False
        self._ready.append((packet, time.monotonic()))
        self._bytes += packet.size


class LiveClock:
    """Times of the images of a live stream from its first one, by its own stamps, and when each image is due.

    The first image is due when it arrives, and each later one as long after it as their stamps say. Images that arrive
    in bursts therefore follow each other as they were taken. A clock that restarts or jumps continues.
    """

    def __init__(self) -> None:
        self.restarts = 0
        self.last_s = 0.0  # time of the newest image
        self._origin_s: float | None = None  # stamp of time 0
        self._begun_s = 0.0  # when the first image arrived, and is due
        self._arrival_s = 0.0  # of the newest image
        self._step_s = _USUAL_STEP_S
        self._unstamped = 0  # newest images in a row without a stamp
        self._delay_s = 0.0  # lateness of the network
        self._spare_s, self._window_s = math.inf, 0.0

    @property
    def is_timed(self) -> bool:
        """Whether the stream has stamps."""
        return self._origin_s is not None and self._unstamped <= _MAX_UNSTAMPED

    def time_of(self, stamp_s: float | None, arrival_s: float) -> float:
        """Return the time of the next image, whose stamp may be missing."""
        self._unstamped = self._unstamped + 1 if stamp_s is None else 0
        if self._begun_s == 0.0:
            self._begun_s = self._arrival_s = self._window_s = arrival_s
            self._origin_s = stamp_s
            return 0.0
        waited_s, self._arrival_s = arrival_s - self._arrival_s, arrival_s
        elapsed_s = arrival_s - self._begun_s
        if stamp_s is None:
            time_s = self.last_s + self._step_s if self.is_timed else max(elapsed_s, self.last_s)
        else:
            time_s = -math.inf if self._origin_s is None else stamp_s - self._origin_s
            if not 0 < time_s - self.last_s < waited_s + _JUMP_S:
                self.restarts += self._origin_s is not None
                time_s = max(self.last_s + self._step_s, elapsed_s)
                self._origin_s = stamp_s - time_s
            elif time_s - self.last_s < 1:
                self._step_s = time_s - self.last_s
        self.last_s = time_s
        self._observe(arrival_s - self._begun_s - time_s, waited_s)
        return time_s

    def restart(self) -> None:
        """Expect the stamps of another connection. Its first image has the time at which it arrives."""
        self._origin_s = None

    def wait_s(self, now_s: float) -> float:
        """Return the time until the newest image is due; negative if it is late, -inf if it is to be dropped."""
        due_s = self._begun_s + self.last_s
        return -math.inf if now_s - due_s - self._delay_s > _LAG_S else due_s - now_s

    def _observe(self, late_s: float, waited_s: float) -> None:
        """Take how late an image arrived. A delay of the network fades, so that a slow reader comes back to live."""
        self._delay_s = max(0.0, late_s, self._delay_s - waited_s)
        self._spare_s = min(self._spare_s, -late_s)
        if self._arrival_s - self._window_s > _SPARE_WINDOW_S:  # the clock of the camera may also be too fast
            self._begun_s -= min(_MAX_GAIN_S, max(0.0, self._spare_s - _SPARE_S))
            self._spare_s, self._window_s = math.inf, self._arrival_s


def arrivals(packets: Packets, newest: list[float]) -> Iterator[av.Packet[av.VideoStream]]:
    """Yield packets, and set the only element of a list to the arrival of each."""
    for packet, newest[0] in packets:
        yield packet
