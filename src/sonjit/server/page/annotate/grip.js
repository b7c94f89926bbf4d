/** Pointer input of a view: tap to mark, drag a mark or the image, zoom with two fingers or the wheel. */

const GRAB_PX = 9; // distance in screen pixels within which a pointer selects a mark
const MOVED_PX = 4; // a longer movement is not a tap

export class Grip {
  #tile;
  #on;
  /** @type {Map<number, {x: number, y: number}>} */ #pointers = new Map();
  /** @type {{joint: number | null, x: number, y: number, moved: boolean} | null} */ #drag = null;

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
      const speed = event.ctrlKey ? 0.01 : 0.0015; // browsers report pinch gestures of a touch pad this way
      tile.zoomBy(Math.exp(-event.deltaY * speed), [event.offsetX, event.offsetY]);
    }, { passive: false });
  }

  /** @param {PointerEvent} event */
  #down({ pointerId, button, offsetX: x, offsetY: y }) {
    this.#tile.overlay.setPointerCapture(pointerId);
    this.#pointers.set(pointerId, { x, y });
    const isSingle = button === 0 && this.#pointers.size === 1;
    this.#drag = { joint: isSingle ? this.#jointAt(x, y) : null, x, y, moved: !isSingle };
  }

  /** @param {PointerEvent} event */
  #move({ pointerId, offsetX: x, offsetY: y }) {
    const last = this.#pointers.get(pointerId);
    const drag = this.#drag;
    if (!last || !drag) return;
    const before = this.#spread();
    this.#pointers.set(pointerId, { x, y });
    drag.moved ||= Math.hypot(x - drag.x, y - drag.y) > MOVED_PX;
    if (!drag.moved) return;
    if (drag.joint !== null) return void this.#on.drag(drag.joint, ...this.#placeAt(x, y), false);
    const share = 1 / this.#pointers.size;
    this.#tile.panBy((x - last.x) * share, (y - last.y) * share);
    if (this.#pointers.size === 2 && before) this.#tile.zoomBy(this.#spread() / before, this.#between());
  }

  /** @param {PointerEvent} event @param {boolean} isMeant */
  #up({ pointerId, offsetX: x, offsetY: y }, isMeant) {
    if (!this.#pointers.delete(pointerId) || this.#pointers.size) return;
    const drag = this.#drag;
    this.#drag = null;
    if (!drag || !isMeant || !this.#tile.hasImage) return;
    if (!drag.moved) this.#on.tap(...this.#placeAt(x, y), drag.joint);
    else if (drag.joint !== null) this.#on.drag(drag.joint, ...this.#placeAt(x, y), true);
  }

  /** @param {number} u @param {number} v */
  #placeAt(u, v) {
    return this.#tile.inside(...this.#tile.take(u, v));
  }

  /** Return the mark under a pointer, preferably that of the selected joint. @param {number} u @param {number} v @returns {number | null} */
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

  /** Return the distance of two fingers; 0 with one. */
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
