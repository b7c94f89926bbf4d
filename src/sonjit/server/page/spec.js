/** Values that the page and Python share; `spec/README.md` describes them. */

/** @param {string} name @returns {Promise<any>} */
const load = async (name) => (await fetch(new URL(`./spec/${name}.json`, import.meta.url))).json();

/** @type {[typeof import("../../spec/drawing.json"), typeof import("../../spec/results.json"), typeof import("../../spec/repetitions.json")]} */
const [drawing, results, repetitions] = /** @type {any} */ (await Promise.all(["drawing", "results", "repetitions"].map(load)));

export { drawing as DRAWING, results as RESULTS, repetitions as REPETITIONS };
