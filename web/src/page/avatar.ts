/**
 * The panel of the avatar: a sample figure or the user's own .glb or .vrm file, which moves with the
 * first person.
 */

import type { Avatar, AvatarFrame } from "./avatar/scene.js";
import { find, onLanguage, PageError, showError, text } from "./common.js";
import { kindsWhere } from "./kinds.js";
import { isMirrored } from "./settings.js";
import type { AppStore } from "./state.js";

const ENDINGS = /\.(glb|vrm)$/i;
const SAMPLE = new URL("./avatar/sample.vrm", import.meta.url).href;
const MOVERS = ["holistic", "face"]; // kinds that move an avatar, the best first

/** Check whether a file may be an avatar. */
export const isModel = ({ name }: File) => ENDINGS.test(name);

/** Return the view of the avatar. */
export function avatarView(store: AppStore) {
  let loading: Promise<Avatar> | null = null;
  let avatar: Avatar | null = null;
  let latest: AvatarFrame | null = null;
  const [input, tab] = [find("avatar-file"), find("tab-avatar")];
  input.onchange = () => {
    open(input.files![0]!).catch(showError);
    input.value = ""; // so that the same file can be selected again
  };
  tab.addEventListener("click", () => void opened().catch(showError));
  find("avatar-detect").onclick = detect;
  store.watch(["mirrors", "source"], (state) => avatar?.mirror(isMirrored(state)));
  store.watch(["detectors", "here"], showStatus);
  onLanguage(showStatus);

  /** Load what shows avatars, once. */
  function opened(): Promise<Avatar> {
    loading ??= mounted().catch((error: unknown) => {
      loading = null;
      throw error;
    });
    return loading;
  }

  async function mounted() {
    if (!document.createElement("canvas").getContext("webgl2")) throw new PageError("no_webgl");
    const { mount } = await import("./avatar/scene.js");
    avatar = await mount(find("avatar"), { sample: SAMPLE });
    avatar.mirror(isMirrored(store.state));
    if (latest) avatar.show(latest);
    showStatus();
    return avatar;
  }

  /** Show a file, and detect what moves it. */
  async function open(file: File) {
    const shown = await opened();
    try {
      await shown.load(file);
    } catch (error) {
      const { message, extensions = [] } = error as { message: string; extensions?: string[] };
      throw extensions.length
        ? new PageError("model_extension", { name: file.name, extensions: extensions.join(", ") })
        : new PageError("model_damaged", { name: file.name, reason: message });
    }
    showStatus();
    tab.click();
    detect();
  }

  /** Detect whole people, or faces where the networks of people are missing. */
  function detect() {
    const { detectors, here, options } = store.state;
    const kind = moverOf(here);
    if (!kind) return;
    store.set({
      detectors: { ...detectors, [kind]: { ...detectors[kind]!, on: true } },
      options: { ...options, blendshapes: true, transform: true },
    });
  }

  function showStatus() {
    const { detectors, here } = store.state;
    const kind = moverOf(here);
    find("avatar-detect").hidden = !kind || Boolean(detectors[kind]?.on);
    if (!avatar) return;
    const { name, ...counts } = avatar.state();
    find("avatar-state").textContent = text(name ? "avatar.moves" : "avatar.hint", {
      name,
      ...counts,
    });
  }

  return {
    open,
    draw(frame: AvatarFrame) {
      latest = frame;
      avatar?.show(frame);
    },
    clear() {
      latest = null;
      avatar?.rest();
    },
  };
}

/** Return the best kind that this server or page has the networks for. */
function moverOf(here: boolean): string | undefined {
  const known = kindsWhere(here);
  return MOVERS.find((name) => {
    const kind = known[name];
    return kind && kind.models.some((model) => !kind.missing[model]);
  });
}
