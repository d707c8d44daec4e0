// Puts the page together.

import { byId } from "./dom.js";
import { Keys, showKeys } from "./keys.js";
import { Panel } from "./panel.js";
import { Pointer } from "./pointer.js";
import { ask, ServerError } from "./server.js";
import { Session } from "./session.js";
import { Strip } from "./strip.js";
import { View } from "./view.js";

const TOAST_MS = 4000;

/** Images of the frames, the next ones on their way before they are wanted. */
class Images {
  #known = new Map();

  constructor(numbers) {
    this.numbers = numbers;
  }

  get(index) {
    const number = this.numbers[index];
    if (!this.#known.has(number)) {
      if (this.#known.size > 8) this.#known.delete(this.#known.keys().next().value);
      const image = new Image();
      image.src = `/images/${number}`;
      this.#known.set(number, image.decode().then(() => image, () => null));
    }
    return this.#known.get(number);
  }
}

function showToasts(session) {
  let timer = null;
  session.addEventListener("toast", (event) => {
    const place = byId("toast");
    place.textContent = event.detail;
    place.hidden = false;
    clearTimeout(timer);
    timer = setTimeout(() => { place.hidden = true; }, TOAST_MS);
  });
}

async function showImage(session, view, images) {
  const { index } = session;
  view.show(null);
  const image = await images.get(index);
  if (index !== session.index) return;
  if (image) view.show(image);
  else session.say(`The image of frame ${session.number} cannot be read`);
  if (index + 1 < session.numbers.length) images.get(index + 1);
}

function keepTime(session) {
  for (const name of ["pointerdown", "pointermove", "pointerup", "keydown", "wheel"]) {
    window.addEventListener(name, () => session.clock.sign(performance.now()), { capture: true, passive: true });
  }
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) session.refresh();
  });
  window.addEventListener("beforeunload", (event) => {
    if (session.saver.unsaved) event.preventDefault();
  });
}

/** Carries what is not saved yet over a reload, within this tab. */
function keepUnsaved(session) {
  const key = `unsaved ${session.name}`;
  window.addEventListener("pagehide", () => sessionStorage.setItem(key, JSON.stringify(session.saver.leftover)));
  const leftover = JSON.parse(sessionStorage.getItem(key) ?? "[]");
  sessionStorage.removeItem(key);
  session.restore(leftover);
}

function start(overview) {
  const session = new Session(overview);
  const view = new View(byId("canvas"), session);
  const pointer = new Pointer(view, session);
  const panel = new Panel(session, view);
  const strip = new Strip(session);
  const images = new Images(session.numbers);
  showKeys();
  keepTime(session);
  showToasts(session);
  new Keys(session, view, pointer);
  session.addEventListener("labels", () => {
    panel.show();
    strip.show();
    view.draw();
  });
  session.addEventListener("frame", () => {
    pointer.cancel();
    panel.show();
    strip.mark();
    showImage(session, view, images);
  });
  keepUnsaved(session);
  session.dispatchEvent(new Event("frame"));
  session.dispatchEvent(new Event("labels"));
  byId("canvas").focus();
  document.body.dataset.ready = "yes";
}

try {
  start(await ask("GET", "/api/labels"));
} catch (error) {
  if (!(error instanceof ServerError)) throw error;
  const place = byId("saved");
  place.dataset.state = "failed";
  place.textContent = error.message;
}
