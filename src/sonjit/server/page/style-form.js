/** The form of the drawing style. */

const SWITCHES = ["drawing", "labels", "gestures", "points", "boxes", "errors"];
const find = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));

/**
 * Connect the form to the store's `style`.
 *
 * @param {import("./state.js").Store} store
 */
export function wireStyle(store) {
  const change = (/** @type {object} */ changes) => store.set({ style: { ...store.state.style, ...changes } });
  for (const name of SWITCHES) find(`style-${name}`).onchange = () => change({ [name]: find(`style-${name}`).checked });
  find("style-thickness").oninput = () => change({ thickness: Number(find("style-thickness").value) });
  const colour = () => change({ colour: find("style-single").checked ? find("style-colour").value : "" });
  find("style-single").onchange = find("style-colour").oninput = colour;
  store.watch(["style"], ({ style }) => {
    for (const name of SWITCHES) find(`style-${name}`).checked = style[name];
    find("style-thickness").value = style.thickness;
    find("style-thickness-value").textContent = `${style.thickness}×`;
    find("style-single").checked = style.colour !== "";
    find("style-colour").hidden = style.colour === "";
    if (style.colour) find("style-colour").value = style.colour;
  });
}

/** Return a valid style; wrong values are replaced by the defaults. @param {Record<string, any>} given @param {import("./painter.js").Style} usual @returns {import("./painter.js").Style} */
export function checkedStyle(given, usual) {
  const { colour, thickness } = given;
  const switches = SWITCHES.filter((name) => typeof given[name] === "boolean").map((name) => [name, given[name]]);
  return {
    ...usual,
    ...Object.fromEntries(switches),
    ...(/^#[0-9a-f]{6}$/i.test(colour) ? { colour } : {}),
    ...(thickness >= 0.5 && thickness <= 3 ? { thickness } : {}),
  };
}
