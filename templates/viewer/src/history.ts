/**
 * What can be undone: states one after another, and where among them one is.
 */

/** States kept; older ones are forgotten. */
const MOST = 200;

export class History<State> {
  #states: string[];
  #at = 0;

  /** States must be plain JSON: two that read the same are the same. */
  constructor(start: State) {
    this.#states = [JSON.stringify(start)];
  }

  /** A new state; what was undone is gone. False if it is the one already there. */
  record(state: State): boolean {
    const text = JSON.stringify(state);
    if (text === this.#states[this.#at]) return false;
    this.#states = [...this.#states.slice(0, this.#at + 1), text].slice(-MOST);
    this.#at = this.#states.length - 1;
    return true;
  }

  get canUndo(): boolean {
    return this.#at > 0;
  }

  get canRedo(): boolean {
    return this.#at < this.#states.length - 1;
  }

  undo(): State | null {
    return this.canUndo ? this.#go(-1) : null;
  }

  redo(): State | null {
    return this.canRedo ? this.#go(1) : null;
  }

  #go(step: number): State {
    this.#at += step;
    return JSON.parse(this.#states[this.#at]!) as State;
  }
}

/** The history of something that is changed by hand: what is dragged, or typed, is one step. */
export class Steps<State> {
  readonly #take: () => State;
  #history: History<State> | null = null;
  #held = false;

  /** Args: take: gives the state as it is. */
  constructor(take: () => State) {
    this.#take = take;
  }

  /** From here on there is something to go back to. */
  begin(): void {
    this.#history ??= new History(this.#take());
  }

  /** A mouse button is down on what is changed, or up again. */
  hold(held: boolean): void {
    this.#held = held;
    this.remember();
  }

  /** Something may have changed. */
  remember(): void {
    if (!this.#held) this.#history?.record(this.#take());
  }

  undo(): State | null {
    this.remember(); // what was typed last may not have been
    return this.#history?.undo() ?? null;
  }

  redo(): State | null {
    return this.#history?.redo() ?? null;
  }
}
