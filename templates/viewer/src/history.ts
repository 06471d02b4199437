/**
 * What can be undone: states one after another, and where among them one is.
 */

/** States kept; older ones are forgotten. */
const MOST = 200;

interface Kept {
  readonly text: string;
  /** where the reader was: it makes no step of its own */
  place: string;
}

export class History<State> {
  #states: Kept[];
  #at = 0;

  /** States must be plain JSON: two that read the same are the same. */
  constructor(start: State, place = '') {
    this.#states = [{ text: JSON.stringify(start), place }];
  }

  /** A new state; what was undone is gone. False if it is the one already there, now left from `place`. */
  record(state: State, place = ''): boolean {
    const text = JSON.stringify(state);
    const here = this.#states[this.#at]!;
    if (text === here.text) return (here.place = place), false;
    this.#states = [...this.#states.slice(0, this.#at + 1), { text, place }].slice(-MOST);
    this.#at = this.#states.length - 1;
    return true;
  }

  /** Where the reader was when the state that is there was last recorded. */
  get place(): string {
    return this.#states[this.#at]!.place;
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
    return JSON.parse(this.#states[this.#at]!.text) as State;
  }
}

/** The history of something that is changed by hand: what is dragged, or typed, is one step. */
export class Steps<State> {
  readonly #take: () => State;
  readonly #where: () => string;
  #history: History<State> | null = null;
  #held = false;

  /** Args: take: gives the state as it is; where: the place of the reader in it. */
  constructor(take: () => State, where: () => string = () => '') {
    this.#take = take;
    this.#where = where;
  }

  /** From here on there is something to go back to. */
  begin(): void {
    this.#history ??= new History(this.#take(), this.#where());
  }

  /** A mouse button is down on what is changed, or up again. */
  hold(held: boolean): void {
    this.#held = held;
    this.remember();
  }

  /** Something may have changed. */
  remember(): void {
    if (!this.#held) this.#history?.record(this.#take(), this.#where());
  }

  /** Where the reader was in the state that undo or redo gave last. */
  get place(): string {
    return this.#history?.place ?? '';
  }

  undo(): State | null {
    this.remember(); // what was typed last may not have been
    return this.#history?.undo() ?? null;
  }

  redo(): State | null {
    return this.#history?.redo() ?? null;
  }
}
