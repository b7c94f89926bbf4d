/** The choice of files to measure, and the list of results. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";

import { showError, text, textOr } from "../common.js";
import { addressOf, call } from "../endpoints.js";
import { Icon } from "../icon.js";
import {
  dateText,
  headlinesOf,
  isActive,
  isServerLost,
  jobs,
  kindsText,
  notesOf,
  startJobs,
  stateText,
  titleOf,
  type FollowedJob,
  type Job,
  type Setup,
} from "../jobs.js";
import { kinds } from "../kinds.js";
import { isResultWanted } from "../model.js";
import { Hiding } from "../options-panel.js";
import { go, hashOf, place } from "../places.js";
import { isImage, isVideo, notMedia } from "../sources.js";
import { switched, WHOLE } from "../settings.js";
import { filesOf } from "../dropped.js";
import { KindsTag, Progress, Remove } from "./result.js";

const SAMPLE = "squats.mp4";
const FIRST = "body"; // most results are angles of joints

/** what another page gave: files, and the kinds that it detects in them */
export type Given = { files: File[]; kinds: readonly string[] };

export function Start({ setup, given }: { setup: Setup; given: Given }) {
  const files = useSignal<File[]>(given.files);
  const chosen = useSignal<readonly string[]>(given.kinds.length ? given.kinds : usualKinds());
  const isOver = useSignal(false);
  const isBusy = useSignal(false);
  const wanted = useSignal("");
  const storage = useSignal("");

  const put = (some: File[]) => (files.value = some);

  function take(some: File[]) {
    const usable = some.filter((file) => isImage(file) || isVideo(file));
    if (some.length && !usable.length) showError(notMedia(some[0]!));
    else {
      showError(null);
      put(usable);
    }
  }

  async function sample() {
    const answer = await fetch(SAMPLE);
    take([new File([await answer.blob()], SAMPLE, { type: "video/mp4" })]);
  }

  async function start() {
    isBusy.value = true;
    const from = place.value;
    try {
      const still = files.value.every(isImage);
      const [job, ...others] = await startJobs(
        files.value,
        setup.detectorsOf(chosen.value, still),
        setup.store.state.style,
      );
      put([]); // a refusal stays visible
      const id = job?.job.peek().id;
      if (id && !others.length && place.value === from) go({ task: "measure", result: id }); // not if the user left
    } catch (error) {
      showError(error);
    } finally {
      isBusy.value = false;
    }
  }

  useEffect(() => {
    call<Health>(addressOf("/healthz")).then(
      ({ keeps_jobs, limits }) =>
        (storage.value = text(keeps_jobs ? "measure.kept" : "measure.temporary", {
          gigabytes: Math.round(limits.max_disk_mb / 100) / 10,
        })),
      () => {},
    );
  }, [document.documentElement.lang]);
  const [first] = files.value;
  const shown = jobs.value.filter(({ job }) => isFound(job.value, wanted.value));
  return (
    <>
      <section
        class={`card measure-start${isOver.value ? " over" : ""}`}
        aria-labelledby="measure-title"
        onDragOver={(event) => {
          event.preventDefault();
          isOver.value = true;
        }}
        onDragLeave={() => (isOver.value = false)}
        onDrop={(event) => {
          event.preventDefault();
          event.stopPropagation();
          isOver.value = false;
          if (event.dataTransfer) filesOf(event.dataTransfer).then(take, showError);
        }}
      >
        <h2 id="measure-title">{text("measure.title")}</h2>
        <p>{text("measure.lead")}</p>
        <div class="row">
          <Choice id="measure-file" icon="file" label={text("measure.file")} take={take} />
          <Choice
            id="measure-folder"
            icon="folder"
            label={text("measure.folder")}
            take={take}
            isFolder
          />
          <button
            id="measure-sample"
            class="button"
            type="button"
            onClick={() => void sample().catch(showError)}
          >
            <Icon name="sample" />
            {text("measure.sample")}
          </button>
          <span class="hint drop-hint">{text("measure.drop")}</span>
        </div>
        {first && (
          <form
            class="measure-form"
            onSubmit={(event) => {
              event.preventDefault();
              void start();
            }}
          >
            <p id="measure-name">
              <b>
                {files.value.length > 1
                  ? text("source.several", {
                      name: first.webkitRelativePath.split("/")[0] || first.name,
                      count: files.value.length,
                    })
                  : first.name}
              </b>
            </p>
            <fieldset class="chips">
              <legend>{text("measure.what")}</legend>
              {Object.keys(kinds).map((kind) => (
                <label key={kind} class="chip">
                  <input
                    id={`measure-${kind}`}
                    type="checkbox"
                    checked={chosen.value.includes(kind)}
                    onChange={({ currentTarget }) => {
                      chosen.value = switched(chosen.value, kind, currentTarget.checked);
                    }}
                  />
                  <Icon name={kind} />
                  <span>{textOr(`kind.${kind}`, kind)}</span>
                </label>
              ))}
            </fieldset>
            <Hiding store={setup.store} id="measure-anonymise" />
            <button
              id="job-start"
              class="button primary"
              disabled={isBusy.value || !chosen.value.length}
            >
              <Icon name="play" />
              {text("measure.start")}
            </button>
          </form>
        )}
      </section>
      <section class="card" aria-labelledby="results-title">
        <div class="card-head">
          <h2 id="results-title">{text("measure.results")}</h2>
          {jobs.value.length > 1 && (
            <input
              id="jobs-search"
              type="search"
              aria-label={text("measure.search")}
              placeholder={text("measure.search")}
              value={wanted.value}
              onInput={({ currentTarget }) => (wanted.value = currentTarget.value)}
            />
          )}
        </div>
        <p class="hint" id="jobs-kept">
          {isServerLost.value ? text("error.server_gone") : storage.value}
        </p>
        {isResultWanted.value && (
          <p id="result-wanted" role="status">
            {text(jobs.value.length ? "avatar.choose" : "avatar.choose.none")}
          </p>
        )}
        {jobs.value.length ? (
          <ul id="jobs" class="jobs">
            {shown.map((followed) => (
              <Item key={followed.key} followed={followed} />
            ))}
          </ul>
        ) : (
          <p class="hint">{text("measure.none")}</p>
        )}
      </section>
    </>
  );
}

/** what the list states about the server */
type Health = { keeps_jobs: boolean; limits: { max_disk_mb: number } };

/** Check whether each word of a search is in the texts of a job. */
function isFound(job: Job, wanted: string) {
  const { title, name, client, note } = job;
  const texts = [title, name, client, note, kindsText(job), dateText(job), ...headlinesOf(job)]
    .join(" ")
    .toLowerCase();
  return wanted
    .toLowerCase()
    .split(" ")
    .every((word) => texts.includes(word));
}

/** Return what is measured unless the user chooses: a whole person for an avatar. */
function usualKinds(): string[] {
  const wanted = isResultWanted.peek() ? [WHOLE, FIRST] : [FIRST];
  return [...wanted, ...Object.keys(kinds)].filter((kind) => kind in kinds).slice(0, 1);
}

type ChoiceProps = {
  id: string;
  icon: string;
  label: string;
  take: (files: File[]) => void;
  isFolder?: boolean;
};

function Choice({ id, icon, label, take, isFolder = false }: ChoiceProps) {
  const kind = isFolder ? { webkitdirectory: true } : { accept: "image/*,video/*" };
  return (
    <label class={`button${isFolder ? "" : " primary"}`}>
      <input
        id={id}
        class="visually-hidden"
        type="file"
        multiple
        {...kind}
        onChange={({ currentTarget }) => {
          take([...(currentTarget.files ?? [])]);
          currentTarget.value = ""; // so that the same file can be selected again
        }}
      />
      <Icon name={icon} />
      {label}
    </label>
  );
}

/** A job in the list. */
function Item({ followed }: { followed: FollowedJob }) {
  const job = followed.job.value;
  const target = { task: "measure", result: job.id ?? null, compared: null } as const;
  const length = job.length ? text("job.length", { seconds: job.length.toFixed(1) }) : "";
  return (
    <li class="job" data-state={followed.isRemoved.value ? "removed" : job.state}>
      <p class="job-title">
        {job.id && !followed.isRemoved.value && !["failed", "cancelled"].includes(job.state) ? (
          <a
            href={hashOf(target)}
            onClick={(event) => {
              event.preventDefault();
              go(target);
            }}
          >
            {titleOf(job)}
          </a>
        ) : (
          <strong>{titleOf(job)}</strong>
        )}
        {job.client && <span class="client">{job.client}</span>}
        <KindsTag job={job} />
      </p>
      {headlinesOf(job).map((line) => (
        <p class="job-headline" key={line}>
          {line}
        </p>
      ))}
      <p class="job-state">
        {followed.isRemoved.value
          ? text("job.removed")
          : [dateText(job), length, stateText(job), job.note].filter(Boolean).join(" · ")}
      </p>
      {isActive(job) && <Progress job={job} />}
      {notesOf(job).map((note) => (
        <p class="hint" key={note}>
          {note}
        </p>
      ))}
      <div class="job-end">
        <Remove followed={followed} />
      </div>
    </li>
  );
}
