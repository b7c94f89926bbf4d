/**
 * The panel of the avatar: a sample figure or the user's own .glb or .vrm file, which moves with the
 * first person.
 */

import type { Avatar, AvatarFrame } from "./avatar/scene.js";
import { find, onLanguage, showError, text } from "./common.js";
import { hasNoServer } from "./endpoints.js";
import { kindsWhere } from "./kinds.js";
import { isResultWanted, loadModel, loadSample, model, mountAvatar } from "./model.js";
import { go, task } from "./places.js";
import { isMirrored, withOnly } from "./settings.js";
import type { AppStore } from "./state.js";

const MOVERS = ["holistic", "face"]; // kinds that move an avatar, the best first

/** Return the view of the avatar. */
export function avatarView(store: AppStore) {
  let loading: Promise<Avatar> | null = null;
  let avatar: Avatar | null = null;
  let latest: AvatarFrame | null = null;
  let shown: File | null = null;
  let isCertain = true;
  const [input, tab] = [find("avatar-file"), find("tab-avatar")];
  input.onchange = () => {
    open(input.files![0]!).catch(showError);
    input.value = ""; // so that the same file can be selected again
  };
  tab.addEventListener("click", () => void opened().catch(showError));
  find("avatar-detect").onclick = detect;
  find("avatar-measure").hidden = hasNoServer;
  find("avatar-measure").onclick = () => {
    isResultWanted.value = true;
    go({ task: "measure" });
  };
  find("avatar-sample").onclick = () => showSample().catch(showError);
  model.subscribe((file) => {
    if (!avatar || file === shown) return;
    // a result showed it
    (file ? show(file) : showSample()).catch(showError);
  });
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
    avatar = await mountAvatar(find("avatar"));
    shown = model.peek();
    avatar.mirror(isMirrored(store.state));
    if (latest) avatar.show(latest);
    showStatus();
    return avatar;
  }

  async function show(file: File) {
    const target = await opened();
    shown = file;
    await loadModel(target, file);
    showStatus();
  }

  async function showSample() {
    const target = await opened();
    shown = null;
    await loadSample(target);
    showStatus();
  }

  /** Show a file, and detect what moves it. A result shows it at once. */
  async function open(file: File) {
    if (task.peek() === "measure") {
      model.value = file;
      return;
    }
    await show(file);
    follow();
  }

  /** Show the avatar, and detect what moves it. */
  function follow() {
    tab.click();
    detect();
  }

  /** Detect only whole people, or faces where the networks of people are missing. */
  function detect() {
    const { detectors, here, options } = store.state;
    const kind = moverOf(here);
    if (!kind) return;
    store.set({
      detectors: withOnly(detectors, [kind]),
      options: { ...options, blendshapes: true, transform: true },
    });
  }

  function showStatus() {
    const { detectors, here } = store.state;
    const kind = moverOf(here);
    find("avatar-detect").hidden = !kind || Boolean(detectors[kind]?.on);
    if (!avatar) return;
    const { name, ...counts } = avatar.state();
    find("avatar-sample").hidden = !name;
    const key = isCertain ? (name ? "avatar.moves" : "avatar.hint") : "avatar.back";
    find("avatar-state").textContent = text(key, { name, ...counts });
  }

  return {
    open,
    follow,
    draw(frame: AvatarFrame) {
      latest = frame;
      const was = isCertain;
      isCertain = avatar?.show(frame) ?? true;
      if (was !== isCertain) showStatus();
    },
    clear() {
      isCertain = true;
      latest = null;
      avatar?.rest();
    },
  };
}

/** Return the best kind that this server or page has the networks for. */
function moverOf(here: boolean): string | undefined {
  const known = kindsWhere(here);
  return MOVERS.find((mover) => {
    const kind = known[mover];
    return kind && kind.models.some((name) => !kind.missing[name]);
  });
}
