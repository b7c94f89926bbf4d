/**
 * The main module of the annotation page. It connects the studio with the views, the panel,
 * pointers and keys.
 */

import { find, memory, onLanguage, put, showError, startLanguage, text } from "../common.js";
import { ServerError } from "../endpoints.js";
import { withToken } from "../token.js";
import { view3D } from "../view3d.js";
import { commands, listenToKeys, showKeys } from "./commands.js";
import { ask, isComplete, type Mark } from "./project.js";
import { Studio } from "./studio.js";
import {
  jointGrid,
  jointName,
  showAgreement,
  showWarnings,
  skeletonsOfJoints,
  Wall,
} from "./wall.js";

const POLL_MS = 2000;
const COUNTS = [1, 2, 3, 4, 6, 8, 9, 12];
const SWITCHES = { "show-machine": "machine", "show-others": "others" };

const studio = new Studio();
const wall = new Wall(studio);
const space = view3D(find("view3d"));
const showJoints = jointGrid(find("joints"), (joint) => studio.chooseJoint(joint));
const keys = commands(studio, wall);

function showFrame() {
  const { frame, progress } = studio.state;
  if (frame < 0) return;
  const { frames } = studio.project;
  const place = frames.indexOf(frame);
  const count = frames.length;
  const slider = find("frame");
  slider.value = String(place);
  slider.ariaValueText = text("frame.at", { frame, place: place + 1, count });
  put(find("frame-number"), text("frame.number", { frame, place: place + 1, count }));
  find("previous").disabled = place === 0;
  find("next").disabled = place === count - 1;
  const done = frames.filter((each) => isComplete(progress, each)).length;
  find<HTMLProgressElement>("progress").value = done / count;
  find("progress-text").textContent = text("progress.text", {
    done,
    begun: Object.keys(progress.frames).length,
    count,
  });
}

function showSaved() {
  const { unsent, offline, annotator } = studio.state;
  const key = offline
    ? "saved.offline"
    : unsent
      ? "saved.sending"
      : annotator
        ? "saved"
        : "saved.nobody";
  put(find("saved"), text(key, { count: unsent }));
  find("saved").dataset.state = offline ? "error" : unsent ? "connecting" : "running";
  find("who").textContent = annotator || text("enter");
}

function showPanel() {
  const { seen, joint, frame, shown, active } = studio.state;
  if (!studio.project || frame < 0) return;
  const { joints: names, bones, views } = studio.project;
  const marks = [...studio.marksOf(frame).values()];
  const count = (fits: (mark: Mark) => boolean) =>
    names.map((_, k) => marks.filter((mark) => mark.joint === k && fits(mark)).length);
  const [marked, placed] = [count(() => true), count((mark) => mark.x !== null)];
  showJoints({
    joint,
    names,
    views: marked,
    placed,
    odd: new Set(seen.bones.flatMap((item) => item.bone)),
    disputed: new Set(seen.conflicts.map((item) => item.joint)),
  });
  find("joint-name").textContent = jointName(joint, names);
  const mark = marks.find((item) => item.joint === joint && item.view === shown[active]);
  for (const state of find("states").querySelectorAll("button"))
    state.ariaPressed = String(state.dataset.state === mark?.state);
  find("joint-status").textContent = seen.points_m[joint]
    ? text("joint.known", { count: placed[joint], mm: seen.sigma_mm[joint]?.toFixed(1) ?? "–" })
    : text("joint.unknown");
  showWarnings(find("warnings"), seen, names, (wanted) => studio.chooseJoint(wanted));
  find("undo").disabled = !studio.edits.done.length;
  find("redo").disabled = !studio.edits.undone.length;
  const view = views.find(({ name }) => name === shown[0]);
  if (view) space.show(skeletonsOfJoints(seen.points_m, bones, view));
}

function showNotice() {
  const { notice } = studio.state;
  find("notice").textContent = notice ? text(`notice.${notice.key}`, notice.values) : "";
}

function refreshAgreement() {
  if (!find<HTMLDetailsElement>("agreement-card").open || !studio.project) return;
  ask<Parameters<typeof showAgreement>[1]>("/agreement")
    .then((agreement) => showAgreement(find("agreement"), agreement, studio.project.joints))
    .catch(showError);
}

/** Ask for the annotator's name and store it. */
function enter() {
  find("annotator").value =
    studio.state.annotator || memory.read<string>("annotate.annotator") || "";
  find<HTMLDialogElement>("enter").showModal();
  find("annotator").focus();
}

Object.defineProperty(globalThis, "sonjitAnnotation", {
  value: Object.freeze({
    studio,
    wall,
    get state() {
      return {
        ...studio.state,
        marks: [...studio.marksOf(studio.state.frame).values()],
        turnMs: wall.turnMs,
      };
    },
  }),
});

await startLanguage(new URL("../i18n/", import.meta.url), new URL("i18n/", import.meta.url));
for (const button of document.querySelectorAll("[data-command]") as NodeListOf<HTMLElement>) {
  button.onclick = keys.find(({ name }) => name === `key.${button.dataset.command}`)?.run ?? null;
}
find("who").onclick = enter;
find("enter").onclose = () => {
  const name = find("annotator").value.trim();
  if (name && name !== studio.state.annotator) studio.begin(name).catch(showError);
  else if (!name && !studio.state.annotator) enter();
};
find("agreement-card").ontoggle = refreshAgreement;
listenToKeys(
  keys.all,
  () => studio.state.annotator !== "" && !document.querySelector("dialog[open]"),
);
studio.store.watch(["unsent", "offline", "annotator"], showSaved);
studio.store.watch(["notice"], showNotice);
studio.store.watch(["frame", "progress"], showFrame);
studio.store.watch(["seen", "joint", "shown", "active"], showPanel);
for (const show of [showFrame, showSaved, showPanel, showNotice, refreshAgreement])
  onLanguage(show);
onLanguage(() => showKeys(find("keys"), keys));
onLanguage(() => wall.refresh());
setInterval(() => document.hidden || studio.poll(), POLL_MS);
try {
  await withToken(() => studio.open());
  find("project-name").textContent = studio.project.name;
  const [frame, count, views] = [find("frame"), find("count"), find("views")];
  const { frames, views: all } = studio.project;
  frame.max = String(frames.length - 1);
  frame.oninput = () => studio.goTo(frames[Number(frame.value)]!);
  for (const [id, name] of Object.entries(SWITCHES))
    find(id).onchange = () => wall.show({ [name]: find(id).checked });
  find("advance").onchange = () => wall.show({ advance: find("advance").value });
  find("everyone").onchange = () => {
    studio.store.set({ everyone: find("everyone").checked });
    void studio.reload();
  };
  for (const id of ["brightness", "contrast"]) {
    const slider = find(id);
    const show = () => {
      views.style.setProperty(`--${id}`, slider.value);
      slider.previousElementSibling!.textContent = Number(slider.value).toFixed(1);
    };
    slider.oninput = show;
    show();
  }
  count.replaceChildren(
    ...COUNTS.filter((number) => number <= all.length).map(
      (number) => new Option(String(number), String(number)),
    ),
  );
  count.onchange = () => studio.showCount(Number(count.value));
  studio.store.watch(["shown"], ({ shown }) => (count.value = String(shown.length)));
  wall.begin();
  enter();
} catch (error) {
  const isMissing = error instanceof ServerError && error.code === "not_found";
  showError(isMissing ? new ServerError("no_project", error.message) : error);
}
document.documentElement.dataset.ready = "true";
