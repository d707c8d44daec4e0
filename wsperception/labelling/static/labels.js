// Labels of one frame as plain values, and what can be done to them. No function changes its arguments.
// A kind (tags, boxes, points, ignore) that is null was not annotated; an empty list says: looked, nothing there.

export const KINDS = ["tags", "boxes", "points", "ignore"];
const SMALLEST = 2; // pixels: a narrower box is a slip of the hand

export const sameObject = (a, b) => a.id !== null && a.class === b.class && a.id === b.id;

export const placeOf = (entry) => entry.box ?? entry.point ?? entry;

const hundredth = (value) => Math.round(value * 100) / 100;

const within = (value, high) => Math.min(Math.max(value, 0), high);

/** Box between two corners, cut at the image's border; null if it is too small to be meant. */
export function boxBetween([ax, ay], [bx, by], size) {
  const box = [
    within(Math.min(ax, bx), size.width), within(Math.min(ay, by), size.height),
    within(Math.max(ax, bx), size.width), within(Math.max(ay, by), size.height),
  ].map(hundredth);
  return box[2] - box[0] < SMALLEST || box[3] - box[1] < SMALLEST ? null : box;
}

/** The point as it is stored, moved to the nearest pixel of the image. */
export const pointInside = ([x, y], size) => [
  hundredth(within(x, size.width - 0.01)), hundredth(within(y, size.height - 0.01)),
];

/** The box moved, but not out of the image. */
export function movedBox(box, dx, dy, size) {
  const shiftX = Math.min(Math.max(dx, -box[0]), size.width - box[2]);
  const shiftY = Math.min(Math.max(dy, -box[1]), size.height - box[3]);
  return [box[0] + shiftX, box[1] + shiftY, box[2] + shiftX, box[3] + shiftY].map(hundredth);
}

export const contains = (box, [x, y]) => box[0] <= x && x < box[2] && box[1] <= y && y < box[3];

export const area = (box) => (box[2] - box[0]) * (box[3] - box[1]);

/** Class and id of the object whose box lacks a point and holds this one: the smallest such box; or null. */
export function objectAtPoint(labels, point) {
  const lone = (labels.boxes ?? []).filter(
    (entry) => contains(entry.box, point) && !(labels.points ?? []).some((other) => sameObject(other, entry)),
  );
  lone.sort((a, b) => area(a.box) - area(b.box));
  return lone.length && lone[0].id !== null ? { class: lone[0].class, id: lone[0].id } : null;
}

/** Class and id of the object whose point lacks a box and is the only such point in this box; or null. */
export function objectInBox(labels, box) {
  const lone = (labels.points ?? []).filter(
    (entry) => contains(box, entry.point) && !(labels.boxes ?? []).some((other) => sameObject(other, entry)),
  );
  return lone.length === 1 && lone[0].id !== null ? { class: lone[0].class, id: lone[0].id } : null;
}

export const added = (labels, kind, entry) => ({ ...labels, [kind]: [...(labels[kind] ?? []), entry] });

/** With the entry at a row at another place. */
export function placed(labels, kind, row, place) {
  const entry = labels[kind][row];
  const changed = entry.box ? { ...entry, box: place } : entry.point ? { ...entry, point: place } : place;
  return { ...labels, [kind]: labels[kind].with(row, changed) };
}

/** Without an entry. The last one leaves "not annotated": that nothing is there has to be said, not concluded. */
export function removed(labels, kind, row) {
  const rest = labels[kind].toSpliced(row, 1);
  return { ...labels, [kind]: rest.length ? rest : null };
}

/** With another class or id for an object, box and point alike; null if the frame has that object already. */
export function renamed(labels, entry, change) {
  const wanted = { class: entry.class, id: entry.id, ...change };
  const isMeant = (other) => other === entry || sameObject(other, entry);
  const result = { ...labels };
  for (const kind of ["boxes", "points"]) {
    const list = labels[kind];
    if (!list) continue;
    if (list.some((other) => !isMeant(other) && sameObject(other, wanted))) return null;
    result[kind] = list.map((other) => (isMeant(other) ? { ...other, ...change } : other));
  }
  return result;
}

/** With a tag set or taken away; the first set tag makes the tags annotated. */
export function toggledTag(labels, name) {
  const tags = labels.tags ?? [];
  return { ...labels, tags: tags.includes(name) ? tags.filter((tag) => tag !== name) : [...tags, name] };
}

/** Of kinds without labels: annotated as empty, or, if all of them are already, not annotated again. */
export function toggledNothing(labels, kinds) {
  const free = kinds.filter((kind) => !labels[kind]?.length);
  const said = free.every((kind) => labels[kind] !== null);
  return { ...labels, ...Object.fromEntries(free.map((kind) => [kind, said ? null : []])) };
}

export const isLabelled = (labels) => KINDS.some((kind) => labels[kind] !== null);

/** The lowest id above all ids of all frames, at least 1. */
export function nextId(frames) {
  let largest = 0;
  for (const labels of frames) {
    for (const entry of [...(labels.boxes ?? []), ...(labels.points ?? [])]) largest = Math.max(largest, entry.id ?? 0);
  }
  return largest + 1;
}
