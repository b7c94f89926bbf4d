/** Jobs of the server for videos and folders: upload, progress, cancel, results. */

import { make, makeButton, onLanguage, PageError, showError, text } from "./common.js";
import { addressOf, call, ServerError } from "./endpoints.js";
import { kinds } from "./kinds.js";
import { isImage, isVideo } from "./sources.js";

const ENDED = ["done", "failed", "cancelled"];

/** Return the list of jobs. @param {HTMLElement} list @param {(job: any) => void} onLatest function that receives the last job; null if it was removed */
export function createJobs(list, onLatest) {
  /** @type {Set<JobItem>} */ const items = new Set();
  /** @type {JobItem | null} */ let latest = null;
  onLanguage(() => items.forEach((item) => item.render()));

  /** @param {object} job */
  function add(job) {
    const item = new JobItem(job, (now) => {
      if (!now) items.delete(item);
      if (item === latest) onLatest(now);
    });
    items.add(item);
    list.prepend(item.node);
    return item;
  }

  return {
    /** Load the jobs of the server. */
    async load() {
      const jobs = /** @type {any} */ (await call(addressOf("/v1/jobs")));
      for (const job of jobs.reverse()) add(job).follow(job);
    },

    /** Create one job for all images and one for each video, with all detectors. @param {File[]} files @param {{kind: string, [option: string]: unknown}[]} detectors as of a stream @param {import("./painter.js").Style} style of the drawings */
    async start(files, detectors, { drawing: _, gestures, ...style }) {
      if (!detectors.length) throw new PageError("no_detector");
      const showsGestures = gestures && detectors.some((each) => (each.gestures ?? "none") !== "none");
      const query = new URLSearchParams({ detectors: JSON.stringify(detectors.map(optionsOfJob)), style: JSON.stringify({ ...style, gestures: showsGestures }) });
      const images = files.filter(isImage);
      const model = detectors.map((detector) => `${detector.kind}-${detector.model}`).join("+");
      const uploads = [images, ...files.filter(isVideo).map((file) => [file])].filter((set) => set.length).map((set) => {
        const [{ name: first, webkitRelativePath: path }] = set;
        const name = set.length === 1 ? first : path.split("/")[0] || text("job.images", { count: set.length });
        latest = add({ name, model, state: "uploading", share: 0 });
        return latest.upload(set, `/v1/jobs?${query}`);
      });
      await Promise.all(uploads);
    },
  };
}

/** Return the detector options that jobs support. @param {{kind: string, [option: string]: unknown}} detector */
function optionsOfJob({ kind, ...options }) {
  const known = kinds[kind].job_options.filter((name) => name !== "static_image"); // the server detects stills itself
  return { kind, ...Object.fromEntries(Object.entries({ ...options, measures: true }).filter(([name]) => known.includes(name))) };
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
  node = make("li", { className: "job" });
  #onChange;
  #request = new XMLHttpRequest();
  /** @type {EventSource | undefined} */ #events;
  #rendered = "";

  /** @param {any} job @param {(job: any) => void} onChange function that receives the job after every change; null if it was removed */
  constructor(job, onChange) {
    this.job = job;
    this.#onChange = onChange;
    this.render();
  }

  /** @param {any} changes */
  #update(changes) {
    this.job = { ...this.job, ...changes };
    if (this.job.state !== this.#rendered) this.render();
    else this.#progress();
    this.#onChange(this.job);
  }

  /** Send files and report the progress, which `fetch` cannot do. @param {File[]} files @param {string} path */
  async upload(files, path) {
    const form = new FormData();
    for (const file of files) form.append("file", file, file.webkitRelativePath || file.name);
    const request = this.#request;
    request.open("POST", addressOf(path));
    request.responseType = "json";
    request.upload.onprogress = ({ loaded, total }) => this.#update({ share: loaded / total });
    request.send(form);
    const end = await new Promise((resolve) => (request.onloadend = request.onabort = request.onerror = ({ type }) => resolve(type)));
    if (end !== "abort" && request.status === 202) return this.follow(request.response);
    const { code = end === "error" ? "gone" : "failed", message = "" } = request.response?.error ?? {};
    if (end !== "abort") showError(new ServerError(code, message));
    return this.#remove();
  }

  /** Show the progress of a job of the server. @param {any} job */
  follow(job) {
    this.#update(job);
    if (!isActive(job)) return;
    const events = new EventSource(addressOf(`/v1/jobs/${job.id}/events`));
    this.#events = events;
    events.onmessage = ({ data }) => {
      this.#update(JSON.parse(data));
      if (!isActive(this.job)) events.close();
    };
    events.onerror = () => {
      if (events.readyState === EventSource.CLOSED) this.#update({ state: "failed", message: text("job.lost") });
    };
  }

  async #cancel() {
    if (this.job.id === undefined) this.#request.abort();
    else await call(addressOf(`/v1/jobs/${this.job.id}/cancel`), null, { method: "POST" }).catch(showError);
  }

  async #erase() {
    const refusal = await call(addressOf(`/v1/jobs/${this.job.id}`), null, { method: "DELETE" }).catch((error) => error);
    return refusal instanceof ServerError && refusal.code !== "not_found" ? showError(refusal) : this.#remove();
  }

  #remove() {
    this.#events?.close();
    this.node.remove();
    this.#onChange(null);
  }

  /** Draw the item again for another state or language. */
  render() {
    const { name, model, state, message, problems = [] } = this.job;
    this.#rendered = this.node.dataset.state = state;
    const isOn = isActive(this.job);
    const label = text(isOn ? "job.cancel" : "job.remove");
    const end = makeButton(label, () => (isOn ? this.#cancel() : this.#erase()), { ariaLabel: `${label}: ${name}` });
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
