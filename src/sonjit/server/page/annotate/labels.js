/** Marks that nobody has to make by hand: a machine's, and those of the frame before. */

import { placeOf } from "./outbox.js";
import { getFrame, prelabel } from "./project.js";

/** @typedef {import("./project.js").Mark} Mark */
/** @typedef {import("./studio.js").Studio} Studio */

/** Let the machine look at the views on the screen. @param {Studio} studio */
export async function askMachine(studio) {
  const { frame, annotator, joint, shown } = studio.state;
  studio.say("labelling");
  try {
    studio.take(await prelabel({ frame, annotator, joint, view: shown }));
    const { length: count } = studio.state.seen.machine;
    studio.say(count ? "labelled" : "no_hands", { count });
  } catch (error) {
    studio.say("no_hands");
    studio.onError(error);
  }
}

/** Take over what the machine says, where nothing is marked. @param {Studio} studio @param {number | null} joint null for all */
export function acceptMachine(studio, joint) {
  const { frame, seen, shown } = studio.state;
  const marks = studio.marksOf(frame);
  /** @type {Mark[]} */ const wanted = seen.machine.filter((/** @type {Mark} */ one) =>
    (joint === null || one.joint === joint) && shown.includes(one.view) && !marks.has(placeOf(one)));
  if (!wanted.length) return studio.say("nothing_to_accept");
  studio.write(wanted.map(({ view, joint: k, x, y }) => ({ id: "", frame, view, joint: k, x, y, state: "seen", source: "H+M" })));
  return studio.say("accepted", { count: wanted.length });
}

/** Marks of the frame before, where this one has none; uncertain until somebody touches them. @param {Studio} studio */
export async function copyPrevious(studio) {
  const { frame, annotator, shown } = studio.state;
  const { frames } = studio.project;
  const from = frames[frames.indexOf(frame) - 1];
  if (from === undefined) return studio.say("nothing_to_copy");
  try {
    /** @type {{marks: Mark[]}} */ const { marks } = await getFrame(from, { annotator, view: shown });
    const own = studio.marksOf(frame);
    const lacking = marks.map((mark) => ({ ...mark, frame })).filter((mark) => !own.has(placeOf(mark)));
    if (!lacking.length) return studio.say("nothing_to_copy");
    studio.write(lacking.map(({ view, joint, x, y, state, source }) =>
      ({ id: "", frame, view, joint, x, y, state: x === null ? state : "uncertain", source })));
    return studio.say("copied", { count: lacking.length, frame: from });
  } catch (error) {
    return studio.onError(error);
  }
}
