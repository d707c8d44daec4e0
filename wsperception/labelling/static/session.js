// What is being labelled: the frames, which one is shown, tool, class, selection; and every change of them.
// Events: "frame" another frame is shown, "labels" its labels or the selection changed, "toast" a word to the person.

import { Clock } from "./clock.js";
import { History } from "./history.js";
import { isLabelled, nextId, placeOf, renamed, sameObject, toggledNothing, toggledTag, removed } from "./labels.js";
import { ask, Saver, ServerError } from "./server.js";

export const TOOLS = [
  { name: "objects", key: "o", title: "Both", hint: "click: a point; drag: a box", point: true, box: "boxes" },
  { name: "points", key: "p", title: "Points", hint: "click: a point", point: true, box: null },
  { name: "boxes", key: "b", title: "Boxes", hint: "drag: a box", point: false, box: "boxes" },
  { name: "ignore", key: "i", title: "Ignore", hint: "drag: a region that counts neither for nor against", point: false, box: "ignore" },
  { name: "select", key: "v", title: "Select", hint: "click or drag what is there", point: false, box: null },
];

const KINDS_OF_TOOL = { objects: ["boxes", "points"], points: ["points"], boxes: ["boxes"], ignore: ["ignore"], select: ["boxes", "points"] };

/** What the server takes of a frame, besides the revision. */
const body = ({ tags, boxes, points, ignore, seconds }) => ({ tags, boxes, points, ignore, seconds });

export class Session extends EventTarget {
  constructor(overview) {
    super();
    this.name = overview.sequence;
    this.size = { height: overview.image_size[0], width: overview.image_size[1] };
    this.classes = overview.classes;
    this.numbers = overview.frames.map((frame) => frame.number);
    this.frames = new Map(overview.frames.map((frame) => [frame.number, frame]));
    this.saver = new Saver(overview.frames);
    this.history = new History();
    this.clock = new Clock();
    this.index = 0;
    this.tool = TOOLS[0];
    this.className = this.classes[0];
    this.selection = null; // { kind, row }
    this.hidden = false;
    this.conflict = null; // what the server holds of the shown frame, if it was changed elsewhere
    this.saver.addEventListener("conflict", (event) => this.#setConflict(event.detail));
  }

  get number() { return this.numbers[this.index]; }
  get labels() { return this.frames.get(this.number); }
  get selected() { return this.selection && (this.labels[this.selection.kind]?.[this.selection.row] ?? null); }
  get labelledCount() { return [...this.frames.values()].filter(isLabelled).length; }

  say(text) { this.dispatchEvent(new CustomEvent("toast", { detail: text })); }

  /** Puts other labels in the place of the shown frame's, books the time, and saves. */
  change(activity, labels, selection = this.selection) {
    const before = this.labels;
    this.history.add(this.number, before, labels);
    this.#put(this.number, { ...labels, seconds: this.clock.book(before.seconds, activity) });
    this.select(selection);
  }

  select(selection) {
    this.selection = selection && this.labels[selection.kind]?.[selection.row] !== undefined ? selection : null;
    const entry = this.selected;
    if (entry?.class) this.className = entry.class;
    this.#tell("labels");
  }

  useTool(tool) {
    this.tool = tool;
    this.#tell("labels");
  }

  newId() { return nextId(this.frames.values()); }

  useClass(name) {
    const entry = this.selected;
    if (entry?.class && entry.class !== name) this.#rename(entry, { class: name }, "ids");
    else this.className = name;
    this.#tell("labels");
  }

  useId(id) {
    const entry = this.selected;
    if (!entry?.class) this.say("Select an object first: its id is changed then");
    else if (id !== entry.id) this.#rename(entry, { id }, "ids");
  }

  stepId(step) {
    const entry = this.selected;
    if (!entry?.class) return this.useId(null);
    const taken = (id) => renamed(this.labels, entry, { id }) === null;
    let id = (entry.id ?? 0) + step;
    while (id >= 0 && taken(id)) id += step;
    if (id < 0) this.say("No lower id is free in this frame");
    else this.useId(id);
    return undefined;
  }

  removeSelected() {
    if (!this.selected) return;
    const { kind, row } = this.selection;
    this.change(kind, removed(this.labels, kind, row), null);
  }

  toggleTag(name) { this.change("tags", toggledTag(this.labels, name)); }

  /** Says of kinds (default: those of the tool) that there is nothing, or takes it back. */
  toggleNothing(kinds = KINDS_OF_TOOL[this.tool.name]) {
    if (kinds.every((kind) => this.labels[kind]?.length)) {
      this.say(`There are ${kinds.join(" and ")} in this image: delete them first`);
    } else {
      this.change(kinds[0], toggledNothing(this.labels, kinds));
    }
  }

  undo() { this.#travel(this.history.undo(), "before"); }
  redo() { this.#travel(this.history.redo(), "after"); }

  go(index) {
    const target = Math.min(Math.max(index, 0), this.numbers.length - 1);
    if (target === this.index) return;
    this.#leave();
    this.index = target;
    this.selection = null;
    this.conflict = null;
    this.#tell("frame");
    this.refresh();
  }

  goToUnlabelled() {
    const rest = [...this.numbers.keys()];
    const order = [...rest.slice(this.index + 1), ...rest.slice(0, this.index)];
    const found = order.find((index) => !isLabelled(this.frames.get(this.numbers[index])));
    if (found === undefined) this.say("Every other frame is labelled");
    else this.go(found);
  }

  /** Looks whether the shown frame was changed elsewhere, in another tab. */
  async refresh() {
    const shown = this.labels;
    const frame = await ask("GET", `/api/frames/${shown.number}`).catch((error) => {
      if (error instanceof ServerError) return null; // saving will say so
      throw error;
    });
    const untouched = this.frames.get(shown.number) === shown && !this.saver.isUnsaved(shown.number);
    if (frame && untouched && frame.revision !== this.saver.revision(frame.number)) this.#takeOver(frame);
  }

  /** The objects of this frame in the next one, where the picture says they are; then shows the next one. */
  async carry() {
    if (this.index + 1 >= this.numbers.length) return this.say("This is the last frame");
    const from = this.labels;
    const target = this.numbers[this.index + 1];
    const to = this.frames.get(target);
    const isNew = (list) => (entry) => list === null || (entry.id !== null && !list.some((other) => sameObject(other, entry)));
    const boxes = (from.boxes ?? []).filter(isNew(to.boxes));
    const points = (from.points ?? []).filter(isNew(to.points));
    const regions = to.ignore === null ? from.ignore ?? [] : [];
    if (!boxes.length && !points.length && !regions.length) return this.say("Nothing here that the next frame lacks");
    const places = { boxes: [...boxes.map(placeOf), ...regions], points: points.map(placeOf) };
    let moved;
    try {
      moved = await ask("POST", "/api/carry", { from: from.number, to: target, ...places });
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      return this.say(`Not carried over: ${error.message}`);
    }
    if (this.labels !== from || this.frames.get(target) !== to) return this.say("Changed meanwhile: press F again");
    this.#leave();
    this.index += 1;
    this.selection = null;
    this.conflict = null;
    this.#tell("frame");
    this.change("ids", carried(to, { boxes, points, regions }, moved));
    return this.say(carriedText(moved));
  }

  /** After a conflict: mine goes over theirs, or theirs takes its place. */
  settle(keepMine) {
    const theirs = this.conflict;
    this.conflict = null;
    if (!keepMine) return this.#takeOver(theirs);
    this.saver.accept(theirs);
    this.#put(theirs.number, this.frames.get(theirs.number));
    return this.#tell("labels");
  }

  /** Takes up what the tab had not saved when it was reloaded. */
  restore(leftover) {
    for (const [number, labels, revision] of leftover) {
      const frame = this.frames.get(number);
      if (!frame) continue;
      this.frames.set(number, { ...frame, ...labels });
      this.saver.takeUp(number, labels, revision);
    }
  }

  #rename(entry, change, activity) {
    const labels = renamed(this.labels, entry, change);
    const wanted = { class: entry.class, id: entry.id, ...change };
    if (labels === null) this.say(`${wanted.class} ${wanted.id} is in this frame already`);
    else this.change(activity, labels);
  }

  #travel(change, side) {
    if (!change) return;
    const index = this.numbers.indexOf(change.number);
    if (index !== this.index) this.go(index);
    this.#put(change.number, { ...change[side], seconds: this.clock.book(this.labels.seconds, "review") });
    this.select(null);
  }

  #leave() {
    const now = this.labels;
    if (this.clock.pending(performance.now()) > 1) this.#put(now.number, { ...now, seconds: this.clock.book(now.seconds, "review") });
  }

  #put(number, labels) {
    this.frames.set(number, { ...labels, number });
    this.saver.save(number, body(labels));
  }

  #setConflict(frame) {
    const index = this.numbers.indexOf(frame.number);
    if (index !== this.index) this.go(index);
    this.conflict = frame;
    this.#tell("labels");
  }

  #takeOver(frame) {
    this.saver.accept(frame);
    this.saver.drop(frame.number);
    this.history.forget(frame.number);
    this.frames.set(frame.number, frame);
    this.select(null);
  }

  #tell(what) { this.dispatchEvent(new Event(what)); }
}

/** `to` with what was carried over; a point keeps its place within its object's box, which follows better. */
function carried(to, { boxes, points, regions }, moved) {
  const newBoxes = boxes.map((entry, row) => ({ ...entry, box: moved.boxes[row] }));
  const newPoints = points.map((entry, row) => {
    const of = boxes.findIndex((other, at) => sameObject(other, entry) && moved.boxes_found[at] && moved.boxes[at]);
    return { ...entry, point: of < 0 ? moved.points[row] : along(entry.point, boxes[of].box, moved.boxes[of]) };
  });
  const joined = (old, fresh, key) => (fresh.some((entry) => entry[key]) ? [...(old ?? []), ...fresh.filter((entry) => entry[key])] : old);
  const kept = moved.boxes.slice(boxes.length).filter(Boolean);
  return {
    ...to,
    boxes: joined(to.boxes, newBoxes, "box"),
    points: joined(to.points, newPoints, "point"),
    ignore: regions.length && kept.length ? kept : to.ignore,
  };
}

function along([x, y], from, to) {
  const across = Math.min(Math.max((x - from[0]) / (from[2] - from[0]), 0), 0.99);
  const down = Math.min(Math.max((y - from[1]) / (from[3] - from[1]), 0), 0.99);
  return [to[0] + across * (to[2] - to[0]), to[1] + down * (to[3] - to[1])];
}

function carriedText(moved) {
  const places = [...moved.boxes, ...moved.points];
  const found = [...moved.boxes_found, ...moved.points_found];
  const stayed = places.filter((place, row) => place && !found[row]).length;
  const gone = places.filter((place) => !place).length;
  const parts = [`${places.length - gone} carried over`];
  if (stayed) parts.push(`${stayed} kept in place: please check`);
  if (gone) parts.push(`${gone} left the image`);
  return parts.join("; ");
}
