// The frames below the image, and how many of them are labelled.

import { button, byId, element } from "./dom.js";
import { isLabelled, KINDS } from "./labels.js";

export class Strip {
  constructor(session) {
    this.session = session;
    this.cells = session.numbers.map((number, index) => this.#cell(number, index));
    byId("strip").replaceChildren(...this.cells);
  }

  show() {
    const { session } = this;
    session.numbers.forEach((number, index) => this.#update(this.cells[index], session.frames.get(number)));
    const count = session.labelledCount;
    byId("done").style.width = `${(100 * count) / session.numbers.length}%`;
    byId("progress").querySelector("span").textContent = `${count} of ${session.numbers.length} frames labelled`;
  }

  /** Marks the shown frame and brings it into sight. */
  mark() {
    this.cells.forEach((cell, index) => cell.setAttribute("aria-selected", String(index === this.session.index)));
    this.cells[this.session.index].scrollIntoView({ block: "nearest", inline: "center" });
  }

  #cell(number, index) {
    const image = element("img", { loading: "lazy", alt: "", src: `/thumbs/${number}`, draggable: false });
    const foot = element("span", { className: "foot" }, element("span", { textContent: String(number) }), element("span", { className: "state" }));
    return button({ role: "option", onclick: () => this.session.go(index), title: `frame ${number}` }, image, foot);
  }

  #update(cell, labels) {
    cell.classList.toggle("labelled", isLabelled(labels));
    const parts = KINDS.filter((kind) => labels[kind] !== null).map((kind) => `${labels[kind].length}${kind[0]}`);
    const text = parts.join(" ") || "–";
    const state = cell.querySelector(".state");
    if (state.textContent !== text) state.textContent = text;
    state.title = KINDS.map((kind) => `${kind}: ${labels[kind]?.length ?? "not annotated"}`).join("\n");
  }
}
