/** Jobs of the server for videos and folders: upload, progress, cancel, remove. */

import { signal, type Signal } from "@preact/signals";

import { PageError, showError, text, textOr } from "./common.js";
import { addressOf, call, ServerError, withQuery } from "./endpoints.js";
import { kinds } from "./kinds.js";
import { isImage, isVideo } from "./sources.js";
import type { AppStore } from "./state.js";
import type { Style } from "./style.js";

/** one line about a person in each language */
type Summary = { id: number | null; measure: string | null; texts: Record<string, string> };

/** Return the text of the page's language. */
export const inLanguage = (texts: Record<string, string>) =>
  texts[document.documentElement.lang] ?? texts["en"] ?? "";

/**
 * `kind`: names of the detectors joined by "+"; `share` of an upload, 0 to 1; `length` of a video in
 * seconds
 */
export type Job = {
  id?: string;
  name: string;
  kind: string;
  model: string;
  state: "uploading" | "waiting" | "running" | "done" | "failed" | "cancelled";
  share?: number;
  frames?: number;
  of?: number | null;
  instances?: number;
  seconds?: number;
  title?: string;
  client?: string;
  note?: string;
  repeatable?: boolean;
  message?: string | null;
  problems?: string[];
  ended?: string | null;
  length?: number | null;
  summaries?: Summary[];
  downloads?: Record<string, string>;
};

/** The jobs, the newest first. */
export const jobs = signal<readonly FollowedJob[]>([]);
/** Whether the jobs of the server are known. */
export const areJobsKnown = signal(false);
/** Whether the server did not answer the last call. Jobs keep their last progress. */
export const isServerLost = signal(false);

const LIST_EVERY_MS = 3000;
const UNDO_MS = 8000;
const CHECKED_BYTES = 1_000_000; // sent first, so that a wrong file is refused at once

/** How jobs detect, from the settings of the page. */
export type Setup = {
  detectorsOf: (
    kinds: readonly string[],
    still: boolean,
  ) => { kind: string; [option: string]: unknown }[];
  store: AppStore;
};

/** Load the jobs of the server, and again while the page is visible, as other tabs change them. */
export async function loadJobs() {
  const before = jobs.value;
  try {
    const listed = await call<Job[]>(addressOf("/v1/jobs"));
    const ofServer = listed.map((job) => {
      const known = jobs.value.find((other) => other.job.peek().id === job.id);
      const followed = known ?? new FollowedJob(job);
      followed.follow(job);
      return followed;
    });
    // a job that began meanwhile, or whose files are being sent, is not in the list yet
    const others = jobs.value.filter(
      (job) => !ofServer.includes(job) && (!before.includes(job) || !job.job.peek().id),
    );
    const now = [...others, ...ofServer];
    if (now.length !== jobs.value.length || now.some((job, k) => job !== jobs.value[k]))
      jobs.value = now;
    areJobsKnown.value = true;
    setLost(false);
  } catch (error) {
    if (error instanceof ServerError && error.code === "gone") setLost(true);
    else throw error;
  }
}

/** Load the jobs again and again while they are shown. */
export function keepJobs(areShown: () => boolean) {
  const again = () => {
    if (!document.hidden && areShown()) void loadJobs().catch(showError);
  };
  setInterval(again, LIST_EVERY_MS);
  document.addEventListener("visibilitychange", again);
}

function setLost(isLost: boolean) {
  if (isLost === isServerLost.peek()) return;
  isServerLost.value = isLost;
  showError(isLost ? new PageError("server_gone") : null);
}

function add(job: Job) {
  const followed = new FollowedJob(job);
  jobs.value = [followed, ...jobs.value];
  return followed;
}

/**
 * Create one job for all images and one for each video, with all detectors.
 *
 * @param detectors as of a stream
 * @param style of the drawings
 * @returns the jobs that the server accepted
 */
export async function startJobs(
  files: File[],
  detectors: { kind: string; [option: string]: unknown }[],
  { drawing: _, gestures, ...style }: Style,
): Promise<FollowedJob[]> {
  if (!detectors.length) throw new PageError("no_detector");
  const showsGestures = gestures && detectors.some((each) => (each.gestures ?? "none") !== "none");
  const query = new URLSearchParams({
    detectors: JSON.stringify(detectors.map(optionsOfJob)),
    style: JSON.stringify({ ...style, gestures: showsGestures }),
  });
  const images = files.filter(isImage);
  const kind = detectors.map((detector) => detector.kind).join("+");
  const model = detectors.map((detector) => `${detector.kind}-${detector.model}`).join("+");
  const uploads = [images, ...files.filter(isVideo).map((file) => [file])]
    .filter((set) => set.length)
    .map(async (set) => {
      const [{ name: first, webkitRelativePath: path }] = set as [File];
      const name =
        set.length === 1 ? first : path.split("/")[0] || text("job.images", { count: set.length });
      const job = add({ name, kind, model, state: "uploading", share: 0 });
      return (await job.upload(set, `/v1/jobs?${query}`)) ? [job] : [];
    });
  return (await Promise.all(uploads)).flat();
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
export const shareOf = ({ state, share = 0, frames = 0, of }: Job): number | null =>
  state === "uploading" ? share : of ? frames / of : null;

/** Return the state of a job as text. */
export function stateText({ state, share = 0, frames = 0, of, instances = 0, seconds = 0 }: Job) {
  const left = of && frames ? ((of - frames) * seconds) / frames : 0;
  const values = {
    frames,
    of,
    instances,
    left: Math.ceil(left),
    percent: Math.round(share * 100),
  };
  if (state === "running" && !of) return text(frames ? "job.frames" : "job.starting", values);
  const progress = text(`job.${state}`, values);
  return left && state === "running" ? `${progress} · ${text("job.left", values)}` : progress;
}

/** Return the title that the user gave to a job, or the name of its file. */
export const titleOf = ({ title, name }: Job) => title || name;

/** Return what a job measures as text. */
export const kindsText = ({ kind }: Job) =>
  kind
    .split("+")
    .map((each) => textOr(`kind.${each}`, each))
    .join(", ");

/** Return the day and time of a finished job as text; "" if unknown. */
export function dateText({ ended }: Job) {
  if (!ended) return "";
  const style = { dateStyle: "medium", timeStyle: "short" } as const;
  return new Intl.DateTimeFormat(document.documentElement.lang, style).format(new Date(ended));
}

/** Return one line about each person of a result. */
export function headlinesOf({ summaries = [] }: { summaries?: Summary[] }): string[] {
  return summaries.map(({ id, texts }) => {
    const words = inLanguage(texts);
    return summaries.length > 1 ? `${text("one.holistic")} #${id}: ${words}` : words;
  });
}

/** Return why a job failed, or what it changed or left out. */
export const notesOf = ({ message, problems = [] }: Job): string[] =>
  [message, ...problems].filter((note): note is string => Boolean(note));

/** Check whether a job is unfinished. */
export const isActive = ({ state }: Job) => !["done", "failed", "cancelled"].includes(state);

let made = 0;

/** A job and what can be done with it. */
export class FollowedJob {
  readonly job: Signal<Job>;
  readonly key = `job-${++made}`;
  /** the files of a job that was started here */
  files: File[] = [];
  #request = new XMLHttpRequest();
  #events: EventSource | undefined;
  /** whether it is about to be removed; nothing happens to it before */
  readonly isRemoved = signal(false);
  #removal: ReturnType<typeof setTimeout> | undefined;

  constructor(job: Job) {
    this.job = signal(job);
  }

  #update(changes: Partial<Job>) {
    this.job.value = { ...this.job.value, ...changes };
  }

  /**
   * Send files and report the progress, which `fetch` cannot do.
   *
   * @returns whether the server accepted them
   */
  async upload(files: File[], path: string): Promise<boolean> {
    this.files = files;
    try {
      for (const file of files.filter(({ size }) => size > CHECKED_BYTES)) {
        const check = withQuery(addressOf("/v1/jobs/check"), { name: file.name });
        await call(check, null, { method: "POST", body: file.slice(0, CHECKED_BYTES) });
      }
    } catch (error) {
      showError(error);
      this.#remove();
      return false;
    }
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
    if (end !== "abort" && request.status === 202) {
      this.follow(request.response as Job);
      return true;
    }
    const refusal = request.response as { error?: { code?: string; message?: string } } | null;
    const { code = end === "error" ? "gone" : "failed", message = "" } = refusal?.error ?? {};
    if (end !== "abort") showError(new ServerError(code, message));
    this.#remove();
    return false;
  }

  /** Follow the progress of a job of the server. */
  follow(job: Job) {
    if (this.#events) return; // which know more
    const changed = JSON.stringify(job) !== JSON.stringify(this.job.peek());
    if (changed) this.#update(job);
    if (!isActive(job)) return;
    const events = new EventSource(addressOf(`/v1/jobs/${job.id}/events`));
    this.#events = events;
    const stop = () => {
      events.close();
      this.#events = undefined;
    };
    events.onmessage = ({ data }: MessageEvent<string>) => {
      setLost(false);
      this.#update(JSON.parse(data) as Job);
      if (!isActive(this.job.value)) stop();
    };
    events.onerror = () => {
      // otherwise the browser connects again
      if (events.readyState === EventSource.CLOSED) stop();
      void loadJobs().catch(showError);
    };
  }

  async cancel() {
    const { id } = this.job.value;
    if (id === undefined) this.#request.abort();
    else await call(addressOf(`/v1/jobs/${id}/cancel`), null, { method: "POST" }).catch(showError);
  }

  /** Run a failed or cancelled job again. */
  async repeat() {
    const address = addressOf(`/v1/jobs/${this.job.value.id}/repeat`);
    await call<Job>(address, null, { method: "POST" }).then((job) => this.follow(job), showError);
  }

  /** Change the texts that the user writes about a job. */
  async describe(texts: Pick<Job, "title" | "client" | "note">) {
    const request = {
      method: "PATCH",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(texts),
    };
    const address = addressOf(`/v1/jobs/${this.job.value.id}`);
    await call<Job>(address, null, request).then((job) => this.#update(job), showError);
  }

  /** Remove the job and its files from the server after a while in which the user can undo it. */
  remove() {
    this.isRemoved.value = true;
    this.#removal = setTimeout(() => void this.erase(), UNDO_MS);
    globalThis.addEventListener("pagehide", this.erase);
  }

  undo() {
    clearTimeout(this.#removal);
    globalThis.removeEventListener("pagehide", this.erase);
    this.isRemoved.value = false;
  }

  /** Remove the job and its files from the server now. */
  readonly erase = async () => {
    this.undo();
    const address = addressOf(`/v1/jobs/${this.job.value.id}`);
    const refusal: unknown = await call(address, null, { method: "DELETE", keepalive: true }).catch(
      (error: unknown) => error,
    );
    if (refusal instanceof ServerError && refusal.code !== "not_found") showError(refusal);
    else this.#remove();
  };

  /** Show the error of a request. If the job was removed elsewhere, remove it from the list instead. */
  async explain(error: unknown) {
    const isMissing = error instanceof ServerError && error.code === "not_found";
    const address = addressOf(`/v1/jobs/${this.job.value.id}`);
    const answer = isMissing ? await call<Job>(address).catch((reason: unknown) => reason) : null;
    if (answer instanceof ServerError && answer.code === "not_found") this.#remove();
    else showError(error);
  }

  #remove() {
    this.#events?.close();
    jobs.value = jobs.value.filter((other) => other !== this);
  }
}
