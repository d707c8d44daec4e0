// Labelling time by activity. Time passes from one sign of the hand (pointer, key) to the next; a longer pause counts
// as LONGEST_PAUSE_S, because the person thought for a moment, or went away. It is booked on what the change then was.

export const ACTIVITIES = ["points", "boxes", "ids", "tags", "ignore", "review"];
const LONGEST_PAUSE_S = 10;

export class Clock {
  #last = null;
  #pending = 0;

  /** A sign of the hand at a time in milliseconds. */
  sign(now) {
    if (this.#last !== null) this.#pending += Math.min((now - this.#last) / 1000, LONGEST_PAUSE_S);
    this.#last = now;
  }

  /** Seconds that are not booked yet, for show. */
  pending(now) {
    return this.#last === null ? 0 : this.#pending + Math.min((now - this.#last) / 1000, LONGEST_PAUSE_S);
  }

  /** `seconds` of a frame with the time so far booked on an activity. */
  book(seconds, activity) {
    const total = (seconds[activity] ?? 0) + this.#pending;
    this.#pending = 0;
    return { ...seconds, [activity]: total };
  }
}
