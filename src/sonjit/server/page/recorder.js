/** Records image and drawing as a video, and the tables of the same frames. */

import { PageError } from "./messages.js";
import { Table } from "./tables.js";

const FORMATS = [["video/webm;codecs=vp9", "webm"], ["video/webm;codecs=vp8", "webm"], ["video/webm", "webm"], ["video/mp4", "mp4"]];
const BITS_PER_PX_S = 6;

export class Recorder {
  #overlay;
  #canvas = document.createElement("canvas");
  /** @type {MediaRecorder | null} */ #media = null;
  /** @type {Blob[]} */ #parts = [];
  #table = new Table();
  #ending = "";

  /** @param {import("./overlay.js").OverlayView} overlay view to record */
  constructor(overlay) {
    this.#overlay = overlay;
  }

  get on() {
    return this.#media !== null;
  }

  /** @param {{source: string, detectors: {kind: string}[]}} of */
  start(of) {
    const format = FORMATS.find(([type]) => globalThis.MediaRecorder?.isTypeSupported(type));
    if (!format) throw new PageError("no_recorder");
    this.#ending = format[1];
    this.#overlay.compose(this.#canvas); // it determines the size of the video
    this.#table.begin(of);
    this.#parts = [];
    const { width, height } = this.#canvas;
    const options = { mimeType: format[0], videoBitsPerSecond: width * height * BITS_PER_PX_S };
    this.#media = new MediaRecorder(this.#canvas.captureStream(0), options);
    this.#media.ondataavailable = ({ data }) => this.#parts.push(data);
    this.#media.start(1000);
  }

  /** Add the current frame. @param {Record<string, any>} frame @param {object} seen */
  add(frame, seen) {
    if (!this.#media) return;
    this.#overlay.compose(this.#canvas);
    const [track] = this.#media.stream.getVideoTracks();
    /** @type {CanvasCaptureMediaStreamTrack} */ (track).requestFrame();
    this.#table.add(frame, seen);
  }

  /** @returns {Promise<{ending: string, blob: Blob, frames: number}[] | null>} video and tables; null without frames */
  async stop() {
    const media = this.#media;
    if (!media) return null;
    this.#media = null;
    await new Promise((resolve) => {
      media.onstop = resolve;
      media.stop();
    });
    for (const track of media.stream.getTracks()) track.stop();
    const frames = this.#table.count;
    if (!frames) return null;
    return [
      { ending: this.#ending, blob: new Blob(this.#parts, { type: media.mimeType }), frames },
      { ending: "jsonl", blob: await this.#table.jsonLines(), frames },
      { ending: "csv", blob: await this.#table.csv(), frames },
    ];
  }
}

/** Add links to the files of a recording. @param {HTMLElement} list @param {{ending: string, blob: Blob}[]} files @param {string} name @param {string} title */
export function listRecording(list, files, name, title) {
  const item = document.createElement("li");
  item.append(Object.assign(document.createElement("span"), { textContent: title }));
  for (const { ending, blob } of files) {
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: `${name}.${ending}`, textContent: ending.toUpperCase() });
    link.className = "button small";
    item.append(link);
  }
  list.prepend(item);
  list.hidden = false;
}
