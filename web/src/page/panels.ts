/**
 * Panels of text: meters, tabs, addresses, JSON, the table of measures and the list of gestures.
 */

import { find, make, makeRow, onLanguage, put, showError, text, textOr } from "./common.js";
import { addressOf, call } from "./endpoints.js";
import { instancesOf, type Frame, type Motion } from "./kinds.js";
import { gestureOf, nameOf } from "./painter.js";
import { measureName, shown } from "./measure-names.js";
import { trackedOf, type Tracked } from "./measured.js";

const EVERY_MS = 250;

/**
 * Return functions that update texts a few times per second, all together, because each update lays
 * out the page: `ask` at once if no update ran in this interval, otherwise at its end; `now` at
 * once; `stop` cancels the requested update.
 */
export function paced(write: () => void) {
  let turn = -1;
  let last: ReturnType<typeof setTimeout> | undefined;
  const stop = () => {
    clearTimeout(last);
    last = undefined;
  };
  const now = () => {
    stop();
    turn = Math.floor(performance.now() / EVERY_MS);
    write();
  };
  const ask = () => {
    if (Math.floor(performance.now() / EVERY_MS) !== turn) now();
    else last ??= setTimeout(now, EVERY_MS);
  };
  return { ask, now, stop };
}

/** Return a view that writes its first frame at once and further ones at a pace. */
function showing(pace: ReturnType<typeof paced>, keep: (frame: Frame | null) => void) {
  let isFirst = true;
  return {
    draw(frame: Frame) {
      keep(frame);
      if (isFirst) pace.now();
      else pace.ask();
      isFirst = false;
    },
    clear() {
      keep(null);
      isFirst = true;
      pace.now();
    },
  };
}

const WINDOW_MS = 3000;

/** Return the meters of frame rate, latency and dropped images. */
export function latencyMeter() {
  const [fps, latency, dropped] = [find("fps"), find("latency"), find("dropped")];
  let samples: { at: number; ms: number }[] = [];
  let count = 0;
  const pace = paced(() => {
    const times = samples.map(({ ms }) => ms).sort((a, b) => a - b);
    const total = times.reduce((sum, ms) => sum + ms, 0) / times.length;
    const p95 = times[Math.min(Math.floor(times.length * 0.95), times.length - 1)];
    const seconds = (samples[samples.length - 1]!.at - samples[0]!.at) / 1000;
    put(fps, samples.length > 1 ? ((samples.length - 1) / seconds).toFixed(1) : "–");
    put(dropped, String(count));
    put(latency, text("latency.value", { total: total.toFixed(0), p95: p95!.toFixed(0) }));
  });
  return {
    /**
     * @param ms from an image to its drawn results
     * @param all images dropped so far
     */
    add(ms: number, all: number) {
      const at = performance.now();
      samples = [...samples, { at, ms }].filter((other) => other.at > at - WINDOW_MS);
      count = all;
      pace.ask();
    },
    clear() {
      pace.stop();
      samples = [];
      fps.textContent = latency.textContent = "–";
      dropped.textContent = "0";
    },
  };
}

/** @param list of buttons with the role "tab", each of which names its panel in `aria-controls` */
export function wireTabs(list: HTMLElement) {
  const tabs = [...list.querySelectorAll("[role=tab]")] as HTMLElement[];
  const choose = (chosen: HTMLElement) => {
    for (const tab of tabs) {
      tab.ariaSelected = String(tab === chosen);
      tab.tabIndex = tab === chosen ? 0 : -1;
      find(tab.getAttribute("aria-controls") ?? "").hidden = tab !== chosen;
    }
  };
  for (const [k, tab] of tabs.entries()) {
    tab.onclick = () => choose(tab);
    tab.onkeydown = ({ key }) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
      if (!step) return;
      const next = tabs[(k + step + tabs.length) % tabs.length];
      choose(next!);
      next!.focus();
    };
  }
  choose(tabs[0]!);
}

/**
 * Connect the dialog with the addresses for other devices, in which the language cannot be changed.
 */
export function wirePhone() {
  const open = async () => {
    const { https, addresses, fingerprint } = await call<{
      https: boolean;
      addresses: { url: string; qr: string | null }[];
      fingerprint: string | null;
    }>(addressOf("/v1/addresses"));
    find("phone-addresses").replaceChildren(
      ...addresses.map(({ url, qr }) =>
        make(
          "li",
          {},
          ...(qr ? [make("img", { src: qr, alt: text("phone.qr", { url }) })] : []),
          make("a", { href: url }, url),
        ),
      ),
    );
    find("phone-words").textContent = text(
      !addresses.length ? "phone.none" : https ? "phone.https" : "phone.http",
    );
    find("phone-fingerprint").textContent =
      addresses.length && fingerprint ? `SHA-256 ${fingerprint}` : "";
    find<HTMLDialogElement>("phone-dialog").showModal();
  };
  find("phone").onclick = () => open().catch(showError);
}

const MAX_CHARACTERS = 60; // maximum number of characters of a text; masks are long

/**
 * Return the view of a frame as JSON. It waits while the user selects text, which new text would
 * undo.
 */
export function inspector(container: HTMLElement) {
  let waiting: Frame | null = null;
  let isSeen = false;
  const isBeingRead = () => {
    const selection = getSelection();
    return selection && !selection.isCollapsed && container.contains(selection.anchorNode);
  };
  const pace = paced(() => {
    const { type, ...frame } = { type: "", ...waiting };
    if (!waiting) container.textContent = "";
    else if (!container.textContent || (isSeen && !isBeingRead()))
      container.textContent = pretty(frame, "");
  });
  new IntersectionObserver(([entry]) => {
    isSeen = entry!.isIntersecting;
    pace.now();
  }).observe(container);
  return showing(pace, (frame) => (waiting = frame));
}

/** Return JSON with each object of plain values on one line. */
function pretty(value: unknown, indent: string): string {
  const isObject = value !== null && typeof value === "object";
  const values = isObject ? Object.values(value) : [];
  if (typeof value === "string" && value.length > MAX_CHARACTERS)
    return JSON.stringify(`${value.slice(0, MAX_CHARACTERS)}…`);
  if (!values.length) return JSON.stringify(value);
  const isList = Array.isArray(value);
  if (isList && values.every((item) => typeof item === "number")) return JSON.stringify(value);
  const isFlat =
    !isList &&
    values.length <= 6 &&
    values.every((item) => item === null || typeof item !== "object");
  const further = isFlat ? "" : `${indent}  `;
  const lines = Object.entries(value as object).map(
    ([key, item]) => `${further}${isList ? "" : `"${key}": `}${pretty(item, further)}`,
  );
  if (isFlat) return `{${lines.join(", ")}}`;
  return `${isList ? "[" : "{"}\n${lines.join(",\n")}\n${indent}${isList ? "]" : "}"}`;
}

const MOST_COLUMNS = 6;

/** Return the view of all measures as tables. */
export function liveTable(container: HTMLElement) {
  let frame: Frame | null = null;
  const pace = paced(() => {
    const groups = Object.values(Object.groupBy(trackedOf(frame ?? {}), ({ kind }) => kind)).map(
      (found = []) => found.slice(0, MOST_COLUMNS),
    );
    const tables = groups.map((found) =>
      make(
        "table",
        {},
        make(
          "thead",
          {},
          makeRow(
            "",
            found.map(({ label }) => label),
            "th",
          ),
        ),
        make("tbody", {}, ...rowsOf(found).map(({ name, values }) => makeRow(name, values))),
      ),
    );
    container.replaceChildren(
      ...(tables.length ? tables : [make("p", { className: "hint" }, text("live.empty"))]),
    );
  });
  onLanguage(pace.now);
  return showing(pace, (next) => (frame = next));
}

/** @param found of one kind */
function rowsOf(found: Tracked[]): { name: string; values: string[] }[] {
  const names = [...new Set(found.flatMap(({ instance }) => Object.keys(instance.measures)))];
  const row = (name: string, valueOf: (instance: Tracked["instance"]) => string) => ({
    name,
    values: found.map(({ instance }) => valueOf(instance)),
  });
  return [
    row(text("live.score"), ({ score }) => Number(score).toFixed(2)),
    ...(found.some(({ instance }) => "gesture" in instance)
      ? [row(text("live.gesture"), (instance) => gestureOf(instance) || "–")]
      : []),
    ...names.map((name) => row(measureName(name), ({ measures }) => shown(name, measures[name]))),
  ];
}

const MOST_EVENTS = 30;

/** Return the view of the gestures of all hands and of motions, the newest first. */
export function gesturesView() {
  const [now, events] = [find("gestures-now"), find("gestures-events")];
  /** motions in progress by motion and hand */
  const open: Map<string, HTMLElement> = new Map();
  let shownText = "";
  let frame: Frame | null = null;
  const write = () => {
    const hands = instancesOf(frame ?? {}).filter(({ kind }) => kind === "hand");
    const lines = hands.map(({ kind, instance, person }) => {
      const gesture =
        "gesture" in instance
          ? gestureOf(instance) || text("gestures.nothing")
          : text("gestures.off");
      return `${nameOf(kind, instance)} #${instance.id ?? person?.id ?? "–"}: ${gesture}`;
    });
    const wanted = lines.join("\n") || text("gestures.empty");
    if (wanted !== shownText)
      now.replaceChildren(...wanted.split("\n").map((line) => make("li", {}, line)));
    shownText = wanted;
  };
  const follow = ({ name, phase, id, handedness, strength, count, time }: Motion) => {
    const key = `${name} ${id} ${handedness}`;
    const node = open.get(key) ?? make("li");
    // a begin is known later than it was; a video that restarts has earlier times
    node.dataset.time = String(time);
    const isLater = (other: Element) => {
      const at = Number((other as HTMLElement).dataset["time"]);
      return at > time && at < time + 1;
    };
    events.insertBefore(
      node,
      [...events.children].find((other) => other !== node && !isLater(other)) ?? null,
    );
    open.set(key, node);
    while (events.children.length > MOST_EVENTS) events.lastElementChild!.remove();
    const title = textOr(`gesture.${name}`, name.replaceAll("_", " "));
    const times = count ? ` × ${count.toFixed(1)}` : "";
    const label = ` ${time.toFixed(1)} s · ${title} · #${id}${times} `;
    const bar = make("meter", {
      min: 0,
      max: 1,
      value: strength,
      ariaLabel: text("gestures.strength"),
    });
    node.replaceChildren(make("span", { className: "tag" }, text(`gestures.${phase}`)), label, bar);
    if (phase === "end" || phase === "cancel") open.delete(key);
  };
  onLanguage(write);
  return {
    draw(next: Frame) {
      frame = next;
      write();
      for (const event of next.motions ?? []) follow(event);
      for (const event of next.events ?? []) {
        if (event.type === "gesture")
          follow({
            ...event,
            id: event.id ?? 0,
            strength: event.value ?? 0,
            count: 0,
            time: event.end ?? event.begin,
          });
      }
    },
    clear() {
      frame = null;
      open.clear();
      events.replaceChildren();
      write();
    },
  };
}
