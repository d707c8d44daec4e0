// The keyboard: one table says what every key does, and is what the page shows.

import { byId, element } from "./dom.js";
import { TOOLS } from "./session.js";

/** Rows of [shown keys, what they do]. */
const SHOWN = [
  ...TOOLS.map((tool) => [[tool.key.toUpperCase()], `${tool.title}: ${tool.hint}`]),
  [["1", "…", "9"], "class"],
  [["Shift", "1", "…", "9"], "tag"],
  [["["], "id − 1"],
  [["]"], "id + 1"],
  [["E"], "enter an id"],
  [["N"], "nothing here (looked, and it is empty)"],
  [["Del"], "delete"],
  [["F"], "carry objects and ids to the next frame"],
  [["A", "←"], "previous frame"],
  [["D", "→"], "next frame"],
  [["U"], "next frame without labels"],
  [["Ctrl", "Z"], "undo"],
  [["Ctrl", "Y"], "redo"],
  [["Tab"], "select the next object"],
  [["Esc"], "let go"],
  [["Shift", "drag"], "new box inside the selected one"],
  [["Wheel", "+", "−"], "zoom"],
  [["Space", "drag"], "pan; the right button too"],
  [["0"], "whole image"],
  [["H"], "hide or show labels"],
];

export function showKeys() {
  const rows = SHOWN.flatMap(([keys, text]) => [
    element("dt", {}, ...keys.map((key) => (key === "…" ? "… " : element("kbd", { textContent: key })))),
    element("dd", { textContent: text }),
  ]);
  byId("keys").replaceChildren(...rows);
}

export class Keys {
  constructor(session, view, pointer) {
    this.session = session;
    this.view = view;
    this.pointer = pointer;
    this.plain = this.#plain();
    window.addEventListener("keydown", (event) => this.#down(event));
    window.addEventListener("keyup", (event) => this.#up(event));
    window.addEventListener("blur", () => { pointer.space = false; });
  }

  #plain() {
    const { session, view, pointer } = this;
    return {
      ...Object.fromEntries(TOOLS.map((tool) => [tool.key, () => session.useTool(tool)])),
      "[": () => session.stepId(-1),
      "]": () => session.stepId(1),
      e: () => byId("id")?.select(),
      n: () => session.toggleNothing(),
      delete: () => session.removeSelected(),
      backspace: () => session.removeSelected(),
      f: () => session.carry(),
      a: () => session.go(session.index - 1),
      arrowleft: () => session.go(session.index - 1),
      d: () => session.go(session.index + 1),
      arrowright: () => session.go(session.index + 1),
      u: () => session.goToUnlabelled(),
      tab: () => this.#selectNext(),
      escape: () => {
        pointer.cancel();
        session.select(null);
      },
      0: () => view.fit(),
      "+": () => view.zoom(1.25),
      "=": () => view.zoom(1.25),
      "-": () => view.zoom(0.8),
      h: () => {
        session.hidden = !session.hidden;
        view.draw();
      },
      " ": () => { pointer.space = true; },
    };
  }

  #down(event) {
    if (event.target instanceof HTMLInputElement) return;
    if (event.target instanceof HTMLButtonElement && ["Enter", " ", "Tab"].includes(event.key)) return;
    const done = event.ctrlKey || event.metaKey ? this.#withControl(event) : this.#alone(event);
    if (done) event.preventDefault();
  }

  #up(event) {
    if (event.key === " ") this.pointer.space = false;
  }

  #withControl(event) {
    const key = event.key.toLowerCase();
    if (key === "z" && !event.shiftKey) this.session.undo();
    else if (key === "y" || key === "z") this.session.redo();
    else return false;
    return true;
  }

  #alone(event) {
    if (event.altKey || (event.key === "Tab" && event.shiftKey)) return false;
    const digit = /^Digit([1-9])$/.exec(event.code);
    if (digit) return this.#digit(this.session.classes[digit[1] - 1], event.shiftKey);
    const act = this.plain[event.key.toLowerCase()];
    if (!act || this.pointer.gesture) return false;
    act();
    return true;
  }

  #digit(name, isTag) {
    if (name === undefined) return false;
    if (isTag) this.session.toggleTag(name);
    else this.session.useClass(name);
    return true;
  }

  #selectNext() {
    const { labels, selection } = this.session;
    const all = ["boxes", "points", "ignore"].flatMap((kind) => (labels[kind] ?? []).map((_, row) => ({ kind, row })));
    const at = all.findIndex((entry) => selection && entry.kind === selection.kind && entry.row === selection.row);
    if (all.length) this.session.select(all[(at + 1) % all.length]);
  }
}
