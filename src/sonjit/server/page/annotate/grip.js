/** Pointers on a view: a tap marks, a drag on a mark moves it, elsewhere it moves the image; two fingers and the wheel zoom. */

const GRAB_PX = 9; // of the screen: how near to a mark a pointer grabs it
const MOVED_PX = 4; // what moves farther is not a tap

export class Grip {
  #tile;
  #on;
  /** @type {Map<number, {x: number, y: number}>} */ #pointers = new Map();
  /** @type {{joint: number | null, x: number, y: number, moved: boolean} | null} */ #held = null;

  /** @param {import("./tile.js").Tile} tile @param {import("./tile.js").Handlers} on */
  constructor(tile, on) {
    this.#tile = tile;
    this.#on = on;
    const { overlay } = tile;
    overlay.addEventListener("pointerdown", (event) => this.#down(event));
    overlay.addEventListener("pointermove", (event) => this.#move(event));
    overlay.addEventListener("pointerup", (event) => this.#up(event, true));
    overlay.addEventListener("pointercancel", (event) => this.#up(event, false));
    overlay.addEventListener("contextmenu", (event) => event.preventDefault());
    overlay.addEventListener("focus", () => on.activate());
    overlay.addEventListener("wheel", (event) => {
      event.preventDefault();
      const speed = event.ctrlKey ? 0.01 : 0.0015; // browsers report pinching on a touch pad so
      tile.zoomBy(Math.exp(-event.deltaY * speed), [event.offsetX, event.offsetY]);
    }, { passive: false });
  }

  /** @param {PointerEvent} event */
  #down({ pointerId, button, offsetX: x, offsetY: y }) {
    this.#tile.overlay.setPointerCapture(pointerId);
    this.#pointers.set(pointerId, { x, y });
    const isSingle = button === 0 && this.#pointers.size === 1;
    this.#held = { joint: isSingle ? this.#jointAt(x, y) : null, x, y, moved: !isSingle };
  }

  /** @param {PointerEvent} event */
  #move({ pointerId, offsetX: x, offsetY: y }) {
    const last = this.#pointers.get(pointerId);
    const held = this.#held;
    if (!last || !held) return;
    const before = this.#spread();
    this.#pointers.set(pointerId, { x, y });
    held.moved ||= Math.hypot(x - held.x, y - held.y) > MOVED_PX;
    if (!held.moved) return;
    if (held.joint !== null) return void this.#on.drag(held.joint, ...this.#placeAt(x, y), false);
    const share = 1 / this.#pointers.size;
    this.#tile.panBy((x - last.x) * share, (y - last.y) * share);
    if (this.#pointers.size === 2 && before) this.#tile.zoomBy(this.#spread() / before, this.#between());
  }

  /** @param {PointerEvent} event @param {boolean} isMeant */
  #up({ pointerId, offsetX: x, offsetY: y }, isMeant) {
    if (!this.#pointers.delete(pointerId) || this.#pointers.size) return;
    const held = this.#held;
    this.#held = null;
    if (!held || !isMeant || !this.#tile.hasImage) return;
    if (!held.moved) this.#on.tap(...this.#placeAt(x, y), held.joint);
    else if (held.joint !== null) this.#on.drag(held.joint, ...this.#placeAt(x, y), true);
  }

  /** @param {number} u @param {number} v */
  #placeAt(u, v) {
    return this.#tile.inside(...this.#tile.take(u, v));
  }

  /** The mark under a pointer: that of the chosen joint first. @param {number} u @param {number} v @returns {number | null} */
  #jointAt(u, v) {
    const { scene } = this.#tile;
    const near = [...(scene?.marks ?? []), ...(scene?.machine ?? [])]
      .map(([joint, mark]) => {
        const [x, y] = this.#tile.put(mark.x ?? Infinity, mark.y ?? Infinity);
        return { joint, away: Math.hypot(x - u, y - v) };
      })
      .filter(({ away }) => away <= GRAB_PX)
      .sort((a, b) => a.away - b.away);
    return near.find(({ joint }) => joint === scene?.joint)?.joint ?? near[0]?.joint ?? null;
  }

  /** Distance of two fingers, 0 with one. */
  #spread() {
    const [a, b] = [...this.#pointers.values()];
    return a && b ? Math.hypot(a.x - b.x, a.y - b.y) : 0;
  }

  /** @returns {[number, number]} */
  #between() {
    const [a, b] = [...this.#pointers.values()];
    return [(a.x + b.x) / 2, (a.y + b.y) / 2];
  }
}
