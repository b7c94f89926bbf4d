/** Where images come from: a camera, a video, the sample clip, or images one after the other. */

import { PageError, cameraError } from "./messages.js";

/** @typedef {{time: number, since: number, video?: HTMLVideoElement, bitmap?: ImageBitmap, file?: File, index?: number, source?: string}} Tick
 *   `time`: seconds in the stream; `since`: performance.now() when the image was there */
/** @typedef {{still: boolean, name: string, play(onTick: (tick: Tick) => unknown, onEnd: (error?: unknown) => void): void, refresh(): void, close(): void}} Source */

const DWELL_MS = 500; // how long each of several images stays
const IMAGE = /\.(jpe?g|png|webp|bmp|gif|tiff?|avif|heic)$/i;
const VIDEO = /\.(mp4|m4v|mov|webm|mkv|avi|ogv|mpe?g|ts)$/i;

/** @param {File} file */
export const isImage = (file) => file.type.startsWith("image/") || (!file.type && IMAGE.test(file.name));
/** @param {File} file */
export const isVideo = (file) => file.type.startsWith("video/") || (!file.type && VIDEO.test(file.name));

/** @returns {Promise<{id: string, label: string}[]>} names are empty until a camera was allowed */
export async function cameras() {
  const devices = (await navigator.mediaDevices?.enumerateDevices().catch(() => [])) ?? [];
  return devices.filter(({ kind }) => kind === "videoinput").map(({ deviceId, label }) => ({ id: deviceId, label }));
}

/**
 * @param {HTMLVideoElement} video plays it @param {string} deviceId "" for whichever the browser takes
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
  const source = moving(video, track.label, () => performance.now() / 1000, () => {
    track.stop();
    video.srcObject = null;
  });
  const { play } = source;
  source.play = (onTick, onEnd) => {
    track.onended = () => onEnd(new PageError("camera_gone"));
    play(onTick, onEnd);
  };
  return source;
}

/**
 * @param {HTMLVideoElement} video plays it @param {File | string} what a file or an address
 * @param {{name: string, loop?: boolean}} how
 * @returns {Promise<Source>}
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
  const leave = () => {
    if (address !== what) URL.revokeObjectURL(address);
    video.removeAttribute("src");
    video.load();
  };
  if (!loaded) {
    leave();
    throw new PageError("unsupported", { name });
  }
  let rounds = 0;
  let last = 0;
  return moving(video, name, (mediaTime) => {
    if (mediaTime < last) rounds += 1; // it began again: time goes on
    last = mediaTime;
    return mediaTime + rounds * video.duration;
  }, leave);
}

/** @param {HTMLVideoElement} video @param {string} name @param {(mediaTime: number) => number} timeOf @param {() => void} leave @returns {Source} */
function moving(video, name, timeOf, leave) {
  let open = true;
  return {
    still: false,
    name,
    play(onTick, onEnd) {
      const next = () => onFrame(video, (mediaTime) => {
        if (!open) return;
        onTick({ time: timeOf(mediaTime), since: performance.now(), video });
        next();
      });
      next();
      video.onended = () => onEnd();
      video.play().catch((error) => open && onEnd(error));
    },
    refresh() {},
    close() {
      open = false;
      video.onended = null;
      video.pause();
      leave();
    },
  };
}

/** Call with the next image. @param {HTMLVideoElement} video @param {(mediaTime: number) => void} react */
function onFrame(video, react) {
  if ("requestVideoFrameCallback" in video) video.requestVideoFrameCallback((_, { mediaTime }) => react(mediaTime));
  else requestAnimationFrame(() => react(/** @type {HTMLVideoElement} */ (video).currentTime));
}

/**
 * Images in the order of their names, each shown once; the last one stays.
 *
 * @param {File[]} files
 * @returns {Promise<Source>}
 */
export async function openImages(files) {
  const several = files.length > 1;
  let [index, turn, open] = [0, 0, true];
  /** @type {(tick: Tick) => any} */ let onTick = () => {};
  /** @type {(error?: unknown) => void} */ let onEnd = () => {};
  const run = async () => {
    const mine = ++turn;
    const current = () => open && mine === turn;
    for (;;) {
      const tick = await tickOf(files[index], index, several).catch((error) => {
        if (current()) onEnd(error);
      });
      if (!current()) return;
      const done = tick ? await onTick(tick) : true; // what cannot be read is reported, and passed over
      if (!current() || !done || index + 1 >= files.length) return;
      await new Promise((resolve) => setTimeout(resolve, DWELL_MS));
      if (!current()) return;
      index += 1;
    }
  };
  return {
    still: true,
    name: several ? `${files.length}` : files[0].name,
    play(tick, end) {
      [onTick, onEnd] = [tick, end];
    },
    refresh: run,
    close() {
      open = false;
    },
  };
}

/** @param {File} file @param {number} index @param {boolean} several @returns {Promise<Tick>} */
async function tickOf(file, index, several) {
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new PageError("unsupported", { name: file.name });
  });
  return { time: index, since: performance.now(), bitmap, file, index, source: several ? file.webkitRelativePath || file.name : file.name };
}
