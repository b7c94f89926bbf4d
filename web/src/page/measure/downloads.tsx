/** The files of a result in groups. */

import { text, textOr } from "../common.js";
import { thisServer } from "../endpoints.js";
import type { Job } from "../jobs.js";

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
    (name) => !known.includes(name) && !name.startsWith("report."),
  );
}

/** Return the address of a download in the language of the page. */
function addressOf({ downloads = {} }: Job, name: string) {
  const language = document.documentElement.lang;
  const path = downloads[name.replace("report.", `report.${language}.`)] ?? downloads[name];
  return path === undefined ? null : new URL(path, thisServer).href;
}

const FIRST = ["xlsx", "report.pdf"]; // files that most readers want

/** The links to the first files, near the headline. */
export function FirstDownloads({ job }: { job: Job }) {
  return (
    <p class="row first-files">
      {FIRST.map((name) => {
        const href = addressOf(job, name);
        return (
          href && (
            <a key={name} class="button small" href={href} download="">
              {textOr(`file.${name}`, name)}
            </a>
          )
        );
      })}
    </p>
  );
}

export function Downloads({ job }: { job: Job }) {
  const groups = Object.entries(GROUPS)
    .map(([group, names]) => ({
      group,
      files: [...names, ...(group === "formats" ? othersOf(job) : [])].flatMap((name) => {
        const href = addressOf(job, name);
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
                  <a href={href} download="">
                    <b>{textOr(`file.${name}`, name)}</b> <small>.{ending}</small>
                  </a>
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
