// Talking to the server: reading, and saving one frame at a time, until every change is on its disk.

const RETRY_MS = 3000;

export class ServerError extends Error {
  constructor(status, values) {
    super(values?.error ?? "the server does not answer; is 'wsperception label' still running?");
    this.status = status;
    this.values = values;
  }
}

export async function ask(method, address, values, options = {}) {
  let response;
  let answer;
  try {
    const content = values === undefined ? {} : { body: JSON.stringify(values), headers: { "Content-Type": "application/json" } };
    response = await fetch(address, { method, ...content, ...options });
    answer = await response.json();
  } catch {
    throw new ServerError(0, null);
  }
  if (!response.ok) throw new ServerError(response.status, answer);
  return answer;
}

/** Saves frames in the order of their first change. Events: state (idle, saving, failed), conflict. */
export class Saver extends EventTarget {
  #waiting = new Map(); // frame number -> labels
  #revisions = new Map();
  #conflicts = new Set();
  #busy = false;
  #timer = null;
  state = "idle";
  problem = "";

  constructor(frames) {
    super();
    for (const frame of frames) this.#revisions.set(frame.number, frame.revision);
  }

  get unsaved() { return this.#waiting.size; }

  /** What is not on the server's disk yet: [frame number, labels, the revision that they change]. */
  get leftover() { return [...this.#waiting].map(([number, labels]) => [number, labels, this.#revisions.get(number)]); }

  isUnsaved(number) { return this.#waiting.has(number); }

  revision(number) { return this.#revisions.get(number); }

  /** Takes over what the server holds. */
  accept(frame) {
    this.#revisions.set(frame.number, frame.revision);
    this.#conflicts.delete(frame.number);
  }

  /** Saves what an earlier life of this tab left over; its last save may have arrived without its knowing. */
  takeUp(number, labels, revision) {
    if (this.#revisions.get(number) > revision + 1) this.#revisions.set(number, revision); // somebody else's: a conflict
    this.save(number, labels);
  }

  /** Gives up a frame's unsaved changes. */
  drop(number) {
    this.#waiting.delete(number);
    this.#conflicts.delete(number);
    this.#next();
  }

  save(number, labels) {
    this.#waiting.set(number, labels);
    this.#next();
  }

  async #next() {
    if (this.#busy) return;
    clearTimeout(this.#timer);
    const number = [...this.#waiting.keys()].find((key) => !this.#conflicts.has(key));
    if (number === undefined) {
      if (this.#waiting.size) this.#become("failed", "frame changed elsewhere");
      else this.#become("idle", "");
      return;
    }
    this.#busy = true;
    if (this.state !== "failed") this.#become("saving", "");
    await this.#put(number, this.#waiting.get(number));
    this.#busy = false;
    if (this.state === "failed" && this.#waiting.size) this.#timer = setTimeout(() => this.#next(), RETRY_MS);
    else this.#next();
  }

  async #put(number, labels) {
    try {
      const values = { ...labels, revision: this.#revisions.get(number) };
      const saved = await ask("PUT", `/api/frames/${number}`, values, { keepalive: JSON.stringify(values).length < 60000 });
      this.#revisions.set(number, saved.revision);
      if (this.#waiting.get(number) === labels) this.#waiting.delete(number);
      this.#become("saving", "");
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      if (error.status === 409) {
        this.#conflicts.add(number);
        this.dispatchEvent(new CustomEvent("conflict", { detail: error.values.frame }));
      } else {
        this.#become("failed", error.message);
      }
    }
  }

  #become(state, problem) {
    this.state = state;
    this.problem = problem;
    this.dispatchEvent(new Event("state"));
  }
}
