/** Jobs of the server for videos and folders: upload, progress, cancel, results. */

import { addressOf, call, ServerError, thisServer } from "./endpoints.js";
import { kinds } from "./kinds.js";
import { isImage, isVideo } from "./sources.js";
import { onLanguage, PageError, text } from "./texts.js";

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

/** Return the progress of a job, 0 to 1; null if unknown. @param {any} job @returns {number | null} */
export const shareOf = ({ state, share = 0, frames = 0, of }) => (state === "uploading" ? share : of ? frames / of : null);

/** Return the state of a job as text. @param {any} job @returns {string} */
export function stateText({ state, share = 0, frames = 0, of, instances = 0, seconds = 0 }) {
  const values = { frames, of: of ?? "?", instances, seconds: Number(seconds).toFixed(1), percent: Math.round(share * 100) };
  return text(`job.${state}`, values);
}

/** Check whether a job is unfinished. @param {any} job */
export const isActive = ({ state }) => ["uploading", "waiting", "running"].includes(state);

const TABLES = ["csv", "json", "jsonl", "parquet", "xlsx"];
const MORE_TABLES = [["instances.csv", "job.instances"], ["wide.csv", "job.wide"], ["events.csv", "job.events"]];

export class JobItem {
  /** @type {EventSource | undefined} */ events;
  /** @type {() => void} function that stops the upload */ abort = () => {};
  #actions;
  #rendered = "";

  /** @param {any} job @param {{cancel(): void, remove(): void}} actions */
  constructor(job, actions) {
    this.job = job;
    this.#actions = actions;
    this.node = document.createElement("li");
    this.node.className = "job";
    this.render();
  }

  /** @param {any} changes */
  update(changes) {
    const { state } = this.job;
    this.job = { ...this.job, ...changes };
    if (this.job.state !== state || changes.id) this.#rendered === this.job.state ? this.#progress() : this.render();
    else this.#progress();
  }

  /** Draw the item again for another state or language. */
  render() {
    const { name, model, state, message, problems = [] } = this.job;
    this.#rendered = state;
    this.node.dataset.state = state;
    const isOn = isActive(this.job);
    const title = element("p", "job-title", element("strong", "", name), element("span", "tag", model));
    const label = element("p", "job-state");
    const bar = Object.assign(document.createElement("progress"), { max: 1, hidden: !isOn });
    bar.setAttribute("aria-label", text("job.progress", { name }));
    const buttons = element("div", "row");
    if (state === "done") buttons.append(...this.#results());
    const end = element("button", "button small", text(isOn ? "job.cancel" : "job.remove"));
    end.setAttribute("aria-label", `${text(isOn ? "job.cancel" : "job.remove")}: ${name}`);
    end.onclick = () => (isOn ? this.#actions.cancel() : this.#actions.remove());
    buttons.append(end);
    const notes = [message, ...problems].filter(Boolean).map((note) => element("p", "hint", String(note)));
    this.node.replaceChildren(title, label, bar, ...notes, buttons);
    this.#progress();
  }

  #progress() {
    showShare(/** @type {HTMLProgressElement} */ (this.node.querySelector("progress")), shareOf(this.job));
    /** @type {HTMLElement} */ (this.node.querySelector(".job-state")).textContent = stateText(this.job);
  }

  /** Return links to the results and a preview of the annotated copy. */
  #results() {
    const { downloads = {}, name } = this.job;
    const link = (/** @type {string} */ href, /** @type {string} */ label) => {
      const node = /** @type {HTMLAnchorElement} */ (element("a", "button small", label));
      Object.assign(node, { href: addressOf(href), download: "" });
      node.setAttribute("aria-label", `${label}: ${name}`);
      return node;
    };
    const nodes = TABLES.filter((ending) => downloads[ending]).map((ending) => link(downloads[ending], ending.toUpperCase()));
    for (const [ending, label] of MORE_TABLES) if (downloads[ending]) nodes.push(link(downloads[ending], text(label)));
    if (downloads["motions.csv"]) nodes.push(link(downloads["motions.csv"], text("job.motions")));
    if (!downloads.drawn) return nodes;
    const preview = element("button", "button small", text("job.look"));
    preview.setAttribute("aria-expanded", "false");
    preview.onclick = () => this.#togglePreview(preview, downloads.drawn);
    const isZip = downloads.drawn.endsWith(".zip");
    return [...nodes, link(downloads.drawn, text("job.drawn")), ...(isZip ? [] : [preview])];
  }

  /** Show or hide the annotated copy. @param {HTMLElement} button @param {string} path */
  #togglePreview(button, path) {
    const shown = this.node.querySelector(".drawn");
    button.setAttribute("aria-expanded", String(!shown));
    if (shown) return shown.remove();
    const isClip = path.endsWith(".mp4");
    const view = document.createElement(isClip ? "video" : "img");
    if (view instanceof HTMLVideoElement) Object.assign(view, { controls: true, autoplay: true, muted: true, loop: true });
    else view.alt = text("job.drawn");
    view.className = "drawn";
    view.src = addressOf(path);
    this.node.append(view);
  }
}

/** @param {HTMLProgressElement} bar @param {number | null} share */
export function showShare(bar, share) {
  if (share === null) bar.removeAttribute("value");
  else bar.value = share;
}

/** @param {string} tag @param {string} className @param {(string | Node)[]} content */
function element(tag, className, ...content) {
  const node = document.createElement(tag);
  node.className = className;
  if (node instanceof HTMLButtonElement) node.type = "button";
  node.append(...content);
  return node;
}
