/** The position in a result. The picture, the curves and the tables follow it. */

import { computed, signal } from "@preact/signals";

import { indexAt } from "./curves.js";

const DWELL_MS = 700; // display time of an image

/** Plays a video, or images one after the other. */
export class Player {
  readonly time;
  readonly index;
  readonly playing = signal(false);
  readonly times;
  #video: HTMLVideoElement | null = null;
  #wanted: number | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param times of the frames, ascending */
  constructor(times: number[]) {
    this.times = times;
    this.time = signal(times[0] ?? 0);
    this.index = computed(() => indexAt(this.times, this.time.value));
  }

  /** Control a video, which has the times of the frames. */
  attach(video: HTMLVideoElement) {
    this.#video = video;
    const follow = () =>
      video.requestVideoFrameCallback((_, { mediaTime }) => {
        if (this.#video !== video) return;
        if (!video.paused) this.time.value = mediaTime;
        follow();
      });
    follow();
    video.onplay = () => (this.playing.value = true);
    video.onpause = () => (this.playing.value = false);
    video.onloadeddata = video.onseeked = () => this.#seekVideo();
    this.#wanted = this.time.peek();
    if (video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA) this.#seekVideo();
  }

  /** Show the frame at a time. */
  seek(time: number) {
    const { times } = this;
    const last = times.at(-1) ?? 0;
    this.time.value = Math.min(Math.max(time, times[0] ?? 0), last);
    this.#wanted = this.time.peek();
    this.#seekVideo();
  }

  /** Show another frame. */
  step(by: number) {
    this.pause();
    const index = Math.min(Math.max(this.index.peek() + by, 0), this.times.length - 1);
    this.seek(this.times[index] ?? 0);
  }

  play() {
    const isAtEnd = this.index.peek() >= this.times.length - 1;
    if (isAtEnd) this.seek(this.times[0] ?? 0);
    if (this.#video) return void this.#video.play().catch(() => (this.playing.value = false));
    this.playing.value = true;
    return this.#next();
  }

  pause() {
    this.#video?.pause();
    clearTimeout(this.#timer);
    this.playing.value = false;
  }

  set speed(value: number) {
    if (this.#video) this.#video.playbackRate = value;
  }

  dispose() {
    this.pause();
    this.#video = null;
  }

  #next() {
    this.#timer = setTimeout(() => {
      const next = this.index.peek() + 1;
      if (next >= this.times.length) return this.pause();
      this.seek(this.times[next]!);
      return this.#next();
    }, DWELL_MS);
  }

  /** Seek the video to the latest wanted frame. While it seeks, later wishes replace each other. */
  #seekVideo() {
    const video = this.#video;
    if (!video || this.#wanted === null) return;
    if (video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA || video.seeking) return;
    const index = indexAt(this.times, this.#wanted);
    const [from, to] = [this.times[index] ?? 0, this.times[index + 1]];
    // the middle of the frame, because times in files are rounded
    video.currentTime = from + (to === undefined ? 0.001 : (to - from) / 2);
    this.#wanted = null;
  }
}
