// Undo and redo: what a frame was before a change and after it, over all frames.

const LONGEST = 500;

export class History {
  #done = [];
  #undone = [];

  add(number, before, after) {
    this.#done.push({ number, before, after });
    if (this.#done.length > LONGEST) this.#done.shift();
    this.#undone = [];
  }

  /** The change to take back, or undefined; the caller puts `before` in its place. */
  undo() {
    const change = this.#done.pop();
    if (change) this.#undone.push(change);
    return change;
  }

  /** The change to make again, or undefined. */
  redo() {
    const change = this.#undone.pop();
    if (change) this.#done.push(change);
    return change;
  }

  /** Forgets a frame, which somebody else has changed: what it was before means nothing any more. */
  forget(number) {
    this.#done = this.#done.filter((change) => change.number !== number);
    this.#undone = this.#undone.filter((change) => change.number !== number);
  }

  get canUndo() { return this.#done.length > 0; }
  get canRedo() { return this.#undone.length > 0; }
}
