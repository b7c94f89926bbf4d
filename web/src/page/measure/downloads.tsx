/** The files of a result in groups. */

import { useSignal } from "@preact/signals";

import { text, textOr } from "../common.js";
import { responseOf, thisServer } from "../endpoints.js";
import type { FollowedJob, Job } from "../jobs.js";
import type { Curves } from "./curves.js";

type Props = { curves: Curves; followed: FollowedJob };

/** Names of downloads in the server's answer. Those of a report depend on the language. */
const GROUPS: Record<string, string[]> = {
  tables: [
    "xlsx",
    "instances.csv",
    "csv",
    "wide.csv",
    "events.csv",
    "motions.csv",
    "parquet",
    "json",
    "jsonl",
  ],
  report: ["report.html", "report.pdf", "drawn"],
  formats: ["glb", "bvh", "vrma", "points.trc", "angles.mot", "rrd"],
};

/** Downloads for programs, which the page does not offer. */
const NOT_OFFERED = ["curves.json", "events.parquet", "motions.parquet"];

/** Return the names of further downloads, such as those of a table format of another package. */
function othersOf({ downloads = {} }: Job) {
  const known = [...Object.values(GROUPS).flat(), ...NOT_OFFERED];
  return Object.keys(downloads).filter(
    (name) => !known.includes(name) && !/^report\.|^\w\w\.xlsx$/.test(name),
  );
}

const OF_BODIES = /^report\.|^angles\.mot$|^points\.trc$/; // files that need a person

/** Return the address of a download in the language of the page; null if there is none. */
function addressOf({ job, instances }: Curves, name: string) {
  const language = document.documentElement.lang;
  const { downloads = {} } = job;
  if (OF_BODIES.test(name) && !instances.some(({ kind }) => kind === "body")) return null;
  const path = downloads[name.replace(/(report\.)?/, `$1${language}.`)] ?? downloads[name];
  return path === undefined ? null : new URL(path, thisServer).href;
}

const FIRST = ["xlsx", "report.pdf"]; // files that most readers want

/** The links to the first files, near the headline. */
export function FirstDownloads({ curves, followed }: Props) {
  return (
    <p class="row first-files">
      {FIRST.map((name) => {
        const href = addressOf(curves, name);
        return (
          href && (
            <FileLink
              key={name}
              {...{ href, followed }}
              label={textOr(`file.${name}`, name)}
              isButton
            />
          )
        );
      })}
    </p>
  );
}

type LinkProps = {
  href: string;
  followed: FollowedJob;
  label: string;
  ending?: string;
  isButton?: boolean;
};

/** A link to a file, which the server may make first. Until it is made, the link says so and does nothing. */
function FileLink({ href, followed, label, ending, isButton = false }: LinkProps) {
  const isBusy = useSignal(false);
  const start = (event: Event) => {
    if (isBusy.value) return event.preventDefault();
    isBusy.value = true; // the browser waits for the file, and this request as long as it
    void responseOf(new URL(href), null, { headers: { Range: "bytes=0-0" } })
      .then(
        (answer) => answer.body?.cancel(),
        (error: unknown) => followed.explain(error),
      )
      .finally(() => (isBusy.value = false));
  };
  return (
    <a
      class={isButton ? "button small" : ""}
      href={href}
      download=""
      aria-disabled={isBusy.value}
      onClick={start}
    >
      {isBusy.value ? text("file.making", { file: label }) : isButton ? label : <b>{label}</b>}
      {ending && <small> .{ending}</small>}
    </a>
  );
}

export function Downloads({ curves, followed }: Props) {
  const { job } = curves;
  const groups = Object.entries(GROUPS)
    .map(([group, names]) => ({
      group,
      files: [...names, ...(group === "formats" ? othersOf(job) : [])].flatMap((name) => {
        const href = addressOf(curves, name);
        return href ? [{ name, href }] : [];
      }),
    }))
    .filter(({ files }) => files.length);
  return (
    <div class="downloads" id="downloads">
      {groups.map(({ group, files }) => (
        <section key={group} aria-label={text(`files.${group}`)}>
          <h3>{text(`files.${group}`)}</h3>
          <ul>
            {files.map(({ name, href }) => {
              const ending = name === "drawn" ? href.split(".").at(-1)! : name.split(".").at(-1)!;
              return (
                <li key={name}>
                  <FileLink {...{ href, followed, ending }} label={textOr(`file.${name}`, name)} />
                  <span class="hint">{textOr(`file.${name}.hint`, "")}</span>
                </li>
              );
            })}
          </ul>
        </section>
      ))}
    </div>
  );
}
