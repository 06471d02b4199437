/**
 * How long the reader looked: time before the image was there, with the page hidden, or idle, is
 * not reading.
 */

/** Milliseconds without mouse or key after which the clock stops. */
export const IDLE_MS = 30_000;

/** What of the time goes on in a page that is loaded anew. */
export interface Spent {
  /** ISO 8601: when the image was first on the screen */
  readonly startedAt: string;
  readonly activeMs: number;
}

/** Times are milliseconds of a clock that never goes back (performance.now), unless they say else. */
export class ActiveClock {
  #startedAt: Date | null = null;
  #running = false;
  #active = 0;
  #since: number | null = null;

  /** The image is on the screen; Args: date: now, by the calendar; visible: somebody may look. */
  start(now: number, date: Date, visible = true): void {
    this.#startedAt ??= date;
    if (!this.#running && visible) this.#since = now;
    this.#running = true;
  }

  /** Go on from what was spent before, in another page. */
  resume({ startedAt, activeMs }: Spent): void {
    this.#startedAt = new Date(startedAt);
    this.#active = activeMs;
  }

  /** The reader moved the mouse or pressed a key. */
  touch(now: number): void {
    if (!this.#running) return;
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

  /** What to go on from; null before the image was there. */
  spent(now: number): Spent | null {
    return this.#startedAt && { startedAt: this.#startedAt.toISOString(), activeMs: this.active(now) };
  }

  /** As an answer has it; Args: date: now, by the calendar. */
  report(now: number, date: Date): Spent & { readonly submittedAt: string; readonly totalMs: number } {
    const started = this.#startedAt ?? date; // an image that never came
    const activeMs = this.active(now);
    // the calendar may have been set back in between
    const totalMs = Math.max(date.getTime() - started.getTime(), activeMs);
    return { startedAt: started.toISOString(), submittedAt: date.toISOString(), activeMs, totalMs };
  }

  #settle(now: number): void {
    this.#active += this.#pending(now);
  }

  #pending(now: number): number {
    return this.#since === null ? 0 : Math.min(Math.max(now - this.#since, 0), IDLE_MS);
  }
}
