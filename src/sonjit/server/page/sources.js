/** Sources of images: a camera, a video, the sample clip or still images. */

import { cameraError, PageError } from "./texts.js";

/** @typedef {{time: number, since: number, jumped?: boolean, video?: HTMLVideoElement, bitmap?: ImageBitmap, file?: File, index?: number, source?: string}} Tick
 *   `time`: seconds in the stream; `since`: performance.now() when the image appeared; `jumped`: whether it does not follow the last one */
/** @typedef {(tick: Tick) => Promise<boolean>} OnTick returns whether the image was processed */
/** @typedef {{still: boolean, name: string, player: Player | null, play(onTick: OnTick, onError: (error: unknown) => void): void, refresh(): void, close(): void}} Source
 *   `player`: null for a camera or one image; `refresh`: start, or process the current image again */

const RETRY_MS = 60; // delay before a skipped image that is still shown is tried again
const RESUMING = ["resume", "visibilitychange"];
const JUMP_S = 1; // larger steps are jumps
const SHOWN_BY_ALL = /\.(jpe?g|png|webp|bmp|gif)$/i; // an image that the browser cannot show in these formats is damaged
const IMAGE = /\.(jpe?g|png|webp|bmp|gif|tiff?|avif|heic)$/i;
const VIDEO = /\.(mp4|m4v|mov|webm|mkv|avi|ogv|mpe?g|ts)$/i;

/** @param {File} file */
export const isImage = (file) => file.type.startsWith("image/") || (!file.type && IMAGE.test(file.name));
/** @param {File} file */
export const isVideo = (file) => file.type.startsWith("video/") || (!file.type && VIDEO.test(file.name));

/** @returns {Promise<{id: string, label: string}[]>} names are empty until the user allows a camera */
export async function cameras() {
  const devices = (await navigator.mediaDevices?.enumerateDevices().catch(() => [])) ?? [];
  return devices.filter(({ kind }) => kind === "videoinput").map(({ deviceId, label }) => ({ id: deviceId, label }));
}

/**
 * @param {HTMLVideoElement} video element that plays it @param {string} deviceId "" for the browser's default
 * @returns {Promise<Source>}
 */
export async function openCamera(video, deviceId) {
  if (!navigator.mediaDevices?.getUserMedia) throw new PageError("insecure");
  const wanted = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } };
  const chosen = deviceId ? { ...wanted, deviceId: { exact: deviceId } } : wanted;
  const stream = await navigator.mediaDevices.getUserMedia({ video: chosen }).catch((error) => {
    throw cameraError(error);
  });
  video.srcObject = stream;
  const [track] = stream.getVideoTracks();
  const resume = () => video.paused && !document.hidden && video.play().catch(() => {}); // phones pause videos in hidden tabs
  for (const event of RESUMING) document.addEventListener(event, resume);
  const source = streamSource(video, track.label, null, () => performance.now() / 1000, () => {
    for (const event of RESUMING) document.removeEventListener(event, resume);
    track.stop();
    video.srcObject = null;
  });
  const { play } = source;
  source.play = (onTick, onError) => {
    track.onended = () => onError(new PageError("camera_gone"));
    play(async (tick) => track.readyState === "ended" || onTick(tick), onError); // the last image may arrive after the end
  };
  return source;
}

/**
 * @param {HTMLVideoElement} video element that plays it @param {File | string} what file or address
 * @param {{name: string, loop?: boolean}} how
 * @returns {Promise<Source>} source that is paused at its first image until `refresh`
 */
export async function openVideo(video, what, { name, loop = false }) {
  const address = typeof what === "string" ? what : URL.createObjectURL(what);
  video.loop = loop;
  video.src = address;
  const loaded = await new Promise((resolve) => {
    video.onloadeddata = () => resolve(video.videoWidth > 0);
    video.onerror = () => resolve(false);
  });
  video.onloadeddata = video.onerror = null;
  const player = new VideoPlayer(video);
  const leave = () => {
    player.close();
    if (address !== what) URL.revokeObjectURL(address);
    video.removeAttribute("src");
    video.load();
  };
  if (!loaded) {
    leave();
    throw new PageError("no_video", { name });
  }
  return streamSource(video, name, player, (mediaTime) => mediaTime, leave);
}

/**
 * @param {HTMLVideoElement} video @param {string} name @param {Player | null} player
 * @param {(mediaTime: number) => number} timeOf @param {() => void} leave
 * @returns {Source}
 */
function streamSource(video, name, player, timeOf, leave) {
  let [open, begun, last] = [true, false, 0];
  let [shown, processed] = [0, 0]; // number of images, and number of the last processed one
  let [jumps, known] = [0, 0]; // number of seeks, and number of the last processed one
  /** @type {OnTick} */ let onTick = async () => true;
  /** @type {(error: unknown) => void} */ let onError = () => {};
  const processAt = (/** @type {number} */ mediaTime) => {
    const time = timeOf(mediaTime);
    if (time < last || time > last + JUMP_S) jumps += 1;
    last = time;
    process(time, jumps, jumps !== known);
  };
  const process = async (/** @type {number} */ time, /** @type {number} */ jump, /** @type {boolean} */ jumped) => {
    const number = ++shown;
    while (open && number === shown) {
      const isDone = await onTick({ time, since: performance.now(), video, jumped });
      if (isDone) [known, processed] = [jump, number];
      if (isDone || !video.paused) return;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  };
  let current = 0;
  const next = () => onFrame(video, (mediaTime) => {
    if (!open) return;
    current = mediaTime;
    processAt(mediaTime);
    next();
  });
  const begin = () => {
    begun = true;
    next();
    video.onpause = () => open && processed !== shown && processAt(current); // the current image has been drawn
    video.play().catch((error) => open && onError(error));
  };
  return {
    still: false,
    name,
    player,
    play(tick, failed) {
      [onTick, onError] = [tick, failed];
      if (!player) begin();
    },
    refresh() {
      if (!begun) begin();
      else if (video.paused) processAt(current);
    },
    close() {
      open = false;
      video.onpause = null;
      video.pause();
      leave();
    },
  };
}

/** Call a function with the next image of a video. @param {HTMLVideoElement} video @param {(mediaTime: number) => void} react */
function onFrame(video, react) {
  if ("requestVideoFrameCallback" in video) video.requestVideoFrameCallback((_, { mediaTime }) => react(mediaTime));
  else requestAnimationFrame(() => react(/** @type {HTMLVideoElement} */ (video).currentTime));
}

/**
 * Return a source of still images, which starts with the first.
 *
 * @param {File[]} files
 * @returns {Promise<Source>}
 * @throws {PageError} the only image cannot be shown
 */
export async function openImages(files) {
  const several = files.length > 1;
  if (!several) (await decoded(files[0])).close();
  let [turn, open] = [0, true];
  /** @type {OnTick} */ let onTick = async () => true;
  /** @type {(error: unknown) => void} */ let onError = () => {};
  const player = new ImagePlayer(files, () => processAt());
  const processAt = async () => {
    const number = ++turn;
    const index = player.position;
    const tick = await tickOf(files[index], index).catch((error) => {
      if (open && number === turn) onError(error);
    });
    while (tick && open && number === turn && !(await onTick({ ...tick, since: performance.now() }))) {
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
    if (open && number === turn) player.shown();
  };
  return {
    still: true,
    name: several ? `${files.length}` : files[0].name,
    player: several ? player : null,
    play(tick, failed) {
      [onTick, onError] = [tick, failed];
    },
    refresh: processAt,
    close() {
      open = false;
      player.close();
    },
  };
}

/** @param {File} file @param {number} index @returns {Promise<Tick>} */
async function tickOf(file, index) {
  const bitmap = await decoded(file);
  return { time: index, since: performance.now(), bitmap, file, index, source: file.webkitRelativePath || file.name };
}

/** @param {File} file @returns {Promise<ImageBitmap>} */
export function decoded(file) {
  return createImageBitmap(file).catch(() => {
    throw new PageError(SHOWN_BY_ALL.test(file.name) ? "damaged" : "unsupported", { name: file.name });
  });
}

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
