// The image and its labels on the canvas, with zoom and pan.

import { sameObject } from "./labels.js";
import { inkOn, trackColour } from "./palette.js";

const HANDLE = 4; // half side, screen pixels
const SELECTED_INK = "#fff";

export class View {
  constructor(canvas, session) {
    this.canvas = canvas;
    this.session = session;
    this.scale = 1;
    this.offset = [0, 0];
    this.image = null;
    this.band = null; // box that is being dragged, in image pixels
    this.pointer = null; // in image pixels, for the crosshair
    this.moving = null; // { kind, row, place } of what is being dragged
    this.fitted = true;
    this.wanted = false;
    new ResizeObserver(() => this.#resize()).observe(canvas.parentElement);
    this.#resize();
  }

  /** Shows another image; null while it is on its way. */
  show(image) {
    this.image = image;
    this.draw();
  }

  toImage([x, y]) { return [(x - this.offset[0]) / this.scale, (y - this.offset[1]) / this.scale]; }

  toScreen([x, y]) { return [x * this.scale + this.offset[0], y * this.scale + this.offset[1]]; }

  fit() {
    const { width, height } = this.session.size;
    const box = this.canvas.getBoundingClientRect();
    this.scale = Math.min(box.width / width, box.height / height) * 0.98;
    this.offset = [(box.width - width * this.scale) / 2, (box.height - height * this.scale) / 2];
    this.fitted = true;
    this.draw();
  }

  /** Zooms by a factor; the place under `at` (screen pixels) stays where it is. */
  zoom(factor, at = null) {
    const box = this.canvas.getBoundingClientRect();
    const [x, y] = at ?? [box.width / 2, box.height / 2];
    const scale = Math.min(Math.max(this.scale * factor, 0.05), 40);
    const place = this.toImage([x, y]);
    this.scale = scale;
    this.offset = [x - place[0] * scale, y - place[1] * scale];
    this.fitted = false;
    this.draw();
  }

  pan(dx, dy) {
    this.offset = [this.offset[0] + dx, this.offset[1] + dy];
    this.fitted = false;
    this.draw();
  }

  /** Draws before the next picture of the screen, however often it is called until then. */
  draw() {
    if (this.wanted) return;
    this.wanted = true;
    requestAnimationFrame(() => {
      this.wanted = false;
      this.#paint();
    });
  }

  #resize() {
    const box = this.canvas.parentElement.getBoundingClientRect();
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(box.width * ratio));
    this.canvas.height = Math.max(1, Math.round(box.height * ratio));
    if (this.fitted) this.fit();
    else this.draw();
  }

  #paint() {
    const context = this.canvas.getContext("2d");
    const ratio = window.devicePixelRatio || 1;
    const { width, height } = this.session.size;
    Object.assign(this.canvas.dataset, { scale: this.scale, x: this.offset[0], y: this.offset[1] });
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.imageSmoothingEnabled = this.scale < 3;
    const [x, y] = this.toScreen([0, 0]);
    if (this.image) context.drawImage(this.image, x, y, width * this.scale, height * this.scale);
    else this.#note(context, "loading the image");
    if (!this.session.hidden) this.#paintLabels(context);
    this.#paintCrosshair(context);
    if (this.band) this.#rectangle(context, this.band, "#fff", 1.5, [5, 4]);
  }

  #paintLabels(context) {
    const { labels } = this.session;
    const at = (kind, row, place) => (this.moving?.kind === kind && this.moving.row === row ? this.moving.place : place);
    (labels.ignore ?? []).forEach((box, row) => this.#ignored(context, at("ignore", row, box), this.#isSelected("ignore", row)));
    (labels.boxes ?? []).forEach((entry, row) => this.#box(context, at("boxes", row, entry.box), entry, this.#isSelected("boxes", row)));
    (labels.points ?? []).forEach((entry, row) => {
      const alone = !(labels.boxes ?? []).some((other) => sameObject(other, entry));
      this.#point(context, at("points", row, entry.point), entry, this.#isSelected("points", row), alone);
    });
  }

  #isSelected(kind, row) {
    return this.session.selection?.kind === kind && this.session.selection.row === row;
  }

  #corners(box) {
    const [x0, y0] = this.toScreen([box[0], box[1]]);
    const [x1, y1] = this.toScreen([box[2], box[3]]);
    return [x0, y0, x1, y1];
  }

  #rectangle(context, box, colour, width, dash = []) {
    const [x0, y0, x1, y1] = this.#corners(box);
    context.setLineDash(dash);
    context.lineWidth = width + 2;
    context.strokeStyle = "rgba(0, 0, 0, .55)";
    context.strokeRect(x0, y0, x1 - x0, y1 - y0);
    context.lineWidth = width;
    context.strokeStyle = colour;
    context.strokeRect(x0, y0, x1 - x0, y1 - y0);
    context.setLineDash([]);
  }

  #box(context, box, entry, selected) {
    const colour = trackColour(entry.id);
    const [x0, y0, x1, y1] = this.#corners(box);
    if (selected) {
      context.fillStyle = colour.replace("rgb", "rgba").replace(")", ", .16)");
      context.fillRect(x0, y0, x1 - x0, y1 - y0);
    }
    this.#rectangle(context, box, colour, selected ? 3 : 2);
    this.#plate(context, nameOf(entry), [x0, y0], colour, selected);
    if (selected) this.#handles(context, [x0, y0, x1, y1]);
  }

  #ignored(context, box, selected) {
    const [x0, y0, x1, y1] = this.#corners(box);
    context.save();
    context.beginPath();
    context.rect(x0, y0, x1 - x0, y1 - y0);
    context.clip();
    context.fillStyle = "rgba(20, 24, 28, .35)";
    context.fillRect(x0, y0, x1 - x0, y1 - y0);
    context.strokeStyle = "rgba(210, 216, 222, .5)";
    context.lineWidth = 1;
    context.beginPath();
    for (let x = x0 - (y1 - y0); x < x1; x += 10) {
      context.moveTo(x, y1);
      context.lineTo(x + (y1 - y0), y0);
    }
    context.stroke();
    context.restore();
    this.#rectangle(context, box, "#c6ccd2", selected ? 2.5 : 1.5, [6, 4]);
    this.#plate(context, "ignore", [x0, y0], "rgb(198, 204, 210)", selected);
    if (selected) this.#handles(context, [x0, y0, x1, y1]);
  }

  #point(context, point, entry, selected, named) {
    const [x, y] = this.toScreen(point);
    const colour = trackColour(entry.id);
    for (const [radius, fill] of [[selected ? 9 : 7, "rgba(0, 0, 0, .6)"], [selected ? 7.5 : 5.5, SELECTED_INK], [selected ? 5.5 : 4, colour]]) {
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fillStyle = fill;
      context.fill();
    }
    if (named) this.#plate(context, nameOf(entry), [x + 10, y - 4], colour, selected);
  }

  #handles(context, corners) {
    for (const [x, y] of handlePlaces(corners)) {
      context.fillStyle = SELECTED_INK;
      context.fillRect(x - HANDLE, y - HANDLE, 2 * HANDLE, 2 * HANDLE);
      context.strokeStyle = "#000";
      context.lineWidth = 1;
      context.strokeRect(x - HANDLE, y - HANDLE, 2 * HANDLE, 2 * HANDLE);
    }
  }

  #plate(context, text, [x, y], colour, selected) {
    context.font = `${selected ? 600 : 500} 12px system-ui, sans-serif`;
    const width = context.measureText(text).width + 8;
    const top = Math.max(y - 17, 0);
    context.fillStyle = colour;
    context.fillRect(x - 1, top, width, 16);
    context.fillStyle = inkOn(colour);
    context.textBaseline = "middle";
    context.fillText(text, x + 3, top + 8.5);
  }

  #paintCrosshair(context) {
    if (!this.pointer || !this.session.tool.box || this.band || this.moving) return;
    const [x, y] = this.toScreen(this.pointer);
    context.strokeStyle = "rgba(255, 255, 255, .3)";
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(x, 0);
    context.lineTo(x, this.canvas.clientHeight);
    context.moveTo(0, y);
    context.lineTo(this.canvas.clientWidth, y);
    context.stroke();
  }

  #note(context, text) {
    context.font = "14px system-ui, sans-serif";
    context.fillStyle = "#93a0ad";
    context.fillText(text, 16, 28);
  }
}

export const nameOf = (entry) => (entry.id === null ? entry.class : `${entry.class} ${entry.id}`);

/** Places of the eight handles of a box: corners and middles of the sides, clockwise from the upper left. */
export function handlePlaces([x0, y0, x1, y1]) {
  const [x, y] = [(x0 + x1) / 2, (y0 + y1) / 2];
  return [[x0, y0], [x, y0], [x1, y0], [x1, y], [x1, y1], [x, y1], [x0, y1], [x0, y]];
}
