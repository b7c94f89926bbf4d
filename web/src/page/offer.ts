/** The button that offers another detector while nothing is found. */

import { find, onLanguage, text, textOr } from "./common.js";
import { instancesOf, kindsWhere, type Frame } from "./kinds.js";
import { switchKind } from "./options-panel.js";
import type { AppStore } from "./state.js";

const AFTER_MS = 2000;
const MOST_LIKELY = "bodies"; // list of results; most pictures show people

/** Return the view of the button. */
export function offerView(store: AppStore) {
  const button = find("offer");
  let since = 0; // performance.now(); 0 if something was found
  let offered: string | undefined;

  /** Return the kind to look for: one that is off and whose networks are here. */
  function other(): string | undefined {
    const { here, detectors } = store.state;
    const known = Object.entries(kindsWhere(here)).filter(
      ([name, { models, missing }]) =>
        !detectors[name]?.on && models.some((model) => !missing[model]),
    );
    return (known.find(([, { list }]) => list === MOST_LIKELY) ?? known[0])?.[0];
  }

  function show() {
    button.hidden = !offered;
    const kind = textOr(`kind.${offered}`, offered ?? "");
    button.textContent = text("offer", { kind });
  }

  function offer(kind: string | undefined) {
    if (kind === offered) return;
    offered = kind;
    show();
  }

  button.onclick = () => {
    if (offered) switchKind(store, offered, true);
    since = 0;
    offer(undefined);
  };
  onLanguage(show);
  return {
    draw(frame: Frame) {
      if (instancesOf(frame).length || frame.hidden) since = 0;
      else since ||= performance.now();
      offer(since && performance.now() - since > AFTER_MS ? other() : undefined);
    },
    clear() {
      since = 0;
      offer(undefined);
    },
  };
}
