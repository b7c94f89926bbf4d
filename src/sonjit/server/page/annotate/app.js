/** The main module of the annotation page. It connects the studio with the views, the panel, pointers and keys. */

import { ServerError } from "../endpoints.js";
import { addTexts, memory, messagesIn, onLanguage, preferredLanguage, speak, text } from "../texts.js";
import { View3D } from "../view3d.js";
import { acceptMachine, askMachine, commands, copyPrevious, listenToKeys, showKeys } from "./commands.js";
import { getAgreement } from "./project.js";
import { Studio } from "./studio.js";
import { JointGrid, jointName, showAgreement, showWarnings, skeletonsOfJoints, Wall } from "./wall.js";

const POLL_MS = 2000;
const COUNTS = [1, 2, 3, 4, 6, 8, 9, 12];
const SWITCHES = /** @type {const} */ ({ "show-machine": "machine", "show-others": "others" });

/**
 * Return an element of the page.
 *
 * @template {HTMLElement} T
 * @param {string} id @param {new () => T} kind of element
 * @returns {T}
 */
function find(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${kind.name} #${id}`);
  return found;
}

const node = (/** @type {string} */ id) => find(id, HTMLElement);
const button = (/** @type {string} */ id) => find(id, HTMLButtonElement);
const input = (/** @type {string} */ id) => find(id, HTMLInputElement);
const select = (/** @type {string} */ id) => find(id, HTMLSelectElement);
const dialog = (/** @type {string} */ id) => find(id, HTMLDialogElement);
const messages = messagesIn(node("message"));
const studio = new Studio((error) => messages.show(error));
const wall = new Wall(studio, { place: node("views"), template: find("tile", HTMLTemplateElement), error: (error) => messages.show(error) });
const space = new View3D(find("view3d", HTMLCanvasElement));
const grid = new JointGrid(node("joints"), (joint) => studio.chooseJoint(joint));
const keys = commands(studio, wall, { help: () => dialog("help").showModal() });

function showFrame() {
  const { frame, progress } = studio.state;
  if (frame < 0) return;
  const { frames } = studio.project;
  const place = frames.indexOf(frame);
  input("frame").value = String(place);
  input("frame").setAttribute("aria-valuetext", text("frame.at", { frame, place: place + 1, count: frames.length }));
  node("frame-number").textContent = text("frame.number", { frame, place: place + 1, count: frames.length });
  button("previous").disabled = place === 0;
  button("next").disabled = place === frames.length - 1;
  const done = Object.values(progress.frames).filter((count) => count >= progress.joints).length;
  const begun = Object.keys(progress.frames).length;
  find("progress", HTMLProgressElement).value = done / frames.length;
  node("progress-text").textContent = text("progress.text", { done, begun, count: frames.length });
}

function showSaved() {
  const { unsent, offline, annotator } = studio.state;
  const key = offline ? "saved.offline" : unsent ? "saved.sending" : annotator ? "saved" : "saved.nobody";
  const status = text(key, { count: unsent });
  if (node("saved").textContent !== status) node("saved").textContent = status;
  node("saved").dataset.state = offline ? "error" : unsent ? "connecting" : "running";
  button("who").textContent = annotator || text("enter");
}

function showPanel() {
  const { seen, joint, frame, shown, active } = studio.state;
  if (!studio.project || frame < 0) return;
  const { joints: names, bones, views } = studio.project;
  const marks = [...studio.marksOf(frame).values()];
  const count = (/** @type {(mark: import("./project.js").Mark) => boolean} */ fits) => names.map((_, k) => marks.filter((mark) => mark.joint === k && fits(mark)).length);
  grid.show({
    joint, names, views: count(() => true), placed: count((mark) => mark.x !== null),
    odd: new Set(seen.bones.flatMap((item) => item.bone)),
    disputed: new Set(seen.conflicts.map((item) => item.joint)),
  });
  node("joint-name").textContent = jointName(joint, names);
  const mark = marks.find((item) => item.joint === joint && item.view === shown[active]);
  for (const state of node("states").querySelectorAll("button")) state.setAttribute("aria-pressed", String(state.dataset.state === mark?.state));
  const sigma = seen.sigma_mm[joint];
  node("joint-status").textContent = seen.points_m[joint]
    ? text("joint.known", { count: marks.filter((item) => item.joint === joint && item.x !== null).length, mm: sigma?.toFixed(1) ?? "–" })
    : text("joint.unknown");
  showWarnings(node("warnings"), seen, names, (wanted) => studio.chooseJoint(wanted));
  if (!node("warnings").children.length) node("warnings").textContent = text("warnings.none");
  button("undo").disabled = !studio.canUndo;
  button("redo").disabled = !studio.canRedo;
  const view = views.find(({ name }) => name === shown[0]);
  if (view) space.show(skeletonsOfJoints(seen.points_m, bones, view));
}

function showNotice() {
  const { notice } = studio.state;
  node("notice").textContent = notice ? text(`notice.${notice.key}`, notice.values) : "";
}

async function refreshAgreement() {
  if (!find("agreement-card", HTMLDetailsElement).open || !studio.project) return;
  try {
    showAgreement(node("agreement"), await getAgreement(), studio.project.joints);
  } catch (error) {
    messages.show(error);
  }
}

/** Ask for the annotator's name and store it. */
async function enter() {
  input("annotator").value = studio.state.annotator || memory.read("annotate.annotator") || "";
  dialog("enter").showModal();
  input("annotator").focus();
}

function wireFields() {
  input("frame").max = String(studio.project.frames.length - 1);
  input("frame").oninput = () => studio.goTo(studio.project.frames[Number(input("frame").value)]);
  button("previous").onclick = () => studio.step(-1);
  button("next").onclick = () => studio.step(1);
  button("need").onclick = () => studio.goToNeed();
  button("undo").onclick = () => studio.undo();
  button("redo").onclick = () => studio.redo();
  button("copy").onclick = () => copyPrevious(studio);
  button("label").onclick = () => askMachine(studio);
  button("accept").onclick = () => acceptMachine(studio, studio.state.joint);
  button("accept-all").onclick = () => acceptMachine(studio, null);
  node("states").onclick = ({ target }) => {
    const state = target instanceof HTMLElement ? target.dataset.state : undefined;
    if (state) studio.setState(studio.state.shown[studio.state.active], /** @type {import("./project.js").MarkState} */ (state));
  };
  for (const [id, name] of Object.entries(SWITCHES)) input(id).onchange = () => wall.show({ [name]: input(id).checked });
  select("advance").onchange = () => wall.show({ advance: select("advance").value });
  input("everyone").onchange = () => {
    studio.store.set({ everyone: input("everyone").checked });
    studio.reload();
  };
  for (const id of ["brightness", "contrast"]) {
    const show = () => {
      node("views").style.setProperty(`--${id}`, input(id).value);
      /** @type {HTMLOutputElement} */ (document.querySelector(`output[for="${id}"]`)).textContent = Number(input(id).value).toFixed(1);
    };
    input(id).oninput = show;
    show();
  }
  const most = studio.project.views.length;
  select("count").replaceChildren(...COUNTS.filter((count) => count <= most).map((count) => new Option(String(count), String(count))));
  select("count").onchange = () => studio.showCount(Number(select("count").value));
  studio.store.watch(["shown"], ({ shown }) => (select("count").value = String(shown.length)));
}

function wire() {
  select("language").onchange = async () => {
    memory.write("language", select("language").value);
    await speak(select("language").value);
  };
  button("help-open").onclick = () => dialog("help").showModal();
  button("who").onclick = enter;
  dialog("enter").onclose = () => {
    const name = input("annotator").value.trim();
    if (name && name !== studio.state.annotator) studio.begin(name).catch((error) => messages.show(error));
    else if (!name && !studio.state.annotator) enter();
  };
  find("agreement-card", HTMLDetailsElement).ontoggle = refreshAgreement;
  listenToKeys(keys.all, () => studio.state.annotator !== "" && !document.querySelector("dialog[open]"));
  studio.store.watch(["unsent", "offline", "annotator"], showSaved);
  studio.store.watch(["notice"], showNotice);
  studio.store.watch(["frame", "progress"], showFrame);
  studio.store.watch(["seen", "joint", "shown", "active"], showPanel);
  onLanguage(() => {
    messages.render();
    for (const show of [showFrame, showSaved, showPanel, showNotice]) show();
    showKeys(node("keys"), keys);
    wall.refresh();
    refreshAgreement();
  });
  setInterval(() => document.hidden || studio.poll(), POLL_MS);
}

Object.defineProperty(globalThis, "sonjitAnnotation", { value: Object.freeze({
  studio, wall,
  get state() {
    return { ...studio.state, marks: [...studio.marksOf(studio.state.frame).values()], turnMs: wall.turnMs };
  },
}) });

const language = preferredLanguage();
select("language").value = language;
addTexts(new URL("i18n/", import.meta.url));
await speak(language);
wire();
try {
  await studio.open();
  node("project-name").textContent = studio.project.name;
  wireFields();
  wall.begin();
  await enter();
} catch (error) {
  const isMissing = error instanceof ServerError && error.code === "not_found";
  messages.show(isMissing ? new ServerError("no_project", error.message) : error);
}
document.documentElement.dataset.ready = "true";
