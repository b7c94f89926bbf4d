/** The instances of a frame that have measures. */

import { instancesOf, type Instance } from "./kinds.js";
import { nameOf } from "./painter.js";

/** an instance with the same key in every frame; `label`: its displayed name */
export type Tracked = {
  key: string;
  kind: string;
  id: number | null;
  label: string;
  instance: Instance & { measures: Record<string, number | null> };
};

const CM_PER_M = 100;

/**
 * Return the measured instances of a frame. Blendshapes and the position of the head are measures
 * too.
 */
export function trackedOf(frame: object): Tracked[] {
  const seen = new Map<string, number>();
  const isMeasured = (instance: Instance) =>
    instance.measures ||
    instance.blendshapes ||
    instance.transform ||
    instance.distanceM !== undefined;
  return instancesOf(frame)
    .filter(({ instance }) => isMeasured(instance))
    .map(({ kind, number, instance, person }) => {
      const id = instance.id ?? person?.id ?? null;
      const part = person && kind === "hand" ? instance.handedness : "";
      let key = `${kind}${part}${id === null ? `:${number}` : `#${id}`}`;
      seen.set(key, (seen.get(key) ?? 0) + 1);
      if (seen.get(key)! > 1) key += `/${seen.get(key)}`;
      const name = nameOf(kind, instance, person);
      const { blendshapes, transform, distanceM } = instance;
      const place =
        transform &&
        Object.fromEntries(
          ["x", "y", "z"].map((axis, row) => [`head_${axis}_m`, transform[row]![3]! / CM_PER_M]),
        );
      const measures = {
        ...instance.measures,
        ...(distanceM !== undefined && { distance_m: distanceM }),
        ...place,
        ...blendshapes,
      };
      return {
        key,
        kind,
        id,
        label: id === null ? name : `${name} #${id}`,
        instance: { ...instance, measures },
      };
    });
}
