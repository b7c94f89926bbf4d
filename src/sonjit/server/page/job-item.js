/** One job in the list. */

import { addressOf } from "./endpoints.js";
import { text } from "./i18n.js";

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
    const isVideo = path.endsWith(".mp4");
    const view = document.createElement(isVideo ? "video" : "img");
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
