/** Players of videos and image sequences: play, pause, step and seek. */

/**
 * @typedef {{kind: "video" | "images", length: number, position: number, paused: boolean, loop: boolean, speed: number,
 *   onChange: () => void, play(): void, pause(): void, seek(position: number): void, step(by: number): void}} Player
 *   `length` and `position`: seconds of a video, or number of images
 */

const DWELL_MS = 1000; // display time of an image at speed 1
const USUAL_STEP_S = 1 / 30; // until the video's frame rate is known
const LEAST_STEP_S = 1 / 240;
const EVENTS = ["play", "pause", "ended", "seeked", "timeupdate", "ratechange", "durationchange"];

/** @implements {Player} */
export class VideoPlayer {
  kind = /** @type {const} */ ("video");
  onChange = () => {};
  #video;
  #stepS = USUAL_STEP_S;
  #tell = () => this.onChange();
  #open = true;

  /** @param {HTMLVideoElement} video */
  constructor(video) {
    this.#video = video;
    video.playbackRate = 1;
    for (const name of EVENTS) video.addEventListener(name, this.#tell);
    this.#measure();
  }

  get length() {
    return Number.isFinite(this.#video.duration) ? this.#video.duration : 0;
  }

  get position() {
    return this.#video.currentTime;
  }

  get paused() {
    return this.#video.paused;
  }

  get loop() {
    return this.#video.loop;
  }

  set loop(on) {
    this.#video.loop = on;
    this.onChange();
  }

  get speed() {
    return this.#video.playbackRate;
  }

  set speed(rate) {
    this.#video.playbackRate = rate;
  }

  play() {
    this.#video.play().catch(() => this.onChange());
  }

  pause() {
    this.#video.pause();
  }

  /** @param {number} position */
  seek(position) {
    this.#video.currentTime = Math.min(Math.max(position, 0), this.length);
  }

  /** Step forwards or backwards by a number of images. @param {number} by */
  step(by) {
    this.pause();
    const middle = (Math.floor(this.position / this.#stepS + 1e-3) + by + 0.5) * this.#stepS;
    this.seek(Math.min(middle, this.length - this.#stepS / 2));
  }

  close() {
    this.#open = false;
    for (const name of EVENTS) this.#video.removeEventListener(name, this.#tell);
  }

  /** Estimate the frame duration as the minimum time between two successive images. */
  #measure() {
    if (!("requestVideoFrameCallback" in this.#video)) return;
    let [least, time, count] = [Infinity, NaN, 0];
    const next = () => this.#video.requestVideoFrameCallback((_, { mediaTime, presentedFrames }) => {
      if (!this.#open) return;
      const step = (mediaTime - time) / (presentedFrames - count);
      if (step > LEAST_STEP_S && step < least && !this.paused) this.#stepS = least = step;
      [time, count] = [mediaTime, presentedFrames];
      next();
    });
    next();
  }
}

/** @implements {Player} */
export class ImagePlayer {
  kind = /** @type {const} */ ("images");
  onChange = () => {};
  loop = false;
  speed = 1;
  position = 0;
  paused = true;
  #onSeek;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;

  /** @param {File[]} files @param {() => void} onSeek function that shows another image */
  constructor(files, onSeek) {
    this.files = files;
    this.#onSeek = onSeek;
  }

  get length() {
    return this.files.length;
  }

  play() {
    this.paused = false;
    if (this.position + 1 < this.length) this.shown();
    else this.#show(0);
    this.onChange();
  }

  pause() {
    this.close();
    this.onChange();
  }

  /** @param {number} position */
  seek(position) {
    this.#show(Math.min(Math.max(Math.round(position), 0), this.length - 1));
  }

  /** @param {number} by */
  step(by) {
    this.close();
    this.#show((this.position + by + this.length) % this.length);
  }

  /** Schedule the next image after the requested one is loaded. */
  shown() {
    clearTimeout(this.#timer);
    if (this.paused) return;
    const isLast = this.position + 1 >= this.length;
    if (isLast && !this.loop) return this.pause();
    this.#timer = setTimeout(() => this.#show(isLast ? 0 : this.position + 1), DWELL_MS / this.speed);
  }

  close() {
    clearTimeout(this.#timer);
    this.paused = true;
  }

  /** @param {number} position */
  #show(position) {
    this.position = position;
    this.#onSeek();
    this.onChange();
  }
}
