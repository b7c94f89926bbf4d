/** Replaces `results.js` in the pipeline of tasks, which runs without promises. */

export * from "../results.js";

/** Return a result unchanged, because tasks convert it themselves. */
export const finalResult = <R>(result: R): R => result;
