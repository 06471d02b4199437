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
  readonly #told: (error: unknown) => boolean;
  readonly #clock: Clock;
  #kept: string;
  #timer: number | null = null;
  /** the saving under way: whether it went well */
  #saving: Promise<boolean> | null = null;
  #over = false;
  /** nothing more will be kept, whatever is tried */
  #refused = false;

  /**
   * Args: take: gives what to keep; told: hears after each saving why it failed, null if it did not,
   * and says whether to try again; stamp: gives what is kept with it, but is no reason to. What is
   * there now counts as kept.
   */
  constructor(
    store: DraftStore,
    take: () => object,
    told: (error: unknown) => boolean,
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
    if (!this.#over && !this.#refused && this.#timer === null) this.#later(SAVE_MS);
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
      if (this.#refused) return false;
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
    } catch (error) {
      if (this.#over) return false;
      this.#refused = !this.#told(error);
      if (!this.#refused) this.#later(RETRY_MS);
      return false;
    }
    this.#kept = text;
    if (!this.#over) this.#told(null);
    if (JSON.stringify(this.#take()) !== text) this.touch();
    return true;
  }

  /** The answer is on its way, or given: nothing is kept any more. */
  stop(): void {
    this.#over = true;
    this.#cancel();
  }

  /** The answer was not accepted, or what is there is not kept. */
  resume(): void {
    this.#over = this.#refused = false;
    this.#kept = ''; // whatever is kept may be gone
    this.touch();
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

/** Drafts in this tab of the browser: the next worker at the machine opens another one. */
export class LocalDrafts implements DraftStore {
  readonly #storage: Storage;
  readonly #key: string;

  constructor(storage: Storage, key: string) {
    this.#storage = storage;
    this.#key = key;
  }

  /** Give those of one image and viewer; null where the page may keep nothing. */
  static open(image: string, viewerSha: string): LocalDrafts | null {
    try {
      return new LocalDrafts(window.sessionStorage, `cxr-draft:${image}:${viewerSha.slice(0, 16)}`);
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

  /** Keep it if there is room: somebody else is asked to keep it too. */
  put(text: string): void {
    try {
      this.#storage.setItem(this.#key, text);
    } catch {
      this.clear(); // an older one would be taken for the newest
    }
  }

  /** The answer was given; another worker at this machine must not find it. */
  clear(): void {
    this.#storage.removeItem(this.#key);
  }
}
