/** Jobs of the server for videos and folders: upload, progress, cancel, results. */

import { ServerError, addressOf, call, thisServer } from "./endpoints.js";
import { onLanguage, text } from "./i18n.js";
import { JobItem } from "./job-item.js";
import { kinds } from "./kinds.js";
import { PageError } from "./messages.js";
import { isImage, isVideo } from "./sources.js";

const ENDED = ["done", "failed", "cancelled"];

/** The list of jobs. */
export class Jobs {
  #list;
  #onError;
  #onLatest;
  /** @type {Map<string, JobItem>} */ #items = new Map();
  /** @type {JobItem | null} */ #latest = null;

  /**
   * @param {HTMLElement} list @param {(error: unknown) => void} onError
   * @param {(job: any) => void} onLatest function that receives the last job; null if it was removed
   */
  constructor(list, onError, onLatest) {
    this.#list = list;
    this.#onError = onError;
    this.#onLatest = onLatest;
    onLanguage(() => this.#items.forEach((item) => item.render()));
  }

  /** Load the jobs of the server. */
  async load() {
    const jobs = /** @type {any} */ (await call(new URL("/v1/jobs", thisServer)));
    for (const job of jobs.reverse()) this.#follow(this.#item(job), job);
  }

  /**
   * Create one job for all images and one for each video, with all detectors.
   *
   * @param {File[]} files @param {{kind: string, [option: string]: unknown}[]} detectors as of a stream
   */
  async start(files, detectors) {
    if (!detectors.length) throw new PageError("no_detector");
    const images = files.filter(isImage);
    const sets = [...(images.length ? [images] : []), ...files.filter(isVideo).map((file) => [file])];
    await Promise.all(sets.map((set) => this.#upload(set, detectors)));
  }

  /** @param {File[]} files @param {{kind: string, [option: string]: unknown}[]} detectors */
  async #upload(files, detectors) {
    const [{ name: first, webkitRelativePath: path }] = files;
    const name = files.length === 1 ? first : path.split("/")[0] || text("job.images", { count: files.length });
    const item = this.#item({ name, model: detectors.map(({ kind, model }) => `${kind}-${model}`).join("+"), state: "uploading", share: 0 });
    this.#latest = item;
    const form = new FormData();
    for (const file of files) form.append("file", file, file.webkitRelativePath || file.name);
    try {
      const query = new URLSearchParams({ detectors: JSON.stringify(detectors.map(optionsOfJob)) });
      const job = await post(`/v1/jobs?${query}`, form, (share) => this.#update(item, { share }), (abort) => (item.abort = abort));
      this.#follow(item, job);
    } catch (error) {
      this.#remove(item);
      if (/** @type {ServerError} */ (error).code !== "aborted") this.#onError(error);
    }
  }

  /** @param {object} job */
  #item(job) {
    const item = new JobItem(job, { cancel: () => this.#cancel(item), remove: () => this.#delete(item) });
    this.#list.prepend(item.node);
    return item;
  }

  /** @param {JobItem} item @param {any} job */
  #follow(item, job) {
    this.#items.set(job.id, item);
    this.#update(item, job);
    if (ENDED.includes(job.state)) return;
    const events = new EventSource(addressOf(`/v1/jobs/${job.id}/events`));
    item.events = events;
    events.onmessage = ({ data }) => {
      const now = JSON.parse(data);
      this.#update(item, now);
      if (ENDED.includes(now.state)) events.close();
    };
    events.onerror = () => {
      if (events.readyState === EventSource.CLOSED) this.#update(item, { state: "failed", message: text("job.lost") });
    };
  }

  /** @param {JobItem} item @param {any} changes */
  #update(item, changes) {
    item.update(changes);
    if (item === this.#latest) this.#onLatest(item.job);
  }

  /** @param {JobItem} item */
  async #cancel(item) {
    if (item.job.id === undefined) return item.abort();
    await this.#ask(`/v1/jobs/${item.job.id}/cancel`, "POST");
  }

  /** @param {JobItem} item */
  async #delete(item) {
    if (await this.#ask(`/v1/jobs/${item.job.id}`, "DELETE")) this.#remove(item);
  }

  /** @param {JobItem} item */
  #remove(item) {
    item.events?.close();
    if (item === this.#latest) this.#onLatest(null);
    this.#items.delete(item.job.id);
    item.node.remove();
  }

  /** @param {string} path @param {string} method @returns {Promise<boolean>} whether the request succeeded or the job does not exist */
  async #ask(path, method) {
    try {
      const answer = await fetch(new URL(path, thisServer), { method });
      if (answer.ok || answer.status === 404) return true;
      this.#onError(errorOf(await answer.text()));
    } catch {
      this.#onError(new ServerError("gone", ""));
    }
    return false;
  }
}

/** Return the detector options that jobs support. @param {{kind: string, [option: string]: unknown}} detector */
function optionsOfJob({ kind, ...options }) {
  const known = kinds[kind].job_options.filter((name) => name !== "static_image"); // the server detects stills itself
  return { kind, ...Object.fromEntries(Object.entries({ ...options, measures: true }).filter(([name]) => known.includes(name))) };
}

/**
 * Send a form and report the progress, which `fetch` cannot do.
 *
 * @param {string} path @param {FormData} form @param {(share: number) => void} onShare @param {(abort: () => void) => void} onAbort receives the function that stops it
 * @returns {Promise<any>}
 */
function post(path, form, onShare, onAbort) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", new URL(path, thisServer));
    request.upload.onprogress = ({ loaded, total }) => onShare(loaded / total);
    request.onload = () => (request.status === 202 ? resolve(JSON.parse(request.responseText)) : reject(errorOf(request.responseText)));
    request.onerror = () => reject(new ServerError("gone", ""));
    request.onabort = () => reject(new ServerError("aborted", ""));
    onAbort(() => request.abort());
    request.send(form);
  });
}

/** @param {string} body */
function errorOf(body) {
  try {
    const { code, message } = JSON.parse(body).error;
    return new ServerError(code, message);
  } catch {
    return new ServerError("failed", body.slice(0, 200));
  }
}
