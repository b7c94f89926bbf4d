/** The position in a result. The curves and the tables show it, and the picture follows. */

import { batch, computed, signal } from "@preact/signals";

import { indexAt } from "./curves.js";

const DWELL_MS = 700; // display time of an image

/** Plays a video, or images one after the other. A video that plays sets the position. */
export class Player {
  readonly time;
  readonly index;
  /** index of the frame in the picture, -1 before the first one; of the position without a picture */
  readonly shown;
  readonly playing = signal(false);
  readonly times;
  readonly #pictured = signal(-1);
  readonly #hasPicture = signal(false);
  #video: HTMLVideoElement | null = null;
  #isFollowing = false; // whether the position follows the video
  #wanted: number | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param times of the frames, ascending */
  constructor(times: number[]) {
    this.times = times;
    this.time = signal(times[0] ?? 0);
    this.index = computed(() => indexAt(this.times, this.time.value));
    this.shown = computed(() => (this.#hasPicture.value ? this.#pictured.value : this.index.value));
  }

  /** Control a video, which has the times of the frames. */
  attach(video: HTMLVideoElement) {
    this.#video = video;
    this.#hasPicture.value = true;
    const follow = () =>
      video.requestVideoFrameCallback((_, { mediaTime }) => {
        if (this.#video !== video) return;
        follow();
        const index = nearestTo(this.times, mediaTime);
        batch(() => {
          this.#pictured.value = index;
          if (this.#isFollowing && !video.seeking) this.time.value = this.times[index] ?? 0;
        });
      });
    follow();
    video.onplay = () => {
      this.playing.value = true;
      this.#isFollowing = true;
    };
    video.onpause = () => (this.playing.value = false);
    video.onloadeddata = video.onseeked = () => this.#seekVideo();
    this.#wanted = this.time.peek();
    this.#seekVideo();
  }

  /** Do without a picture. */
  detach() {
    this.#video = null;
    this.#hasPicture.value = false;
  }

  /** Note that the picture shows the image of a frame; null for the time until the first one. */
  showImage(index: number | null) {
    this.#hasPicture.value = true;
    if (index !== null) this.#pictured.value = index;
  }

  /** Show the frame at a time. */
  seek(time: number) {
    const { times } = this;
    const last = times.at(-1) ?? 0;
    this.#isFollowing = false;
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

/** Return the index of the frame whose time is nearest, because times in files are rounded. */
function nearestTo(times: number[], time: number) {
  const index = indexAt(times, time);
  const [from, to] = [times[index] ?? 0, times[index + 1] ?? Infinity];
  return to - time < time - from ? index + 1 : index;
}
