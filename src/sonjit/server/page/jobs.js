/** Jobs of the server for videos and folders: upload, progress, cancel, results. */

import { make, makeButton } from "./dom.js";
import { addressOf, call, ServerError } from "./endpoints.js";
import { kinds } from "./kinds.js";
import { isImage, isVideo } from "./sources.js";
import { onLanguage, PageError, showError, text } from "./texts.js";

const ENDED = ["done", "failed", "cancelled"];

/** Return the list of jobs. @param {HTMLElement} list @param {(job: any) => void} onLatest function that receives the last job; null if it was removed */
export function createJobs(list, onLatest) {
  /** @type {Set<JobItem>} */ const items = new Set();
  /** @type {JobItem | null} */ let latest = null;
  onLanguage(() => items.forEach((item) => item.render()));

  /** Load the jobs of the server. */
  async function load() {
    const jobs = /** @type {any} */ (await call(addressOf("/v1/jobs")));
    for (const job of jobs.reverse()) follow(add(job), job);
  }

  /** Create one job for all images and one for each video, with all detectors. @param {File[]} files @param {{kind: string, [option: string]: unknown}[]} detectors as of a stream @param {import("./painter.js").Style} style of the drawings */
  async function start(files, detectors, { drawing: _, gestures, ...style }) {
    if (!detectors.length) throw new PageError("no_detector");
    const showsGestures = gestures && detectors.some((each) => (each.gestures ?? "none") !== "none");
    const query = new URLSearchParams({ detectors: JSON.stringify(detectors.map(optionsOfJob)), style: JSON.stringify({ ...style, gestures: showsGestures }) });
    const images = files.filter(isImage);
    const sets = [...(images.length ? [images] : []), ...files.filter(isVideo).map((file) => [file])];
    await Promise.all(sets.map((set) => upload(set, detectors, query)));
  }

  /** @param {File[]} files @param {{kind: string, [option: string]: unknown}[]} detectors @param {URLSearchParams} query */
  async function upload(files, detectors, query) {
    const [{ name: first, webkitRelativePath: path }] = files;
    const name = files.length === 1 ? first : path.split("/")[0] || text("job.images", { count: files.length });
    const item = add({ name, model: detectors.map(({ kind, model }) => `${kind}-${model}`).join("+"), state: "uploading", share: 0 });
    latest = item;
    const form = new FormData();
    for (const file of files) form.append("file", file, file.webkitRelativePath || file.name);
    try {
      follow(item, await post(`/v1/jobs?${query}`, form, item.upload, (share) => update(item, { share })));
    } catch (error) {
      remove(item);
      if (/** @type {ServerError} */ (error).code !== "aborted") showError(error);
    }
  }

  /** @param {object} job */
  function add(job) {
    const item = new JobItem(job, { cancel: () => cancel(item), remove: () => erase(item) });
    items.add(item);
    list.prepend(item.node);
    return item;
  }

  /** @param {JobItem} item @param {any} job */
  function follow(item, job) {
    update(item, job);
    if (ENDED.includes(job.state)) return;
    const events = new EventSource(addressOf(`/v1/jobs/${job.id}/events`));
    item.events = events;
    events.onmessage = ({ data }) => {
      const now = JSON.parse(data);
      update(item, now);
      if (ENDED.includes(now.state)) events.close();
    };
    events.onerror = () => {
      if (events.readyState === EventSource.CLOSED) update(item, { state: "failed", message: text("job.lost") });
    };
  }

  /** @param {JobItem} item @param {any} changes */
  function update(item, changes) {
    item.update(changes);
    if (item === latest) onLatest(item.job);
  }

  /** @param {JobItem} item */
  async function cancel(item) {
    if (item.job.id === undefined) item.upload.abort();
    else await call(addressOf(`/v1/jobs/${item.job.id}/cancel`), null, { method: "POST" }).catch(showError);
  }

  /** @param {JobItem} item */
  async function erase(item) {
    try {
      await call(addressOf(`/v1/jobs/${item.job.id}`), null, { method: "DELETE" });
    } catch (error) {
      if (/** @type {ServerError} */ (error).code !== "not_found") return showError(error);
    }
    return remove(item);
  }

  /** @param {JobItem} item */
  function remove(item) {
    item.events?.close();
    if (item === latest) onLatest(null);
    items.delete(item);
    item.node.remove();
  }

  return { load, start };
}

/** Return the detector options that jobs support. @param {{kind: string, [option: string]: unknown}} detector */
function optionsOfJob({ kind, ...options }) {
  const known = kinds[kind].job_options.filter((name) => name !== "static_image"); // the server detects stills itself
  return { kind, ...Object.fromEntries(Object.entries({ ...options, measures: true }).filter(([name]) => known.includes(name))) };
}

/**
 * Send a form and report the progress, which `fetch` cannot do.
 *
 * @param {string} path @param {FormData} form @param {XMLHttpRequest} request @param {(share: number) => void} onShare @returns {Promise<any>}
 */
function post(path, form, request, onShare) {
  return new Promise((resolve, reject) => {
    const refuse = (code = "failed", message = "") => reject(new ServerError(code, message));
    request.open("POST", addressOf(path));
    request.responseType = "json";
    request.upload.onprogress = ({ loaded, total }) => onShare(loaded / total);
    request.onload = () => (request.status === 202 ? resolve(request.response) : refuse(request.response?.error.code, request.response?.error.message));
    request.onerror = () => refuse("gone");
    request.onabort = () => refuse("aborted");
    request.send(form);
  });
}

/** Return the progress of a job, 0 to 1; null if unknown. @param {any} job @returns {number | null} */
export const shareOf = ({ state, share = 0, frames = 0, of }) => (state === "uploading" ? share : of ? frames / of : null);

/** Return the state of a job as text. @param {any} job @returns {string} */
export function stateText({ state, share = 0, frames = 0, of, instances = 0, seconds = 0 }) {
  const values = { frames, of: of ?? "?", instances, seconds: Number(seconds).toFixed(1), percent: Math.round(share * 100) };
  return text(`job.${state}`, values);
}

/** Check whether a job is unfinished. @param {any} job */
export const isActive = ({ state }) => !ENDED.includes(state);

const TABLES = ["csv", "json", "jsonl", "parquet", "xlsx"];
const MORE_TABLES = [["instances.csv", "job.instances"], ["wide.csv", "job.wide"], ["events.csv", "job.events"], ["motions.csv", "job.motions"], ["report.html", "job.report"], ["report.pdf", "job.report.pdf"]];

class JobItem {
  /** @type {EventSource | undefined} */ events;
  upload = new XMLHttpRequest();
  node = make("li", { className: "job" });
  #actions;
  #rendered = "";

  /** @param {any} job @param {{cancel(): void, remove(): void}} actions */
  constructor(job, actions) {
    this.job = job;
    this.#actions = actions;
    this.render();
  }

  /** @param {any} changes */
  update(changes) {
    this.job = { ...this.job, ...changes };
    if (this.job.state !== this.#rendered) this.render();
    else this.#progress();
  }

  /** Draw the item again for another state or language. */
  render() {
    const { name, model, state, message, problems = [] } = this.job;
    this.#rendered = this.node.dataset.state = state;
    const isOn = isActive(this.job);
    const label = text(isOn ? "job.cancel" : "job.remove");
    const end = makeButton(label, isOn ? this.#actions.cancel : this.#actions.remove, { ariaLabel: `${label}: ${name}` });
    this.node.replaceChildren(
      make("p", { className: "job-title" }, make("strong", {}, name), make("span", { className: "tag" }, model)),
      make("p", { className: "job-state" }),
      make("progress", { max: 1, hidden: !isOn, ariaLabel: text("job.progress", { name }) }),
      ...[message, ...problems].filter(Boolean).map((note) => make("p", { className: "hint" }, String(note))),
      make("div", { className: "row" }, ...(state === "done" ? this.#results() : []), end),
    );
    this.#progress();
  }

  #progress() {
    showShare(this.node.querySelector("progress"), shareOf(this.job));
    this.node.querySelector(".job-state").textContent = stateText(this.job);
  }

  /** Return links to the results. */
  #results() {
    const { downloads = {}, name } = this.job;
    const link = (/** @type {string} */ path, /** @type {string} */ label) =>
      make("a", { className: "button small", href: addressOf(path), download: "", ariaLabel: `${label}: ${name}` }, label);
    const labels = [...TABLES.map((ending) => [ending, ending.toUpperCase()]), ...MORE_TABLES.map(([ending, key]) => [ending, text(key)])];
    const nodes = labels.filter(([ending]) => downloads[ending]).map(([ending, label]) => link(downloads[ending], label));
    return downloads.drawn ? [...nodes, link(downloads.drawn, text("job.drawn"))] : nodes;
  }
}

/** @param {HTMLProgressElement} bar @param {number | null} share */
export function showShare(bar, share) {
  if (share === null) bar.removeAttribute("value");
  else bar.value = share;
}
