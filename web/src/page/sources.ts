/** Sources of images: a camera, a video, the sample clip or still images. */

import { PageError } from "./common.js";

/**
 * `time`: seconds in the stream; `since`: performance.now() when the image appeared; `jumped`:
 * whether it does not follow the last one
 */
export type Tick = {
  time: number;
  since: number;
  jumped?: boolean;
  video?: HTMLVideoElement;
  bitmap?: ImageBitmap;
  file?: File;
  index?: number;
  source?: string;
};
/** returns whether the image was processed */
type OnTick = (tick: Tick) => Promise<boolean>;
/**
 * `player`: null for a camera or one image; `refresh`: start, or process the current image again
 */
export type Source = {
  name: string;
  player: Player | null;
  play(onTick: OnTick, onError: (error: unknown) => void): void;
  refresh(): void;
  close(): void;
};

const RETRY_MS = 60; // delay before a skipped image that is still shown is tried again
const RESUMING = ["resume", "visibilitychange"];
const JUMP_S = 1; // larger steps are jumps
// an image that the browser cannot show in these formats is damaged
const SHOWN_BY_ALL = /\.(jpe?g|png|webp|bmp|gif)$/i;
const IMAGE = /\.(jpe?g|png|webp|bmp|gif|tiff?|avif|heic)$/i;
const VIDEO = /\.(mp4|m4v|mov|webm|mkv|avi|ogv|mpe?g|ts)$/i;

export const isImage = (file: File) =>
  file.type.startsWith("image/") || (!file.type && IMAGE.test(file.name));
export const isVideo = (file: File) =>
  file.type.startsWith("video/") || (!file.type && VIDEO.test(file.name));

/** Return the error of a file that is neither an image nor a video. */
export const notMedia = ({ name }: File) =>
  new PageError(/\.npz$/i.test(name) ? "trained_gestures" : "no_media", { name });

const CAMERA = {
  NotAllowedError: "camera_denied",
  SecurityError: "camera_denied",
  NotFoundError: "camera_none",
  OverconstrainedError: "camera_none",
  NotReadableError: "camera_busy",
  AbortError: "camera_busy",
};

/**
 * @param video element that plays it
 * @param deviceId "" for the browser's default
 */
export async function openCamera(video: HTMLVideoElement, deviceId: string): Promise<Source> {
  if (!navigator.mediaDevices?.getUserMedia) throw new PageError("insecure");
  const wanted = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } };
  const chosen = deviceId ? { ...wanted, deviceId: { exact: deviceId } } : wanted;
  const stream = await navigator.mediaDevices.getUserMedia({ video: chosen }).catch((error) => {
    throw new PageError(CAMERA[error?.name as keyof typeof CAMERA] ?? "camera_failed", {
      reason: String(error),
    });
  });
  video.srcObject = stream;
  const [track] = stream.getVideoTracks();
  // phones pause videos in hidden tabs
  const resume = () => video.paused && !document.hidden && video.play().catch(() => {});
  const listening = new AbortController();
  for (const event of RESUMING)
    document.addEventListener(event, resume, { signal: listening.signal });
  const source = streamSource(
    video,
    track!.label,
    null,
    () => performance.now() / 1000,
    () => {
      listening.abort();
      track!.stop();
      video.srcObject = null;
    },
  );
  const { play } = source;
  source.play = (onTick, onError) => {
    track!.onended = () => onError(new PageError("camera_gone"));
    // the last image may arrive after the end
    play(async (tick) => track!.readyState === "ended" || onTick(tick), onError);
  };
  return source;
}

/**
 * @param video element that plays it
 * @param what file or address
 * @returns source that is paused at its first image until `refresh`
 */
export async function openVideo(
  video: HTMLVideoElement,
  what: File | string,
  loop: boolean = false,
): Promise<Source> {
  const [name, address] =
    typeof what === "string" ? [what, what] : [what.name, URL.createObjectURL(what)];
  video.loop = loop;
  video.src = address;
  const loaded = await new Promise((resolve) => {
    video.onloadeddata = () => resolve(video.videoWidth > 0);
    video.onerror = () => resolve(false);
  });
  video.onloadeddata = video.onerror = null;
  const listening = new AbortController();
  const player = videoPlayer(video, listening.signal);
  const leave = () => {
    listening.abort();
    video.removeAttribute("src");
    video.load(); // ends the requests that still read the address
    if (address !== what) URL.revokeObjectURL(address);
  };
  if (!loaded) {
    leave();
    throw new PageError("no_video", { name });
  }
  return streamSource(video, name, player, (mediaTime) => mediaTime, leave);
}

function streamSource(
  video: HTMLVideoElement,
  name: string,
  player: Player | null,
  timeOf: (mediaTime: number) => number,
  leave: () => void,
): Source {
  let [open, begun, last] = [true, false, 0];
  let [shown, processed] = [0, 0]; // number of images, and number of the last processed one
  let [jumps, known] = [0, 0]; // number of seeks, and number of the last processed one
  let onTick: OnTick = async () => true;
  let onError: (error: unknown) => void = () => {};
  const processAt = (mediaTime: number) => {
    const time = timeOf(mediaTime);
    if (time < last || time > last + JUMP_S) jumps += 1;
    last = time;
    void process(time, jumps, jumps !== known);
  };
  const process = async (time: number, jump: number, jumped: boolean) => {
    const number = ++shown;
    while (open && number === shown) {
      const isDone = await onTick({ time, since: performance.now(), video, jumped });
      if (isDone) [known, processed] = [jump, number];
      if (isDone || !video.paused) return;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  };
  let current = 0;
  const next = () =>
    video.requestVideoFrameCallback((_, { mediaTime }) => {
      if (!open) return;
      current = mediaTime;
      processAt(mediaTime);
      next();
    });
  const begin = () => {
    begun = true;
    next();
    // the current image has been drawn
    video.onpause = () => open && processed !== shown && processAt(current);
    video.play().catch((error) => open && onError(error));
  };
  return {
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

/**
 * Return a source of still images, which starts with the first.
 *
 * @throws {PageError} the only image cannot be shown
 */
export async function openImages(files: File[]): Promise<Source> {
  const isSeveral = files.length > 1;
  if (!isSeveral) (await decoded(files[0]!)).close();
  let [turn, speed, open] = [0, 1, true];
  let onTick: OnTick = async () => true;
  let onError: (error: unknown) => void = () => {};
  let timer: ReturnType<typeof setTimeout> | undefined;
  const state = { length: files.length, position: 0, paused: true, loop: false };

  async function process() {
    const number = ++turn;
    const isCurrent = () => open && number === turn;
    const index = state.position;
    const file = files[index]!;
    const bitmap = await decoded(file).catch((error) => isCurrent() && onError(error));
    const tick = { time: index, bitmap, file, index, source: file.webkitRelativePath || file.name };
    while (
      bitmap &&
      isCurrent() &&
      !(await onTick({ ...tick, bitmap, since: performance.now() }))
    ) {
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
    if (isCurrent()) schedule();
  }

  /** Schedule the next image. */
  function schedule() {
    clearTimeout(timer);
    const isLast = state.position + 1 >= state.length;
    if (state.paused) return undefined;
    if (isLast && !state.loop) return player.pause();
    timer = setTimeout(() => show(isLast ? 0 : state.position + 1), DWELL_MS / speed);
    return undefined;
  }

  function show(position: number) {
    state.position = position;
    void process();
    player.onChange();
  }

  function rest() {
    clearTimeout(timer);
    state.paused = true;
  }

  const player: Player = {
    kind: "images",
    files,
    state,
    onChange() {},
    set(changes) {
      [state.loop, speed] = [changes.loop ?? state.loop, changes.speed ?? speed];
      player.onChange();
    },
    play() {
      state.paused = false;
      if (state.position + 1 < state.length) schedule();
      else show(0);
      player.onChange();
    },
    pause() {
      rest();
      player.onChange();
    },
    seek: (position) => show(Math.min(Math.max(Math.round(position), 0), files.length - 1)),
    step(by) {
      rest();
      show((state.position + by + files.length) % files.length);
    },
  };
  return {
    name: isSeveral ? `${files.length}` : files[0]!.name,
    player: isSeveral ? player : null,
    play(tick, failed) {
      [onTick, onError] = [tick, failed];
    },
    refresh: process,
    close() {
      open = false;
      rest();
    },
  };
}

export function decoded(file: File): Promise<ImageBitmap> {
  return createImageBitmap(file).catch(() => {
    throw new PageError(SHOWN_BY_ALL.test(file.name) ? "damaged" : "unsupported", {
      name: file.name,
    });
  });
}

/**
 * `length` and `position`: seconds of a video, or number of images; `step`: move by a number of
 * images
 */
export type Player = {
  kind: "video" | "images";
  state: { length: number; position: number; paused: boolean; loop: boolean };
  onChange: () => void;
  set(changes: { loop?: boolean; speed?: number }): void;
  play(): void;
  pause(): void;
  seek(position: number): void;
  step(by: number): void;
  files?: File[];
};

const DWELL_MS = 1000; // display time of an image at speed 1
const USUAL_STEP_S = 1 / 30; // until the video's frame rate is known
const LEAST_STEP_S = 1 / 240;
const EVENTS = ["play", "pause", "ended", "seeked", "timeupdate", "ratechange", "durationchange"];

/** @param signal that ends it */
function videoPlayer(video: HTMLVideoElement, signal: AbortSignal): Player {
  let stepS = USUAL_STEP_S;
  const player: Player = {
    kind: "video",
    onChange() {},
    get state() {
      const { duration, currentTime: position, paused, loop } = video;
      return { length: Number.isFinite(duration) ? duration : 0, position, paused, loop };
    },
    set({ loop = video.loop, speed = video.playbackRate }) {
      Object.assign(video, { loop, playbackRate: speed });
      player.onChange();
    },
    play: () => void video.play().catch(() => player.onChange()),
    pause: () => video.pause(),
    seek(position) {
      video.currentTime = Math.min(Math.max(position, 0), player.state.length);
    },
    step(by) {
      video.pause();
      const { position, length } = player.state;
      const middle = (Math.floor(position / stepS + 1e-3) + by + 0.5) * stepS;
      player.seek(Math.min(middle, length - stepS / 2));
    },
  };
  video.playbackRate = 1;
  for (const name of EVENTS) video.addEventListener(name, () => player.onChange(), { signal });
  let [least, time, count] = [Infinity, NaN, 0];
  const measure = () =>
    video.requestVideoFrameCallback((_, { mediaTime, presentedFrames }) => {
      if (signal.aborted) return;
      const step = (mediaTime - time) / (presentedFrames - count);
      // the minimum is the duration of a frame
      if (step > LEAST_STEP_S && step < least && !video.paused) stepS = least = step;
      [time, count] = [mediaTime, presentedFrames];
      measure();
    });
  measure();
  return player;
}
