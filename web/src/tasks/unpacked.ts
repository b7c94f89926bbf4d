/** What replaces `results.js` in the pipeline of tasks, which computes without promises. */

export * from "../results.js";

/** Return a result as it is: tasks convert it themselves. */
export function finalResult<R>(result: R): R {
  return result;
}
