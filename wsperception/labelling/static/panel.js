// The bar above and the panel beside the image: what is chosen, what the image has, and what it took.

import { ACTIVITIES } from "./clock.js";
import { button, byId, element } from "./dom.js";
import { isLabelled, KINDS } from "./labels.js";
import { trackColour } from "./palette.js";
import { TOOLS } from "./session.js";
import { nameOf } from "./view.js";

const key = (text) => element("kbd", { textContent: text });

export class Panel {
  constructor(session, view) {
    this.session = session;
    const act = (title, hint, keyName, does) => button({ title: hint, onclick: does }, title, key(keyName));
    this.undo = act("Undo", "take the last change back", "Ctrl Z", () => session.undo());
    this.redo = act("Redo", "make it again", "Ctrl Y", () => session.redo());
    byId("tools").replaceChildren(...TOOLS.map((tool) => this.#tool(tool)));
    byId("actions").replaceChildren(
      act("Prev", "previous frame", "A", () => session.go(session.index - 1)),
      act("Next", "next frame", "D", () => session.go(session.index + 1)),
      act("Carry on", "objects and ids to the next frame", "F", () => session.carry()),
      act("Nothing here", "looked, and it is empty", "N", () => session.toggleNothing()),
      this.undo,
      this.redo,
      act("Fit", "whole image", "0", () => view.fit()),
    );
    byId("sequence").textContent = session.name;
    document.title = `${session.name} · wsperception label`;
    setInterval(() => this.showClock(), 500);
    session.saver.addEventListener("state", () => this.showSaved());
  }

  show() {
    const { session } = this;
    byId("frame").textContent = `frame ${session.number}  (${session.index + 1} of ${session.numbers.length})`;
    for (const made of byId("tools").children) made.setAttribute("aria-checked", made.dataset.tool === session.tool.name);
    this.undo.disabled = !session.history.canUndo;
    this.redo.disabled = !session.history.canRedo;
    byId("classes").replaceChildren(...session.classes.map((name, row) => this.#choice(name, row, name === session.className, () => session.useClass(name), "")));
    const tags = session.labels.tags ?? [];
    byId("tags").replaceChildren(...session.classes.map((name, row) => this.#choice(name, row, tags.includes(name), () => session.toggleTag(name), "⇧")));
    this.#showSelected();
    this.#showKinds();
    this.#showObjects();
    this.showClock();
    this.showSaved();
    this.#showBanner();
  }

  showSaved() {
    const { saver } = this.session;
    const place = byId("saved");
    place.dataset.state = saver.state;
    const count = saver.unsaved === 1 ? "1 frame" : `${saver.unsaved} frames`;
    place.textContent = { idle: "saved", saving: "saving", failed: `not saved (${count})` }[saver.state];
    this.#showBanner();
  }

  showClock() {
    const { session } = this;
    const now = session.clock.pending(performance.now());
    const all = {};
    for (const frame of session.frames.values()) {
      for (const [name, value] of Object.entries(frame.seconds)) all[name] = (all[name] ?? 0) + value;
    }
    const total = Object.values(all).reduce((sum, value) => sum + value, now);
    const here = session.labels.seconds;
    const rows = ACTIVITIES.flatMap((name) => [
      element("span", { textContent: name }),
      element("span", { className: "number", textContent: clockText(here[name] ?? 0) }),
      element("span", { className: "number", textContent: clockText(all[name] ?? 0) }),
    ]);
    const labelled = [...session.frames.values()].filter(isLabelled).length;
    byId("clock").replaceChildren(
      ...["", "this frame", "all"].map((text) => element("span", { className: "head number", textContent: text })),
      ...rows,
      element("span", { className: "running", textContent: "running" }),
      element("span", { className: "number running", textContent: clockText(now) }),
      element("span", { className: "number", textContent: clockText(total) }),
      element("span", { className: "quiet", textContent: "per labelled frame" }),
      element("span", {}),
      element("span", { className: "number quiet", textContent: labelled ? `${(total / labelled).toFixed(1)} s` : "–" }),
    );
  }

  #tool(tool) {
    const made = button({ title: tool.hint, onclick: () => this.session.useTool(tool), role: "radio" }, tool.title, key(tool.key.toUpperCase()));
    made.dataset.tool = tool.name;
    return made;
  }

  #choice(name, row, isOn, does, shift) {
    const made = button({ onclick: does, "aria-pressed": String(isOn) }, name);
    if (row < 9) made.append(key(`${shift}${row + 1}`));
    return made;
  }

  #showSelected() {
    const entry = this.session.selected;
    if (document.activeElement === byId("id") && entry) return; // it is being typed into
    if (!entry) {
      byId("selected").replaceChildren(element("div", { className: "row quiet", textContent: `none selected; the next one is ${this.session.className}` }));
      return;
    }
    const remove = button({ onclick: () => this.session.removeSelected() }, "Delete", key("Del"));
    if (!entry.class) {
      byId("selected").replaceChildren(element("div", { className: "row" }, element("span", { className: "fill", textContent: "ignore region" }), remove));
      return;
    }
    const dot = element("span", { className: "dot" });
    dot.style.background = trackColour(entry.id);
    const name = element("span", { className: "fill", textContent: `${entry.class} ${entry.box ? "box" : "point"}` });
    byId("selected").replaceChildren(
      element("div", { className: "row" }, dot, name, remove),
      element("div", { className: "row" }, element("label", { htmlFor: "id", textContent: "id", className: "quiet" }), this.#idInput(entry), key("E"), key("["), key("]")),
    );
  }

  #idInput(entry) {
    const input = element("input", { id: "id", type: "number", min: "0", max: "2147483647", step: "1", value: entry.id ?? "", placeholder: "none" });
    input.onchange = () => {
      if (input.validity.valid) this.session.useId(input.value === "" ? null : Number(input.value));
      else this.session.say("An id is a whole number from 0 on");
    };
    input.onkeydown = (event) => {
      if (event.key === "Enter" || event.key === "Escape") byId("canvas").focus();
    };
    input.onblur = () => setTimeout(() => this.show());
    return input;
  }

  #showKinds() {
    const { labels } = this.session;
    const rows = KINDS.flatMap((kind) => {
      const list = labels[kind];
      const text = list === null ? "not annotated" : list.length ? String(list.length) : "nothing here";
      const title = list === null ? "nothing here" : "not annotated";
      const toggle = button({ onclick: () => this.session.toggleNothing([kind]), title: `say: ${title}` }, title);
      toggle.classList.toggle("away", Boolean(list?.length));
      toggle.disabled = Boolean(list?.length);
      const className = list === null ? "quiet" : "empty";
      const state = element("span", { className, textContent: text });
      state.dataset.kind = kind;
      return [element("span", { textContent: kind }), state, toggle];
    });
    byId("kinds").replaceChildren(...rows);
  }

  #showObjects() {
    const { labels, selection } = this.session;
    const rows = ["boxes", "points", "ignore"].flatMap((kind) => (labels[kind] ?? []).map((entry, row) => {
      const dot = element("span", { className: "dot" });
      dot.style.background = entry.class ? trackColour(entry.id) : "#c6ccd2";
      const isOn = selection?.kind === kind && selection.row === row;
      return button(
        { onclick: () => this.session.select({ kind, row }), "aria-pressed": String(isOn) },
        dot,
        element("span", { className: "fill", textContent: entry.class ? nameOf(entry) : "ignore region" }),
        element("span", { className: "quiet", textContent: { boxes: "box", points: "point", ignore: "" }[kind] }),
      );
    }));
    byId("objects").replaceChildren(...rows);
    byId("objects").querySelector('[aria-pressed="true"]')?.scrollIntoView({ block: "nearest" });
    byId("count").textContent = rows.length === 1 ? "1 object" : `${rows.length} objects`;
  }

  #showBanner() {
    const { session } = this;
    const banner = byId("banner");
    const [text, actions] = [banner.querySelector("span"), banner.querySelector("div")];
    const failed = session.saver.state === "failed";
    banner.hidden = !session.conflict && !failed;
    if (session.conflict) {
      text.textContent = `Frame ${session.conflict.number} was changed in another tab. Your change is not saved yet.`;
      actions.replaceChildren(
        button({ onclick: () => session.settle(false) }, "Take theirs"),
        button({ onclick: () => session.settle(true) }, "Keep mine"),
      );
    } else {
      text.textContent = failed ? `Not saved: ${session.saver.problem}. Your labels are kept in this tab and saved when it works again; leave it open.` : "";
      actions.replaceChildren();
    }
  }
}

function clockText(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
