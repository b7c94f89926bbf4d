/** The figure that moves as a person of a result, and its controls. */

import { useSignalEffect, type Signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

import type { Avatar, AvatarFrame } from "../avatar/scene.js";
import { showError, text } from "../common.js";
import { loadModel, loadSample, model, mountAvatar } from "../model.js";
import type { Curves, FrameReader } from "./curves.js";
import type { Player } from "./player.js";

/**
 * `person`: id of the person who moves the figure; null for the first one; `name`: of the file that
 * is shown, "" for the sample figure
 */
type Props = {
  curves: Curves;
  player: Player;
  reader: FrameReader;
  person: Signal<number | null>;
  avatar: Signal<Avatar | null>;
  name: Signal<string>;
};

/** The figure itself. */
export function Figure({ player, reader, person, avatar, name }: Omit<Props, "curves">) {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    let isGone = false;
    const mounted = mountAvatar(place.current!);
    mounted.then((made) => {
      if (isGone) return;
      avatar.value = made;
      name.value = made.state().name;
    }, showError);
    return () => {
      isGone = true;
      avatar.value = null;
      mounted.then(
        (made) => made.dispose(),
        () => {},
      );
    };
  }, []);
  useSignalEffect(() => {
    const [shown, index, id] = [avatar.value, player.shown.value, person.value];
    if (!shown || index < 0) return;
    void reader.read(index).then((details) => {
      if (avatar.peek() === shown && player.shown.peek() === index)
        shown.show(details ? ofPerson(details, id) : {});
    }, showError);
  });
  const loaded = useRef(model.peek());
  useSignalEffect(() => {
    const [shown, file] = [avatar.value, model.value];
    if (!shown || file === loaded.current) return;
    loaded.current = file;
    (file ? loadModel(shown, file) : loadSample(shown)).then(
      () => (name.value = shown.state().name),
      showError,
    );
  });
  return (
    <div ref={place} id="result-figure" class="space" role="img" aria-label={text("avatar")} />
  );
}

/** Return a frame with one person only. */
function ofPerson(frame: AvatarFrame, id: number | null): AvatarFrame {
  const isWanted = (one: { id?: number | null }) => id === null || (one.id ?? null) === id;
  const { people, bodies } = frame;
  return {
    ...frame,
    ...(people ? { people: people.filter(isWanted) } : {}),
    ...(bodies ? { bodies: bodies.filter(isWanted) } : {}),
  };
}

/** The switch of the figure, the choice of its model, and of the person who moves it. */
export function FigureControls({ curves, isOn, person, avatar, name }: Controls) {
  const ids = peopleOf(curves);
  const shown = avatar.value?.state();
  return (
    <div class="avatar-foot">
      <button
        id="result-avatar"
        class="button small"
        type="button"
        aria-pressed={isOn.value}
        onClick={() => (isOn.value = !isOn.value)}
      >
        {text("avatar")}
      </button>
      {isOn.value && shown && (
        <>
          {ids.length > 1 && (
            <select
              class="compact"
              aria-label={text("avatar.person")}
              onChange={({ currentTarget }) => (person.value = Number(currentTarget.value))}
            >
              {ids.map((id) => (
                <option key={id} value={id} selected={id === person.value}>
                  {text("one.holistic")} #{id}
                </option>
              ))}
            </select>
          )}
          <label class="button small">
            <input
              id="result-model"
              class="visually-hidden"
              type="file"
              accept=".glb,.vrm"
              onChange={({ currentTarget }) => {
                model.value = currentTarget.files?.[0] ?? model.peek();
                currentTarget.value = ""; // so that the same file can be selected again
              }}
            />
            {text("avatar.file")}
          </label>
          {name.value && (
            <button class="button small" type="button" onClick={() => (model.value = null)}>
              {text("avatar.sample")}
            </button>
          )}
          <p id="result-figure-state" class="hint" role="status">
            {name.value ? text("avatar.moves", { ...shown }) : text("avatar.own")}
          </p>
        </>
      )}
    </div>
  );
}

type Controls = Omit<Props, "player" | "reader"> & { isOn: Signal<boolean> };

/** Return the ids of the people of a result, those in most frames first. */
export function peopleOf({ instances }: Curves): number[] {
  const ids = instances.flatMap(({ kind, id }) => (kind === "body" && id !== null ? [id] : []));
  return [...new Set(ids)];
}
