/**
 * Drafts: what is half done is kept every few seconds, and at once when the page is left.
 */

/** Milliseconds from a change to its saving. */
export const SAVE_MS = 3000;
/** Milliseconds until another try where saving failed. */
export const RETRY_MS = 8000;

/** Where drafts go. */
export interface DraftStore {
  /** Args: leaving: the page is going away. Rejects where it could not be kept. */
  save(text: string, leaving: boolean): Promise<void>;
}

/** What a keeper needs of the world; the tests give their own. */
export interface Clock {
  after(ms: number, act: () => void): number;
  stop(handle: number): void;
}

export const CLOCK: Clock = {
  after: (ms, act) => window.setTimeout(act, ms),
  stop: (handle) => window.clearTimeout(handle),
};

export class DraftKeeper {
  readonly #store: DraftStore;
  readonly #take: () => object;
  readonly #stamp: () => object;
  readonly #told: (problem: boolean) => void;
  readonly #clock: Clock;
  #kept: string;
  #timer: number | null = null;
  /** the saving under way: whether it went well */
  #saving: Promise<boolean> | null = null;
  #over = false;

  /**
   * Args: take: gives what to keep; told: hears after each saving whether it failed; stamp: gives
   * what is kept with it, but is no reason to. What is there now counts as kept.
   */
  constructor(
    store: DraftStore,
    take: () => object,
    told: (problem: boolean) => void,
    stamp: () => object = () => ({}),
    clock = CLOCK,
  ) {
    this.#store = store;
    this.#take = take;
    this.#stamp = stamp;
    this.#told = told;
    this.#clock = clock;
    this.#kept = JSON.stringify(take());
  }

  /** Something may have changed. */
  touch(): void {
    if (!this.#over && this.#timer === null) this.#later(SAVE_MS);
  }

  /**
   * Keep it now, and what changes meanwhile; Args: leaving: the page may be gone in a moment.
   *
   * Returns: whether everything is kept.
   */
  async flush(leaving = false): Promise<boolean> {
    for (;;) {
      while (this.#saving !== null && !leaving) await this.#saving;
      this.#cancel();
      if (this.#over || JSON.stringify(this.#take()) === this.#kept) return true;
      if (!(await this.#save(leaving))) return false;
    }
  }

  /** Keep it once; false where that failed, and will be tried again. */
  #save(leaving: boolean): Promise<boolean> {
    const saving = this.#saved(this.#take(), leaving).finally(() => {
      if (this.#saving === saving) this.#saving = null;
    });
    this.#saving = saving;
    return saving;
  }

  async #saved(taken: object, leaving: boolean): Promise<boolean> {
    const text = JSON.stringify(taken);
    try {
      await this.#store.save(JSON.stringify({ ...taken, ...this.#stamp() }), leaving);
    } catch {
      this.#say(true);
      if (!this.#over) this.#later(RETRY_MS);
      return false;
    }
    this.#kept = text;
    this.#say(false);
    if (JSON.stringify(this.#take()) !== text) this.touch();
    return true;
  }

  /** The answer is on its way, or given: nothing is kept any more. */
  stop(): void {
    this.#over = true;
    this.#cancel();
  }

  /** The answer was not accepted. */
  resume(): void {
    this.#over = false;
    this.#kept = ''; // whatever is kept may be gone
    this.touch();
  }

  #say(problem: boolean): void {
    if (!this.#over) this.#told(problem);
  }

  #later(ms: number): void {
    this.#cancel();
    this.#timer = this.#clock.after(ms, () => {
      this.#timer = null;
      this.#due();
    });
  }

  /** One saving at a time: what changes meanwhile waits for its turn. */
  #due(): void {
    if (this.#over || this.#saving !== null) return;
    if (JSON.stringify(this.#take()) !== this.#kept) void this.#save(false);
  }

  #cancel(): void {
    if (this.#timer !== null) this.#clock.stop(this.#timer);
    this.#timer = null;
  }
}

/** Drafts in the browser, where there is no portal. */
export class LocalDrafts implements DraftStore {
  readonly #storage: Storage;
  readonly #key: string;

  constructor(storage: Storage, key: string) {
    this.#storage = storage;
    this.#key = key;
  }

  /**
   * Give those of one image and viewer; null where the page may keep nothing.
   *
   * Args: lasting: beyond this tab.
   */
  static open(itemId: string, viewerSha: string, lasting = true): LocalDrafts | null {
    try {
      const storage = lasting ? window.localStorage : window.sessionStorage;
      return new LocalDrafts(storage, `cxr-draft:${itemId}:${viewerSha.slice(0, 16)}`);
    } catch {
      return null; // an opaque origin: the sandbox of Ground Truth
    }
  }

  load(): unknown {
    try {
      return JSON.parse(this.#storage.getItem(this.#key) ?? 'null');
    } catch {
      return null;
    }
  }

  async save(text: string): Promise<void> {
    this.#storage.setItem(this.#key, text);
  }

  /** The answer was given; another worker at this machine must not find it. */
  clear(): void {
    this.#storage.removeItem(this.#key);
  }
}
