/**
 * The page's life: it starts once, and begins a reading for each image it is given.
 */

import { Ahead } from './ahead.ts';
import { Crosshair } from './crosshair.ts';
import { DraftKeeper, LocalDrafts } from './drafts.ts';
import { fetchDicom, ImageError } from './file.ts';
import { drawingHint } from './help.ts';
import { Radiograph } from './image.ts';
import * as input from './input.ts';
import { keepingOf, saysOfDraft } from './keeping.ts';
import { bind, BINDINGS } from './keys.ts';
import type { Binding, Command } from './keys.ts';
import { mouseOf, TOOLS } from './mouse.ts';
import { Page } from './page.ts';
import { Panel } from './panel.ts';
import { decodePicture, preparePicture, release } from './picture.ts';
import type { Picture } from './picture.ts';
import { Pointer } from './pointer.ts';
import { loneOffer, offerIn, Portal, PortalError } from './portal.ts';
import type { Offer } from './portal.ts';
import { Reading } from './reading.ts';
import type { Room } from './reading.ts';
import { Rois } from './rois.ts';
import type { PageSettings, Task } from './task.ts';
import { showWindow, use } from './viewing.ts';

/** Milliseconds until an image that is on its way is said to be. */
const PATIENCE_MS = 100;

/** The two elements of the template that the page works with. */
export interface Form {
  readonly field: HTMLInputElement;
  readonly submitButton: HTMLElement;
}

export class Session implements Room {
  readonly page: Page;
  readonly panel = new Panel();
  readonly radiograph: Radiograph;
  readonly rois: Rois;
  readonly pointer: Pointer;
  #keys: readonly Binding[] = BINDINGS;
  readonly #form: Form;
  readonly #portal = Portal.find();
  readonly #ahead = new Ahead(this.#portal);
  #offer: Offer;
  #reading: Reading;
  #keeper: DraftKeeper | null = null;
  #local: LocalDrafts | null = null;
  #skip: string | null = null;
  /** the image whose answer is on its way */
  #sending: Offer | null = null;

  constructor(root: HTMLElement, form: Form, task: Task) {
    this.#form = form;
    this.page = new Page({
      window: (index) => this.radiograph.ready && showWindow(index, this.radiograph, this.#reading.task.page.windows),
      run: (command) => this.#run(command),
      skip: (reason) => this.#submitSkip(reason),
      retry: () => void this.#load(null),
    });
    this.radiograph = new Radiograph(this.page.stage, () => this.#reading.drawView());
    this.rois = new Rois(this.radiograph, {
      completed: (id) => this.#reading.completed(id),
      changed: () => this.#reading.changed(),
      settled: () => this.#reading.changed(),
      sketched: () => {
        const byKeys = document.activeElement === this.page.stage;
        this.page.overlay.hint(drawingHint(this.rois.sketch, this.#keys, byKeys));
      },
    });
    this.pointer = new Pointer(this.radiograph, this.rois, {
      probed: (at) => this.page.overlay.probe(at && this.radiograph.probe(this.radiograph.toPixel(at)), at),
    });
    new Crosshair(this.radiograph, this.rois, this.pointer);
    this.page.mount(root, this.panel.element);
    this.panel.foot.append(form.submitButton);
    this.#offer = this.#portal?.first(task) ?? loneOffer(task);
    this.#reading = new Reading(this, task);
    this.#listen(root);
  }

  /** Show the first image; the page lives on by itself. */
  async start(): Promise<void> {
    this.#begin(this.#offer);
    const coming = fetchDicom(this.#offer.task.imageUrl); // while the viewer starts
    coming.catch(() => undefined); // `#load` says what went wrong
    await this.radiograph.boot();
    await this.#load(coming.then((bytes) => decodePicture(bytes)));
  }

  submit(): void {
    this.#form.submitButton.click();
  }

  changed(): void {
    this.#keeper?.touch();
  }

  /** Make the page that of another image, which is still to be loaded. */
  #begin(offer: Offer): void {
    this.#keeper?.stop();
    this.#offer = offer;
    this.#portal?.point(offer);
    this.radiograph.clear();
    this.#equip(offer.task.page);
    this.#reading = new Reading(this, offer.task);
    this.#reading.begin();
    this.page.note('');
    this.page.showPlace(offer);
    const { number, dispute, answer } = offer;
    if (number !== null && !dispute) document.title = `${offer.task.jobId} · image ${number}${answer ? ' · answered' : ''}`;
    this.#restore(offer);
  }

  #restore(offer: Offer): void {
    const { store, local, draft, ahead } = keepingOf(this.#portal, offer);
    const reading = this.#reading;
    this.#local = local;
    const saved = draft ?? offer.answer;
    if (saved !== null) reading.restore(saved);
    if (draft === null && saved?.skipped !== undefined) this.page.skippedBefore(saved.skipped);
    if (draft?.spent) reading.clock.resume(draft.spent);
    if (draft !== null) this.page.note('Restored what you had begun');
    const told = (error: unknown): boolean => {
      const { text, again } = saysOfDraft(error);
      this.page.note(text);
      return again;
    };
    const { versions } = offer;
    const stamp = (): object => ({ ...reading.stamp(), versions });
    this.#keeper = store && new DraftKeeper(store, () => reading.snapshot(), told, stamp);
    if (ahead) this.#keeper?.resume();
    if (store === null) this.page.note('No drafts here: finish before you leave the page');
  }

  /** Tools, keys and mouse buttons as the job wants them. */
  #equip(settings: PageSettings): void {
    const keys = bind(settings);
    const buttons = mouseOf(settings);
    this.#keys = keys.bindings;
    this.pointer.mouse = buttons.mouse;
    this.panel.equip(keys.bindings);
    this.page.equip(settings, keys.bindings, buttons.mouse, [...keys.notes, ...buttons.notes]);
    const { tools } = settings;
    if (tools === null || tools.includes(this.pointer.tool)) return use(this.pointer.tool, this);
    use((TOOLS.find((tool) => tools.includes(tool)) ?? 'window'), this);
  }

  /** Args: ready: the picture, if it was begun already. */
  async #load(ready: Promise<Picture> | null): Promise<void> {
    const reading = this.#reading;
    const { dataset } = document.documentElement;
    delete dataset['cxrReady'];
    this.page.showFailure(null);
    const waiting = setTimeout(() => this.page.showLoading(true), PATIENCE_MS);
    try {
      const picture = await (ready ?? preparePicture(this.#offer.task.imageUrl)).catch((error: unknown) =>
        this.#renewed(error),
      );
      if (reading !== this.#reading) return release(picture);
      await this.radiograph.show(picture);
    } catch (error) {
      if (reading === this.#reading) this.#failed(error);
      return;
    } finally {
      clearTimeout(waiting);
      if (reading === this.#reading) this.page.showLoading(false);
    }
    if (reading !== this.#reading) return;
    reading.shown();
    dataset['cxrItem'] = reading.task.itemId;
    dataset['cxrReady'] = '1';
    performance.mark('cxr-painted');
    void this.#ahead.look();
  }

  /** A link that went stale is asked for anew, once; anything else stays the error it is. */
  async #renewed(error: unknown): Promise<Picture> {
    const stale = error instanceof ImageError && error.expired;
    if (!stale || this.#portal === null || this.#offer.id === '') throw error;
    const fresh = await this.#portal.task(this.#offer.id);
    if (fresh === null) throw error;
    return preparePicture(fresh.task.imageUrl);
  }

  #failed(error: unknown): void {
    this.#reading.open(true); // what is answered on a failed image is kept for the next try
    if (error instanceof ImageError) return this.page.showFailure(error.message);
    if (error instanceof PortalError) return this.page.showFailure(`${error.message} (${error.status})`);
    console.error(error);
    this.page.showFailure(String(error));
  }

  #run(command: Command): void {
    if (command === 'previous' || command === 'next') void this.#go(command);
    else this.#reading.run(command);
  }

  /** Args: way: from the reader's answers to the image that is open, or back. */
  async #go(way: 'previous' | 'next'): Promise<void> {
    const { dispute } = this.#offer;
    const to = this.#offer[way];
    const reading = this.#reading;
    const side = way === 'next' ? 'after' : 'before';
    const stays = async (): Promise<boolean> => this.#stays() || !(await this.#kept()) || this.#stays();
    if (await stays()) return;
    const url = dispute?.[`${way}Url`] ?? '';
    if (url !== '') return location.assign(url);
    if (to === null || this.#portal === null) return this.page.say(`There is no image ${side} this one`);
    try {
      const offer = await this.#portal.task(to);
      // meanwhile more may have been answered, or all of it sent
      if (offer === null || (await stays()) || reading !== this.#reading) return;
      this.#show(offer, offer.answer === null ? '/task' : `/task/${offer.id}`);
    } catch (error) {
      const gone = error instanceof PortalError && error.status === 410;
      if (gone && way === 'next') return location.assign('/task'); // the portal has another one by now
      this.page.say(`The image ${side} cannot be opened: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  /** Whether the page must stay on its image, since the answer is on its way; it says so. */
  #stays(): boolean {
    if (this.#sending === null) return false;
    this.page.say('Your answer is being sent: one moment');
    return true;
  }

  /** Keep what was answered so far; if that fails the page says so. */
  async #kept(): Promise<boolean> {
    const kept = (await this.#keeper?.flush()) ?? true;
    if (!kept) this.page.say('What you answered could not be kept: stay here until it is, or submit it');
    return kept;
  }

  /** Args: address: what a reload should open. */
  #show(offer: Offer, address: string): void {
    const picture = this.#ahead.take(offer.id);
    this.#begin(offer);
    history.replaceState(null, '', address);
    if (document.activeElement instanceof HTMLElement) document.activeElement.blur();
    void this.#load(picture);
  }

  #listen(root: HTMLElement): void {
    input.listenKeys(() => this.#keys, (command) => !this.page.dialogOpen && (this.#run(command), true));
    input.listenActivity(
      () => this.#reading.clock,
      (ms) => this.page.showClock(ms),
    );
    input.listenStage(this.page.stage, (factor, at) => {
      if (this.radiograph.ready) this.radiograph.zoom(factor, at);
    });
    input.listenDrags(this.page.stage, (down) => this.#reading.drag(down));
    input.listenLeaving((leaving) => void this.#keeper?.flush(leaving));
    root.addEventListener('input', () => this.changed());
    root.addEventListener('focusout', () => this.#reading.pause());
    input.listenSubmit(root, () => this.#fill());
    input.listenLinks(root, () => this.#stays());
    document.addEventListener('cxr-sending', () => void (this.#sending = this.#offer));
    document.addEventListener('cxr-answered', (event) => this.#answered(event as CustomEvent));
    document.addEventListener('cxr-refused', () => this.#refused());
  }

  /** The portal has the answer: go on with what it offers next, without leaving the page. */
  #answered(event: CustomEvent<{ next?: unknown; corrected?: unknown }>): void {
    const sent = this.#sending;
    this.#sending = null;
    if (sent !== this.#offer) return event.preventDefault(); // of an image that is no longer shown
    this.#local?.clear();
    const offer = offerIn(event.detail);
    if (offer === null) return; // the crowd script goes where the portal says
    event.preventDefault();
    const { next, corrected } = event.detail;
    this.#show(offer, typeof next === 'string' ? next : location.pathname);
    if (corrected === true) this.page.say('Answered before in another window; this corrected it');
  }

  #refused(): void {
    this.#sending = null;
    this.#reading.open(true);
    this.#keeper?.resume();
  }

  /** Write the answer into the form; false, with a word why, if there is something left to do. */
  #fill(): boolean {
    performance.mark('cxr-submit');
    if (this.#stays()) return false;
    if (this.#skip === null && !this.#reading.complete()) return false;
    this.#form.field.value = JSON.stringify(this.#reading.document(this.#skip));
    this.#keeper?.stop();
    if (this.#portal) this.#reading.open(false); // until the portal has said what it thinks of it
    else this.#local?.clear(); // Ground Truth does not tell how it went
    return true;
  }

  #submitSkip(reason: string): void {
    this.#skip = reason;
    this.#form.submitButton.click();
    this.#skip = null; // if sending fails, the next submit is an answer again
  }
}
