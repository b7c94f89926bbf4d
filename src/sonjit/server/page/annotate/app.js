/** The annotation page, wired: the studio's state goes to the views and the panel, pointers and keys go to the studio. */

import { addTexts, onLanguage, preferredLanguage, speak, text } from "../i18n.js";
import { messagesIn } from "../messages.js";
import { memory } from "../state.js";
import { View3D } from "../view3d.js";
import { commands } from "./commands.js";
import { listenToKeys, showKeys } from "./keys.js";
import { acceptMachine, askMachine, copyPrevious } from "./labels.js";
import { JointGrid, jointName, showAgreement, showWarnings } from "./panel.js";
import { getAgreement } from "./project.js";
import { figuresOfJoints } from "./space.js";
import { Studio } from "./studio.js";
import { Wall } from "./wall.js";

const POLL_MS = 2000;
const COUNTS = [1, 2, 3, 4, 6, 8, 9, 12];
const SWITCHES = /** @type {const} */ ({ advance: "advance", "show-machine": "machine", "show-others": "others" });

const find = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));
const messages = messagesIn(find("message"));
const studio = new Studio((error) => messages.show(error));
const wall = new Wall(studio, { place: find("views"), template: find("tile"), error: (error) => messages.show(error) });
const space = new View3D(find("view3d"));
const grid = new JointGrid(find("joints"), (joint) => studio.chooseJoint(joint));
const keys = commands(studio, wall, { help: () => find("help").showModal() });

function showFrame() {
  const { frame, progress } = studio.state;
  if (frame < 0) return;
  const { frames } = studio.project;
  const place = frames.indexOf(frame);
  find("frame").value = place;
  find("frame").setAttribute("aria-valuetext", text("frame.at", { frame, place: place + 1, count: frames.length }));
  find("frame-number").textContent = `${frame} · ${place + 1}/${frames.length}`;
  find("previous").disabled = place === 0;
  find("next").disabled = place === frames.length - 1;
  const done = Object.values(progress.frames).filter((count) => count >= progress.joints).length;
  const begun = Object.keys(progress.frames).length;
  find("progress").value = done / frames.length;
  find("progress-said").textContent = text("progress.said", { done, begun, count: frames.length });
}

function showSaved() {
  const { unsent, offline, annotator } = studio.state;
  const key = offline ? "saved.offline" : unsent ? "saved.sending" : annotator ? "saved" : "saved.nobody";
  const said = text(key, { count: unsent });
  if (find("saved").textContent !== said) find("saved").textContent = said;
  find("saved").dataset.state = offline ? "error" : unsent ? "connecting" : "running";
  find("who").textContent = annotator || text("enter");
}

function showPanel() {
  const { seen, joint, frame, shown, active } = studio.state;
  if (!studio.project || frame < 0) return;
  const { joints: names, bones, views } = studio.project;
  const marks = [...studio.marksOf(frame).values()];
  const count = (/** @type {(mark: any) => boolean} */ fits) => names.map((_, k) => marks.filter((mark) => mark.joint === k && fits(mark)).length);
  grid.show({
    joint, names, views: count(() => true), placed: count((mark) => mark.x !== null),
    odd: new Set(seen.bones.flatMap((/** @type {any} */ one) => one.bone)),
    disputed: new Set(seen.conflicts.map((/** @type {any} */ one) => one.joint)),
  });
  find("joint-name").textContent = jointName(joint, names);
  const mark = marks.find((one) => one.joint === joint && one.view === shown[active]);
  for (const button of find("states").children) button.setAttribute("aria-pressed", String(button.dataset.state === mark?.state));
  const sigma = seen.sigma_mm[joint];
  find("joint-said").textContent = seen.points_m[joint]
    ? text("joint.known", { count: marks.filter((one) => one.joint === joint && one.x !== null).length, mm: sigma?.toFixed(1) ?? "–" })
    : text("joint.unknown");
  showWarnings(find("warnings"), seen, names, (wanted) => studio.chooseJoint(wanted));
  if (!find("warnings").children.length) find("warnings").textContent = text("warnings.none");
  find("undo").disabled = !studio.canUndo;
  find("redo").disabled = !studio.canRedo;
  const view = views.find(({ name }) => name === shown[0]);
  if (view) space.show(figuresOfJoints(seen.points_m, bones, view));
}

function showSaid() {
  const { said } = studio.state;
  find("said").textContent = said ? text(`said.${said.key}`, said.values) : "";
}

async function refreshAgreement() {
  if (!find("agreement-card").open || !studio.project) return;
  try {
    showAgreement(find("agreement"), await getAgreement(), studio.project.joints);
  } catch (error) {
    messages.show(error);
  }
}

/** Ask who works; remembered for the next time. */
async function enter() {
  find("annotator").value = studio.state.annotator || memory.read("annotate.annotator") || "";
  find("enter").showModal();
  find("annotator").focus();
}

function wireFields() {
  find("frame").max = studio.project.frames.length - 1;
  find("frame").oninput = () => studio.goTo(studio.project.frames[find("frame").value]);
  find("previous").onclick = () => studio.step(-1);
  find("next").onclick = () => studio.step(1);
  find("need").onclick = () => studio.goToNeed();
  find("undo").onclick = () => studio.undo();
  find("redo").onclick = () => studio.redo();
  find("copy").onclick = () => copyPrevious(studio);
  find("label").onclick = () => askMachine(studio);
  find("accept").onclick = () => acceptMachine(studio, studio.state.joint);
  find("accept-all").onclick = () => acceptMachine(studio, null);
  find("states").onclick = ({ target }) => target.dataset.state && studio.setState(studio.state.shown[studio.state.active], target.dataset.state);
  for (const [id, name] of Object.entries(SWITCHES)) find(id).onchange = () => wall.show({ [name]: find(id).checked });
  find("everyone").onchange = () => {
    studio.store.set({ everyone: find("everyone").checked });
    studio.reload();
  };
  for (const id of ["brightness", "contrast"]) {
    const show = () => {
      find("views").style.setProperty(`--${id}`, find(id).value);
      document.querySelector(`output[for="${id}"]`).textContent = Number(find(id).value).toFixed(1);
    };
    find(id).oninput = show;
    show();
  }
  const most = studio.project.views.length;
  find("count").replaceChildren(...COUNTS.filter((count) => count <= most).map((count) => new Option(String(count), String(count))));
  find("count").onchange = () => studio.showCount(Number(find("count").value));
  studio.store.watch(["shown"], ({ shown }) => (find("count").value = String(shown.length)));
}

function wire() {
  find("language").onchange = async () => {
    memory.write("language", find("language").value);
    await speak(find("language").value);
  };
  find("help-open").onclick = () => find("help").showModal();
  find("who").onclick = enter;
  find("enter").onclose = () => {
    const name = find("annotator").value.trim();
    if (name && name !== studio.state.annotator) studio.begin(name).catch((error) => messages.show(error));
    else if (!name && !studio.state.annotator) enter();
  };
  find("agreement-card").ontoggle = refreshAgreement;
  listenToKeys(keys.all, () => studio.state.annotator !== "" && !document.querySelector("dialog[open]"));
  studio.store.watch(["unsent", "offline", "annotator"], showSaved);
  studio.store.watch(["said"], showSaid);
  studio.store.watch(["frame", "progress"], showFrame);
  studio.store.watch(["seen", "joint", "shown", "active"], showPanel);
  onLanguage(() => {
    messages.render();
    for (const show of [showFrame, showSaved, showPanel, showSaid]) show();
    showKeys(find("keys"), keys);
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
find("language").value = language;
addTexts(new URL("i18n/", import.meta.url));
await speak(language);
wire();
try {
  await studio.open();
  find("project-name").textContent = studio.project.name;
  wireFields();
  wall.begin();
  await enter();
} catch (error) {
  const code = /** @type {any} */ (error).code;
  messages.show(code === "not_found" ? Object.assign(new Error(/** @type {Error} */ (error).message), { code: "no_project" }) : error);
}
document.documentElement.dataset.ready = "true";
