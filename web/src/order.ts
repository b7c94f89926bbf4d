/** Order of tracked hands and faces as in MediaPipe's graphs. */

/** Keeps the order of the instances that stay in view. New ones come first or last. */
export class InstanceOrder {
  readonly #newFirst: boolean;
  #ids: number[] = [];

  constructor({ newFirst }: { newFirst: boolean }) {
    this.#newFirst = newFirst;
  }

  /** Return the instances of the next frame in their order. Instances without a track ID stay as they are. */
  sort<T extends { readonly id: number | null }>(instances: readonly T[]): T[] {
    const byId = new Map(instances.map((instance) => [instance.id, instance]));
    if (byId.has(null)) return [...instances];
    const tracked = this.#ids.filter((id) => byId.has(id));
    const appeared = [...byId.keys()].filter((id): id is number => id !== null && !tracked.includes(id));
    this.#ids = this.#newFirst ? [...appeared, ...tracked] : [...tracked, ...appeared];
    return this.#ids.map((id) => byId.get(id)!);
  }

  /** Forget the order: the next frame starts a new stream. */
  reset(): void {
    this.#ids = [];
  }
}
