/** Jobs of the server for videos and folders: upload, progress, cancel, results. */

import { make, makeButton, onLanguage, PageError, showError, text } from "./common.js";
import { addressOf, call, ServerError, thisServer } from "./endpoints.js";
import { kinds } from "./kinds.js";
import { isImage, isVideo } from "./sources.js";
import type { Style } from "./style.js";

const ENDED = ["done", "failed", "cancelled"];

/**
 * Return the list of jobs.
 *
 * @param onLatest function that receives the last job; null if it was removed
 */
export function createJobs(list: HTMLElement, onLatest: (job: any) => void) {
  const items: Set<JobItem> = new Set();
  let latest: JobItem | null = null;
  onLanguage(() => items.forEach((item) => item.render()));

  function add(job: object) {
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
      const jobs = (await call(addressOf("/v1/jobs"))) as any;
      for (const job of jobs.reverse()) add(job).follow(job);
    },

    /**
     * Create one job for all images and one for each video, with all detectors.
     *
     * @param detectors as of a stream
     * @param style of the drawings
     */
    async start(
      files: File[],
      detectors: { kind: string; [option: string]: unknown }[],
      { drawing: _, gestures, ...style }: Style,
    ) {
      if (!detectors.length) throw new PageError("no_detector");
      const showsGestures =
        gestures && detectors.some((each) => (each.gestures ?? "none") !== "none");
      const query = new URLSearchParams({
        detectors: JSON.stringify(detectors.map(optionsOfJob)),
        style: JSON.stringify({ ...style, gestures: showsGestures }),
      });
      const images = files.filter(isImage);
      const model = detectors.map((detector) => `${detector.kind}-${detector.model}`).join("+");
      const uploads = [images, ...files.filter(isVideo).map((file) => [file])]
        .filter((set) => set.length)
        .map((set) => {
          const [{ name: first, webkitRelativePath: path }] = set as [File];
          const name =
            set.length === 1
              ? first
              : path.split("/")[0] || text("job.images", { count: set.length });
          latest = add({ name, model, state: "uploading", share: 0 });
          return latest.upload(set, `/v1/jobs?${query}`);
        });
      await Promise.all(uploads);
    },
  };
}

/** Return the detector options that jobs support. */
function optionsOfJob({ kind, ...options }: { kind: string; [option: string]: unknown }) {
  // the server detects stills itself
  const known = kinds[kind]!.job_options.filter((name) => name !== "static_image");
  return {
    kind,
    ...Object.fromEntries(
      Object.entries({ ...options, measures: true }).filter(([name]) => known.includes(name)),
    ),
  };
}

/** Return the progress of a job, 0 to 1; null if unknown. */
export const shareOf = ({ state, share = 0, frames = 0, of }: any): number | null =>
  state === "uploading" ? share : of ? frames / of : null;

/** Return the state of a job as text. */
export function stateText({
  state,
  share = 0,
  frames = 0,
  of,
  instances = 0,
  seconds = 0,
}: any): string {
  const values = {
    frames,
    of: of ?? "?",
    instances,
    seconds: Number(seconds).toFixed(1),
    percent: Math.round(share * 100),
  };
  return text(`job.${state}`, values);
}

/** Check whether a job is unfinished. */
export const isActive = ({ state }: any) => !ENDED.includes(state);

const TABLES = ["csv", "json", "jsonl", "parquet", "xlsx"];
const MORE_TABLES = [
  ["instances.csv", "job.instances"],
  ["wide.csv", "job.wide"],
  ["events.csv", "job.events"],
  ["motions.csv", "job.motions"],
  ["report.html", "job.report"],
  ["report.pdf", "job.report.pdf"],
];

class JobItem {
  job: any;
  node = make("li", { className: "job" });
  #onChange;
  #request = new XMLHttpRequest();
  #events: EventSource | undefined;
  #rendered = "";

  /** @param onChange function that receives the job after every change; null if it was removed */
  constructor(job: any, onChange: (job: any) => void) {
    this.job = job;
    this.#onChange = onChange;
    this.render();
  }

  #update(changes: any) {
    this.job = { ...this.job, ...changes };
    if (this.job.state !== this.#rendered) this.render();
    else this.#progress();
    this.#onChange(this.job);
  }

  /** Send files and report the progress, which `fetch` cannot do. */
  async upload(files: File[], path: string) {
    const form = new FormData();
    for (const file of files) form.append("file", file, file.webkitRelativePath || file.name);
    const request = this.#request;
    request.open("POST", addressOf(path));
    request.responseType = "json";
    request.upload.onprogress = ({ loaded, total }) => this.#update({ share: loaded / total });
    request.send(form);
    const end = await new Promise(
      (resolve) =>
        (request.onloadend = request.onabort = request.onerror = ({ type }) => resolve(type)),
    );
    if (end !== "abort" && request.status === 202) return this.follow(request.response);
    const { code = end === "error" ? "gone" : "failed", message = "" } =
      request.response?.error ?? {};
    if (end !== "abort") showError(new ServerError(code, message));
    return this.#remove();
  }

  /** Show the progress of a job of the server. */
  follow(job: any) {
    this.#update(job);
    if (!isActive(job)) return;
    const events = new EventSource(addressOf(`/v1/jobs/${job.id}/events`));
    this.#events = events;
    events.onmessage = ({ data }) => {
      this.#update(JSON.parse(data));
      if (!isActive(this.job)) events.close();
    };
    events.onerror = () => {
      if (events.readyState === EventSource.CLOSED)
        this.#update({ state: "failed", message: text("job.lost") });
    };
  }

  async #cancel() {
    if (this.job.id === undefined) this.#request.abort();
    else
      await call(addressOf(`/v1/jobs/${this.job.id}/cancel`), null, { method: "POST" }).catch(
        showError,
      );
  }

  async #erase() {
    const refusal = await call(addressOf(`/v1/jobs/${this.job.id}`), null, {
      method: "DELETE",
    }).catch((error) => error);
    return refusal instanceof ServerError && refusal.code !== "not_found"
      ? showError(refusal)
      : this.#remove();
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
    const end = makeButton(label, () => (isOn ? this.#cancel() : this.#erase()), {
      ariaLabel: `${label}: ${name}`,
    });
    this.node.replaceChildren(
      make(
        "p",
        { className: "job-title" },
        make("strong", {}, name),
        make("span", { className: "tag" }, model),
      ),
      make("p", { className: "job-state" }),
      make("progress", { max: 1, hidden: !isOn, ariaLabel: text("job.progress", { name }) }),
      ...[message, ...problems]
        .filter(Boolean)
        .map((note) => make("p", { className: "hint" }, String(note))),
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
    const link = (path: string, label: string) =>
      make(
        "a",
        {
          className: "button small",
          href: new URL(path, thisServer),
          download: "",
          ariaLabel: `${label}: ${name}`,
        },
        label,
      );
    const language = document.documentElement.lang;
    const pathOf = (ending: string) =>
      downloads[ending.replace("report.", `report.${language}.`)] ?? downloads[ending];
    const labels = [
      ...TABLES.map((ending) => [ending, ending.toUpperCase()]),
      ...MORE_TABLES.map(([ending, key]) => [ending, text(key!)]),
    ];
    const nodes = labels
      .filter(([ending]) => downloads[ending!])
      .map(([ending, label]) => link(pathOf(ending!), label!));
    return downloads.drawn ? [...nodes, link(downloads.drawn, text("job.drawn"))] : nodes;
  }
}

export function showShare(bar: HTMLProgressElement, share: number | null) {
  if (share === null) bar.removeAttribute("value");
  else bar.value = share;
}
