/**
 * How long the reader looked: time with the page hidden, or idle, is not reading.
 */

/** Milliseconds without mouse or key after which the clock stops. */
export const IDLE_MS = 30_000;

/** Times are milliseconds of a clock that never goes back (performance.now). */
export class ActiveClock {
  readonly #began: number;
  #active = 0;
  #since: number | null;

  constructor(now: number, visible = true) {
    this.#began = now;
    this.#since = visible ? now : null;
  }

  /** The reader moved the mouse or pressed a key. */
  touch(now: number): void {
    this.#settle(now);
    this.#since = now;
  }

  hide(now: number): void {
    this.#settle(now);
    this.#since = null;
  }

  active(now: number): number {
    return Math.round(this.#active + this.#pending(now));
  }

  total(now: number): number {
    return Math.round(now - this.#began);
  }

  #settle(now: number): void {
    this.#active += this.#pending(now);
  }

  #pending(now: number): number {
    return this.#since === null ? 0 : Math.min(Math.max(now - this.#since, 0), IDLE_MS);
  }
}
