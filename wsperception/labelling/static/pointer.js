// The hand on the canvas: click = point, drag = box; edges, points and handles are taken; wheel zooms, space pans.

import { added, area, boxBetween, contains, movedBox, objectAtPoint, objectInBox, placed, placeOf, pointInside } from "./labels.js";
import { handlePlaces } from "./view.js";

const REACH = 6; // screen pixels within which an edge, point or handle is meant
const STILL = 4; // screen pixels a hand may move and still click
const CURSORS = ["nwse-resize", "ns-resize", "nesw-resize", "ew-resize", "nwse-resize", "ns-resize", "nesw-resize", "ew-resize"];

const far = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);

export class Pointer {
  constructor(view, session) {
    this.view = view;
    this.session = session;
    this.gesture = null; // { start, at, act, moved } of the pressed button
    this.space = false;
    const { canvas } = view;
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#up(event));
    canvas.addEventListener("pointercancel", () => this.cancel());
    canvas.addEventListener("pointerleave", () => this.#leave());
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
  }

  /** Ends a gesture without a change. */
  cancel() {
    this.gesture = null;
    this.view.band = null;
    this.view.moving = null;
    this.view.draw();
  }

  #screen(event) {
    const box = this.view.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  #down(event) {
    if (this.gesture) return;
    this.view.canvas.focus({ preventScroll: true });
    this.view.canvas.setPointerCapture(event.pointerId);
    const start = this.#screen(event);
    const pans = event.button !== 0 || this.space;
    this.gesture = { start, at: start, moved: false, act: pans ? this.#pan() : this.#act(start, event.shiftKey) };
  }

  #move(event) {
    const at = this.#screen(event);
    this.view.pointer = this.view.toImage(at);
    const { gesture } = this;
    if (!gesture) {
      this.view.canvas.style.cursor = this.space ? "grab" : this.#cursor(at);
      if (this.session.tool.box) this.view.draw();
      return;
    }
    gesture.moved ||= far(at, gesture.start) > STILL;
    if (gesture.moved) gesture.act.drag(at, gesture.at, gesture.start);
    gesture.at = at;
  }

  #up(event) {
    const { gesture } = this;
    if (!gesture) return;
    const at = this.#screen(event);
    this.cancel();
    if (gesture.moved) gesture.act.drop?.(at, gesture.start);
    else gesture.act.click?.(gesture.start);
  }

  #leave() {
    this.view.pointer = null;
    this.view.draw();
  }

  #wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? event.deltaY * 20 : event.deltaY;
    this.view.zoom(Math.exp(-lines / 400), this.#screen(event));
  }

  /** What a press at a place of the screen begins. `fresh`: a new box, whatever lies there. */
  #act(start, fresh) {
    const { session } = this;
    if (session.hidden) return this.#create();
    const handle = this.#handleAt(start);
    if (handle !== null && !fresh) return this.#resize(handle);
    const hit = this.#entryAt(start);
    if (hit && !fresh) return this.#take(hit, () => session.select(hit));
    if (fresh || !this.#insideSelected(start)) return this.#create();
    return this.#take(session.selection, (at) => this.#create().click(at));
  }

  #pan() {
    return { drag: (at, before) => this.view.pan(at[0] - before[0], at[1] - before[1]) };
  }

  #create() {
    const { session, view } = this;
    const kind = session.tool.box;
    const between = (a, b) => boxBetween(view.toImage(a), view.toImage(b), session.size);
    return {
      click: (at) => this.#click(at),
      drag: (at, _, start) => {
        view.band = kind && between(start, at);
        view.draw();
      },
      drop: (at, start) => {
        const box = kind && between(start, at);
        if (!box) return;
        const object = objectInBox(session.labels, box) ?? { class: session.className, id: session.newId() };
        const entry = kind === "ignore" ? box : { ...object, box };
        session.change(kind, added(session.labels, kind, entry), { kind, row: session.labels[kind]?.length ?? 0 });
      },
    };
  }

  #click(at) {
    const { session, view } = this;
    const point = view.toImage(at);
    const { width, height } = session.size;
    if (!session.tool.point) return session.select(this.#smallestAround(point));
    if (!contains([0, 0, width, height], point)) return session.select(null);
    const place = pointInside(point, session.size);
    const object = objectAtPoint(session.labels, place) ?? { class: session.className, id: session.newId() };
    const row = session.labels.points?.length ?? 0;
    return session.change("points", added(session.labels, "points", { ...object, point: place }), { kind: "points", row });
  }

  /** Moves an entry of the labels; a click does `click`. */
  #take(selection, click) {
    const { session, view } = this;
    const place = placeOf(session.labels[selection.kind][selection.row]);
    const moved = (at, start) => {
      const [dx, dy] = [(at[0] - start[0]) / view.scale, (at[1] - start[1]) / view.scale];
      return place.length === 4 ? movedBox(place, dx, dy, session.size) : pointInside([place[0] + dx, place[1] + dy], session.size);
    };
    return this.#reshape(selection, moved, click);
  }

  #resize(handle) {
    const { session, view } = this;
    const { selection } = session;
    const box = placeOf(session.selected);
    const changed = (at) => {
      const [x, y] = view.toImage(at);
      const left = [0, 6, 7].includes(handle);
      const right = [2, 3, 4].includes(handle);
      const top = [0, 1, 2].includes(handle);
      const bottom = [4, 5, 6].includes(handle);
      const corners = [[left ? x : box[0], top ? y : box[1]], [right ? x : box[2], bottom ? y : box[3]]];
      return boxBetween(...corners, session.size) ?? box;
    };
    return this.#reshape(selection, changed, () => {});
  }

  #reshape(selection, placeAt, click) {
    const { session, view } = this;
    return {
      click,
      drag: (at, _, start) => {
        view.moving = { ...selection, place: placeAt(at, start) };
        view.draw();
      },
      drop: (at, start) => {
        const { kind, row } = selection;
        session.change(kind, placed(session.labels, kind, row, placeAt(at, start)), selection);
      },
    };
  }

  #handleAt(at) {
    const box = this.session.selected && placeOf(this.session.selected);
    if (!box || box.length !== 4) return null;
    const corners = [...this.view.toScreen([box[0], box[1]]), ...this.view.toScreen([box[2], box[3]])];
    const row = handlePlaces(corners).findIndex((place) => far(place, at) <= REACH);
    return row < 0 ? null : row;
  }

  /** The point, or else the edge of a box, under a place of the screen; the selected one before others; or null. */
  #entryAt(at) {
    const found = [];
    for (const kind of ["points", "boxes", "ignore"]) {
      (this.session.labels[kind] ?? []).forEach((entry, row) => {
        const place = placeOf(entry);
        const hit = kind === "points" ? far(this.view.toScreen(place), at) <= REACH + 3 : this.#onEdge(place, at);
        if (hit) found.push({ kind, row });
      });
    }
    const { selection } = this.session;
    const same = found.find((hit) => selection && hit.kind === selection.kind && hit.row === selection.row);
    return same ?? found[0] ?? null;
  }

  #onEdge(box, [x, y]) {
    const [x0, y0] = this.view.toScreen([box[0], box[1]]);
    const [x1, y1] = this.view.toScreen([box[2], box[3]]);
    const near = x0 - REACH <= x && x <= x1 + REACH && y0 - REACH <= y && y <= y1 + REACH;
    const inner = Math.min(REACH, (x1 - x0) / 4, (y1 - y0) / 4); // a small box keeps an inside
    const deep = x0 + inner < x && x < x1 - inner && y0 + inner < y && y < y1 - inner;
    return near && !deep;
  }

  #insideSelected(at) {
    const box = this.session.selected && placeOf(this.session.selected);
    return box?.length === 4 && contains(box, this.view.toImage(at));
  }

  #smallestAround(point) {
    const found = [];
    for (const kind of ["boxes", "ignore"]) {
      (this.session.labels[kind] ?? []).forEach((entry, row) => {
        if (contains(placeOf(entry), point)) found.push({ kind, row, area: area(placeOf(entry)) });
      });
    }
    found.sort((a, b) => a.area - b.area);
    return found.length ? { kind: found[0].kind, row: found[0].row } : null;
  }

  #cursor(at) {
    if (this.session.hidden) return "crosshair";
    const handle = this.#handleAt(at);
    if (handle !== null) return CURSORS[handle];
    if (this.#entryAt(at)) return "pointer";
    if (this.#insideSelected(at)) return "move";
    return this.session.tool.name === "select" ? "default" : "crosshair";
  }
}
