/** All views: tiles, their images and their pointer input. */

import { find, make, makeRow, onLanguage, text } from "../common.js";
import { LEFT, RIGHT } from "../kinds.js";
import {
  getImage,
  type Agreement,
  type Distances,
  type FrameState,
  type Mark,
  type Point3D,
  type StoredMark,
  type View,
} from "./project.js";
import { FAR_PX, Tile, type DrawnMark } from "./tile.js";
import type { Studio } from "./studio.js";
import type { Figure, Vector } from "../view3d.js";

const STEP_PX = 320; // requested image sizes; a small number improves caching
const LEAST_PX = 640;
const MOST_PX = 2560;

/** where to go after a mark: the next view, then the next joint; the next joint; nowhere */
type Advance = "view" | "joint" | "stay";

export class Wall {
  tiles: Tile[] = [];
  #studio;
  #place = find("views");
  #options = { advance: "view" as Advance, machine: true, others: true };
  #dragged: { joint: number; view: string; x: number; y: number } | null = null;
  cursor: [number, number] | null = null;
  // time from the request of a frame until all images are displayed in milliseconds; -1 while it
  // loads
  turnMs = -1;

  constructor(studio: Studio) {
    this.#studio = studio;
  }

  /** The tile that receives keys. */
  get active() {
    return this.tiles[this.#studio.state.active];
  }

  begin() {
    const { store } = this.#studio;
    store.watch(["shown"], () => this.#build());
    store.watch(["frame", "shown", "annotator"], () => this.#turn());
    store.watch(["seen", "joint", "active"], () => this.refresh());
    store.watch(["joint", "active", "frame"], () => (this.cursor = null));
    onLanguage(() => this.#nameTiles());
  }

  show(options: object) {
    Object.assign(this.#options, options);
    this.refresh();
  }

  /** Switch between one view and all views. */
  toggleSingle() {
    this.#place.classList.toggle("single");
    this.#layOut();
  }

  /** @param cursor in the active view */
  moveCursor(cursor: [number, number] | null) {
    this.cursor = cursor && this.active!.inside(...cursor);
    this.refresh();
  }

  /** Redraw all drawings over the images. */
  refresh() {
    const { state, project } = this.#studio;
    if (!project || state.frame < 0) return;
    const marks = this.#studio.marksOf(state.frame);
    this.tiles.forEach((tile, k) => {
      tile.node.classList.toggle("active", k === state.active);
      if (tile.view)
        this.#annotate(
          tile,
          [...marks.values()].filter((mark) => mark.view === tile.view?.name),
          k === state.active,
        );
    });
  }

  /** @param list of this annotator in this view */
  #annotate(tile: Tile, list: Mark[], isActive: boolean) {
    const { seen, joint } = this.#studio.state;
    const { bones, joints } = this.#studio.project;
    const view = (tile.view as View).name;
    const marks: Map<number, DrawnMark> = new Map(list.map((mark) => [mark.joint, mark]));
    const dragged = this.#dragged?.view === view ? this.#dragged : null;
    if (dragged)
      marks.set(dragged.joint, {
        source: "H",
        state: "seen",
        ...marks.get(dragged.joint),
        joint: dragged.joint,
        x: dragged.x,
        y: dragged.y,
      });
    const here = (all: StoredMark[]) => all.filter((item) => item.view === view && item.x !== null);
    const name = jointName(joint, joints);
    const scene = {
      marks,
      joint,
      bones,
      name: isActive ? name : "",
      cursor: isActive ? this.cursor : null,
      machine: new Map(
        this.#options.machine ? here(seen.machine).map((mark) => [mark.joint, mark]) : [],
      ),
      others: this.#options.others ? here(seen.others) : [],
      projected: seen.projected[view] ?? [],
      residuals: seen.residuals_px[view] ?? [],
      line: seen.lines[view] ?? [],
      odd: new Set(seen.bones.map((item) => item.bone.join(" "))),
      conflicts: new Set(
        seen.conflicts.filter((item) => item.view === view).map((item) => item.joint),
      ),
    };
    const mark = marks.get(joint);
    const where =
      mark?.x != null
        ? text("tile.marked", {
            x: mark.x.toFixed(1),
            y: mark.y?.toFixed(1) ?? "",
            state: text(`state.${mark.state}`),
          })
        : mark
          ? text(`state.${mark.state}`)
          : text("tile.unmarked");
    tile.annotate(
      scene,
      mark && mark.state !== "seen" ? text(`state.${mark.state}`) : "",
      text("tile.label", { view, joint: name, where, count: marks.size, all: joints.length }),
    );
  }

  /** Create the tiles of the displayed views. */
  #build() {
    const { shown } = this.#studio.state;
    while (this.tiles.length > shown.length) this.tiles.pop()?.node.remove();
    while (this.tiles.length < shown.length) this.tiles.push(this.#newTile(this.tiles.length));
    shown.forEach((name, k) => {
      this.tiles[k]!.chooser.value = name;
      this.tiles[k]!.choose(this.#studio.project.views.find((view) => view.name === name) as View);
    });
    this.#layOut();
    this.#nameTiles();
  }

  #newTile(k: number) {
    const studio = this.#studio;
    const copy = find<HTMLTemplateElement>("tile").content.cloneNode(true) as DocumentFragment;
    const node = copy.firstElementChild as HTMLElement;
    const view = () => studio.state.shown[k]!;
    const tile = new Tile(node, {
      tap: (x, y, under) => this.#tap(view(), x, y, under),
      drag: (joint, x, y, isDone) => this.#drag(view(), joint, x, y, isDone),
      activate: () => studio.store.set({ active: k }),
    });
    tile.chooser.replaceChildren(...studio.project.views.map(({ name }) => new Option(name, name)));
    tile.chooser.onchange = () => studio.chooseView(k, tile.chooser.value);
    this.#place.append(node);
    return tile;
  }

  #nameTiles() {
    this.tiles.forEach((tile, k) => {
      const label = tile.node.querySelector("label") as HTMLLabelElement;
      tile.chooser.id = label.htmlFor = `view-${k + 1}`;
      label.textContent = text("tile.which", { number: k + 1 });
      tile.node.ariaLabel = text("tile.name", { number: k + 1, view: tile.view?.name });
    });
  }

  #layOut() {
    const count = this.#place.classList.contains("single") ? 1 : this.tiles.length;
    this.#place.style.setProperty(
      "--columns",
      String(count <= 2 ? count : count <= 4 ? 2 : count <= 9 ? 3 : 4),
    );
  }

  /** @param under joint of the mark at this position */
  #tap(view: string, x: number, y: number, under: number | null) {
    const studio = this.#studio;
    const { joint } = studio.state;
    const [own, machine] = [studio.ownMark(view, joint), studio.machineMark(view, joint)];
    if (under !== null && under !== joint && own) void studio.chooseJoint(under);
    else if (under === joint && own) {
      // the annotator confirmed it
      if (own.state === "uncertain") studio.mark(view, joint, own.x, own.y);
    } else {
      if (under === joint && machine) studio.mark(view, joint, machine.x, machine.y, "seen", "H+M");
      else studio.mark(view, joint, x, y);
      this.#goOn();
    }
  }

  /**
   * Continue after a mark: with the next visible view without a mark of the joint, or with the next
   * joint in the first view.
   */
  #goOn() {
    const studio = this.#studio;
    const { joint, shown, active } = studio.state;
    const { advance } = this.#options;
    if (advance === "stay") return;
    const visible = this.tiles
      .map((_, k) => k)
      .filter((k) => this.tiles[k]!.node.offsetParent !== null);
    const order = [...visible.filter((k) => k > active), ...visible.filter((k) => k < active)];
    const next = order.find((k) => !studio.ownMark(shown[k]!, joint));
    if (advance === "joint" || next === undefined) void studio.chooseJoint(joint + 1);
    if (advance === "view") this.tiles[next ?? visible[0]!]!.overlay.focus({ preventScroll: true });
  }

  #drag(view: string, joint: number, x: number, y: number, isDone: boolean) {
    const studio = this.#studio;
    this.#dragged = isDone ? null : { joint, view, x, y };
    if (joint !== studio.state.joint) void studio.chooseJoint(joint);
    if (!isDone) return this.refresh();
    return studio.ownMark(view, joint)
      ? studio.mark(view, joint, x, y)
      : studio.mark(view, joint, x, y, "seen", "H+M");
  }

  /** Show the images of the frame, and fetch those of near frames into the browser's cache. */
  async #turn() {
    const { frame, shown, annotator } = this.#studio.state;
    if (frame < 0 || !annotator) return;
    const start = performance.now();
    this.turnMs = -1;
    const wanted = Math.max(...this.tiles.map((tile) => tile.longest));
    const longest = Math.min(Math.max(Math.ceil(wanted / STEP_PX) * STEP_PX, LEAST_PX), MOST_PX);
    await Promise.all(this.tiles.map((tile) => this.#fill(tile, frame, longest)));
    if (frame !== this.#studio.state.frame || shown !== this.#studio.state.shown) return;
    this.turnMs = performance.now() - start;
    const { frames } = this.#studio.project;
    const place = frames.indexOf(frame);
    for (const near of [1, -1, 2].map((by) => frames[place + by])) {
      // another frame was selected
      if (near === undefined || frame !== this.#studio.state.frame) continue;
      const views = this.tiles.flatMap(({ view }) =>
        view?.missing.includes(near) ? [] : (view ?? []),
      );
      await Promise.allSettled(views.map(({ name }) => getImage(name, near, longest)));
    }
  }

  async #fill(tile: Tile, frame: number, longest: number) {
    const view = tile.view as View;
    const isCurrent = () => tile.view === view && frame === this.#studio.state.frame;
    if (view.missing.includes(frame)) return tile.blank(frame, text("tile.missing"));
    try {
      const image = await createImageBitmap(await getImage(view.name, frame, longest));
      if (isCurrent()) tile.show(frame, image);
      else image.close();
    } catch (error) {
      if (isCurrent()) tile.blank(frame, (error as Error).message);
    }
    return undefined;
  }
}

const FINGERS = [
  [1, 2, 3, 4],
  [5, 6, 7, 8],
  [9, 10, 11, 12],
  [13, 14, 15, 16],
  [17, 18, 19, 20],
];
const NAMES = ["thumb", "index", "middle", "ring", "pinky"];

/** Return the name of a joint. */
export function jointName(joint: number, names: string[]) {
  const [side, ...rest] = names[joint]!.split("_");
  return `${text(`side.${side}`)} ${rest
    .map((word) => text(`part.${word}`))
    .filter(Boolean)
    .join(" ")}`;
}

/** `views`: number of views in which each joint is marked; `placed`: number with a position */
type JointStatus = {
  joint: number;
  names: string[];
  views: number[];
  placed: number[];
  odd: Set<number>;
  disputed: Set<number>;
};

/**
 * Make a grid of joints.
 *
 * @returns shows a status
 */
export function jointGrid(
  element: HTMLElement,
  choose: (joint: number) => void,
): (status: JointStatus) => void {
  const buttons: HTMLButtonElement[] = [];
  for (const side of [1, 0]) {
    // in the order in which people see their own hands
    const hand = make("div", { className: `hand ${side ? "left" : "right"}` });
    const add = (node: HTMLElement, area: string, dataset = {}) => {
      Object.assign(node.dataset, dataset);
      node.style.gridArea = area;
      hand.append(node);
    };
    const column = (f: number) => (side ? 5 - f : f + 1);
    // screen readers read the full name of each joint
    const caption = () => make("span", { className: "caption", ariaHidden: "true" });
    const button = (k: number) =>
      (buttons[21 * side + k] = make("button", {
        type: "button",
        className: "joint",
        onclick: () => choose(21 * side + k),
      }));
    FINGERS.forEach((finger, f) =>
      finger.forEach((k, step) => add(button(k), `${5 - step} / ${column(f)}`)),
    );
    add(button(0), `6 / ${column(2)}`);
    NAMES.forEach((name, f) => add(caption(), `1 / ${column(f)}`, { i18n: `part.${name}` }));
    add(caption(), "7 / 1 / 8 / 6", { i18n: side ? "side.left" : "side.right" });
    element.append(hand);
  }
  return ({ joint, names, views, placed, odd, disputed }) => {
    buttons.forEach((button, k) => {
      const state = placed[k]! > 1 ? "done" : views[k] ? "begun" : "none";
      button.dataset.state = state;
      button.classList.toggle("odd", odd.has(k) || disputed.has(k));
      button.ariaPressed = String(k === joint);
      const words = [jointName(k, names), text(`joint.${state}`, { count: views[k] })];
      if (odd.has(k)) words.push(text("joint.odd"));
      if (disputed.has(k)) words.push(text("joint.disputed"));
      button.title = button.ariaLabel = words.join(", ");
    });
  };
}

/** Show bones and marks to check, in the displayed views. */
export function showWarnings(
  element: HTMLElement,
  seen: FrameState,
  names: string[],
  choose: (joint: number) => void,
) {
  const row = (joint: number, words: string) =>
    make(
      "li",
      {},
      make("button", {
        type: "button",
        className: "warning",
        textContent: words,
        onclick: () => choose(joint),
      }),
    );
  const bones = seen.bones.map(({ bone, length_mm: length, expected_mm: expected, against }) =>
    row(bone[1], text(`warn.${against}`, { joint: jointName(bone[1], names), length, expected })),
  );
  const disputes = seen.conflicts.map(({ joint, view, annotators, apart_px: apart }) =>
    row(
      joint,
      text(apart === null ? "warn.states" : "warn.conflict", {
        joint: jointName(joint, names),
        view,
        who: annotators.join(", "),
        apart: apart?.toFixed(1) ?? "",
      }),
    ),
  );
  const far = names.flatMap((_, joint) => {
    const off = Object.entries(seen.residuals_px)
      .map(([view, px]) => ({ view, px: px[joint] ?? 0 }))
      .filter(({ px }) => px > FAR_PX);
    const where = off
      .sort((a, b) => b.px - a.px)
      .map(({ view, px }) => text("warn.off", { view, px: px.toFixed(1) }))
      .join(", ");
    return where
      ? [row(joint, text("warn.residual", { joint: jointName(joint, names), where }))]
      : [];
  });
  const rows = [...disputes, ...far, ...bones];
  element.replaceChildren(...(rows.length ? rows : [make("li", {}, text("warnings.none"))]));
}

export function showAgreement(element: HTMLElement, result: Agreement, names: string[]) {
  if (!result.all.pairs)
    return element.replaceChildren(make("p", { className: "hint" }, text("agreement.none")));
  const row = (head: string, { pairs, mean_px: mean, median_px: middle, within }: Distances) =>
    makeRow(head, [
      pairs,
      mean?.toFixed(2) ?? "–",
      middle?.toFixed(2) ?? "–",
      within["5"] === undefined ? "–" : `${Math.round(100 * within["5"])}%`,
    ]);
  const [first, ...heads] = ["of", "pairs", "mean", "median", "within"].map((key) =>
    text(`agreement.${key}`, { px: 5 }),
  );
  const rows = [
    row(text("agreement.all"), result.all),
    ...Object.entries(result.annotators).map(([pair, numbers]) => row(pair, numbers)),
    ...Object.entries(result.joints).map(([name, numbers]) =>
      row(jointName(names.indexOf(name), names), numbers),
    ),
  ];
  return element.replaceChildren(
    make("table", {}, make("thead", {}, makeRow(first!, heads, "th")), make("tbody", {}, ...rows)),
  );
}

/**
 * Return the joints as figures of the 3D view: each hand with the bones whose ends are known.
 *
 * @param points in the world
 * @param view whose axes the figures are in
 */
export function skeletonsOfJoints(
  points: (Point3D | null)[],
  bones: [number, number][],
  { rotation, translation_m: shift }: View,
): Figure[] {
  return [0, 1].flatMap((side) => {
    const known = points.flatMap((point, joint) =>
      point && Math.floor(joint / 21) === side ? [joint] : [],
    );
    if (known.length < 2) return [];
    const element = new Map(known.map((joint, k) => [joint, k]));
    const connections = bones
      .filter((bone) => bone.every((joint) => element.has(joint)))
      .map((bone) => bone.map((joint) => element.get(joint))) as [number, number][];
    const turned = known.map((joint) =>
      rotation.map((row, axis) =>
        row.reduce((sum, value, k) => sum! + value * (points[joint]?.[k] ?? 0), shift[axis]),
      ),
    );
    const colours = known.map(() => (side ? LEFT : RIGHT));
    return [
      {
        kind: "hand",
        points: turned as Vector[],
        skeleton: { keypoints: known.map(String), connections, groups: {}, colours },
      },
    ];
  });
}
