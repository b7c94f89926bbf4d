/** The files of a result in groups. */

import { useSignal } from "@preact/signals";

import { text, textOr } from "../common.js";
import { responseOf, thisServer } from "../endpoints.js";
import type { FollowedJob } from "../jobs.js";
import { type Download, downloads as offered } from "../kinds.js";
import type { Curves } from "./curves.js";

type Props = { curves: Curves; followed: FollowedJob };

const GROUPS = ["tables", "report", "formats"];

/** Return name and description of a download, from the server or from the texts of the page. */
function textsOf({ name, texts }: Download): [string, string] {
  const known = texts[document.documentElement.lang] ?? texts["en"];
  return known ?? [textOr(`file.${name}`, name), textOr(`file.${name}.hint`, "")];
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
      {FIRST.flatMap((name) => offered.filter((one) => one.name === name)).map((one) => {
        const href = addressOf(curves, one.name);
        return (
          href && (
            <FileLink key={one.name} {...{ href, followed }} label={textsOf(one)[0]} isButton />
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
  const groups = GROUPS.map((group) => ({
    group,
    files: offered.flatMap((one) => {
      const href = one.group === group ? addressOf(curves, one.name) : null;
      return href ? [{ one, href }] : [];
    }),
  })).filter(({ files }) => files.length);
  return (
    <div class="downloads" id="downloads">
      {groups.map(({ group, files }) => (
        <section key={group} aria-label={text(`files.${group}`)}>
          <h3>{text(`files.${group}`)}</h3>
          <ul>
            {files.map(({ one, href }) => {
              const [label, hint] = textsOf(one);
              const ending = (one.name === "drawn" ? href : one.name).split(".").at(-1)!;
              return (
                <li key={one.name}>
                  <FileLink {...{ href, followed, ending, label }} />
                  <span class="hint">{hint}</span>
                </li>
              );
            })}
          </ul>
        </section>
      ))}
    </div>
  );
}
